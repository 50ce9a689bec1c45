import json
from typing import Any

import pytest

from distill.causes import Cause, LeftOut
from distill.rows import Format, Lesson, Manner, row_of, shape_of
from routing.comparators import normalised_text, same_number, similar_embedding
from routing.comparators.numbers import Closeness
from tests.distill.openai_rules import faults, preference_faults
from tests.fakes.pairs import calling, completion, request, tool

MANNER = Manner(normalised_text())
WEATHER = tool("weather", city={"type": "string"})
CALL = calling("weather", '{"city": "Paris"}')
DIALOGUE = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "And in Paris?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "12 degrees"},
)
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}


def lesson(asked: Any = None, answer: Any = None, draft: Any = None, **changes: Any) -> Lesson:
    told: dict[str, Any] = {
        "id": "1",
        "request": json.dumps(asked or request("Hi")).encode(),
        "answer": json.dumps(answer or completion("Hello.")).encode(),
        "draft": json.dumps(draft or completion("Go away.")).encode(),
        "is_draft_complete": True,
        "is_spliced": False,
    }
    return Lesson(**(told | changes))


def row(form: Format, given: Lesson, manner: Manner = MANNER) -> Any:
    return json.loads(row_of(given, form, manner).line)


def cause(form: Format, given: Lesson) -> Cause:
    with pytest.raises(LeftOut) as left_out:
        row_of(given, form, MANNER)
    return left_out.value.cause


ALL = (Format.SFT, Format.DPO, Format.OPENAI, Format.OPENAI_DPO)
PREFERENCES = (Format.DPO, Format.OPENAI_DPO)


def test_sft_is_a_prompt_and_the_teachers_answer() -> None:
    assert row(Format.SFT, lesson()) == {
        "id": "1",
        "prompt": [{"role": "user", "content": "Hi"}],
        "completion": [{"role": "assistant", "content": "Hello."}],
    }


def test_dpo_prefers_the_teachers_answer_to_the_draft() -> None:
    assert row(Format.DPO, lesson()) == {
        "id": "1",
        "prompt": [{"role": "user", "content": "Hi"}],
        "chosen": [{"role": "assistant", "content": "Hello."}],
        "rejected": [{"role": "assistant", "content": "Go away."}],
    }


def test_openai_trains_on_the_last_message_alone() -> None:
    asked = request("Hi", {"role": "assistant", "content": "Yes?"}, "Bye")
    assert row(Format.OPENAI, lesson(asked)) == {
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Yes?", "weight": 0},
            {"role": "user", "content": "Bye"},
            {"role": "assistant", "content": "Hello."},
        ]
    }


def test_openai_has_preferences_too() -> None:
    assert row(Format.OPENAI_DPO, lesson()) == {
        "input": {"messages": [{"role": "user", "content": "Hi"}]},
        "preferred_output": [{"role": "assistant", "content": "Hello."}],
        "non_preferred_output": [{"role": "assistant", "content": "Go away."}],
    }


def test_calls_are_objects_for_chat_templates_and_text_for_openai() -> None:
    given = lesson(request(*DIALOGUE, tools=[WEATHER], parallel_tool_calls=False))
    trl, openai = row(Format.SFT, given), row(Format.OPENAI, given)
    assert json.loads(trl["tools"]) == [WEATHER]
    assert trl["prompt"][2] == {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "weather", "arguments": {"city": "Paris"}},
            }
        ],
    }
    assert trl["prompt"][3] == DIALOGUE[3]
    assert openai["tools"] == [WEATHER]
    assert openai["parallel_tool_calls"] is False
    assert openai["messages"][2] == {"role": "assistant", "tool_calls": [CALL], "weight": 0}


def test_a_call_is_a_target() -> None:
    given = lesson(
        request("And in Paris?", tools=[WEATHER]),
        completion(None, tool_calls=[CALL], finish_reason="tool_calls"),
    )
    assert row(Format.SFT, given)["completion"][0]["tool_calls"][0]["function"]["arguments"] == {
        "city": "Paris"
    }
    assert row(Format.OPENAI, given)["messages"][-1]["tool_calls"] == [CALL]


