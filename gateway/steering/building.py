"""Builds what steers cascades from their configuration, once what serves them is there."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from gateway.api.context import Context, Served
from gateway.cascades import LoadedCascade, check_objective
from gateway.steering.aim import Aim
from gateway.steering.config import QualityConfig, RateConfig, SpendConfig, SteeredConfig
from gateway.steering.link import Link, SteeringEvents
from gateway.steering.load import LoadEvents, LoadWatch, Watched
from gateway.steering.orders import Orders
from gateway.steering.steered import Costs, Steered, World
from gateway.upstream.pool import ServerPool
from routing.promise import HeadStart


def steer(
    context: Context, cascades: Iterable[LoadedCascade], events: SteeringEvents, world: World
) -> Mapping[str, Link]:
    """Have the cascades that have an objective to be held to steered from now on."""
    links = {}
    for loaded in cascades:
        objective = loaded.config.objective
        if isinstance(objective, RateConfig | SpendConfig | QualityConfig):
            link = _link(context, loaded, objective, (events, world))
            links[loaded.name] = link
            served = replace(context.served[loaded.name], steered=link.steered)
            context.served = {**context.served, loaded.name: served}
    return links


def load_watch(
    context: Context,
    cascades: Iterable[LoadedCascade],
    links: Mapping[str, Link],
    events: LoadEvents,
) -> LoadWatch:
    """Have the teachers watched that have a queue, whatever their cascades are held to."""
    watched = {}
    for loaded in cascades:
        queue, link = loaded.config.teacher.queue, links.get(loaded.name)
        pool = context.served[loaded.name].cascade.teacher.chat
        if queue is not None and isinstance(pool, ServerPool):
            steered = None if link is None else link.steered
            watched[loaded.name] = Watched(pool, queue, steered)
    return LoadWatch(watched, context.clock, events)


def _link(
    context: Context,
    loaded: LoadedCascade,
    objective: SteeredConfig,
    around: tuple[SteeringEvents, World],
) -> Link:
    (events, world), name = around, loaded.name
    orders, served = Orders(), context.served[name]
    aim = _aim(context, loaded, lambda: orders.objective or objective)
    steered = Steered(aim, Costs(served.cascade.teacher.price), served.audits.purse, world)

    def allows(wanted: SteeredConfig) -> None:
        check_objective(loaded.config.model_copy(update={"objective": wanted}))

    link = Link(name, steered, aim, events, world, orders, allows)
    context.observer.metrics.objectives.watch(
        name,
        age=lambda: max(0.0, context.epoch() - (link.seen_at or world.since)),
        waiting=lambda: link.waiting,
        is_controller=lambda: link.is_controller,
    )
    return link


def _head_start(loaded: LoadedCascade, served: Served) -> HeadStart | None:
    """What the file's own policy proves, while it and its student are in force."""
    is_own = (served.source.student_version, served.cascade.policy.version) == (
        loaded.config.student.version,
        loaded.policy.version,
    )
    return loaded.origin.head_start if is_own and loaded.origin is not None else None


def _aim(
    context: Context, loaded: LoadedCascade, wanted: Callable[[], SteeredConfig]
) -> Callable[[], Aim]:
    audit = loaded.config.audit

    def aim() -> Aim:
        """Of the student, and the objective, that are in force now."""
        objective = wanted()
        served = context.served[loaded.name]
        cascade, source = served.cascade, served.source
        parts = (
            source.student_version,
            cascade.policy.version,
            source.teacher_version,
            cascade.samples.comparator.version,
        )
        return Aim(
            objective=objective,
            subject="|".join(parts),
            policy_threshold=cascade.policy.threshold,
            audit_share=audit.share_under(objective.kind),
            complete=audit.complete_drafts,
            head_start=_head_start(loaded, served),
        )

    return aim
