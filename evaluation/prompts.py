"""What the prompt alone tells of a number: ridge regression over hashed words, surface and group.

Fitted for all strengths of regularisation at once, by Golub-Kahan bidiagonalisation: after k steps
the problem is one of k unknowns, whatever the strength (O'Leary and Simmons 1981, "A
bidiagonalization-regularization procedure for large scale discretizations of ill-posed problems").
What is exported is `routing.prompt.PromptModel`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from evaluation.features import BUCKETS, Names, Prompts, Table
from evaluation.folds import splits
from evaluation.outcomes import Floats, Integers
from routing.prompt import PromptModel, Surface, Terms

ALPHAS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
STEPS = 30
LEAST_DOCUMENTS = 3
MOST_TERMS = 60_000
# Against word vectors of length 1: found by cross-validation on RouteLLM's MMLU questions, where
# twice or half as much changes the area by less than .002.
SURFACE_SCALE = 0.1
GROUP_SCALE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class _Space:
    """Which columns there are and how they are scaled: known from the records to fit on."""

    places: Integers
    idf: Floats
    means: Floats
    scales: Floats
    groups: tuple[str, ...]

    def matrix(self, prompts: Prompts | None, groups: Names) -> sparse.csr_matrix:
        """Rows of features, shape (n, terms + surface + groups)."""
        parts: list[Any] = []
        if prompts is not None:
            terms = prompts.terms[:, self.places] @ sparse.diags(self.idf)
            length = np.sqrt(np.asarray(terms.multiply(terms).sum(axis=1)).ravel())
            parts.append(sparse.diags(1.0 / np.where(length > 0.0, length, 1.0)) @ terms)
            standard = (prompts.surface - self.means) / self.scales
            parts.append(sparse.csr_matrix(SURFACE_SCALE * standard))
        if self.groups:
            of_group = groups[:, None] == np.array(self.groups, dtype=object)[None, :]
            parts.append(sparse.csr_matrix(GROUP_SCALE * of_group))
        if not parts:  # the records to fit on are all of one group
            return sparse.csr_matrix((len(groups), 0))
        return sparse.hstack(parts).tocsr()


@dataclass(frozen=True, slots=True, eq=False)
class FittedPrompt:
    """A number from the prompt: ``weights`` over the columns of a space, and an intercept."""

    space: _Space
    weights: Floats
    intercept: float

    def predict(self, table: Table) -> Floats:
        """The estimate for each record, shape (n,)."""
        rows = self.space.matrix(table.prompts, table.groups)
        return np.asarray(rows @ self.weights) + self.intercept

    def export(self) -> PromptModel:
        """The same as plain numbers."""
        space = self.space
        terms = len(space.places)
        end = terms + len(space.means)
        surface = None
        if len(space.means):
            numbers = space.means, space.scales, SURFACE_SCALE * self.weights[terms:end]
            surface = Surface(*(tuple(map(float, each)) for each in numbers))
        of_groups = GROUP_SCALE * self.weights[end:]
        return PromptModel(
            terms=Terms(
                buckets=BUCKETS,
                places=tuple(map(int, space.places)),
                idf=tuple(map(float, space.idf)),
                weights=tuple(map(float, self.weights[:terms])),
            ),
            surface=surface,
            groups=dict(zip(space.groups, map(float, of_groups), strict=True)),
            intercept=self.intercept,
        )


def fit_prompt(table: Table, target: Floats, fold: Integers) -> tuple[FittedPrompt, Floats]:
    """The model with the strength that does best on other folds, and its estimates on them.

    The estimate for a record is of a model that has not seen it, shape (n,).
    """
    found = np.empty((len(ALPHAS), table.n))
    for others, these in splits(fold):
        for row, model in enumerate(_fit_all(table.take(others), target[others], ALPHAS)):
            found[row, these] = model.predict(table.take(these))
    errors = (found - target) ** 2 @ table.outcomes.weight
    best = int(np.argmin(errors))
    (model,) = _fit_all(table, target, (ALPHAS[best],))
    return model, found[best]


def _fit_all(table: Table, target: Floats, alphas: tuple[float, ...]) -> list[FittedPrompt]:
    space = _space_of(table)
    rows = space.matrix(table.prompts, table.groups)
    weight = table.outcomes.weight / table.outcomes.weight.mean()
    mean = np.asarray(weight @ rows).ravel() / weight.sum()
    middle = float(weight @ target / weight.sum())
    solutions = _ridges(_Centred(rows, mean, np.sqrt(weight)), target - middle, alphas)
    return [FittedPrompt(space, each, middle - float(mean @ each)) for each in solutions]


def _space_of(table: Table) -> _Space:
    n = table.n
    names = tuple(sorted(set(table.groups) - {""}))
    groups = names if len(set(table.groups)) > 1 else ()
    if table.prompts is None:
        none = np.empty(0)
        return _Space(np.empty(0, dtype=np.int64), none, none, none, groups)
    documents = np.bincount(table.prompts.terms.indices, minlength=BUCKETS)
    least = LEAST_DOCUMENTS
    while np.count_nonzero(documents >= least) > MOST_TERMS:
        least += 1
    places = np.flatnonzero(documents >= least)
    surface, weight = table.prompts.surface, table.outcomes.weight
    means = np.average(surface, axis=0, weights=weight)
    scales = np.sqrt(np.average((surface - means) ** 2, axis=0, weights=weight))
    idf = np.log((1.0 + n) / (1.0 + documents[places])) + 1.0
    return _Space(places, idf, means, np.where(scales > 1e-9, scales, 1.0), groups)


@dataclass(frozen=True, slots=True, eq=False)
class _Centred:
    """``root * (rows - mean)`` without making it: a sparse matrix would become a full one."""

    rows: sparse.csr_matrix
    mean: Floats
    root: Floats

    def times(self, vector: Floats) -> Floats:
        return np.asarray(self.root * (self.rows @ vector - float(self.mean @ vector)))

    def transposed_times(self, vector: Floats) -> Floats:
        scaled = self.root * vector
        return np.asarray(self.rows.T @ scaled - self.mean * scaled.sum())


def _ridges(matrix: _Centred, target: Floats, alphas: tuple[float, ...]) -> list[Floats]:
    """``argmin |matrix x - root * target|^2 + alpha |x|^2`` for each alpha, shape (columns,)."""
    left = matrix.root * target
    size = float(np.linalg.norm(left))
    columns = len(matrix.mean)
    if size == 0.0:
        return [np.zeros(columns) for _ in alphas]
    left = left / size
    basis: list[Floats] = []
    diagonal, below = [], []
    right = matrix.transposed_times(left)
    for _ in range(min(STEPS, columns)):
        for each in basis:  # rounding would let the vectors lean towards each other
            right -= float(each @ right) * each
        length = float(np.linalg.norm(right))
        if length < 1e-10:
            break
        basis.append(right / length)
        diagonal.append(length)
        left = matrix.times(basis[-1]) - length * left
        rest = float(np.linalg.norm(left))
        below.append(rest)
        if rest < 1e-10:
            break
        left /= rest
        right = matrix.transposed_times(left) - rest * basis[-1]
    if not basis:
        return [np.zeros(columns) for _ in alphas]
    k = len(basis)
    small = np.zeros((k + 1, k))
    small[np.arange(k), np.arange(k)] = diagonal
    small[np.arange(1, k + 1), np.arange(k)] = below
    square, ends = small.T @ small, size * small[0]
    vectors = np.stack(basis)
    return [np.linalg.solve(square + alpha * np.eye(k), ends) @ vectors for alpha in alphas]
