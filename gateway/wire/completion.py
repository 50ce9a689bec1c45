"""A model server's chat completion: what is read of it.

Only what the gateway needs is decoded; the rest of the body is carried over undecoded, so that
fields nobody here has heard of reach the client as they came.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import msgspec

from gateway.wire.chat import Chat
from gateway.wire.structure import ToolCall, structure_of
from routing.money import Usage
from routing.vocabulary import Draft, Structure


# gc=False: a reply is a tree, so the collector need not walk its hundreds of objects for cycles.
class _Top(msgspec.Struct, gc=False):
    logprob: float


class ToldToken(msgspec.Struct, gc=False):
    """What a server says of one token that it wrote."""

    token: str
    logprob: float
    top_logprobs: Sequence[_Top] | None = None


class Logprobs(msgspec.Struct, gc=False):
    """What a server says of each token that it wrote."""

    content: Sequence[ToldToken] | None = None


class _PairedToken(ToldToken, gc=False):
    """One with the two candidates that we ask for: a pair is read in less time than a list."""

    top_logprobs: tuple[_Top, _Top] | None = None


class _PairedLogprobs(Logprobs, gc=False):
    content: Sequence[_PairedToken] | None = None


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    function: _Function | None = None


class _Message(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None


class Choice(msgspec.Struct, gc=False):
    """One of the answers of a reply."""

    message: _Message
    logprobs: Logprobs | None = None
    finish_reason: str | None = None


class _BareChoice(msgspec.Struct, gc=False):
    """The same without its log-probabilities, in place of which something else stands."""

    message: _Message
    logprobs: str
    finish_reason: str | None = None


class InputDetails(msgspec.Struct):
    """The parts of a prompt's tokens."""

    cached_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class UsageCounts(msgspec.Struct, gc=False):
    """Token counts as a server sends them, not yet believed."""

    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


class _SentCompletion(msgspec.Struct, gc=False):
    choices: list[Choice]
    usage: UsageCounts | None = None
    model: msgspec.Raw = msgspec.Raw(b"null")


class _BareCompletion(msgspec.Struct, gc=False):
    choices: list[_BareChoice]
    usage: UsageCounts | None = None
    model: msgspec.Raw = msgspec.Raw(b"null")


class _Loose(msgspec.Struct):
    choices: list[dict[str, msgspec.Raw]]
    usage: msgspec.Raw = msgspec.Raw(b"null")


_T = TypeVar("_T")

# More tokens than any call can have: such a count is a fault, and no basis for a bill.
MAX_TOKENS = 2**40
# How an answer ends that was not broken off by the server.
WHOLE_ENDS = frozenset({"stop", "length", "tool_calls", "function_call", "content_filter"})

# Where the log-probabilities of a choice begin; from the last of them on, how they end.
_LOGPROBS = re.compile(rb'"logprobs"\s*:\s*(?={)')
_LOGPROB = b'"logprob"'
_END = re.compile(
    rb"[^{}]*(?:}\s*\]\s*)?}\s*\]\s*"  # of a candidate, and its token
    rb'(?:,\s*"refusal"\s*:\s*null\s*)?}'
)
_STAND_IN = "log-probabilities, which are read apart"
_SENT_STAND_IN = msgspec.json.encode(_STAND_IN)

_completion = msgspec.json.Decoder(_SentCompletion)
_bare_completion = msgspec.json.Decoder(_BareCompletion)
_loose = msgspec.json.Decoder(_Loose)
_message = msgspec.json.Decoder(_Message)
_logprobs: msgspec.json.Decoder[Logprobs | None] = msgspec.json.Decoder(Logprobs | None)
_paired_logprobs: msgspec.json.Decoder[Logprobs | None]
_paired_logprobs = msgspec.json.Decoder(_PairedLogprobs | None)
_usage_part = msgspec.json.Decoder(UsageCounts | None)
_text = msgspec.json.Decoder(str | None)
_null = msgspec.Raw(b"null")


class Completion(msgspec.Struct, frozen=True):
    """One upstream reply: ``body`` as the server sent it; ``usage`` is None where it gave none.

    ``sent_model`` is how it named its model, in JSON; ``evidence_at`` is where in ``body`` the
    log-probabilities of its one choice stand, None where that is not known.
    A draft that was chosen from several says of how many (``samples``), and which share of them
    says the same (``agreement``), None where the server wrote another number than was asked for.
    """

    body: bytes
    choices: Sequence[Choice]
    usage: Usage | None
    samples: int = 1
    agreement: float | None = None
    sent_model: bytes = b"null"
    evidence_at: tuple[int, int] | None = None


