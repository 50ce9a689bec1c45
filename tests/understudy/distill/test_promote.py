"""The command as operators run it: real gateways under load, a real Valkey, scripted students."""

import os
import re
import signal
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from distill.generations import begun, ended, promoted, widened
from routing.rollout_file import policy_version
from tests.distill.made_generations import WHY, generation, policy, rollout
from tests.fakes.replica import FakeReplica
from tests.fakes.serving import closed_port_url
from tests.fakes.upstream import SURE, Reply, completion
from tests.understudy.distill.proposal import ANSWER, Proposal, propose
from tests.understudy.distill.running import QUICK, Distill
from tests.understudy.distill.streets import G1, G2, PATHS, Street, failing, good, usual, wrong
from understudy.distill.people import configured
from understudy.distill.preparing import load
from understudy.distill.proposing import Choice, proposed
from understudy.distill.registry import Adapter, Place, Registry

DOCS = Path(__file__).parents[3] / "docs"


def test_a_good_candidate_is_promoted_and_rolled_back_under_load_and_nobody_notices(
    command: Distill, here: Street, proposal: Proposal
) -> None:
    with here.traffic():
        assert command.promote(here, proposal) == 0, command.error
        actions = [step["action"] for step in command.told("step")]
        assert actions == ["shadowed", "canaried", "canaried", "promoted"]
        assert all(check["passed"] for check in command.told("check"))
        assert command.told("settled") == [
            {"event": "settled", "told": "taken up by all gateways: 2"}
        ]
        promoted_at = len(here.answers)
        here.wait_for_answers(60)
        rolled_back = command.rollback(here)
        assert rolled_back == 0, command.error
        back_at = len(here.answers) + 8  # what was under way
        here.wait_for_answers(60)
    assert Counter(answer.status for answer in here.answers) == {200: len(here.answers)}
    assert {answer.text for answer in here.answers} == {ANSWER}
    ours = policy_version(policy(G1))
    by_policy = Counter(answer.policy for answer in here.answers)
    assert set(by_policy) == {"uncalibrated", ours}
    during = here.answers[promoted_at + 8 : promoted_at + 50]
    assert {answer.policy for answer in during} == {ours}
    assert {answer.served_by for answer in during} == {"student"}  # the hard ones too
    assert {answer.policy for answer in here.answers[back_at:]} == {"uncalibrated"}
    assert here.student.loaded == {G1: "/adapters/g1"}  # to be returned to at once
    assert Registry(here.store.client(), "assistant").adapter(G1) is not None


@pytest.mark.parametrize(
    ("turn", "why"), [(wrong, "disagreement with the teacher"), (failing, "failed requests")]
)
def test_a_candidate_that_degrades_while_it_serves_is_rolled_back_by_itself(
    command: Distill, here: Street, proposal: Proposal, turn: Any, why: str
) -> None:
    registry = Registry(here.store.client(), "assistant")

    def degrading(request: Any) -> Reply:
        state = registry.state()
        is_serving = state is not None and state.revision > 1
        return turn(request) if is_serving else good(request)

    here.student.replies[G1] = degrading
    with here.traffic():
        assert command.promote(here, proposal) == 1
        back_at = len(here.answers) + 8
        here.wait_for_answers(40)
    (*_, last) = command.told("step")
    assert (last["action"], last["version"], last["who"]) == ("rolled_back", G1, "ada@desk")
    assert why in last["why"]
    assert {answer.status for answer in here.answers} == {200}
    assert {answer.text for answer in here.answers[back_at:]} == {ANSWER}
    assert here.student.unloaded == [G1]


