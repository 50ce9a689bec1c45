"""Has the teacher write prompts and answer them, and keeps a journal of all that it cost and gave.

The journal is the truth: whoever runs it again goes on from there, and what was spent counts.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from distill.causes import Cause, LeftOut
from distill.conversation import Message as Said
from distill.conversation import answer_of
from distill.curating import Known
from distill.dataset import Example, read_examples, said_in
from distill.likeness import print_of
from distill.rubric import Question, Verdict
from distill.soundness import fault_of
from distill.spending import Spent
from distill.synthesis import Candidate, Rejected, Source
from routing.comparators import Comparator, NoScore
from routing.comparators import Question as Compared
from understudy.distill.asking import Account, GivenUp, Teacher, Unanswered, gathered
from understudy.distill.journal import Journal
from understudy.distill.structures import is_as_asked

Filter = Literal["agreement", "grade"]

# A teacher whose so many last lists had nothing in them that could be used has no more to say.
MOST_FRUITLESS = 3
WRITTEN, KNOWN, DECIDED = "written", "known", "decided"
# The first answer is the likeliest; the second is drawn, so that it shows what else there was.
FIRST, SECOND = (0.0, 1), (1.0, 2)


@dataclass(frozen=True, slots=True)
class Manner:
    """How rows are made.  ``per_request`` prompts are asked for at once."""

    filter: Filter
    per_request: int
    max_tokens: int
    seed: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """What new prompts must differ from, and how many are wanted of each cluster."""

    train: Known
    holdout: Known
    wanted: Mapping[int, int]


@dataclass(slots=True)
class Progress:
    """What came of it so far, in all runs."""

    accepted: list[Example] = field(default_factory=list)
    by_cluster: Counter[int] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0


@dataclass(slots=True)
class Synthesis:
    """One run; ``advance`` hears of every prompt that was decided about."""

    teacher: Teacher
    comparator: Comparator
    manner: Manner
    bounds: Bounds
    sources: Mapping[int, Source]
    journal: Journal
    advance: Callable[[Progress], None] = lambda _: None
    progress: Progress = field(default_factory=Progress)
    _pending: dict[int, deque[Candidate]] = field(default_factory=dict)
    _orders: Counter[int] = field(default_factory=Counter)
    _fruitless: Counter[int] = field(default_factory=Counter)
    _tried: set[str] = field(default_factory=set)

    async def run(self) -> str | None:
        """Make what is wanted; why it ended before, None where it did not."""
        try:
            while short := self._short():
                lacking = [number for number in short if not self._pending_of(number)]
                await gathered([self._write(number) for number in lacking])
                before = self.progress.by_cluster.copy()
                await gathered([self._answer(each) for each in self._due(short)])
                for number in short:
                    if self.progress.by_cluster[number] > before[number]:
                        self._fruitless[number] = 0
                    elif number in lacking:
                        self._fruitless[number] += 1
        except (Spent, GivenUp) as why:
            return str(why)
        return self._told_short()

    def recall(self) -> None:
        """Go on where an earlier run stopped."""
        for line in self.journal.events(DECIDED):
            self._tried.add(line["key"])
            self._recall_decided(line)
        for line in self.journal.events(KNOWN):
            self.progress.rejected[line["cause"]] += 1
        for line in self.journal.events(WRITTEN):
            self._recall_written(line)

    def _recall_decided(self, line: Mapping[str, Any]) -> None:
        if line["cause"] is not None:
            self.progress.rejected[line["cause"]] += 1
            return
        (row,) = read_examples([msgspec.json.encode(line["row"])], "the journal")
        self.progress.accepted.append(row)
        self.progress.by_cluster[line["cluster"]] += 1
        self.bounds.train.add(row, print_of(row.prompt))

    def _recall_written(self, line: Mapping[str, Any]) -> None:
        """Have answered what was not decided about; what was known then is counted already."""
        number = line["cluster"]
        self._orders[number] = max(self._orders[number], line["order"] + 1)
        by_id = {each.id: each for each in self.sources[number].examples}
        for text in line["texts"]:
            candidate = Candidate(number, by_id[line["template"]], text)
            if self._why_known(candidate) is None:
                self._take(candidate)

    # --- writing -----------------------------------------------------------------------------

    async def _write(self, number: int) -> None:
        order_number = self._orders[number]
        self._orders[number] += 1
        template, order = self.sources[number].order(
            self.manner.seed, order_number, self.manner.per_request
        )
        account = Account()
        try:
            with self.journal.counting(account):
                reply = await self.teacher.ask(order.request(), account)
        except Unanswered:
            self.progress.unanswered += 1
            return
        texts = order.read(reply)
        self.journal.note(
            WRITTEN,
            account,
            cluster=number,
            order=order_number,
            template=template.id,
            texts=texts,
        )
        for text in texts:
            candidate = Candidate(number, template, text)
            cause = self._why_known(candidate)
            if cause is None:
                self._take(candidate)
            else:
                self.progress.rejected[cause.value] += 1
                self.journal.note(KNOWN, Account(), cause=cause.value)

    def _take(self, candidate: Candidate) -> None:
        self._tried.add(candidate.key)
        self._pending_of(candidate.cluster).append(candidate)

    def _why_known(self, candidate: Candidate) -> Cause | None:
        """Why a prompt is not to be answered; None for one that is like none before."""
        look, bounds = print_of(candidate.prompt), self.bounds
        if bounds.holdout.has(candidate.key):
            return Cause.IN_HOLDOUT
        if bounds.holdout.has_near(look):
            return Cause.NEAR_HOLDOUT
        if candidate.key in self._tried or bounds.train.has(candidate.key):
            return Cause.DUPLICATE_PROMPT
        return Cause.NEAR_DUPLICATE if bounds.train.has_near(look) else None

    # --- answering ---------------------------------------------------------------------------

    async def _answer(self, candidate: Candidate) -> None:
        account = Account()
        try:
            with self.journal.counting(account):
                row, cause = await self._judged(candidate, account)
        except Unanswered:
            # It is pending for another run, and not asked again in this one.
            self.progress.unanswered += 1
            return
        # What was accepted meanwhile may be near it.
        if row is not None and self.bounds.train.has_near(print_of(candidate.prompt)):
            row, cause = None, Cause.NEAR_DUPLICATE.value
        self._decide(candidate, cause, row, account)

    async def _judged(
        self, candidate: Candidate, account: Account
    ) -> tuple[Example | None, str | None]:
        """The row, or why there is none."""
        try:
            first = await self._answered(candidate, FIRST, account)
            fault = fault_of(self._row(candidate, first), is_as_asked)
            if fault is not None:
                return None, fault.value
            second = await self._answered(candidate, SECOND, account)
        except LeftOut as why:
            return None, why.cause.value
        rows = self._row(candidate, first), self._row(candidate, second)
        texts = said_in(rows[0].answer), said_in(rows[1].answer)
        compared = Compared(candidate.text)
        score = await self.teacher.compare(self.comparator, compared, texts, account)
        if isinstance(score, NoScore):
            return None, Rejected.NOT_COMPARED.value
        if score.is_same(self.comparator.at_least):
            return rows[0], None
        if self.manner.filter == "agreement":
            return None, Rejected.ANSWERS_DIFFER.value
        return await self._better(candidate, rows, account)

    async def _better(
        self, candidate: Candidate, rows: tuple[Example, Example], account: Account
    ) -> tuple[Example | None, str | None]:
        """Of two answers that differ that which the teacher itself finds better, in both orders."""
        texts = said_in(rows[1].answer), said_in(rows[0].answer)
        grade = await self.teacher.grade(Question(candidate.prompt, *texts), account)
        if isinstance(grade, NoScore):
            return None, Rejected.NOT_COMPARED.value
        if grade.verdict is Verdict.ANSWER:
            return rows[0], None
        if grade.verdict is Verdict.DRAFT:
            fault = fault_of(rows[1], is_as_asked)
            return (rows[1], None) if fault is None else (None, fault.value)
        return None, Rejected.UNDECIDED.value

    async def _answered(
        self, candidate: Candidate, drawn: tuple[float, int], account: Account
    ) -> Said:
        temperature, seed = drawn
        fields = candidate.request(self.manner.max_tokens, temperature, self.manner.seed + seed)
        return answer_of(await self.teacher.ask(fields, account))

    def _row(self, candidate: Candidate, answer: Said) -> Example:
        return candidate.row(answer, self.teacher.version)

    # --- counting ----------------------------------------------------------------------------

    def _decide(
        self, candidate: Candidate, cause: str | None, row: Example | None, account: Account
    ) -> None:
        progress = self.progress
        if row is None:
            progress.rejected[str(cause)] += 1
        else:
            progress.accepted.append(row)
            progress.by_cluster[candidate.cluster] += 1
            self.bounds.train.add(row, print_of(row.prompt))
        self.journal.note(
            DECIDED,
            account,
            key=candidate.key,
            cluster=candidate.cluster,
            cause=None if row is not None else str(cause),
            row=None if row is None else msgspec.json.decode(row.line),
        )
        self.advance(progress)

    def _short(self) -> list[int]:
        """The clusters that still want rows, and may yet get some."""
        return [
            number
            for number, wanted in self.bounds.wanted.items()
            if self.progress.by_cluster[number] < wanted
            if self._fruitless[number] < MOST_FRUITLESS
        ]

    def _due(self, short: Sequence[int]) -> list[Candidate]:
        """As many prompts as rows are wanted: what is answered beyond that is money for nothing."""
        due = []
        for number in short:
            missing = self.bounds.wanted[number] - self.progress.by_cluster[number]
            pending = self._pending_of(number)
            due += [pending.popleft() for _ in range(min(missing, len(pending)))]
        return due

    def _pending_of(self, number: int) -> deque[Candidate]:
        return self._pending.setdefault(number, deque())

    def _told_short(self) -> str | None:
        missing = sum(
            max(0, wanted - self.progress.by_cluster[number])
            for number, wanted in self.bounds.wanted.items()
        )
        if not missing:
            return None
        if self.progress.unanswered:
            return f"{missing} rows are missing: calls failed"
        return f"{missing} rows are missing: the teacher wrote nothing more that could be used"
