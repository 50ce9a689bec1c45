import asyncio

import pytest

from gateway.errors import (
    UpstreamBusy,
    UpstreamError,
    UpstreamRefused,
    UpstreamUnavailable,
    UpstreamUnreachable,
)
from gateway.upstream.passing import PassingModel, Place, url_of
from gateway.wire.passing import PassedRoute
from tests.fakes.serving import closed_port_url, serving
from tests.fakes.upstream import Reply, ScriptedModel


@pytest.mark.parametrize(
    ("base_url", "route", "url"),
    [
        ("http://m:8000/v1", PassedRoute.EMBEDDINGS, "http://m:8000/v1/embeddings"),
        ("http://m:8000/v1/", PassedRoute.SCORE, "http://m:8000/v1/score"),
        ("http://m:8000/v1", PassedRoute.RERANK, "http://m:8000/v1/rerank"),
        ("http://m:8000/v1", PassedRoute.TOKENIZE, "http://m:8000/tokenize"),
        ("http://m:8000/v1/", PassedRoute.DETOKENIZE, "http://m:8000/detokenize"),
        ("http://m:8000/vendor", PassedRoute.TOKENIZE, "http://m:8000/vendor/tokenize"),
        ("https://m/proxy/v1", PassedRoute.TOKENIZE, "https://m/proxy/tokenize"),
    ],
)
def test_each_route_has_its_place_at_the_server(
    base_url: str, route: PassedRoute, url: str
) -> None:
    assert url_of(base_url, route) == url


class Bench:
    """A model at an address where nobody listens, and a clock that is told the time."""

    def __init__(self, most: int = 2) -> None:
        self.now = 0.0
        self.told: list[UpstreamError | None] = []
        place = Place(closed_port_url() + "/v1", None, most, 1.0)
        self.model = PassingModel(place, [PassedRoute.SCORE], lambda: self.now, self.told.append)

    async def fail(self) -> None:
        self.model.reserve()
        with pytest.raises(UpstreamUnavailable):
            await self.model.ask(PassedRoute.SCORE, b"{}")


async def test_it_is_left_alone_after_a_run_of_failures_and_tried_again_after_a_rest() -> None:
    bench = Bench()
    for _ in range(5):
        await bench.fail()
    assert [type(one) for one in bench.told] == [UpstreamUnreachable]
    with pytest.raises(UpstreamUnavailable, match="left alone"):
        bench.model.reserve()
    bench.now = 5.0
    await bench.fail()
    with pytest.raises(UpstreamUnavailable, match="left alone"):
        bench.model.reserve()
    assert bench.model.open_calls == 0
    bench.model.close()


@pytest.mark.parametrize(("waited", "is_blamed"), [(19.9, False), (20.0, True)])
async def test_a_client_that_waited_for_long_counts_against_the_server(
    waited: float, is_blamed: bool
) -> None:
    bench = Bench()
    for _ in range(4):
        await bench.fail()
    bench.model.reserve()
    task = asyncio.create_task(bench.model.ask(PassedRoute.SCORE, b"{}"))
    await asyncio.sleep(0)
    bench.now += waited
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bool(bench.told) is is_blamed


async def test_it_has_so_many_open_calls_and_no_more() -> None:
    bench = Bench(most=1)
    bench.model.open_calls = 1
    with pytest.raises(UpstreamBusy, match="as many open calls"):
        bench.model.reserve()
    bench.model.open_calls = 0
    bench.model.reserve()


async def test_a_refusal_tells_neither_key_nor_address() -> None:
    server = ScriptedModel()
    with serving(server) as url:
        place = Place(url + "/v1", "the-secret-key", 2, 5.0)
        model = PassingModel(place, [PassedRoute.SCORE], lambda: 0.0, lambda _: None)
        server.reply = Reply(status=400, body={"error": f"the-secret-key is wrong at {url}/v1"})
        with pytest.raises(UpstreamRefused) as raised:
            await model.ask(PassedRoute.SCORE, b"{}")
        model.close()
    assert raised.value.message == "*** is wrong at ***"
