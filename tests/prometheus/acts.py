"""What the traffic is made of: each act is one request, what the models say to it, what is due.

The kinds of its calls and what becomes of it are written here by hand, from the documentation.
What the calls cost is the models' own book's to say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any

from tests.fakes.chunks import chunk
from tests.fakes.script import Raw, Step, Until
from tests.fakes.upstream import Reply
from tests.prometheus.replies import Speech, Tokens, broken, choices

SURE, UNSURE, HOPELESS = -0.01, -3.0, -7.0
# Nobody sets it: who waits for it waits until the gateway hangs up.
_NEVER = Event()


@dataclass(frozen=True)
class Turn:
    """One call that an act makes to a model, what the model says and what the call is.

    ``kind`` is what its tokens were paid for; ``error`` the code under which it failed, or
    ``aborted``; ``is_unknown``: nobody can know what it cost, ``is_estimated``: its tokens are
    counted from what came of it, for the server never told them.  ``rest`` is what it still streams
    once the other model was asked.  ``part`` has a line of the bill to itself, with its kind.
    """

    kind: str
    reply: Reply
    error: str | None = None
    is_unknown: bool = False
    is_estimated: bool = False
    rest: Sequence[Step] = ()
    part: tuple[str, Tokens] | None = None


@dataclass(frozen=True)
class Act:
    """One request.

    ``asks`` changes its body, ``headers`` are more of those; ``tenant`` sends it; ``leaves_after``
    is after how many words of a stream its client leaves, 0 being before the first byte.  The rest
    is what the counters are to say of it: ``begun`` is what a stream was when its first byte went,
    ``begun_tokens`` how much was out when the teacher went on; ``held_out`` is what it becomes
    where a coin gives it to the teacher.
    """

    name: str
    cascade: str
    outcome: str
    student: Sequence[Turn] = ()
    teacher: Sequence[Turn] = ()
    asks: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    tenant: str = "search"
    leaves_after: int | None = None
    verdict: str | None = None
    reason: str | None = None
    degraded: str | None = None
    doubt: str | None = None
    begun: str | None = None
    begun_tokens: int = 0
    pairs: int = 0
    held_out: "Act | None" = None

    @property
    def is_stream(self) -> bool:
        return bool(self.asks.get("stream"))

    @property
    def is_draft_cut(self) -> bool:
        """Whether a draft of it was never whole."""
        return any(turn.error is not None and not turn.rest for turn in self.student)

    def turns(self, role: str) -> Sequence[Turn]:
        """The calls to one of the models."""
        return self.student if role == "student" else self.teacher


STREAM = {"stream": True}
WAIT = Until(_NEVER)


def speech(count: int, tokens: Tokens | None, sure: float = SURE, **options: Any) -> Speech:
    """An answer of so many words, all alike sure."""
    return Speech([sure] * count, tokens, **options)


DRAFT = Tokens(input=120, output=20, cached=64, reasoning=4)
ANSWER = Tokens(input=130, output=45, cached=32, reasoning=16)
LONG = Tokens(input=1_207, output=24, cached=1_024)
TAUGHT = Tokens(input=1_311, output=57)
SPLICED = Tokens(input=151, output=31, cached=128)

GOOD = Turn("served", speech(20, DRAFT).reply())
GOOD_LONG = Turn("served", speech(24, LONG).reply())
POOR = Turn("wasted", speech(20, DRAFT, UNSURE).reply())
TEACHERS = Turn("served", speech(12, ANSWER).reply())
TEACHERS_LONG = Turn("served", speech(12, TAUGHT).reply())
DOWN = Reply(status=500, body={"error": {"message": "out of memory"}})
HALF = "Half an "
SLOW_SECONDS = 0.02
# It says when to come again, so nobody asks it a second time for the same request.
AWAY = Reply(
    status=503,
    body={"error": {"message": "no healthy upstream"}},
    headers={"retry-after": "1"},
)

# A draft that is given up at its first checkpoint, and one that falls into doubt at the third.
GIVEN_UP = Turn("wasted", speech(8, DRAFT, HOPELESS, is_counted=True).reply(WAIT), "aborted")
DOUBTED = Speech([SURE] * 17 + [HOPELESS] * 15, DRAFT, is_counted=True)


def _kept(name: str, cascade: str, draft: Turn = GOOD, **more: Any) -> Act:
    known: dict[str, Any] = {"student": [draft], "verdict": "keep", "reason": "confident"}
    return Act(name, cascade, "kept", **(known | more))


def _escalated(name: str, cascade: str, draft: Turn | None = POOR, **more: Any) -> Act:
    known: dict[str, Any] = {
        "student": [] if draft is None else [draft],
        "teacher": [TEACHERS],
        "verdict": "defer",
        "reason": "low_confidence",
        "pairs": 1,
    }
    return Act(name, cascade, "escalated", **(known | more))


def finished(cascade: str) -> Act:
    """A draft that is given up at its eighth token and finished off the path, to learn from."""
    draft = Speech([HOPELESS] * 20, DRAFT, is_counted=True)
    steps = draft.reply().steps or ()
    begin, rest = steps[:9], steps[9:]
    turn = Turn(
        "wasted",
        Reply(steps=begin),
        "aborted",
        rest=rest,
        part=("audit", Tokens(0, 12, reasoning=DRAFT.reasoning)),
    )
    return _escalated("finished", cascade, turn, asks=STREAM, begun="escalated", pairs=2)


def everyday(cascade: str) -> list[Act]:
    """What every cascade with two priced models can do."""
    return [
        _kept("kept", cascade),
        _kept("kept, streamed", cascade, GOOD_LONG, asks=STREAM, begun="kept"),
        _escalated("escalated", cascade),
        _escalated(
            "given up", cascade, GIVEN_UP, teacher=[TEACHERS_LONG], asks=STREAM, begun="escalated"
        ),
    ]


def mishaps(cascade: str) -> list[Act]:
    """What goes wrong, one way each."""
    failed = Turn("retry", DOWN, "upstream_failed")
    broken_off = Turn("retry", broken(), "upstream_unavailable", is_unknown=True)
    return [
        _escalated("student fails", cascade, failed, verdict=None, reason="student_failed"),
        replace(
            _escalated(
                "student breaks off", cascade, broken_off, verdict=None, reason="student_failed"
            ),
            student=[broken_off, broken_off],  # it is asked once more, for nothing has come of it
        ),
        _escalated(
            "student breaks off a stream",
            cascade,
            Turn(
                "retry",
                broken(*speech(5, DRAFT, is_counted=True).steps()[1:]),
                "upstream_unavailable",
            ),
            asks=STREAM,
            verdict=None,
            reason="student_failed",
            begun="escalated",
        ),
        Act(
            "teacher fails",
            cascade,
            "degraded",
            student=[Turn("served", speech(20, DRAFT, UNSURE).reply())],
            teacher=[Turn("wasted", DOWN, "upstream_failed")],
            verdict="defer",
            reason="low_confidence",
            degraded="teacher_failed",
        ),
        Act(
            "teacher fails a stream",
            cascade,
            "degraded",
            student=[GIVEN_UP, GOOD_LONG],
            teacher=[failed],
            asks=STREAM,
            verdict="defer",
            reason="low_confidence",
            degraded="teacher_failed",
            begun="degraded",
        ),
        Act(
            "may not escalate",
            cascade,
            "degraded",
            student=[Turn("served", speech(20, DRAFT, UNSURE).reply())],
            tenant="frugal",
            verdict="defer",
            reason="low_confidence",
            degraded="not_allowed",
        ),
        Act(
            "client leaves a stream",
            cascade,
            "cancelled",
            student=[Turn("served", speech(20, DRAFT, is_counted=True).reply(WAIT), "cancelled")],
            asks=STREAM,
            leaves_after=20,
            verdict="keep",
            reason="confident",
            begun="kept",
        ),
        Act(
            "client leaves",
            cascade,
            "cancelled",
            student=[
                Turn(
                    "wasted",
                    Reply(delay_seconds=20.0),
                    "cancelled",
                    is_unknown=True,
                )
            ],
            leaves_after=0,
        ),
    ]


def handed_over(cascade: str, way: str) -> Act:
    """A stream that falls into doubt when it is half out."""
    draft = Turn("served", DOUBTED.reply(WAIT))
    if way == "restart":
        draft = Turn("wasted", DOUBTED.reply(WAIT), "aborted")
    if way == "never":
        draft = Turn("served", DOUBTED.reply())
    known: dict[str, Any] = {
        "student": [draft],
        "asks": STREAM,
        "verdict": "keep",
        "reason": "late_doubt",
        "doubt": way,
        "begun": "kept" if way == "never" else "escalated",
    }
    if way == "never":
        return Act("doubted", cascade, "kept", **known)
    known["headers"] = {"x-understudy-handover": way}
    taught = [Turn("served", speech(12, SPLICED).reply())]
    known |= {"begun_tokens": len(DOUBTED.logprobs), "teacher": taught, "pairs": 1}
    return Act(f"handed over: {way}", cascade, "escalated", **known)


def coin(cascade: str) -> Act:
    """A draft that is kept, unless a coin gives it to the teacher, to know what is saved."""
    shadow = Turn("shadow", speech(20, DRAFT).reply())
    held_out = _escalated("held out", cascade, shadow, verdict="keep", reason="holdout")
    return replace(_kept("kept, or held out", cascade), held_out=held_out)


def untold(cascade: str) -> list[Act]:
    """Streams that end before the server has said what they took: their tokens are counted."""
    half = broken(Raw(chunk({"content": HALF})))
    return [
        Act(
            "client leaves, and no usage was told",
            cascade,
            "cancelled",
            student=[Turn("served", speech(20, DRAFT).reply(WAIT), "cancelled", is_estimated=True)],
            asks=STREAM,
            leaves_after=20,
            verdict="keep",
            reason="confident",
            begun="kept",
        ),
        Act(
            "teacher breaks off",
            cascade,
            "failed",
            student=[GIVEN_UP],
            teacher=[Turn("served", half, "upstream_unavailable", is_estimated=True)],
            asks=STREAM,
            verdict="defer",
            reason="low_confidence",
            begun="escalated",
        ),
    ]


def rented(cascade: str) -> list[Act]:
    """Drafts that take their time, which is what is paid for."""
    return [
        _kept("kept slowly", cascade, _slow(GOOD)),
        _escalated("escalated slowly", cascade, _slow(POOR)),
    ]


def _slow(turn: Turn) -> Turn:
    return replace(turn, reply=replace(turn.reply, delay_seconds=SLOW_SECONDS))


def several_drafts(cascade: str) -> Act:
    """Three drafts are written at once and one of them is served."""
    used = Tokens(input=120, output=30, cached=64)
    draft = Turn("served", choices(SURE, 3, used, 10, 10, 10), part=("wasted", Tokens(0, 20)))
    return _kept("several drafts", cascade, draft)


def unpriced(cascade: str) -> list[Act]:
    """A student that nobody gave a price, and a teacher that does not say what it used."""
    return [
        _kept("kept without a price", cascade),
        _escalated(
            "taught without a usage",
            cascade,
            teacher=[Turn("served", speech(12, None).reply(), is_unknown=True)],
        ),
    ]


def outage(cascade: str) -> Act:
    """The teacher is away: after a few of these nobody asks it any more."""
    return Act(
        "teacher away",
        cascade,
        "degraded",
        student=[Turn("served", speech(20, DRAFT, UNSURE).reply())],
        teacher=[Turn("wasted", AWAY, "upstream_unavailable")],
        verdict="defer",
        reason="low_confidence",
        degraded="teacher_failed",
    )


def left_alone(cascade: str) -> Act:
    """A draft that is not enough, while nobody asks the teacher."""
    return replace(outage(cascade), name="teacher left alone", teacher=[])


def strangers() -> list[Act]:
    """Requests that are nobody's: a model that nobody serves, and no question at all."""
    return [
        Act("unknown model", "other", "rejected", asks={"model": "gpt-of-somebody-else"}),
        Act("no question", "other", "rejected", asks={"model": "assistant", "messages": "?"}),
    ]
