"""Connects the metrics with what they show of the parts: policies, calls, the journal."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from gateway.api.context import Context
from gateway.audits.state import Audits
from gateway.cascades import LoadedCascade
from gateway.conversations.talks import Talks
from gateway.facts import PolicyInForce
from gateway.legs import Model
from gateway.telemetry.metrics import Metrics
from gateway.upstream.pool import ServerPool
from routing.vocabulary import Handover

_DISAGREEMENT = "disagreement"


def watch(context: Context, cascades: Iterable[LoadedCascade]) -> None:
    """Have the metrics of a gateway show what is asked of its parts."""
    observer = context.observer
    metrics = observer.metrics
    metrics.open_requests.set_function(lambda: context.open_requests)
    for loaded in cascades:
        watch_student(context, loaded)
        cascade = context.served[loaded.name].cascade
        if cascade.streaming.handover is Handover.CONTINUE:
            metrics.continuation_wanted(loaded.name)
        teacher = cascade.teacher
        metrics.gen_ai.named(loaded.name, teacher.role, loaded.config.teacher.model)
        _watch_calls(metrics, loaded.name, teacher)
        if teacher.rented is not None:
            metrics.money.watch_rent(loaded.name, teacher.role, teacher.rented.rent)
        _watch_audits(metrics, loaded.name, context.served[loaded.name].audits)
        if loaded.config.stored.enabled:
            metrics.pairs.completions_kept(loaded.name)
        if loaded.config.budget is not None:
            metrics.money.budget(loaded.name, float(loaded.config.budget.usd_per_month))


def watch_student(context: Context, loaded: LoadedCascade) -> None:
    """Have them show the student that is a cascade's incumbent, and its policy, from now on.

    ``loaded`` is the configuration that it was built from.
    """
    metrics, served = context.observer.metrics, context.served[loaded.name]
    context.observer.policy_in_force(policy_in_force(loaded))
    if served.talks is not None and served.is_remembering:
        _watch_talks(context, loaded.name, served.talks)
    student = served.cascade.student
    metrics.gen_ai.named(loaded.name, student.role, loaded.config.student.model)
    _watch_calls(metrics, loaded.name, student)
    if isinstance(student.chat, ServerPool):
        is_alone, servers = student.chat.left_alone, len(student.chat.servers)
        metrics.calls.breaker_changed(loaded.name, student.role, is_alone, servers)
    metrics.baseline.watch({name: one.learner for name, one in context.served.items()})


def _watch_talks(context: Context, cascade: str, talks: Talks) -> None:
    context.observer.metrics.conversations.watch(cascade, lambda: talks.count(context.clock()))


def _watch_calls(metrics: Metrics, cascade: str, model: Model) -> None:
    chat = model.chat
    if isinstance(chat, ServerPool):
        metrics.calls.watch(cascade, model.role, lambda: chat.open_calls, lambda: chat.max_calls)


def _watch_audits(metrics: Metrics, cascade: str, audits: Audits) -> None:
    metrics.audits.watch(cascade, lambda: audits.open)
    debt = audits.debt
    if debt is not None:
        metrics.audits.watch_debt(cascade, lambda: len(debt))


def policy_in_force(loaded: LoadedCascade) -> PolicyInForce:
    """What is told of a cascade's policy.

    A threshold that the operator chose has no promise, and keeps another share.
    """
    origin, policy = loaded.origin, loaded.policy
    fitted_at = promised = kept_share = None
    if origin is not None:
        fitted_at = datetime.fromisoformat(origin.date).replace(tzinfo=UTC).timestamp()
        if loaded.config.objective is None:
            target = origin.basis.target
            promised = target.value if target.kind == _DISAGREEMENT else None
            kept_share = _share(origin.evidence)
    return PolicyInForce(
        cascade=loaded.name,
        version=policy.version,
        student_version=loaded.config.student.version,
        threshold=policy.threshold.value,
        is_calibrated=policy.is_calibrated,
        fitted_at=fitted_at,
        disagreement_bound=promised,
        kept_share=kept_share,
    )


def _share(evidence: Mapping[str, object]) -> float | None:
    """The policy file's evidence is for people, and may say anything."""
    share = evidence.get("kept_share")
    if isinstance(share, bool) or not isinstance(share, int | float):
        return None
    return float(share) if 0 <= share <= 1 else None
