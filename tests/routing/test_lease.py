"""Replicas that draw from the same books grant together what the limit says, and never more."""

import random
from dataclasses import dataclass, field
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.lease import (
    AHEAD_SECONDS,
    ASK_AGAIN_SECONDS,
    KEEP_TIMES,
    LATE_REQUESTS,
    LEAST_PART,
    MOST_PART,
    WINDOW_SECONDS,
    Ask,
    Books,
    Drawn,
    Lease,
    Stand,
    Typical,
)
from routing.vocabulary import Limit

MINUTE = 60
MIDNIGHT = 1_795_824_000.0  # a beginning of minutes and of a day
ASK = Ask(limit=1000, window=0, owed=0, needed=0, wanted=0)


def drawn(lease: Lease, books: Books, now: float, needed: int = 0) -> Drawn:
    """One round trip that takes no time."""
    told = books.draw(lease.draw(now, needed), MINUTE, MIDNIGHT + now)
    lease.drawn(told, now, now)
    return told


def in_hand(left: int, limit: int = 1000, free: int = 0) -> Lease:
    """A lease that has so much in hand, for a minute from 0 on."""
    lease = Lease(limit)
    lease.drawn(Drawn(7, left, free, 60.0), 0.0, 0.0)
    return lease


# --- the books ---


def test_windows_of_requests_and_tokens_are_minutes_and_those_of_money_days() -> None:
    assert WINDOW_SECONDS == {Limit.REQUESTS: 60, Limit.TOKENS: 60, Limit.SPEND: 24 * 60 * 60}


def test_the_books_give_what_is_needed_as_long_as_they_have_it() -> None:
    books = Books()
    needs = Ask(10, 0, owed=0, needed=7, wanted=0)
    assert books.draw(needs, MINUTE, MIDNIGHT + 12.5).granted == 7
    told = books.draw(needs, MINUTE, MIDNIGHT + 12.5)
    assert (told.granted, told.free, told.seconds_left) == (3, 0, 47.5)
    assert books.draw(needs, MINUTE, MIDNIGHT + 59.9).granted == 0
    told = books.draw(needs, MINUTE, MIDNIGHT + 60)
    assert (told.granted, told.free, told.seconds_left) == (7, 3, 60.0)


