"""Half a tool call, or half a JSON text, is of no use: it is out when it is judged, or never."""

from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from routing.vocabulary import Role
from tests.fakes.chunks import chunk
from tests.fakes.script import (
    ROLE,
    BreakOff,
    Queued,
    Raw,
    Step,
    Until,
    Words,
    entry,
    finish,
    tool_call,
    used,
    whole,
)
from tests.fakes.trial import AT_ONCE, HOPELESS, MIDDLING, SURE, UNSURE, Trial, joined, words
from tests.fakes.upstream import Reply, completion, tokens

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
GOOD = ['{"city":', ' "Paris"', "}"]
JSON: dict[str, Any] = {"response_format": {"type": "json_object"}}
TAUGHT_CALL = tool_call("weather", ['{"city": "Rome"}'])


def calls_of(chunks: list[ChatCompletionChunk]) -> dict[int, tuple[str, str]]:
    """Name and arguments of each tool call that the client heard."""
    calls: dict[int, tuple[str, str]] = {}
    for each in chunks:
        for delta in (each.choices[0].delta.tool_calls or ()) if each.choices else ():
            name, arguments = calls.get(delta.index, ("", ""))
            if delta.function is not None:
                name += delta.function.name or ""
                arguments += delta.function.arguments or ""
            calls[delta.index] = name, arguments
    return calls


def test_a_good_tool_call_is_out_once_it_is_whole(trial: Trial) -> None:
    end = trial.event()
    call = tool_call("weather", GOOD)
    trial.student_says(ROLE, *call, Until(end), *finish("tool_calls"))
    listener = trial.ask(tools=[TOOL])
    trial.wait_for_events(trial.stage.student, 5)
    assert listener.heard == []
    end.set()
    assert calls_of(listener.whole().heard) == {0: ("weather", '{"city": "Paris"}')}
    assert listener.finish_reason == "tool_calls"
    assert listener.headers["x-understudy-served-by"] == "student"
    assert listener.headers["x-understudy-reason"] == "confident"
    assert float(listener.headers["x-understudy-confidence"]) == pytest.approx(0.990050)
    assert trial.stage.teacher.requests == []


def test_a_deferred_tool_call_is_never_seen_and_the_teachers_is_live(trial: Trial) -> None:
    end, more = trial.event(), trial.event()
    trial.student_says(ROLE, *tool_call("weather", ["{}"]), Until(end), *finish("tool_calls"))
    trial.teacher_says(ROLE, *TAUGHT_CALL[:1], Until(more), *TAUGHT_CALL[1:], *finish("tool_calls"))
    listener = trial.ask(tools=[TOOL])
    trial.wait_for_events(trial.stage.student, 3)
    assert listener.heard == []
    assert trial.stage.teacher.requests == []
    end.set()
    listener.wait_for_chunks(2)
    assert trial.taught.began - trial.drafted.sent_at[-1] < AT_ONCE
    assert listener.heard_at[-1] - trial.taught.sent_at[-1] < AT_ONCE
    assert calls_of(listener.heard) == {0: ("weather", "")}
    more.set()
    assert calls_of(listener.whole().heard) == {0: ("weather", '{"city": "Rome"}')}


@pytest.mark.parametrize("logprob", [SURE, None], ids=["sure", "silent"])
@pytest.mark.parametrize(
    ("name", "pieces"),
    [
        ("weather", ['{"city":']),
        ("weather", ['{"city": 5}']),
        ("weather", ["{}"]),
        ("weather", ["[]"]),
        ("wether", GOOD),
    ],
    ids=["cut short", "wrong type", "incomplete", "no object", "unknown tool"],
)
def test_a_bad_tool_call_is_deferred_however_sure(
    lone_trial: Trial, name: str, pieces: list[str], logprob: float | None
) -> None:
    trial = lone_trial
    trial.student_says(ROLE, *tool_call(name, pieces, logprob), *finish("tool_calls"))
    trial.teacher_says(ROLE, *TAUGHT_CALL, *finish("tool_calls"))
    listener = trial.ask(tools=[TOOL]).whole()
    assert calls_of(listener.heard) == {0: ("weather", '{"city": "Rome"}')}
    assert listener.headers["x-understudy-served-by"] == "teacher"
    assert listener.headers["x-understudy-reason"] == "invalid_structure"
    (pair,) = trial.pairs()
    assert pair["content"]["draft"]["choices"][0]["message"]["tool_calls"][0]["function"] == {
        "name": name,
        "arguments": joined(pieces),
    }
    assert pair["draft_complete"] is True


