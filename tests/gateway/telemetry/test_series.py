"""However long a gateway runs, its metrics stay a page that Prometheus reads at once."""

import itertools
import time
from collections import Counter

import pytest

from gateway.facts import (
    ABORTED,
    SPARE,
    AuditOutcome,
    AuditOver,
    AuditSkipped,
    BothAnswered,
    DraftCompleted,
    Ending,
    GenerationsRefused,
    GenerationsTaken,
    Leg,
    PolicyInForce,
    RequestSettled,
)
from gateway.passage import Passage, PassedCall, PassedThrough
from gateway.ports import Fate, JournalState
from gateway.server_facts import CachedTokensAsked, TeacherProbed
from gateway.telemetry.call_metrics import FAILURES
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.objective_metrics import SHOWN_NUMBERS, Target
from gateway.telemetry.pair_metrics import (
    CAUSES_OF_DROPPED_CONTENT,
    CAUSES_OF_EXPIRY,
    CAUSES_OF_LOSS,
)
from gateway.wire.passing import PassedRoute
from routing.baseline import (
    LEAST_OBSERVATIONS,
    Correction,
    Estimate,
    Learner,
    Missing,
    Observation,
)
from routing.money import Usage
from routing.rollout import Action, Generations, Step
from routing.streaming import Doubt
from routing.vocabulary import (
    Basis,
    Confidence,
    Degraded,
    Handover,
    Kind,
    NotAudited,
    Reason,
    Role,
)

CASCADES = tuple(f"cascade-with-a-long-name-{number}" for number in range(5))
MODELS = tuple(f"model-with-a-long-name-{number}" for number in range(3))
MOST_SERIES = 3599
MOST_SECONDS = 0.020
USAGE = Usage(input=1000, output=100, cached_input=400, reasoning=0)
ANY = {"request_id": "r", "status": 200, "is_stream": True, "first_byte_seconds": 0.2}


def series(page: bytes) -> set[bytes]:
    """Names and labels of all samples."""
    return {line.rpartition(b" ")[0] for line in page.splitlines() if not line.startswith(b"#")}


def legs() -> list[Leg]:
    """Calls that end in every way, with each part of the bill known or unknown."""
    ends = (None, ABORTED, SPARE, *FAILURES)
    bills = ((None, None), (Usage(0, 9, 0, 4), None), (USAGE, 5))
    return [
        Leg(role, usage, cost, 0.1, error, is_estimated=is_estimated)
        for role, error, (usage, cost), is_estimated in itertools.product(
            Role, ends, bills, (False, True)
        )
    ]


def requests(cascade: str) -> list[RequestSettled]:
    """Requests that end in every way, for every reason."""
    doubt = Doubt(32, Reason.LOW_CONFIDENCE, Confidence(0.1))
    made = []
    for ending, role in itertools.product(Ending, (None, *Role)):
        told = {"ending": ending, "cascade": cascade, "served_by": role, "seconds": 0.9}
        told |= ANY | {"confidence": Confidence(0.9)}
        reasons = itertools.product((None, *Reason), (None, *Degraded))
        made += [RequestSettled(**told, reason=why, degraded=how) for why, how in reasons]
        made += [RequestSettled(**told, doubt=doubt, handover=each) for each in Handover]
        made += [RequestSettled(**told, baseline=each) for each in baselines()]
        made.append(RequestSettled(**told, legs=legs()))
    return made


def baselines() -> list[Estimate]:
    """Estimates of every kind."""
    known = [Estimate(7, basis) for basis in Basis]
    return known + [Estimate(None, Basis.PRICES, missing) for missing in Missing]


def learner() -> Learner:
    """One that has learnt."""
    learnt = Learner()
    for _ in range(LEAST_OBSERVATIONS):
        learnt.learn(Observation(Basis.SAMPLE, USAGE, USAGE))
    return learnt


def fill_money(metrics: Metrics, cascade: str) -> None:
    """The same of all that concerns money alone."""
    metrics.money.budget(cascade, 500.0)
    for role in Role:
        metrics.money.watch_rent(cascade, role, lambda: 10**15)
        asked = CachedTokensAsked(cascade, role, 1, True, "as seen", legs(), "http://s", True)
        metrics.cached_tokens_asked(asked)
    for kind, leg in itertools.product(Kind, legs()):
        metrics.money.charge(cascade, leg.entry(kind))
    for basis, correction in itertools.product(
        (Basis.SAMPLE, Basis.ESCALATIONS), (None, Correction(5, 25), Correction(-5, 25))
    ):
        fact = BothAnswered(cascade, None, basis, correction, is_learnt=True)
        metrics.baseline.both_answered(fact)


def fill_rollout(metrics: Metrics, cascade: str) -> None:
    """The same of its generations."""
    step = Step(Action.SHADOWED, "s-2", 1e9, "ann", "a trial")
    metrics.rollouts.watch(cascade, lambda: 0.5)
    for before in (None, Generations(1, None, None, None, step)):
        state = Generations(2, None, None, None, step)
        metrics.rollouts.taken(GenerationsTaken(cascade, before, state, is_news=True))
    metrics.rollouts.refused(GenerationsRefused(cascade, "no policy"))


