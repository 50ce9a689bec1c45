import pytest

from routing.errors import PolicyError
from routing.pacing_fleet import (
    GONE_SECONDS,
    GRACE_SECONDS,
    MEMORY_SECONDS,
    MOST_REPLICAS,
    SILENCE_SECONDS,
    Fleet,
    fleet_from_document,
)
from routing.steering import Report


def report(replica: str, sequence: int, escalated: int = 5, denied: int = 0) -> Report:
    at = float(sequence)
    return Report(replica, sequence, at, seconds=1.0, escalated=escalated, denied=denied)


def served(
    fleet: Fleet, names: str, begins: int, ends: int, asks: dict[str, int] | None = None
) -> Fleet:
    """Each replica reports in each of these seconds, under a sequence that is the second."""
    for now in range(begins, ends):
        reports = [report(name, now, (asks or {}).get(name, 5)) for name in names]
        fleet, _ = fleet.after(reports, float(now))
    return fleet


def test_a_report_that_comes_twice_counts_once() -> None:
    fleet, fresh = Fleet().after([report("a", 7), report("a", 7), report("b", 1)], 1.0)
    assert [each.replica for each in fresh] == ["a", "b"]
    again, fresh = fleet.after([report("a", 6), report("a", 7)], 2.0)
    assert (again, fresh) == (fleet, [])


def test_before_anything_is_heard_nobody_lives() -> None:
    assert Fleet().living(1.0) == {}
    assert Fleet().told_until(1.0) is None
    assert Fleet().parts(1.0, {}) == {}


def test_who_is_not_heard_of_while_others_are_is_gone() -> None:
    fleet = served(served(Fleet(), "ab", 1, 20), "b", 20, 31)
    assert fleet.living(19 + GONE_SECONDS).keys() == {"a", "b"}
    assert fleet.living(19.5 + GONE_SECONDS).keys() == {"b"}


def test_while_nothing_is_heard_all_stay_who_were_there() -> None:
    fleet = served(served(Fleet(), "abc", 1, 20), "ab", 20, 40)
    assert fleet.living(300.0).keys() == {"a", "b"}
    assert fleet.told_until(300.0) == 39.0 + SILENCE_SECONDS


def test_after_a_silence_nobody_is_gone_until_what_waited_is_in() -> None:
    fleet = served(served(Fleet(), "abc", 1, 20), "ab", 20, 40)
    fleet, _ = fleet.after([report("a", 41), report("a", 340)], 340.0)
    assert fleet.told_until(342.0) is None
    assert fleet.living(342.0).keys() == {"a", "b"}
    fleet = served(fleet, "a", 341, 360)
    assert fleet.told_until(340.0 + GRACE_SECONDS) == 340.0 + GRACE_SECONDS
    assert fleet.living(359.0).keys() == {"a"}


def test_where_nothing_waited_there_was_nothing_to_tell() -> None:
    fleet = served(served(Fleet(), "a", 1, 20), "a", 60, 61)
    assert fleet.told_until(60.0) == 60.0


def test_who_reads_late_each_time_counts_all_the_same() -> None:
    fleet, told = Fleet(), []
    for now in range(1000, 1100, 5):
        fleet, _ = fleet.after([report("a", now - 4), report("a", now)], float(now))
        told.append(fleet.told_until(float(now)) is not None)
    assert sum(told) >= 10


def test_parts_follow_what_is_asked_for_and_leave_something_to_all() -> None:
    fleet = served(Fleet(), "abc", 1, 2000, asks={"a": 80, "b": 20, "c": 0})
    parts = fleet.parts(2000.0, {})
    assert sum(parts.values()) == pytest.approx(1.0)
    assert parts["a"] == pytest.approx(0.8 * 0.875 + 0.125 / 3, abs=0.01)
    assert parts["c"] == pytest.approx(0.125 / 3, abs=0.01)


def test_what_was_denied_was_asked_for_too() -> None:
    """Else a replica whose part is small could never have a larger one."""
    granted, _ = Fleet().after([report("a", 1, 10), report("b", 1, 0, denied=10)], 1.0)
    assert granted.parts(1.0, {}) == {"a": 0.5, "b": 0.5}


def test_a_new_replica_is_taken_to_ask_for_what_others_do() -> None:
    fleet = served(Fleet(), "ab", 1, 1000)
    fleet, _ = fleet.after([report("a", 1000), report("b", 1000), report("c", 1, 0)], 1000.0)
    assert fleet.parts(1000.0, {})["c"] == pytest.approx(1 / 3, abs=0.01)


def test_replicas_that_ask_for_nothing_have_equal_parts() -> None:
    fleet = served(Fleet(), "ab", 1, 10, asks={"a": 0, "b": 0})
    assert fleet.parts(10.0, {}) == {"a": 0.5, "b": 0.5}


def test_parts_are_left_as_they_are_while_they_are_near() -> None:
    fleet = served(Fleet(), "ab", 1, 10)
    near, far = {"a": 0.52, "b": 0.48}, {"a": 0.6, "b": 0.4}
    assert fleet.parts(10.0, near) is near
    assert fleet.parts(10.0, far) == pytest.approx({"a": 0.5, "b": 0.5})
    assert fleet.parts(10.0, {**near, "c": 0.0}).keys() == {"a", "b"}


def test_replicas_are_forgotten_after_an_hour_and_beyond_their_limit() -> None:
    fleet = served(Fleet(), "ab", 1, 2)
    fleet, _ = fleet.after([report("c", 1)], 2.0 + MEMORY_SECONDS)
    assert fleet.replicas.keys() == {"c"}
    crowd = [report(f"replica {number}", 1) for number in range(MOST_REPLICAS + 5)]
    assert len(Fleet().after(crowd, 1.0)[0].replicas) == MOST_REPLICAS


def test_a_document_is_read_as_it_was_written() -> None:
    fleet = served(served(Fleet(), "ab", 1, 20), "a", 100, 101)
    assert fleet_from_document(fleet.document(), "fleet") == fleet
    assert fleet_from_document(Fleet().document(), "fleet") == Fleet()


def test_a_document_that_is_none_is_refused_by_its_path() -> None:
    document = {**Fleet().document(), "replicas": {"a": {"sequence": -1, "heard": 0, "asks": 0}}}
    with pytest.raises(PolicyError, match=r"fleet\.replicas\.a\.sequence"):
        fleet_from_document(document, "fleet")
