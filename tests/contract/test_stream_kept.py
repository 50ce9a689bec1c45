"""A draft that is kept reaches the client at the student's pace, from the window's end on."""

import json
import time

import pytest

from tests.fakes.chunks import chunk, payload, usage_report
from tests.fakes.script import (
    ROLE,
    Pause,
    Pieces,
    Raw,
    Until,
    Words,
    content_of,
    entry,
    finish,
    payloads,
    used,
    whole,
)
from tests.fakes.trial import AT_ONCE, MIDDLING, SURE, Trial, joined, words


def test_a_kept_draft_waits_for_the_window_and_then_for_nothing(trial: Trial) -> None:
    window, rest = words(16), words(8, "r")
    full, more = trial.event(), trial.event()
    trial.student_says(
        ROLE, Words(window[:15]), Until(full), Words(window[15:]), Until(more), Words(rest),
        *finish(),
    )  # fmt: skip
    listener = trial.ask()
    trial.wait_for_events(trial.stage.student, 16)
    assert listener.heard == []
    assert listener.headers == {}
    filled_at = time.monotonic()
    full.set()
    # The student is silent, and all of the window arrives.
    assert listener.wait_for(joined(window)) - filled_at < AT_ONCE
    assert listener.heard_at[0] > filled_at
    more.set()
    assert listener.whole().text == joined(window, rest)
    assert listener.finish_reason == "stop"
    assert trial.stage.teacher.requests == []
    assert trial.pairs() == []


def test_after_the_window_each_token_comes_as_it_is_written(trial: Trial) -> None:
    told = words(19)
    nexts = [trial.event() for _ in range(3)]
    steps = [step for i in range(3) for step in (Until(nexts[i]), Words([told[16 + i]]))]
    trial.student_says(ROLE, Words(told[:16]), *steps, *finish())
    listener = trial.ask()
    for place, event in enumerate(nexts):
        listener.wait_for(joined(told[: 16 + place]))
        assert listener.text == joined(told[: 16 + place])
        event.set()
    assert listener.whole().text == joined(told)


def test_what_is_told_of_a_kept_stream(trial: Trial) -> None:
    trial.student_says(ROLE, Words(words(20)), *finish(usage=used(20)))
    listener = trial.ask(stream_options={"include_usage": True}).whole()
    assert listener.headers["content-type"].startswith("text/event-stream")
    assert listener.headers["x-accel-buffering"] == "no"
    assert listener.headers["x-understudy-served-by"] == "student"
    assert listener.headers["x-understudy-reason"] == "confident"
    assert listener.headers["x-understudy-cascade"] == "assistant"
    assert float(listener.headers["x-understudy-confidence"]) > 0.9
    assert "x-understudy-cost-usd" not in listener.headers  # nobody knows it yet
    assert listener.said == {
        "served_by": "student",
        "reason": "confident",
        "confidence": listener.said["confidence"],
        "degraded": None,
        "cost_usd": "0.0000032",  # 100 * 0.02 + 20 * 0.06 millionths
    }
    assert trial.fact.ending == "kept"
    assert trial.fact.is_stream
    assert trial.fact.first_byte_seconds is not None
    assert trial.fact.first_byte_seconds <= trial.fact.seconds
    assert trial.legs == [("student", None, 20)]
    assert trial.counted("understudy_requests_total", cascade="assistant", outcome="kept") == 1
    name = "understudy_first_byte_seconds_count"
    assert trial.counted(name, cascade="assistant", outcome="kept") == 1
    name = "understudy_cost_usd_total"
    served = trial.counted(name, cascade="assistant", role="student", kind="served")
    assert served == pytest.approx(0.0000032)


def test_a_draft_that_ends_inside_the_window_is_judged_whole(trial: Trial) -> None:
    end = trial.event()
    trial.student_says(ROLE, Words(words(5)), Until(end), *finish())
    listener = trial.ask()
    trial.wait_for_events(trial.stage.student, 6)
    assert listener.heard == []
    end.set()
    assert listener.whole().text == joined(words(5))
    assert trial.fact.reason == "confident"


def test_a_chunk_of_several_tokens_counts_as_many(trial: Trial) -> None:
    """The window ends within a chunk; that one is out with all of it."""
    more = trial.event()
    straddling = Raw(chunk({"content": "a b c "}, [entry(each, SURE) for each in "abc"]))
    trial.student_says(ROLE, Words(words(14)), straddling, Until(more), Words(["d"]), *finish())
    listener = trial.ask()
    listener.wait_for(joined(words(14)) + "a b c ")
    more.set()
    assert listener.whole().text == joined(words(14)) + "a b c d"


