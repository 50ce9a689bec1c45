"""One second of one replica: who is kept, who is granted the teacher, what will be known of it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from evaluation.outcomes import Booleans, Floats, Integers
from evaluation.scenarios.population import SILENT
from evaluation.scenarios.replica import Counts, Replica, Told
from evaluation.scenarios.talks import Turns
from evaluation.scenarios.teacher import Queue
from evaluation.scenarios.world import World, keeps
from routing.steering import Grade, Sample, Standing

MOST_SAMPLES = 32  # of a report


@dataclass(frozen=True, slots=True, eq=False)
class Arrived:
    """A replica's requests of a second, and two coins in [0, 1] for each."""

    turns: Turns
    loss_coins: Floats
    audit_coins: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """What became of them; ``escalated`` has the conversations of drafts that were not enough."""

    counts: Counts
    told: Told
    escalated: tuple[str, ...]


def serve(replica: Replica, arrived: Arrived, world: World, queue: Queue, second: int) -> Served:
    """Serve them under what stands at the replica, and note the grades that will come of it."""
    population, places = world.population, arrived.turns.places
    stuck, names = arrived.turns.are_stuck, arrived.turns.names
    merit = np.where(stuck, SILENT, population.merit[places])
    cost = population.teacher_pico[places]
    speaks = merit > SILENT
    kept = keeps(replica.standing, merit, cost, replica.guard.easing)
    wanted = np.flatnonzero(~kept)
    affordable = _within_cap(replica, wanted, cost, float(second))
    fitting = affordable[: replica.guard.room(len(affordable))]
    is_probe = replica.breaker.opened_at is not None
    granted, failed = _granted(replica, fitting, queue, float(second))
    _refund(replica, affordable, granted, cost, float(second))
    audited = _audited(replica, kept, arrived, queue)
    is_denied = ~kept
    is_denied[granted] = is_denied[failed] = False
    counts = Counts(
        served=len(merit),
        kept=int(kept.sum()),
        judged=int(speaks.sum()),
        forced=len(merit) - int(speaks.sum()),
        escalated=len(granted),
        denied=len(wanted) - len(granted) - len(failed),
        busy=len(affordable) - len(fitting),
        failed=len(failed),
        audits=len(audited),
        escalated_pico=int(cost[granted].sum()),
        audited_pico=int(cost[audited].sum()),
        mute=int((is_denied & speaks).sum()),
    )
    counts.spent_pico = counts.escalated_pico + counts.audited_pico
    student_pico = int(population.student_pico[places[~stuck]].sum())
    counts.spent_pico += student_pico
    if replica.cap is not None:
        replica.cap.spent(student_pico + counts.audited_pico, 0, float(second))
    answered = np.concatenate([granted[speaks[granted]], audited])
    losses = world.losses(places[answered], arrived.loss_coins[answered])
    # A probe of a teacher that is left alone says nothing of the draft that it is sent for.
    refused = failed[:0] if is_probe else failed[speaks[failed]]
    due = second + int(queue.latency_seconds)
    drafts = _Drafts(merit, kept, names)
    for grade in _grades(replica.standing, drafts, answered, losses):
        replica.expect(replace(grade, late=float(due - second)), due)
    for grade in _grades(replica.standing, drafts, refused, np.ones(len(refused))):
        replica.expect(replace(grade, is_answered=False), second)
    replica.guard.ask(len(granted) + len(audited), queue, float(second))
    telling = (speaks & ~is_denied).tolist()
    judged = Counter(name for name, tells in zip(names, telling, strict=False) if tells)
    told = Told(_samples(merit[speaks], cost[speaks]), judged)
    return Served(counts, told, tuple(names[each] for each in granted if names and speaks[each]))


def _within_cap(replica: Replica, wanted: Integers, cost: Integers, now: float) -> Integers:
    """Those that the replica's part of a hard cap pays for, first come, first served."""
    cap = replica.cap
    if cap is None:
        return wanted
    pays = [cap.may_spend(pico, now) for pico in cost[wanted].tolist()]
    return wanted[np.array(pays, dtype=np.bool_)]


def _refund(
    replica: Replica, paid: Integers, granted: Integers, cost: Integers, now: float
) -> None:
    """Give back what was taken out for calls that were not made, or that nobody answered."""
    if replica.cap is not None and len(paid) > len(granted):
        for pico in cost[np.setdiff1d(paid, granted)].tolist():
            replica.cap.spent(0, pico, now)


def _granted(
    replica: Replica, wanted: Integers, queue: Queue, now: float
) -> tuple[Integers, Integers]:
    """Which calls the teacher answers, and which it fails; the others are not made."""
    if not (queue.is_down or queue.would_time_out):
        if replica.breaker.opened_at is None:
            return wanted, wanted[:0]
        if not len(wanted) or not replica.breaker.allows(now):
            return wanted[:0], wanted[:0]
        replica.breaker.succeeded()  # the probe; who comes later in this second is let through
        return wanted, wanted[:0]
    asked = 0
    while asked < len(wanted) and replica.breaker.allows(now):
        replica.breaker.failed(now)
        asked += 1
    return wanted[:0], wanted[:asked]


def _audited(replica: Replica, kept: Booleans, arrived: Arrived, queue: Queue) -> Integers:
    """Which kept drafts the teacher is asked about: none where it has no room for that."""
    has_room = queue.waiting == 0.0 and replica.guard.has_spare_room
    if replica.breaker.opened_at is not None or queue.is_down or not has_room:
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(kept & (arrived.audit_coins < replica.standing.audit))


@dataclass(frozen=True, slots=True, eq=False)
class _Drafts:
    merit: Floats
    kept: Booleans
    names: tuple[str, ...]


def _grades(
    standing: Standing, drafts: _Drafts, graded: Integers, losses: Floats
) -> Iterator[Grade]:
    least, audit, epoch = standing.least, standing.audit, standing.epoch
    if least <= 0.0:
        return  # nothing is learnt of kept drafts, so that the others say nothing either
    rows = zip(
        graded.tolist(), drafts.merit[graded].tolist(), losses.tolist(),
        drafts.kept[graded].tolist(), strict=True,
    )  # fmt: skip
    for place, merit, loss, is_kept in rows:
        name = drafts.names[place] if drafts.names else None
        propensity = audit if is_kept else 1.0
        yield Grade(merit, loss, propensity, least, epoch, is_kept, name)


def _samples(merit: Floats, cost: Integers) -> tuple[Sample, ...]:
    """The first of them: they come in no order."""
    pairs = zip(merit[:MOST_SAMPLES].tolist(), cost[:MOST_SAMPLES].tolist(), strict=True)
    return tuple(Sample(each, pico) for each, pico in pairs)
