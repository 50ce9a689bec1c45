import pytest

from distill.progress import Moment, Nobody, duration, line_of, seconds_left


def test_the_time_left_goes_by_this_runs_own_pace() -> None:
    assert seconds_left(30, 40, begun_at=20, seconds=50.0) == 50.0
    assert seconds_left(20, 40, begun_at=20, seconds=0.0) is None
    assert seconds_left(40, 40, begun_at=0, seconds=9.0) == 0.0


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (18_720, "5 h 12 min")],
)
def test_a_duration_is_told_in_two_units(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_a_line_says_what_is_known() -> None:
    known = Moment("sft", 1200, 2000, 90.0, 0.5, 0.25)
    assert line_of(known) == (
        "sft step 1,200 of 2,000, loss 0.5000, holdout loss 0.2500, 1 min 30 s left"
    )
    assert line_of(Moment("dpo", 1, 2, None, None, None)) == "dpo step 1 of 2"


def test_nobody_is_told_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Nobody().note("a sentence")
    Nobody().at(Moment("sft", 1, 2, None, None, None))
    assert capsys.readouterr() == ("", "")
