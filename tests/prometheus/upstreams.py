"""Scripted model servers that keep books: what they were asked, and what they told of its cost."""

import itertools
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from tests.fakes.upstream import Reply, ScriptedModel
from tests.prometheus.replies import Sent, Tokens, read_sent

# The traffic numbers its requests; what has no number is the gateway's own question.
_NUMBER = re.compile(r"#(\d+) ")


@dataclass
class Call:
    """One call as the server saw it.

    ``number`` is that of the client's request, None where the gateway asked on its own behalf.
    ``told`` is the usage that it told, as far as it came; ``sent`` what else there was to count.
    """

    model: str
    number: int | None
    place: int
    body_bytes: int
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    status: int = 200
    told: Tokens | None = None
    sent: Sent = field(default_factory=Sent)


# What a model says to the n-th call for a request, n counted from 0.
Script = Callable[[Call, Mapping[str, Any]], Reply]


class BookedModel(ScriptedModel):
    """A server of any number of models, which asks ``script`` what to say.

    ``faults`` are calls that the script does not know.
    """

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.faults: list[AssertionError] = []
        self._script = script
        self._ids = itertools.count()

    @property
    def is_quiet(self) -> bool:
        """Whether no call is open."""
        return all(call.ended is not None for call in self.calls)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] == "GET":  # what models it has: nobody books that
            await ScriptedModel()(scope, receive, send)
            return
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        request = json.loads(body)
        call = self._entered(request, len(body))
        tap = _Tap(call, send)
        try:
            one = ScriptedModel(self._script(call, request))
            await one(scope, _Replay(bytes(body), receive), tap)
        except AssertionError as fault:
            self.faults.append(fault)
            raise
        finally:
            if not tap.is_useless:
                call.sent = read_sent(bytes(tap.body))
                call.told = call.sent.told
            call.ended = time.monotonic()

    def _entered(self, request: Mapping[str, Any], size: int) -> Call:
        found = _NUMBER.search(json.dumps(request["messages"]))
        number = None if found is None else int(found[1])
        model = request["model"]
        place = sum(call.model == model and call.number == number for call in self.calls)
        call = Call(model, number, place, size)
        self.calls.append(call)
        return call


class _Tap:
    """Passes on what is sent, and keeps a copy."""

    def __init__(self, call: Call, send: Send) -> None:
        self.body = bytearray()
        self._call = call
        self._send = send
        self._length: int | None = None

    @property
    def is_useless(self) -> bool:
        """Whether an answer that can only be read whole broke off."""
        is_short = self._length is not None and len(self.body) < self._length
        return is_short and not self.body.startswith(b"data: ")

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._call.status = message["status"]
            lengths = [value for name, value in message["headers"] if name == b"content-length"]
            self._length = int(lengths[0]) if lengths else None
        self.body += message.get("body", b"")
        await self._send(message)


class _Replay:
    """A body that was read already, and then whatever comes."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        body, self._body = self._body, None
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        return await self._receive()
