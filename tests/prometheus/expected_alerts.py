"""What the alerts are to look at, whether or not it is high enough to fire, and which fire when.

Most bars are too high for the traffic here: a few hundred requests.  That an alert fires beyond
its bar and is silent below is shown by the unit tests of deploy/prometheus/tests on made-up series;
here it is shown that the number that it compares is the right one on a real gateway.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from tests.prometheus.expected_cost import COST, UNKNOWN, budgets, margin
from tests.prometheus.expected_objectives import UNAUDITED, UNSTEERED
from tests.prometheus.expected_recorded import (
    SECONDS,
    due,
    failed,
    failures,
    judged,
    kept_share,
    late,
    net_saving,
    of_job,
    pace,
    streams,
)
from tests.prometheus.expected_routing import (
    DEFERRALS,
    DEGRADED,
    bound_promised,
    calibrated,
    kept_share_promised,
    mean_confidence,
    policy_age,
)
from tests.prometheus.expecting import (
    Expected,
    Shown,
    Vector,
    Window,
    but,
    empty,
    plus,
    ratio,
    times,
)
from tests.prometheus.history import JOB
from tests.prometheus.server import NO_LABELS, Labels, labels_of


def replicas(shown: Shown, value: Callable[[int], Decimal]) -> Vector:
    """A value for each replica, by its number."""
    return {
        labels_of(job=JOB, instance=replica.instance): value(number)
        for number, replica in enumerate(shown.history.replicas)
    }


def burn(
    part: Callable[[Window], Vector], whole: Callable[[Window], Vector], long: str
) -> Expected:
    """A share over the longer of two windows."""

    def share(shown: Shown) -> Vector:
        window = shown.over(SECONDS[long])
        return of_job(_real(ratio(part(window), whole(window))))

    return share


def _real(vector: Vector) -> Vector:
    """Without requests for cascades that nobody configured."""
    return {labels: value for labels, value in vector.items() if ("cascade", "other") not in labels}


def down(role: str) -> Expected:
    """How many calls failed, or where none did, how many drafts it was wanted for."""

    def count(shown: Shown) -> Vector:
        window = shown.over(SECONDS["10m"])
        found = failures(window)
        wanted = (
            window.grew(DEGRADED, "cascade", degraded="teacher_failed")
            if role == "teacher"
            else window.grew(DEFERRALS, "cascade", reason="student_failed")
        )
        more = {labels | labels_of(role=role): value for labels, value in wanted.items()}
        of_role = {labels: value for labels, value in found.items() if ("role", role) in labels}
        return of_job({**more, **of_role})

    return count


def open_breakers(shown: Shown) -> Vector:
    """The first replica left one model alone in the outage."""
    was_open = shown.history.times["outage"] <= shown.range.at < shown.history.times["over"]
    first = shown.history.replicas[0].instance
    where = {"job": JOB, "instance": first, "cascade": "agreeing", "role": "teacher"}
    return {labels_of(**where): Decimal(was_open)}


def degraded_share(shown: Shown) -> Vector:
    """Of the answers that were due, those that the teacher could not give."""
    window = shown.over(SECONDS["1h"])
    part = window.grew(DEGRADED, "cascade", degraded=but("not_allowed", "budget_spent"))
    return of_job(ratio(part, due(window)))


def kept_otherwise(shown: Shown) -> Vector:
    """How far the kept share of a day is from that of the policy's records."""
    promised = kept_share_promised(shown)
    share = kept_share(shown.over(SECONDS["1d"]))
    return of_job({
        labels: abs(share[labels] - value) for labels, value in promised.items() if labels in share
    })  # fmt: skip


def beyond_bound(shown: Shown) -> Vector:
    """Expected disagreement among kept drafts, where it is more than was promised."""
    bound = bound_promised(shown)
    kept = mean_confidence(shown.over(SECONDS["1d"]), "keep")
    return of_job({
        labels: 1 - value
        for labels, value in kept.items()
        if labels in bound and 1 - value > bound[labels]
    })  # fmt: skip


def over_budget(spent: Callable[[Shown], Vector]) -> Expected:
    """What is spent, where it is more than the budget."""

    def beyond(shown: Shown) -> Vector:
        limits, found = budgets(shown), spent(shown)
        return of_job({
            labels: value
            for labels, value in found.items()
            if labels in limits and value > limits[labels]
        })  # fmt: skip

    return beyond


def runaway(shown: Shown) -> Vector:
    """Dollars an hour, where that is more than 2% of a month's budget, for an hour and now."""
    hour = times(pace(shown.over(SECONDS["1h"])), Decimal(3600))
    now = times(pace(shown.over(SECONDS["5m"])), Decimal(3600))
    return of_job({
        labels: hour[labels]
        for labels, budget in budgets(shown).items()
        if hour[labels] > budget / 50 and now[labels] > budget / 50
    })  # fmt: skip


