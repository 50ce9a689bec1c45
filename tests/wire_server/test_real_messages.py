"""Anthropic's messages of a real small model, by the gateway and by llama.cpp's own route.

tests/contract/test_anthropic_client.py has the same client ask scripted models.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic.types import Message, MessageParam

from tests.fakes.real_student import real_student
from tests.fakes.serving import closed_port_url
from tests.wire_server.process import gateway_process

QUESTION: list[MessageParam] = [{"role": "user", "content": "What is the capital of France?"}]
BEGUN: list[MessageParam] = [*QUESTION, {"role": "assistant", "content": "The capital of"}]
ASKED: Any = {"model": "assistant", "max_tokens": 12, "extra_body": {"temperature": 0}}
SURE = {"objective": {"kind": "confidence", "at_least": 0}}

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[anthropic.Anthropic]]:
    """A client of the gateway, and one of the student itself."""
    folder: Path = tmp_path_factory.mktemp("messages")
    with (
        real_student() as student,
        gateway_process(folder, student, closed_port_url(), SURE) as gateway,
        anthropic.Anthropic(base_url=gateway.url, api_key="unused", max_retries=0) as ours,
        anthropic.Anthropic(base_url=student, api_key="unused", max_retries=0) as theirs,
    ):
        yield [ours, theirs]


def text_of(message: Message) -> str:
    (block,) = message.content
    assert block.type == "text"
    return block.text


def test_both_write_the_same_message(clients: list[anthropic.Anthropic]) -> None:
    ours, theirs = (each.messages.create(messages=QUESTION, **ASKED) for each in clients)
    assert text_of(ours) == text_of(theirs)
    assert ours.stop_reason == theirs.stop_reason
    assert set(theirs.to_dict()) <= set(ours.to_dict())
    assert set(theirs.usage.to_dict()) <= set(ours.usage.to_dict())
    assert _tokens(ours) == _tokens(theirs)
    assert Message.model_validate(ours.to_dict()) == ours


def test_both_stream_the_same_message(clients: list[anthropic.Anthropic]) -> None:
    finals: list[Message] = []
    kinds: list[list[str]] = []
    for client in clients:
        with client.messages.stream(messages=QUESTION, **ASKED) as stream:
            kinds.append([event.type for event in stream if event.type != "text"])
            finals.append(stream.get_final_message())
    assert text_of(finals[0]) == text_of(finals[1])
    assert finals[0].stop_reason == finals[1].stop_reason
    assert _bare(kinds[0]) == _bare(kinds[1])


def test_both_count_the_same_tokens(clients: list[anthropic.Anthropic]) -> None:
    asked: Any = {"model": "assistant", "messages": QUESTION, "system": "Be brief."}
    ours, theirs = (each.messages.count_tokens(**asked).input_tokens for each in clients)
    assert ours == theirs > 10


def test_only_the_rest_comes_of_what_the_client_has_begun(
    clients: list[anthropic.Anthropic],
) -> None:
    ours = clients[0]
    whole = text_of(ours.messages.create(messages=BEGUN, **ASKED))
    with ours.messages.stream(messages=BEGUN, **ASKED) as stream:
        assert stream.get_final_text() == whole
    assert whole.startswith(" France")


def _tokens(message: Message) -> tuple[int, int]:
    usage = message.usage
    return usage.input_tokens + (usage.cache_read_input_tokens or 0), usage.output_tokens


def _bare(kinds: Sequence[str]) -> list[str]:
    """The kinds without repetitions: how a text is cut is nobody's promise."""
    return [kind for place, kind in enumerate(kinds) if kinds[place - 1 : place] != [kind]]
