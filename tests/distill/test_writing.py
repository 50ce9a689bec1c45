import json

import pytest

from distill.writing import INSTRUCTIONS, LEAST_LONGEST, MOST_STARTS, Order, texts_in

ORDER = Order([{"role": "system", "content": "Be brief."}], ["In digits: two"], 3, 7)


def reply(text: object) -> bytes:
    return json.dumps({"choices": [{"message": {"content": text}}]}).encode()


@pytest.mark.parametrize(
    "text",
    [
        '["a", "b"]',
        '```json\n["a", "b"]\n```',
        'Here are [2] of them, as you asked:\n["a", "b"]\nAnything else?',
        '{"prompts": ["a", "b"]}',
        '[{"prompt": "a"}, {"question": "b"}]',
        '[{"messages": [{"role": "user", "content": "a"}]}, "b", 3, {"other": 1}]',
        '["a", "b", "cut sho',
        '["a", "b"',
    ],
)
def test_a_list_is_read_whatever_stands_around_it(text: str) -> None:
    assert texts_in(text) == ["a", "b"]


@pytest.mark.parametrize("text", ["", "I cannot do that.", "[]", "[1, 2]", "[" * 500, "{"])
def test_where_there_is_no_list_there_are_no_texts(text: str) -> None:
    assert texts_in(text) == []


def test_a_list_behind_many_brackets_is_rubbish() -> None:
    assert texts_in("[ ] " * (MOST_STARTS - 1) + '["a"]') == ["a"]
    assert texts_in("[ ] " * MOST_STARTS + "[1]") == []


def test_escapes_are_read() -> None:
    assert texts_in(r'["say \"hi\" [now]", "two\nlines", "cut') == ['say "hi" [now]', "two\nlines"]
    assert texts_in(r'["good", "bad \x", "cut') == ["good"]


def test_what_is_asked_for_is_data() -> None:
    request = ORDER.request()
    system, user = request["messages"]
    assert system["content"] == INSTRUCTIONS
    assert json.loads(user["content"]) == {
        "earlier": "system: Be brief.",
        "examples": ["In digits: two"],
        "how_many": 3,
    }
    assert request["seed"] == 7


def test_a_text_with_half_a_character_is_no_request() -> None:
    assert ORDER.read(reply(r'["\ud83d", "a \ud83d\ude00", "\udc00 b"]')) == ["a \U0001f600"]


def test_no_more_are_taken_than_were_asked_for_and_each_once() -> None:
    assert ORDER.read(reply('["a", " a ", "", "b", "c", "d"]')) == ["a", "b", "c"]


def test_what_is_much_longer_than_all_examples_is_no_request_of_their_kind() -> None:
    fits, long = "x" * LEAST_LONGEST, "x" * (LEAST_LONGEST + 1)
    assert ORDER.read(reply(json.dumps([long, fits]))) == [fits]


@pytest.mark.parametrize("body", [b"no json", b"{}", reply(None), reply(["a"])])
def test_a_reply_without_text_has_no_requests(body: bytes) -> None:
    assert ORDER.read(body) == []
