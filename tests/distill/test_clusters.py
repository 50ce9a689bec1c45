from collections import Counter

import numpy as np
import pytest

from distill.clusters import LEAST_SILHOUETTE, OUTSIDE, cluster, telling_terms
from distill.vectors import DIMENSIONS, Words, evened, text_of, unit
from tests.fakes.datasets import examples, task_rows

COUNTS = {"date": 30, "order": 30, "number": 5, "name": 5}


def texts(counts: dict[str, int], *, is_bare: bool = False) -> tuple[list[str], list[str]]:
    """What is read of the demo's tasks, without the examples in them where ``is_bare``."""
    rows = examples(task_rows(3, counts))
    read = [text_of(each.prompt[-1:] if is_bare else each.prompt) for each in rows]
    return read, [each.id.partition("-")[0] for each in rows]


@pytest.mark.parametrize("is_bare", [False, True])
def test_kinds_of_task_are_told_apart_also_rare_ones(is_bare: bool) -> None:
    read, families = texts(COUNTS, is_bare=is_bare)
    found = cluster(Words.fitted(read, 0).of(read), seed=0)
    pairs = Counter(zip(families, found.labels.tolist(), strict=True))
    assert sorted(pairs.values()) == sorted(COUNTS.values()), pairs
    assert found.count == len(COUNTS)
    assert set(found.silhouettes) == set(range(2, 13))


def test_the_same_seed_groups_alike_and_the_largest_comes_first() -> None:
    read, _ = texts(COUNTS)
    vectors = Words.fitted(read, 7).of(read)
    first, second = cluster(vectors, 7), cluster(vectors, 7)
    assert np.array_equal(first.labels, second.labels)
    assert np.array_equal(first.centres, second.centres)
    sizes = np.bincount(first.labels)
    assert list(sizes) == sorted(sizes, reverse=True)


def test_what_is_not_grouped_is_one_cluster() -> None:
    rng = np.random.default_rng(0)
    found = cluster(unit(rng.normal(size=(200, 20))), seed=0)
    assert max(found.silhouettes.values()) < LEAST_SILHOUETTE
    assert found.count == 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_rows_are_enough(count: int) -> None:
    read = ["user: one thing", "user: quite another", "user: one thing"][:count]
    found = cluster(Words.fitted(read, 0).of(read), seed=0)
    assert len(found.labels) == count


def test_rows_that_are_all_alike_are_one_cluster() -> None:
    read = ["user: one thing"] * 5
    assert cluster(Words.fitted(read, 0).of(read), seed=0).count == 1


def test_what_is_like_no_row_lies_outside() -> None:
    read, _ = texts(COUNTS)
    words = Words.fitted(read, 0)
    found = cluster(words.of(read), 0)
    others = ["user: Write a poem about the sea at night", "user: "]
    assert found.found(words.of(others)).tolist() == [OUTSIDE, OUTSIDE]
    assert np.array_equal(found.found(words.of(read)), found.labels)
    more, _ = texts({"date": 40})
    (label,) = set(found.found(words.of(more)).tolist())
    assert label != OUTSIDE


def test_many_texts_become_few_dimensions() -> None:
    read, _ = texts(COUNTS)
    words = Words.fitted(read, 0)
    assert words.of(read).shape == (70, DIMENSIONS)
    lengths = np.linalg.norm(words.of([*read, "sea at night"]), axis=1)
    assert lengths[:70].min() > 0.7
    assert lengths[70] < 0.1


def test_figures_are_all_the_same() -> None:
    assert evened("12 chairs at 3.50") == "0 chairs at 0.0"


def test_a_cluster_is_told_by_what_the_others_do_not_say() -> None:
    read = ["in digits: forty", "in digits: two", "order to json: 0 mugs", "order to json: 0 pens"]
    first, second = telling_terms(read, np.array([0, 0, 1, 1]), 2)
    assert first[0] == "in digits"
    assert second[0] in ("order to", "to json", "json 0")
    # A word of one prompt alone would tell of a person.
    assert not {"forty", "mugs", "pens"} & {
        word for term in first + second for word in term.split()
    }
