"""Which student is in force by Redis, whether its server has it, and what gateways say of it."""

import json
from pathlib import Path

import pytest

from routing.tally import Heartbeat, Tallies, heartbeat_document
from tests.fakes.generations import generation, rollout, state
from tests.fakes.serving import closed_port_url
from tests.understudy.doctor.examining import patient
from understudy.doctor.findings import Cause, Fault, State, Subject
from understudy.doctor.generations import candidate_finding, gateways_finding, in_force
from understudy.doctor.listing import Listing, Told, Unlisted

NOW = 1_800_000_000.0
URL = "http://student"


def heartbeat(at: float = NOW, revision: int = 3, refused: str | None = None) -> bytes:
    one = Heartbeat(at, revision, {}, refused, None, Tallies.empty())
    return json.dumps(heartbeat_document(one)).encode()


def test_without_a_state_the_configuration_s_own_serves(tmp_path: Path) -> None:
    (loaded,) = patient(tmp_path, URL).cascades
    force, (finding,) = in_force(loaded, None, NOW)
    assert force.serving is loaded
    assert (finding.state, finding.saw) == (
        State.OK,
        "0, the configuration's own; none in Redis",
    )
    force, (finding,) = in_force(loaded, state(3), NOW)
    assert force.serving is loaded
    assert finding.saw == "0, the configuration's own, by revision 3"


def test_an_incumbent_takes_the_place_of_the_student(tmp_path: Path) -> None:
    (loaded,) = patient(tmp_path, URL).cascades
    force, (finding,) = in_force(loaded, state(3, generation(2, "http://other")), NOW)
    student = force.serving.config.student
    assert (student.model, student.base_url) == ("model-g2", "http://other/v1")
    assert (finding.state, finding.saw) == (State.OK, "2, student-g2, by revision 3")


def test_a_candidate_that_nobody_watches_is_a_hint(tmp_path: Path) -> None:
    (loaded,) = patient(tmp_path, URL).cascades
    for until, expected in ((NOW + 1, State.OK), (NOW, State.HINT)):
        tried = rollout(generation(2, "http://other"), until=until)
        force, findings = in_force(loaded, state(3, None, tried), NOW)
        assert force.candidate is not None
        assert force.candidate.config.student.model == "model-g2"
        assert [each.state for each in findings] == [State.OK, expected]


@pytest.mark.parametrize(
    "document",
    [
        b"{}",
        b"\xff",
        b"[" * 100_000,
        state(3, generation(2, "http://other", cascade="another")),
        state(3, generation(2, "nowhere")),
    ],
)
def test_a_state_that_no_gateway_takes_up_is_a_problem(tmp_path: Path, document: bytes) -> None:
    (loaded,) = patient(tmp_path, URL).cascades
    force, (finding,) = in_force(loaded, document, NOW)
    assert force.serving is loaded
    assert (finding.subject, finding.state) == (Subject.GENERATION, State.PROBLEM)
    assert "understudy distill rollback --cascade assistant" in finding.advice


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (Told(Listing({"upstream-student": None})), State.OK),
        (Told(Unlisted("lists no models")), State.OK),
        (Told(Listing({"other": None})), State.PROBLEM),
        (Fault("not reached", cause=Cause.AWAY), State.AWAY),
    ],
)
def test_a_candidate_must_be_at_its_server(
    tmp_path: Path, told: Told | Fault, expected: State
) -> None:
    (loaded,) = patient(tmp_path, closed_port_url()).cascades
    assert candidate_finding(loaded, told).state is expected


@pytest.mark.parametrize(
    ("document", "heartbeats", "expected", "words"),
    [
        (state(3), {}, State.OK, "0 heard of"),
        (state(3), {"a": heartbeat(), "b": heartbeat(NOW - 3600)}, State.OK, "1 heard of"),
        (state(3), {"a": heartbeat(), "b": b"{}"}, State.OK, "1 heard of"),
        (state(3), {"a": heartbeat(NOW + 60)}, State.PROBLEM, "a is 60 s ahead"),
        (state(4), {"a": heartbeat()}, State.HINT, "not at revision: a"),
        (state(3), {"a": heartbeat(refused="policy: …")}, State.HINT, "not at revision: a"),
        (None, {"a": heartbeat()}, State.PROBLEM, "go on with revision 3, and Redis lost it"),
        (None, {"a": heartbeat(revision=0)}, State.OK, "1 heard of"),
        (b"{}", {"a": heartbeat()}, State.OK, "1 heard of"),  # which is told of the state itself
    ],
)
def test_gateways_are_held_against_the_state_and_the_clock(
    document: bytes | None, heartbeats: dict[str, bytes], expected: State, words: str
) -> None:
    finding = gateways_finding(document, heartbeats, NOW)
    assert finding.state is expected
    assert words in finding.saw
