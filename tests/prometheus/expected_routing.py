"""What the panels of the dashboard Routing are to show."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal

from tests.prometheus.cascades import SETUPS, Fitted
from tests.prometheus.expected_cost import ANSWERED, REQUESTS
from tests.prometheus.expecting import (
    Expected,
    Shown,
    Vector,
    Window,
    but,
    count,
    minus,
    of_one,
    plus,
    ratio,
)
from tests.prometheus.server import NO_LABELS, labels_of

CONFIDENCE = "understudy_confidence"
DEFERRALS = "understudy_deferrals_total"
ESCALATIONS = "understudy_escalations_total"
DEGRADED = "understudy_degraded_total"
# What the policy itself says no to: not drafts that could not be had, or were not to be.
JUDGED = (
    "low_confidence", "no_signal", "invalid_structure", "prompt_says_so", "late_doubt",
)  # fmt: skip


def answered(shown: Shown, *by: str) -> Vector:
    """Requests that got an answer from either model."""
    return shown.pace.grew(REQUESTS, *by, outcome=ANSWERED)


def mean_confidence(window: Window, *verdict: str) -> Vector:
    """The mean of the confidence in drafts; their sum is the gateway's to know."""
    which = {"verdict": verdict} if verdict else {}
    total = window.told(f"{CONFIDENCE}_sum", "cascade", **which)
    return ratio(total, window.told(f"{CONFIDENCE}_count", "cascade", **which))


def but_one(vector: Vector) -> Vector:
    """What is missing to 1."""
    return {labels: 1 - value for labels, value in vector.items()}


def expected_disagreement(shown: Shown) -> Vector:
    """What fitted policies expect to be wrong among kept drafts."""
    fitted = {labels for labels, is_fitted in calibrated(shown).items() if is_fitted}
    wrong = but_one(mean_confidence(shown.pace, "keep"))
    return {labels: value for labels, value in wrong.items() if labels in fitted}


def drift(shown: Shown) -> Vector:
    """How far the confidence of now is from that of all that is shown."""
    return minus(mean_confidence(shown.pace), mean_confidence(shown.range))


def kept_share(shown: Shown) -> Vector:
    """Of the drafts that the policy judged, those that it kept."""
    kept = plus(
        shown.pace.grew(REQUESTS, "cascade", outcome="kept"),
        shown.pace.grew(ESCALATIONS, "cascade", reason="holdout"),
    )
    judged = plus(
        shown.pace.grew(REQUESTS, "cascade", outcome="kept"),
        shown.pace.grew(ESCALATIONS, "cascade", reason="holdout"),
        shown.pace.grew(DEFERRALS, "cascade", reason=JUDGED),
    )
    return ratio(kept, judged)


def of_policies(what: Callable[[Fitted], float]) -> Expected:
    """What the files of the fitted policies say."""

    def told(_: Shown) -> Vector:
        return {
            labels_of(cascade=setup.name): Decimal(str(what(setup.fitted)))
            for setup in SETUPS
            if setup.fitted is not None
        }

    return told


kept_share_promised = of_policies(lambda fitted: fitted.kept_share)
bound_promised = of_policies(lambda fitted: fitted.disagreement)


def thresholds(_: Shown) -> Vector:
    """From the policies, and the documented default."""
    default = {labels_of(cascade=setup.name): Decimal("0.8") for setup in SETUPS}
    return default | of_policies(lambda fitted: fitted.threshold)(_)


def policies_in_force(shown: Shown) -> Vector:
    """Every replica has each cascade's."""
    versions = shown.gauge(
        "understudy_policy_info", "cascade", "version", "student_version", how=count
    )
    assert len(versions) == len(shown.range.chosen or SETUPS)
    return {labels: Decimal(len(shown.history.replicas)) for labels in versions}


def policy_age(shown: Shown) -> Vector:
    """How long ago it was fitted."""
    return {
        labels: Decimal(shown.range.at) - fitted
        for labels, fitted in of_policies(lambda fitted: _midnight(fitted.date))(shown).items()
    }


def _midnight(date: str) -> float:
    return datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp()


def calibrated(_: Shown) -> Vector:
    """Which cascades have a policy of their own."""
    return {labels_of(cascade=setup.name): Decimal(setup.fitted is not None) for setup in SETUPS}


def heat(verdict: str) -> Expected:
    """The histogram's buckets, which add up to the drafts of that verdict."""

    def buckets(shown: Shown) -> Vector:
        found = shown.pace.told(f"{CONFIDENCE}_bucket", "le", verdict=verdict)
        known = shown.pace.told(f"{CONFIDENCE}_count", verdict=verdict)
        assert found.get(labels_of(le="+Inf")) == known.get(NO_LABELS)
        return found

    return buckets


ROUTING_PANELS: Mapping[tuple[int, str], Expected] = {
    (101, "A"): lambda shown: ratio(
        shown.pace.grew(ESCALATIONS, "cascade", reason=but("holdout")), answered(shown, "cascade")
    ),
    (101, "B"): lambda shown: but_one(kept_share_promised(shown)),
    (102, "A"): lambda shown: of_one(shown.pace.grew(DEFERRALS, "reason"), answered(shown)),
    (105, "A"): lambda shown: of_one(shown.pace.grew(DEGRADED, "degraded"), answered(shown)),
    (114, "A"): lambda shown: ratio(
        shown.pace.grew(DEGRADED, "cascade"), shown.pace.grew(DEFERRALS, "cascade")
    ),
    (103, "A"): heat("keep"),
    (108, "A"): heat("defer"),
    (104, "A"): expected_disagreement,
    (104, "B"): bound_promised,
    (113, "A"): drift,
    (115, "A"): lambda shown: mean_confidence(shown.pace, "keep"),
    (115, "B"): lambda shown: mean_confidence(shown.pace, "defer"),
    (107, "A"): kept_share,
    (107, "B"): kept_share_promised,
    (109, "A"): thresholds,
    (110, "A"): policies_in_force,
    (106, "A"): policy_age,
    (111, "A"): calibrated,
    (112, "A"): lambda shown: of_one(
        shown.pace.grew("understudy_late_doubts_total", "handover"), answered(shown)
    ),
}
