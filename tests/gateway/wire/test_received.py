"""How much came of an answer, counted by tokens that were told of and by characters."""

import msgspec
import pytest

from gateway.wire.chunk import decode
from gateway.wire.completion import read_completion
from gateway.wire.received import Received, characters_in
from gateway.wire.usage import tells_cached_tokens
from tests.fakes.chunks import USAGE, chunk, usage_report
from tests.fakes.script import entry
from tests.fakes.upstream import completion


def received(*bodies: bytes, is_evidence_wanted: bool = True) -> Received:
    found = Received()
    for body in bodies:
        found.add(decode(body, is_evidence_wanted=is_evidence_wanted))
    return found


def test_tokens_are_counted_with_reasoning_and_the_end() -> None:
    found = received(
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning": "Hm."}, [entry("H", -0.1), entry("m.", -0.1)]),
        chunk({"content": "Paris"}, [entry("Paris", -0.1)]),
        chunk({"content": ""}, [entry("<end>", -0.1)], {"finish_reason": "stop"}),
    )
    assert (found.tokens, found.characters, found.untold) == (4, 8, 0)


def test_text_without_tokens_is_counted_by_its_characters() -> None:
    bodies = [chunk({"reasoning_content": "Hm."}), chunk({"content": "Paris"}, [entry("P", -0.1)])]
    found = received(*bodies)
    assert (found.tokens, found.characters, found.untold) == (1, 8, 3)
    found = received(*bodies, is_evidence_wanted=False)
    assert (found.tokens, found.characters, found.untold) == (0, 8, 8)


@pytest.mark.parametrize(
    ("delta", "characters"),
    [
        ({"tool_calls": [{"index": 0, "function": {"name": "get", "arguments": '{"a'}}]}, 6),
        ({"tool_calls": [{"index": 0, "function": {"arguments": '": 1}'}}, {"index": 1}]}, 5),
        ({"function_call": {"name": "get"}}, 3),
        ({"tool_calls": [{"index": 0, "function": {"name": 5}}]}, 0),
    ],
)
def test_of_tool_calls_names_and_arguments_count(delta: dict[str, object], characters: int) -> None:
    assert received(chunk(delta)).untold == characters


def test_what_the_server_has_counted_need_not_be_counted_again() -> None:
    found = received(chunk({"content": "Paris"}), chunk({"content": "."}, [entry(".", -0.1)]))
    found.counted(is_end=True)
    assert (found.tokens, found.characters, found.untold) == (0, 0, 0)
    found.counted(is_end=False)  # llama.cpp counts twice: at the end, and once more after it
    assert found.whole_characters == 6


def test_an_answer_that_was_counted_before_its_end_has_no_length() -> None:
    found = received(chunk({"content": "Paris"}))
    found.counted(is_end=False)
    assert found.whole_characters == 0


def test_a_role_is_no_beginning() -> None:
    assert not received(chunk({"role": "assistant", "content": ""})).has_begun
    assert received(chunk({"content": "P"})).has_begun


def test_whole_answers_are_counted_in_the_same_way() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "get", "arguments": '{"a": 1}'}}
    message = {"reasoning": "Hm.", "tool_calls": [call, {"id": "d"}]}
    body = completion("Paris.", message=message | {"function_call": {"name": "f"}})
    assert characters_in(read_completion(msgspec.json.encode(body)).choices) == 6 + 3 + 11 + 1


@pytest.mark.parametrize(
    ("details", "is_told"),
    [
        ({"cached_tokens": 0}, True),
        ({"cached_tokens": 16}, True),
        ({"cached_tokens": None}, False),
        ({"audio_tokens": 0}, False),
        (None, False),
        ("none", False),
    ],
)
def test_a_usage_tells_of_its_cache_be_it_empty(details: object, *, is_told: bool) -> None:
    usage = USAGE | {"prompt_tokens_details": details}
    for body in (usage_report(usage), msgspec.json.encode(completion(usage=usage))):
        assert tells_cached_tokens(body) is is_told


def test_no_usage_tells_of_no_cache() -> None:
    assert not tells_cached_tokens(msgspec.json.encode(completion(usage=None)))
