"""The demo's figures, worked out from replies, metrics and pairs.  Arithmetic only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from understudy.demo.asking import Reply
from understudy.demo.calibrating import Calibration, Decided
from understudy.demo.evidence import Mark, Metrics, Pair
from understudy.demo.services import TEACHER_PRICE
from understudy.demo.workload import Task

TOKENS_PER_PRICE = 1_000_000


@dataclass(frozen=True, slots=True)
class Share:
    """``part`` of ``whole``."""

    part: int
    whole: int

    def __str__(self) -> str:
        percent = 100 * self.part / self.whole if self.whole else 0.0
        return f"{self.part}/{self.whole} ({percent:.1f}%)"


@dataclass(frozen=True, slots=True)
class Witnesses:
    """One figure as seen by the client, by ``/metrics`` and by the stream; None: it cannot know."""

    name: str
    client: int | Decimal
    metrics: int | Decimal
    stream: int | None = None

    @property
    def agree(self) -> bool:
        """Whether all that know the figure say the same, to the unit."""
        return self.client == self.metrics and self.stream in (None, self.client)


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that one run has to show.  The three lists of replies are about the same tasks.

    ``calibration`` is None where there was none.
    """

    cascade: Sequence[Reply]
    student: Sequence[Reply]
    teacher: Sequence[Reply]
    metrics: Metrics
    pairs: Sequence[Pair]
    before: Mark
    after: Mark
    calibration: Calibration | None = None


def outcome(reply: Reply) -> str:
    """How a request to the gateway ended: kept, escalated, degraded or failed."""
    if reply.error is not None or reply.served is None:
        return "failed"
    if reply.served.degraded is not None:
        return "degraded"
    return "kept" if reply.served.by == "student" else "escalated"


def count(replies: Iterable[Reply], wanted: str) -> int:
    """How many requests ended as ``wanted``."""
    return sum(outcome(reply) == wanted for reply in replies)


def escalated_ids(replies: Iterable[Reply]) -> list[str]:
    """The ids of the requests that the teacher answered."""
    return [
        reply.served.request_id
        for reply in replies
        if reply.served is not None and outcome(reply) == "escalated"
    ]


def drafts_of(replies: Iterable[Reply], pairs: Iterable[Pair]) -> list[Reply]:
    """What the student itself wrote, for each of the gateway's replies that tells.

    A kept or degraded answer is the student's draft; that of an escalated one is in its pair.
    """
    in_pairs = {pair.request_id: pair.draft for pair in pairs}
    drafts = []
    for reply in replies:
        if reply.served is None or reply.error is not None:
            continue
        served_draft = reply.text if outcome(reply) != "escalated" else None
        text = served_draft if served_draft is not None else in_pairs.get(reply.served.request_id)
        if text is not None:
            drafts.append(Reply(reply.task, text=text))
    return drafts


def accuracy(replies: Iterable[Reply], family: str | None = None) -> Share:
    """How many answers are right, of all or of one family's tasks."""
    chosen = [reply for reply in replies if family in (None, reply.task.family)]
    return Share(sum(reply.is_right for reply in chosen), len(chosen))


def families(tasks: Iterable[Task]) -> list[str]:
    """The families' names, each once, in the order in which they come."""
    return list(dict.fromkeys(task.family for task in tasks))


def bill(replies: Iterable[Reply], price: Mapping[str, str] = TEACHER_PRICE) -> Decimal | None:
    """What the told usage of ``replies`` costs in USD; None where one of them told no usage."""
    total = Decimal(0)
    for reply in replies:
        if reply.input_tokens is None or reply.output_tokens is None:
            return None
        total += reply.input_tokens * Decimal(price["input"])
        total += reply.output_tokens * Decimal(price["output"])
    return total / TOKENS_PER_PRICE


def kept(replies: Iterable[Reply], family: str | None = None) -> Share:
    """How many answers are the student's, of all or of one family's tasks."""
    chosen = [reply for reply in replies if family in (None, reply.task.family)]
    return Share(count(chosen, "kept"), len(chosen))


def kept_before(decided: Iterable[Decided], family: str | None = None) -> Share:
    """How many drafts the uncalibrated rule keeps, of all or of one family's."""
    chosen = [each for each in decided if family in (None, each.family)]
    return Share(sum(each.is_kept for each in chosen), len(chosen))


def right_before(decided: Iterable[Decided], family: str | None = None) -> Share:
    """How many answers of a cascade with that rule are right, whose teacher is always right."""
    chosen = [each for each in decided if family in (None, each.family)]
    return Share(sum(each.is_right or not each.is_kept for each in chosen), len(chosen))


def bill_before(run: Run) -> Decimal | None:
    """What the uncalibrated rule would have cost for as many requests, in USD.

    The labelled questions tell what drafts cost and which of them would be deferred, the teacher's
    answers in this run what one of a family costs.  None where that is not known.
    """
    if run.calibration is None or not run.calibration.before:
        return None
    total = Decimal(0)
    prices: dict[str, Decimal] = {}
    for family in families([reply.task for reply in run.teacher]):
        replies = [reply for reply in run.teacher if reply.task.family == family]
        price = bill(replies)
        if price is None:
            return None
        prices[family] = price / len(replies)
    for each in run.calibration.before:
        total += Decimal(each.student_usd)
        total += Decimal(0) if each.is_kept else prices.get(each.family, Decimal(0))
    return total * len(run.cascade) / len(run.calibration.before)


def cascade_cost(replies: Iterable[Reply]) -> Decimal:
    """What the gateway's response headers say the answers cost together, in USD."""
    costs = [reply.served.cost_usd for reply in replies if reply.served is not None]
    return sum((cost for cost in costs if cost is not None), Decimal(0))


def witnesses(run: Run) -> list[Witnesses]:
    """Every figure that more than one party knows.

    Pairs of other requests, such as a journal may bring from an earlier run, are left out.
    """
    outcomes = run.metrics.outcomes
    escalated = escalated_ids(run.cascade)
    ours = {pair.request_id for pair in run.pairs}.intersection(escalated)
    others = len(run.pairs) - len(ours)
    growth = run.after.length - run.before.length - others
    names = ("kept", "degraded", "failed")
    return [
        *(Witnesses(name, count(run.cascade, name), outcomes[name]) for name in names),
        Witnesses("escalated", len(escalated), outcomes["escalated"], growth),
        Witnesses("pairs", len(escalated), run.metrics.pairs_written, len(ours)),
        Witnesses("cost, USD", cascade_cost(run.cascade), run.metrics.cost_usd),
    ]


def has_succeeded(run: Run) -> bool:
    """Whether every request was answered and all parties tell the same."""
    is_complete = not any(reply.error for reply in (*run.cascade, *run.student, *run.teacher))
    return is_complete and all(figure.agree for figure in witnesses(run))