def read_completion(body: bytes) -> Completion:
    """Decode a reply.  Raises ValueError where it is no completion with at least one choice."""
    if not body.isascii():
        body.decode()  # what passes undecoded goes into pairs too, where it must be readable
    place = _place_of_evidence(body)
    completion = None if place is None else _read_apart(body, *place)
    if completion is not None:
        return completion
    model = b"null"
    try:
        sent = _completion.decode(body)
        choices, counts, model = sent.choices, sent.usage, bytes(sent.model)
    except msgspec.ValidationError:
        choices, counts = _salvaged(body)
    if not choices:
        raise ValueError("a completion without choices")
    usage = usage_of(counts)
    if usage is not None and len(choices) > 1:
        # llama.cpp writes several choices and counts the tokens of one.
        usage = replace(usage, output=max(usage.output, sum(map(tokens_in, choices))))
    return Completion(body=body, choices=choices, usage=usage, sent_model=model)


def _place_of_evidence(body: bytes) -> tuple[int, int] | None:
    """Where the log-probabilities of a reply's one choice seem to stand, without reading them."""
    key, last = _LOGPROBS.search(body), body.rfind(_LOGPROB)
    end = None if key is None or last < key.end() else _END.match(body, last)
    return None if key is None or end is None else (key.end(), end.end())


def _read_apart(body: bytes, start: int, end: int) -> Completion | None:
    """A reply whose log-probabilities stand there; None where these are not all that does.

    They are most of its bytes: so these are read once, and known by their place from then on.  What
    stands there is one value, and that of the one choice, if both parts can be read, and what was
    put in its place is found in the choice.
    """
    try:
        rest = b"%b%b%b" % (body[:start], _SENT_STAND_IN, body[end:])
        sent = _bare_completion.decode(rest)
        logprobs = _read_evidence(memoryview(body)[start:end])
    except msgspec.DecodeError:
        return None
    if len(sent.choices) != 1 or (bare := sent.choices[0]).logprobs != _STAND_IN:
        return None
    choices = [Choice(bare.message, logprobs, bare.finish_reason)]
    usage, model = usage_of(sent.usage), bytes(sent.model)
    return Completion(body, choices, usage, sent_model=model, evidence_at=(start, end))


def _read_evidence(sent: memoryview) -> Logprobs | None:
    try:
        return _paired_logprobs.decode(sent)
    except msgspec.ValidationError:  # another number of candidates, or not as it should be at all
        return _logprobs.decode(sent)


def tokens_in(choice: Choice) -> int:
    """How many tokens the server tells of, the end and reasoning included; 0 where of none."""
    return len((choice.logprobs and choice.logprobs.content) or ())


def text_of(choice: Choice) -> str:
    """What was answered: the words, or the calls as JSON where there are no words."""
    message = choice.message
    calls = _tool_calls(message)
    if message.content or not calls:
        return message.content or ""
    return msgspec.json.encode(
        [{"name": call.name, "arguments": _parsed(call.arguments)} for call in calls]
    ).decode()


def substance_of(choice: Choice) -> str:
    """What counts of an answer: the calls that it makes, as JSON in one form, else its words.

    What is said beside a call is for show: whoever asked acts upon the call.
    """
    calls = _tool_calls(choice.message)
    if not calls:
        return choice.message.content or ""
    told = [{"name": call.name, "arguments": _parsed(call.arguments)} for call in calls]
    return msgspec.json.encode(told, order="sorted").decode()


def calls_in(choice: Choice) -> Sequence[str]:
    """The names of the functions that it calls."""
    return [call.name for call in _tool_calls(choice.message)]


def _parsed(arguments: str) -> object:
    try:
        return msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return arguments


def _salvaged(body: bytes) -> tuple[list[Choice], UsageCounts | None]:
    """An answer of which a part is not as it should be: that part is unknown, the rest counts."""
    loose = _loose.decode(body)
    choices = []
    for choice in loose.choices:
        if "message" not in choice:
            raise ValueError("a choice without a message")
        message = part_of(_message, choice["message"]) or _Message()
        logprobs = part_of(_logprobs, choice.get("logprobs", _null))
        finish_reason = part_of(_text, choice.get("finish_reason", _null))
        choices.append(Choice(message, logprobs, finish_reason))
    return choices, part_of(_usage_part, loose.usage)


