import json
from typing import Any

import msgspec
import pytest
from hypothesis import example
from hypothesis import given as holds_for

from gateway.wire.chat import Chat, parse_chat
from gateway.wire.completion import Completion, drafts_of, read_completion
from routing.money import Usage
from routing.vocabulary import Structure
from tests.fakes.mutations import nearly, replies
from tests.fakes.upstream import completion, tokens


def asked(**changes: Any) -> Chat:
    question = {"model": "assistant", "messages": [{"role": "user", "content": "x"}]}
    return parse_chat(json.dumps(question | changes).encode())


def drafts(body: dict[str, Any], **changes: Any) -> Any:
    return drafts_of(read_completion(json.dumps(body).encode()), asked(**changes))


def logprobs_of(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"logprobs": {"content": list(entries)}}


def read_or_refused(body: bytes) -> Completion | None:
    try:
        return read_completion(body)
    except (ValueError, RecursionError):
        return None


def with_twins() -> list[bytes]:
    """Replies in which something else looks like the log-probabilities of the choice."""
    told = {"logprobs": {"content": tokens("a", "}]}]}")}}
    (choice,) = completion("Paris.")["choices"]
    bodies = [
        told | completion("Paris."),
        completion("Paris.") | told,
        completion("Paris.") | {"choices": [choice | {"more": told}]},
        completion("Paris.") | {"choices": [{"more": told} | choice | {"logprobs": None}]},
        completion("Paris.") | {"choices": [{"more": told} | choice | {"logprobs": "no"}]},
        completion("Paris.") | {"choices": [choice, choice]},
        completion("Paris.") | {"choices": []} | told,
        completion(choice=told | {"more": 1}),
    ]
    return [json.dumps(body, separators=(",", ":")).encode() for body in bodies]


@holds_for(nearly([*replies(), *with_twins()]))
@example(with_twins()[0])
@example(with_twins()[1])
@example(with_twins()[2])
@example(with_twins()[3])
@example(with_twins()[4])
def test_log_probabilities_that_are_read_apart_say_the_same(body: bytes) -> None:
    together = body.replace(b'"logprobs"', b'"\\u006cogprobs"')  # none are found by their name
    apart, whole = read_or_refused(body), read_or_refused(together)
    assert (apart is None) is (whole is None)
    if apart is not None and whole is not None:
        assert msgspec.json.encode(apart.choices) == msgspec.json.encode(whole.choices)
        assert apart.usage == whole.usage
        assert apart.sent_model == whole.sent_model


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\n", " :\t")])
@pytest.mark.parametrize("more", [{}, {"refusal": None}])
def test_log_probabilities_are_found_however_a_server_writes_them(
    separators: tuple[str, str], more: dict[str, Any]
) -> None:
    said = completion(choice={"logprobs": {"content": tokens("a", "}]}]}", "{"), **more}})
    body = json.dumps(said, separators=separators).encode()
    place = read_completion(body).evidence_at
    assert place is not None
    assert json.loads(body[slice(*place)]) == said["choices"][0]["logprobs"]


def test_evidence_has_two_candidates_for_each_token() -> None:
    (draft,) = drafts(completion("The capital", logprob=-0.5))
    assert draft.token_logprobs == (-0.5, -0.5)
    assert draft.best_logprobs == (-0.5, -0.5)
    assert draft.second_logprobs == (-5.5, -5.5)
    assert draft.structure is Structure.NOT_ASKED


@pytest.mark.parametrize(
    ("content", "finish_reason", "last", "is_counted"),
    [
        ("Paris.", "stop", ".", True),
        ("Paris.", "stop", "<|im_end|>", False),
        ("Paris.", "stop", "", False),
        ("Paris.", "stop", "\n\n", False),  # a stop string: cut from the text by the server
        ("Paris.", "length", "<|im_end|>", True),  # nothing was cut: the client reads it
        (None, "tool_calls", "<|im_end|>", False),
    ],
)
def test_only_tokens_that_the_client_reads_are_evidence(
    content: str | None, finish_reason: str, last: str, is_counted: bool
) -> None:
    entries = [*tokens("Paris"), *tokens(last, logprob=-7.0)]
    choice = {"finish_reason": finish_reason} | logprobs_of(*entries)
    (draft,) = drafts(completion(content, choice=choice))
    assert (-7.0 in draft.token_logprobs) is is_counted
    assert draft.end_logprob == (None if is_counted else -7.0)
    assert (draft.text, draft.finish_reason) == (content or "", finish_reason)


def test_reasoning_is_no_evidence_about_the_answer() -> None:
    entries = [*tokens("<think>", "hm", "</think>", logprob=-4.0), *tokens("Par", "is")]
    for name in ("reasoning", "reasoning_content"):
        body = completion("Paris", message={name: "hm"}, choice=logprobs_of(*entries))
        (draft,) = drafts(body)
        assert draft.token_logprobs == (-0.01, -0.01)


@pytest.mark.parametrize("logprobs", [None, {}, {"content": None}, {"content": []}])
def test_a_server_that_reports_nothing_gives_no_evidence(logprobs: Any) -> None:
    (draft,) = drafts(completion(choice={"logprobs": logprobs}))
    assert draft.token_logprobs == ()


