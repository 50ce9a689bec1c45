"""Deletions take what clients had stored along."""

import time
from typing import Any

from gateway.stores.completion_scripts import adding_of
from gateway.stores.redis_keys import completion_keys
from tests.fakes.stored import NOW, stored
from tests.understudy.commands import Command
from understudy.pairs.store import Log


def test_what_clients_had_stored_is_deleted_with_a_tenant_or_a_request(
    command: Command, log: Log
) -> None:
    later = time.time() + 3600 - NOW
    heads, _, _, _, times, *_ = completion_keys(log.cascade)
    records = [
        *(stored(f"{name}-{n}", tenant=name) for name in ("team", "other") for n in range(3)),
        stored("afterwards", tenant="team", later=later),
    ]
    client: Any = log.client
    for each in records:
        adding: Any = adding_of(log.cascade, each)
        client.execute_command(*adding)
    client.hset(heads, "team/odd", "no record")

    def left() -> list[str]:
        return [each.decode() for each in client.zrange(times, 0, -1)]

    chosen = ("--cascade", log.cascade, "--yes")
    said = command.said("delete", "--tenant", "team", *chosen)
    assert "stored completions: 3 removed" in said
    assert left() == ["other/other-0", "other/other-1", "other/other-2", "team/afterwards"]
    said = command.said("delete", "--request-id", "request-of-other-1", *chosen)
    assert "stored completions: 1 removed" in said
    assert left() == ["other/other-0", "other/other-2", "team/afterwards"]
