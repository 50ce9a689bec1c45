"""Every parameter of the official client has a fate: the one that is documented."""

import json
import re
from typing import Any

import pytest
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming

from gateway.errors import RequestError
from gateway.wire.responses.parameters import (
    ADAPTED,
    ECHOED,
    MOVED,
    PASSED,
    REFUSED,
    Fate,
    fate_of,
)
from gateway.wire.responses.request import parse_request
from tests.architecture.source import ROOT

# In the client's types, and nothing that a model server is known to read: passed like any other.
UNKNOWN = {"access_programs", "image"}
ROW = re.compile(r"^\| `([a-z_]+)` \| ([a-z]+) \|", re.MULTILINE)


def documented() -> dict[str, str]:
    page = (ROOT / "docs/endpoints.md").read_text()
    _, _, rest = page.partition("\n## Responses\n")
    section, _, _ = rest.partition("\n## ")
    return dict(ROW.findall(section))


def test_the_page_has_a_row_for_each_parameter_with_its_fate() -> None:
    known = PASSED | ADAPTED | ECHOED | REFUSED.keys() | MOVED.keys() | {"n"}
    assert documented() == {name: fate_of(name).value for name in known}


def test_every_parameter_of_the_official_client_is_known() -> None:
    offered = ResponseCreateParamsStreaming.__annotations__.keys()
    assert {"input", "stream"} <= offered
    assert offered - UNKNOWN <= PASSED | ADAPTED | ECHOED | REFUSED.keys()


def parsed(**changes: Any) -> dict[str, Any]:
    body = json.dumps({"model": "a", "input": "What?"} | changes).encode()
    return {
        name: json.loads(bytes(value)) for name, value in parse_request(body).chat.fields.items()
    }


@pytest.mark.parametrize("name", sorted(PASSED - {"model", "temperature", "top_p"} | UNKNOWN))
def test_what_is_passed_arrives_as_it_was(name: str) -> None:
    assert fate_of(name) is Fate.PASSED
    assert parsed(**{name: "x"})[name] == "x"


@pytest.mark.parametrize("name", sorted(ECHOED))
def test_what_is_only_repeated_does_not_reach_the_model(name: str) -> None:
    assert name not in parsed(**{name: {"metadata": {}, "truncation": "auto"}[name]})


@pytest.mark.parametrize("name", sorted({*REFUSED, *MOVED, "n"}))
def test_what_is_refused_is_named(name: str) -> None:
    value = True if name == "background" else 2
    with pytest.raises(RequestError) as caught:
        parsed(**{name: value})
    assert caught.value.param == name
    assert f"'{name}'" in caught.value.message


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_says_no_more_than_the_default_is_accepted(name: str) -> None:
    assert name not in parsed(**{name: False if name == "background" else None})


def test_one_answer_may_be_asked_for() -> None:
    assert "n" not in parsed(n=1)
