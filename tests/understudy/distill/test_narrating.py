import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from distill.generations import begun
from distill.rollouts import Back, Decision, Plan, decide, findings_of
from routing.tally import ArmTally, ShadowTally, Tallies
from tests.distill.made_generations import WHY, generation, rollout
from understudy.distill.narrating import Narrator, Seen

PLAN = Plan()
TALLIES = Tallies(ArmTally(drafts=500, deferred=100), ArmTally(drafts=30), ShadowTally())


def seen(decision: Decision | None = None) -> Seen:
    trial = PLAN.trials[1]
    decided = decision or decide(PLAN, trial, TALLIES, 90.0)
    return Seen("r1", trial, 90.0, PLAN, findings_of(PLAN, trial, TALLIES), decided, TALLIES)


def speaking(*, is_terminal: bool) -> tuple[Narrator, io.StringIO]:
    file = io.StringIO()
    console = Console(file=file, force_terminal=is_terminal, width=400, highlight=False)
    return Narrator(is_json=False, console=console), file


def test_in_a_log_a_line_says_once_a_minute_what_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    narrator, file = speaking(is_terminal=False)
    now = [1000.0]
    monkeypatch.setattr("understudy.distill.narrating.time.monotonic", lambda: now[0])
    with narrator.speaking():
        for now[0] in (1000.0, 1001.0, 1059.9, 1060.0):
            narrator.seen(seen())
    (first, _) = file.getvalue().splitlines()
    assert first == (
        "canary 0.05, 90 s: failed requests 0.0% of 30, incumbent 0.0% of 500; "
        "escalation rate 0.0% of 30, incumbent 20.0% of 500; "
        "disagreement with the teacher unknown, incumbent unknown. "
        "Waiting for requests of the candidate's: 30 of 200"
    )


def test_what_is_decided_against_it_is_said_at_once() -> None:
    narrator, file = speaking(is_terminal=False)
    narrator.seen(seen())
    narrator.seen(seen(Back("harm")))
    assert len(file.getvalue().splitlines()) == 2
    assert file.getvalue().endswith("Waiting for nothing\n")


def test_on_a_terminal_one_line_changes_and_steps_stay() -> None:
    narrator, file = speaking(is_terminal=True)
    with narrator.speaking():
        narrator.seen(seen())
        narrator.step(begun(None, rollout(generation(1)), WHY))
    assert "2027-01-15 08:00:00 UTC  shadowed small-g1, ada@desk: the bill is lower" in (
        file.getvalue()
    )
    assert "Waiting for requests of the candidate's" in file.getvalue()


def test_checks_and_notes_are_lines() -> None:
    narrator, file = speaking(is_terminal=False)
    narrator.check("bill", "it is lower", is_passed=True)
    narrator.check("quality", "it is worse", is_passed=False)
    narrator.note("settled", "taken up by all gateways: 2")
    assert file.getvalue().splitlines() == [
        "passed  bill: it is lower",
        "REFUSED  quality: it is worse",
        "taken up by all gateways: 2",
    ]


def test_for_programs_each_is_an_object_and_counts_are_left_to_status(
    capsys: pytest.CaptureFixture[str],
) -> None:
    narrator = Narrator(is_json=True)
    with narrator.speaking():
        narrator.check("bill", "it is lower", is_passed=True)
        narrator.seen(seen())
        narrator.step(begun(None, rollout(generation(1)), WHY))
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told == [
        {"event": "check", "name": "bill", "passed": True, "why": "it is lower"},
        {
            "event": "step", "revision": 1, "action": "shadowed", "version": "small-g1",
            "at": WHY.at, "who": WHY.who, "why": WHY.why,
        },
    ]  # fmt: skip


def test_what_is_seen_has_what_is_missing_or_why_it_was_decided() -> None:
    waiting = seen().document()
    assert (waiting["decision"], waiting["why"]) == ("wait", None)
    assert waiting["missing"] == ["requests of the candidate's: 30 of 200"]
    decided = replace(seen(), decision=Back("harm")).document()
    assert (decided["decision"], decided["why"], decided["missing"]) == ("back", "harm", [])
    assert json.loads(json.dumps(waiting)) == waiting
