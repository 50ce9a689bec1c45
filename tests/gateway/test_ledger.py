"""What every request came to, in the journal within a second, and nothing of it twice or lost."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec
import pytest

import gateway.ledger as ledger_module
from gateway.facts import BothAnswered, DraftCompleted, Ending, Leg, RequestSettled, ShadowDrafted
from gateway.ledger import FIELDS_PER_POSTING, Ledger, posting
from gateway.passage import Passage, PassedCall, PassedThrough
from gateway.ports import StreamKind
from gateway.server_facts import CachedTokensAsked, TeacherProbed
from gateway.stores.posting import Posting
from gateway.wire.passing import PassedRoute
from routing.baseline import Correction, Estimate, Missing
from routing.ledger import Sums, decode
from routing.money import Usage
from routing.vocabulary import Basis, Kind, Role

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
BASELINE = Estimate(50, Basis.PRICES)
STUDENT = Leg(Role.STUDENT, Usage(20, 3), 5, 0.1)


@dataclass
class PostingLogFake:
    """Takes ``room`` postings, and no more until it has room again."""

    room: int = 10**9
    has_room: bool = True
    is_full_of_others: bool = False
    asked: int = 0
    postings: list[tuple[str, Posting]] = field(default_factory=list)

    @property
    def is_backed_up(self) -> bool:
        self.asked += 1
        return self.is_full_of_others

    def append(self, cascade: str, record: bytes, *, kind: StreamKind = StreamKind.PAIRS) -> bool:
        assert kind is StreamKind.LEDGER
        if not self.room:
            return False
        self.room -= 1
        self.postings.append((cascade, msgspec.json.decode(record, type=Posting)))
        return True

    def sums(self, cascade: str = "a", day: str = "2026-11-30") -> Sums:
        return decode(
            field
            for name, each in self.postings
            if (name, each.day) == (cascade, day)
            for field in each.amounts.items()
        )

    def numbers(self, cascade: str = "a") -> list[int]:
        return [each.number for name, each in self.postings if name == cascade]


@dataclass
class Clock:
    now: float = NOON

    def __call__(self) -> float:
        return self.now


def request(
    tenant: str | None = "t",
    cascade: str | None = "a",
    legs: Sequence[Leg] = (STUDENT,),
    ending: Ending = Ending.KEPT,
    baseline: Estimate | None = BASELINE,
) -> RequestSettled:
    return RequestSettled(
        "r",
        ending,
        200,
        0.1,
        cascade=cascade,
        tenant=tenant,
        served_by=Role.STUDENT,
        legs=legs,
        baseline=baseline,
    )


def test_every_request_is_in_the_books_of_its_tenant() -> None:
    ledger, log = Ledger("o", Clock()), PostingLogFake()
    ledger.settled(request())
    ledger.settled(request(tenant=None, legs=(), ending=Ending.REJECTED, baseline=None))
    ledger.settled(request(baseline=Estimate(None, Basis.PRICES, Missing.PRICE)))
    ledger.post(log)
    assert log.sums().encode() == {
        "requests:kept:t": 2,
        "requests:rejected:-": 1,
        "student:served:calls:t": 2,
        "student:served:input:t": 40,
        "student:served:output:t": 6,
        "student:served:cost_pico:t": 10,
        "baseline:known:t": 1,
        "baseline:unknown:t": 1,
        "baseline:prices:t": 50,
    }


def test_what_happens_off_the_request_path_is_an_audit() -> None:
    ledger, log = Ledger("o", Clock()), PostingLogFake()
    ledger.draft_completed(DraftCompleted("a", STUDENT, tenant="t"))
    ledger.draft_completed(DraftCompleted("a", STUDENT))
    ledger.draft_completed(DraftCompleted("a", STUDENT, Kind.SHADOW, "t"))
    probe, both = [Leg(Role.TEACHER, None, None, 0.1)], [STUDENT, STUDENT]
    ledger.probed(TeacherProbed("a", 1, True, "", probe, "http://t", True))
    ledger.probed(CachedTokensAsked("a", Role.STUDENT, 1, True, "", both, "http://s", True))
    ledger.shadow_drafted(ShadowDrafted("a", [STUDENT, STUDENT], "u"))
    ledger.shadow_drafted(ShadowDrafted("a", [STUDENT], None))
    ledger.post(log)
    fields = log.sums().encode()
    assert fields["student:audit:cost_pico:t"] == fields["student:shadow:cost_pico:t"] == 5
    assert fields["student:shadow:cost_pico:u"] == 10
    assert fields["student:shadow:cost_pico:-"] == 5
    assert fields["student:audit:cost_pico:-"] == 15
    assert fields["teacher:audit:cost_unknown:-"] == 1


def test_held_out_requests_correct_their_tenant_s_baseline() -> None:
    ledger, log = Ledger("o", Clock()), PostingLogFake()
    ledger.both_answered(BothAnswered("a", "t", Basis.SAMPLE, Correction(-7, 49), True))
    ledger.both_answered(BothAnswered("a", None, Basis.SAMPLE, None, False))
    ledger.both_answered(BothAnswered("a", "t", Basis.ESCALATIONS, None, True))
    ledger.post(log)
    assert log.sums().encode() == {
        "correction:known:t": 1,
        "correction:down:t": 7,
        "correction:variance:t": 49,
        "correction:unknown:-": 1,
    }


def test_a_request_for_no_cascade_is_in_no_books() -> None:
    ledger, log = Ledger("o", Clock()), PostingLogFake()
    ledger.settled(request(cascade=None, legs=(), ending=Ending.REJECTED))
    ledger.post(log)
    assert log.postings == []
    assert ledger.waiting_since is None


def test_a_day_ends_at_midnight_by_utc() -> None:
    clock, log = Clock(), PostingLogFake()
    ledger = Ledger("o", clock)
    clock.now = datetime(2026, 11, 30, 23, 59, 59, 999999, tzinfo=UTC).timestamp()
    ledger.settled(request())
    clock.now = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    ledger.settled(request())
    ledger.post(log)
    for day in ("2026-11-30", "2026-12-01"):
        assert log.sums(day=day).encode()["requests:kept:t"] == 1


def test_nothing_that_changed_is_nothing_to_write() -> None:
    ledger, log = Ledger("o", Clock()), PostingLogFake()
    ledger.settled(request())
    ledger.post(log)
    ledger.post(log)
    assert log.numbers() == [1]


def test_what_the_journal_refuses_stays_and_goes_later() -> None:
    clock, log = Clock(), PostingLogFake(room=0)
    ledger = Ledger("o", clock)
    ledger.settled(request())
    clock.now += 5
    ledger.settled(request())
    ledger.post(log)
    assert ledger.waiting_since == NOON
    log.room = 1
    ledger.post(log)
    assert log.sums().encode()["requests:kept:t"] == 2
    assert log.numbers() == [1], "a refused posting had no number"
    assert ledger.waiting_since is None


def test_many_tenants_make_several_postings_and_the_refused_ones_are_kept() -> None:
    ledger, log = Ledger("o", Clock()), PostingLogFake(room=1)
    tenants = FIELDS_PER_POSTING  # each has several fields
    for number in range(tenants):
        ledger.settled(request(tenant=f"t{number}"))
    ledger.post(log)
    assert log.numbers() == [1]
    ledger.settled(request(tenant="t7"))
    log.room = 10**9
    ledger.post(log)
    assert max(len(each.amounts) for _, each in log.postings) == FIELDS_PER_POSTING
    assert log.numbers() == list(range(1, len(log.postings) + 1))
    fields = log.sums().encode()
    assert [fields[f"requests:kept:t{each}"] for each in (6, 7, 8)] == [1, 2, 1]
    assert sum(each for name, each in fields.items() if name.startswith("requests")) == tenants + 1


def test_each_cascade_has_numbers_of_its_own() -> None:
    ledger, log = Ledger("o", Clock()), PostingLogFake()
    for cascade in ("a", "b", "a"):
        ledger.settled(request(cascade=cascade))
        ledger.post(log)
    assert (log.numbers("a"), log.numbers("b")) == ([1, 2], [1])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "POST_SECONDS", 0.001)


async def posted(log: PostingLogFake, count: int) -> None:
    async with asyncio.timeout(10):
        while len(log.postings) < count:  # noqa: ASYNC110  # it happens in another task
            await asyncio.sleep(0)


@pytest.mark.usefixtures("quick")
async def test_sums_are_posted_while_it_runs_and_what_is_left_at_the_end() -> None:
    ledger, log = Ledger("o", Clock()), PostingLogFake()
    async with posting(ledger, log, pytest.fail):
        ledger.settled(request())
        await posted(log, 1)
        ledger.settled(request())
    assert log.sums().encode()["requests:kept:t"] == 2


@pytest.mark.usefixtures("quick")
async def test_a_bug_in_one_round_does_not_end_the_others() -> None:
    ledger, log = Ledger("o", Clock()), PostingLogFake()
    bugs: list[None] = []

    class Broken(PostingLogFake):
        def append(self, *args: object, **kwargs: object) -> bool:
            if not bugs:
                raise RuntimeError
            return log.append(*args, **kwargs)  # type: ignore[arg-type]  # handed through

    async with posting(ledger, Broken(), lambda: bugs.append(None)):
        ledger.settled(request())
        await posted(log, 1)
    assert bugs == [None]
    assert log.sums().encode()["requests:kept:t"] == 1


@pytest.mark.usefixtures("quick")
async def test_a_journal_that_is_backed_up_gets_fewer_postings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ledger_module, "POST_SECONDS_WHEN_BACKED_UP", 0.02)
    ledger, log = Ledger("o", Clock()), PostingLogFake(is_full_of_others=True)
    async with posting(ledger, log, pytest.fail):
        ledger.settled(request())
        await posted(log, 1)
        assert log.asked == 19


def passed(
    route: PassedRoute, outcome: Passage, call: PassedCall | None, **of: object
) -> PassedThrough:
    told = {"request_id": "r", "model": "emb", "status": 200, "seconds": 0.1, "tenant": "t"} | of
    return PassedThrough(route=route, outcome=outcome, call=call, **told)  # type: ignore[arg-type]


def test_what_passes_to_a_named_model_is_in_a_book_of_that_name() -> None:
    ledger, log = Ledger("o", Clock()), PostingLogFake()
    call = PassedCall(0.1, Usage(7, 0), 70)
    for fact in (
        passed(PassedRoute.EMBEDDINGS, Passage.PASSED, call),
        passed(PassedRoute.SCORE, Passage.PASSED, call, tenant=None),
        passed(PassedRoute.RERANK, Passage.FAILED, PassedCall(0.1, None, None, "upstream_timeout")),
        passed(PassedRoute.EMBEDDINGS, Passage.REJECTED, None),
        passed(PassedRoute.TOKENIZE, Passage.PASSED, PassedCall(0.1, Usage(0, 0), None)),
        passed(PassedRoute.EMBEDDINGS, Passage.REJECTED, None, model=None),
    ):
        ledger.passed_through(fact)
    ledger.post(log)
    assert {name for name, _ in log.postings} == {"emb"}
    assert dict(log.sums("emb").amounts) == {
        ("t", "requests", "passed"): 1,
        ("t", "requests", "failed"): 1,
        ("t", "requests", "rejected"): 1,
        ("t", "model", "served", "calls"): 1,
        ("t", "model", "served", "input"): 7,
        ("t", "model", "served", "cost_pico"): 70,
        ("t", "model", "wasted", "calls"): 1,
        ("t", "model", "wasted", "usage_unknown"): 1,
        ("t", "model", "wasted", "cost_unknown"): 1,
        ("-", "requests", "passed"): 1,
        ("-", "model", "served", "calls"): 1,
        ("-", "model", "served", "input"): 7,
        ("-", "model", "served", "cost_pico"): 70,
    }
