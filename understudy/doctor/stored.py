"""What the doctor makes of what it saw of Redis.  It asks nobody."""

import re
from collections.abc import Sequence

from understudy.doctor.clocks import clock_finding
from understudy.doctor.findings import Fault, Finding, State, Subject
from understudy.doctor.rights import STORED, Right
from understudy.doctor.store import ServerSeen, StoreSeen

# XTRIM by age and XADD without making a stream came with 6.2, WAITAOF with 7.2.
OLDEST, WAITS_FOR_DISK = (6, 2), (7, 2)
_NOT_TOLD = "not told: this user may not ask (INFO)"


def store_findings(seen: StoreSeen | Fault, *, is_storing: bool = False) -> list[Finding]:
    """Everything that is to be said of the Redis, or of each of its servers.

    ``is_storing``: a cascade stores completions for clients.
    """
    if isinstance(seen, Fault):
        return [seen.finding(Subject.REDIS, "start it, or mend UNDERSTUDY_REDIS_URL")]
    found = []
    for server in seen.servers:
        found += [
            Finding(Subject.REDIS, State.OK, f"{server.place} answers"),
            _version(server, seen.unknown),
            _role(server),
            _persistence(server),
            _memory(server),
            _clock(server),
        ]
    return [*found, _rights(seen.missing, is_storing=is_storing)]


def no_store() -> Finding:
    """All that can be said where none is named."""
    saw = "none: no UNDERSTUDY_REDIS_URL, so pairs stay in the journal, and no generation comes"
    return Finding(Subject.REDIS, State.SKIPPED, saw)


def bad_url(words: str) -> Finding:
    """What is to be said of an URL that is none."""
    return Finding(Subject.REDIS, State.PROBLEM, "no gateway starts with its URL", words)


def _told(server: ServerSeen, name: str) -> str:
    return str(server.info.get(name, ""))


def _version(server: ServerSeen, unknown: Sequence[Right]) -> Finding:
    subject = Subject.VERSION
    own = _told(server, "valkey_version")
    version = own or _told(server, "redis_version")
    if not version:
        return Finding(subject, State.SKIPPED, _NOT_TOLD)
    saw = f"{'Valkey' if own else 'Redis'} {version}"
    lacking = {right.name for right in unknown}
    # Valkey goes on from Redis 7.2, and says in redis_version which one it behaves like.
    if (not own and _number(version) < OLDEST) or lacking - {"waitaof"}:
        advice = "it lacks commands that the gateway needs: use Valkey, or Redis from 7.2 on"
        return Finding(subject, State.PROBLEM, saw, advice)
    if (not own and _number(version) < WAITS_FOR_DISK) or lacking:
        advice = (
            "it cannot say what is on its disk (WAITAOF): pairs are kept in the journal for "
            "UNDERSTUDY_JOURNAL_KEEP_SECONDS. Use Valkey, or Redis from 7.2 on"
        )
        return Finding(subject, State.HINT, saw, advice)
    return Finding(subject, State.OK, saw)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _role(server: ServerSeen) -> Finding:
    subject, role = Subject.ROLE, _told(server, "role")
    if not role:
        return Finding(subject, State.SKIPPED, _NOT_TOLD)
    where = "a node of a cluster" if _told(server, "cluster_enabled") == "1" else "one server"
    count = _told(server, "connected_slaves") or "0"
    if role != "master":  # the protocol's own word
        advice = "name the server that it copies, or sentinels, in UNDERSTUDY_REDIS_URL"
        return Finding(subject, State.PROBLEM, f"{where}, a replica: nothing is written", advice)
    return Finding(subject, State.OK, f"{where}; replicas: {count}")


def _persistence(server: ServerSeen) -> Finding:
    subject = Subject.PERSISTENCE
    if "aof_enabled" not in server.info:
        return Finding(subject, State.SKIPPED, _NOT_TOLD)
    if _told(server, "aof_enabled") != "1":
        has_replicas = _told(server, "connected_slaves") not in ("", "0")
        advice = (
            "pairs, books and generations are gone when it starts anew: set appendonly yes, and "
            "give it a volume"
        )
        state = State.HINT if has_replicas else State.PROBLEM
        return Finding(subject, state, "appendonly no", advice)
    for name in ("aof_last_write_status", "aof_last_bgrewrite_status"):
        if _told(server, name) not in ("", "ok"):
            advice = "it cannot write its file: see its log, and whether its disk is full"
            return Finding(subject, State.PROBLEM, f"{name}: {_told(server, name)}", advice)
    if server.fsync == "no":
        advice = "a machine without power loses up to half a minute: set appendfsync everysec"
        return Finding(subject, State.HINT, "appendonly yes, appendfsync no", advice)
    fsync = "appendfsync not told" if server.fsync is None else f"appendfsync {server.fsync}"
    return Finding(subject, State.OK, f"appendonly yes, {fsync}")


def _memory(server: ServerSeen) -> Finding:
    subject, policy = Subject.MEMORY, _told(server, "maxmemory_policy")
    if not policy:
        return Finding(subject, State.SKIPPED, _NOT_TOLD)
    if policy != "noeviction":
        what = "whole streams" if policy.startswith("allkeys-") else "the ledger's books"
        advice = f"it throws {what} away when it is full: set maxmemory-policy noeviction"
        return Finding(subject, State.PROBLEM, f"maxmemory-policy {policy}", advice)
    return Finding(subject, State.OK, policy)


def _clock(server: ServerSeen) -> Finding:
    if server.drift is None:
        return Finding(Subject.CLOCK, State.SKIPPED, "not told: this user may not ask (TIME)")
    advice = (
        "`distill promote` takes a gateway whose clock is off for gone, and retention goes by both "
        "clocks: set both by NTP"
    )
    return clock_finding(server.drift, advice, State.PROBLEM)


def _rights(missing: Sequence[Right], *, is_storing: bool) -> Finding:
    subject = Subject.RIGHTS
    if not missing:
        return Finding(subject, State.OK, "all that the gateway sends")
    is_grave = any(right.is_needed or (is_storing and right.needs == STORED) for right in missing)
    state = State.PROBLEM if is_grave else State.HINT
    names = " ".join(f"+{right.name}" for right in missing)
    needs = "; ".join(dict.fromkeys(right.needs for right in missing))
    advice = f"{needs}. ACL SETUSER its user ~understudy:* {names}"
    return Finding(subject, state, f"may not {', '.join(right.name for right in missing)}", advice)
