"""One exchange with one server, in one pipeline on one connection.

It asks who the server is, adds records to streams, postings to books and completions to those that
are stored, reads what is to be deleted, and last waits for all of that to be on the server's disk:
WAITAOF speaks of nothing but the connection's own writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from gateway.ports import StreamKind
from gateway.stores.completion_scripts import adding_of
from gateway.stores.deletions import Entry
from gateway.stores.posting import command_of
from gateway.stores.progress import Identity
from gateway.stores.reading import Placed
from gateway.stores.redis_keys import deletions_key, stream_key

DURABLE_MILLISECONDS = 1500
DELETIONS_PAGE = 1000
FIELD = "pair"


@dataclass(frozen=True, slots=True)
class Question:
    """``deletions``: from where to read them, by cascade."""

    records: Sequence[Placed]
    deletions: dict[str, str]
    is_durable_wanted: bool


@dataclass(frozen=True, slots=True)
class Reply:
    """``entries`` has the id of each record, of what makes no stream a word, or the error;
    ``deletions`` entries or an error.

    ``is_durable`` is None where it was not asked.  ``connection`` is the server's number for it;
    None where it does not let this user ask.  ``is_evicting``: when it is full it throws keys away:
    streams, or those with a time to live, such as books.
    """

    identity: Identity
    connection: int | None
    has_replicas: bool
    is_evicting: bool
    entries: Sequence[bytes | Exception]
    deletions: dict[str, Sequence[Entry] | Exception]
    is_durable: bool | None


async def ask(client: Redis, question: Question) -> Reply:
    """Raises RedisError and OSError where the connection fails: then nothing is known."""
    commands = [_command_of(placed) for placed in question.records]
    async with client.pipeline(transaction=False) as pipeline:
        pipeline.info("server")
        pipeline.info("replication")
        pipeline.info("memory")
        pipeline.client_id()
        for command in commands:
            if not isinstance(command, Exception):
                pipeline.execute_command(*command)
        for cascade, start in question.deletions.items():
            pipeline.xrange(deletions_key(cascade), min=start, count=DELETIONS_PAGE)
        if question.is_durable_wanted:
            pipeline.execute_command("WAITAOF", 1, 0, DURABLE_MILLISECONDS)
        server, replication, memory, number, *replies = await pipeline.execute(raise_on_error=False)
    is_durable = None
    if question.is_durable_wanted:
        is_durable = _is_confirmed(replies.pop())
    rest = iter(replies)
    entries = [each if isinstance(each, Exception) else next(rest) for each in commands]
    return Reply(
        identity=Identity(_told(server, "run_id"), _told(replication, "master_replid")),
        connection=number if isinstance(number, int) else None,
        has_replicas=_told(replication, "connected_slaves") not in ("", "0"),
        is_evicting=_told(memory, "maxmemory_policy") not in ("", "noeviction"),
        entries=entries,
        deletions=dict(zip(question.deletions, rest, strict=True)),
        is_durable=is_durable,
    )


def _command_of(placed: Placed) -> tuple[str | bytes | int, ...] | Exception:
    if placed.frame.kind is StreamKind.LEDGER:
        return command_of(placed.frame.cascade, placed.frame.record)
    if placed.frame.kind is StreamKind.STORED:
        return adding_of(placed.frame.cascade, placed.frame.record)
    return "XADD", stream_key(*placed.stream), "*", FIELD, placed.frame.record


def _told(section: Any, name: str) -> str:
    """A value of INFO; empty where the server does not let this user ask."""
    return str(section.get(name, "")) if isinstance(section, dict) else ""


def _is_confirmed(reply: Any) -> bool:
    """Whether WAITAOF said so: not where the server lacks it, has AOF off, or took too long."""
    return isinstance(reply, list) and len(reply) == 2 and int(reply[0]) >= 1
