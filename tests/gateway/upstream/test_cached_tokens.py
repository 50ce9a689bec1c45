"""Whether a server tells what of a prompt it had in its cache: asked at start, and paid."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from gateway import startup
from gateway.app import Gateway
from gateway.legs import Legs
from gateway.upstream.cached_tokens import PROMPT, CachedTokens, ask_for_cached_tokens
from tests.fakes.chunks import USAGE
from tests.fakes.serving import cascade_document, closed_port_url, load_gateway, serving
from tests.fakes.upstream import Reply, ScriptedModel, completion

PRICE = {"input": 0.6, "cached_input": 0.1, "output": 2.4}
SILENT = Reply(body=completion())


def telling(cached: int | None) -> Reply:
    usage = USAGE | {"prompt_tokens_details": {"cached_tokens": cached}}
    return Reply(body=completion(usage=usage))


def gateway_of(folder: Path, url: str, price: Any = PRICE) -> Gateway:
    document = cascade_document(closed_port_url(), url, teacher={"price": price})
    return load_gateway(folder, document)


async def found_of(folder: Path, scripted: ScriptedModel) -> tuple[CachedTokens, Legs]:
    """What is found, with the calls that this took."""
    with serving(scripted) as url:
        gateway = gateway_of(folder, url)
        legs = Legs(time.monotonic)
        teacher = gateway.context.served["assistant"].cascade.teacher
        found = await ask_for_cached_tokens(teacher, legs)
        for model in gateway.models:
            model.close()
    return found, legs


async def test_a_server_that_tells_is_asked_once(tmp_path: Path) -> None:
    scripted = ScriptedModel(telling(0))
    found, legs = await found_of(tmp_path, scripted)
    assert found.is_reported is True
    assert len(legs.made) == 1
    (request,) = scripted.requests
    assert request["max_tokens"] == 1
    assert request["messages"] == [{"role": "user", "content": PROMPT}]


async def test_one_that_tells_of_full_caches_alone_is_asked_the_same_again(tmp_path: Path) -> None:
    replies = iter([SILENT, telling(96)])
    scripted = ScriptedModel()
    scripted.reply = lambda _: next(replies)
    found, legs = await found_of(tmp_path, scripted)
    assert found.is_reported is True
    assert "second" in found.saw
    assert len(legs.made) == 2
    assert scripted.requests[0] == scripted.requests[1]


async def test_one_that_says_nothing_twice_does_not_tell(tmp_path: Path) -> None:
    found, legs = await found_of(tmp_path, ScriptedModel(SILENT))
    assert found.is_reported is False
    assert len(legs.made) == 2


async def test_a_refusal_is_an_answer_and_a_failure_is_none(tmp_path: Path) -> None:
    refusal = Reply({"error": {"message": "too long"}}, status=400)
    found, _ = await found_of(tmp_path, ScriptedModel(refusal))
    assert found == CachedTokens(False, "refused: too long")
    found, _ = await found_of(tmp_path, ScriptedModel(Reply({}, status=503)))
    assert found.is_reported is None


async def test_one_that_is_left_alone_is_not_asked(tmp_path: Path) -> None:
    gateway = gateway_of(tmp_path, closed_port_url())
    teacher = gateway.context.served["assistant"].cascade.teacher
    for _ in range(5):
        await ask_for_cached_tokens(teacher, Legs(time.monotonic))
    legs = Legs(time.monotonic)
    assert (await ask_for_cached_tokens(teacher, legs)).is_reported is None
    assert legs.made == []


# The same in a gateway.


def value(gateway: Gateway, name: str, **labels: str) -> float | None:
    registry = gateway.context.observer.metrics.registry
    return registry.get_sample_value(name, {"cascade": "assistant", "role": "teacher"} | labels)


async def until_asked(gateway: Gateway) -> None:
    async with asyncio.timeout(10):
        await asyncio.gather(*gateway.context.background)


@pytest.mark.parametrize(("reply", "shown", "calls"), [(telling(0), 1, 1), (SILENT, 0, 2)])
async def test_a_gateway_that_starts_finds_out_says_so_and_pays(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], reply: Reply, shown: int, calls: int
) -> None:
    with serving(ScriptedModel(reply)) as url:
        document = cascade_document(closed_port_url(), url, teacher={"price": PRICE})
        gateway = load_gateway(tmp_path, document, {"log_level": "warning"})
        async with gateway.running():
            await until_asked(gateway)
    assert value(gateway, "understudy_cached_tokens_reported") == shown
    paid = value(gateway, "understudy_cost_usd_total", kind="audit")
    assert paid == pytest.approx(calls * (100 * 0.6 + 10 * 2.4) / 1e6)
    warned = "--enable-prompt-tokens-details" in capfd.readouterr().err
    assert warned is (shown == 0)


@pytest.mark.parametrize(
    "price",
    [
        {"input": 0.6, "output": 2.4},
        {"input": 0.6, "cached_input": 0.6, "output": 2.4},
        {"gpu_usd_per_hour": 3, "gpus": 1},
    ],
)
async def test_nobody_is_asked_where_it_makes_no_difference(
    tmp_path: Path, price: dict[str, float]
) -> None:
    scripted = ScriptedModel(SILENT)
    with serving(scripted) as url:
        gateway = gateway_of(tmp_path, url, price)
        async with gateway.running():
            await until_asked(gateway)
    assert scripted.requests == []
    assert value(gateway, "understudy_cached_tokens_reported") is None


async def test_a_server_that_comes_up_late_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startup, "RETRY_SECONDS", 0.01)
    replies = iter([Reply({}, status=503), telling(0)])
    scripted = ScriptedModel()
    scripted.reply = lambda _: next(replies)
    with serving(scripted) as url:
        gateway = gateway_of(tmp_path, url)
        async with gateway.running():
            await until_asked(gateway)
    assert value(gateway, "understudy_cached_tokens_reported") == 1
