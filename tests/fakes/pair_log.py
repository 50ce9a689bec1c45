"""A real server with a cascade's log, to put made records into."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import redis

from tests.fakes.pairs import encoded
from tests.fakes.valkey import StoreServer, store_server
from understudy.pairs.store import Log


def fill(log: Log, records: Iterable[dict[str, Any] | bytes], stream: Any = "pairs") -> None:
    """Put records into a log."""
    pipeline = log.client.pipeline(transaction=False)
    for each in records:
        data = each if isinstance(each, bytes) else encoded(each)
        pipeline.xadd(log.key(stream), {"pair": data})
    pipeline.execute()


@contextlib.contextmanager
def running_log(folder: Path) -> Iterator[tuple[StoreServer, Log]]:
    """A real server, and the log of a cascade in it."""
    with store_server(folder) as server, redis.Redis.from_url(server.url) as client:
        yield server, Log(client, "assistant")
