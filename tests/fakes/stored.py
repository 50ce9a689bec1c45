"""Stored completions as a gateway writes them, without a gateway."""

from collections.abc import Mapping

import msgspec

from gateway.safekeeping import Safekeeping
from gateway.stored import Stamp, stored_record
from gateway.wire.chat import parse_chat

NOW = 1_700_000_000.0
IN_CLEAR = Safekeeping()


def stored(
    completion_id: str,
    *,
    tenant: str | None = "ann",
    later: float = 0.0,
    text: str = "Paris.",
    metadata: Mapping[str, str] | None = None,
    safekeeping: Safekeeping = IN_CLEAR,
) -> bytes:
    """The record of one completion, so many seconds after NOW."""
    asked = {"model": "assistant", "messages": [{"role": "user", "content": "Capital?"}]}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    completion = {"id": completion_id, "object": "chat.completion", "choices": [choice]}
    return stored_record(
        parse_chat(msgspec.json.encode(asked)),
        dict(metadata or {}),
        msgspec.json.encode(completion),
        Stamp(tenant, f"request-of-{completion_id}", NOW + later),
        safekeeping,
    )
