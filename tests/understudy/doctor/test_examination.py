"""One test for each thing that may be wrong with a server: that is said, and nothing else."""

import asyncio
import socket
import time
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from gateway.stores.redis_keys import generations_key
from gateway.upstream.probe import PREFIX
from tests.fakes.generations import generation, rollout, state
from tests.fakes.serving import STUDENT_PRICE, closed_port_url, serving
from tests.fakes.upstream import Reply
from tests.fakes.valkey import store_server
from tests.fakes.vllm import NAMES, Flags, ScriptedVllm
from tests.understudy.doctor.examining import KEY, amiss, examined, patient
from understudy.doctor.findings import State, Subject
from understudy.doctor.report import Whose

CASCADE, STUDENT, TEACHER = Whose.CASCADE, Whose.STUDENT, Whose.TEACHER
HINT, AWAY, PROBLEM = State.HINT, State.AWAY, State.PROBLEM
CACHED_PRICE = {"price": {**STUDENT_PRICE, "cached_input": 0.01}}
NO_TOOLS = {"student": {"cannot": ["tools"]}}


def test_of_a_good_server_nothing_is_said(tmp_path: Path, vllm: tuple[str, ScriptedVllm]) -> None:
    url, server = vllm
    report = examined(patient(tmp_path, url))
    assert amiss(report) == {}
    assert report.worst is State.OK
    # Three questions each, and whether the teacher goes on.
    assert report.bill.questions == len(server.model.requests) == 7
    contents = [request["messages"][-1]["content"] for request in server.model.requests]
    assert PREFIX.text in contents
    asked = [request for request in server.model.requests if "top_logprobs" in request]
    assert {request["model"] for request in asked} == {"upstream-student"}


@pytest.mark.parametrize(
    ("flags", "expected", "words"),
    [
        (
            Flags(enable_auto_tool_choice=False),
            {(STUDENT, Subject.TOOLS): PROBLEM, (TEACHER, Subject.TOOLS): PROBLEM},
            "--enable-auto-tool-choice",
        ),
        (
            Flags(tool_call_parser=False),
            {(STUDENT, Subject.TOOLS): PROBLEM, (TEACHER, Subject.TOOLS): PROBLEM},
            "cannot: [tools]",
        ),
        (
            Flags(is_parser_of_this_model=False),
            {(STUDENT, Subject.TOOLS): PROBLEM, (TEACHER, Subject.TOOLS): PROBLEM},
            "not this model's",
        ),
        (
            Flags(calls_of_itself=False, can_be_made_to_call=False),  # as llama.cpp's
            {(STUDENT, Subject.TOOLS): PROBLEM, (TEACHER, Subject.TOOLS): PROBLEM},
            "--jinja",
        ),
        (
            Flags(enable_prompt_tokens_details=False),
            {(STUDENT, Subject.CACHED): HINT, (TEACHER, Subject.CACHED): HINT},
            "--enable-prompt-tokens-details",
        ),
        (Flags(max_logprobs=1), {(STUDENT, Subject.LOGPROBS): PROBLEM}, "--max-logprobs"),
        (
            Flags(has_logprobs=False),
            {(STUDENT, Subject.LOGPROBS): PROBLEM, (STUDENT, Subject.WHOLE): PROBLEM},
            "no_signal",
        ),
        (
            Flags(knows_running_usage=False),
            {(STUDENT, Subject.USAGE): PROBLEM},
            "running_usage: false",
        ),
        (
            Flags(knows_running_usage=False, max_logprobs=0),
            {(STUDENT, Subject.USAGE): PROBLEM, (STUDENT, Subject.LOGPROBS): PROBLEM},
            "--max-logprobs",
        ),
        (
            Flags(has_usage=False),
            {(TEACHER, Subject.USAGE): PROBLEM, (TEACHER, Subject.CACHED): HINT},
            "unknown cost",
        ),
        (
            Flags(keeps_last_message=False),
            {(TEACHER, Subject.CONTINUATION): PROBLEM},
            "continue_final_message",
        ),
        (
            Flags(is_collected_by_a_proxy=True),
            {(STUDENT, Subject.STREAMS): HINT, (TEACHER, Subject.STREAMS): HINT},
            "a proxy before it",
        ),
        (Flags(served=NAMES[1:]), {(STUDENT, Subject.SERVER): PROBLEM}, "--lora-modules"),
        (
            Flags(listing=b"{}"),  # the list is missing, and nothing else
            {},
            "",
        ),
        (
            Flags(api_key="other"),
            {(STUDENT, Subject.SERVER): PROBLEM, (TEACHER, Subject.SERVER): PROBLEM},
            "it wants a key",
        ),
        (
            Flags(status=503),
            {(STUDENT, Subject.SERVER): AWAY, (TEACHER, Subject.SERVER): AWAY},
            "is not ready",
        ),
        (
            Flags(max_model_len={"upstream-teacher": 1024}),
            {(CASCADE, Subject.CONTEXT): HINT},
            "--max-model-len",
        ),
    ],
)
def test_a_flag_that_is_missing_is_the_one_thing_that_is_said(
    tmp_path: Path,
    vllm: tuple[str, ScriptedVllm],
    flags: Flags,
    expected: dict[tuple[Whose, Subject], State],
    words: str,
) -> None:
    url, server = vllm
    server.flags = flags
    found = amiss(examined(patient(tmp_path, url)))
    assert {each: finding.state for each, finding in found.items()} == expected
    told = " ".join(f"{finding.saw} {finding.advice}" for finding in found.values())
    assert words in told


