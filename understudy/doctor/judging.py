"""What the doctor makes of what it saw of one model: findings, in the order to mend them in.

It asks nobody.
"""

from gateway.wire.chat import EVIDENCE_TOP_LOGPROBS
from routing.vocabulary import Handover, Role
from understudy.doctor.calling import Called
from understudy.doctor.findings import Cause, Fault, Finding, State, Subject
from understudy.doctor.listing import Unlisted
from understudy.doctor.seen import Answered, Part, Seen, Wanted

_AWAY = "it does not answer now, or not within --timeout: see whether it is starting, and ask again"


def findings_of(wanted: Wanted, seen: Seen) -> list[Finding]:
    """Everything that is to be said of one model."""
    streamed = seen.streamed
    server = _server(wanted, seen)
    if server.state is State.PROBLEM and isinstance(streamed, Fault):
        return [server]  # whatever else it does not do comes of that
    found = [server, _context(wanted, seen), _stream(streamed)]
    if isinstance(streamed, Answered):
        if wanted.role is Role.STUDENT:
            found.append(_streamed_evidence(seen, streamed))
        found.append(_usage(wanted, seen, streamed))
    if seen.whole is not None:
        found.append(_whole_answer(wanted, seen, seen.whole))
    if isinstance(streamed, Answered) and isinstance(seen.whole, Answered):
        found.append(_cached_tokens(wanted, seen))
    if seen.drafts is not None:
        found.append(_drafts(wanted, seen.drafts))
    found.append(_tools(wanted, seen.called))
    if wanted.role is Role.TEACHER:
        found.append(_continuation(wanted, seen))
    return found


def unreachable(fault: Fault) -> Finding:
    """All that is to be said of a server that cannot be reached."""
    return fault.finding(Subject.SERVER, "start it, or mend base_url")


def _server(wanted: Wanted, seen: Seen) -> Finding:
    subject, listing, streamed = Subject.SERVER, seen.listing, seen.streamed
    also = f"; asked for it: {streamed.saw}" if isinstance(streamed, Fault) else ""
    if isinstance(listing, Unlisted):
        if isinstance(streamed, Answered):
            return Finding(subject, State.OK, f"{listing.saw}, but answers")
        if streamed.is_away:
            return Finding(subject, State.AWAY, f"{listing.saw}{also}", _AWAY)
        return Finding(
            subject,
            State.PROBLEM,
            f"{listing.saw}{also}",
            mend_access(listing, has_key=wanted.has_key),
        )
    if wanted.model not in listing.models:
        has = ", ".join(listing.models) or "nothing"
        advice = (
            "mend model, or have the server serve it. Adapters that were loaded at run time are "
            "gone when vLLM starts anew: load it again, or name it in --lora-modules"
        )
        return Finding(subject, State.PROBLEM, f"has no {wanted.model}, but {has}{also}", advice)
    return Finding(subject, State.OK, f"has {wanted.model}")


def mend_access(listing: Unlisted, *, has_key: bool) -> str:
    """What to do where a server is there and shows no models."""
    if not listing.is_about_key:
        return "mend base_url, which mostly ends in /v1, or api_key_env"
    if has_key:
        return "the key that api_key_env names is not this server's: put its own there"
    return "it wants a key: say api_key_env, and put the key into that variable"


def _context(wanted: Wanted, seen: Seen) -> Finding:
    listing = seen.listing
    length = None if isinstance(listing, Unlisted) else listing.models.get(wanted.model)
    if length is None:
        return Finding(Subject.CONTEXT, State.SKIPPED, "not told")
    return Finding(Subject.CONTEXT, State.OK, f"{length} tokens")


def _stream(streamed: Answered | Fault) -> Finding:
    subject = Subject.STREAMS
    if isinstance(streamed, Fault):
        advice = "clients that stream get no answer from it; extra_body goes along as it is"
        return streamed.finding(subject, _AWAY if streamed.is_away else advice)
    if streamed.chunks == 0:
        words = "reasoning alone" if streamed.has_reasoning else "no text"
        return Finding(subject, State.OK, f"answers, with {words} in so few tokens")
    if streamed.chunks == 1:
        advice = "it, or a proxy before it, collects the answer: nothing can be streamed or aborted"
        return Finding(subject, State.HINT, "all text came in one piece", advice)
    return Finding(subject, State.OK, f"text came in {streamed.chunks} pieces")


def _streamed_evidence(seen: Seen, streamed: Answered) -> Finding:
    if Part.EVIDENCE not in seen.left_out:
        return _evidence(Subject.LOGPROBS, streamed)
    advice = (
        f"the gateway asks for {EVIDENCE_TOP_LOGPROBS} candidates at each token, and without them "
        "every request fails there. Raise the server's limit (vLLM: --max-logprobs), or use one "
        "that gives log-probabilities"
    )
    return Finding(Subject.LOGPROBS, State.PROBLEM, f"refused: {seen.refusal}", advice)