def fill_audits(metrics: Metrics, cascade: str) -> None:
    """The same of its audits."""
    metrics.audits.watch(cascade, lambda: 16)
    metrics.audits.watch_debt(cascade, lambda: 1000)
    metrics.audits.debt_dropped(cascade, 1)
    for outcome in AuditOutcome:
        metrics.audit_over(AuditOver(cascade, None, legs(), outcome))
    for cause in NotAudited:
        metrics.audits.skipped(AuditSkipped(cascade, cause))


def fill_objective(metrics: Metrics, cascade: str) -> None:
    """The same of what it is held to, were that all kinds at once."""
    objectives = metrics.objectives
    objectives.watch(cascade, lambda: 1.0, lambda: 9, lambda: True)
    objectives.ordered(cascade, 3)
    objectives.cap_left(cascade, 0.5)
    objectives.lost(cascade, 1)
    objectives.holds(cascade, 7, 2, 0.02)
    objectives.pressed(cascade, 0.5, 4, 0.9)
    for state, kind in (("gathering", "quality"), ("released", "spend")):
        objectives.aims(cascade, Target(kind, 0.5))
        objectives.shown(cascade, state, dict.fromkeys(SHOWN_NUMBERS, 0.5))


def fill_cascade(metrics: Metrics, cascade: str) -> None:
    """Have everything happen in a cascade that can."""
    for role in Role:
        metrics.gen_ai.named(cascade, role, f"{cascade}/{role}-before")
        metrics.gen_ai.named(cascade, role, f"{cascade}/{role}-model")
        metrics.calls.watch(cascade, role, lambda: 256, lambda: 256)
        metrics.calls.breaker_changed(cascade, role, 1, 1)
    for fact in requests(cascade):
        metrics.settled(fact)
    for leg in legs():
        metrics.draft_completed(DraftCompleted(cascade, leg))
    fill_money(metrics, cascade)
    fill_audits(metrics, cascade)
    fill_objective(metrics, cascade)
    metrics.continuation_wanted(cascade)
    metrics.teacher_probed(TeacherProbed(cascade, 1, True, "as seen", legs(), "http://t", True))
    metrics.policies.in_force(PolicyInForce(cascade, "0123456789ab", "s-1", 0.8, True, 1e9, 1, 1))
    fill_rollout(metrics, cascade)
    metrics.conversations.watch(cascade, lambda: 10**5)
    metrics.pairs.written(cascade)
    for cause in CAUSES_OF_DROPPED_CONTENT:
        metrics.pairs.content_dropped(cascade, cause)
    metrics.pairs.counted(cascade, 10**9, 10**9)
    for fate in Fate:
        metrics.pairs.completions_became(cascade, fate, 1)


def fill_passed(metrics: Metrics) -> None:
    """Have everything happen to named models and to cascades' tokenizers that can."""
    for model in MODELS:
        metrics.passed.begin(model, PassedRoute)
        metrics.passed.breaker_changed(model, is_open=True)
    errors, bills = (None, *FAILURES), ((None, None), (USAGE, None), (USAGE, 5))
    for name, route, outcome in itertools.product((None, *MODELS, *CASCADES), PassedRoute, Passage):
        if name in CASCADES and not route.is_free:
            continue
        for error, (usage, cost) in itertools.product(errors, bills):
            call = PassedCall(0.1, usage, cost, error) if name else None
            fact = PassedThrough("r", name, route, outcome, 200, 0.1, call=call)
            metrics.passed.passed_through(fact)


def worst_case() -> Metrics:
    """Five cascades, three named models, and everything that can happen has."""
    metrics = Metrics(version="1.2.3", calibrated=dict.fromkeys(CASCADES, True))
    metrics.pairs.watch(lambda: JournalState(10**9, 10**9, 1.0, True))
    metrics.baseline.watch({cascade: learner() for cascade in CASCADES})
    for cascade in CASCADES:
        fill_cascade(metrics, cascade)
    fill_passed(metrics)
    for ending in (Ending.REJECTED, Ending.FAILED, Ending.CANCELLED):
        metrics.settled(RequestSettled("r", ending, 400, 0.1))
    for gone in (*CASCADES, "a cascade that is gone"):
        metrics.pairs.shipped(gone)
        metrics.pairs.deleted(gone, 1)
        for cause in CAUSES_OF_LOSS:
            metrics.pairs.lost(gone, cause)
        for cause in CAUSES_OF_EXPIRY:
            metrics.pairs.expired(gone, cause, 1)
    return metrics


def test_the_worst_case_is_a_page_of_at_most_so_many_series() -> None:
    found = series(worst_case().exposition())
    by_name = Counter(each.partition(b"{")[0].decode() for each in found)
    assert len(found) <= MOST_SERIES, by_name.most_common(20)
    assert len(found) > MOST_SERIES / 2  # or it is no worst case


@pytest.mark.full
def test_a_scrape_of_the_worst_case_takes_no_time() -> None:
    metrics = worst_case()
    taken = []
    for _ in range(10):
        began = time.process_time()
        metrics.exposition()
        taken.append(time.process_time() - began)
    assert min(taken) < MOST_SECONDS