def test_slices_shrink_as_the_window_runs_out() -> None:
    books, slices = Books(), []
    wants = Ask(1600, 0, owed=0, needed=0, wanted=500)
    while slice_ := books.draw(wants, MINUTE, MIDNIGHT).granted:
        slices.append(slice_)
    assert slices[:3] == [1600 // MOST_PART, 1500 // MOST_PART, 1407 // MOST_PART]
    assert slices == sorted(slices, reverse=True)
    assert slices[-1] == 1
    # The last few are for whoever needs one, and in nobody's hand before.
    assert sum(slices) == 1600 - (MOST_PART - 1)


def test_what_is_owed_is_booked_beyond_the_limit() -> None:
    books = Books()
    told = books.draw(Ask(10, 0, owed=12, needed=1, wanted=1), MINUTE, MIDNIGHT)
    assert (told.granted, told.free, books.used) == (0, 0, 12)


def test_what_is_given_back_counts_in_its_own_window_alone() -> None:
    books = Books()
    window = books.draw(Ask(10, 0, owed=0, needed=10, wanted=0), MINUTE, MIDNIGHT).window
    back = Ask(10, window, owed=-4, needed=0, wanted=0)
    assert books.draw(back, MINUTE, MIDNIGHT + 59).free == 4
    assert books.draw(Ask(10, window + 1, 0, 10, 0), MINUTE, MIDNIGHT + 60).granted == 10
    assert books.draw(back, MINUTE, MIDNIGHT + 60).free == 0


def test_more_than_was_drawn_cannot_be_given_back() -> None:
    books = Books()
    window = books.draw(ASK, MINUTE, MIDNIGHT).window
    books.draw(Ask(10, window, owed=-4, needed=0, wanted=0), MINUTE, MIDNIGHT)
    assert books.used == 0


def test_a_clock_that_is_set_back_gives_no_window_twice() -> None:
    books, all_of_it = Books(), Ask(10, 0, owed=0, needed=10, wanted=0)
    assert books.draw(all_of_it, MINUTE, MIDNIGHT + 60).granted == 10
    told = books.draw(all_of_it, MINUTE, MIDNIGHT + 59)
    assert (told.granted, told.seconds_left) == (0, 61.0)
    assert books.draw(all_of_it, MINUTE, MIDNIGHT - 600).granted == 10  # it was wrong before


# --- one lease ---


def test_a_new_lease_has_to_draw_and_then_has_it_in_hand() -> None:
    lease, books = Lease(1000), Books()
    assert lease.stand(1, 0.0) is Stand.TO_DRAW
    assert lease.remaining(0.0) == 1000
    drawn(lease, books, 0.0, needed=3)
    assert lease.left == 3
    assert lease.stand(3, 0.0) is Stand.IN_HAND
    assert lease.stand(4, 0.0) is Stand.TO_DRAW
    assert lease.stand(1001, 0.0) is Stand.SPENT
    assert lease.remaining(0.0) == 1000
    lease.take(3)
    assert lease.remaining(0.0) == 997


def test_a_window_that_is_over_leaves_nothing_in_hand() -> None:
    lease, books = Lease(1000), Books()
    drawn(lease, books, 0.0, needed=30)
    assert lease.stand(1, 59.9) is Stand.IN_HAND
    assert lease.stand(1, 60.0) is Stand.TO_DRAW
    assert lease.remaining(60.0) == 1000
    drawn(lease, books, 60.0, needed=2)
    assert lease.left == 2


def test_a_window_that_ended_while_its_books_were_asked_leaves_nothing_either() -> None:
    lease, books = Lease(1000), Books()
    drawn(lease, books, 0.0, needed=30)
    ask = lease.draw(59.0, 32)
    lease.drawn(books.draw(ask, MINUTE, MIDNIGHT + 60.5), 59.0, 61.0)
    assert lease.left == 2


def test_its_end_is_counted_from_the_question() -> None:
    lease = Lease(1000)
    lease.drawn(Drawn(7, 5, 0, 10.0), asked_at=3.0, now=4.0)
    assert lease.ends_at == 13.0


def test_a_slice_lasts_for_a_while_at_the_pace_of_late() -> None:
    lease = in_hand(600, limit=100_000, free=100_000)
    lease.take(600)
    assert lease.draw(1.0, 0).wanted == 600 * AHEAD_SECONDS
    slow = in_hand(600, limit=100_000, free=100_000)
    assert slow.draw(1.0, 0).wanted == 0
    slow.take(600)
    assert slow.draw(59.0, 0).wanted == 100_000 // LEAST_PART


def test_it_asks_for_what_is_missing_of_what_is_needed() -> None:
    assert in_hand(5).draw(1.0, 7).needed == 2
    assert in_hand(9).draw(1.0, 7).needed == 0


def test_it_is_low_once_half_of_a_slice_is_gone_and_there_is_more_to_be_had() -> None:
    lease = in_hand(10, free=50)
    lease.take(4)
    assert not lease.is_low(1.0)
    lease.take(1)
    assert lease.is_low(1.0)
    assert not lease.is_low(60.0)
    spent = in_hand(10, free=0)
    spent.take(10)
    assert not spent.is_low(1.0)
    single = in_hand(1, free=50)
    single.take(1)
    assert not single.is_low(1.0)


def test_a_window_is_over_once_it_has_ended_and_nothing_is_owed() -> None:
    lease = in_hand(5)
    assert not lease.is_over(59.9)
    assert lease.is_over(60.0)
    lease.correct(7, reserved=0, actual=6)
    assert not lease.is_over(60.0)


def test_whoever_is_spent_asks_again_after_a_while() -> None:
    lease = in_hand(0)
    assert lease.stand(1, 0.1) is Stand.SPENT
    assert not lease.is_worth_asking(ASK_AGAIN_SECONDS * 0.99)
    assert lease.is_worth_asking(ASK_AGAIN_SECONDS)


def test_what_nobody_needs_is_given_back() -> None:
    lease, books = Lease(1000), Books()
    drawn(lease, books, 0.0, needed=100)
    lease.take(10)
    excess = lease.excess(1.0)
    assert excess == 90 - KEEP_TIMES * 10
    ask = lease.give_back(1.0, excess)
    lease.drawn(books.draw(ask, MINUTE, MIDNIGHT + 1), 1.0, 1.0)
    assert (lease.left, lease.free) == (20, 970)
    assert lease.excess(2.0) == 20
    assert lease.excess(60.0) == 0


def test_no_more_than_is_in_hand_is_given_back() -> None:
    assert in_hand(5).give_back(1.0, 9).owed == -5
    assert in_hand(5).give_back(60.0, 9).owed == 0
    owing = in_hand(5)
    owing.correct(7, reserved=0, actual=8)
    assert owing.give_back(1.0, 9).owed == 3


def test_a_reservation_is_corrected_once_the_bill_is_known() -> None:
    lease = in_hand(100)
    lease.take(40)
    lease.correct(7, reserved=40, actual=25)
    assert lease.left == 75
    lease.correct(7, reserved=0, actual=80)
    assert lease.left == -5
    assert lease.remaining(1.0) == 0
    assert lease.draw(1.0, 0).owed == 5


def test_what_is_saved_in_a_window_is_gone_with_it_and_what_is_owed_stays() -> None:
    lease = in_hand(100)
    lease.take(40)
    lease.drawn(Drawn(8, 10, 0, 60.0), 60.0, 60.0)
    lease.correct(7, reserved=40, actual=25)
    assert lease.left == 10
    lease.correct(7, reserved=40, actual=45)
    assert lease.left == 5
    lease.correct(7, reserved=0, actual=9)
    assert lease.draw(200.0, 0).owed == 4


def test_a_draw_that_failed_leaves_the_debt_and_nothing_that_was_given_back() -> None:
    owing = in_hand(0)
    owing.correct(7, reserved=0, actual=5)
    owing.failed(owing.draw(1.0, 0))
    assert owing.left == -5
    rich = in_hand(9)
    rich.failed(rich.give_back(1.0, 6))
    assert rich.left == 3


# --- what a request takes ---


def test_a_typical_request_is_unknown_then_like_the_first_and_then_like_the_late_ones() -> None:
    assert Typical().value is None
    typical = Typical()
    typical.seen(100)
    assert typical.value == 100
    typical.seen(100 + LATE_REQUESTS)
    assert typical.value == 101
    for _ in range(200):
        typical.seen(7)
    assert typical.value == 7


# --- several replicas ---


@dataclass
class Fleet:
    """Replicas that share books, each over a connection that may lose a reply."""

    limit: int
    count: int
    books: Books = field(default_factory=Books)
    granted: dict[int, int] = field(default_factory=dict)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.leases = [Lease(self.limit) for _ in range(self.count)]

    def ask(self, replica: int, amount: int) -> bool:
        """One request, which waits for draws of its own; whether it was granted."""
        lease = self.leases[replica]
        for _ in range(3):
            stand = lease.stand(amount, self.now)
            if stand is Stand.IN_HAND:
                lease.take(amount)
                window = int((MIDNIGHT + self.now) // MINUTE)
                self.granted[window] = self.granted.get(window, 0) + amount
                if lease.is_low(self.now):
                    drawn(lease, self.books, self.now)
                return True
            if stand is Stand.SPENT and not lease.is_worth_asking(self.now):
                return False
            drawn(lease, self.books, self.now, amount)
        return False

    def tidy(self) -> None:
        for lease in self.leases:
            ask = lease.give_back(self.now, lease.excess(self.now))
            lease.drawn(self.books.draw(ask, MINUTE, MIDNIGHT + self.now), self.now, self.now)

    def lose(self, replica: int, amount: int, *, is_booked: bool) -> None:
        """A draw whose reply is lost, or the draw itself."""
        lease = self.leases[replica]
        is_back = amount % 2
        ask = lease.give_back(self.now, amount) if is_back else lease.draw(self.now, amount)
        if is_booked:
            self.books.draw(ask, MINUTE, MIDNIGHT + self.now)
        lease.failed(ask)


@given(st.integers(0, 2**32))
def test_however_replicas_draw_give_back_and_lose_replies_no_window_grants_more_than_the_limit(
    seed: int,
) -> None:
    dice = random.Random(seed)
    fleet = Fleet(limit=dice.choice([1, 7, 60, 1000]), count=dice.randint(1, 5))
    for _ in range(300):
        fleet.now += dice.choice([0.0, 0.001, 0.01, 0.5, 5.0])
        replica = dice.randrange(fleet.count)
        act = dice.random()
        if act < 0.9:
            fleet.ask(replica, dice.randint(1, max(1, fleet.limit // 10)))
        elif act < 0.95:
            fleet.tidy()
        else:
            fleet.lose(replica, dice.randint(0, 9), is_booked=dice.random() < 0.5)
    assert max(fleet.granted.values(), default=0) <= fleet.limit


@pytest.mark.simulated
@pytest.mark.parametrize("limit", [10, 60, 1000, 20_000])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_two_replicas_grant_what_one_would_to_one_per_cent(limit: int, share: float) -> None:
    """Clients ask at twice the pace that the limit allows, and share themselves out unevenly."""
    dice = random.Random(5)
    fleet = Fleet(limit, 2)
    pace = 2 * limit / MINUTE
    while fleet.now < 3 * MINUTE:
        before = int(fleet.now)
        fleet.now += dice.expovariate(pace)
        if int(fleet.now) > before:
            fleet.tidy()
        fleet.ask(0 if dice.random() < share else 1, 1)
    whole = [fleet.granted[int(MIDNIGHT // MINUTE) + minute] for minute in range(3)]
    assert all(Fraction(99, 100) * limit <= granted <= limit for granted in whole)


def test_what_an_idle_replica_had_reaches_the_busy_one_within_seconds() -> None:
    fleet = Fleet(1000, 2)
    for _ in range(400):
        fleet.now += 0.001
        fleet.ask(0, 1)
    assert fleet.leases[0].left > 10
    for _ in range(3):
        fleet.now += 1.0
        fleet.tidy()
    while fleet.ask(1, 1):
        fleet.now += 0.001
    assert sum(fleet.granted.values()) == 1000
