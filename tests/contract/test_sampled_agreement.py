"""Several drafts of one answer: what the client gets, what is paid, and who learns of it."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest

from evaluation.applied import apply_policy, policy_in
from evaluation.records import Record, draft_of, read_records
from gateway.cascades import load_cascades
from gateway.facts import RequestSettled
from routing import (
    Basis,
    Defer,
    Logistic,
    Origin,
    Policy,
    Prospect,
    Reason,
    Role,
    Rule,
    Score,
    Target,
    Threshold,
    defer,
    policy_document,
)
from tests.fakes.observer import RememberingObserver
from tests.fakes.recordings import RECORDINGS
from tests.fakes.serving import Stage, stage, wait_until
from tests.fakes.upstream import SURE, Reply, completion, tokens
from understudy.record.asking import Panel
from understudy.record.dataset import Manner, read_dataset

WARM = {"temperature": 0.7}
NUMBER = {"samples": 3, "comparator": {"kind": "number"}}
# USD per million tokens, as tests/fakes/serving.py has them: input and output of the student's.
INPUT, OUTPUT = 0.02e-6, 0.06e-6


def drafts(*texts: str, n: int | None = None, usage: int | None = None) -> dict[str, Any]:
    """A reply with a choice for each text, a token for each of its words and one for the end."""
    whole = [f"{text} <end>".split(" ") for text in texts[:n]]
    choices = [
        completion(
            " ".join(words[:-1]),
            choice={"index": place, "logprobs": {"content": tokens(*_spaced(words))}},
        )["choices"][0]
        for place, words in enumerate(whole)
    ]
    told = sum(map(len, whole)) if usage is None else usage
    counted = {"prompt_tokens": 100, "completion_tokens": told, "total_tokens": 100 + told}
    return completion(choice=choices[0], choices=choices, usage=counted)


def _spaced(words: list[str]) -> list[str]:
    return [f"{word} " for word in words[:-2]] + words[-2:]


def agreeing(threshold: float) -> Policy:
    """Confidence is the share of three drafts that agree."""
    rule = Rule(Score(("agreement",), (1.0,)), Logistic(8.0, -4.0), Threshold(threshold))
    return Policy("test", rule, sampling=WARM, samples=3)


def written(policy: Policy) -> dict[str, Any]:
    basis = Basis(Target("quality", 0.05, 0.95), None, 60)
    origin = Origin("assistant", "student-1", basis, "2026-11-30", "0" * 64)
    return policy_document(policy, origin)


def scene(folder: Path, policy: Policy | None, **changes: Any) -> Any:
    cascade: dict[str, Any] = {**NUMBER, "objective": None, **changes}
    if policy is not None:
        (folder / "p.json").write_text(json.dumps(written(policy)))
        cascade["policy"] = "p.json"
    return stage(folder, cascade=cascade)


@pytest.fixture
def built(tmp_path: Path) -> Iterator[Stage]:
    """A cascade that keeps what two of three drafts say."""
    with scene(tmp_path, agreeing(0.6)) as made:
        made.teacher.reply = Reply(body=completion("It is 12.", SURE))
        yield made


def settled(built: Stage, **changes: Any) -> RequestSettled:
    context = built.gateway.context
    observer = context.observer = RememberingObserver(context.observer)
    assert built.ask(**(WARM | changes)).status_code == 200
    wait_until(lambda: observer.settled_facts)
    (fact,) = observer.settled_facts
    return fact


def test_the_majority_is_served_as_though_it_had_been_the_only_draft(built: Stage) -> None:
    built.student.reply = Reply(body=drafts("I say 8", "so 7", "7 apples it is"))
    response = built.ask(**WARM)
    assert [each["n"] for each in built.student.requests] == [3]
    body = response.json()
    (choice,) = body["choices"]
    assert (choice["index"], choice["message"]["content"]) == (0, "so 7")
    assert choice["logprobs"] is None
    assert body["model"] == "assistant"
    assert body["usage"] == {
        "prompt_tokens": 100,
        "completion_tokens": 3,
        "total_tokens": 103,
        "completion_tokens_details": None,
    }
    assert response.headers["x-understudy-served-by"] == "student"
    assert float(response.headers["x-understudy-confidence"]) == pytest.approx(0.791391, abs=1e-6)


def test_all_drafts_are_paid_and_those_not_served_are_wasted(built: Stage) -> None:
    built.student.reply = Reply(body=drafts("I say 8", "so 7", "7 apples it is"))
    response = built.ask(**WARM)
    served, wasted = 100 * INPUT + 3 * OUTPUT, (4 + 5) * OUTPUT
    assert float(response.headers["x-understudy-cost-usd"]) == pytest.approx(served + wasted)
    cost = "understudy_cost_usd_total"
    by_kind = {
        kind: built.metric(cost, cascade="assistant", role="student", kind=kind)
        for kind in ("served", "wasted")
    }
    assert by_kind == pytest.approx({"served": served, "wasted": wasted})
    tokens_out = {"cascade": "assistant", "role": "student", "type": "output"}
    assert built.metric("understudy_tokens_total", **tokens_out) == 12
    # One call was made, and it did not fail.
    calls = "understudy_upstream_seconds_count"
    assert built.metric(calls, cascade="assistant", role="student") == 1
    for error in ("spare", "other"):
        labels = {"cascade": "assistant", "role": "student", "code": error}
        assert built.metric("understudy_upstream_errors_total", **labels) == 0
    # The teacher alone would have written one answer.
    predicted = {"cascade": "assistant", "basis": "prices"}
    baseline = built.metric("understudy_baseline_usd_total", **predicted)
    assert baseline == pytest.approx(100 * 0.60e-6 + 3 * 2.40e-6)


def test_drafts_that_differ_are_deferred_and_the_pair_says_why(built: Stage) -> None:
    built.student.reply = Reply(body=drafts("8", "7", "6"))
    fact = settled(built)
    assert (fact.served_by, fact.reason) == (Role.TEACHER, Reason.LOW_CONFIDENCE)
    (line,) = built.pairs()
    pair = json.loads(line)["pair"]
    assert (pair["samples"], pair["signals"]["agreement"]) == (3, 1 / 3)
    assert [each["message"]["content"] for each in pair["content"]["draft"]["choices"]] == ["8"]
    assert [(leg["role"], leg["output_tokens"], leg["error"]) for leg in pair["legs"]] == [
        ("student", 2, None),
        ("student", 4, "spare"),
        ("teacher", 10, None),
    ]
    assert pair["content"]["request"].get("n") is None
    assert [each.get("n") for each in built.teacher.requests] == [None]
    assert {fact.kind_of(leg) for leg in fact.legs if leg.role is Role.STUDENT} == {"wasted"}


def test_a_stream_is_held_whole_and_replayed(built: Stage) -> None:
    built.student.reply = Reply(body=drafts("8", "so 7", "7"))
    client = openai.OpenAI(base_url=f"{built.url}/v1", api_key="x", max_retries=0)
    said = list(
        client.chat.completions.create(
            model="assistant",
            messages=[{"role": "user", "content": "How many?"}],
            temperature=0.7,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    client.close()
    assert "".join(each.choices[0].delta.content or "" for each in said if each.choices) == "so 7"
    assert said[-1].usage is not None
    assert said[-1].usage.completion_tokens == 3
    assert [(each["n"], each.get("stream")) for each in built.student.requests] == [(3, None)]


@pytest.mark.parametrize("changes", [{"temperature": 0}, {"n": 2}, {"top_k": 1}])
def test_what_cannot_be_sampled_goes_to_the_teacher_where_the_policy_is_for_samples(
    built: Stage, changes: dict[str, Any]
) -> None:
    fact = settled(built, **changes)
    assert (fact.served_by, fact.reason) == (Role.TEACHER, Reason.NO_SIGNAL)
    assert not built.student.requests


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("changes", [{"temperature": 0}, {"n": 2}])
def test_without_a_policy_it_is_judged_as_it_comes(
    tmp_path: Path, changes: dict[str, Any], is_stream: bool
) -> None:
    with scene(tmp_path, None) as made:
        made.student.reply = Reply(body=drafts("so 7", "8", n=changes.get("n", 1)))
        fact = settled(made, stream=is_stream, **changes)
        assert (fact.served_by, fact.reason) == (Role.STUDENT, Reason.CONFIDENT)
        assert [each.get("n") for each in made.student.requests] == [changes.get("n")]


def test_a_server_that_writes_fewer_drafts_leaves_no_signal(built: Stage) -> None:
    built.student.reply = Reply(body=drafts("7", "7"))
    fact = settled(built)
    assert (fact.served_by, fact.reason) == (Role.TEACHER, Reason.NO_SIGNAL)
    built.student.reply = Reply(body=drafts("7"))
    assert settled(built).reason is Reason.NO_SIGNAL
    built.student.reply = Reply(body=drafts("7", "7", "7", "7"))
    assert settled(built).reason is Reason.NO_SIGNAL


def test_a_server_that_refuses_so_many_drafts_has_failed(built: Stage) -> None:
    """llama.cpp writes no more of them than it has slots, and says 400."""
    error = {"error": {"message": "n_cmpl cannot be greater than the number of slots"}}
    built.student.reply = Reply(status=400, body=error)
    fact = settled(built)
    assert (fact.served_by, fact.reason) == (Role.TEACHER, Reason.STUDENT_FAILED)


def test_draft_is_chosen_from_several_too_where_the_teacher_fails(built: Stage) -> None:
    built.student.reply = Reply(body=drafts("8", "7", "6"))
    built.teacher.reply = Reply(status=500, body={})
    fact = settled(built)
    assert (fact.served_by, fact.reason) == (Role.STUDENT, Reason.LOW_CONFIDENCE)
    assert [fact.kind_of(leg) for leg in fact.legs] == ["served", "wasted", "wasted"]


def test_calls_are_compared_by_name_and_arguments(tmp_path: Path) -> None:
    def call(arguments: str) -> dict[str, Any]:
        function = {"name": "add", "arguments": arguments}
        calls = [{"id": "c", "type": "function", "function": function}]
        message = {"role": "assistant", "content": None, "tool_calls": calls}
        return {"index": 0, "message": message, "finish_reason": "tool_calls", "logprobs": None}

    arguments = ['{"a": 1, "b": 3}', '{"a": 1, "b": 2}', '{"b": 2, "a": 1}']
    choices = [call(each) for each in arguments]
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    with scene(tmp_path, agreeing(0.6), comparator={"kind": "json"}) as made:
        made.student.reply = Reply(body=completion(choices=choices))
        response = made.ask(tools=[tool], **WARM)
        (choice,) = response.json()["choices"]
        assert choice["message"]["tool_calls"][0]["function"]["arguments"] == arguments[1]
        assert response.headers["x-understudy-served-by"] == "student"


# --- replies of real servers ---


@pytest.mark.parametrize("server", ["vllm-0.32.0", "xllamacpp"])
def test_real_servers_write_several_and_all_their_tokens_are_on_the_bill(
    tmp_path: Path, server: str
) -> None:
    path = RECORDINGS / server / "chat_n2_sampled.json"
    if not path.is_file():
        pytest.skip(f"no recordings in {RECORDINGS}")
    with scene(tmp_path, None, samples=2, comparator={"kind": "normalised"}) as made:
        made.student.reply = Reply(body=path.read_bytes())
        fact = settled(made)
    student = [leg for leg in fact.legs if leg.role is Role.STUDENT]
    # llama.cpp's usage tells of 8 tokens alone, those of one draft.
    assert sum(leg.usage.output for leg in student if leg.usage) == 20
    assert {leg.usage.output for leg in student if leg.usage} == {8, 12}
    assert student[0].usage is not None
    assert student[0].usage.input == 42


# --- the same decision here and over HTTP ---


QUESTIONS = [f"How many are {number}?" for number in range(24)]


def of_question(request: Mapping[str, Any]) -> Reply:
    """Three drafts whose agreement depends on the question; fewer where fewer are asked for."""
    number = int(request["messages"][-1]["content"].split()[-1].rstrip("?"))
    texts = [f"so {number % 2}", f"it is {number % 3}", f"{number % 5} in all"]
    return Reply(body=drafts(*texts, n=request.get("n", 1)))


def recorded(built: Stage) -> tuple[Record, ...]:
    """The questions' records, as `understudy record` makes them of the same cascade."""
    folder = built.folder
    asked = [{"question": each, "answer": "1"} for each in QUESTIONS]
    (folder / "d.jsonl").write_text("\n".join(map(json.dumps, asked)))
    items = read_dataset(folder / "d.jsonl", "assistant", Manner(temperature=0.7))
    (loaded,) = load_cascades(folder / "cascades.yaml", lambda _: None)
    panel = Panel(loaded, is_teacher_asked=True)

    async def ask() -> list[Any]:
        try:
            return [await panel.record(item, is_asked_again=False) for item in items]
        finally:
            panel.close()
            await asyncio.sleep(0)

    found = asyncio.run(ask())
    text = "\n".join(json.dumps(_plain(each.record)) for each in found)
    (folder / "r.jsonl").write_text(text)
    return tuple(read_records(folder / "r.jsonl"))