def test_an_unsure_tool_call_is_deferred_however_valid(trial: Trial) -> None:
    """One token decides: the weakest of the arguments."""
    start, end = tool_call("weather", GOOD[:2]), tool_call("weather", GOOD[2:], MIDDLING)[1:]
    trial.student_says(ROLE, *start, *end, *finish("tool_calls"))
    trial.teacher_says(ROLE, *TAUGHT_CALL, *finish("tool_calls"))
    listener = trial.ask(tools=[TOOL]).whole()
    assert calls_of(listener.heard) == {0: ("weather", '{"city": "Rome"}')}
    assert listener.headers["x-understudy-reason"] == "low_confidence"
    assert float(listener.headers["x-understudy-confidence"]) == pytest.approx(0.606531)


def test_where_the_server_says_nothing_of_tool_calls_their_form_decides(trial: Trial) -> None:
    trial.student_says(ROLE, *tool_call("weather", GOOD, None), *finish("tool_calls"))
    listener = trial.ask(tools=[TOOL]).whole()
    assert calls_of(listener.heard) == {0: ("weather", '{"city": "Paris"}')}
    assert listener.headers["x-understudy-served-by"] == "student"
    assert listener.headers["x-understudy-reason"] == "valid_structure"
    assert "x-understudy-confidence" not in listener.headers
    assert listener.said["reason"] == "valid_structure"
    assert trial.fact.ending == "kept"
    cascade = {"cascade": "assistant"}
    deferrals = trial.counted("understudy_deferrals_total", **cascade, reason="valid_structure")
    assert deferrals == 0


def test_several_tool_calls_stand_or_fall_together(trial: Trial) -> None:
    first, second = tool_call("weather", GOOD), tool_call("weather", ["{}"], index=1)
    trial.student_says(ROLE, *first, *second, *finish("tool_calls"))
    trial.teacher_says(ROLE, *TAUGHT_CALL, *finish("tool_calls"))
    assert trial.ask(tools=[TOOL]).whole().headers["x-understudy-reason"] == "invalid_structure"
    trial.student_says(ROLE, *first, *tool_call("weather", GOOD, index=1), *finish("tool_calls"))
    calls = calls_of(trial.ask(tools=[TOOL]).whole().heard)
    assert calls == dict.fromkeys((0, 1), ("weather", '{"city": "Paris"}'))


def test_text_before_a_tool_call_flows_and_the_call_waits(trial: Trial) -> None:
    end = trial.event()
    trial.student_says(
        ROLE, Words(words(20)), *tool_call("weather", GOOD), Until(end), *finish("tool_calls")
    )
    listener = trial.ask(tools=[TOOL])
    listener.wait_for(joined(words(20)))
    trial.wait_for_events(trial.stage.student, 25)
    assert calls_of(listener.heard) == {}
    end.set()
    assert calls_of(listener.whole().heard) == {0: ("weather", '{"city": "Paris"}')}
    assert listener.text == joined(words(20))
    assert trial.fact.reason == "confident"


def test_a_tool_call_without_words_yet_fills_no_window(trial: Trial) -> None:
    """A server that parses calls has tokens of one long before it has anything to say of it."""
    tokens_of_call = [Raw(chunk({"content": ""}, [entry("{", UNSURE)])) for _ in range(20)]
    call = tool_call("weather", GOOD, UNSURE)
    trial.student_says(ROLE, *tokens_of_call, *call, *finish("tool_calls"))
    trial.teacher_says(ROLE, *TAUGHT_CALL, *finish("tool_calls"))
    listener = trial.ask(tools=[TOOL]).whole()
    assert calls_of(listener.heard) == {0: ("weather", '{"city": "Rome"}')}
    assert trial.drafted.is_over
    (pair,) = trial.pairs()
    assert pair["draft_complete"] is True


