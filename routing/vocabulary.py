"""The nouns of a routing decision: each word has one meaning, here and everywhere else.

Values that are limited to a range refuse anything else when they are built, so that nothing
downstream checks again.  This module knows no request, no model server and no rule.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Role(StrEnum):
    """Which of a cascade's two models made a call."""

    STUDENT = "student"
    TEACHER = "teacher"


class Named(StrEnum):
    """Who stands on the bill beside a cascade's two: a model that clients ask for by its name, to
    which requests pass as they are."""

    MODEL = "model"


class Reason(StrEnum):
    """Why an answer came from where it came: header, metric label, pair and log use this list."""

    CONFIDENT = "confident"
    VALID_STRUCTURE = "valid_structure"
    LATE_DOUBT = "late_doubt"
    LOW_CONFIDENCE = "low_confidence"
    NO_SIGNAL = "no_signal"
    INVALID_STRUCTURE = "invalid_structure"
    STUDENT_FAILED = "student_failed"
    STUDENT_CANNOT = "student_cannot"
    PROMPT_SAYS_SO = "prompt_says_so"
    STICKY = "sticky"
    HOLDOUT = "holdout"
    PINNED = "pinned"


class Route(StrEnum):
    """Who is to answer a request: the policy decides, or the request has said."""

    AUTO = "auto"
    STUDENT = "student"
    TEACHER = "teacher"


class Degraded(StrEnum):
    """Why an escalation was denied, so that a deferred draft was served all the same."""

    TEACHER_FAILED = "teacher_failed"
    TEACHER_BUSY = "teacher_busy"
    NOT_ALLOWED = "not_allowed"
    BUDGET_SPENT = "budget_spent"
    JOURNAL_FULL = "journal_full"


class Kind(StrEnum):
    """What the tokens of a call were paid for.

    ``served``: words that reached the client.  ``wasted``: drafts, or parts of them, that were
    thrown away.  ``retry``: calls that failed, so that another had to be made in their place.
    ``shadow``: drafts that were never meant to be served.  ``audit``: learnt from, off the request
    path.
    """

    SERVED = "served"
    WASTED = "wasted"
    RETRY = "retry"
    SHADOW = "shadow"
    AUDIT = "audit"


class Basis(StrEnum):
    """What an estimate of the teacher's cost rests on.

    ``measured``: the teacher itself answered.  ``sample``: how much the teacher writes was learnt
    from drafts that were kept, chosen at random.  ``escalations``: from those that were not kept,
    which are no random sample.  ``prices``: from nothing; as though it wrote as much.
    """

    MEASURED = "measured"
    SAMPLE = "sample"
    ESCALATIONS = "escalations"
    PRICES = "prices"


class Need(StrEnum):
    """What a request asks of a model beyond reading and writing text."""

    VISION = "vision"
    TOOLS = "tools"


class WhenDenied(StrEnum):
    """What a cascade does with a deferred draft when the teacher is not to be had."""

    SERVE = "serve"
    REFUSE = "refuse"


class Handover(StrEnum):
    """What becomes of an answer that is half out when it falls into doubt."""

    NEVER = "never"
    CONTINUE = "continue"
    RESTART = "restart"


class Obstacle(StrEnum):
    """Why an answer in doubt was not handed over although the cascade wishes it."""

    JSON = "json"
    GRAMMAR = "grammar"
    TOOL_CALL = "tool_call"
    REASONING = "reasoning"
    NOT_TEXT = "not_text"
    CONTINUATION = "continuation"
    NOTHING_OUT = "nothing_out"
    AT_END = "at_end"
    CLIENT_CANNOT = "client_cannot"
    TEACHER_CANNOT = "teacher_cannot"
    TEACHER_FAILED = "teacher_failed"
    TEACHER_BUSY = "teacher_busy"
    NOT_ALLOWED = "not_allowed"
    BUDGET_SPENT = "budget_spent"
    JOURNAL_FULL = "journal_full"


class NotAsked(StrEnum):
    """Why a model got no call.

    It failed too often of late, has all the calls it may have, may not be asked for this tenant,
    the tenant's key has spent its budget, or there is no room to record what it would say.
    """

    LEFT_ALONE = "left_alone"
    NO_ROOM = "no_room"
    NOT_ALLOWED = "not_allowed"
    BUDGET_SPENT = "budget_spent"
    JOURNAL_FULL = "journal_full"


