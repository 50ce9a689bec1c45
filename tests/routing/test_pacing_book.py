import pytest

from routing.errors import PolicyError
from routing.pacing_book import (
    LATE_SECONDS,
    MOST_SECONDS,
    TRAFFIC_SECONDS,
    Allowance,
    Book,
    Row,
    book_from_document,
)
from routing.pacing_goal import Tally

DOLLAR_A_SECOND = Allowance(each_second=1.0, each_request=0.0, credit=36.0, debt=72.0)
TENTH = Allowance(each_second=0.0, each_request=0.1, credit=36.0, debt=72.0)


def told(at: float, spent: float, judged: int = 10, seconds: float = 1.0) -> Tally:
    return Tally(at, seconds, judged, 2, 3, 0, spent, spent, [])


def after(*tallies: Tally, until: int, allowance: Allowance = DOLLAR_A_SECOND) -> Book:
    book = Book()
    for tally in tallies:
        book = book.entered(tally, allowance, now=until + 2.0)
    return book.settled_until(until, allowance)


def test_before_any_report_nothing_is_settled() -> None:
    assert Book().settled_until(100, DOLLAR_A_SECOND) == Book()


def test_what_was_allowed_and_not_spent_is_in_the_balance() -> None:
    book = after(told(100.5, 0.25), told(101.5, 0.5), until=101)
    assert book.balance == pytest.approx(1.25)
    assert book.traffic == (10.0, 10.0)


def test_a_rate_allows_a_part_of_the_requests_forced_ones_too() -> None:
    book = after(told(100.5, 1.0), until=110, allowance=TENTH)
    assert book.balance == pytest.approx(0.2)


def test_a_second_counts_once_it_is_settled() -> None:
    book = after(told(100.5, 5.0), told(103.5, 5.0), until=100)
    assert book.balance == pytest.approx(-4.0)
    assert book.settled_until(100, DOLLAR_A_SECOND) == book
    assert book.settled_until(103, DOLLAR_A_SECOND).balance == pytest.approx(-6.0)


def test_credit_and_debt_do_not_pile_up() -> None:
    quiet = after(told(100.5, 0.0), until=1000)
    assert quiet.balance == 36.0
    assert after(told(100.5, 1000.0), until=100).balance == -72.0
    assert len(quiet.traffic) == TRAFFIC_SECONDS


def test_what_waited_for_long_is_settled_second_by_second() -> None:
    """Replicas that bring five minutes, one after the other, have spent what they were to."""
    backlog = [told(100.5 + second, 0.5) for second in range(300)]
    assert after(*backlog, *backlog, until=399).balance == pytest.approx(0.0)


def test_a_little_late_is_counted_with_the_second_that_comes() -> None:
    book = after(told(100.5, 1.0), until=105).entered(told(103.5, 3.0), DOLLAR_A_SECOND, 107.0)
    assert book.pending == {106: Row(10.0, 12.0, 3.0, 3.0)}
    assert book.settled_until(106, DOLLAR_A_SECOND).balance == pytest.approx(3.0)


def test_very_late_says_nothing_of_the_traffic_of_now() -> None:
    before = after(told(100.5, 1.0), until=130)
    late = told(130.5 - LATE_SECONDS, 3.0)
    book = before.entered(late, DOLLAR_A_SECOND, 132.0)
    assert book.balance == pytest.approx(before.balance - 3.0)
    assert book.pending == {}
    assert book.last_hour(132.0).spent == pytest.approx(4.0)


def test_a_long_report_is_spread_over_its_seconds() -> None:
    book = after(told(103.9, 8.0, judged=40, seconds=4.0), until=103)
    assert book.traffic == (10.0, 10.0, 10.0, 10.0)
    endless = Book().entered(told(9000.5, 1.0, seconds=1e9), DOLLAR_A_SECOND, 9001.0)
    assert len(endless.pending) == MOST_SECONDS


def test_a_clock_ahead_is_taken_to_be_now() -> None:
    book = Book().entered(told(9e9, 1.0), DOLLAR_A_SECOND, 100.0)
    assert list(book.pending) == [100]


def test_the_last_hour_slides() -> None:
    first, last = told(36_000.5, 6.0), told(39_599.5, 1.0)
    book = after(first, last, until=39_599)
    assert book.last_hour(39_600.0).spent == pytest.approx(7.0)
    assert book.last_hour(39_630.0).spent == pytest.approx(4.0)
    assert book.last_hour(39_660.0).spent == pytest.approx(1.0)
    assert book.last_minute(39_600.0) == Row(10.0, 12.0, 3.0, 1.0)


def test_minutes_are_forgotten_after_an_hour() -> None:
    book = after(told(36_000.5, 6.0), told(50_000.5, 1.0), until=50_000)
    assert len(book.minutes) == 1


def test_a_document_is_read_as_it_was_written() -> None:
    book = after(told(100.5, 0.25), told(103.5, 0.5), until=101)
    assert book_from_document(book.document(), "book") == book
    assert book_from_document(Book().document(), "book") == Book()


def test_a_document_that_is_none_is_refused_by_its_path() -> None:
    with pytest.raises(PolicyError, match=r"book\.pending\[0\]"):
        book_from_document({**Book().document(), "pending": [[1, 2]]}, "book")