def test_a_candidate_with_a_stale_policy_never_serves(
    command: Distill, quiet: Street, tmp_path: Path
) -> None:
    """Neither one of another student, nor one that was fitted again since it was evaluated."""
    for name, changes in (
        ("other", {"policy": policy("small-g0")}),
        ("newer", {"measured": {"policy_sha256": "2" * 64}}),
    ):
        assert command.promote(quiet, propose(tmp_path / name, G1, **changes)) == 1
        (stale,) = [check for check in command.told("check") if not check["passed"]]
        assert stale["name"] == "policy"
    assert quiet.student.loaded == {}
    assert Registry(quiet.store.client(), "assistant").state() is None


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"bill": 0.1}, "bill"),
        ({"incumbent": "student-0"}, "incumbent"),
        ({"serving": {"policy_version": "0123456789ab"}}, "incumbent"),
        ({"serving": {"threshold": 0.95}}, "incumbent"),
        ({"measured": {"records_sha256": "3" * 64}}, "smoke records"),
        ({"policy": policy(G1, threshold=0.9)}, "threshold"),  # the cascade's objective is 0.8
    ],
)
def test_what_the_gate_refuses_is_not_even_loaded(
    command: Distill, quiet: Street, tmp_path: Path, changes: dict[str, Any], refused: str
) -> None:
    assert command.promote(quiet, propose(tmp_path / "g1", G1, **changes)) == 1
    assert [check["name"] for check in command.told("check") if not check["passed"]] == [refused]
    assert quiet.student.model.requests == []


@pytest.mark.parametrize(
    ("served", "why"),
    [
        (usual, None),
        (wrong, "'Rome.' in place of 'Paris.'"),
        (lambda _: Reply(body=completion(ANSWER, 4 * SURE - 0.2)), "in place of 0.98"),
        (lambda _: Reply(body=completion(ANSWER, choice={"logprobs": None})), "no log-prob"),
        (failing, "does not answer"),
    ],
)
def test_a_server_that_serves_something_else_is_found_out_by_the_smoke_test(
    command: Distill, quiet: Street, proposal: Proposal, served: Any, why: str | None
) -> None:
    quiet.student.replies[G1] = served
    # With nobody to take it up it goes no farther.
    assert command.promote(quiet, proposal) == (2 if why is None else 1)
    smoke = next(check for check in command.told("check") if check["name"] == "smoke test")
    assert smoke["passed"] is (why is None)
    if why is not None:
        assert why in smoke["why"]
    assert command.told("step") == []
    assert quiet.student.loaded == {}


@pytest.mark.parametrize(("known", "passed"), [(policy(G1), True), (policy(G1, n=999), False)])
def test_a_generation_that_serves_must_be_measured_by_its_own_policy(
    command: Distill,
    quiet: Street,
    registry: Registry,
    tmp_path: Path,
    known: dict[str, Any],
    passed: bool,
) -> None:
    tried = begun(None, rollout(generation(1)), WHY)
    registry.write_step(None, tried)
    registry.write_step(tried, promoted(tried, WHY))
    serving = {"generation_policy": policy_version(known), "policy_version": "of its file"}
    command.promote(quiet, propose(tmp_path / "g2", G2, incumbent=G1, serving=serving))
    (told,) = [check for check in command.told("check") if check["name"] == "incumbent"]
    assert told["passed"] is passed


def test_a_candidate_that_is_tried_again_has_to_prove_more(
    command: Distill, quiet: Street, proposal: Proposal, registry: Registry
) -> None:
    quiet.student.replies[G1] = good
    tried = begun(None, rollout(generation(1)), WHY)
    widest = widened(tried, 0.25, 2e9, WHY)
    for before, after in ((None, tried), (tried, widest), (widest, ended(widest, WHY))):
        registry.write_step(before, after)
    assert command.promote(quiet, proposal) == 2  # nobody is there to take it up
    (told,) = command.told("tried_before")
    assert "rollouts: 1; alpha is 0.025 in place of 0.05" in told["told"]


def test_an_adapter_that_was_loaded_for_an_earlier_rollout_is_not_unloaded_by_a_refusal(
    command: Distill, quiet: Street, proposal: Proposal, registry: Registry
) -> None:
    quiet.student.loaded[G1] = PATHS[G1]
    registry.keep_adapter(G1, Adapter((quiet.student_url,), PATHS[G1]))
    quiet.student.replies[G1] = wrong
    assert command.promote(quiet, proposal) == 1
    assert quiet.student.loaded == {G1: PATHS[G1]}
    assert registry.adapter(G1) is not None


