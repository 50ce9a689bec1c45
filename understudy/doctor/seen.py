"""What was seen of one model, and what its configuration wants of it."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.upstream.probe import Continuation
from routing.vocabulary import Handover, Role
from understudy.doctor.calling import Called
from understudy.doctor.findings import Fault
from understudy.doctor.listing import Listing, Unlisted


class Part(StrEnum):
    """What the gateway adds to a request, and a server may refuse."""

    EVIDENCE = "log-probabilities"
    RUNNING_USAGE = "running usage"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a configuration says of one model.

    ``has_tools``: the student is said to do tools.  ``is_cache_priced``: cached tokens cost
    something else than fresh ones.
    """

    role: Role
    model: str
    has_running_usage: bool
    handover: Handover
    samples: int = 1
    has_tools: bool = True
    is_cache_priced: bool = False
    has_key: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """How much a server says of an answer's tokens.

    Of ``tokens`` so many have a log-probability; ``fewest_candidates`` is the least number of
    likely tokens that it names at any of those places.
    """

    tokens: int
    with_logprob: int
    fewest_candidates: int


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer: ``chunks`` with text in it, 1 where it came whole."""

    chunks: int
    evidence: Evidence
    has_reasoning: bool
    has_usage: bool
    has_running_usage: bool
    has_cached_tokens: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was seen of one model; None where it was not asked.

    ``left_out`` is what had to be left out for it to stream at all, and ``refusal`` what it had
    said to that.  ``is_cache_seen``: it tells of cached tokens; None where it did not answer.
    """

    listing: Listing | Unlisted
    streamed: Answered | Fault
    left_out: frozenset[Part] = frozenset()
    refusal: str = ""
    whole: Answered | Fault | None = None
    is_cache_seen: bool | None = None
    called: Called | Fault | None = None
    continuation: Continuation | None = None
    drafts: int | Fault | None = None