@pytest.mark.parametrize(
    ("candidates", "best", "second"),
    [
        (None, (), ()),
        ([], (), ()),
        ([-0.25], (-0.25,), ()),
        ([-0.25, -2.5, -3.5], (-0.25,), (-2.5,)),
    ],
)
def test_any_number_of_candidates_may_be_told_of(
    candidates: list[float] | None, best: tuple[float, ...], second: tuple[float, ...]
) -> None:
    told = [{"token": "?", "logprob": each} for each in candidates or ()]
    entry = tokens(".")[0] | {"top_logprobs": None if candidates is None else told}
    body = completion("Paris.", choice=logprobs_of(*tokens("Paris", logprob=-0.5), entry))
    (draft,) = drafts(body)
    assert draft.token_logprobs == (-0.5, -0.01)
    assert draft.best_logprobs == (-0.5, *best)
    assert draft.second_logprobs == (-5.5, *second)


def call(arguments: str | None, name: str | None = "f") -> dict[str, Any]:
    return {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}


TOOL = {"type": "function", "function": {"name": "f"}}
JSON_MODE = {"response_format": {"type": "json_object"}}


@pytest.mark.parametrize(
    ("message", "changes", "structure"),
    [
        ({"content": '{"a": 1}'}, JSON_MODE, Structure.VALID),
        ({"content": '{"a": 1'}, JSON_MODE, Structure.INVALID),
        ({"content": None}, JSON_MODE, Structure.INVALID),
        ({"content": "no JSON"}, {}, Structure.NOT_ASKED),
        ({"tool_calls": [call('{"a": 1}')]}, {}, Structure.VALID),
        ({"tool_calls": [call('{"a": 1}')]}, JSON_MODE, Structure.VALID),
        ({"tool_calls": [call('{"a": 1}'), call("{")]}, {}, Structure.INVALID),
        ({"tool_calls": [call(None)]}, {}, Structure.VALID),
        ({"tool_calls": [call("{}", None)]}, {}, Structure.INVALID),
        ({"tool_calls": [{"id": "1", "type": "custom", "custom": {}}]}, {}, Structure.INVALID),
        ({"tool_calls": [], "function_call": None}, {}, Structure.NOT_ASKED),
        ({"function_call": {"name": "f", "arguments": "{}"}}, {}, Structure.VALID),
        ({"function_call": {"name": "g", "arguments": "{}"}}, {}, Structure.INVALID),
    ],
)
def test_structure_is_checked_where_it_was_asked_for(
    message: dict[str, Any], changes: dict[str, Any], structure: Structure
) -> None:
    (draft,) = drafts(completion(message=message), tools=[TOOL], **changes)
    assert draft.structure is structure


def test_usage_has_its_cached_and_reasoning_parts() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 40},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    read = read_completion(json.dumps(completion(usage=usage)).encode())
    assert read.usage == Usage(input=100, output=10, cached_input=40, reasoning=3)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": None, "completion_tokens": 1},
        {"prompt_tokens": "1", "completion_tokens": 1},
        {"prompt_tokens": 2**40 + 1, "completion_tokens": 1},
        {"prompt_tokens": 1, "completion_tokens": 10**320},
        {"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": []},
        {"prompt_tokens": 1, "completion_tokens": -1},
        {"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2}},
    ],
)
def test_usage_that_is_missing_or_contradicts_itself_is_unknown(usage: Any) -> None:
    assert read_completion(json.dumps(completion(usage=usage)).encode()).usage is None


@pytest.mark.parametrize(
    "changes",
    [
        {"choice": {"logprobs": {"content": [{"token": "x", "logprob": None}]}}},
        {"choice": {"logprobs": {"content": [{"logprob": -0.1}]}}},
        {
            "message": {"content": [{"type": "text", "text": "Paris."}]},
            "choice": {"logprobs": None},
        },
        {"choice": {"logprobs": [], "finish_reason": 5}},
    ],
)
def test_a_part_that_is_not_as_it_should_be_is_unknown_and_the_answer_counts(
    changes: dict[str, Any],
) -> None:
    body = json.dumps(completion(**changes))
    (draft,) = drafts(json.loads(body))
    assert draft.token_logprobs == ()
    assert read_completion(body.encode()).usage == Usage(input=100, output=10)


@pytest.mark.parametrize(
    "body", [{"choices": []}, {"choices": [{}]}, {"choices": {}}, {"choices": None}, {}]
)
def test_what_is_no_completion_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_completion(json.dumps(body).encode())


def test_fewer_choices_than_asked_for_are_no_answer() -> None:
    (draft,) = drafts(completion(), n=2)
    assert draft.structure is Structure.INVALID


@pytest.mark.parametrize("ending", ["error", "abort", ""])
def test_an_answer_that_the_server_broke_off_is_no_answer(ending: str) -> None:
    (draft,) = drafts(completion(choice={"finish_reason": ending}))
    assert draft.structure is Structure.INVALID


@pytest.mark.parametrize(("told", "counted"), [(2, 4), (4, 4), (9, 9)])
def test_tokens_of_several_choices_that_a_server_forgets_to_count_are_used(
    told: int, counted: int
) -> None:
    """llama.cpp's usage tells of one choice alone; reasoning that is not shown is counted too."""
    usage = {"prompt_tokens": 100, "completion_tokens": told}
    both = [completion(choice={"index": place})["choices"][0] for place in (0, 1)]
    for choice in both:
        choice["logprobs"] = {"content": tokens("Paris", ".")}
    reply = read_completion(json.dumps(completion(choices=both, usage=usage)).encode())
    assert reply.usage == Usage(input=100, output=counted)
    alone = read_completion(json.dumps(completion(choices=both[:1], usage=usage)).encode())
    assert alone.usage == Usage(input=100, output=told)
