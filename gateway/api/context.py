"""What the routes share: built once by the composition root, handed to each of them."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from gateway.answer import Cascade
from gateway.aside import Aside
from gateway.audits.state import Audits
from gateway.conversations.talks import Talks
from gateway.keys import Keys
from gateway.limiting import Limiter
from gateway.pairs import Source
from gateway.ports import Clock, PairLog, PassedTo, TokenCounter, Tracing
from gateway.safekeeping import Safekeeping
from gateway.steering.steered import Steered
from gateway.telemetry.observer import Observer
from gateway.trace_context import PassingOn
from gateway.wire.admission import Admission
from gateway.wire.media import MediaRules
from routing.baseline import Learner
from routing.money import Price
from routing.rollout import Rollout
from routing.tally import Tallies
from routing.vocabulary import Role


@dataclass(slots=True)
class Standing:
    """How one student stands: what is under way with it, off the request path too, and whether it
    is its cascade's incumbent.  A student that nobody waits for any more may be closed."""

    version: str
    open_requests: int = 0
    is_incumbent: bool = True


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate that is tried beside the incumbent, and what that came to here so far.

    ``holdout`` is the probability with which drafts are held out meanwhile, in both arms.
    """

    rollout: Rollout
    candidate: "Served"
    tallies: Tallies
    holdout: Fraction


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model to which requests are passed as they are; a cascade's tokenizer bears its name.

    ``upstream_name`` is what its server calls it; ``price`` is None where nobody said.
    """

    name: str
    upstream_name: str
    model: PassedTo
    price: Price | None
    media: MediaRules


@dataclass(frozen=True, slots=True)
class Served:
    """A cascade with one student and the policy that goes with it, with what its pairs say of it
    and what becomes of their content.  A request has one of these for all its life.
    ``is_keeping_completions``: clients may have completions stored, to read them again.

    ``holdout`` is the probability with which a draft that would be kept is held out; ``learner``
    knows how the teacher's bills compare to the student's.  ``trial`` is None where no candidate
    is tried beside this student.  ``audits`` are those of the cascade; ``steered`` is who steers
    it, None where the policy's own threshold holds.  ``talks`` knows its
    conversations.
    """

    cascade: Cascade
    source: Source
    safekeeping: Safekeeping
    is_storing: bool
    standing: Standing
    counters: Mapping[Role, TokenCounter]
    admission: Admission = field(default_factory=Admission)
    tokenizers: Mapping[Role, NamedModel] = field(default_factory=dict)
    holdout: Fraction = Fraction(0)
    learner: Learner = field(default_factory=Learner)
    trial: Trial | None = None
    is_keeping_completions: bool = False
    audits: Audits = field(default_factory=Audits)
    steered: Steered | None = None
    talks: Talks | None = None

    @property
    def is_remembering(self) -> bool:
        """Whether anything depends on what earlier turns of a conversation came to."""
        talks, trial = self.talks, self.trial
        if talks is None:
            return False
        if talks.is_wanted or self.cascade.policy.is_past_read:
            return True
        if self.steered is not None and self.steered.needs_turns:  # by an order, not by the file
            return True
        return trial is not None and trial.candidate.cascade.policy.is_past_read


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request, and all together, may take.

    ``body_members`` are the objects, arrays and named values in one body, ``body_entries`` what
    stands behind others in these.
    """

    body_bytes: int
    body_members: int
    body_entries: int
    body_seconds: float
    open_requests: int


@dataclass(slots=True)
class Context:
    """What routes see of the gateway.

    ``named`` are the models that clients ask past any cascade.
    ``is_pair_due``: where a pair cannot be written, its answer may not be delivered.
    ``clock`` is steady; ``epoch`` is seconds since 1970; ``dice`` falls evenly in [0, 1).
    ``aside`` is for bodies that take long to understand, ``keeping`` for content that takes long to
    redact and seal: an operator's redactor that hangs holds up no bodies.
    ``background`` holds what goes on after its request was answered; ``cut_requests`` counts those
    that were still open when the drain was over.  ``is_starting``: it is not known yet which
    students are in force.
    """

    served: Mapping[str, Served]
    keys: Keys
    limits: Limits
    limiter: Limiter
    observer: Observer
    pairs: PairLog
    clock: Clock
    epoch: Clock
    new_id: Callable[[], str]
    dice: Callable[[], float]
    started_at: int
    named: Mapping[str, NamedModel] = field(default_factory=dict)
    is_pair_due: bool = False
    tracing: Tracing = field(default_factory=PassingOn)
    aside: Aside = field(default_factory=Aside)
    keeping: Aside = field(default_factory=Aside)
    background: set[asyncio.Task[None]] = field(default_factory=set)
    is_starting: bool = False
    is_draining: bool = False
    open_requests: int = field(default=0)
    cut_requests: int = 0

    @property
    def names(self) -> Sequence[str]:
        """All that a client may ask for by name: cascades, and models past any cascade."""
        return [*self.served, *self.named]

    def go_on(self, work: Coroutine[None, None, None]) -> None:
        """Do something in the background; it is cancelled when the process ends."""
        task = asyncio.create_task(work)
        self.background.add(task)
        task.add_done_callback(self.background.discard)
