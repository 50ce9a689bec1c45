import json
from typing import Any

import pytest

from gateway.wire.chat import Dialect, parse_chat, upstream_body
from gateway.wire.completion import Completion, drafts_of, read_completion
from gateway.wire.samples import asking_for, chosen
from routing.agreement import Agreement
from routing.money import Usage
from tests.fakes.upstream import completion

QUESTION = {"model": "assistant", "messages": [{"role": "user", "content": "x"}]}
TWO_OF_THREE = Agreement(1, 2 / 3)


def reply(**changes: Any) -> Completion:
    choices = [
        completion(text, choice={"index": place})["choices"][0]
        for place, text in enumerate(["8", "so 7", "7"])
    ]
    return read_completion(json.dumps(completion(choices=choices, **changes)).encode())


@pytest.mark.parametrize("said", [{}, {"n": 1}, {"n": None}])
def test_the_request_is_the_clients_but_for_how_many_answers(said: dict[str, Any]) -> None:
    chat = parse_chat(json.dumps(QUESTION | {"top_p": 0.5} | said).encode())
    asked = asking_for(chat, 3)
    assert (asked.choices, asked.body) == (3, chat.body)
    dialect = Dialect("m", is_evidence_wanted=False, has_running_usage=False, extra={})
    body = json.loads(upstream_body(asked, dialect))
    assert body == QUESTION | {"model": "m", "top_p": 0.5, "n": 3}
    assert chat.fields.get("n") is None or chat.choices == 1


def test_what_remains_is_a_reply_of_one_choice() -> None:
    found = chosen(reply(), TWO_OF_THREE, Usage(100, 4))
    assert (found.samples, found.agreement, found.usage) == (3, 2 / 3, Usage(100, 4))
    body = json.loads(found.body)
    assert [(each["index"], each["message"]["content"]) for each in body["choices"]] == [
        (0, "so 7")
    ]
    assert body["usage"]["completion_tokens"] == 4
    assert body["usage"]["total_tokens"] == 104
    assert body["system_fingerprint"] == "vllm-0.32.0"
    again = read_completion(found.body)
    assert (len(again.choices), again.usage) == (1, Usage(100, 4))
    (draft,) = drafts_of(found, parse_chat(json.dumps(QUESTION).encode()))
    assert (draft.text, draft.agreement) == ("so 7", 2 / 3)


@pytest.mark.parametrize("usage", [{}, {"usage": None}])
def test_usage_that_nobody_told_stays_unknown(usage: dict[str, Any]) -> None:
    body = json.loads(reply().body)
    del body["usage"]
    found = chosen(read_completion(json.dumps(body | usage).encode()), TWO_OF_THREE, None)
    assert found.usage is None
    assert json.loads(found.body).get("usage") is None


@pytest.mark.parametrize("usage", ["many", [1], {"prompt_tokens": "100"}])
def test_usage_that_is_none_passes_as_it_came(usage: object) -> None:
    found = chosen(reply(usage=usage), TWO_OF_THREE, None)
    assert found.usage is None
    assert json.loads(found.body)["usage"] == usage
