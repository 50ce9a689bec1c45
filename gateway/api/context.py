"""What the routes share: built once by the composition root, handed to each of them."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from gateway.answer import Cascade
from gateway.keys import Keys
from gateway.pairs import Source
from gateway.ports import Clock, PairLog, Tracing
from gateway.safekeeping import Safekeeping
from gateway.telemetry.observer import Observer
from gateway.trace_context import PassingOn
from routing.baseline import Learner


@dataclass(frozen=True, slots=True)
class Served:
    """A cascade, with what its pairs say of it and what becomes of their content.

    ``holdout`` is the probability with which a draft that would be kept is held out; ``learner``
    knows how the teacher's bills compare to the student's.
    """

    cascade: Cascade
    source: Source
    safekeeping: Safekeeping
    is_storing: bool
    holdout: Fraction = Fraction(0)
    learner: Learner = field(default_factory=Learner)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request, and all together, may take."""

    body_bytes: int
    body_seconds: float
    open_requests: int


@dataclass(slots=True)
class Context:
    """What routes see of the gateway.

    ``is_pair_due``: where a pair cannot be written, its answer may not be delivered.
    ``clock`` is steady; ``epoch`` is seconds since 1970; ``dice`` falls evenly in [0, 1).
    ``background`` holds what goes on after its request was answered; ``cut_requests`` counts those
    that were still open when the drain was over.
    """

    served: Mapping[str, Served]
    keys: Keys
    limits: Limits
    observer: Observer
    pairs: PairLog
    clock: Clock
    epoch: Clock
    new_id: Callable[[], str]
    dice: Callable[[], float]
    started_at: int
    is_pair_due: bool = False
    tracing: Tracing = field(default_factory=PassingOn)
    background: set[asyncio.Task[None]] = field(default_factory=set)
    is_draining: bool = False
    open_requests: int = field(default=0)
    cut_requests: int = 0
