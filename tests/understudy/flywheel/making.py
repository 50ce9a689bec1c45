"""Results of made-up runs."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from understudy.demo.flywheel.figures import Fate, Result, Tallies, Tally, Training, Turn

TEACHER = {
    "date": Tally(90, 90, 0, 0, Decimal("0.0036")),
    "product": Tally(10, 10, 0, 0, Decimal("0.0004")),
}


def cascade(escalated: int, right: int = 90, products_escalated: int = 10) -> Tallies:
    """A cascade's answers to 90 dates and 10 products; each escalation costs a teacher's answer."""
    return {
        "date": Tally(90, right, escalated, 0, Decimal(escalated) * Decimal("0.00004")),
        "product": Tally(
            10, products_escalated, products_escalated, 0, products_escalated * Decimal("0.00004")
        ),
    }


def turn(number: int, escalated: int, right: int = 90) -> Turn:
    """A generation that was let in."""
    return Turn(
        number=number,
        version=f"smollm2-g{number}-3f9c01ab77de",
        fate=Fate.PROMOTED,
        why="",
        training=Training(pairs=200 * number, steps=12, loss=0.1, seconds=60.0),
        student={
            "date": Tally(90, 90 - escalated, 0, 0, Decimal("0.0002")),
            "product": Tally(10, 0, 0, 0, Decimal("0.00002")),
        },
        cascade=cascade(escalated, right),
        under_way=Tally(300, 300, 100),
        seconds=240.0,
    )


def first() -> Turn:
    """The configuration's own student, which gets nothing right."""
    made = turn(0, 90)
    return replace(made, fate=Fate.FIRST, training=None, under_way=Tally())


def result(turns: Sequence[Turn]) -> Result:
    """A run of these."""
    return Result(
        date="2026-11-27",
        command="./dev flywheel --generations 3",
        machine="2 cores of a processor, no GPU",
        target="quality=0.98",
        teacher=TEACHER,
        turns=turns,
        seconds=1100.0,
    )


def good_run() -> Result:
    """A run in which all holds, with one generation that the gate refused."""
    refused = replace(
        turn(2, 30), fate=Fate.REFUSED, why="the bill is not shown to be lower", under_way=Tally()
    )
    return result([first(), turn(1, 30), refused, turn(3, 9)])
