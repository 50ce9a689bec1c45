"""Asks a model server how much its model's context holds: what it lists of its models says so."""

from dataclasses import replace

import msgspec

from gateway.upstream.faults import NETWORK_ERRORS, fault_of, fault_of_status
from gateway.upstream.http1 import HttpClient
from gateway.upstream.openai import Endpoint
from gateway.wire.chat import MOST_TOKENS
from gateway.wire.prospect import TRUNCATING
from routing.room import Room

SECONDS = 5.0
MAX_LISTING_BYTES = 4 * 2**20


class _Meta(msgspec.Struct):
    n_ctx: int | None = None


class _Entry(msgspec.Struct):
    id: str
    parent: str | None = None
    aliases: list[str] | None = None
    max_model_len: int | None = None
    meta: _Meta | None = None


class _Listing(msgspec.Struct):
    data: list[_Entry]


_listing = msgspec.json.Decoder(_Listing)


async def ask_for_room(endpoint: Endpoint) -> Room | None:
    """What the model's context holds; None where its server does not say.

    Raises UpstreamError and UpstreamRefused as a call to the model does.
    """
    http = HttpClient(endpoint.base_url.rstrip("/") + "/models", endpoint.authorization, "GET")
    try:
        status, reply = await http.post(b"", seconds=SECONDS, most=MAX_LISTING_BYTES)
    except NETWORK_ERRORS as failure:
        raise fault_of(failure) from failure
    finally:
        http.close()
    if status != 200:
        raise fault_of_status(status, reply)
    extra = endpoint.dialect.extra
    if TRUNCATING in extra:
        return None
    room = room_in(reply, endpoint.dialect.model)
    if room is not None and any(name in extra for name in MOST_TOKENS):
        return replace(room, is_answer_counted=False)  # whatever a client asks for, it gets that
    return room


def room_in(listing: bytes, model: str) -> Room | None:
    """The room that a server's list of models says of one of them; None where it says none.

    vLLM's ``max_model_len`` is for prompt and answer, and it refuses what may get longer.
    llama.cpp's ``n_ctx`` bounds the prompt: an answer ends where its context does.  How long a
    model was trained for, ``n_ctx_train``, bounds nothing.
    """
    try:
        entries = {entry.id: entry for entry in _listing.decode(listing).data}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    aliased = {alias: entry for entry in entries.values() for alias in entry.aliases or ()}
    entry = entries.get(model) or aliased.get(model)
    if entry is None:
        return None
    parent = entries.get(entry.parent or "")  # an adapter's context is that of the model beneath
    for one in (entry, parent):
        if one is not None and one.max_model_len is not None and one.max_model_len > 0:
            return Room(one.max_model_len, is_answer_counted=True)
        if one is not None and one.meta is not None and (one.meta.n_ctx or 0) > 0:
            return Room(one.meta.n_ctx or 0, is_answer_counted=False)
    return None
