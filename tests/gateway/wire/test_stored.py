"""What clients say about stored completions is understood, and what they get has OpenAI's form."""

import json
from typing import Any

import msgspec
import pytest

from gateway.errors import RequestError
from gateway.wire.stored import (
    Head,
    Listing,
    Page,
    completion_object,
    id_of,
    list_object,
    message_objects,
    metadata_of,
    read_listing,
    read_update,
)


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def test_metadata_may_be_as_much_as_openai_allows() -> None:
    most = {f"{n:064d}": "\N{GREEK SMALL LETTER BETA}" * 512 for n in range(16)}
    assert metadata_of(raw(most)) == most
    assert metadata_of(raw({"": ""})) == {"": ""}
    assert metadata_of(raw(None)) == metadata_of(None) == {}


@pytest.mark.parametrize(
    "sent", [b"5", b"[]", b'{"a": 1}', b'{"a": "\\ud800"}', b'{"\\udc00": ""}']
)
def test_metadata_is_an_object_of_texts(sent: bytes) -> None:
    with pytest.raises(RequestError) as refused:
        metadata_of(msgspec.Raw(sent))
    assert refused.value.param == "metadata"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None), (b"\xff", None), (b'{"a": ' + b"[" * 5000, None), (b"{}", "metadata"),
        (b"[]", "metadata"), (b'{"metadata": 5}', "metadata"),
        (b'{"metadata": {"a": null}}', "metadata"), (b'{"metadata": {"a": "\xff"}}', None),
    ],
)  # fmt: skip
def test_an_update_that_is_none_is_refused(body: bytes, param: str | None) -> None:
    with pytest.raises(RequestError) as refused:
        read_update(body)
    assert refused.value.param == param


def test_an_update_may_take_all_metadata_away() -> None:
    assert read_update(b'{"metadata": null}') == {}


def test_a_query_says_which_page_is_wanted() -> None:
    assert read_listing(b"") == Listing(None, 20, is_ascending=True, model=None, metadata={})
    query = b"limit=100&order=desc&after=x&model=a%3Astudent&metadata%5Ba%5D=1&metadata[]=&x=y"
    found = read_listing(query)
    assert found == Listing("x", 100, is_ascending=False, model="a:student",
                            metadata={"a": "1", "": ""})  # fmt: skip
    assert found.is_filtered
    assert not read_listing(b"after=x").is_filtered


def test_a_filter_wants_every_pair_and_the_very_model() -> None:
    listing = read_listing(b"model=m&metadata[a]=1&metadata[b]=2")
    assert listing.suits("m", {"a": "1", "b": "2", "c": "3"})
    assert not listing.suits("m", {"a": "1", "b": "3"})
    assert not listing.suits("m", {"a": "1"})
    assert not listing.suits("m:student", {"a": "1", "b": "2"})
    assert read_listing(b"").suits("m", {})


@pytest.mark.parametrize(
    "completion",
    [b"{}", b'{"id": null}', b'{"id": 5}', b'{"id": ""}', b'{"id": "a b"}', b'{"id": "a\\n"}',
     b'{"id": "..", "x": 1}', b'{"id": "%s"}' % (b"x" * 129), b"no json"],
)  # fmt: skip
def test_an_id_that_is_no_part_of_a_path_is_none(completion: bytes) -> None:
    assert id_of(completion) is None


def test_ids_as_servers_make_them_are_ids() -> None:
    for name in ("chatcmpl-B9oLoto1FKLsWsocgS8KTXpw7QlH9", "0:a.b_c-d", "x" * 128):
        assert id_of(json.dumps({"id": name}).encode()) == name


def test_a_completion_has_what_is_known_of_its_request_and_null_for_the_rest() -> None:
    head = Head("x", 1.0, "ann", "req-1", "m", raw({}), 1)
    kept = {
        "request": {"temperature": 0.5, "user": "u"},
        "answer": {"id": "x", "object": "chat.completion", "choices": [], "novelty": 1},
    }
    told = json.loads(bytes(completion_object(head, {"a": "1"}, json.dumps(kept).encode())))
    assert told == {
        "frequency_penalty": None, "presence_penalty": None, "response_format": None,
        "seed": None, "temperature": 0.5, "tool_choice": None, "tools": None, "top_p": None,
        "input_user": "u", "id": "x", "object": "chat.completion", "choices": [], "novelty": 1,
        "request_id": "req-1", "metadata": {"a": "1"},
    }  # fmt: skip


def test_messages_have_ids_and_their_parts_apart() -> None:
    parts = [{"type": "text", "text": "x"}]
    said: list[dict[str, Any]] = [
        {"role": "user", "content": parts},
        {"role": "assistant", "tool_calls": [{"id": "c"}], "content": None},
        {"role": "tool", "content": "4", "tool_call_id": "c", "id": "mine"},
    ]
    kept = json.dumps({"request": {"messages": said}}).encode()
    objects = [json.loads(bytes(each)) for _, each in message_objects("x", kept)]
    assert objects == [
        {"id": "x-0", "role": "user", "content": None, "content_parts": parts, "name": None},
        {"id": "x-1", "role": "assistant", "content": None, "content_parts": None, "name": None,
         "tool_calls": [{"id": "c"}]},
        {"id": "x-2", "role": "tool", "content": "4", "content_parts": None, "name": None,
         "tool_call_id": "c"},
    ]  # fmt: skip


def test_an_empty_page_has_no_ids() -> None:
    assert json.loads(list_object(Page([], has_more=False))) == {
        "object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False,
    }  # fmt: skip