def test_short_text_before_a_tool_call_is_judged_with_it(trial: Trial) -> None:
    """Nothing is out, and the text is unsure: the call goes down with it."""
    trial.student_says(
        ROLE, Words(words(3), UNSURE), *tool_call("weather", GOOD), *finish("tool_calls")
    )
    trial.teacher_says(ROLE, *TAUGHT_CALL, *finish("tool_calls"))
    listener = trial.ask(tools=[TOOL]).whole()
    assert listener.text == ""
    assert calls_of(listener.heard) == {0: ("weather", '{"city": "Rome"}')}
    assert listener.headers["x-understudy-reason"] == "low_confidence"


def test_a_bad_tool_call_after_text_that_is_out_is_a_late_doubt(trial: Trial) -> None:
    """Where the teacher may continue, too: nobody goes on from half a tool call."""
    trial.student_says(ROLE, Words(words(16)), *tool_call("weather", ["{}"]), *finish("tool_calls"))
    listener = trial.ask("continuing", tools=[TOOL]).whole()
    assert listener.text == joined(words(16))
    assert calls_of(listener.heard) == {0: ("weather", "{}")}
    assert listener.said["reason"] == "late_doubt"
    assert trial.stage.teacher.requests == []
    labels = {"cascade": "continuing", "handover": "never"}
    assert trial.counted("understudy_late_doubts_total", **labels) == 1


@pytest.mark.parametrize("cascade", ["assistant", "continuing"])
def test_a_student_that_breaks_off_amid_a_tool_call_leaves_none(trial: Trial, cascade: str) -> None:
    """The text is out; what there is of the call must not look like one."""
    half = tool_call("weather", GOOD[:1])
    trial.student_says(ROLE, Words(words(16)), *half, BreakOff())
    listener = trial.ask(cascade, tools=[TOOL]).wait_for_end()
    assert getattr(listener.error, "body", {})["code"] == "upstream_unavailable"
    assert listener.text == joined(words(16))
    assert calls_of(listener.heard) == {}
    assert trial.stage.teacher.requests == []


def test_a_tool_call_alone_that_breaks_off_goes_to_the_teacher(trial: Trial) -> None:
    trial.student_says(ROLE, *tool_call("weather", GOOD[:1]), BreakOff())
    trial.teacher_says(ROLE, *TAUGHT_CALL, *finish("tool_calls"))
    listener = trial.ask(tools=[TOOL]).whole()
    assert calls_of(listener.heard) == {0: ("weather", '{"city": "Rome"}')}
    assert listener.headers["x-understudy-reason"] == "student_failed"


def test_a_server_that_cannot_stream_tool_calls_with_evidence_is_asked_whole(
    trial: Trial,
) -> None:
    """llama.cpp refuses log-probabilities beside tools in a stream, and has both otherwise."""
    message = {
        "content": None,
        "tool_calls": [
            {
                "id": "call-0",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
            }
        ],
    }
    choice = {"finish_reason": "tool_calls", "logprobs": {"content": tokens(*GOOD, "<end>")}}
    answer = completion(None, message=message, choice=choice)
    refusal = Reply(status=400, body={"error": {"message": "logprobs is not supported"}})
    trial.stage.student.reply = lambda request: (
        refusal if request.get("stream") else Reply(body=answer)
    )
    listener = trial.ask(tools=[TOOL]).whole()
    assert calls_of(listener.heard) == {0: ("weather", '{"city": "Paris"}')}
    assert [leg.error for leg in trial.fact.legs] == ["upstream_refused", None]
    whole_answer = trial.answer("aborting", tools=[TOOL])
    assert whole_answer.choices[0].finish_reason == "tool_calls"
    assert [each.get("stream", False) for each in trial.stage.student.requests] == [
        True, False, True, False,
    ]  # fmt: skip


def test_a_refusal_of_the_teacher_is_not_asked_for_twice(trial: Trial) -> None:
    trial.stage.teacher.reply = Reply(status=400, body={"error": {"message": "no such tool"}})
    listener = trial.ask("unlearned", tools=[TOOL]).wait_for_end()
    assert getattr(listener.error, "status_code", None) == 400
    assert len(trial.stage.teacher.requests) == 1


