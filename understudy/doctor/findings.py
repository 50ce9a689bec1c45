"""What the doctor makes of what it saw: findings, each with what to do.  It asks nobody."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.upstream.probe import Continuation
from gateway.wire.chat import EVIDENCE_TOP_LOGPROBS
from routing.vocabulary import Handover, Role

Texts = Sequence[str]


class State(StrEnum):
    """How a finding is to be taken; only a problem fails the command."""

    OK = "ok"
    HINT = "hint"
    PROBLEM = "problem"
    SKIPPED = "-"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was seen, and what to do; empty where nothing is."""

    subject: str
    state: State
    saw: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a configuration says of one model."""

    role: Role
    model: str
    has_running_usage: bool
    handover: Handover
    samples: int = 1


@dataclass(frozen=True, slots=True)
class Fault:
    """A question that got no answer: why, in a server's words or ours, and what to do if known."""

    saw: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Unlisted:
    """The server is there and has no list of models to show."""

    saw: str


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
    """All that was seen of one model.

    ``continuation`` and ``drafts``, how many it wrote of one answer, are None where nobody wants
    that of it.
    """

    listing: Texts | Unlisted
    streamed: Answered | Fault
    whole: Answered | Fault
    continuation: Continuation | None
    drafts: int | Fault | None = None


def findings_of(wanted: Wanted, seen: Seen) -> list[Finding]:
    """Everything that is to be said of one model, in the order in which it should be mended."""
    streamed, whole = seen.streamed, seen.whole
    found = [_server(wanted, seen), _stream(streamed)]
    if isinstance(streamed, Answered):
        if wanted.role is Role.STUDENT:
            found.append(_evidence("log-probabilities in streams", streamed))
        found.append(_usage(wanted, streamed))
    found.append(_whole_answer(wanted, whole))
    if isinstance(streamed, Answered):
        found.append(_cached_tokens(streamed, whole))
    if seen.drafts is not None:
        found.append(_drafts(wanted, seen.drafts))
    if wanted.role is Role.TEACHER:
        found.append(_continuation(wanted, seen))
    return found


def unreachable(fault: Fault) -> Finding:
    """All that is to be said of a server that cannot be reached."""
    return Finding("server", State.PROBLEM, fault.saw, fault.advice or "start it, or mend base_url")


def _server(wanted: Wanted, seen: Seen) -> Finding:
    subject, listing = "server", seen.listing
    if isinstance(listing, Unlisted):
        if isinstance(seen.streamed, Answered):
            return Finding(subject, State.OK, f"{listing.saw}, but answers")
        advice = "mend base_url, which mostly ends in /v1, or api_key_env"
        return Finding(subject, State.PROBLEM, listing.saw, advice)
    if wanted.model not in listing:
        saw = f"has no {wanted.model}, but {', '.join(listing) or 'nothing'}"
        return Finding(subject, State.PROBLEM, saw, "mend model, or have the server serve it")
    return Finding(subject, State.OK, f"has {wanted.model}")


def _stream(streamed: Answered | Fault) -> Finding:
    subject = "streams"
    if isinstance(streamed, Fault):
        advice = (
            "clients that stream get no answer from it. If it does not know "
            "stream_options.continuous_usage_stats, say running_usage: false; extra_body goes "
            "along as it is"
        )
        return Finding(subject, State.PROBLEM, streamed.saw, advice)
    if streamed.chunks == 0:
        words = "reasoning alone" if streamed.has_reasoning else "no text"
        return Finding(subject, State.OK, f"answers, with {words} in so few tokens")
    if streamed.chunks == 1:
        advice = "it, or a proxy before it, collects the answer: nothing can be streamed or aborted"
        return Finding(subject, State.HINT, "all text came in one piece", advice)
    return Finding(subject, State.OK, f"text came in {streamed.chunks} pieces")


