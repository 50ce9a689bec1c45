"""Liveness, readiness and metrics.

Neither of the first two depends on Redis or a model server: a restart would mend nothing, and an
empty Service would turn a clear 503 into a refused connection.  Only a start waits, for two seconds
at most, to learn which students are in force.
"""

import asyncio
from collections.abc import Callable, Iterable

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.api.context import Context
from gateway.ports import Clock

# So long the page of metrics may be written at a time.
TURN_SECONDS = 0.001


async def health(_: Request) -> Response:
    """The process runs."""
    return JSONResponse({"status": "ok"})


class Readiness:
    """Whether requests should be sent here."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def __call__(self, _: Request) -> Response:
        """200 while configuration and policies are loaded and the gateway is not draining."""
        if self._context.is_draining:
            return JSONResponse({"status": "draining"}, status_code=503)
        if self._context.is_starting:
            return JSONResponse({"status": "starting"}, status_code=503)
        return JSONResponse({"status": "ready"})


class MetricsPage:
    """Everything that Prometheus wants to know."""

    def __init__(self, parts: Callable[[], Iterable[bytes]], clock: Clock) -> None:
        """``parts`` are those of the page, each made when it is asked for; ``clock`` is steady."""
        self._parts = parts
        self._clock = clock

    async def __call__(self, _: Request) -> Response:
        """The text format.  Whoever waits for something else has a turn now and then meanwhile."""
        page, began = [], self._clock()
        for part in self._parts():
            page.append(part)
            if self._clock() - began >= TURN_SECONDS:
                await asyncio.sleep(0)
                began = self._clock()
        return Response(b"".join(page), media_type=CONTENT_TYPE_PLAIN_0_0_4)
