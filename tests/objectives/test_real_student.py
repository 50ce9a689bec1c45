"""A promise about a real small model: SmolLM2 behind llama.cpp, three gateways, a real store, and
the demo's stand-in for a teacher, which is slow, and away for a while.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.fakes.real_student import real_student
from tests.fakes.serving import serving
from tests.objectives.fleet import KEEPS_NOTHING, Fleet, fleet_between
from understudy.demo.teacher import Pace, create_teacher
from understudy.demo.teacher_wire import MODEL
from understudy.demo.workload import generate

# A model of 135 million parameters is right in four of five of these tasks.
AT_MOST = 0.3
HOLD_AT_MOST = 150
GATHERED = 200  # merits that the levels are made from come first
STEP = 30
TASKS = generate(seed=3, count=GATHERED + HOLD_AT_MOST + 200)
PATIENCE_SECONDS = 60.0

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]


@dataclass
class SlowTeacher:
    """The stand-in, which takes its time; nobody is there while it ``is_away``."""

    app: ASGIApp = field(default_factory=lambda: create_teacher(Pace(delay_seconds=0.1)))
    is_away: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        away = JSONResponse({"error": {"message": "away"}}, 503)
        app = away if self.is_away and scope["type"] == "http" else self.app
        await app(scope, receive, send)


@pytest.fixture
def teacher() -> SlowTeacher:
    return SlowTeacher()


@pytest.fixture
def promised(tmp_path: Path, teacher: SlowTeacher) -> Iterator[Fleet]:
    changes = {
        "teacher": {"model": MODEL},
        "student": {"version": "smollm2", "extra_body": {"timings_per_token": True}},
        "objective": {
            "kind": "quality",
            "disagreement_at_most": AT_MOST,
            "with_probability": 0.9,
            "release": 0.5,
            "hold_at_most": HOLD_AT_MOST,
        },
        "audit": {"share": 0.5},
    }
    with (
        real_student() as student_url,
        serving(teacher) as teacher_url,
        fleet_between(tmp_path, student_url, teacher_url, changes) as running,
    ):
        running.asking = lambda number: {
            "messages": TASKS[number].messages,
            "max_tokens": TASKS[number].max_tokens,
            "temperature": 0,
        }
        yield running


def test_a_real_student_earns_a_promise_within_its_hold(
    promised: Fleet, teacher: SlowTeacher
) -> None:
    asked = 0
    # The step in which the levels are made, and the last before a report of it, are no evidence.
    while asked < GATHERED + HOLD_AT_MOST + 2 * STEP and not promised.replicas[0].metric(
        "objective_state", "released"
    ):
        answers = promised.ask(STEP)
        asked += STEP
        assert not any(each.degraded for each in answers)
    promised.wait_for_state("released", PATIENCE_SECONDS)
    (threshold,) = {each.metric("threshold") for each in promised.replicas}
    assert threshold < KEEPS_NOTHING
    (bound,) = {each.metric("objective_bound") for each in promised.replicas}
    assert bound == pytest.approx(AT_MOST)

    answers = promised.ask(STEP)
    kept = [each for each in answers if each.served_by == "student"]
    assert kept, "the promise lets the student answer"
    promised.wait(lambda: sum(each.total("audits_total") for each in promised.replicas))

    teacher.is_away = True
    answers = promised.ask(STEP)
    assert {each.served_by for each in answers} == {"student"}
    marked = [each for each in answers if each.degraded is not None]
    told = sum(each.total("degraded_total") for each in promised.replicas)
    assert 0 < len(marked) == told < len(answers)
