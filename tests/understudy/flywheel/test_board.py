import io

from rich.console import Console

from tests.understudy.flywheel.making import first, good_run, turn
from understudy.demo.flywheel.board import COLUMNS, Board, clock_time, row, summary


def console(*, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=160, force_terminal=terminal, color_system=None)


def printed(on: Console) -> str:
    assert isinstance(on.file, io.StringIO)
    return on.file.getvalue()


def test_where_there_is_no_terminal_every_step_is_a_line_with_its_time() -> None:
    now = [100.0]
    here = console()
    with Board(here, lambda: now[0]).shown() as board:
        board.begin(0, "serving")
        now[0] = 165.0
        board.begin(1, "training")
    assert printed(here).splitlines() == [
        "00:00  generation 0: serving",
        "01:05  generation 1: training",
    ]


def test_progress_within_a_step_is_for_terminals_alone() -> None:
    here = console()
    with Board(here).shown() as board:
        board.begin(0, "serving")
        before = printed(here)
        board.tell("17 of 200")
    assert printed(here) == before


def test_a_generation_is_told_by_the_names_of_its_figures() -> None:
    here = console()
    with Board(here).shown() as board:
        board.add(turn(1, 30))
    told = printed(here)
    assert "generation 1 promoted, pairs 200" in told
    assert "escalated 40.0%" in told
    assert "of the learnable 33.3%" in told


def test_on_a_terminal_there_is_a_table_with_the_current_step() -> None:
    here = console(terminal=True)
    with Board(here).shown() as board:
        board.add(first())
        board.begin(1, "training")
        board.tell("step 3")
    told = printed(here)
    assert "generation 1: training, step 3" in told
    assert "cascade" in told


def test_each_column_has_its_figure() -> None:
    assert len(row(first())) == len(row(turn(1, 9))) == len(COLUMNS)


def test_the_summary_tells_what_holds_and_why_a_generation_stayed_outside() -> None:
    here = console()
    here.print(summary(good_run()))
    told = printed(here)
    assert told.count("holds") == 5
    assert "generation 2: the bill is not shown to be lower" in told
    assert "100/100 (100.0%) right, 40.00 USD per million requests" in told


def test_times_are_minutes_and_seconds() -> None:
    assert [clock_time(each) for each in (0.4, 61.0, 3601.0)] == ["00:00", "01:01", "60:01"]