def test_text_in_parts_is_joined_as_servers_join_it() -> None:
    parts = [{"type": "text", "text": "Say"}, {"type": "text", "text": "it."}]
    given = lesson(request({"role": "user", "content": parts}))
    assert row(Format.SFT, given)["prompt"] == [{"role": "user", "content": "Say\nit."}]
    assert row(Format.OPENAI, given)["messages"][0]["content"] == "Say\nit."


@pytest.mark.parametrize("form", ALL)
def test_a_developer_speaks_as_the_system(form: Format) -> None:
    given = lesson(request({"role": "developer", "content": "Be brief."}, "Hi"))
    line = row_of(given, form, MANNER).line
    assert b"developer" not in line
    assert b'{"role":"system","content":"Be brief."}' in line


def test_reasoning_is_a_target_only_where_it_is_wanted() -> None:
    given = lesson(answer=completion("Hello.", reasoning_content="A greeting."))
    assert row(Format.SFT, given)["completion"] == [{"role": "assistant", "content": "Hello."}]
    wanted = row(Format.SFT, given, Manner(normalised_text(), has_reasoning=True))
    assert wanted["completion"][0]["reasoning_content"] == "A greeting."
    assert "reasoning" not in str(row(Format.OPENAI, given))


@pytest.mark.parametrize("form", ALL)
@pytest.mark.parametrize(
    ("given", "why"),
    [
        (lesson(is_spliced=True), Cause.SPLICED),
        (lesson(answer=completion("Hel", finish_reason="length")), Cause.ANSWER_CUT_SHORT),
        (lesson(answer=completion("", finish_reason="content_filter")), Cause.ANSWER_CUT_SHORT),
        (lesson(answer=completion(None, refusal="I will not.")), Cause.ANSWER_REFUSED),
        (lesson(answer=completion("")), Cause.ANSWER_EMPTY),
        (lesson(answer={"choices": completion("a")["choices"] * 2}), Cause.SEVERAL_ANSWERS),
        (lesson(answer={"choices": []}), Cause.UNREADABLE),
        (lesson(answer={"choices": [{"message": 1}]}), Cause.UNREADABLE),
        (lesson(answer=[1]), Cause.UNREADABLE),
        (lesson(answer=completion("a", audio={"id": "1"})), Cause.NOT_TEXT),
        (lesson(request({"role": "user", "content": [IMAGE]})), Cause.NOT_TEXT),
        (lesson(request({"role": "user", "content": 1})), Cause.UNREADABLE),
        (lesson(request({"role": "user", "content": None})), Cause.UNREADABLE),
        (lesson(request({"role": "user", "content": [{"type": "text"}]})), Cause.UNREADABLE),
        (lesson(request(1)), Cause.UNREADABLE),
        (lesson({"messages": []}), Cause.UNREADABLE),
        (lesson(request({"role": "narrator", "content": "Once"})), Cause.UNKNOWN_ROLE),
        (lesson(request({"role": "function", "content": "1"})), Cause.LEGACY_FUNCTIONS),
        (lesson(request("Hi", functions=[{"name": "f"}])), Cause.LEGACY_FUNCTIONS),
        (lesson(request("Hi", {"role": "assistant", "content": "H"})), Cause.CONTINUATION),
        (lesson(request("Hi", continue_final_message=True)), Cause.CONTINUATION),
        (lesson(request("Hi", tools=[{"type": "custom"}])), Cause.CUSTOM_TOOLS),
        (lesson(request("Hi", tools={"a": 1})), Cause.UNREADABLE),
        (
            lesson(answer=completion(None, tool_calls=[calling("f", "{cut")])),
            Cause.ARGUMENTS_NOT_JSON,
        ),
        (lesson(answer=completion(None, tool_calls=[calling("f", "1")])), Cause.ARGUMENTS_NOT_JSON),
        (
            lesson(answer=completion(None, tool_calls=[{"type": "custom", "id": "1"}])),
            Cause.CUSTOM_TOOLS,
        ),
        (lesson(answer=completion(None, tool_calls=[{"id": "1"}])), Cause.UNREADABLE),
    ],
)
def test_what_is_no_target_is_left_out_with_its_cause(
    form: Format, given: Lesson, why: Cause
) -> None:
    assert cause(form, given) is why