@pytest.mark.parametrize(
    ("changes", "flags", "expected"),
    [
        (
            {"student": {"api_key_env": "KEY"}},
            Flags(api_key=KEY),
            {(TEACHER, Subject.SERVER): PROBLEM},
        ),
        (NO_TOOLS, Flags(tool_call_parser=False), {(TEACHER, Subject.TOOLS): HINT}),
        ({"samples": 3}, Flags(most_choices=1), {(STUDENT, Subject.DRAFTS): PROBLEM}),
        (
            {"teacher": CACHED_PRICE},
            Flags(enable_prompt_tokens_details=False),
            {(STUDENT, Subject.CACHED): HINT, (TEACHER, Subject.CACHED): PROBLEM},
        ),
        ({"streaming": {"handover": "never"}}, Flags(keeps_last_message=False), {}),
        ({"student": {"running_usage": False}}, Flags(knows_running_usage=False), {}),
        ({"student": {"price": None}}, Flags(), {(STUDENT, Subject.PRICE): HINT}),
        ({"teacher": {"outputs_may_train": False}}, Flags(), {(CASCADE, Subject.TRAINING): HINT}),
        ({"policy": None}, Flags(), {(CASCADE, Subject.POLICY): HINT}),
        ({"policy": "nowhere.json"}, Flags(), {(CASCADE, Subject.POLICY): PROBLEM}),
        ({"student": {"version": "other"}}, Flags(), {(CASCADE, Subject.POLICY): PROBLEM}),
        (
            {"streaming": {"hold_seconds": 120.0, "handover": "never"}},
            Flags(),
            {(CASCADE, Subject.DOUBTS): HINT},
        ),
    ],
)
def test_a_configuration_is_held_against_its_servers(
    tmp_path: Path,
    vllm: tuple[str, ScriptedVllm],
    changes: dict[str, Any],
    flags: Flags,
    expected: dict[tuple[Whose, Subject], State],
) -> None:
    url, server = vllm
    server.flags = flags
    if "samples" in changes:  # the policy is for one draft
        changes = {**changes, "policy": None}
        expected = {**expected, (CASCADE, Subject.POLICY): HINT}
    found = amiss(examined(patient(tmp_path, url, **changes)))
    assert {each: finding.state for each, finding in found.items()} == expected


def test_a_policy_of_another_student_is_told_with_the_way_to_one_of_this(
    tmp_path: Path, vllm: tuple[str, ScriptedVllm]
) -> None:
    url, _ = vllm
    found = amiss(examined(patient(tmp_path, url, student={"version": "student-2"})))
    advice = found[CASCADE, Subject.POLICY].advice
    assert "fitted for 'student-1', this cascade is 'student-2'" in advice
    assert "understudy calibrate RECORDS --cascade assistant --student-version student-2" in advice


@pytest.mark.parametrize(("days", "is_told"), [(30, False), (31, True)])
def test_a_policy_that_is_older_than_a_month_is_a_hint(
    tmp_path: Path, vllm: tuple[str, ScriptedVllm], days: int, is_told: bool
) -> None:
    url, _ = vllm
    noon = 1_800_000_000.0
    made = date.fromisoformat("2027-01-15") - timedelta(days=days)
    found = amiss(examined(patient(tmp_path, url, made=made), epoch=lambda: noon))
    assert ((CASCADE, Subject.POLICY) in found) is is_told


def test_a_clock_that_is_off_is_told_with_how_exact_that_is(
    tmp_path: Path, vllm: tuple[str, ScriptedVllm]
) -> None:
    url, _ = vllm
    found = amiss(examined(patient(tmp_path, url), epoch=lambda: time.time() + 60))
    assert found.keys() == {(STUDENT, Subject.CLOCK), (TEACHER, Subject.CLOCK)}
    saw = found[STUDENT, Subject.CLOCK].saw
    assert "behind this machine's, give or take 1." in saw


def test_servers_that_are_not_there_are_away_and_only_that(tmp_path: Path) -> None:
    found = amiss(examined(patient(tmp_path, closed_port_url())))
    assert {each: finding.state for each, finding in found.items()} == {
        (STUDENT, Subject.SERVER): AWAY,
        (TEACHER, Subject.SERVER): AWAY,
    }
    assert "nothing listens there" in found[STUDENT, Subject.SERVER].advice


class Together:
    """Answers nobody before so many have asked."""

    def __init__(self, server: ScriptedVllm, count: int) -> None:
        self._server = server
        self._barrier = asyncio.Barrier(count)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET":
            await self._barrier.wait()
        await self._server(scope, receive, send)


