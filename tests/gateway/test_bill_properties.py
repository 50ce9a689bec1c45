"""Whatever requests come to, the bill adds up: nothing lost, nothing twice, replayed the same.

A server keeps its own books of each call.  Requests of two cascades ask it, fail, are cut, handed
on, sampled and left, at the same time; then the gateway's entries are held against the books.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gateway.errors import UpstreamError, UpstreamTimeout, UpstreamUnavailable
from gateway.facts import ABORTED, CANCELLED, DraftCompleted, Ending, Leg, RequestSettled
from gateway.legs import Legs, Model, OpenLeg
from gateway.renting import Rents
from gateway.telemetry.metrics import Metrics
from gateway.wire.completion import Completion, read_completion
from routing.gpu_time import Rent
from routing.money import PICO_PER_USD, Price, Usage, cost_of, part_of
from routing.vocabulary import Handover, Kind, Reason, Role
from tests.fakes.calls import ClockedModel, asked
from tests.fakes.upstream import completion

PRICES = {
    Role.STUDENT: Price(input=20_000, cached_input=10_000, output=60_000, reasoning=70_000),
    Role.TEACHER: Price(input=600_000, cached_input=100_000, output=2_400_000, reasoning=2_400_000),
}
RENT = Rent(25_600_000_000_000)
SECONDS = st.floats(0, 1e4, allow_nan=False)
COUNTS = st.integers(0, 10**6)
ERRORS = (UpstreamUnavailable("away"), UpstreamTimeout("late", is_usage_unknown=True))


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    read, written = draw(COUNTS), draw(COUNTS)
    return Usage(read, written, draw(st.integers(0, read)), draw(st.integers(0, written)))


@st.composite
def whole_calls(draw: st.DrawFn) -> "Step":
    role, usage, seconds = draw(st.sampled_from(Role)), draw(usages()), draw(SECONDS)
    failure = draw(st.sampled_from((None, None, *ERRORS, asyncio.CancelledError())))
    drafts = draw(st.lists(st.integers(0, 50), min_size=1, max_size=3))

    async def step(history: "History") -> None:
        await history.ask(role, usage, failure, seconds)
        if failure is None and len(drafts) > 1:
            history.sample(role, usage, drafts)

    return step


@st.composite
def stream_steps(draw: st.DrawFn) -> "Step":
    """Streams open, say what they took so far, or nothing, are handed on, and end."""
    what = draw(st.sampled_from(["tell", "open", "hand on", "tell", "close"]))
    role, usage, place = draw(st.sampled_from(Role)), draw(usages()), draw(st.integers(0, 9))
    code = draw(st.sampled_from([None, ABORTED, CANCELLED, "upstream_failed"]))
    seconds = draw(SECONDS)

    async def step(history: "History") -> None:
        history.server.now += seconds
        if what == "open":
            await history.open(role)
        elif history.streams:
            history.go_on(what, place % len(history.streams), usage, code)

    return step


SETTLED = st.fixed_dictionaries({
    "served_by": st.sampled_from([None, *Role]),
    "reason": st.sampled_from([None, *Reason]),
    "handover": st.sampled_from([None, *Handover]),
    "first_byte_seconds": st.sampled_from([None, 0.1]),
    "ending": st.sampled_from(Ending),
})  # fmt: skip


@st.composite
def endings(draw: st.DrawFn) -> "Step":
    how = draw(SETTLED)

    async def step(history: "History") -> None:
        history.settle(how)

    return step


Step = Callable[["History"], object]
# Streams live through several steps, so that there are more of those.
STEPS = st.one_of(stream_steps(), stream_steps(), stream_steps(), whole_calls(), endings())
HISTORIES = st.lists(STEPS, min_size=8, max_size=40)


@dataclass
class History:
    """What happened: the books of the server, and the facts that the gateway tells."""

    is_by_time: bool
    server: ClockedModel = field(default_factory=ClockedModel)
    books: list[tuple[Role, Usage | None]] = field(default_factory=list)
    facts: list[RequestSettled | DraftCompleted] = field(default_factory=list)
    streams: list[tuple[OpenLeg, Role, int, list[Usage]]] = field(default_factory=list)
    handed_on: list[Legs] = field(default_factory=list)

    def __post_init__(self) -> None:
        rents = Rents(self.server.clock)
        self.models = {
            role: Model(
                role, self.server, price, rents.rented("s", RENT, is_by_time=self.is_by_time)
            )
            for role, price in PRICES.items()
        }
        self.legs = Legs(self.server.clock)

    async def ask(
        self, role: Role, usage: Usage, failure: BaseException | None, seconds: float
    ) -> None:
        """A whole answer, or what became of it."""

        def answer() -> Completion:
            if failure is not None:
                raise failure
            return structs.replace(read_completion(msgspec.json.encode(completion())), usage=usage)

        self.server.does, self.server.seconds = answer, seconds
        is_unknown = not isinstance(failure, UpstreamError) or failure.is_usage_unknown
        if failure is None:
            self.books.append((role, usage))
        elif is_unknown:
            self.books.append((role, None))
        with contextlib.suppress(UpstreamError, asyncio.CancelledError):
            await self.legs.ask(self.models[role], asked())

    def sample(self, role: Role, usage: Usage, drafts: Sequence[int]) -> None:
        """The answer before was one of several drafts."""
        self.legs.tell_apart(self.models[role], *part_of(usage, drafts, 0))

    async def open(self, role: Role) -> None:
        """A stream begins."""
        leg = await self.legs.stream(self.models[role], asked())
        self.streams.append((leg, role, len(self.server.streams) - 1, []))

    def go_on(self, what: str, place: int, more: Usage, code: str | None) -> None:
        """Something becomes of a stream."""
        leg, role, number, parts = self.streams[place]
        stream = self.server.streams[number]
        if what == "tell":  # it only ever grows
            stream.usage = more if stream.usage is None else plus(stream.usage, more)
        elif what == "hand on" and not parts:
            parts.append(stream.usage or Usage(0, 0))
            later = Legs(self.server.clock)
            self.handed_on.append(later)
            leg.hand_on(later)
            if stream.usage is None:  # by then nobody knew
                self.books.append((role, None))
        elif what == "close":
            self.streams.pop(place)
            leg.close(code)
            self.books.append((role, stream.usage))

    def settle(self, how: dict[str, object]) -> None:
        """The request is over, with the calls that are."""
        values: dict[str, object] = {"request_id": "r", "status": 200, "seconds": 1.0}
        fact = RequestSettled(cascade="a", legs=self.legs.made, **(values | how))  # type: ignore[arg-type]
        self.facts.append(fact)
        self.legs.made = []

    def end(self) -> None:
        """All is over, and told."""
        while self.streams:
            self.go_on("close", 0, Usage(0, 0), CANCELLED)
        self.settle({"ending": Ending.CANCELLED})
        for legs in self.handed_on:
            self.facts += [DraftCompleted("b", leg) for leg in legs.made]

    @property
    def made(self) -> list[Leg]:
        """All calls, in all facts."""
        requests = [fact for fact in self.facts if isinstance(fact, RequestSettled)]
        finished = [fact.leg for fact in self.facts if isinstance(fact, DraftCompleted)]
        return [leg for fact in requests for leg in fact.legs] + finished


def plus(one: Usage, other: Usage) -> Usage:
    return Usage(
        one.input + other.input,
        one.output + other.output,
        one.cached_input + other.cached_input,
        one.reasoning + other.reasoning,
    )


def history_of(steps: Sequence[Step], *, is_by_time: bool) -> History:
    async def play() -> History:
        history = History(is_by_time)
        for step in steps:
            await step(history)  # type: ignore[misc]
        history.end()
        return history

    return asyncio.run(play())


def counted(facts: Sequence[RequestSettled | DraftCompleted]) -> Metrics:
    metrics = Metrics(version="0", calibrated={"a": False, "b": False})
    for fact in facts:
        if isinstance(fact, RequestSettled):
            metrics.settled(fact)
        else:
            metrics.draft_completed(fact)
    return metrics


def sums(metrics: Metrics, name: str) -> Counter[str]:
    """A counter by kind, type or cause, over cascades and roles; dollars in pico-dollars."""
    found: Counter[str] = Counter()
    factor = PICO_PER_USD if name.endswith("_usd_total") else 1
    for family in metrics.registry.collect():
        for sample in family.samples:
            if sample.name == name:
                (label,) = sample.labels.keys() & {"kind", "type", "cause"}
                found[sample.labels[label]] += round(sample.value * factor)
    return found


@given(HISTORIES)
def test_what_is_billed_by_tokens_is_what_the_server_counted(steps: Sequence[Step]) -> None:
    """Over retries, hand-overs and departures: each token once, and no call without a word."""
    history = history_of(steps, is_by_time=False)
    books = [(role, usage) for role, usage in history.books if usage is not None]
    billed = [leg for leg in history.made if leg.usage is not None]
    for role in Role:
        used = plus_all([usage for its, usage in books if its is role])
        assert plus_all([leg.usage for leg in billed if leg.role is role and leg.usage]) == used
        paid = sum(leg.cost_pico or 0 for leg in billed if leg.role is role)
        assert paid == cost_of(used, PRICES[role])
    unknown = sum(leg.cost_pico is None for leg in history.made)
    assert unknown == sum(usage is None for _, usage in history.books)
    assert sums(counted(history.facts), "understudy_cost_unknown_total").total() == unknown


@given(HISTORIES)
def test_calls_by_time_and_idle_time_are_the_rent(steps: Sequence[Step]) -> None:
    history = history_of(steps, is_by_time=True)
    costs = [leg.cost_pico for leg in history.made]
    assert None not in costs  # known also where the usage is not
    rents = [model.rented.rent() for model in history.models.values() if model.rented]
    assert sum(rents) == RENT.of(int(history.server.now * 10**9))
    for (role, _), rent in zip(history.models.items(), rents, strict=True):
        paid = sum(leg.cost_pico or 0 for leg in history.made if leg.role is role)
        assert 0 <= paid <= rent


@given(HISTORIES, st.booleans())
def test_kinds_are_the_total_and_a_replay_is_the_same_bill(
    steps: Sequence[Step], is_by_time: bool
) -> None:
    history = history_of(steps, is_by_time=is_by_time)
    by_kind = Counter[Kind]()
    for fact in history.facts:
        if isinstance(fact, RequestSettled):
            known = [entry for entry in fact.entries if entry.cost_pico is not None]
            assert len(fact.entries) == len(fact.legs)
            if fact.cost_pico is not None:
                assert fact.cost_pico == sum(entry.cost_pico or 0 for entry in known)
            for entry in known:
                by_kind[entry.kind] += entry.cost_pico or 0
        elif fact.leg.cost_pico is not None:
            by_kind[Kind.AUDIT] += fact.leg.cost_pico
    total = sum(leg.cost_pico or 0 for leg in history.made)
    assert by_kind.total() == total
    first, again = (counted(history.facts) for _ in range(2))
    # A float holds 15 digits of a counter's dollars; the counter itself is whole pico-dollars.
    for kind, pico in by_kind.items():
        assert abs(sums(first, "understudy_cost_usd_total")[kind] - pico) <= pico / 10**14
    names = ("understudy_cost_usd_total", "understudy_tokens_total")
    assert [sums(first, name) for name in names] == [sums(again, name) for name in names]


def plus_all(parts: Sequence[Usage]) -> Usage:
    total = Usage(0, 0)
    for part in parts:
        total = plus(total, part)
    return total
