import math
from collections.abc import Mapping
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.errors import PolicyError
from routing.model import (
    LARGEST_LOGIT,
    LEAF,
    LOGIT_EDGE,
    Average,
    Linear,
    Model,
    Score,
    Tree,
    Trees,
    largest,
    logit,
)

NAMES = ("a", "b", "label=c")
NUMBERS = st.floats(-4.0, 4.0)
# Shares of a few values, so that thresholds and features meet.
SHARES = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]) | st.floats(0.0, 1.0)
FEATURES = st.dictionaries(st.sampled_from(NAMES), SHARES)


def stump(threshold: float, *, missing_left: bool = True, feature: int = 0) -> Tree:
    """-1 on the left, 1 on the right."""
    return Tree(
        (feature, 0, 0), (threshold, 0.0, 0.0), (1, LEAF, LEAF), (2, LEAF, LEAF),
        (missing_left, False, False), (0.0, -1.0, 1.0),
    )  # fmt: skip


@st.composite
def trees_of(draw: st.DrawFn, most_leaves: int) -> Tree:
    """A tree of any shape, grown leaf by leaf."""
    rows: list[list[float]] = [[0, 0.0, LEAF, LEAF, False, draw(NUMBERS)]]
    for _ in range(draw(st.integers(0, most_leaves - 1))):
        leaves = [place for place, row in enumerate(rows) if row[2] == LEAF]
        node = draw(st.sampled_from(leaves))
        feature = draw(st.integers(0, len(NAMES) - 1))
        rows[node][:5] = [feature, draw(SHARES), len(rows), len(rows) + 1, draw(st.booleans())]
        rows += [[0, 0.0, LEAF, LEAF, False, draw(NUMBERS)] for _ in range(2)]
    feature_, threshold, left, right, missing, value = zip(*rows, strict=True)
    return Tree(
        tuple(map(int, feature_)), threshold, tuple(map(int, left)), tuple(map(int, right)),
        tuple(map(bool, missing)), value,
    )  # fmt: skip


def walked(tree: Tree, features: Mapping[str, float], node: int = 0) -> float:
    """What a tree says, as one would explain it."""
    if tree.left[node] == LEAF:
        return tree.value[node]
    name = NAMES[tree.feature[node]]
    goes_left = (
        features[name] <= tree.threshold[node] if name in features else tree.missing_left[node]
    )
    return walked(tree, features, tree.left[node] if goes_left else tree.right[node])


@given(st.lists(trees_of(9) | trees_of(20), min_size=1, max_size=6), NUMBERS, FEATURES)
def test_trees_say_what_a_walk_through_each_of_them_says(
    trees: list[Tree], base: float, features: dict[str, float]
) -> None:
    said = Trees(NAMES, tuple(trees), base).of(features)
    assert said == math.fsum(walked(tree, features) for tree in trees) + base
    assert [tree.of(NAMES, features) for tree in trees] == [walked(t, features) for t in trees]


@given(st.lists(trees_of(9), min_size=1, max_size=6), FEATURES, st.randoms())
def test_order_of_trees_does_not_matter_to_the_last_bit(
    trees: list[Tree], features: dict[str, float], random: Random
) -> None:
    shuffled = random.sample(trees, len(trees))
    assert Trees(NAMES, tuple(trees)).of(features) == Trees(NAMES, tuple(shuffled)).of(features)


@pytest.mark.parametrize("leaves", [8, 9])
@pytest.mark.parametrize(("value", "said"), [(0.5, -1.0), (math.nextafter(0.5, 1.0), 1.0)])
def test_equality_with_a_threshold_goes_left(leaves: int, value: float, said: float) -> None:
    tree = stump(0.5)
    for _ in range(leaves - 2):  # the same question again: the right of it is never reached
        tree = grown(tree)
    assert tree.leaves == leaves
    assert Trees(NAMES, (tree,)).of({"a": value}) == said


def grown(tree: Tree) -> Tree:
    """The same answers, with the last leaf split in two that say the same."""
    n = len(tree.feature)
    return Tree(
        feature=(*tree.feature, 0, 0),
        threshold=(*tree.threshold[:-1], 0.5, 0.0, 0.0),
        left=(*tree.left[:-1], n, LEAF, LEAF),
        right=(*tree.right[:-1], n + 1, LEAF, LEAF),
        missing_left=(*tree.missing_left, False, False),
        value=(*tree.value, *tree.value[-1:] * 2),
    )


