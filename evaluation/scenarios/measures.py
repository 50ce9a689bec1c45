"""What a run comes to, in numbers, and what many runs come to.

A measure is None where a run says nothing of it: nobody detects what did not happen.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.outcomes import Floats
from evaluation.scenarios.scenario import (
    ComparatorNoise,
    EscalationRate,
    Objective,
    Quality,
    Scenario,
    Spend,
    StudentRegression,
    TopicDrift,
)
from evaluation.scenarios.timeline import Timeline
from routing.money import PICO_PER_USD

HOUR_SECONDS = 3600
_REACHED = 1.1  # what the teacher alone must cost, of a target that can be met
_PART_SECONDS = 300
_NOW_SHARE = 0.1  # "now" is the last tenth of a run

Measures = Mapping[str, float | None]


def measures_of(scenario: Scenario, run: Timeline) -> Measures:
    """All measures of one run."""
    objective = scenario.cascade.objective
    found = {**_traffic(run), **_queue(scenario, run)}
    if isinstance(objective, Quality):
        found.update(_beside_oracle(run))
        wrong = _first_wrong(scenario, run)
        found.update(_promise(run, objective, wrong))
        found.update(_alarms(run, wrong))
    found.update(_hours(run, objective))
    return found


def _traffic(run: Timeline) -> Measures:
    requests = float(run["served"].sum())
    spent, alone = float(run["spent_pico"].sum()), float(run["teacher_alone_pico"].sum())
    return {
        "requests": requests,
        "bill_usd": spent / PICO_PER_USD,
        "bill_per_1000_usd": _ratio(1000.0 * spent / PICO_PER_USD, requests),
        "bill_of_teacher_alone": _ratio(spent, alone),
        "audit_usd": float(run["audited_pico"].sum()) / PICO_PER_USD,
        "audits": float(run["audits"].sum()),
        "kept_share": _ratio(float(run["kept"].sum()), requests),
        "escalated_share": _ratio(float(run["escalated"].sum()), requests),
        "denied_share": _ratio(float((run["denied"] + run["failed"]).sum()), requests),
        "latency_seconds_most": float(run["latency_seconds"].max()),
        "waiting_most": float(run["waiting"].max()),
    }


def _queue(scenario: Scenario, run: Timeline) -> Measures:
    """What came of looking at the teacher's queue."""
    watch = scenario.cascade.teacher.queue
    if watch is None:
        return {}
    found: dict[str, float | None] = {
        "busy_share": _ratio(float(run["busy"].sum()), float(run["served"].sum())),
        "pressure_most": float(run["pressure"].max()),
    }
    if watch.adaptive_limit:
        found["limit_least"] = float(run["limit"].min())
    return found


def _beside_oracle(run: Timeline) -> Measures:
    """Bill and kept share beside those of the true threshold, over all of it and now."""
    found: dict[str, float | None] = {}
    for name, part in (("", slice(None)), ("_now", slice(-_now_seconds(run), None))):
        served = run["served"][part]
        oracle_pico = float(served @ run["oracle_pico"][part])
        oracle_kept = float(served @ run["oracle_kept"][part])
        bill = _ratio(float(run["spent_pico"][part].sum()), oracle_pico)
        found[f"bill_over_oracle{name}"] = None if bill is None else bill - 1.0
        found[f"kept_over_oracle{name}"] = _ratio(float(run["kept"][part].sum()), oracle_kept)
    kept = np.cumsum(run["served"])[run["kept"] > 0]
    found["first_kept_requests"] = float(kept[0]) if len(kept) else None
    oracle = float(run["served"] @ run["oracle_pico"])
    found["oracle_usd"] = oracle / PICO_PER_USD
    return found


def _first_wrong(scenario: Scenario, run: Timeline) -> int:
    """The second in which drafts, topics or the comparator change: no promise was about that."""
    changes = StudentRegression | TopicDrift | ComparatorNoise
    found = [each.at for each in scenario.events if isinstance(each, changes)]
    return min([*found, run.seconds])


def _promise(run: Timeline, objective: Quality, wrong: int) -> Measures:
    above = run.is_above(objective.disagreement_at_most)
    return {
        "violated": float(above[:wrong].any()),
        "above_share": float(above.mean()),
        "disagreement_most": float(run["disagreement"].max()),
        "disagreement_unseen_most": float(run["unseen"].max()),
    }