def test_the_time_bound_lets_a_slow_draft_out(trial: Trial) -> None:
    """The first 8 tokens are enough, and 16 do not come: the window is over all the same."""
    more = trial.event()
    trial.student_says(ROLE, Words(words(9)), Until(more), Words(words(3, "r")), *finish())
    listener = trial.ask("hasty")
    listener.wait_for(joined(words(9)))
    waited = listener.heard_at[0] - trial.drafted.began
    assert 0.25 < waited < 2
    more.set()
    assert listener.whole().text == joined(words(9), words(3, "r"))
    assert listener.headers["x-understudy-reason"] == "confident"


def test_a_stream_goes_on_after_its_time_bound(trial: Trial) -> None:
    trial.student_says(ROLE, Words(words(16)), Pause(0.4), Words(words(3, "r")), *finish())
    assert trial.ask("hasty").whole().text == joined(words(16), words(3, "r"))


def test_characters_may_be_cut_anywhere_on_the_wire(trial: Trial) -> None:
    said = "Köln – 東京 \N{GRINNING FACE}"
    body = json.loads(chunk({"content": said}, [entry(said, SURE)]))
    event = f"data: {json.dumps(body, ensure_ascii=False)}\n\n".encode()
    start, end = event.index(b"K"), event.index(b'"logprobs')
    pieces = [event[:start], *(bytes([each]) for each in event[start:end]), event[end:]]
    trial.student_says(ROLE, Pieces(pieces), *finish())
    assert trial.ask().whole().text == said


def test_half_a_character_is_a_token_without_text(trial: Trial) -> None:
    """vLLM holds text back until its bytes make a character; the token counts all the same."""
    half = Raw(chunk({"content": ""}, [entry("�", SURE)]))
    more = trial.event()
    trial.student_says(
        ROLE, Words(words(14)), half, Words(["東 "]), Until(more), Words(["京"]), *finish()
    )
    listener = trial.ask()
    listener.wait_for(joined(words(14)) + "東 ")
    more.set()
    assert listener.whole().text == joined(words(14)) + "東 京"


def test_empty_deltas_are_no_tokens(trial: Trial) -> None:
    """Chunks without words do not fill the window."""
    empty, full = Raw(chunk({})), trial.event()
    trial.student_says(
        ROLE, Words(words(15)), *[empty] * 5, Until(full), Words(["16th"]), empty, *finish()
    )
    listener = trial.ask()
    trial.wait_for_events(trial.stage.student, 21)
    assert listener.heard == []
    full.set()
    assert listener.whole().text == joined(words(15)) + "16th"


def test_the_last_words_may_come_with_the_finish(trial: Trial) -> None:
    last = chunk({"content": "end"}, [entry("end", SURE)], {"finish_reason": "stop"})
    trial.student_says(ROLE, Words(words(20)), Raw(last), Raw(usage_report()))
    listener = trial.ask().whole()
    assert listener.text == joined(words(20)) + "end"
    assert listener.finish_reason == "stop"


def test_what_follows_the_finish_follows_it_still(trial: Trial) -> None:
    """The finish waits for the bill, and nothing overtakes it."""
    extra = Raw(payload(choices=[], prompt_filter_results=[]))
    trial.student_says(ROLE, Words(words(20)), finish()[0], extra, finish()[1])
    listener = trial.ask().whole()
    assert listener.heard[-1].choices == []
    assert listener.heard[-2].choices[0].finish_reason == "stop"


def test_an_answer_cut_by_its_length_says_so(trial: Trial) -> None:
    trial.student_says(ROLE, Words(words(20)), *finish("length"))
    listener = trial.ask(max_tokens=20).whole()
    assert listener.finish_reason == "length"
    assert listener.text == joined(words(20))
    assert trial.drafted.request["max_tokens"] == 20


def test_a_stop_sequence_is_the_model_servers(trial: Trial) -> None:
    last = chunk({}, choice={"finish_reason": "stop", "stop_reason": "END"})
    trial.student_says(ROLE, Words(words(20)), Raw(last), Raw(usage_report()))
    listener = trial.ask(stop=["END"]).whole()
    assert trial.drafted.request["stop"] == ["END"]
    assert (listener.heard[-1].choices[0].model_extra or {})["stop_reason"] == "END"


def test_a_stream_has_one_identity(trial: Trial) -> None:
    def named(number: int, **fields: object) -> Raw:
        return Raw(payload(id=f"chatcmpl-{number}", created=number, **fields))

    delta = {"delta": {"content": "x "}, "index": 0, "logprobs": {"content": [entry("x ", SURE)]}}
    trial.student_says(*(named(1_000 + i, choices=[delta]) for i in range(20)), *finish())
    listener = trial.ask().whole()
    assert {(each.id, each.created, each.model) for each in listener.heard} == {
        ("chatcmpl-1000", 1000, "assistant")
    }