@pytest.mark.parametrize("missing_left", [True, False])
def test_absent_feature_goes_the_way_that_was_fitted(missing_left: bool) -> None:
    trees = Trees(NAMES, (stump(0.5, missing_left=missing_left),))
    assert trees.of({"b": 0.0}) == (-1.0 if missing_left else 1.0)
    # A threshold that all values pass separates them from nothing at all.
    assert Trees(NAMES, (stump(2.0, missing_left=missing_left),)).of({"a": 1.0}) == -1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature": ()}, "same length"),
        ({"threshold": (0.5,)}, "same length"),
        ({"value": (0.0, 1.0, 2.0, 3.0)}, "same length"),
        ({"left": (1, 1, LEAF)}, "once"),
        ({"right": (1, LEAF, LEAF)}, "once"),
        ({"right": (3, LEAF, LEAF)}, "once"),
        ({"right": (LEAF, LEAF, LEAF)}, "once"),
        ({"left": (0, LEAF, LEAF)}, "once"),
        ({"left": (LEAF, LEAF, LEAF)}, "once"),
    ],
)
def test_arrays_that_make_no_tree_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        replace(stump(0.5), **change)  # type: ignore[arg-type]


def test_tree_with_a_child_before_its_parent_is_refused() -> None:
    with pytest.raises(PolicyError, match="behind"):
        Tree(
            (0,) * 5,
            (0.5,) * 5,
            (2, 3, LEAF, LEAF, LEAF),
            (4, 1, LEAF, LEAF, LEAF),
            (True,) * 5,
            (0.0,) * 5,
        )


# --- sums ---


def test_absent_feature_of_a_linear_model_has_its_default() -> None:
    model = Linear(NAMES, (1.0, 2.0, 4.0), (0.5, 0.25, 0.0), intercept=-1.0)
    assert model.of({}) == 0.0
    assert model.of({"a": 0.0, "b": 1.0, "label=c": 1.0, "d": 9.0}) == 5.0


def test_log_odds_are_of_signals_and_not_of_labels() -> None:
    model = Linear(("a", "label=c"), (1.0, 1.0), (0.5, 0.0), is_logit=True)
    assert model.of({"label=c": 1.0}) == 1.0
    assert model.of({"a": 0.75}) == pytest.approx(math.log(3))


def test_log_odds_have_an_edge_beyond_which_all_is_the_same() -> None:
    assert logit(0.5) == 0.0
    assert logit(0.0) == -LARGEST_LOGIT
    assert logit(1.0) == logit(1.0 - LOGIT_EDGE) == pytest.approx(LARGEST_LOGIT)
    assert logit(0.0) == logit(LOGIT_EDGE / 2)


@given(SHARES, SHARES)
def test_log_odds_grow(left: float, right: float) -> None:
    low, high = sorted((left, right))
    assert logit(low) <= logit(high)


def test_average_is_that_of_its_models() -> None:
    trees = Trees(("b", "a"), (stump(0.5),))
    linear = Linear(("a",), (2.0,), (0.0,))
    both = Average((trees, linear))
    assert both.of({"a": 1.0, "b": 1.0}) == 1.5
    assert both.names == ("b", "a")


LINEAR = st.builds(
    lambda weights, defaults, intercept, is_logit: Linear(
        NAMES, weights, defaults, intercept, is_logit
    ),
    st.tuples(NUMBERS, NUMBERS, NUMBERS),
    st.tuples(SHARES, SHARES, SHARES),
    NUMBERS,
    st.booleans(),
)
TREES = st.builds(
    lambda trees, base: Trees(NAMES, tuple(trees), base),
    st.lists(trees_of(9), min_size=1, max_size=4),
    NUMBERS,
)
SCORES = st.builds(Score, st.just(("a", "b")), st.tuples(NUMBERS, NUMBERS), NUMBERS)
MODELS = (
    SCORES
    | LINEAR
    | TREES
    | st.lists(LINEAR | TREES, min_size=1, max_size=3).map(lambda models: Average(tuple(models)))
)


@given(MODELS, FEATURES)
def test_no_result_is_larger_than_the_largest(model: Model, features: dict[str, float]) -> None:
    said = model.of(features)
    if said is None:
        assert isinstance(model, Score)
        assert not {"a", "b"} <= features.keys()
    else:
        assert abs(said) <= largest(model) * (1 + 1e-12)
