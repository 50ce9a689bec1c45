"""The flywheel's figures, and what they have to be.  Arithmetic only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from understudy.demo.asking import Reply
from understudy.demo.figures import Share, bill, outcome

UNLEARNABLE = "product"
MILLION = 1_000_000
TIMES_FEWER_ESCALATIONS = 5
SHARE_OF_TEACHERS_ACCURACY = Decimal("0.99")
UNLEARNABLE_ESCALATED = Decimal("0.95")


class Fate(StrEnum):
    """What became of a generation."""

    FIRST = "first"  # the configuration's own student
    PROMOTED = "promoted"
    REFUSED = "refused"  # by the gate: it never met a client
    ROLLED_BACK = "rolled back"


@dataclass(frozen=True, slots=True)
class Tally:
    """Requests of one family, asked in one way.  ``cost_usd`` is for all of them together."""

    requests: int = 0
    right: int = 0
    escalated: int = 0
    unanswered: int = 0
    cost_usd: Decimal = Decimal(0)

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.requests + other.requests,
            self.right + other.right,
            self.escalated + other.escalated,
            self.unanswered + other.unanswered,
            self.cost_usd + other.cost_usd,
        )

    @property
    def accuracy(self) -> Share:
        """How many are right."""
        return Share(self.right, self.requests)

    @property
    def escalation(self) -> Share:
        """How many the teacher answered."""
        return Share(self.escalated, self.requests)

    @property
    def usd_per_request(self) -> Decimal:
        """The mean cost of a request; of none it is 0."""
        return self.cost_usd / self.requests if self.requests else Decimal(0)


Tallies = Mapping[str, Tally]


@dataclass(frozen=True, slots=True)
class Training:
    """What a student was made of, and how that went.  ``loss`` is None where nobody told it."""

    pairs: int
    steps: int
    loss: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Turn:
    """One generation.

    ``student`` are its own drafts on the held-out requests, ``cascade`` what clients got of the
    gateway after it was promoted, or had to stand back: then of the one that served on.  ``why``
    says what stopped it, empty where nothing did; ``under_way`` are live requests while it was
    tried.  ``training`` is None of the first, which came ready-made.
    """

    number: int
    version: str
    fate: Fate
    why: str
    training: Training | None
    student: Tallies
    cascade: Tallies
    under_way: Tally
    seconds: float


@dataclass(frozen=True, slots=True)
class Result:
    """A whole run.  ``teacher`` is the teacher asked for everything."""

    date: str
    command: str
    machine: str
    target: str
    teacher: Tallies
    turns: Sequence[Turn]
    seconds: float


@dataclass(frozen=True, slots=True)
class Check:
    """Something that a run has to show, whether it does, and the figures that say so."""

    name: str
    holds: bool
    told: str


def of_cascade(replies: Iterable[Reply]) -> dict[str, Tally]:
    """What clients got of the gateway, by family: its own word on who answered and at what cost.

    An answer whose cost the gateway does not know, or that is degraded, counts as none.
    """
    found: dict[str, Tally] = {}
    for reply in replies:
        how, served = outcome(reply), reply.served
        cost = None if served is None else served.cost_usd
        is_answered = how in ("kept", "escalated") and cost is not None
        one = Tally(1, reply.is_right, how == "escalated", not is_answered, cost or Decimal(0))
        found[reply.task.family] = found.get(reply.task.family, Tally()) + one
    return found


def of_one_model(replies: Iterable[Reply], price: Mapping[str, str]) -> dict[str, Tally]:
    """What a model asked for everything would have got, by family, at a price in USD.

    An answer without usage counts as none.
    """
    found: dict[str, Tally] = {}
    for reply in replies:
        cost = bill([reply], price)
        is_answered = reply.error is None and cost is not None
        one = Tally(1, reply.is_right, 0, not is_answered, cost or Decimal(0))
        found[reply.task.family] = found.get(reply.task.family, Tally()) + one
    return found


def all_of(tallies: Tallies) -> Tally:
    """All families together."""
    return sum(tallies.values(), Tally())


def learnable(tallies: Tallies) -> Tally:
    """All families but the one that no student learns."""
    found = (tally for family, tally in tallies.items() if family != UNLEARNABLE)
    return sum(found, Tally())


def unlearnable(tallies: Tallies) -> Tally:
    """That one."""
    return tallies.get(UNLEARNABLE, Tally())


def checks(result: Result) -> list[Check]:
    """All that a run has to show, in the order in which they are told."""
    return [
        _escalations_fall(result.turns),
        _accuracy_stays(result),
        _cost_falls(result.turns),
        _unlearnable_stays_escalated(result.turns),
        _all_are_answered(result),
    ]


def _escalations_fall(turns: Sequence[Turn]) -> Check:
    first, last = learnable(turns[0].cascade), learnable(turns[-1].cascade)
    # Cross-multiplied, so that a last generation that escalates nothing divides by nothing.
    few = TIMES_FEWER_ESCALATIONS * last.escalated * first.requests
    holds = first.escalated > 0 and few <= first.escalated * last.requests
    return Check(
        f"escalations of learnable tasks fall by {TIMES_FEWER_ESCALATIONS}x or more",
        holds,
        f"{first.escalation} at first, {last.escalation} at last",
    )


def _accuracy_stays(result: Result) -> Check:
    teacher = all_of(result.teacher).right
    right = [all_of(turn.cascade).right for turn in result.turns]
    lowest = min(right)
    return Check(
        f"the cascade's accuracy stays at {SHARE_OF_TEACHERS_ACCURACY:.0%} of the teacher's",
        lowest >= SHARE_OF_TEACHERS_ACCURACY * teacher,
        f"at least {lowest} right, the teacher {teacher}",
    )


def _cost_falls(turns: Sequence[Turn]) -> Check:
    cost = all_of(turns[0].cascade).usd_per_request
    told, holds = [f"{MILLION * cost:.2f} USD per million"], True
    for turn in turns[1:]:
        if turn.fate is Fate.PROMOTED:
            before, cost = cost, all_of(turn.cascade).usd_per_request
            holds &= cost < before
            told.append(f"{MILLION * cost:.2f}")
        else:
            holds &= bool(turn.why)
            told.append(turn.fate.value)
    return Check("a request costs less with every generation let in", holds, ", ".join(told))


def _unlearnable_stays_escalated(turns: Sequence[Turn]) -> Check:
    tallies = [unlearnable(turn.cascade) for turn in turns]
    least = min(tallies, key=lambda tally: tally.escalated)
    return Check(
        "what cannot be learnt stays escalated",
        all(each.escalated >= UNLEARNABLE_ESCALATED * each.requests for each in tallies),
        f"{least.escalation} where least",
    )


def _all_are_answered(result: Result) -> Check:
    tallies = [all_of(turn.cascade) + turn.under_way for turn in result.turns]
    total = sum(tallies, all_of(result.teacher))
    return Check(
        "every request was answered, also while generations changed",
        total.unanswered == 0,
        f"{total.unanswered} of {total.requests} were not",
    )