def no_saving(shown: Shown) -> Vector:
    """The upper end of the saving's interval, but where the baseline of much is unknown."""
    window = shown.over(SECONDS["7d"])
    unknown = window.grew("understudy_baseline_unknown_total", "cascade")
    tried = judged(window)
    upper = plus(net_saving(window), margin(window, "cascade"))
    return of_job({
        labels: value
        for labels, value in upper.items()
        if labels in tried and unknown.get(labels, Decimal(0)) <= tried[labels] / 100
    })  # fmt: skip


def unknown_share(shown: Shown) -> Vector:
    """Of the calls those without a cost."""
    window = shown.over(SECONDS["6h"])
    seen = window.told("understudy_upstream_seconds_count", "cascade", "role")
    return of_job(ratio(window.grew(UNKNOWN, "cascade", "role"), seen))


def each_page(name: str) -> Expected:
    """A gauge as each replica's page has it."""

    def gauge(shown: Shown) -> Vector:
        pages = shown.history.told(shown.range.at, name)
        return {
            labels | labels_of(job=JOB, instance=replica.instance): value
            for replica, page in zip(shown.history.replicas, pages, strict=True)
            for labels, value in page.items()
        }

    return gauge


def always(value: int) -> Expected:
    """The same on every replica."""
    return lambda shown: replicas(shown, lambda _: Decimal(value))


def of_all(expected: Expected) -> Expected:
    """By job."""
    return lambda shown: of_job(expected(shown))


def filling(shown: Shown) -> Vector:
    """Where the journal will be in four hours, by a line through half an hour."""
    return {
        labels_of(job=JOB, instance=replica.instance): _line(shown, number)
        for number, replica in enumerate(shown.history.replicas)
    }


def _line(shown: Shown, number: int) -> Decimal:
    """Least squares over the scrapes of half an hour."""
    points = [
        (
            Decimal(at - shown.range.at),
            replica_page["understudy_journal_unshipped_bytes", NO_LABELS],
        )
        for at, replica_page in shown.history.scraped(number, shown.range.at, 1_800)
    ]
    count = Decimal(len(points))
    mean_x = sum((x for x, _ in points), Decimal(0)) / count
    mean_y = sum((y for _, y in points), Decimal(0)) / count
    spread = sum(((x - mean_x) ** 2 for x, _ in points), Decimal(0))
    slope = sum(((x - mean_x) * (y - mean_y) for x, y in points), Decimal(0)) / spread
    return mean_y + slope * (4 * 3_600 - mean_x)


def durable(shown: Shown) -> Vector:
    """Whether the store says so, of replicas that have shipped a pair; those that have not too."""
    return each_page("understudy_store_durable")(shown)


def registry_age(shown: Shown) -> Vector:
    """How long ago each replica read the generations, those of the cascade that waits longest."""
    pages = shown.history.told(shown.range.at, "understudy_generations_read_age_seconds")
    return {
        labels_of(job=JOB, instance=replica.instance): max(page.values())
        for replica, page in zip(shown.history.replicas, pages, strict=True)
    }


def keys_age(shown: Shown) -> Vector:
    """How long ago each replica read the keys file well."""
    pages = shown.history.told(shown.range.at, "understudy_keys_read_age_seconds")
    return {
        labels_of(job=JOB, instance=replica.instance, source="file"): max(page.values())
        for replica, page in zip(shown.history.replicas, pages, strict=True)
    }


def up(shown: Shown) -> Vector:
    """All replicas answered every scrape."""
    return {labels_of(job=JOB): Decimal(len(shown.history.replicas))}


