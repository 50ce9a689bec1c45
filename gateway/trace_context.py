"""W3C trace context: what a client says of the trace that its request is a part of.

Whoever traces nothing hands it on as it came, so that the client's trace and the model server's
stay one.  What is malformed is as if it were not there: headers of others go no further unread.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.facts import Leg, RequestSettled
from routing.vocabulary import Grant, Role

# More need not be carried, says the recommendation, and cutting it would change what it says.
MAX_STATE_CHARACTERS = 512

_PARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{1,200})?"
)
_FIRST_VERSION = b"00-"
_FIRST_VERSION_BYTES = 55  # later ones may say more
_STATE = re.compile(rb"[ -~\t]{1,%d}" % MAX_STATE_CHARACTERS)


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The headers ``traceparent`` and ``tracestate``; the latter empty where there is none."""

    parent: str
    state: str = ""

    @property
    def lines(self) -> bytes:
        """Both as lines of a request's head, each with its end."""
        lines = f"traceparent: {self.parent}\r\n"
        if self.state:
            lines += f"tracestate: {self.state}\r\n"
        return lines.encode("ascii")


def context_of(headers: Iterable[tuple[bytes, bytes]]) -> TraceContext | None:
    """The trace that a request says it belongs to; names of ``headers`` are in lower case."""
    parents: list[bytes] = []
    states: list[bytes] = []
    for name, value in headers:
        if name == b"traceparent":
            parents.append(value)
        elif name == b"tracestate":
            states.append(value)
    if len(parents) != 1 or not _is_parent(parents[0].strip()):
        return None
    state = b",".join(states)
    is_state = _STATE.fullmatch(state) is not None
    return TraceContext(parents[0].strip().decode(), state.decode().strip() if is_state else "")


def _is_parent(value: bytes) -> bool:
    if _PARENT.fullmatch(value) is None:
        return False
    return len(value) == _FIRST_VERSION_BYTES or not value.startswith(_FIRST_VERSION)


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """A model as spans tell it: where it is, and what it is called there.

    ``address`` and ``port`` are None of one that is on several servers.
    """

    address: str | None
    port: int | None
    model: str


class Untraced:
    """A request without spans, and each of its calls; ``headers`` is what goes on to the models."""

    def __init__(self, headers: bytes = b"", id: str | None = None) -> None:
        self.headers = headers
        self.id = id

    def admitted(self, cascade: str) -> None:
        """Nobody wants to know."""

    def reserved(self, role: Role, grant: Grant) -> None:
        """Nobody wants to know."""

    def call(self, role: Role) -> "Untraced":
        """The same for each call."""
        return self

    def answered(self, body: bytes, finish_reasons: Sequence[str | None]) -> None:
        """Nobody wants to know."""

    def over(self, leg: Leg) -> None:
        """Nobody wants to know."""

    def handed_on(self) -> "Untraced":
        """The same for what is still to come."""
        return self

    def end(self, fact: RequestSettled | None) -> None:
        """Nobody wants to know."""


UNTRACED = Untraced()


class PassingOn:
    """What stands where nothing is traced."""

    def begin(self, headers: Iterable[tuple[bytes, bytes]]) -> Untraced:
        """A request came: its context goes on to the models unchanged."""
        context = context_of(headers)
        return UNTRACED if context is None else Untraced(context.lines)

    async def close(self) -> None:
        """There is nothing to send."""
