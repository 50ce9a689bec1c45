"""What the panels of the dashboard Cost are to show."""

from collections.abc import Mapping
from decimal import Decimal

from tests.prometheus.cascades import SETUPS
from tests.prometheus.expecting import (
    Expected,
    Shown,
    Vector,
    Window,
    but,
    minus,
    of_one,
    plus,
    ratio,
    times,
)
from tests.prometheus.server import labels_of

COST = "understudy_cost_usd_total"
BASELINE = "understudy_baseline_usd_total"
CORRECTION = "understudy_baseline_correction_usd_total"
VARIANCE = "understudy_baseline_variance_usd2_total"
REQUESTS = "understudy_requests_total"
UNKNOWN = "understudy_cost_unknown_total"
RENT = "understudy_gpu_rent_usd_total"
TOKENS = "understudy_tokens_total"
ANSWERED = ("kept", "escalated", "degraded")
OBSERVATIONS = "understudy_baseline_observations_total"
HOUR, DAY = 3600, 86_400
# With fewer the interval is not to be trusted; it is so many standard deviations to each side.
LEAST_HELD_OUT, WIDE = 100, Decimal("1.96")


def teacher_alone(window: Window, *by: str) -> Vector:
    """What the teacher alone would have cost."""
    up = window.grew(CORRECTION, *by, direction="up")
    down = window.grew(CORRECTION, *by, direction="down")
    return minus(plus(window.grew(BASELINE, *by), up), down)


def saved(window: Window, *by: str) -> Vector:
    """Net, where there is a baseline."""
    return minus(teacher_alone(window, *by), window.grew(COST, *by))


def margin(window: Window, *by: str) -> Vector:
    """Half the interval's width, of what enough drafts were held out for (docs/savings.md)."""
    samples = window.grew(OBSERVATIONS, "cascade", basis="sample")
    enough = {labels for labels, count in samples.items() if count >= LEAST_HELD_OUT}
    based = {labels for labels, usd in window.grew(BASELINE, "cascade").items() if usd > 0}
    found = {
        labels: WIDE * value.sqrt()
        for labels, value in window.grew(VARIANCE, *by).items()
        if labels in enough or (not by and enough == based)
    }
    return found


def saved_bound(sign: int) -> Expected:
    """One end of the interval; nothing where nothing was measured."""

    def bound(shown: Shown) -> Vector:
        wide = times(margin(shown.range), Decimal(sign))
        return plus(saved(shown.range), wide) if wide else {}

    return bound


def thirty_days(shown: Shown) -> Vector:
    """The mean of the pace at every fifth minute of a day, as far as there is one."""
    paces: list[Vector] = []
    at = shown.range.at - shown.range.at % 300
    while at > shown.range.at - DAY:
        if shown.history.count_scrapes(at, 300) >= 2:
            window = Window(shown.history, at, 300, shown.range.chosen)
            paces.append(window.pace(COST, "cascade"))
        at -= 300
    return times(plus(*paces), Decimal(30 * DAY) / len(paces))


def budgets(_: Shown) -> Vector:
    """What the configuration says."""
    return {
        labels_of(cascade=setup.name): Decimal(setup.budget)
        for setup in SETUPS
        if setup.budget is not None
    }


def an_answer(shown: Shown) -> Vector:
    """What the teacher's words and the drafts thrown away cost, for each of its answers."""
    paid = plus(
        shown.pace.grew(COST, role="teacher", kind="served"),
        shown.pace.grew(COST, role="student", kind="wasted"),
    )
    return ratio(paid, shown.pace.grew(REQUESTS, outcome="escalated"))


def idle(shown: Shown) -> Vector:
    """The part of the rent that no call answers for."""
    rent = shown.pace.told(RENT, "cascade", "role")
    return ratio(minus(rent, shown.pace.grew(COST, "cascade", "role")), rent)


def not_told(shown: Shown) -> Vector:
    """The models that do not say what they had cached."""
    reported = shown.gauge("understudy_cached_tokens_reported", "cascade", "role")
    return {labels: value for labels, value in reported.items() if value == 0}


def last_month(shown: Shown) -> Vector:
    """The month before this one began and ended in the history."""
    return shown.range.grew(COST)


COST_PANELS: Mapping[tuple[int, str], Expected] = {
    (1, "A"): lambda shown: shown.range.grew(COST),
    (3, "A"): lambda shown: shown.range.grew(COST),
    (5, "A"): last_month,
    (4, "A"): saved_bound(-1),
    (4, "B"): lambda shown: saved(shown.range),
    (4, "C"): saved_bound(+1),
    (6, "A"): lambda shown: ratio(saved(shown.range), teacher_alone(shown.range)),
    (2, "A"): thirty_days,
    (2, "B"): budgets,
    (15, "A"): lambda shown: times(shown.pace.pace(COST, "cascade"), Decimal(HOUR)),
    (14, "A"): lambda shown: times(shown.pace.pace(COST), Decimal(HOUR)),
    (14, "B"): lambda shown: times(
        shown.pace.grew(BASELINE), HOUR / shown.pace.seconds
    ),
    (13, "A"): lambda shown: shown.range.grew(COST, "cascade"),
    (13, "B"): lambda shown: teacher_alone(shown.range, "cascade"),
    (13, "C"): lambda shown: saved(shown.range, "cascade"),
    (13, "D"): lambda shown: margin(shown.range, "cascade"),
    (13, "E"): lambda shown: ratio(
        saved(shown.range, "cascade"), teacher_alone(shown.range, "cascade")
    ),
    (7, "A"): lambda shown: shown.range.grew(COST, "role", "kind"),
    (10, "A"): lambda shown: of_one(
        shown.pace.grew(COST, "kind", kind=but("served")), shown.pace.grew(COST)
    ),
    (12, "A"): lambda shown: ratio(
        shown.pace.grew(COST, role="student", kind="served"),
        shown.pace.grew(REQUESTS, outcome=("kept", "degraded")),
    ),
    (12, "B"): an_answer,
    (12, "C"): lambda shown: ratio(
        shown.pace.grew(BASELINE), shown.pace.grew(REQUESTS, outcome=ANSWERED)
    ),
    (8, "A"): lambda shown: shown.pace.grew(UNKNOWN, "cascade", "role", "cause"),
    (8, "B"): lambda shown: shown.pace.grew(
        "understudy_baseline_unknown_total", "cascade", "cause"
    ),
    (9, "A"): lambda shown: ratio(
        shown.pace.grew("understudy_cost_estimated_usd_total", "cascade"),
        shown.pace.grew(COST, "cascade"),
    ),
    (16, "A"): lambda shown: of_one(
        shown.range.grew(BASELINE, "basis"), shown.range.grew(BASELINE)
    ),
    (11, "A"): idle,
    (17, "A"): lambda shown: ratio(
        shown.pace.told(TOKENS, "cascade", "role", type="cached_input"),
        shown.pace.told(TOKENS, "cascade", "role", type="input"),
    ),
    (17, "B"): not_told,
}  # fmt: skip
