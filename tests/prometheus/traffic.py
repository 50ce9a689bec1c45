"""The scripted traffic: sends acts to a gateway, and reads its metrics once all is quiet."""

import hashlib
import json
import re
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import yaml

from tests.fakes.chunks import chunk
from tests.fakes.script import ROLE, Raw, Until, finish
from tests.fakes.serving import wait_until
from tests.fakes.upstream import Reply, completion
from tests.prometheus.acts import Act
from tests.prometheus.books import Books, Key, Request
from tests.prometheus.cascades import BY_MODEL, SILENT
from tests.prometheus.replies import Tokens
from tests.prometheus.upstreams import BookedModel, Call

CHAT = "/v1/chat/completions"
PATIENCE_SECONDS = 20.0
# Who asks; the second may not have the teacher asked.
TENANTS: Mapping[str, bool] = {"search": True, "frugal": False}
_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Exposition = Mapping[Key, Decimal]


def keys_file(folder: Path) -> Path:
    """The clients' keys: each tenant's is its name, twice."""
    keys = [
        {
            "name": name,
            "sha256": hashlib.sha256(_key_of(name).encode()).hexdigest(),
            "may_escalate": may_escalate,
        }
        for name, may_escalate in TENANTS.items()
    ]
    path = folder / "keys.yaml"
    path.write_text(yaml.safe_dump({"keys": keys}))
    return path


def _key_of(tenant: str) -> str:
    return f"{tenant}-{tenant}"


def read_exposition(text: str) -> dict[Key, Decimal]:
    """Every sample of a metrics page."""
    found: dict[Key, Decimal] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            match = _SAMPLE.fullmatch(line)
            assert match is not None, line
            name, labels, value = match.groups()
            assert "\\" not in (labels or ""), line
            found[name, frozenset(_LABEL.findall(labels or ""))] = Decimal(value)
    return found


@dataclass(frozen=True)
class Snapshot:
    """A metrics page as it was read, at a moment of the books; ``taken`` by the steady clock."""

    moment: int
    page: Exposition
    taken: tuple[float, float]


def total(page: Exposition, name: str) -> Decimal:
    """The sum of a metric's samples."""
    return sum((value for (each, _), value in page.items() if each == name), Decimal(0))


@dataclass
class Stage:
    """What the models say: acts by the number of their request."""

    acts: dict[int, Act] = field(default_factory=dict)
    asked: dict[int, Event] = field(default_factory=dict)
    probes: int = 0

    def say(self, call: Call, request: Mapping[str, Any]) -> Reply:
        """What a model answers to a call."""
        if call.number is None:
            return self._to_the_gateway(call, request)
        act = self.acts[call.number]
        _, role = BY_MODEL[call.model]
        if role == "teacher":
            self.asked[call.number].set()
        turns = act.turns(role)
        assert call.place < len(turns), f"{act.name}: the {role} was asked once more than is due"
        turn = turns[call.place]
        if not turn.rest:
            return turn.reply
        pause = Until(self.asked[call.number])
        return Reply(steps=[*(turn.reply.steps or ()), pause, *turn.rest])

    def _to_the_gateway(self, call: Call, request: Mapping[str, Any]) -> Reply:
        """An answer to the gateway's own questions: can you go on, do you tell of your cache."""
        self.probes += 1
        if request.get("stream"):
            told = Tokens(input=40, output=6).told()
            return Reply(steps=[ROLE, Raw(chunk({"content": " 4, 5, 6"})), *finish(usage=told)])
        told = Tokens(input=1_000, output=1).told()
        if call.model in SILENT:
            del told["prompt_tokens_details"]
        return Reply(body=completion("a", usage=told))


@dataclass
class Player:
    """Sends acts to one gateway.  ``books`` has what they came to at each snapshot.

    ``seconds`` is how long requests took their client, by moment and cascade.
    """

    url: str
    metrics_url: str
    model: BookedModel
    stage: Stage
    books: Books = field(default_factory=Books)
    sent: int = 0
    seconds: dict[tuple[int, str], float] = field(default_factory=dict)
    _entered: int = 0
    _requests: dict[int, Request] = field(default_factory=dict)
    client: httpx.Client = field(
        default_factory=lambda: httpx.Client(timeout=PATIENCE_SECONDS, trust_env=False)
    )

    def play(self, acts: Iterable[Act]) -> None:
        """Send the acts, one after the other."""
        for act in acts:
            began = time.monotonic()
            self._play(act)
            which = self.books.moment, act.cascade
            self.seconds[which] = self.seconds.get(which, 0.0) + time.monotonic() - began

    def page(self) -> dict[Key, Decimal]:
        """The metrics as they are now."""
        return read_exposition(self.client.get(self.metrics_url).text)

    def snapshot(self) -> Snapshot:
        """The metrics once all that was sent is over, and its lines in the books."""
        wait_until(lambda: self.model.is_quiet)
        assert not self.model.faults, self.model.faults
        calls = self.model.calls[self._entered :]
        self._entered += len(calls)
        self.books.close_moment(self._requests, calls)
        self._requests = {}
        due = self.books.counters(self.books.moment)
        whole: dict[str, Any] = {}

        def is_quiet() -> bool:
            before = time.monotonic()
            whole["page"] = self.page()
            whole["taken"] = (before, time.monotonic())
            return self._is_settled(whole["page"], due)

        wait_until(is_quiet)
        return Snapshot(self.books.moment - 1, whole["page"], whole["taken"])

    def _is_settled(self, page: Exposition, due: Mapping[Key, Decimal]) -> bool:
        names = ("understudy_requests_total", "understudy_upstream_seconds_count")
        is_counted = all(
            total(page, name) >= sum(value for (each, _), value in due.items() if each == name)
            for name in names
        )
        return is_counted and total(page, "understudy_open_requests") == 0

    def _play(self, act: Act) -> None:
        self.sent += 1
        number = self.sent
        self.stage.acts[number] = act.held_out or act
        self.stage.asked[number] = Event()
        question = {
            "model": act.cascade,
            "messages": [{"role": "user", "content": f"#{number} {act.name}"}],
            **act.asks,
        }
        headers = {"authorization": f"Bearer {_key_of(act.tenant)}", **act.headers}
        request = self.client.build_request("POST", self.url + CHAT, json=question, headers=headers)
        self._requests[number] = Request(act, len(request.content))
        if act.leaves_after == 0:
            self._leave_at_once(request)
        elif act.is_stream:
            self._listen(request, act)
        else:
            response = self.client.send(request)
            assert response.headers["content-type"].startswith("application/json"), response.text

    def _listen(self, request: httpx.Request, act: Act) -> None:
        """Read a stream to its end, or leave it when as many words have come as the act says."""
        response = self.client.send(request, stream=True)
        heard = 0
        try:
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    choices = json.loads(line[6:]).get("choices") or ()
                    heard += sum(bool(choice["delta"].get("content")) for choice in choices)
                if heard == act.leaves_after:
                    return
        finally:
            response.close()

    def _leave_at_once(self, request: httpx.Request) -> None:
        """Send a request and hang up when a model has it."""
        known = len(self.model.calls)
        head = [f"POST {CHAT} HTTP/1.1", *(f"{k}: {v}" for k, v in request.headers.items())]
        address = (request.url.host, request.url.port or 80)
        with socket.create_connection(address, PATIENCE_SECONDS) as connection:
            connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + request.content)
            wait_until(lambda: len(self.model.calls) > known)