def _alarms(run: Timeline, wrong: int) -> Measures:
    """Alarms before anything went wrong are false; the first after a regression detects it."""
    found: dict[str, float | None] = {
        "alarms": float(len(run.alarms)),
        "false_alarms": float(sum(each.second <= wrong for each in run.alarms)),
    }
    regressions = run.regressions
    if regressions:
        at = regressions[0]
        after = next((each.second for each in run.alarms if each.second > at), None)
        found["detected"] = float(after is not None)
        found["detection_seconds"] = None if after is None else float(after - at)
        served = None if after is None else float(run["served"][at:after].sum())
        found["detection_requests"] = served
    return found


def _hours(run: Timeline, objective: Objective) -> Measures:
    """Of all windows of an hour; what is below a target counts once the first hour is over."""
    cap: float | None = None
    if isinstance(objective, EscalationRate):
        target = objective.at_most
        served = run.windows("served", HOUR_SECONDS)
        values = run.windows("escalated", HOUR_SECONDS) / np.maximum(served, 1.0)
    elif isinstance(objective, Spend):
        target, cap = objective.usd_per_hour, objective.cap_usd_per_hour
        values = run.windows("spent_pico", HOUR_SECONDS) / PICO_PER_USD
        values *= HOUR_SECONDS / min(HOUR_SECONDS, run.seconds)
    else:
        return {}
    found: dict[str, float | None] = {
        "hour_most": float(values.max()),
        "hour_over_target": float(values.max() / target - 1.0),
        "hour_off_target": _off_target(run, objective, values / target),
        "swings": _swings(run),
    }
    if cap is not None:
        found["hour_over_cap"] = float(values.max() / cap - 1.0)
    return found


def _off_target(run: Timeline, objective: Objective, of_target: Floats) -> float | None:
    """The most that an hour was off its target, of those in which it could have been met.

    The hours count that begin once the first is over, and, for a spend, in no part of which the
    teacher alone would have cost less than the target.
    """
    could = np.ones(len(of_target), dtype=np.bool_)
    if isinstance(objective, Spend):
        width = min(_PART_SECONDS, run.seconds)
        alone = run.windows("teacher_alone_pico", width) / PICO_PER_USD / width
        reached = alone > _REACHED * objective.usd_per_hour / HOUR_SECONDS
        parts = len(reached) - len(of_target) + 1  # that lie in an hour
        missed = np.concatenate([np.zeros(1), np.cumsum(~reached)])
        could = missed[parts:] == missed[:-parts]
    first = HOUR_SECONDS if len(of_target) > HOUR_SECONDS else 0
    counted = of_target[first:][could[first:]]
    return float(np.abs(counted - 1.0).max()) if len(counted) else None


def _swings(run: Timeline) -> float:
    """How far the share kept goes up and down in an hour: the sum of its moves of a minute."""
    whole = run.seconds // 60 * 60
    minutes = run["kept_truly"][:whole].reshape(-1, 60).mean(axis=1)
    return float(np.abs(np.diff(minutes)).sum() * HOUR_SECONDS / max(whole, 1))


def _now_seconds(run: Timeline) -> int:
    return max(1, int(_NOW_SHARE * run.seconds))


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0.0 else None


# --- of many runs ---------------------------------------------------------------------------


def summary_of(runs: Sequence[Measures]) -> dict[str, dict[str, float | None]]:
    """Mean, 90th percentile, least and most of each measure, over the runs that say it."""
    names = list(dict.fromkeys(name for run in runs for name in run))
    return {name: _spread([run.get(name) for run in runs]) for name in names}


def _spread(values: Sequence[float | None]) -> dict[str, float | None]:
    said = np.array([value for value in values if value is not None])
    if not len(said):
        return {"mean": None, "p90": None, "p95": None, "least": None, "most": None, "runs": 0}
    return {
        "mean": float(said.mean()),
        "p90": float(np.quantile(said, 0.9, method="higher")),
        "p95": float(np.quantile(said, 0.95, method="higher")),
        "least": float(said.min()),
        "most": float(said.max()),
        "runs": len(said),
    }
