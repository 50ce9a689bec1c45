"""What the panels of the dashboard Flywheel are to show."""

from collections.abc import Mapping
from decimal import Decimal

from tests.prometheus.expected_cost import REQUESTS
from tests.prometheus.expected_routing import (
    ESCALATIONS,
    bound_promised,
    expected_disagreement,
    policies_in_force,
)
from tests.prometheus.expecting import (
    Expected,
    Shown,
    Vector,
    empty,
    is_chosen,
    mean,
    plus,
    ratio,
    times,
)
from tests.prometheus.run import PAIRS_BEFORE, PAIRS_EXPORTED
from tests.prometheus.server import NO_LABELS, labels_of

ASSISTANT = labels_of(cascade="assistant")
WRITTEN = "understudy_pairs_written_total"


def stored(shown: Shown) -> Vector:
    """What the replicas saw when they last asked: those that were there before, at least."""
    found = shown.gauge("understudy_pairs_stored", "cascade")
    if is_chosen(ASSISTANT, shown.range.chosen):
        assert found[ASSISTANT] >= PAIRS_BEFORE
    return found


def unread(shown: Shown) -> Vector:
    """And those of them that are in no export."""
    found = shown.gauge("understudy_pairs_unread", "cascade")
    if is_chosen(ASSISTANT, shown.range.chosen):
        assert found[ASSISTANT] >= PAIRS_BEFORE - PAIRS_EXPORTED
    return found


def by_replica(name: str) -> Expected:
    """A gauge as each page has it."""

    def gauge(shown: Shown) -> Vector:
        return {
            labels_of(instance=replica.instance): page[name, NO_LABELS]
            for replica, page in zip(
                shown.history.replicas, shown.history.pages(shown.range.at), strict=True
            )
        }

    return gauge


def observations(shown: Shown) -> Vector:
    """Requests of which both models' lengths are known."""
    return shown.range.grew("understudy_baseline_observations_total", "cascade", "basis")


def teacher_ratio(bound: str) -> Expected:
    """What the replicas have learnt, on the average."""
    return lambda shown: shown.gauge(
        "understudy_teacher_ratio", "cascade", how=mean, part="output", bound=bound
    )


def worst(name: str) -> Expected:
    """The largest of all replicas."""
    return lambda shown: shown.gauge(name)


def constant(value: int) -> Expected:
    """Always the same."""
    return lambda _: {NO_LABELS: Decimal(value)}


def held_out(shown: Shown) -> Vector:
    """Of the drafts that would be kept those that a coin gave to the teacher."""
    kept = shown.pace.grew(REQUESTS, "cascade", outcome="kept")
    by_coin = shown.pace.grew(ESCALATIONS, "cascade", reason="holdout")
    return ratio(by_coin, plus(kept, by_coin))


FLYWHEEL_PANELS: Mapping[tuple[int, str], Expected] = {
    (301, "A"): lambda shown: shown.pace.pace(WRITTEN),
    (301, "B"): lambda shown: times(
        shown.pace.told("understudy_pairs_shipped_total"), 1 / shown.pace.seconds
    ),
    (303, "A"): empty("every pair was written: the journal had room all the time"),
    (303, "B"): empty("no cascade has a redactor that could fail"),
    (303, "C"): empty("no cascade stores completions"),
    (312, "A"): empty("no cascade bounds what is stored"),
    (312, "B"): empty("nobody asked for a deletion"),
    (304, "A"): stored,
    (304, "B"): unread,
    (302, "A"): by_replica("understudy_journal_unshipped_bytes"),
    (302, "B"): by_replica("understudy_journal_kept_bytes"),
    (305, "A"): worst("understudy_journal_oldest_unshipped_seconds"),
    (305, "B"): worst("understudy_ledger_waiting_seconds"),
    (306, "A"): constant(1),
    (306, "B"): lambda shown: shown.gauge("understudy_store_durable", how=min),
    (306, "C"): constant(1),
    (313, "A"): lambda shown: shown.pace.told("understudy_store_errors_total"),
    (313, "B"): empty("no process was killed, so the journal is whole"),
    (315, "A"): lambda shown: times(
        shown.pace.told("understudy_ledger_records_written_total"), 1 / shown.pace.seconds
    ),
    (315, "B"): lambda shown: times(
        shown.pace.told("understudy_ledger_records_shipped_total"), 1 / shown.pace.seconds
    ),
    (307, "A"): lambda shown: shown.pace.pace("understudy_drafts_completed_total", "outcome"),
    (308, "A"): observations,
    (314, "A"): held_out,
    (309, "A"): teacher_ratio("low"),
    (309, "B"): teacher_ratio("estimate"),
    (309, "C"): teacher_ratio("high"),
    (310, "A"): policies_in_force,
    (311, "A"): bound_promised,
    (311, "B"): expected_disagreement,
}
