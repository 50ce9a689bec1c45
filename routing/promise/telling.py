"""What a promise says of itself: one line for the log, and a page for the operator."""

import math
from collections.abc import Mapping

from routing.promise.bets import grades_needed, log_values
from routing.promise.clusters import MOST_OPEN
from routing.promise.detector import BOOST
from routing.promise.epoch import Epoch
from routing.promise.state import GATHERED, State
from routing.steering import KEEP_NOTHING

# So many levels around the one in force are shown.
SHOWN_LEVELS = 3


def line_of(promise: State) -> str:
    """Which rule holds, and by which numbers."""
    terms, epoch = promise.terms, promise.epoch
    said = f"at most {terms.alpha:g} with probability {1.0 - terms.delta:g}"
    if epoch is None:
        return (
            f"quality: escalate all, to see {GATHERED:,} merits before anything is proven "
            f"({len(promise.merits):,} so far, epoch {promise.number}; {said})"
        )
    if epoch.in_force < 0:
        after = (
            "" if not promise.alarms else f" since the alarm of {promise.alarms[-1].which} drafts"
        )
        following = epoch.following
        return (
            f"quality: escalate all{after}, {said} (epoch {promise.number}, "
            f"level {following + 1} of {len(epoch.best)} next, e = {told_e(epoch.best[following])} "
            f"of {told_e(epoch.bar)} after {epoch.judged:,} requests, {epoch.graded:,} grades)"
        )
    is_suspicious = promise.watch is not None and promise.watch.is_boosted(terms)
    boosted = f": up to {BOOST:g} times as many, as it is suspicious" if is_suspicious else ""
    return (
        f"quality: keep from {promise.threshold:.4g}, {said} (epoch {promise.number}, "
        f"level {epoch.in_force + 1} of {len(epoch.grid.thresholds)}, "
        f"e = {told_e(epoch.best[epoch.in_force])} >= {told_e(epoch.bar)} after "
        f"{epoch.judged:,} requests), audits {promise.audit:.1%} of kept{boosted}"
    )


def told_e(logarithm: float) -> str:
    """An e-value; beyond a million nobody counts."""
    if logarithm >= math.log(1e6):
        return "over a million"
    value = math.exp(logarithm)
    return f"{value:.3g}" if value < 100.0 else f"{value:,.0f}"


def shown_of(promise: State) -> Mapping[str, object]:
    """Objective, evidence, and what is missing."""
    terms, epoch = promise.terms, promise.epoch
    return {
        "kind": "quality",
        "disagreement_at_most": terms.alpha,
        "with_probability": round(1.0 - terms.delta, 12),
        "state": state_of(promise),
        "attempt": promise.attempt,
        "line": line_of(promise),
        "threshold": None if promise.threshold == KEEP_NOTHING else promise.threshold,
        "promise": (
            f"with probability {1.0 - terms.delta:g}, at most {terms.alpha:g} of the kept drafts "
            "would have come out differently"
        ),
        "epoch": promise.number,
        "judged": promise.judged,
        "audit_share": terms.audit_share,
        "audit_probability": promise.audit,
        "audited_usd": promise.audited_pico / 1e12,
        "bound": terms.alpha if epoch is not None and epoch.in_force >= 0 else None,
        "gathered": None if epoch is not None else len(promise.merits),
        "evidence": None if epoch is None else _evidence(promise, epoch),
        "detectors": _detectors(promise),
        "alarms": [
            {"at": one.at, "which": one.which, "epoch": one.epoch, "threshold": one.threshold}
            for one in promise.alarms
        ],
        "alarm_count": promise.alarm_count,
        "missing": [one for one in (missing(promise), _crowded(promise)) if one is not None],
    }


def state_of(promise: State) -> str:
    """``gathering`` merits, ``holding`` everything back, or ``released``."""
    if promise.epoch is None:
        return "gathering"
    return "released" if promise.epoch.in_force >= 0 else "holding"


def missing(promise: State) -> str | None:
    """What stands between the promise and a level in force; None where nothing does."""
    epoch, terms = promise.epoch, promise.terms
    if epoch is None:
        unseen = GATHERED - len(promise.merits)
        if unseen <= 0:
            return (
                f"drafts that differ in merit: of {len(promise.merits):,} too many are alike to "
                "make levels"
            )
        return f"{unseen:,} more judged requests, to make the levels"
    if epoch.in_force >= 0:
        return None
    start = epoch.grid.start
    if epoch.certified >= 0:
        return (
            "the certified level keeps much less than looks possible: more grades, or "
            f"{max(0, terms.hold_at_most - epoch.judged):,} more requests"
        )
    risk = epoch.counts.risk(start)
    if risk is None:
        return f"grades of the {epoch.grid.shares[start]:.0%} of drafts with the highest merit"
    needed = grades_needed(risk, terms.alpha, epoch.delta)
    if needed == math.inf:
        return (
            f"a better student: of the {epoch.grid.shares[start]:.0%} of drafts with the highest "
            f"merit {risk:.1%} differ or got no answer from the teacher, and {terms.alpha:.1%} "
            "may: look at the teacher's errors; else retrain it, fit its policy again, or promise "
            "less"
        )
    known = sum(epoch.counts.weights[: start + 1])
    more = max(0.0, needed - known) / max(epoch.grid.shares[start], 1e-9)
    return (
        f"about {math.ceil(more):,} more escalated requests, at the risk seen so far ({risk:.2%})"
    )


def _crowded(promise: State) -> str | None:
    """What new conversations lack: while they do not count, a regression of theirs is not seen."""
    if promise.epoch is None or len(promise.epoch.clusters) < MOST_OPEN:
        return None
    return (
        f"room for conversations: {MOST_OPEN:,} names are known, and no other counts until one is "
        f"silent for {promise.terms.idle_seconds:g} s; a student that gets worse there is not "
        "noticed meanwhile"
    )


def _evidence(promise: State, epoch: Epoch) -> Mapping[str, object]:
    values = list(log_values(epoch.wealth))
    middle = max(epoch.certified, epoch.grid.start)
    first = max(epoch.grid.start, middle - SHOWN_LEVELS)
    return {
        "levels": len(values),
        "level": None if epoch.in_force < 0 else epoch.in_force + 1,
        "certified": None if epoch.certified < 0 else epoch.certified + 1,
        "looks_possible": epoch.counts.looks_good(promise.terms.alpha) + 1 or None,
        "kept_share": epoch.share(epoch.in_force),
        "judged": epoch.judged,
        "grades": epoch.graded,
        "grades_of_kept": epoch.kept_graded,
        "open_conversations": sum(not one.is_over for one in epoch.clusters.values()),
        "first_certified_after": epoch.first_at,
        "needed_log10": -math.log10(epoch.delta),
        "around": [
            {
                "level": level + 1,
                "threshold": epoch.grid.thresholds[level],
                "kept_share": epoch.share(level),
                "log10_e": values[level] / math.log(10.0),
                "highest_log10_e": epoch.best[level] / math.log(10.0),
                "estimated_disagreement": epoch.counts.risk(level),
            }
            for level in range(first, min(middle + SHOWN_LEVELS + 1, len(values)))
        ],
    }


def _detectors(promise: State) -> Mapping[str, object] | None:
    watch = promise.watch
    if watch is None:
        return None
    return {
        "kept": {"reference": watch.kept.reference, "statistic": watch.kept.statistic},
        "deferred": None
        if watch.deferred is None
        else {"reference": watch.deferred.reference, "statistic": watch.deferred.statistic},
        "is_boosted": watch.is_boosted(promise.terms),
    }
