"""Two gateway processes that share a Redis grant together what one would."""

import asyncio
import contextlib
import hashlib
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.fakes.serving import serving
from tests.fakes.upstream import ScriptedModel
from tests.fakes.valkey import StoreServer, store_server
from tests.wire_server.process import GatewayProcess, gateway_process

CLIENTS = 50
WINDOW_SECONDS = 60
# So long clients go on asking once somebody was refused: what one replica has in hand is for all.
AFTERWARDS_SECONDS = 1.0
PAUSE_SECONDS = 0.2
MOST_SECONDS = 110.0
QUESTION = {"model": "assistant", "messages": [{"role": "user", "content": "Capital of France?"}]}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoreServer]:
    (tmp_path / "store").mkdir()
    with store_server(tmp_path / "store") as server:
        yield server


@contextlib.contextmanager
def two_gateways(
    folder: Path, store: StoreServer, limits: Mapping[str, int]
) -> Iterator[list[GatewayProcess]]:
    """Two processes with one key, ``ann``, which has these limits."""
    keys = folder / "keys.yaml"
    digest = hashlib.sha256(b"ann").hexdigest()
    entry = {"name": "a", "sha256": digest, "limits": dict(limits)}
    keys.write_text(yaml.safe_dump({"keys": [entry]}))
    variables = {"UNDERSTUDY_KEYS_FILE": str(keys), "UNDERSTUDY_REDIS_URL": store.url}
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(serving(ScriptedModel()))
        started = []
        for name in ("one", "other"):
            (folder / name).mkdir()
            one = gateway_process(folder / name, url, url, **variables)
            started.append(stack.enter_context(one))
        yield started


@dataclass
class Tally:
    """What clients were told, by minute.

    A request that was sent in one minute and answered in the next was let in during one of both:
    ``unsure`` has it under the later one, ``granted`` has all others; ``refused_at`` is when
    somebody was first refused.  With ``tokens`` an answer counts as many as it has.
    """

    is_of_tokens: bool = False
    granted: Counter[int] = field(default_factory=Counter)
    unsure: Counter[int] = field(default_factory=Counter)
    refused_at: dict[int, float] = field(default_factory=dict)

    def note(self, sent: float, head: bytes, body: bytes) -> bool:
        """Note one answer to what was sent then; False where it was a refusal."""
        status, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        reset = headers[f"x-ratelimit-reset-{'tokens' if self.is_of_tokens else 'requests'}"]
        minute = round((time.time() + float(reset.rstrip("s"))) / WINDOW_SECONDS) - 1
        if " 429 " in status:
            assert json.loads(body)["error"]["code"] == "rate_limit_exceeded"
            self.refused_at.setdefault(minute, time.monotonic())
            return False
        assert " 200 " in status, head
        count = json.loads(body)["usage"]["total_tokens"] if self.is_of_tokens else 1
        is_sure = int(sent // WINDOW_SECONDS) == minute
        (self.granted if is_sure else self.unsure)[minute] += count
        return True

    @property
    def exhausted(self) -> int | None:
        """A minute whose limit was reached a while ago."""
        ago = time.monotonic() - AFTERWARDS_SECONDS
        return next((minute for minute, at in self.refused_at.items() if at < ago), None)

    def check(self, limit: int, share: float = 0.0) -> None:
        """What was granted in an exhausted minute is the limit to 1%, or so much beyond it."""
        minute = self.exhausted
        assert minute is not None
        granted = self.granted[minute]
        assert granted <= limit * (1 + share), self
        assert granted + self.unsure[minute] >= 0.99 * limit, self


async def _ask_on(places: Sequence[str], tally: Tally) -> None:
    """One client: asks one gateway after the other until a minute is exhausted."""
    body = json.dumps(QUESTION).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer ann\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    lines = [await asyncio.open_connection("127.0.0.1", int(each)) for each in places]
    try:
        for reader, writer in itertools.cycle(lines):
            if tally.exhausted is not None:
                break
            sent = time.time()
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            if not tally.note(sent, answer, await reader.readexactly(length)):
                await asyncio.sleep(PAUSE_SECONDS)
    finally:
        for _, writer in lines:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def load(started: Sequence[GatewayProcess], tally: Tally) -> None:
    """Fifty clients at once; each third knows of one gateway alone."""
    places = [one.url.rpartition(":")[2] for one in started]
    async with asyncio.timeout(MOST_SECONDS):
        await asyncio.gather(
            *(_ask_on(places if number % 3 else places[:1], tally) for number in range(CLIENTS))
        )


@pytest.mark.parametrize(
    "limit", [1000, pytest.param(10_000, marks=pytest.mark.full)], ids=["short", "long"]
)
async def test_two_gateways_grant_fifty_clients_what_one_would(
    tmp_path: Path, store: StoreServer, limit: int
) -> None:
    tally = Tally()
    with two_gateways(tmp_path, store, {"requests_per_minute": limit}) as started:
        await load(started, tally)
        refused = [one.metric("understudy_limited_requests_total") for one in started]
    tally.check(limit)
    assert max(tally.granted.values()) <= limit
    assert all(refused), "one of them refused nobody"


@pytest.mark.full
async def test_tokens_are_shared_too_and_kept_to_but_for_what_guesses_lacked(
    tmp_path: Path, store: StoreServer
) -> None:
    """Each answer has 110 tokens, which each gateway learns from its first ones."""
    limit, tally = 110_000, Tally(is_of_tokens=True)
    with two_gateways(tmp_path, store, {"tokens_per_minute": limit}) as started:
        await load(started, tally)
    tally.check(limit, share=0.01)