class NotAudited(StrEnum):
    """Why a kept draft that was drawn is not audited, each known before the teacher's answer.

    ``no_consent``: nothing of it may be stored.  ``several_choices``: there is no one answer.
    ``not_allowed``, ``key_budget_spent``: its key may not ask the teacher, or pay it, at all.
    ``budget_spent``: that of audits.  ``no_room``: the teacher has none to spare, or so many audits
    are open as may be.  ``left_alone``: the teacher failed too often of late.  ``journal_full``:
    nothing could be recorded.  ``stopping``: the process ends.  ``not_delivered``: the client left,
    or the student broke off, before the answer was whole.
    """

    NO_CONSENT = "no_consent"
    SEVERAL_CHOICES = "several_choices"
    NOT_ALLOWED = "not_allowed"
    KEY_BUDGET_SPENT = "key_budget_spent"
    BUDGET_SPENT = "budget_spent"
    NO_ROOM = "no_room"
    LEFT_ALONE = "left_alone"
    JOURNAL_FULL = "journal_full"
    STOPPING = "stopping"
    NOT_DELIVERED = "not_delivered"


class Limit(StrEnum):
    """What a key may have so much of and no more: a minute's requests and tokens, a day's money."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    SPEND = "spend"


class WhenStoreDown(StrEnum):
    """What becomes of a request of which nobody can say whether it is within its key's limits.

    ``degrade``: the student answers, and the teacher is not asked.  ``allow``: it is let in.
    """

    DEGRADE = "degrade"
    ALLOW = "allow"


class Structure(StrEnum):
    """Whether a draft has the form that the request asked for; the shell checks, routing judges."""

    NOT_ASKED = "not_asked"
    VALID = "valid"
    INVALID = "invalid"


def _no_probability(value: float, name: str) -> ValueError:
    return ValueError(f"{name} must lie in [0, 1], got {value!r}")


@dataclass(frozen=True, slots=True, order=True)
class Confidence:
    """Probability in [0, 1] that a draft is acceptable.  Raises ValueError outside, and for NaN."""

    value: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.value <= 1.0:  # NaN fails this comparison too
            raise _no_probability(self.value, "confidence")


@dataclass(frozen=True, slots=True, order=True)
class Merit:
    """How much speaks for keeping a draft, in [0, 1]: what a threshold is held against.

    Its confidence; or, where a policy weighs what the teacher would have gained, ``(1 - gain) / 2``
    of the expected gain in [-1, 1].  Raises ValueError outside, and for NaN.
    """

    value: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.value <= 1.0:
            raise _no_probability(self.value, "merit")


@dataclass(frozen=True, slots=True)
class Threshold:
    """The least merit in [0, 1] with which a draft is kept; equality keeps.

    Infinity keeps nothing.  Raises ValueError for all else outside that range, and for NaN.
    """

    value: float

    def __post_init__(self) -> None:
        if not (0.0 <= self.value <= 1.0 or self.value == math.inf):
            raise _no_probability(self.value, "threshold")

    @property
    def keeps_nothing(self) -> bool:
        """Whether no merit reaches it."""
        return self.value == math.inf

    def admits(self, merit: Confidence | Merit) -> bool:
        """Say whether a draft of this merit is enough."""
        return merit.value >= self.value


# A tuple is made in a third of the time that a frozen dataclass takes: each request has one.
class Draft(NamedTuple):
    """What is known of one draft when it is judged.

    ``token_logprobs`` holds the natural logarithm of each answer token's probability, shape (n,),
    without the end-of-sequence token; ``best_logprobs`` those of the likeliest candidates at each
    place and ``second_logprobs`` those of the second, both of the same shape, but shorter by the
    places where the server named no such candidate.  All are empty where it reported nothing.

    What only an end can tell is absent from the beginning of a draft that is still being written:
    ``text``, the answer as the client reads it; ``finish_reason``, the server's word for why it
    ended; ``end_logprob``, the log-probability of the end-of-sequence token.  ``agreement`` in
    [0, 1] is the share of several drafts that agree with this one.
    """

    token_logprobs: tuple[float, ...] = ()
    best_logprobs: tuple[float, ...] = ()
    second_logprobs: tuple[float, ...] = ()
    structure: Structure = Structure.NOT_ASKED
    text: str = ""
    finish_reason: str | None = None
    end_logprob: float | None = None
    agreement: float | None = None


@dataclass(frozen=True, slots=True)
class NoDraft:
    """There is nothing to judge: the student failed, could not be asked, or was not worth asking.

    ``merit`` is the most that could be hoped for where the prompt was estimated.  ``is_to_be_had``
    says that the student can still be asked, should the teacher fail.
    """

    reason: Reason
    merit: Merit | None = None
    is_to_be_had: bool = False


@dataclass(frozen=True, slots=True)
class Granted:
    """The teacher may be asked."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The teacher may not be asked, or was asked and failed."""

    degraded: Degraded


Grant = Granted | Denied
