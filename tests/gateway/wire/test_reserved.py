import json

import pytest

from gateway.errors import RequestError
from gateway.wire.chat import parse_chat
from gateway.wire.passing import read_passed
from gateway.wire.reserved import OPERATOR_ONLY, READ_HERE
from gateway.wire.text.request import parse_text

QUESTION = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
PROMPT = {"model": "m", "prompt": "x"}


def refused(name: str) -> list[RequestError]:
    """How each protocol that has fields of its own refuses one."""
    errors = []
    for ask, asked in ((parse_chat, QUESTION), (parse_text, PROMPT), (read_passed, PROMPT)):
        with pytest.raises(RequestError) as caught:
            ask(json.dumps(asked | {name: None}).encode())
        errors.append(caught.value)
    return errors


@pytest.mark.parametrize("name", sorted(OPERATOR_ONLY))
def test_fields_that_reach_into_the_server_are_refused(name: str) -> None:
    for error in [*refused(name), *refused(name.title())]:
        assert "operator" in error.message
        assert error.param in (name, name.title())


@pytest.mark.parametrize("name", sorted(READ_HERE))
def test_a_field_that_is_read_here_has_one_way_to_be_written(name: str) -> None:
    for written in {name.upper(), name.title(), name.replace("s", "\u017f")} - {name}:
        for error in refused(written):
            assert error.message == f"'{written}' must be written '{name}'."
            assert error.param == written


def test_other_names_may_be_written_as_one_likes() -> None:
    parse_chat(json.dumps(QUESTION | {"topK": 1, "ModelName": "x"}).encode())
