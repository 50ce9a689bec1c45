"""Functions of features that a rule may be made of: fitted by scikit-learn, exported as numbers.

Each fits one of two targets, whether the draft is acceptable (the result is a log-odds) or how much
the teacher gains (the result is that gain), from a matrix in which NaN is "absent".  What is
exported is `routing.model`, which gives the same numbers without the library.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

from evaluation.outcomes import Booleans, Floats, Integers
from evaluation.records import EVIDENCE_PREFIX
from routing.document import LARGEST
from routing.model import LOGIT_EDGE, Average, Learnt, Linear, Tree, Trees, is_signal

# In units of standardised features and summed squares: ten records' worth of doubt a feature.
SHRINKAGE = 10.0
LEAST_IN_LEAF = 20
MOST_BINS = 64
UNSEEN = 0.01
MOST_LEAVES = 8  # routing answers trees of up to eight leaves all at once


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Features to fit on: ``values`` (n, f), NaN where absent, ``weight`` (n,), ``names`` (f,)."""

    names: tuple[str, ...]
    values: Floats
    weight: Floats

    def among(self, names: tuple[str, ...]) -> "Sample":
        """These features alone."""
        places = [self.names.index(name) for name in names]
        return Sample(names, self.values[:, places], self.weight)

    def take(self, places: Any) -> "Sample":
        """Those rows alone: ``places`` are indices or a mask."""
        return Sample(self.names, self.values[places], self.weight[places])


class Scorer(Protocol):
    """A fitted function of features."""

    def predict(self, values: Floats) -> Floats:
        """Results for rows of features, shape (n,)."""
        ...

    def export(self) -> Learnt:
        """The same function as plain numbers."""
        ...


@dataclass(frozen=True, slots=True)
class Shape:
    """How large an ensemble of trees gets; larger ones learn slower, so that each step is less."""

    trees: int
    leaves: int
    rate: float


# Of 40 to 200 trees of 4 to 8 leaves, tried on option logits of 10,000 questions, those with more
# learnt the records by heart: the area fell while the fit took longer.
SHAPE = Shape(trees=60, leaves=5, rate=0.1)


# --- linear -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class FittedLinear:
    """A weighted sum of features, those with a range of probabilities by their log-odds."""

    names: tuple[str, ...]
    weights: Floats
    defaults: Floats
    intercept: float
    by_logit: Booleans

    def predict(self, values: Floats) -> Floats:
        """Results for rows of features, shape (n,)."""
        return np.asarray(_filled(values, self.defaults, self.by_logit) @ self.weights) + float(
            self.intercept
        )

    def export(self) -> Linear:
        """The same as plain numbers."""
        return Linear(
            names=self.names,
            weights=tuple(map(float, self.weights)),
            defaults=tuple(map(float, self.defaults)),
            intercept=float(self.intercept),
            is_logit=bool(self.by_logit.any()),
        )


def fit_linear(sample: Sample, target: Floats, *, is_probability: bool) -> FittedLinear:
    """Logistic or ridge regression, shrunk towards saying the same of every draft."""
    by_logit = np.array([is_signal(name) and in_range(name) for name in sample.names])
    defaults = _defaults(sample)
    filled = _filled(sample.values, defaults, by_logit)
    mean = np.average(filled, axis=0, weights=sample.weight)
    spread = np.sqrt(np.average((filled - mean) ** 2, axis=0, weights=sample.weight))
    scale = np.where(spread > 1e-9, spread, np.inf)  # a constant says nothing
    weight = sample.weight / sample.weight.mean()
    standard = (filled - mean) / scale
    if is_probability:
        rows, drawn, labels = _as_labels(target, weight)
        model: Any = LogisticRegression(C=1.0 / SHRINKAGE, max_iter=300)
        model.fit(standard[rows], labels, sample_weight=drawn)
        coefficients, intercept = model.coef_[0], float(model.intercept_[0])
    else:
        model = Ridge(alpha=SHRINKAGE).fit(standard, target, sample_weight=weight)
        coefficients, intercept = model.coef_, float(model.intercept_)
    weights = coefficients / scale
    return FittedLinear(
        sample.names, weights, defaults, intercept - float(mean @ weights), by_logit
    )


def in_range(name: str) -> bool:
    """Whether a signal of this name lies in [0, 1]; what records bring of their own may not."""
    return not name.startswith(EVIDENCE_PREFIX)


def _defaults(sample: Sample) -> Floats:
    """What stands in for an absent value: the mean of the others."""
    there = ~np.isnan(sample.values)
    drawn = sample.weight[:, None] * there
    total = drawn.sum(axis=0)
    sums = (np.where(there, sample.values, 0.0) * drawn).sum(axis=0)
    return np.asarray(sums / np.where(total > 0.0, total, 1.0))