def test_json_is_out_once_it_is_whole(trial: Trial) -> None:
    pieces = ["{", *[f'"k{number}": {number}, ' for number in range(30)], '"end": 1', "}"]
    end = trial.event()
    trial.student_says(ROLE, Words(pieces), Until(end), *finish(usage=used(33)))
    listener = trial.ask(**JSON)
    trial.wait_for_events(trial.stage.student, 34)
    assert listener.heard == []  # far beyond the window
    end.set()
    assert listener.whole().text == joined(pieces)
    assert listener.headers["x-understudy-reason"] == "confident"


def test_json_that_is_none_is_deferred_however_sure(trial: Trial) -> None:
    end, more = trial.event(), trial.event()
    trial.student_says(ROLE, Words(['{"a": ', "1"]), Until(end), *finish())
    trial.teacher_says(ROLE, Words(['{"a": ']), Until(more), Words(["2}"]), *finish())
    listener = trial.ask(**JSON)
    trial.wait_for_events(trial.stage.student, 3)
    assert listener.heard == []
    assert trial.stage.teacher.requests == []
    end.set()
    listener.wait_for('{"a": ')  # the teacher's, as it comes: it is judged by nobody
    assert trial.taught.began - trial.drafted.sent_at[-1] < AT_ONCE
    more.set()
    assert listener.whole().text == '{"a": 2}'
    assert listener.headers["x-understudy-reason"] == "invalid_structure"


def test_json_that_breaks_its_schema_is_deferred(trial: Trial) -> None:
    schema = {"type": "object", "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    trial.student_says(*whole(['{"b": ', "1}"]))
    trial.teacher_says(*whole(['{"a": ', "1}"]))
    assert trial.ask(response_format=form).whole().text == '{"a": 1}'
    assert trial.fact.reason == "invalid_structure"


def test_hopeless_json_is_given_up_early_and_never_handed_over(trial: Trial) -> None:
    pieces = ["{", *[f'"k{number}": 1, ' for number in range(15)]]
    sure, doubted = Words(pieces), Words(pieces[1:], HOPELESS)
    trial.student_says(ROLE, sure, doubted, Words(["x"], HOPELESS), Until(trial.event()))
    trial.teacher_says(*whole(["{", "}"]))
    listener = trial.ask("continuing", **JSON).whole()
    assert listener.text == "{}"
    assert trial.taught.began - trial.drafted.sent_at[-1] < AT_ONCE
    assert "continue_final_message" not in trial.taught.request
    assert trial.fact.reason == "low_confidence"


@pytest.mark.parametrize("is_begun", [False, True])
def test_json_waits_beyond_the_time_bound(lone_trial: Trial, is_begun: bool) -> None:
    """Half of it is no answer, however slow: a time bound cannot let it out."""
    trial = lone_trial
    pieces = Words(["{", *[f'"k{number}": 1, ' for number in range(15)]])
    begun: list[Step] = [ROLE, pieces, Until(trial.event())]
    trial.student_says(*(begun if is_begun else [Queued(trial.event())]))
    listener = trial.ask("hasty", patience=0.6, **JSON).wait_for_end()
    assert isinstance(listener.error, openai.APITimeoutError)
    assert listener.heard == []
    assert len(trial.stage.student.requests) == 1
    assert trial.stage.teacher.requests == []
    assert trial.fact.ending == "cancelled"


def test_any_chunk_may_hold_call_and_text_at_once(trial: Trial) -> None:
    (head, *_) = tool_call("weather", [])
    both = Raw(
        chunk(
            {
                "content": "Look: ",
                "tool_calls": [
                    {
                        "index": 0,
                        "id": "c",
                        "type": "function",
                        "function": {"name": "weather", "arguments": "".join(GOOD)},
                    }
                ],
            },
            [entry("Look: ", SURE)],
        )
    )
    assert isinstance(head, Raw)
    trial.student_says(ROLE, both, *finish("tool_calls"))
    listener = trial.ask(tools=[TOOL]).whole()
    assert listener.text == "Look: "
    assert calls_of(listener.heard) == {0: ("weather", joined(GOOD))}
    assert trial.upstream("assistant", Role.STUDENT).open_calls == 0