def _whole_answer(wanted: Wanted, whole: Answered | Fault) -> Finding:
    subject = "whole answers"
    if isinstance(whole, Fault):
        advice = "clients that do not stream get no answer from it; extra_body goes along as it is"
        return Finding(subject, State.PROBLEM, whole.saw, advice)
    if wanted.role is Role.STUDENT:
        return _evidence(subject, whole)
    return Finding(subject, State.OK, "answers")


def _evidence(subject: str, answered: Answered) -> Finding:
    evidence = answered.evidence
    if answered.has_reasoning and evidence.tokens == 0:
        saw = "not seen: only reasoning came in so few tokens"
        return Finding(subject, State.HINT, saw, "ask it by hand for a longer answer with logprobs")
    if evidence.with_logprob < evidence.tokens or evidence.tokens == 0:
        advice = (
            "every such draft goes to the teacher, reason no_signal: use a server that gives "
            "log-probabilities, and look whether a proxy takes them out"
        )
        saw = f"{evidence.with_logprob} of {evidence.tokens} tokens have a log-probability"
        return Finding(subject, State.PROBLEM, saw, advice)
    saw = f"all tokens, {evidence.fewest_candidates} candidates at each"
    if evidence.fewest_candidates < EVIDENCE_TOP_LOGPROBS:
        advice = (
            f"the default rule reads {EVIDENCE_TOP_LOGPROBS} candidates: without them every draft "
            "goes to the teacher; raise the server's limit (vLLM: --max-logprobs)"
        )
        return Finding(subject, State.PROBLEM, saw, advice)
    return Finding(subject, State.OK, saw)


def _drafts(wanted: Wanted, drafts: int | Fault) -> Finding:
    subject, asked = "drafts of one answer", wanted.samples
    if drafts == asked:
        return Finding(subject, State.OK, f"{drafts}, as asked for")
    saw = drafts.saw if isinstance(drafts, Fault) else f"{drafts}, asked for {asked}"
    advice = (
        f"no request that is to be sampled can be kept: use a server that knows n (vLLM), give "
        f"llama.cpp at least {asked} slots (--parallel), or set samples to 1"
    )
    return Finding(subject, State.PROBLEM, saw, advice)


def _usage(wanted: Wanted, streamed: Answered) -> Finding:
    subject = "usage of streams"
    if streamed.has_running_usage:
        return Finding(subject, State.OK, "with every piece")
    if not streamed.has_usage:
        advice = "every stream has unknown cost: use a server that knows stream_options"
        return Finding(subject, State.PROBLEM, "none", advice)
    saw = "at the end only"
    if wanted.has_running_usage:
        advice = (
            "the cost of a stream that is cut short is estimated. llama.cpp: set "
            "extra_body: {timings_per_token: true}. Otherwise say running_usage: false, and "
            "that is accepted"
        )
        return Finding(subject, State.PROBLEM, saw, advice)
    return Finding(subject, State.OK, f"{saw}: the cost of a stream that is cut short is estimated")


def _cached_tokens(streamed: Answered, whole: Answered | Fault) -> Finding:
    subject = "cached prompt tokens"
    if streamed.has_cached_tokens or (isinstance(whole, Answered) and whole.has_cached_tokens):
        return Finding(subject, State.OK, "reported")
    advice = "they are billed as fresh ones. vLLM: start it with --enable-prompt-tokens-details"
    return Finding(subject, State.HINT, "not reported", advice)


def _continuation(wanted: Wanted, seen: Seen) -> Finding:
    subject, continuation = "continuation", seen.continuation
    if wanted.handover is not Handover.CONTINUE:
        saw = f"not needed: handover is {wanted.handover}"
        return Finding(subject, State.SKIPPED, saw)
    if continuation is None:
        return Finding(subject, State.SKIPPED, "not asked: it does not stream")
    if continuation.can_continue:
        return Finding(subject, State.OK, continuation.saw)
    advice = (
        "answers in late doubt are only marked, never handed over. Use a server that knows "
        "continue_final_message (vLLM, llama.cpp) and a chat template that keeps the last "
        "message, or say handover: never"
    )
    return Finding(subject, State.PROBLEM, continuation.saw, advice)