ALERTS: Mapping[str, Expected] = {
    "UnderstudyDown (page)": lambda shown: {
        labels_of(job=JOB): Decimal(len(shown.history.replicas))
    },
    "UnderstudyAbsent (page)": empty("gateways are scraped"),
    "UnderstudyReplicaDown (ticket)": always(1),
    "UnderstudyErrorBudgetBurn (page)": burn(failed, due, "1h"),
    "UnderstudyErrorBudgetBurn (ticket)": burn(failed, due, "1d"),
    "UnderstudyTurningAway (page)": empty("strangers are turned away for their own mistake"),
    "UnderstudyLatencyBurn (page)": burn(late, streams, "1h"),
    "UnderstudyLatencyBurn (ticket)": burn(late, streams, "1d"),
    "UnderstudyDegradedShareHigh (ticket)": degraded_share,
    "UnderstudyKeysNotRead (ticket)": keys_age,
    "UnderstudyLimitsAway (page)": empty("no key has limits"),
    "UnderstudyLogLinesLost (ticket)": empty("the log is a file on a disk with room"),
    "UnderstudyTeacherDown (page)": down("teacher"),
    "UnderstudyStudentDown (page)": down("student"),
    "UnderstudyReplicaCutOff (ticket)": open_breakers,
    "UnderstudyNamedModelDown (page)": empty("no model has a name of its own"),
    "UnderstudyTeacherSaturated (ticket)": empty("calls are over when a page is read"),
    "UnderstudyStudentSaturated (ticket)": empty("calls are over when a page is read"),
    "UnderstudyEscalationRateOff (ticket)": kept_otherwise,
    "UnderstudyEscalationRateMoved (ticket)": empty("nothing was recorded a day before"),
    "UnderstudyQualityBoundBreached (ticket)": beyond_bound,
    "UnderstudyPolicyStale (ticket)": of_all(policy_age),
    "UnderstudyPolicyUncalibrated (ticket)": of_all(calibrated),
    "UnderstudyRegressionFound (page)": empty(UNSTEERED),
    "UnderstudyPromiseNotReleased (ticket)": empty(UNSTEERED),
    "UnderstudyAuditsFailing (ticket)": empty(UNAUDITED),
    "UnderstudySpendAboveTarget (ticket)": empty(UNSTEERED),
    "UnderstudyCapDenying (ticket)": empty(UNSTEERED),
    "UnderstudyNoController (ticket)": empty(UNSTEERED),
    "UnderstudyObjectiveStale (ticket)": empty(UNSTEERED),
    "UnderstudyOverBudget (ticket)": over_budget(
        lambda shown: times(pace(shown.over(SECONDS["1d"])), Decimal(30 * 86_400))
    ),
    "UnderstudyBudgetSpent (ticket)": over_budget(
        lambda shown: shown.over(SECONDS["30d"]).grew(COST, "cascade")
    ),
    "UnderstudySpendRunaway (page)": runaway,
    "UnderstudyNoSaving (ticket)": no_saving,
    "UnderstudyCostUnknown (ticket)": unknown_share,
    "UnderstudyCachedTokensNotReported (ticket)": of_all(
        lambda shown: shown.gauge("understudy_cached_tokens_reported", "cascade", "role", how=min)
    ),
    "UnderstudyLedgerWaiting (ticket)": each_page("understudy_ledger_waiting_seconds"),
    "UnderstudyJournalGrowing (ticket)": each_page("understudy_journal_oldest_unshipped_seconds"),
    "UnderstudyJournalFilling (page)": filling,
    "UnderstudyJournalWithoutRoom (page)": always(1),
    "UnderstudyPairsLost (ticket)": empty("every pair was written"),
    "UnderstudyStoredCompletionsLost (ticket)": empty("no cascade stores completions"),
    "UnderstudyJournalDamaged (ticket)": empty("no process was killed"),
    "UnderstudyStoreEvicts (ticket)": empty("the store's maxmemory-policy is noeviction"),
    "UnderstudyStoreNotDurable (ticket)": durable,
    "UnderstudyRedactorFailing (ticket)": empty("no cascade has a redactor"),
    "UnderstudyRolledBack (ticket)": empty("no cascade ever had a candidate"),
    "UnderstudyRolloutUnwatched (ticket)": empty("no cascade ever had a candidate"),
    "UnderstudyGenerationsRefused (ticket)": empty("no state was ever written"),
    "UnderstudyGenerationsDiffer (ticket)": empty("no state was ever written"),
    "UnderstudyRegistryAway (ticket)": registry_age,
}


def _at(moments: Sequence[str], alert: str, *where: Labels) -> dict[tuple[str, str], set[Labels]]:
    return {
        (alert, moment): {labels | labels_of(job=JOB) for labels in where} for moment in moments
    }


_TROUBLE = ("outage", "mishaps", "store away")
_TEACHER = labels_of(cascade="agreeing", role="teacher")
_ASSISTANT, _MEASURED = labels_of(cascade="assistant"), labels_of(cascade="measured")
# Which alerts fire when; all others are silent.  The teacher's five failures are those of ten
# minutes; the assistant has a budget of a cent, and two cascades have a hundred requests each.
FIRES: Mapping[tuple[str, str], set[Labels]] = {
    **_at(_TROUBLE, "UnderstudyTeacherDown (page)", _TEACHER),
    **_at(
        _TROUBLE,
        "UnderstudyReplicaCutOff (ticket)",
        _TEACHER | labels_of(instance="gateway-0:9090"),
    ),
    **_at(("mishaps", "store away", "end"), "UnderstudyOverBudget (ticket)", _ASSISTANT),
    **_at(("end",), "UnderstudyBudgetSpent (ticket)", _ASSISTANT),
    **_at(("end",), "UnderstudySpendRunaway (page)", _ASSISTANT),
    **_at(("end",), "UnderstudyPolicyUncalibrated (ticket)", _ASSISTANT, _MEASURED),
}