@pytest.mark.parametrize(("path", "status"), [(PATHS[G1], 1), ("/adapters/other", 2)])
def test_an_adapter_that_somebody_else_has_loaded_is_not_unloaded(
    command: Distill,
    quiet: Street,
    proposal: Proposal,
    registry: Registry,
    path: str,
    status: int,
) -> None:
    """Another cascade may be served by it."""
    quiet.student.loaded[G1] = path
    quiet.student.replies[G1] = wrong
    assert command.promote(quiet, proposal) == status
    assert quiet.student.loaded == {G1: path}
    assert quiet.student.unloaded == []
    assert registry.adapter(G1) is None


def test_records_that_cannot_be_asked_again_are_refused(
    command: Distill, quiet: Street, tmp_path: Path
) -> None:
    unasked = propose(tmp_path / "g1", G1, request=None)
    assert command.promote(quiet, unasked) == 2
    assert "holds no request with its answer's log-probabilities" in command.error
    assert quiet.student.loaded == {}


def test_a_recorded_request_that_the_server_does_not_take_is_told(
    command: Distill, quiet: Street, proposal: Proposal
) -> None:
    refusal = {"error": {"message": "too many tokens", "type": "invalid_request_error"}}
    quiet.student.replies[G1] = lambda _: Reply(body=refusal, status=400)
    assert command.promote(quiet, proposal) == 2
    assert "a request is refused: too many tokens" in command.error
    assert quiet.student.loaded == {}


def test_one_that_is_served_elsewhere_needs_no_adapter(
    command: Distill, here: Street, tmp_path: Path
) -> None:
    here.student.loaded["gguf"] = "/models/g2.gguf"
    here.student.replies["gguf"] = good
    elsewhere = propose(tmp_path / "g2", "small-g2-q8")
    where = ("--student-url", here.student_url, "--student-model", "gguf")
    with here.traffic():
        assert command.promote(here, elsewhere, *where) == 0, command.error
    state = Registry(here.store.client(), "assistant").state()
    assert state is not None
    assert state.incumbent is not None
    assert (state.incumbent.model, state.incumbent.number) == ("gguf", 1)
    assert here.student.unloaded == []


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("--student-url", "ftp://x", "--load-adapter", "/adapters/g1"), "ftp://x"),
        (("--load-adapter", "/adapters/g9"), "a path that the server itself can read"),
        (("--load-adapter", "/adapters/g1", "--student-model", "x"), "served as its version"),
        (("--adapter-server", "http://x/v1"), "is for --load-adapter"),
        ((), "say where the candidate is"),
        (("--load-adapter", "/adapters/g1", "--share", "0.5"), "must grow"),
    ],
)
def test_options_that_cannot_be_meant_are_told(
    command: Distill, quiet: Street, tmp_path: Path, more: tuple[str, ...], why: str
) -> None:
    other = propose(tmp_path / "g1", G1)
    options = ("promote", "--config", str(quiet.config), *other.options, *QUICK)
    where = ("--student-model", "x") if more[:1] == ("--adapter-server",) else ()
    assert command.status(*options, *more, *where) == 2
    assert why in command.error
    assert quiet.student.loaded == {}


def test_files_that_are_not_there_are_told(
    command: Distill, quiet: Street, proposal: Proposal
) -> None:
    for name, option in (("records.jsonl", "--records"), ("policy.json", "--policy")):
        (proposal.folder / name).unlink()
        assert command.promote(quiet, proposal) == 2
        assert option in command.error
    (proposal.folder / "evaluation.json").write_text("{}")
    assert command.promote(quiet, proposal) == 2
    assert "no evaluation" in command.error


