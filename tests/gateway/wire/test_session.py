import json
from typing import Any

import pytest

from gateway.wire.chat import parse_chat
from gateway.wire.session import session_of

USER = {"role": "user", "content": "What is the capital of France?"}
SYSTEM = {"role": "system", "content": "Be brief."}


def session(header: str | None = None, messages: Any = (SYSTEM, USER), **body: Any) -> str:
    document = {"model": "m", "messages": messages, **body}
    return session_of(parse_chat(json.dumps(document).encode()), header)


def test_a_header_names_the_session() -> None:
    assert session("s-1", user="ann") == "s-1"


@pytest.mark.parametrize("header", [None, ""])
def test_without_one_it_is_the_user(header: str | None) -> None:
    assert session(header, user="ann") == '"ann"'
    assert session(header, user={"id": 5}) == '{"id": 5}'  # whatever a client makes of it


@pytest.mark.parametrize("body", [{}, {"user": None}, {"user": ""}])
def test_without_either_it_is_what_all_requests_of_a_conversation_begin_with(body: Any) -> None:
    said = {"role": "assistant", "content": "Paris."}
    more = {"role": "user", "content": "And of Spain?"}
    first = session(messages=[SYSTEM, USER], **body)
    assert first == session(messages=[SYSTEM, USER, said, more], **body)
    assert first != session(messages=[SYSTEM, more], **body)


def test_a_message_may_have_parts_or_nothing_at_all() -> None:
    parts = [{"type": "text", "text": "Hello"}]
    assert session(messages=[{"role": "user", "content": parts}]) == json.dumps(parts)
    assert session(messages=[{"role": "user"}]) == "null"


def test_where_no_user_speaks_the_first_message_counts() -> None:
    assert session(messages=[SYSTEM]) == '"Be brief."'
