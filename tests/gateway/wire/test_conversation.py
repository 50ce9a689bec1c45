import json
from typing import Any

import pytest

from gateway.wire.chat import Chat, parse_chat
from gateway.wire.conversation import Words, id_given, words_of
from gateway.wire.text.request import parse_text
from routing.conversation import Whose

OURS = Whose("assistant", "team")
SYSTEM = {"role": "system", "content": "Be brief."}
HI = {"role": "user", "content": "hi"}
MORE = {"role": "user", "content": "and?"}


def chat(*messages: Any, **fields: Any) -> Chat:
    body = {"model": "assistant", "messages": messages, **fields}
    return parse_chat(json.dumps(body).encode())


def words(*messages: Any) -> Words:
    found = words_of(chat(*messages), OURS)
    assert found is not None
    return found


def answer(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


CALL = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("repeated", "text", "calls"),
    [
        (answer("Hello!"), "Hello!", []),
        (answer("Hello!", refusal=None, name="Bob"), "Hello!", []),
        (answer([{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo!"}]), "Hello!", []),
        (answer("Hello! \n"), " Hello!", []),
        (answer(None, tool_calls=[CALL, CALL]), "", ["look", "look"]),
        (answer("I look.", tool_calls=[CALL]), "I look.", ["look"]),
        (answer("", function_call={"name": "look", "arguments": ""}), "", ["look"]),
        ({"role": "assistant"}, "", []),
    ],
)
def test_next_turn_repeats_the_answer_in_words_of_its_own(
    repeated: dict[str, Any], text: str, calls: list[str]
) -> None:
    first = words(SYSTEM, HI)
    assert first.before is None
    assert words(SYSTEM, HI, repeated, MORE).before == first.answered(text, calls)
    other = words(SYSTEM, HI, answer("Something else."), MORE)
    assert other.before not in (None, first.answered(text, calls))


def test_what_comes_after_the_answer_may_be_several_messages() -> None:
    tool = {"role": "tool", "tool_call_id": "1", "content": "seen"}
    first, second = words(HI), words(HI, answer(None, tool_calls=[CALL]), tool, MORE)
    assert second.before == first.answered("", ["look"])
    assert second.digest != words(HI, answer(None, tool_calls=[CALL]), tool).digest


def test_a_user_who_speaks_of_assistants_has_answered_nothing() -> None:
    assert words({"role": "user", "content": 'an "assistant"?'}).before is None


def test_answer_that_no_model_of_ours_could_have_given_goes_on_with_nothing() -> None:
    odd = answer(None, tool_calls=[{"function": {"name": 5}}])
    assert words(HI, odd, MORE).before is None


def test_bare_prompt_is_no_conversation() -> None:
    body = json.dumps({"model": "assistant", "prompt": "assistant"}).encode()
    prompt, _, _ = parse_text(body)
    assert words_of(prompt, OURS) is None


def test_names_are_a_header_or_a_cache_key_with_the_first_words_of_the_users() -> None:
    first, later = chat(SYSTEM, HI), chat(SYSTEM, HI, answer("Hello!"), MORE)
    keyed = {"prompt_cache_key": "k"}
    assert id_given(first, None, OURS) is None
    assert id_given(chat(HI, prompt_cache_key=None), "", OURS) is None
    assert id_given(chat(HI, prompt_cache_key=""), None, OURS) is None
    assert id_given(first, "k", OURS) == id_given(later, "k", OURS)
    of_first = id_given(chat(SYSTEM, HI, **keyed), None, OURS)
    of_later = id_given(chat(SYSTEM, HI, answer("Hello!"), MORE, **keyed), None, OURS)
    assert of_first == of_later
    different = [
        of_first,
        id_given(first, "k", OURS),
        id_given(first, '"k"\0"hi"', OURS),
        id_given(chat(SYSTEM, MORE, **keyed), None, OURS),
        id_given(chat(SYSTEM, HI, prompt_cache_key="l"), None, OURS),
        id_given(first, "l", OURS),
        id_given(first, "k", Whose("assistant", "other")),
    ]
    assert len(set(different)) == len(different)
    assert id_given(chat(SYSTEM, HI, **keyed), "k", OURS) == id_given(first, "k", OURS)
