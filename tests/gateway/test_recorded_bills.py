"""Replies and streams recorded from real servers, through a real gateway: what they cost.

For every one in which the server said what it used, tokens and dollars are the server's own.
"""

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.facts import Leg
from routing.money import PICO_PER_USD, Usage
from routing.vocabulary import Role
from tests.fakes.observer import RememberingObserver
from tests.fakes.recordings import models, streams, wholes
from tests.fakes.script import BreakOff, Pieces, Stop
from tests.fakes.serving import Stage, stage, wait_until
from tests.fakes.upstream import Reply

PRICE = {"input": 0.02, "cached_input": 0.01, "output": 0.06, "reasoning": 0.07}
# llama.cpp counts one of several choices: there the gateway bills what it is shown.
SEVERAL = "xllamacpp/chat_n2_sampled"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    keep_all = {
        "objective": {"kind": "confidence", "at_least": 0.0},
        "student": {"price": PRICE},
        "audit": {"complete_drafts": 0},
    }
    lora = (*models("vllm-lora"), "adapter")[1]
    others = {"adapted": keep_all | {"student": {"price": PRICE, "model": lora}}}
    with stage(tmp_path_factory.mktemp("bills"), cascade=keep_all, others=others) as built:
        built.teacher.reply = Reply(status=500)
        wait_until(lambda: not built.gateway.context.background)  # it has asked about the cache
        yield built


def billed(scene: Stage, reply: Reply, body: dict[str, Any], model: str) -> Leg | None:
    """The student's leg of one request, whose dollars are on the counter; None where refused."""
    observer = RememberingObserver(scene.gateway.context.observer)
    scene.gateway.context.observer = observer
    scene.student.reply = reply
    for upstream in scene.gateway.models:
        upstream.breaker.succeeded()
    scene.ask(**(body | {"model": model}))
    wait_until(lambda: observer.settled_facts)
    (fact,) = observer.settled_facts
    counted = sum(
        Decimal(str(sample.value))
        for family in observer.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "understudy_cost_usd_total"
    )
    known = sum(leg.cost_pico for leg in fact.legs if leg.cost_pico is not None)
    assert counted * PICO_PER_USD == known
    return next((leg for leg in fact.legs if leg.role is Role.STUDENT), None)


def said(usage: dict[str, Any]) -> Usage:
    """What the server said, read without the gateway; llama.cpp has words of its own."""
    if "cache_n" in usage:
        read = usage["cache_n"] + usage["prompt_n"]
        return Usage(read, usage["predicted_n"], usage["cache_n"])
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return Usage(usage["prompt_tokens"], usage["completion_tokens"], cached, reasoning)


def price_of(usage: Usage) -> int:
    return (
        (usage.input - usage.cached_input) * 20_000
        + usage.cached_input * 10_000
        + (usage.output - usage.reasoning) * 60_000
        + usage.reasoning * 70_000
    )


def is_the_servers_word(leg: Leg, usage: dict[str, Any]) -> None:
    assert leg.usage == said(usage)
    assert leg.cost_pico == price_of(said(usage))
    assert not leg.is_estimated


def is_billed_by(leg: Leg, heard: Sequence[dict[str, Any]]) -> None:
    """By the last word of the server's, or, where it had none, by an estimate or not at all."""
    words = [said for event in heard if (said := event.get("usage") or event.get("timings"))]
    if words:
        is_the_servers_word(leg, words[-1])
    else:
        assert leg.is_estimated or leg.cost_pico is None


def events(stream: bytes) -> list[dict[str, Any]]:
    lines = [line[6:] for line in stream.decode().splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("model", ["assistant", "adapted"])
@pytest.mark.parametrize(("request_body", "path", "status"), wholes(is_success=True))
def test_a_whole_reply_costs_what_its_server_said(
    scene: Stage, request_body: dict[str, Any], path: Path, status: int, model: str
) -> None:
    recorded = json.loads(path.read_text())
    leg = billed(scene, Reply(body=path.read_bytes()), request_body, model)
    if leg is None:  # llama.cpp accepts what OpenAI and the gateway refuse
        return
    usage = recorded["usage"]
    if f"{path.parent.name}/{path.stem}" == SEVERAL:
        shown = [len(choice["logprobs"]["content"]) for choice in recorded["choices"]]
        usage = usage | {"completion_tokens": max(sum(shown), usage["completion_tokens"])}
    is_the_servers_word(leg, usage)


@pytest.mark.parametrize("model", ["assistant", "adapted"])
@pytest.mark.parametrize(("request_body", "stream"), streams())
def test_a_stream_costs_what_its_server_said(
    scene: Stage, request_body: dict[str, Any], stream: bytes, model: str
) -> None:
    """One that said nothing was not asked to; then what it cost is unknown, or an estimate."""
    leg = billed(scene, Reply(steps=[Pieces([stream]), Stop()]), request_body, model)
    if leg is not None:
        is_billed_by(leg, events(stream))


@pytest.mark.parametrize(("request_body", "stream"), streams("stream_usage_continuous"))
def test_a_stream_that_is_cut_costs_what_its_server_said_last(
    scene: Stage, request_body: dict[str, Any], stream: bytes
) -> None:
    pieces = [event + b"\n\n" for event in stream.split(b"\n\n") if event.startswith(b"data: {")]
    for count in range(1, len(pieces)):
        heard = b"".join(pieces[:count])
        reply = Reply(steps=[Pieces([heard]), BreakOff()])
        leg = billed(scene, reply, request_body, "assistant")
        assert leg is not None
        assert leg.error is not None or count == len(pieces) - 1
        is_billed_by(leg, events(heard))