def test_an_adapter_of_other_weights_than_the_version_names_is_refused(
    command: Distill, quiet: Street, tmp_path: Path
) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(b"other weights")
    named = propose(tmp_path / "g7", "small-g7-0123456789ab")
    assert command.promote(quiet, named, "--load-adapter", str(tmp_path / "adapter")) == 2
    assert "names 0123456789ab: it is another adapter" in command.error


def test_a_gateway_whose_clock_is_off_lets_nothing_begin(
    command: Distill, quiet: Street, proposal: Proposal, registry: Registry
) -> None:
    FakeReplica(registry.client, "hasty", requests_a_second=0).beat(time.time() + 30)
    assert command.promote(quiet, proposal) == 2
    assert "hasty is 30 s ahead: set them by NTP" in command.error
    assert registry.state() is None
    assert quiet.student.loaded == {}
    assert "clock 30 s ahead" in command.said("status")


def test_while_another_is_tried_nothing_is_loaded(
    command: Distill, quiet: Street, proposal: Proposal, registry: Registry
) -> None:
    tried = rollout(generation(2, quiet.student_url), until=time.time() + 60)
    registry.write_step(None, begun(None, tried, WHY))
    assert command.promote(quiet, proposal) == 2
    assert "the candidate small-g2 is being tried" in command.error
    assert (command.output, quiet.student.loaded) == ("", {})


def test_an_adapter_that_somebody_else_tries_by_now_stays_loaded(
    quiet: Street, registry: Registry, proposal: Proposal
) -> None:
    """Two people let the same one in at once; whoever loses takes nothing away from the other."""
    quiet.student.paths = {PATHS[G1]}
    choice = Choice(
        proposal.folder, proposal.folder / "policy.json", proposal.folder / "records.jsonl",
        load_adapter=PATHS[G1],
    )  # fmt: skip
    loaded = configured(quiet.config, Place())
    with ExitStack() as undo:
        load(proposed(choice, None, loaded), registry, None, undo)
        registry.write_step(None, begun(None, rollout(generation(1, quiet.student_url)), WHY))
    assert quiet.student.loaded == {G1: PATHS[G1]}


def test_the_rights_that_are_documented_are_enough(
    capsys: pytest.CaptureFixture[str], here: Street, proposal: Proposal, registry: Registry
) -> None:
    """Those of the operator to let somebody in and to go back; those of a gateway not for that."""
    rights = {
        page: re.search("^ACL SETUSER .*$", (DOCS / page).read_text(), re.MULTILINE)
        for page in ("promoting.md", "operating.md")
    }
    client: Any = registry.client
    for line in rights.values():
        assert line is not None
        client.execute_command(*line[0].replace("PASSWORD", "p").split())
    promoter = Distill(capsys, here.store.url.replace("redis://", "redis://promoter:p@"))
    with here.traffic():
        assert promoter.promote(here, proposal) == 0, promoter.error
        assert promoter.rollback(here) == 0, promoter.error
    assert promoter.status("status") == 0, promoter.error
    gateway = Distill(capsys, here.store.url.replace("redis://", "redis://understudy:p@"))
    state = registry.state()
    assert gateway.rollback(here, "--again") == 2
    assert registry.state() == state


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_is_ended_before_anything_has_begun_leaves_nothing_loaded(
    command: Distill,
    quiet: Street,
    proposal: Proposal,
    registry: Registry,
    number: signal.Signals,
) -> None:
    def ending(_: Any) -> Reply:
        os.kill(os.getpid(), number)
        return Reply(delay_seconds=5.0)

    quiet.student.replies[G1] = ending
    assert command.promote(quiet, proposal) == 130
    assert (registry.state(), registry.adapter(G1)) == (None, None)
    assert (quiet.student.loaded, quiet.student.unloaded) == ({}, [G1])
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_without_redis_nothing_begins(
    capsys: pytest.CaptureFixture[str], quiet: Street, proposal: Proposal
) -> None:
    away = Distill(capsys, closed_port_url().replace("http", "redis"))
    assert away.promote(quiet, proposal) == 2
    assert "Redis: Connection refused" in away.error
    assert quiet.student.loaded == {}