def _plain(record: Mapping[str, Any]) -> Any:

    return json.loads(msgspec.json.encode(record))


def test_records_are_decided_over_http_as_they_are_here(tmp_path: Path) -> None:
    policy = agreeing(0.6)
    with scene(tmp_path, policy) as built:
        built.student.reply, built.teacher.reply = of_question, Reply(body=completion("1"))
        records = recorded(built)
        applied = apply_policy(policy_in(written(policy)), records)
        outcomes = set()
        for place, record in enumerate(records):
            assert record.student.samples == 3
            prospect = Prospect(sampling=WARM, samples=3)
            here = defer([draft_of(record.student)], policy, prospect)
            there = settled(built, **record.request)
            assert there.confidence == here.confidence
            assert there.merit == here.merit
            assert there.merit is not None
            assert there.merit.value == applied.merit[place]
            assert there.reason is here.reason
            assert (there.served_by is Role.TEACHER) is isinstance(here, Defer)
            outcomes.add((record.student.signals or {})["agreement"])
        assert outcomes == {1 / 3, 2 / 3, 1.0}


def test_record_knows_what_all_drafts_took(tmp_path: Path) -> None:
    with scene(tmp_path, agreeing(0.6)) as built:
        built.student.reply, built.teacher.reply = of_question, Reply(body=completion("1"))
        (first, *_) = recorded(built)
    assert first.student.text == "so 0"
    assert first.student.cost_usd == pytest.approx(100 * INPUT + (3 + 4 + 4) * OUTPUT)
    assert draft_of(first.student).agreement == 1.0