@pytest.mark.parametrize("form", PREFERENCES)
@pytest.mark.parametrize(
    ("given", "why"),
    [
        (lesson(is_draft_complete=False), Cause.DRAFT_INCOMPLETE),
        (Lesson("1", lesson().request, lesson().answer, None, True, False), Cause.NO_DRAFT),
        (lesson(draft=completion("Go", finish_reason="length")), Cause.DRAFT_INCOMPLETE),
        (lesson(draft=completion("")), Cause.DRAFT_UNUSABLE),
        (lesson(draft=completion("hello")), Cause.DRAFT_AGREES),
    ],
)
def test_only_a_whole_draft_that_differs_is_rejected(
    form: Format, given: Lesson, why: Cause
) -> None:
    assert cause(form, given) is why
    assert row(Format.SFT, given)["completion"]


def test_the_comparator_decides_what_differs() -> None:
    given = lesson(answer=completion("It is 5."), draft=completion("5 it shall be"))
    assert row(Format.DPO, given)
    with pytest.raises(LeftOut):
        row_of(given, Format.DPO, Manner(same_number(Closeness())))


def test_a_comparator_that_asks_somebody_is_no_use_here() -> None:
    with pytest.raises(ValueError, match="has to ask"):
        row_of(lesson(), Format.DPO, Manner(similar_embedding("m", 0.9)))


@pytest.mark.parametrize("form", [Format.OPENAI, Format.OPENAI_DPO])
def test_openai_takes_no_other_names_and_no_nameless_calls(form: Format) -> None:
    dotted = request("Hi", tools=[tool("files.read")])
    assert cause(form, lesson(dotted)) is Cause.NAME_NOT_ALLOWED
    assert row(Format.SFT, lesson(dotted))
    nameless = {"role": "assistant", "content": None, "tool_calls": [calling("f", "{}", id="")]}
    assert cause(form, lesson(request("Hi", nameless, "Go on"))) is Cause.UNREADABLE
    lost = {"role": "tool", "content": "12 degrees"}
    assert cause(form, lesson(request("Hi", lost))) is Cause.UNREADABLE


@pytest.mark.parametrize(
    "given",
    [
        lesson(),
        lesson(request(*DIALOGUE, "And now?", tools=[WEATHER], parallel_tool_calls=True)),
        lesson(
            request("And in Paris?", tools=[WEATHER]),
            completion(None, tool_calls=[CALL], finish_reason="tool_calls"),
        ),
        lesson(request({"role": "user", "content": "Hi", "name": "Ann"})),
        lesson(request({"role": "assistant", "content": "Hi"}, "Hello")),
        lesson(request({"role": "assistant", "content": None}, "Hello")),
    ],
)
def test_openais_rules_hold(given: Lesson) -> None:
    assert faults(row_of(given, Format.OPENAI, MANNER).line) == []
    assert preference_faults(row_of(given, Format.OPENAI_DPO, MANNER).line) == []


def test_openais_rules_find_what_breaks_them() -> None:
    lines: list[dict[str, Any]] = [
        {"messages": []},
        {"messages": [{"role": "user", "content": "Hi"}]},
        {"messages": [{"role": "assistant", "content": "Hi", "weight": 0}]},
        {"messages": [{"role": "developer", "content": "Hi"}]},
        {"messages": [{"role": "assistant", "content": "Hi"}], "id": "1"},
        {"messages": [{"role": "assistant", "content": "Hi"}], "tools": []},
        {"messages": [DIALOGUE[3], {"role": "assistant", "content": "Hi"}]},
        {"messages": [{"role": "assistant"}]},
    ]
    for broken in lines:
        assert faults(json.dumps(broken).encode()), broken


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"a": "1", "b": ["x"]}, {"b": ["y", "z"], "a": "2"}),
        ([{"a": "1"}, {"b": "1"}], [{"b": "2"}, {"a": "2"}, {"a": "3"}]),
    ],
)
def test_rows_of_one_shape_have_one_type(left: Any, right: Any) -> None:
    assert shape_of(left) == shape_of(right)


@pytest.mark.parametrize("other", [{"a": 1}, {"a": 1.5}, {"a": None}, {"a": True}, {"b": "1"}, {}])
def test_other_keys_or_types_are_another_shape(other: Any) -> None:
    assert shape_of(other) != shape_of({"a": "1"})
    assert shape_of([other]) != shape_of([{"a": "1"}])


def test_a_row_knows_its_lengths() -> None:
    found = row_of(lesson(request("Hi", "there")), Format.SFT, MANNER)
    assert (found.prompt_characters, found.target_characters) == (7, 6)
