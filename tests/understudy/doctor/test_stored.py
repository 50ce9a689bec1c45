"""What is made of what Redis says of itself, whichever server and version that is."""

from collections.abc import Mapping

import pytest

from tests.understudy.doctor.replies import VALKEY
from understudy.doctor.clocks import Drift
from understudy.doctor.findings import Cause, Fault, Finding, State, Subject
from understudy.doctor.rights import RIGHTS, Right
from understudy.doctor.store import ServerSeen, StoreSeen
from understudy.doctor.stored import bad_url, no_store, store_findings

NOW = Drift(-0.1, 0.1)


def server(
    info: Mapping[str, object] | None = None,
    fsync: str | None = "everysec",
    drift: Drift | None = NOW,
) -> ServerSeen:
    return ServerSeen("valkey:6379", {**VALKEY, **(info or {})}, fsync, drift)


def found(seen: StoreSeen | Fault, subject: Subject) -> Finding:
    (finding,) = [each for each in store_findings(seen) if each.subject is subject]
    assert bool(finding.advice) is (finding.state not in (State.OK, State.SKIPPED))
    return finding


def rights(*names: str) -> list[Right]:
    return [right for right in RIGHTS if right.name in names]


def test_of_a_good_server_nothing_is_advised() -> None:
    findings = store_findings(StoreSeen([server()]))
    assert {finding.state for finding in findings} == {State.OK}


@pytest.mark.parametrize(
    ("info", "unknown", "state", "saw"),
    [
        ({}, (), State.OK, "Valkey 9.1.2"),
        ({"valkey_version": "", "redis_version": "7.2.4"}, (), State.OK, "Redis 7.2.4"),
        ({"valkey_version": "", "redis_version": "8.0.0"}, (), State.OK, "Redis 8.0.0"),
        (
            {"valkey_version": "", "redis_version": "7.0.15"},
            ("waitaof",),
            State.HINT,
            "Redis 7.0.15",
        ),
        ({"valkey_version": "", "redis_version": "6.0.16"}, (), State.PROBLEM, "Redis 6.0.16"),
        ({}, ("waitaof",), State.HINT, "Valkey 9.1.2"),  # hidden from this user's world
        ({}, ("eval",), State.PROBLEM, "Valkey 9.1.2"),
    ],
)
def test_a_version_is_held_against_the_commands_that_it_knows(
    info: dict[str, str], unknown: tuple[str, ...], state: State, saw: str
) -> None:
    finding = found(StoreSeen([server(info)], unknown=rights(*unknown)), Subject.VERSION)
    assert (finding.state, finding.saw) == (state, saw)


@pytest.mark.parametrize(
    ("info", "fsync", "state"),
    [
        ({}, "everysec", State.OK),
        ({}, None, State.OK),
        ({}, "no", State.HINT),
        ({"aof_enabled": 0}, "everysec", State.PROBLEM),
        ({"aof_enabled": 0, "connected_slaves": 1}, "everysec", State.HINT),
        ({"aof_last_write_status": "err"}, "everysec", State.PROBLEM),
    ],
)
def test_what_is_not_on_a_disk_is_gone(
    info: dict[str, object], fsync: str | None, state: State
) -> None:
    seen = StoreSeen([server(info, fsync)])
    assert found(seen, Subject.PERSISTENCE).state is state


def test_a_server_that_throws_keys_away_is_a_problem() -> None:
    for policy, words in (("allkeys-lru", "whole streams"), ("volatile-ttl", "books")):
        finding = found(StoreSeen([server({"maxmemory_policy": policy})]), Subject.MEMORY)
        assert finding.state is State.PROBLEM
        assert words in finding.advice


def test_a_replica_takes_nothing() -> None:
    assert found(StoreSeen([server({"role": "slave"})]), Subject.ROLE).state is State.PROBLEM
    seen = StoreSeen([server({"cluster_enabled": 1, "connected_slaves": 2})])
    assert found(seen, Subject.ROLE).saw == "a node of a cluster; replicas: 2"


def test_a_clock_that_is_off_is_a_problem() -> None:
    assert found(StoreSeen([server(drift=Drift(5.5, 5.6))]), Subject.CLOCK).state is State.PROBLEM


def test_rights_are_told_as_redis_wants_them() -> None:
    finding = found(StoreSeen(missing=rights("xadd", "xinfo|groups")), Subject.RIGHTS)
    assert finding.state is State.PROBLEM
    assert "ACL SETUSER its user ~understudy:* +xadd +xinfo|groups" in finding.advice
    assert "pairs stay in the journal; nobody sees what no export has" in finding.advice
    seen = StoreSeen(missing=rights("waitaof"))
    assert found(seen, Subject.RIGHTS).state is State.HINT


def test_rights_for_stored_completions_are_needed_where_there_are_some() -> None:
    seen = StoreSeen(missing=rights("zadd", "hmget"))
    assert found(seen, Subject.RIGHTS).state is State.HINT
    told = {each.subject: each for each in store_findings(seen, is_storing=True)}
    assert told[Subject.RIGHTS].state is State.PROBLEM
    assert "wait in the journal, and fill it" in told[Subject.RIGHTS].advice


def test_what_a_user_may_not_ask_is_no_fault_of_the_server() -> None:
    seen = StoreSeen([ServerSeen("valkey:6379", {}, None, None)])
    states = {finding.subject: finding.state for finding in store_findings(seen)}
    for subject in (
        Subject.VERSION,
        Subject.ROLE,
        Subject.PERSISTENCE,
        Subject.MEMORY,
        Subject.CLOCK,
    ):
        assert states[subject] is State.SKIPPED


def test_a_server_that_is_away_is_told_from_one_that_refuses() -> None:
    away = Fault("valkey:6379: ConnectionError", cause=Cause.AWAY)
    assert found(away, Subject.REDIS).state is State.AWAY
    assert found(Fault("valkey:6379: AuthenticationError"), Subject.REDIS).state is State.PROBLEM


def test_no_redis_is_no_fault_and_no_url_is_one() -> None:
    assert no_store().state is State.SKIPPED
    assert bad_url("is no Redis URL").state is State.PROBLEM
