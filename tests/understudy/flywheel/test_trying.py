from understudy.demo.flywheel.figures import Fate
from understudy.demo.flywheel.trying import stopped_by

PASSED = {"event": "check", "name": "bill", "passed": True, "why": "lower"}
FAILED = {"event": "check", "name": "quality", "passed": False, "why": "may be worse"}
SHADOWED = {"event": "step", "action": "shadowed", "why": "evaluated"}
BACK = {"event": "step", "action": "rolled_back", "why": "it disagreed"}


def test_what_the_gate_refuses_is_told_by_what_was_not_passed() -> None:
    assert stopped_by([PASSED, FAILED]) == (Fate.REFUSED, "quality: may be worse")


def test_what_went_back_is_told_by_the_last_step() -> None:
    assert stopped_by([PASSED, SHADOWED, BACK]) == (Fate.ROLLED_BACK, "it disagreed")


def test_a_silent_end_is_no_promotion() -> None:
    fate, why = stopped_by([])
    assert fate is Fate.ROLLED_BACK
    assert why
