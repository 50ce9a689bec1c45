import io
import json
import logging
from select import PIPE_BUF
from typing import Any

import pytest

from gateway.errors import UpstreamTimeout
from gateway.facts import ABORTED, SPARE, Denial, Leg, RequestSettled
from gateway.ledger import Ledger
from gateway.passage import Passage, PassedCall, PassedThrough
from gateway.ports import Damage, StreamKind, Trouble
from gateway.server_facts import BreakerChanged, CachedTokensAsked, TeacherProbed
from gateway.telemetry.log import (
    Log,
    ServerLogHandler,
    log_cached_tokens,
    log_passed,
    log_probed,
    new_log,
)
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.observer import Observer
from gateway.telemetry.request_line import request_line
from gateway.wire.passing import PassedRoute
from routing.money import Usage
from routing.streaming import Doubt
from routing.vocabulary import Confidence, Handover, NotAsked, Obstacle, Reason, Role
from tests.gateway.telemetry.test_metrics import fact


def log_settled(log: Log, fact: RequestSettled) -> None:
    log.lines([request_line(fact)])


def lines(stream: io.BytesIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_what_passes_to_a_named_model_is_one_line_without_its_content() -> None:
    stream = io.BytesIO()
    log = new_log("info", stream)
    call = PassedCall(0.1, Usage(7, 0), 5)
    told: dict[str, Any] = {
        "route": PassedRoute.SCORE,
        "status": 200,
        "seconds": 0.25,
        "tenant": "t",
    }
    log_passed(log, PassedThrough("r", "emb", outcome=Passage.PASSED, call=call, **told))
    call = PassedCall(0.1, None, None, "upstream_timeout", "It did not answer.")
    failed: dict[str, Any] = {"outcome": Passage.FAILED, "error_code": "upstream_timeout"}
    log_passed(log, PassedThrough("r", "emb", call=call, **told | failed))
    fine, wrong = lines(stream)
    fine.pop("timestamp")
    assert fine == {
        "event": "passed",
        "level": "info",
        "request_id": "r",
        "model": "emb",
        "route": "score",
        "tenant": "t",
        "outcome": "passed",
        "status": 200,
        "seconds": 0.25,
        "cost_usd": "0.000000000005",
        "tokens": 7,
        "error": None,
    }
    assert wrong["failure"] == wrong["error"] == "upstream_timeout"
    assert wrong["detail"] == "It did not answer."
    assert wrong["cost_usd"] is None


def test_a_request_is_one_line_of_json() -> None:
    stream = io.BytesIO()
    log_settled(new_log("info", stream), fact(confidence=Confidence(1 / 3)))
    (line,) = lines(stream)
    assert line["event"] == "request"
    assert line["request_id"] == "r"
    assert line["outcome"] == "kept"
    assert line["served_by"] == "student"
    assert line["confidence"] == 0.333333
    assert line["cost_usd"] == "0.000000000005"
    assert line["tokens"] == 110
    assert line["level"] == "info"


def test_the_bill_is_told_by_kind_where_not_all_of_it_was_served() -> None:
    stream = io.BytesIO()
    wasted = Leg(Role.STUDENT, Usage(0, 20), 40, 0.5, ABORTED, is_estimated=True)
    unknown = Leg(Role.TEACHER, None, None, 0.5, ABORTED)
    log_settled(new_log("info", stream), fact(legs=(*fact().legs, wasted)))
    log_settled(new_log("info", stream), fact(legs=(*fact().legs, wasted, unknown)))
    log_settled(new_log("info", stream), fact())
    first, second, third = lines(stream)
    by_kind = {"served": "0.000000000005", "wasted": "0.00000000004"}
    assert first["cost_by_kind"] == by_kind
    assert first["estimated"] is True
    assert second["cost_by_kind"] == by_kind | {"wasted": None}
    assert "cost_by_kind" not in third
    assert "estimated" not in third


def test_a_traced_request_names_its_trace() -> None:
    stream = io.BytesIO()
    log_settled(new_log("info", stream), fact(trace_id="0af7651916cd43dd8448eb211c80319c"))
    log_settled(new_log("info", stream), fact())
    traced, untraced = lines(stream)
    assert traced["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert "trace_id" not in untraced


def test_a_stream_tells_its_first_byte_and_no_draft_given_up_is_a_failure() -> None:
    stream = io.BytesIO()
    aborted = Leg(Role.STUDENT, None, None, 0.5, ABORTED)
    of_stream = {"is_stream": True, "first_byte_seconds": 1 / 3, "handover": Handover.CONTINUE}
    log_settled(new_log("info", stream), fact(legs=(aborted,), **of_stream))
    log_settled(new_log("info", stream), fact())
    first, second = lines(stream)
    assert (first["first_byte_seconds"], first["handover"]) == (0.333333, "continue")
    assert "failures" not in first
    assert "handover" not in second


def test_drafts_beside_the_one_that_counts_are_no_failures() -> None:
    stream = io.BytesIO()
    spare = Leg(Role.STUDENT, Usage(0, 20), 40, 0.5, SPARE)
    log_settled(new_log("info", stream), fact(legs=(*fact().legs, spare)))
    (line,) = lines(stream)
    assert "failures" not in line
    assert (line["tokens"], line["cost_usd"]) == (130, "0.000000000045")


def test_a_doubt_is_told_with_what_raised_it_and_why_nobody_took_over() -> None:
    stream = io.BytesIO()
    doubt = Doubt(32, Reason.LOW_CONFIDENCE, Confidence(1 / 3))
    told = {"doubt": doubt, "obstacle": Obstacle.TEACHER_CANNOT, "handover": Handover.NEVER}
    log_settled(new_log("info", stream), fact(is_stream=True, **told))
    silent = Doubt(16, Reason.INVALID_STRUCTURE, None)
    log_settled(new_log("info", stream), fact(is_stream=True, doubt=silent))
    log_settled(new_log("info", stream), fact(is_stream=True))
    first, second, third = lines(stream)
    assert first["doubt_reason"] == "low_confidence"
    assert first["doubt_confidence"] == 0.333333
    assert first["doubt_at_tokens"] == 32
    assert first["not_handed_over"] == "teacher_cannot"
    assert second["doubt_confidence"] is None
    assert "not_handed_over" not in second
    assert not [name for name in third if "doubt" in name or "handed" in name]


def test_a_model_that_was_not_asked_is_told_with_the_reason() -> None:
    stream = io.BytesIO()
    denials = [Denial(Role.STUDENT, NotAsked.LEFT_ALONE), Denial(Role.TEACHER, NotAsked.NO_ROOM)]
    log_settled(new_log("info", stream), fact(denials=denials))
    assert lines(stream)[0]["failures"] == [
        {"role": "student", "error": "left_alone"},
        {"role": "teacher", "error": "no_room"},
    ]


def test_a_breaker_tells_which_failure_opened_it() -> None:
    stream = io.BytesIO()
    observer = Observer(
        Metrics(version="0", calibrated={}), new_log("info", stream), Ledger("origin", lambda: 0.0)
    )
    observer.breaker_changed(
        BreakerChanged("a", Role.STUDENT, "http://s/v1", UpstreamTimeout("not in time"), 1)
    )
    observer.breaker_changed(BreakerChanged("a", Role.STUDENT, "http://s/v1", None))
    opened, closed = lines(stream)
    assert (opened["event"], opened["open"]) == ("breaker", True)
    assert opened["server"] == "http://s/v1"
    assert (opened["error"], opened["detail"]) == ("upstream_timeout", "not in time")
    assert (closed["open"], "error" in closed) == (False, False)


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.BytesIO()
    log_settled(new_log("warning", stream), fact())
    assert lines(stream) == []


def test_a_bug_has_its_traceback_in_the_log() -> None:
    stream = io.BytesIO()
    log = new_log("info", stream)
    try:
        raise RuntimeError("detail")
    except RuntimeError:
        log.exception("bug")
    assert "RuntimeError: detail" in lines(stream)[0]["exception"]


def test_the_server_s_own_words_become_lines_of_json() -> None:
    stream = io.BytesIO()
    handler = ServerLogHandler(new_log("info", stream))
    try:
        raise RuntimeError("detail")
    except RuntimeError as error:
        info = (type(error), error, error.__traceback__)
        handler.emit(logging.LogRecord("uvicorn", logging.ERROR, "x", 1, "at %d", (5,), info))
    (line,) = lines(stream)
    assert line["message"] == "at 5"
    assert line["level"] == "error"
    assert "RuntimeError" in line["exception"]


def test_a_lost_pair_and_a_failing_store_are_told_with_place_and_cause() -> None:
    stream = io.BytesIO()
    observer = Observer(
        Metrics(version="0", calibrated={}), new_log("info", stream), Ledger("origin", lambda: 0.0)
    )
    observer.pair_lost("a", "write_failed", Trouble("/state/pairs.jsonl", 28, "No space left"))
    observer.store_failed("ConnectionError", Trouble("valkey:6379", 111, "Connection refused"))
    observer.store_failed("NoPermissionError", Trouble("valkey:6379"), "a", StreamKind.LEDGER)
    lost, failed, refused = lines(stream)
    assert (refused["cascade"], refused["records"]) == ("a", "ledger")
    assert (failed["cascade"], failed["records"]) == (None, None)
    assert (lost["event"], lost["cause"], lost["level"]) == ("pair_lost", "write_failed", "error")
    assert (lost["place"], lost["errno"]) == ("/state/pairs.jsonl", 28)
    assert lost["strerror"] == "No space left"
    assert (failed["event"], failed["error"]) == ("store_failed", "ConnectionError")
    assert (failed["place"], failed["errno"]) == ("valkey:6379", 111)
    assert failed["strerror"] == "Connection refused"


def test_what_becomes_of_pairs_and_their_journal_is_told_and_counted() -> None:
    stream = io.BytesIO()
    metrics = Metrics(version="0", calibrated={"a": True})
    observer = Observer(metrics, new_log("info", stream), Ledger("origin", lambda: 0.0))
    observer.pair_written("a")
    observer.pair_shipped("a")
    observer.pairs_expired("a", "age", 3)
    observer.pairs_deleted("a", 2)
    observer.journal_adopted("/state/journals/x", 7)
    observer.journal_damaged(Damage("/state/x.seg", 30, 5, True, "/state/damaged/x"))
    observer.journal_failed(Trouble("/state", 5, "Input/output error"))
    observer.store_changed(is_durable=True)
    observer.store_changed(is_durable=False)
    observer.store_changed(is_durable=False)
    observer.store_seen(is_evicting=False)
    observer.store_seen(is_evicting=True)
    observer.store_seen(is_evicting=True)
    try:
        raise RuntimeError("detail")
    except RuntimeError:
        observer.shipping_ended()
    told = lines(stream)
    assert [line["event"] for line in told] == [
        "pairs_expired",
        "pairs_deleted",
        "journal_adopted",
        "journal_damaged",
        "journal_failed",
        "store_not_durable",
        "store_evicts",
        "bug",
    ]
    assert (told[0]["cause"], told[0]["count"]) == ("age", 3)
    damage = ("place", "offset", "bytes", "torn", "kept")
    expected = ["/state/x.seg", 30, 5, True, "/state/damaged/x"]
    assert [told[3][name] for name in damage] == expected
    assert "RuntimeError: detail" in told[-1]["exception"]

    def sample(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, labels)

    assert sample("understudy_pairs_written_total", cascade="a") == 1
    assert sample("understudy_pairs_shipped_total", cascade="a") == 1
    assert sample("understudy_pairs_expired_total", cascade="a", cause="age") == 3
    assert sample("understudy_pairs_deleted_total", cascade="a") == 2
    assert sample("understudy_journal_damaged_total", kind="torn") == 1
    assert sample("understudy_store_durable") == 0
    assert sample("understudy_store_evicts") == 1


class Full(io.BytesIO):
    """A stream on a full disk."""

    def write(self, _: Any) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None:
        raise BrokenPipeError


def test_a_log_that_cannot_be_written_costs_nothing_but_the_line() -> None:
    lost = []
    log_settled(new_log("info", Full(), lambda: lost.append(1)), fact())
    assert lost == [1]


class Pipe(io.BytesIO):
    """Remembers how much was written at once."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []

    def write(self, piece: Any) -> int:
        self.pieces.append(bytes(piece))
        return super().write(piece)


@pytest.mark.parametrize("spare", [0, -1], ids=["all of it", "a byte too much"])
def test_lines_are_written_together_as_far_as_a_pipe_takes_them_in_one_piece(spare: int) -> None:
    one = Pipe()
    log_settled(new_log("info", one), fact())
    length = len(one.getvalue())
    count, rest = divmod(PIPE_BUF, length)
    last = fact(request_id="r" * (rest - spare + 1))
    made = [request_line(each) for each in (*[fact()] * (count - 1), last, fact())]
    stream = Pipe()
    new_log("info", stream).lines(made)
    sizes = [len(piece) for piece in stream.pieces]
    first = length * (count - 1)
    assert sizes == ([PIPE_BUF, length] if spare == 0 else [first, length + rest + 1 + length])
    assert all(piece.endswith(b"\n") for piece in stream.pieces)
    assert len(lines(stream)) == count + 1


def test_a_line_that_is_longer_than_a_piece_is_written_by_itself() -> None:
    stream = Pipe()
    long = fact(request_id="r" * PIPE_BUF)
    new_log("info", stream).lines([request_line(each) for each in (long, fact(), long)])
    assert [piece.count(b"\n") for piece in stream.pieces] == [1, 1, 1]


def test_each_line_of_a_piece_that_cannot_be_written_is_lost() -> None:
    lost: list[int] = []
    new_log("info", Full(), lambda: lost.append(1)).lines([request_line(fact())] * 3)
    assert lost == [1] * 3


def test_a_failed_call_is_told_with_its_cause() -> None:
    stream = io.BytesIO()
    why = "not in time (TimeoutError)"
    leg = Leg(Role.STUDENT, None, None, 0.5, "upstream_timeout", why, server=1)
    log_settled(new_log("info", stream), fact(legs=(leg,)))
    assert lines(stream)[0]["failures"] == [
        {
            "role": "student",
            "server": 1,
            "error": "upstream_timeout",
            "detail": why,
            "seconds": 0.5,
        }
    ]


@pytest.mark.parametrize(
    ("answer", "attempt", "level"),
    [(True, 3, "info"), (False, 1, "warning"), (None, 1, "warning"), (None, 2, "debug")],
)
def test_what_a_probe_saw_is_told_once(answer: bool | None, attempt: int, level: str) -> None:
    stream = io.BytesIO()
    fact = TeacherProbed("a", attempt, answer, "as seen", (), "http://t", answer is True)
    log_probed(new_log("debug", stream), fact)
    (line,) = lines(stream)
    assert (line["event"], line["level"]) == ("continuation", level)
    assert (line["cascade"], line["can_continue"], line["saw"]) == ("a", answer, "as seen")
    assert (line["attempt"], line["server"]) == (attempt, "http://t")


def test_a_line_says_where_a_cost_is_estimated() -> None:
    stream = io.BytesIO()
    guessed = Leg(Role.STUDENT, Usage(100, 10), 5, 0.5, ABORTED, is_estimated=True)
    log_settled(new_log("info", stream), fact(legs=(guessed,)))
    log_settled(new_log("info", stream), fact())
    estimated, exact = lines(stream)
    assert estimated["estimated"] is True
    assert "estimated" not in exact


@pytest.mark.parametrize(
    ("answer", "attempt", "level"),
    [(True, 3, "info"), (False, 1, "warning"), (None, 1, "warning"), (None, 2, "debug")],
)
def test_what_a_server_tells_of_its_cache_is_told_once(
    answer: bool | None, attempt: int, level: str
) -> None:
    stream = io.BytesIO()
    asked = CachedTokensAsked("a", Role.TEACHER, attempt, answer, "as seen", (), "http://t", False)
    log_cached_tokens(new_log("debug", stream), asked)
    (line,) = lines(stream)
    assert (line["event"], line["level"]) == ("cached_tokens", level)
    assert (line["cascade"], line["role"], line["saw"]) == ("a", "teacher", "as seen")
    assert ("--enable-prompt-tokens-details" in line["message"]) is (answer is False)
