import io

from rich.console import Console

from distill.progress import Moment
from understudy.distill.showing import SECONDS_BETWEEN_LINES, Bar, Lines, watcher


def moment(step: int, *, is_measured: bool = False) -> Moment:
    return Moment("sft", step, 100, 60.0, 0.5, 0.25, is_measured=is_measured)


def test_a_file_gets_a_line_now_and_then() -> None:
    told, now = io.StringIO(), [0.0]
    with Lines(Console(file=told), lambda: now[0]) as lines:
        lines.note("a [sentence]")
        for step, seconds in ((1, 0.0), (2, 1.0), (3, 2.0), (4, SECONDS_BETWEEN_LINES), (100, 11)):
            now[0] = seconds
            lines.at(moment(step, is_measured=step == 3))
    lines_told = told.getvalue().splitlines()
    assert lines_told[0] == "a [sentence]"
    assert [line.split(",")[0] for line in lines_told[1:]] == [
        "sft step 1 of 100",
        "sft step 3 of 100",  # a measurement
        "sft step 100 of 100",
    ]


def test_a_terminal_gets_a_bar() -> None:
    told = io.StringIO()
    with Bar(Console(file=told, force_terminal=True, width=100)) as bar:
        bar.note("a sentence")
        bar.at(moment(50))
        bar.at(Moment("dpo", 1, 4, None, None, None))
    text = told.getvalue()
    for words in ("a sentence", "50/100", "loss 0.500 · holdout 0.250 · 1 min 0 s left", "1/4"):
        assert words in text


def test_the_console_decides() -> None:
    assert isinstance(watcher(Console(file=io.StringIO())), Lines)
    assert isinstance(watcher(Console(file=io.StringIO(), force_terminal=True)), Bar)