def _filled(values: Floats, defaults: Floats, by_logit: Booleans) -> Floats:
    filled = np.where(np.isnan(values), defaults, values)
    inside = np.clip(filled, LOGIT_EDGE, 1.0 - LOGIT_EDGE)
    return np.where(by_logit, np.log(inside / (1.0 - inside)), filled)


# --- trees ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class FittedTrees:
    """Boosted trees, as scikit-learn keeps them."""

    names: tuple[str, ...]
    model: Any

    def predict(self, values: Floats) -> Floats:
        """Results for rows of features, shape (n,)."""
        with threadpool_limits(limits=1, user_api="openmp"):
            return np.asarray(self.model._raw_predict(values)[:, 0], dtype=np.float64)

    def export(self) -> Trees:
        """The same as plain numbers.  scikit-learn shows its trees in private attributes alone."""
        return Trees(
            names=self.names,
            trees=tuple(_tree(stage[0].nodes) for stage in self.model._predictors),
            base=float(np.ravel(self.model._baseline_prediction)[0]),
        )


def fit_trees(
    sample: Sample, target: Floats, shape: Shape = SHAPE, *, is_probability: bool
) -> FittedTrees:
    """Gradient boosting over few leaves, none of them of fewer than LEAST_IN_LEAF records."""
    options = {
        "max_iter": shape.trees,
        "learning_rate": shape.rate,
        "max_leaf_nodes": shape.leaves,
        "min_samples_leaf": LEAST_IN_LEAF,
        "l2_regularization": 1.0,
        "max_bins": MOST_BINS,
        "early_stopping": False,
        "random_state": 0,
    }
    weight = sample.weight / sample.weight.mean()
    # The library wants a number in each column; where all are the same it finds nothing to cut.
    absent = np.isnan(sample.values).all(axis=0)
    model: Any
    values = np.where(absent, 0.0, sample.values)
    if is_probability:
        rows, drawn, wanted = _as_labels(target, weight)
        model, values = HistGradientBoostingClassifier(**options), values[rows]
    else:
        drawn, wanted = weight, target
        model = HistGradientBoostingRegressor(**options)
    # Threads that wait for each other cost more than they do where another process works too.
    # Equal weights are left out, as weighted quantiles take ten times as long as the trees.
    with threadpool_limits(limits=1, user_api="openmp"):
        model.fit(values, wanted, sample_weight=drawn if np.ptp(drawn) > 0.0 else None)
    return FittedTrees(sample.names, model)


def _tree(nodes: Any) -> Tree:
    is_leaf = nodes["is_leaf"].astype(bool)
    # Infinity parts what is absent from all else; no file holds it, and no feature exceeds this.
    thresholds = np.minimum(nodes["num_threshold"], LARGEST)
    return Tree(
        feature=tuple(int(each) for each in np.where(is_leaf, 0, nodes["feature_idx"])),
        threshold=tuple(float(each) for each in np.where(is_leaf, 0.0, thresholds)),
        left=tuple(int(each) for each in np.where(is_leaf, -1, nodes["left"].astype(np.int64))),
        right=tuple(int(each) for each in np.where(is_leaf, -1, nodes["right"].astype(np.int64))),
        missing_left=tuple(bool(each) for each in nodes["missing_go_to_left"]),
        value=tuple(float(each) for each in nodes["value"]),
    )


# --- both, and what they share ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class FittedAverage:
    """The plain average of two functions of the same features."""

    linear: FittedLinear
    trees: FittedTrees

    def predict(self, values: Floats) -> Floats:
        """Results for rows of features, shape (n,)."""
        return (self.linear.predict(values) + self.trees.predict(values)) / 2.0

    def export(self) -> Average:
        """The same as plain numbers."""
        return Average((self.linear.export(), self.trees.export()))


def fit_average(sample: Sample, target: Floats, *, is_probability: bool) -> FittedAverage:
    """Linear and large trees, each fitted alone."""
    return FittedAverage(
        fit_linear(sample, target, is_probability=is_probability),
        fit_trees(sample, target, is_probability=is_probability),
    )


Fitter = Callable[[Sample, Floats, bool], Scorer]


# The simpler first: of two that do about as well, the first is taken.
FITTERS: dict[str, Fitter] = {
    "linear": lambda sample, target, flag: fit_linear(sample, target, is_probability=flag),
    "trees": lambda sample, target, flag: fit_trees(sample, target, is_probability=flag),
}


def _as_labels(target: Floats, weight: Floats) -> tuple[Integers, Floats, Floats]:
    """Rows, weights and classes; a draft acceptable to the degree a counts a times as such.

    Where all are alike a little of the other class is added: nobody is sure of what was never seen.
    """
    n = len(target)
    if np.ptp(target) == 0.0:
        target = np.clip(target, UNSEEN, 1.0 - UNSEEN)
    rows = np.r_[np.arange(n), np.arange(n)]
    drawn = np.r_[weight * target, weight * (1.0 - target)]
    labels = np.r_[np.ones(n), np.zeros(n)]
    used = drawn > 0.0
    return rows[used], drawn[used], labels[used]
