import json
import math
from typing import Any

import pytest

from routing.comparators import Ask, Asked, NoScore, Question, Score, similar_embedding
from routing.comparators.embeddings import MOST_CHARACTERS

COMPARATOR = similar_embedding("embedder", 0.9)


def reply(*vectors: Any) -> bytes:
    data = [{"index": place, "embedding": vector} for place, vector in enumerate(vectors)]
    return json.dumps({"data": data}).encode()


def score_of(body: bytes) -> float:
    score = COMPARATOR.finish([body])
    assert isinstance(score, Score)
    return score.value


def test_both_texts_go_in_one_request_in_one_order() -> None:
    asked = COMPARATOR.begin(Question(), "b", "a")
    assert isinstance(asked, Ask)
    (request,) = asked.requests
    assert request.asked is Asked.EMBEDDER
    assert request.fields["input"] == ["a", "b"]
    assert request.fields["model"] == "embedder"
    assert COMPARATOR.begin(Question(), "a", "b") == asked


def test_the_same_words_are_not_sent() -> None:
    assert COMPARATOR.begin(Question(), "Paris.", "paris") == Score(1.0)


def test_nothing_is_sent_as_a_blank_and_much_is_cut() -> None:
    asked = COMPARATOR.begin(Question(), "", "x" * 2 * MOST_CHARACTERS)
    assert isinstance(asked, Ask)
    texts = asked.requests[0].fields["input"]
    assert isinstance(texts, list)
    empty, long = texts
    assert empty == " "
    assert len(long) <= MOST_CHARACTERS


@pytest.mark.parametrize(
    ("left", "right", "cosine"),
    [
        ([1, 0], [1, 0], 1),
        ([1, 0], [0, 1], 0),
        ([1, 0], [-1, 0], 0),
        ([3, 4], [4, 3], 24 / 25),
        ([1e300, 0], [1e300, 1e300], math.sqrt(0.5)),
        ([1e-300, 0], [1e-300, 1e-300], math.sqrt(0.5)),
    ],
)
def test_the_score_is_the_cosine(left: list[float], right: list[float], cosine: float) -> None:
    assert score_of(reply(left, right)) == pytest.approx(cosine)


def test_the_index_says_which_is_which() -> None:
    body = {"data": [{"index": 1, "embedding": [0, 1]}, {"index": 0, "embedding": [0, 2]}, "x"]}
    assert score_of(json.dumps(body).encode()) == pytest.approx(1)


@pytest.mark.parametrize(
    "replies",
    [
        [],
        [b"{}", b"{}"],
        [b"no json"],
        [b"[" * 100_000],
        [reply([1, 0])],
        [reply([1, 0], [1])],
        [reply([], [])],
        [reply([0, 0], [1, 0])],
        [reply([1, "x"], [1, 0])],
        [reply([1, True], [1, 0])],
        [reply([1, 10**400], [1, 0])],
        [b'{"data": [{"index": 0, "embedding": [NaN]}, {"index": 1, "embedding": [1]}]}'],
        [b'{"data": {}}'],
    ],
)
def test_a_reply_without_two_vectors_is_no_score(replies: list[bytes]) -> None:
    assert isinstance(COMPARATOR.finish(replies), NoScore)