def _whole_answer(wanted: Wanted, seen: Seen, whole: Answered | Fault) -> Finding:
    subject = Subject.WHOLE
    if isinstance(whole, Fault):
        advice = "clients that do not stream get no answer from it; extra_body goes along as it is"
        return whole.finding(subject, _AWAY if whole.is_away else advice)
    if wanted.role is Role.STUDENT and Part.EVIDENCE not in seen.left_out:
        return _evidence(subject, whole)
    return Finding(subject, State.OK, "answers")


def _evidence(subject: Subject, answered: Answered) -> Finding:
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
    subject, asked = Subject.DRAFTS, wanted.samples
    advice = (
        f"no request that is to be sampled can be kept: use a server that knows n (vLLM), give "
        f"llama.cpp at least {asked} slots (--parallel), or set samples to 1"
    )
    if isinstance(drafts, Fault):
        return drafts.finding(subject, advice)
    if drafts == asked:
        return Finding(subject, State.OK, f"{drafts}, as asked for")
    return Finding(subject, State.PROBLEM, f"{drafts}, asked for {asked}", advice)


def _usage(wanted: Wanted, seen: Seen, streamed: Answered) -> Finding:
    subject = Subject.USAGE
    if Part.RUNNING_USAGE in seen.left_out:
        advice = "it does not know stream_options.continuous_usage_stats: say running_usage: false"
        return Finding(subject, State.PROBLEM, f"refused: {seen.refusal}", advice)
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


def _cached_tokens(wanted: Wanted, seen: Seen) -> Finding:
    subject = Subject.CACHED
    if seen.is_cache_seen:
        return Finding(subject, State.OK, "reported")
    if seen.is_cache_seen is None:
        return Finding(subject, State.AWAY, "not seen: it gave no answer", _AWAY)
    vllm = "vLLM: start it with --enable-prompt-tokens-details"
    if wanted.is_cache_priced:
        advice = f"the price has a cached_input that is never charged: the bill is too high. {vllm}"
        return Finding(subject, State.PROBLEM, "not reported", advice)
    return Finding(subject, State.HINT, "not reported", f"they are billed as fresh ones. {vllm}")


def _tools(wanted: Wanted, called: Called | Fault | None) -> Finding:
    subject = Subject.TOOLS
    if called is None:
        is_left = wanted.role is Role.STUDENT and not wanted.has_tools
        saw = "not asked: the student cannot, says the file" if is_left else "not asked"
        return Finding(subject, State.SKIPPED, saw)
    saw, state, advice = _calls(called)
    if state is not State.PROBLEM:
        return Finding(subject, state, saw, advice)
    if wanted.role is Role.STUDENT:
        return Finding(subject, state, saw, f"{advice}; or say cannot: [tools] of the student")
    if not wanted.has_tools:  # then nobody here is said to do tools at all
        return Finding(subject, State.HINT, saw, f"clients that send tools get that. {advice}")
    return Finding(subject, state, saw, f"deferred requests with tools fail there. {advice}")


def _calls(called: Called | Fault) -> tuple[str, State, str]:
    """What a try with tools says by itself."""
    vllm = "vLLM: --enable-auto-tool-choice and the model's --tool-call-parser"
    advice = f"{vllm}; llama.cpp: --jinja, and a chat template with tools"
    if isinstance(called, Fault):
        saw = f"refused: {called.saw}" if called.cause is Cause.REFUSED else called.saw
        return saw, called.state, _AWAY if called.is_away else advice
    if called.of_itself:
        return "called of its own accord", State.OK, ""
    if called.is_text:
        advice = f"the parser is not this model's. {advice}"
        return "a call came as text, which clients cannot read", State.PROBLEM, advice
    if called.when_it_must:
        return "called where it must; of its own accord it wrote text", State.OK, ""
    if called.is_cut:
        saw = "not seen: the answer was too long"
        return saw, State.HINT, "ask it by hand, with tool_choice: required"
    return "wrote text where it must call", State.PROBLEM, advice


def _continuation(wanted: Wanted, seen: Seen) -> Finding:
    subject, continuation = Subject.CONTINUATION, seen.continuation
    if wanted.handover is not Handover.CONTINUE:
        saw = f"not needed: handover is {wanted.handover}"
        return Finding(subject, State.SKIPPED, saw)
    if continuation is None:
        return Finding(subject, State.SKIPPED, "not asked: it does not stream")
    if continuation.can_continue is None:
        return Finding(subject, State.AWAY, continuation.saw, _AWAY)
    if continuation.can_continue:
        return Finding(subject, State.OK, continuation.saw)
    advice = (
        "answers in late doubt are only marked, never handed over. Use a server that knows "
        "continue_final_message (vLLM, llama.cpp) and a chat template that keeps the last "
        "message, or say handover: never"
    )
    return Finding(subject, State.PROBLEM, continuation.saw, advice)
