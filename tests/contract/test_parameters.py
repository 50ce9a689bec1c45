"""The tables of docs/parameters.md, row by row: what a model is asked of what a client sent."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming as ChatParams,
)
from openai.types.completion_create_params import (
    CompletionCreateParamsNonStreaming as TextParams,
)

from tests.fakes.serving import Stage, stage
from tests.fakes.texts import choice_of, text_reply
from tests.fakes.upstream import UNSURE, Reply, completion

PAGE = Path(__file__).parents[2] / "docs/parameters.md"
PATHS = {"Chat completions": "/v1/chat/completions", "Completions": "/v1/completions"}
BASES: dict[str, dict[str, Any]] = {
    "Chat completions": {"model": "assistant", "messages": [{"role": "user", "content": "Hi"}]},
    "Completions": {"model": "assistant", "prompt": "Once upon"},
}
ROW = re.compile(r"\| `(\w+)` \| (passed|adapted|refused) \| `(.*?)` \|")
# What a parameter of an example needs beside it.
BESIDE: dict[str, dict[str, Any]] = {
    "top_logprobs": {"logprobs": True},
    "stream_options": {"stream": True},
    "metadata": {"store": True},
}

Asked = dict[str, Any]
# How both models are asked where the gateway has a part in it: student, then teacher.
ADAPTED: dict[tuple[str, str], Callable[[Asked, Asked], bool]] = {
    ("Chat completions", "model"): lambda student, teacher: (
        (student["model"], teacher["model"]) == ("upstream-student", "upstream-teacher")
    ),
    ("Chat completions", "logprobs"): lambda student, teacher: (
        student["logprobs"] and student["top_logprobs"] == 2 and teacher["logprobs"]
    ),
    ("Chat completions", "metadata"): lambda *asked: not any("metadata" in one for one in asked),
    ("Chat completions", "store"): lambda *asked: not any("store" in one for one in asked),
    ("Chat completions", "stream"): lambda student, _: student["stream"] is True,
    ("Chat completions", "stream_options"): lambda student, teacher: (
        student["stream_options"]["include_usage"] and teacher["stream_options"]["include_usage"]
    ),
    ("Chat completions", "top_logprobs"): lambda student, teacher: (
        (student["top_logprobs"], teacher["top_logprobs"]) == (2, 1)
    ),
    ("Chat completions", "understudy"): lambda *asked: (
        not any("understudy" in one for one in asked)
    ),
    ("Completions", "prompt"): lambda *asked: all(one["prompt"] == "Once upon" for one in asked),
    ("Completions", "echo"): lambda *asked: not any("echo" in one for one in asked),
    ("Completions", "logprobs"): lambda student, teacher: (
        (student["logprobs"], teacher["logprobs"]) == (2, 1)
    ),
}


def rows() -> list[Any]:
    section, found_rows = "", []
    for line in PAGE.read_text().splitlines():
        section = line.removeprefix("## ") if line.startswith("## ") else section
        if section in PATHS and (found := ROW.match(line)):
            name, becomes, example = found.groups()
            value = json.loads(example)
            found_rows.append(pytest.param(section, name, becomes, value, id=f"{section}: {name}"))
    return found_rows


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("parameters")) as built:
        yield built


@pytest.mark.parametrize(("section", "name", "becomes", "value"), rows())
def test_a_parameter_is_what_the_page_says(
    scene: Stage, section: str, name: str, becomes: str, value: Any
) -> None:
    if section == "Completions":
        scene.student.reply = Reply(body=text_reply(choice_of("so", logprob=UNSURE)))
        scene.teacher.reply = Reply(body=text_reply(choice_of("the")))
    else:
        scene.student.reply = Reply(body=completion("Rome?", UNSURE))
        scene.teacher.reply = Reply(body=completion("Paris."))
    scene.student.requests.clear()
    scene.teacher.requests.clear()
    body = BASES[section] | BESIDE.get(name, {}) | {name: value}
    response = scene.client.post(PATHS[section], json=body)
    if becomes == "refused":
        error = response.json()["error"]
        assert (response.status_code, error["param"]) == (400, name)
        assert set(error) == {"message", "type", "param", "code"}
        assert scene.student.requests == scene.teacher.requests == []
        return
    assert response.status_code == 200, response.text
    (drafted, *_), (taught, *_) = scene.student.requests, scene.teacher.requests
    if becomes == "adapted":
        assert ADAPTED[section, name](drafted, taught)
    else:
        assert drafted[name] == taught[name] == value


def test_the_page_has_every_parameter_of_the_official_client() -> None:
    """What OpenAI adds has to be decided on, and not to slip through."""
    known = {tuple(row.values[:2]) for row in rows()}
    in_chat = {name for section, name in known if section == "Chat completions"}
    in_text = in_chat | {name for section, name in known if section == "Completions"}
    assert set(get_type_hints(ChatParams)) <= in_chat
    assert set(get_type_hints(TextParams)) <= in_text
