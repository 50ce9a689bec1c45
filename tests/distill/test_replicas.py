from dataclasses import replace

from distill.generations import begun
from distill.replicas import (
    Baseline,
    alive,
    behind,
    clocks_off,
    forgotten,
    orphaned,
    refusal,
    under_way,
)
from routing.rollout import Generations
from routing.tally import ArmTally, Heartbeat, ShadowTally, Tallies
from tests.distill.made_generations import WHY, generation, rollout

NOW = 1_800_000_000.0


def heard(
    at: float = NOW, drafts: int = 0, rollout: str | None = "r1", **changes: int
) -> Heartbeat:
    tallies = Tallies(ArmTally(drafts=drafts), ArmTally(), ShadowTally())
    return Heartbeat(at, changes.get("revision", 1), {}, None, rollout, tallies)


def tried() -> Generations:
    return begun(None, rollout(generation(1)), WHY)


def test_a_replica_lives_for_ten_seconds_after_its_last_word() -> None:
    heartbeats = {"a": heard(NOW - 9.9), "b": heard(NOW - 10.0), "c": heard(NOW + 3.0)}
    assert sorted(alive(heartbeats, NOW)) == ["a", "c"]


def test_a_clock_that_is_off_is_told_apart_from_a_replica_that_is_gone() -> None:
    earlier = {"behind": heard(NOW - 31.0), "gone": heard(NOW - 31.0), "ours": heard(NOW - 1.0)}
    heartbeats = {
        "ahead": heard(NOW + 5.1),
        "behind": heard(NOW - 30.0),
        "gone": heard(NOW - 31.0),
        "ours": heard(NOW),
        "a little ahead": heard(NOW + 5.0),
        "seen once": heard(NOW - 30.0),
    }
    assert clocks_off(earlier, heartbeats, NOW) == ["ahead is 5 s ahead", "behind is 30 s behind"]


def test_a_replica_is_forgotten_after_a_day() -> None:
    heartbeats = {"a": heard(NOW - 86_400.0), "b": heard(NOW - 86_399.0)}
    assert forgotten(heartbeats, NOW) == ["a"]


def test_who_has_not_taken_a_revision_up_is_behind() -> None:
    heartbeats = {"b": heard(revision=2), "a": heard(revision=2), "c": heard(revision=3)}
    assert behind(heartbeats, 3) == ["a", "b"]
    assert behind(heartbeats, 2) == []


def test_who_refuses_the_newest_state_is_behind_although_its_revision_is_higher() -> None:
    """After a restore: what it has in force is of the state that was there before."""
    heartbeats = {"a": replace(heard(revision=5), refused="no"), "b": heard(revision=4)}
    assert behind(heartbeats, 4) == ["a"]


def test_a_state_is_lost_where_replicas_have_one_in_force_that_is_gone() -> None:
    live = {"a": heard(revision=0), "b": heard(revision=7)}
    assert orphaned(None, live) == 7
    assert orphaned(tried(), live) is None
    assert orphaned(None, {"a": heard(revision=0)}) is None
    assert orphaned(None, {}) is None


def test_a_refusal_names_who_and_why() -> None:
    fine = heard()
    assert refusal({"a": fine}) is None
    refusing = {name: replace(fine, refused=f"no {name}") for name in ("b", "a")}
    assert refusal({**refusing, "c": fine}) == "a: no a; b: no b"


def test_requests_under_way_add_up() -> None:
    heartbeats = {
        "a": replace(heard(), open={"small-g1": 2, "small-g2": 5}),
        "b": replace(heard(), open={"small-g1": 1}),
    }
    assert under_way(heartbeats, "small-g1") == 3
    assert under_way(heartbeats, "small-g3") == 0


def counted(before: dict[str, Heartbeat], after: dict[str, Heartbeat]) -> int:
    return Baseline("r1", before).since(after).incumbent.drafts


def test_a_trial_has_what_was_counted_since_it_began() -> None:
    before = {"a": heard(drafts=100), "b": heard(drafts=7)}
    after = {"a": heard(drafts=130), "b": heard(drafts=9)}
    assert counted(before, after) == 32


def test_a_replica_that_came_later_counts_in_full_and_one_that_died_with_what_it_had() -> None:
    before = {"a": heard(drafts=100)}
    after = {"a": heard(NOW - 500, drafts=110), "b": heard(drafts=5)}
    assert counted(before, after) == 15


def test_a_replica_that_began_anew_under_its_name_counts_in_full() -> None:
    assert counted({"a": heard(drafts=100)}, {"a": heard(drafts=4)}) == 4


def test_counts_of_another_rollout_are_none_of_it() -> None:
    before = {"a": heard(drafts=100, rollout="r0")}
    assert counted(before, {"a": heard(drafts=30)}) == 30
    assert counted(before, {"a": heard(drafts=130, rollout="r0")}) == 0
    assert counted({"a": heard(drafts=10)}, {"a": heard(drafts=50, rollout="r2")}) == 0


def test_a_replica_that_is_forgotten_takes_nothing_from_the_others() -> None:
    assert counted({"a": heard(drafts=10), "b": heard(drafts=50)}, {"a": heard(drafts=12)}) == 2


def test_looking_changes_nothing() -> None:
    before, after = {"a": heard(drafts=100)}, {"a": heard(drafts=130)}
    baseline = Baseline("r1", before)
    assert baseline.since(after) == baseline.since(after)
