import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.cluster_file import Cluster, Clusters
from distill.conversation import Call
from distill.conversation import Message as Said
from distill.dataset import DataError
from distill.failures import failure_rate
from distill.synthesis import (
    Candidate,
    Source,
    chosen_clusters,
    most_synthetic,
    shared_out,
)
from tests.fakes.datasets import example, examples, row


def cluster(number: int, failed: int | None = None, records: int = 10) -> Cluster:
    rate = None
    if failed is not None:
        rate = failure_rate([0.0] * failed + [1.0] * (records - failed))
    failing = None if rate is None else rate.is_failing(0.2)
    return Cluster(number, ("words",), 5, 5, ("a", "b", "c"), rate, failing)


def clusters(*each: Cluster) -> Clusters:
    return Clusters(each, 0.2, "records", None, {})


@given(st.integers(0, 1000), st.floats(0, 0.99))
def test_synthetic_rows_are_never_more_than_their_share(real: int, share: float) -> None:
    most = most_synthetic(real, share)
    assert most >= 0
    total = real + most
    assert most <= share * total + 1e-6
    assert most + 1 > share * (total + 1) - 1e-6


def test_a_share_is_taken_as_it_is_written() -> None:
    assert most_synthetic(70, 0.3) == 30
    assert most_synthetic(7, 0.3) == 3
    assert most_synthetic(6, 0.3) == 2
    assert most_synthetic(100, 0.0) == 0


def test_all_that_fail_are_chosen_unless_some_are_named() -> None:
    told = clusters(cluster(0, 1), cluster(1, 9), cluster(2, 10), cluster(3))
    assert [each.id for each in chosen_clusters(told, [])] == [1, 2]
    assert [each.id for each in chosen_clusters(told, [3, 0, 3])] == [3, 0]


@pytest.mark.parametrize(
    ("told", "ids", "why"),
    [
        (clusters(cluster(0)), [], "nobody said which drafts fail"),
        (clusters(cluster(0, 1)), [], "no cluster is failing"),
        (clusters(), [], "nobody said"),
        (clusters(cluster(0, 9)), [0, 4], "there is no cluster 4"),
    ],
)
def test_where_there_is_nothing_to_aim_at_that_is_said(
    told: Clusters, ids: list[int], why: str
) -> None:
    with pytest.raises(DataError, match=why):
        chosen_clusters(told, ids)


def test_rows_go_where_the_failures_are() -> None:
    assert shared_out([cluster(0, 30, 40), cluster(1, 10, 10)], 8) == {0: 6, 1: 2}
    assert shared_out([cluster(0), cluster(1), cluster(2)], 7) == {0: 3, 1: 2, 2: 2}
    # Where one is known to fail, those of which nothing is known wait.
    assert shared_out([cluster(0, 5), cluster(1)], 4) == {0: 4, 1: 0}


@given(st.lists(st.integers(0, 10), min_size=1, max_size=6), st.integers(0, 50))
def test_all_rows_are_shared_out(failed: list[int], rows: int) -> None:
    given_to = shared_out([cluster(n, each) for n, each in enumerate(failed)], rows)
    assert sum(given_to.values()) == rows
    weight = sum(failed)
    for number, each in enumerate(failed):
        exact = rows * each / weight if weight else rows / len(failed)
        assert math.floor(exact - 1e-9) <= given_to[number] <= math.ceil(exact + 1e-9)


def source(*rows: dict[str, object]) -> Source:
    return Source.of(cluster(0, 9), {each.id: each for each in examples(rows)})


def test_orders_show_real_prompts_and_differ() -> None:
    found = source(row("a", "In digits: one"), row("b", "In digits: two"), row("x", "Other"))
    template, order = found.order(1, 0, 10)
    assert {template.question, *order.examples} == {"In digits: one", "In digits: two"}
    assert found.order(1, 0, 10) == (template, order)
    assert found.order(1, 1, 10)[1].seed != order.seed
    assert found.order(2, 0, 10)[1].seed != order.seed


def test_only_prompts_of_the_same_conversation_are_shown_together() -> None:
    system = {"role": "system", "content": "Be brief."}
    told = row("b", "", prompt=[system, {"role": "user", "content": "In digits: two"}])
    found = source(row("a", "In digits: one"), told)
    for number in range(8):
        template, order = found.order(0, number, 10)
        assert order.examples == [template.question]
        assert order.earlier == template.earlier


@pytest.mark.parametrize(
    "told",
    [
        row("x", "In digits: one"),
        row("a", "In digits: one", synthetic=True),
        row("a", "  "),
        row("a", "", prompt=[{"role": "tool", "content": "42", "tool_call_id": "c"}]),
    ],
)
def test_what_no_user_has_asked_is_no_example(told: dict[str, object]) -> None:
    with pytest.raises(DataError, match="cluster 0"):
        source(told)


def test_a_new_row_has_what_its_template_had() -> None:
    tools = msgspec.json.encode([{"type": "function", "function": {"name": "f"}}]).decode()
    called = {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
        ],
    }
    result = {"role": "tool", "content": "1", "tool_call_id": "c"}
    prompt = [called, result, {"role": "user", "content": "Old"}]
    form = '{"type":"json_object"}'
    template = example(row("a", "", prompt=prompt, tools=tools, response_format=form))
    candidate = Candidate(4, template, "New")
    request = candidate.request(99, 0.5, 1)
    sent = request["messages"]
    assert sent[0]["tool_calls"][0]["function"]["arguments"] == '{"x":1}'
    assert sent[-1] == {"role": "user", "content": "New"}
    assert request["tools"] == msgspec.json.decode(tools)
    assert request["response_format"] == {"type": "json_object"}
    assert (request["max_tokens"], request["temperature"], request["seed"]) == (99, 0.5, 1)
    made = candidate.row(Said("assistant", None, (Call("d", "f", '{"x":2}'),)), "teacher-7")
    document = msgspec.json.decode(made.line)
    assert (made.is_synthetic, made.tools, made.response_format) == (True, tools, form)
    assert made.prompt == candidate.prompt
    assert made.key == candidate.key
    assert (document["cluster"], document["teacher_version"]) == (4, "teacher-7")
    arguments = document["completion"][0]["tool_calls"][0]["function"]["arguments"]
    assert arguments == {"x": 2}