def part_of(decoder: msgspec.json.Decoder[_T], raw: msgspec.Raw) -> _T | None:
    """What a part of a body says; None where it is not as it should be."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError:
        return None


def usage_of(usage: UsageCounts | None) -> Usage | None:
    """What the bill rests on; None where counts are missing, absurd or contradict each other."""
    if usage is None or usage.prompt_tokens > MAX_TOKENS or usage.completion_tokens > MAX_TOKENS:
        return None
    input_details, output_details = usage.prompt_tokens_details, usage.completion_tokens_details
    cached_input = (input_details.cached_tokens or 0) if input_details else 0
    reasoning = (output_details.reasoning_tokens or 0) if output_details else 0
    try:
        # By place: by name it takes half as long again.
        return Usage(usage.prompt_tokens, usage.completion_tokens, cached_input, reasoning)
    except ValueError:
        return None


def drafts_of(completion: Completion, chat: Chat) -> tuple[Draft, ...]:
    """The evidence about each choice, in the words of the core."""
    is_complete = len(completion.choices) >= chat.choices
    agreement = completion.agreement
    # Of a list: a tuple of a generator costs twice as much.
    return tuple(
        [_draft(choice, chat, agreement, is_complete=is_complete) for choice in completion.choices]
    )


def _draft(choice: Choice, chat: Chat, agreement: float | None, *, is_complete: bool) -> Draft:
    reason, content = choice.finish_reason, choice.message.content or ""
    tokens, end = evidence_in(choice)
    chosen, best, second = _columns(tokens)
    structure = structure_of(chat, content, _tool_calls(choice.message))
    if not is_complete or (reason is not None and reason not in WHOLE_ENDS):
        structure = Structure.INVALID
    return Draft(
        token_logprobs=tuple(chosen),
        best_logprobs=tuple(best),
        second_logprobs=tuple(second),
        structure=structure,
        text=content,
        finish_reason=reason,
        end_logprob=end,
        agreement=agreement,
    )


def evidence_in(choice: Choice) -> tuple[Sequence[ToldToken], float | None]:
    """The tokens by which an answer is judged, and what was said of the one that ended it."""
    message, tokens = choice.message, (choice.logprobs and choice.logprobs.content) or ()
    content = message.content or ""
    end = None if choice.finish_reason == "length" else end_logprob_of(tokens, content)
    has_reasoning = bool(message.reasoning_content or message.reasoning)
    has_end = end is not None
    return answer_tokens(tokens, content, has_end=has_end, has_reasoning=has_reasoning), end


def _columns(tokens: Sequence[ToldToken]) -> tuple[list[float], list[float], list[float]]:
    """What was said of each token, of the likeliest candidate at each place, and of the second."""
    chosen: list[float] = []
    best: list[float] = []
    second: list[float] = []
    for token in tokens:
        chosen.append(token.logprob)
        candidates: Sequence[_Top] = token.top_logprobs or ()
        try:
            likeliest, runner_up = candidates
        except ValueError:  # another number than the two that we ask for
            best.extend([each.logprob for each in candidates[:1]])
            second.extend([each.logprob for each in candidates[1:2]])
        else:
            best.append(likeliest.logprob)
            second.append(runner_up.logprob)
    return chosen, best, second


def end_logprob_of(tokens: Sequence[ToldToken], content: str) -> float | None:
    """What the server said of the token that ended the text; None where it tells of none.

    vLLM names the end token, llama.cpp gives it no text: in neither case does the text end in it.
    """
    if not tokens or ((last := tokens[-1]).token and content.endswith(last.token)):
        return None
    return last.logprob


def answer_tokens(
    tokens: Sequence[ToldToken], content: str, *, has_end: bool, has_reasoning: bool
) -> Sequence[ToldToken]:
    """The tokens that the client reads: no end-of-sequence or stop token, no reasoning.

    ``has_end`` says that the last of them is such an end; ``has_reasoning`` that the first may be
    reasoning.
    """
    if has_end:
        tokens = tokens[:-1]
    if has_reasoning:
        start, missing = len(tokens), len(content)
        while start and missing > 0:
            start -= 1
            missing -= len(tokens[start].token)
        tokens = tokens[start:]
    return tokens


def _tool_calls(message: _Message) -> Sequence[ToolCall]:
    """The calls that a message makes, by the older ``function_call`` too."""
    if not (message.tool_calls or message.function_call):
        return ()
    functions = [call.function for call in message.tool_calls or ()]
    if message.function_call:
        functions.append(message.function_call)
    return [
        ToolCall(function.name or "", function.arguments or "") if function else ToolCall("", "")
        for function in functions
    ]