def test_all_models_are_asked_at_once_so_that_dead_ones_cost_one_wait(tmp_path: Path) -> None:
    with serving(Together(ScriptedVllm(), 2)) as url:
        assert amiss(examined(patient(tmp_path, url), seconds=3)) == {}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        found = amiss(examined(patient(tmp_path, url), seconds=0.1))
    assert {finding.state for finding in found.values()} == {AWAY}


def test_a_server_that_lists_its_models_and_hangs_costs_one_wait(
    tmp_path: Path, vllm: tuple[str, ScriptedVllm]
) -> None:
    url, server = vllm
    answer = server.model.reply
    try:
        server.model.reply = lambda _: Reply(delay_seconds=60)
        report = examined(patient(tmp_path, url), seconds=0.2)
    finally:
        server.model.reply = answer
    assert amiss(report).keys() == {(STUDENT, Subject.STREAMS), (TEACHER, Subject.STREAMS)}
    assert len(server.model.requests) == 2


def test_a_server_that_fails_at_one_question_is_asked_no_further(
    tmp_path: Path, vllm: tuple[str, ScriptedVllm]
) -> None:
    url, server = vllm
    answer = server.model.reply
    assert callable(answer)
    try:
        server.model.reply = lambda asked: (
            answer(asked) if asked.get("stream") else Reply({}, status=500)
        )
        found = amiss(examined(patient(tmp_path, url, streaming={"handover": "never"})))
    finally:
        server.model.reply = answer
    assert {each: one.state for each, one in found.items()} == {
        (STUDENT, Subject.WHOLE): AWAY,
        (TEACHER, Subject.WHOLE): AWAY,
    }
    assert len(server.model.requests) == 4


def test_a_comparator_s_server_is_looked_at_too(
    tmp_path: Path, vllm: tuple[str, ScriptedVllm]
) -> None:
    url, _ = vllm
    for model, where, expected in (
        ("upstream-student", url, None),
        ("embedder", url, PROBLEM),
        ("embedder", closed_port_url(), AWAY),
    ):
        comparator = {
            "kind": "embedding",
            "base_url": f"{where}/v1",
            "model": model,
            "at_least": 0.9,
        }
        found = amiss(examined(patient(tmp_path, url, comparator=comparator)))
        assert {each: one.state for each, one in found.items()} == (
            {} if expected is None else {(CASCADE, Subject.COMPARATOR): expected}
        )


def test_who_serves_is_the_student_that_redis_has_in_force(
    tmp_path: Path, vllm: tuple[str, ScriptedVllm]
) -> None:
    """An adapter that was loaded at run time is gone once its server has started anew."""
    url, server = vllm
    (tmp_path / "store").mkdir()
    with store_server(tmp_path / "store") as valkey, valkey.client() as client:
        client.set(
            generations_key("assistant"), state(3, generation(1, url), rollout(generation(2, url)))
        )
        asked = replace(patient(tmp_path, url), redis_url=valkey.url)
        server.flags = Flags(served=(*NAMES, "model-g1", "model-g2"))
        assert amiss(examined(asked)) == {}
        server.flags = Flags(served=(*NAMES, "model-g2"))
        found = amiss(examined(asked))
        assert {each: one.state for each, one in found.items()} == {
            (STUDENT, Subject.SERVER): PROBLEM
        }
        saw = found[STUDENT, Subject.SERVER].saw
        assert saw.startswith("has no model-g1, but upstream-student, upstream-teacher, model-g2")
        server.flags = Flags(served=("upstream-teacher", "model-g1"))  # the first student is gone
        found = amiss(examined(asked))
        assert found.keys() == {(CASCADE, Subject.CANDIDATE)}
        rights = ("~understudy:*", "+@all", "-get", "-hgetall")
        client.execute_command("ACL", "SETUSER", "blind", "on", "nopass", *rights)
        blind = replace(asked, redis_url=valkey.url.replace("//", "//blind:any@"))
        report = examined(blind)
        told = {each.subject: each for each in report.findings}
        assert told[Subject.RIGHTS].saw == "may not get"
        assert told[Subject.GENERATION].state is State.SKIPPED
        assert Subject.GATEWAYS not in told
        client.execute_command("ACL", "SETUSER", "no-sets", "on", "nopass", *rights[:2], "-zadd")
        for is_storing, state_of_rights in ((False, HINT), (True, PROBLEM)):
            storing = patient(tmp_path, url, stored={"enabled": is_storing})
            limited = valkey.url.replace("//", "//no-sets:any@")
            told = {f.subject: f for f in examined(replace(storing, redis_url=limited)).findings}
            assert told[Subject.RIGHTS].state is state_of_rights


def test_each_server_of_a_model_is_examined(tmp_path: Path, vllm: tuple[str, ScriptedVllm]) -> None:
    url, _ = vllm
    away = closed_port_url() + "/v1"
    looked_at = patient(tmp_path, url, student={"base_url": [f"{url}/v1", away]})
    report = examined(looked_at)
    students = [part for part in report.parts if part.whose is STUDENT]
    assert [part.place for part in students] == [f"{url}/v1", away]
    here, there = ({finding.state for finding in part.findings} for part in students)
    assert AWAY not in here
    assert AWAY in there
    assert set(amiss(report)) == {(STUDENT, Subject.SERVER)}
