"""The page of metrics holds nobody up."""

import asyncio
from collections.abc import Iterator

from starlette.requests import Request

from gateway.api.ops import TURN_SECONDS, MetricsPage

SCRAPE = Request({"type": "http", "method": "GET", "path": "/metrics", "headers": []})


async def test_others_have_their_turn_while_a_long_page_is_written() -> None:
    now, happened = 0.0, []

    def parts() -> Iterator[bytes]:
        nonlocal now
        for name in (b"a 1\n", b"b 2\n"):
            happened.append(name)
            now += TURN_SECONDS
            yield name

    async def other() -> None:
        happened.append(b"a turn")

    page = asyncio.create_task(MetricsPage(parts, lambda: now)(SCRAPE))
    await asyncio.gather(page, other())
    assert happened == [b"a 1\n", b"a turn", b"b 2\n"]
    assert (await page).body == b"a 1\nb 2\n"


async def test_a_short_page_is_written_at_once() -> None:
    happened = []

    def parts() -> Iterator[bytes]:
        for name in (b"a 1\n", b"b 2\n"):
            happened.append(name)
            yield name

    async def other() -> None:
        happened.append(b"a turn")

    await asyncio.gather(MetricsPage(parts, lambda: 0.0)(SCRAPE), other())
    assert happened == [b"a 1\n", b"b 2\n", b"a turn"]
