"""Whom a scenario's requests come from, known in full: what each draft is worth and what it costs.

A population is a table of requests.  What a threshold truly does is a sum over it, no estimate.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtri

from evaluation.applied import apply_policy
from evaluation.errors import EvaluationError
from evaluation.outcomes import Floats, Integers
from evaluation.records import Record, read_records
from evaluation.scenarios.scenario import Cascade, Kind, Scenario, Tokens
from routing.money import PICO_PER_USD
from routing.policy import Policy

REQUESTS_OF_A_KIND = 2_000
SILENT = -np.inf  # the merit of a draft that gave no evidence: no threshold admits it
MOST_SLOPE = 40.0  # of the log-odds in a standard deviation: an AUROC of all but 1
_SEED_OF_COSTS = 20_000  # which requests are the long ones is the same in every run


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """All requests there are, by falling merit; every array has shape (n,).

    ``risk`` in [0, 1] is the probability with which the teacher would have answered differently,
    or, where ``is_graded``, how far it does.  ``kind`` is an index into ``kinds``, ``weight`` the
    share that a request has in its kind.  Costs are pico-dollars.
    """

    merit: Floats
    risk: Floats
    kind: Integers
    weight: Floats
    student_pico: Integers
    teacher_pico: Integers
    kinds: tuple[str, ...]
    shares: Floats
    is_graded: bool = False


def population_of(scenario: Scenario, policy: Policy | None = None) -> Population:
    """Whom the scenario's requests come from.

    ``policy`` says what recorded drafts' merits are.  Raises EvaluationError where there is none
    such, and RecordError where records cannot be read.
    """
    if isinstance(scenario.population, Mapping):
        return _made(scenario.population, scenario.tokens, scenario.cascade)
    if policy is None:
        raise EvaluationError("population.records: a policy must say what their merits are")
    return _recorded(list(read_records(scenario.population.records)), policy, scenario)


def _made(kinds: Mapping[str, Kind], tokens: Tokens, cascade: Cascade) -> Population:
    each = REQUESTS_OF_A_KIND
    risks = [risks_of(kind.disagreement, kind.auroc, each) for kind in kinds.values()]
    risk = np.concatenate(risks)
    doubt = np.repeat([kind.overconfidence for kind in kinds.values()], each)
    student, teacher = _costs(tokens, cascade, risk.size)
    shares = np.array([kind.share for kind in kinds.values()])
    return _sorted(
        Population(
            merit=1.0 - expit(logit(risk) - doubt),
            risk=risk,
            kind=np.repeat(np.arange(len(kinds)), each),
            weight=np.full(risk.size, 1.0 / each),
            student_pico=student,
            teacher_pico=teacher,
            kinds=tuple(kinds),
            shares=shares / shares.sum(),
        )
    )


def risks_of(disagreement: float, auroc: float, n: int) -> Floats:
    """The risks sigmoid(a - b z), z normal, of that mean and of which z tells that much.

    Raises EvaluationError where no slope below MOST_SLOPE does.
    """
    z = ndtri((np.arange(n) + 0.5) / n)

    def with_slope(slope: float) -> Floats:
        def excess(intercept: float) -> float:
            return float(expit(intercept - slope * z).mean()) - disagreement

        bound = 10.0 + 5.0 * slope
        return np.asarray(expit(brentq(excess, -bound, bound) - slope * z))

    def short(slope: float) -> float:
        return auroc_of(with_slope(slope)) - auroc

    if not short(0.0) <= 0.0 <= short(MOST_SLOPE):
        raise EvaluationError(f"auroc: no population has {auroc} at disagreement {disagreement}")
    return with_slope(float(brentq(short, 0.0, MOST_SLOPE, xtol=1e-6)))


def auroc_of(risk: Floats) -> float:
    """How often a draft that is right stands behind one that is not; risks in rising order of z."""
    bad, good = risk, 1.0 - risk
    before = np.cumsum(bad) - bad / 2.0
    return float((good * before).sum() / (good.sum() * bad.sum()))


def _recorded(records: list[Record], policy: Policy, scenario: Scenario) -> Population:
    applied = apply_policy(policy, records)
    merit = np.where(np.isnan(applied.merit), SILENT, np.minimum(applied.merit, applied.bar))
    risk = np.array([1.0 - float(each.student.ok) for each in records])
    weight = np.array([1.0 if each.weight is None else each.weight for each in records])
    names = tuple(sorted({each.group or "" for each in records}))
    kind = np.array([names.index(each.group or "") for each in records])
    mass = np.bincount(kind, weight)
    student, teacher = _costs(scenario.tokens, scenario.cascade, risk.size)
    told = [(each.student.cost_usd, each.teacher.cost_usd) for each in records]
    if all(ours is not None and theirs is not None for ours, theirs in told):
        usd = np.array(told, dtype=np.float64)
        student, teacher = (np.rint(usd * PICO_PER_USD).astype(np.int64)).T
    return _sorted(
        Population(
            merit=merit,
            risk=risk,
            kind=kind,
            weight=weight / mass[kind],
            student_pico=student,
            teacher_pico=teacher,
            kinds=names,
            shares=mass / mass.sum(),
            is_graded=not bool(np.isin(risk, (0.0, 1.0)).all()),
        )
    )


def _costs(tokens: Tokens, cascade: Cascade, n: int) -> tuple[Integers, Integers]:
    """What the student and the teacher take for each of n requests, the mean as it is said."""
    z = np.random.default_rng(_SEED_OF_COSTS).permutation(ndtri((np.arange(n) + 0.5) / n))
    factor = np.exp(tokens.spread * z)
    factor /= factor.mean()
    mean = (
        tokens.input * price[0] + tokens.output * price[1]
        for price in (cascade.student_price, cascade.teacher_price)
    )
    student, teacher = (np.rint(each * factor).astype(np.int64) for each in mean)
    return student, teacher


def _sorted(found: Population) -> Population:
    order = np.argsort(-found.merit, kind="stable")
    return Population(
        merit=found.merit[order],
        risk=found.risk[order],
        kind=found.kind[order],
        weight=found.weight[order],
        student_pico=found.student_pico[order],
        teacher_pico=found.teacher_pico[order],
        kinds=found.kinds,
        shares=found.shares,
        is_graded=found.is_graded,
    )