@pytest.mark.parametrize("is_running", [False, True], ids=["end", "running"])
def test_usage_comes_once_and_only_where_it_is_asked_for(trial: Trial, is_running: bool) -> None:
    trial.student_says(ROLE, Words(words(20), is_counted=is_running), *finish(usage=used(20)))
    listener = trial.ask(stream_options={"include_usage": True}).whole()
    last = listener.heard[-1]
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 20
    assert [each.usage for each in listener.heard[:-1]] == [None] * (len(listener.heard) - 1)
    assert all("usage" in each.model_fields_set for each in listener.heard)


def test_usage_that_nobody_asked_for_is_taken_out(trial: Trial) -> None:
    trial.student_says(ROLE, Words(words(20), is_counted=True), *finish(usage=used(20)))
    listener = trial.ask().whole()
    assert not any("usage" in each.model_fields_set for each in listener.heard)
    assert listener.heard[-1].choices[0].finish_reason == "stop"
    assert listener.said["served_by"] == "student"
    assert trial.drafted.request["stream_options"] == {
        "include_usage": True,
        "continuous_usage_stats": True,
    }
    assert trial.legs == [("student", None, 20)]


@pytest.mark.parametrize(("asked", "requested", "given"), [(0, 2, 0), (1, 2, 1), (5, 5, 2)])
def test_log_probabilities_are_those_that_were_asked_for(
    trial: Trial, asked: int, requested: int, given: int
) -> None:
    """The scripted student has two candidates for each token, whatever it is asked for."""
    trial.student_says(*whole(words(20)))
    listener = trial.ask(logprobs=True, top_logprobs=asked).whole()
    assert trial.drafted.request["top_logprobs"] == requested
    entries = [
        each
        for heard in listener.heard
        if (logprobs := heard.choices[0].logprobs) is not None
        for each in logprobs.content or ()
    ]
    assert [each.token for each in entries] == words(20)
    assert {len(each.top_logprobs) for each in entries} == {given}


def test_log_probabilities_that_nobody_asked_for_are_taken_out(trial: Trial) -> None:
    trial.student_says(*whole(words(20)))
    listener = trial.ask().whole()
    assert [each.choices[0].logprobs for each in listener.heard] == [None] * len(listener.heard)


def test_a_comment_keeps_the_connection_and_the_answer_follows(lone_trial: Trial) -> None:
    trial, end = lone_trial, lone_trial.event()
    trial.student_says(ROLE, Words(words(5)), Until(end), *finish())
    question = trial.stage.question | {"model": "wakeful", "stream": True}
    with trial.stage.client.stream("POST", "/v1/chat/completions", json=question) as response:
        # Nobody knows yet who will answer, and so the headers do not say.
        assert response.status_code == 200
        assert "x-understudy-served-by" not in response.headers
        assert "x-understudy-reason" not in response.headers
        assert response.headers["x-understudy-cascade"] == "wakeful"
        lines = response.iter_lines()
        assert next(lines).startswith(":")
        assert next(lines) == ""
        end.set()
        text = "\n".join(lines)
    chunks = payloads(text)
    assert content_of(chunks) == joined(words(5))
    assert chunks[-1]["understudy"]["served_by"] == "student"
    assert chunks[-1]["understudy"]["reason"] == "confident"
    assert text.rstrip().endswith("data: [DONE]")


def test_comments_come_between_words_too(lone_trial: Trial) -> None:
    trial, more = lone_trial, lone_trial.event()
    trial.student_says(ROLE, Words(words(16)), Until(more), Words(words(2, "r")), *finish())
    question = trial.stage.question | {"model": "wakeful", "stream": True}
    with trial.stage.client.stream("POST", "/v1/chat/completions", json=question) as response:
        assert response.headers["x-understudy-served-by"] == "student"
        lines = response.iter_lines()
        before = [line for line in iter(lines.__next__, ": waiting for the model") if line]
        assert len(before) == 17
        more.set()
        after = [line for line in lines if line.startswith("data: ")]
    assert len(after) == 4


def test_middling_tokens_are_not_enough(trial: Trial) -> None:
    """The edge of the rule these tests rest on: MIDDLING is neither kept nor given up early."""
    trial.student_says(*whole(words(20), MIDDLING))
    assert trial.ask().whole().headers["x-understudy-served-by"] == "teacher"
    assert trial.fact.confidence is not None
    assert 0.4 < trial.fact.confidence.value < 0.8
