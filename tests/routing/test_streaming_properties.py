"""What holds for every stream: chunks do not matter, and the client reads a prefix, once."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.calibration import Uncalibrated
from routing.cascade import Defer, Keep, Verdict, defer
from routing.model import Score
from routing.policy import Checkpoint, Policy, Rule, StreamedRules
from routing.streaming import Doubt, Ending, Gate, Hold, Release, Token
from routing.vocabulary import Draft, Structure, Threshold
from tests.routing.evidence import from_rows

Answer = Hold | Release | Defer | Doubt


@dataclass(frozen=True)
class Said:
    """One token, of the text or of a tool call."""

    token: Token
    is_call: bool = False


@dataclass(frozen=True)
class Expired:
    """The window's time is over, at this place among the tokens."""


@dataclass(frozen=True)
class Stream:
    """A draft token by token, the gate that it meets, and whether its driver minds doubts."""

    rules: StreamedRules
    hold_tokens: int | None
    events: tuple[Said | Expired, ...]
    structure: Structure
    carries_on: bool


@dataclass(frozen=True)
class Step:
    """What the gate said to a chunk, and how things stand after it: ``events`` were taken in."""

    answers: tuple[Answer, ...]
    events: int
    tokens: int
    released: int
    verdict: Verdict | None
    doubt: Doubt | None


def token(chosen: float, rival: float) -> Token:
    """A token of this probability that was the best or second best, and its rival."""
    logprobs = math.log(chosen), math.log(rival)
    return Token(logprobs[0], tuple(sorted(logprobs, reverse=True)))


SURE, TORN = token(0.95, 0.05), token(0.55, 0.45)
ODD = [TORN, token(0.2, 0.6), Token(-math.inf, (0.0, -math.inf)), Token(-0.1), Token(None)]
RULES = st.sampled_from(
    [
        Rule(Score((signal,), (1.0,)), Uncalibrated(), Threshold(keep), Threshold(abort_below))
        for signal in ("mean_probability", "min_probability", "min_margin")
        for keep, abort_below in [(0.9, 0.6), (0.7, 0.5), (0.5, 0.1), (0.0, 0.0)]
    ]
)
PLACES = st.sampled_from([(1,), (2, 4, 8), (3, 4, 5, 12), (8, 16), tuple(range(1, 16))])
CUTS = st.sets(st.integers(0, 30))
EVERYWHERE = set(range(31))


@st.composite
def tokens_of(draw: st.DrawFn, most: int = 20) -> list[Token]:
    """Mostly sure, as drafts are that get far."""
    tokens = [draw(st.sampled_from([SURE, SURE, TORN]))] * draw(st.integers(0, most))
    for place in draw(st.sets(st.integers(0, most), max_size=2)):
        tokens[place : place + 1] = [draw(st.sampled_from(ODD))]
    return tokens[:most]


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    places = draw(PLACES)
    checkpoints = tuple(Checkpoint(place, draw(RULES)) for place in places)
    events: list[Said | Expired] = [Said(each) for each in draw(tokens_of())]
    if draw(st.booleans()):
        events.insert(draw(st.integers(0, len(events))), Expired())
    if draw(st.booleans()):
        call = draw(tokens_of(most=4) | st.just([Token(None)] * 2))
        events += [Said(each, is_call=True) for each in call]
        events += [Said(each) for each in draw(tokens_of(most=2))]
    return Stream(
        StreamedRules(checkpoints, end=draw(RULES), arguments=draw(RULES)),
        draw(st.sampled_from([*places, None])),
        tuple(events),
        draw(st.sampled_from(Structure)),
        carries_on=draw(st.booleans()),
    )


def chunks_of(stream: Stream, cuts: set[int]) -> Iterator[list[Said | Expired]]:
    """The events in chunks of one kind each, cut at these places too."""
    piece = [sum(cut <= place for cut in cuts) for place in range(len(stream.events))]

    def key(place: int) -> tuple[int, bool | None]:
        event = stream.events[place]
        return piece[place], event.is_call if isinstance(event, Said) else None

    for _, places in groupby(range(len(stream.events)), key=key):
        yield [stream.events[place] for place in places]


def taken(gate: Gate, chunk: Sequence[Said | Expired]) -> Answer:
    """What the gate says to a chunk of one kind."""
    tokens = [event.token for event in chunk if isinstance(event, Said)]
    first = chunk[0]
    if isinstance(first, Expired):
        return gate.expire()
    return gate.tool_call(tokens) if first.is_call else gate.feed(tokens)


def driven(gate: Gate, stream: Stream, cuts: set[int]) -> list[Step]:
    """What a driver sees: it stops at a Defer, and at a Doubt unless it carries on."""
    steps: list[Step] = []
    events = 0
    for chunk in [*chunks_of(stream, cuts), []]:
        answer = taken(gate, chunk) if chunk else gate.end(Ending(stream.structure))
        answers = [answer]
        if isinstance(answer, Doubt) and stream.carries_on:
            answers.append(gate.carry_on())
        events += len(chunk) or 1  # the end is one too
        state = gate.tokens, gate.released, gate.verdict, gate.doubt
        steps.append(Step(tuple(answers), events, *state))
        if isinstance(answers[-1], Defer | Doubt):
            break
    return steps


def gate_of(stream: Stream) -> Gate:
    return Gate(stream.rules, stream.hold_tokens)


@given(streams(), CUTS)
def test_chunk_boundaries_change_nothing(stream: Stream, cuts: set[int]) -> None:
    one_by_one = driven(gate_of(stream), stream, EVERYWHERE)
    steps = driven(gate_of(stream), stream, cuts)
    for step in steps:
        # One by one, the driver may have stopped within this chunk.
        same = one_by_one[min(step.events, len(one_by_one)) - 1]
        assert (step.released, step.verdict, step.doubt) == (
            same.released,
            same.verdict,
            same.doubt,
        )
    assert steps[-1].events >= one_by_one[-1].events


@given(streams(), CUTS)
def test_client_reads_a_prefix_of_the_draft_once(stream: Stream, cuts: set[int]) -> None:
    gate = gate_of(stream)
    draft = [event for event in stream.events if isinstance(event, Said)]
    received: list[Said] = []
    answers: list[Answer] = []
    for step in driven(gate, stream, cuts):
        answers += step.answers
        for answer in step.answers:
            if isinstance(answer, Release | Doubt):
                assert len(received) <= answer.tokens <= step.tokens
                received += draft[len(received) : answer.tokens]
        assert step.released == len(received)
        assert not received or isinstance(step.verdict, Keep)
    assert all(one is other for one, other in zip(received, draft, strict=False))
    assert isinstance(answers[-1], Defer | Doubt) or len(received) == len(draft)
    assert [each for each in answers if isinstance(each, Doubt)] == [gate.doubt] * bool(gate.doubt)
    if not isinstance(answers[-1], Doubt):  # after which it would be the driver's turn
        assert_is_shut(gate)


@given(streams(), CUTS)
def test_nothing_is_released_where_nothing_is_to_be_kept(stream: Stream, cuts: set[int]) -> None:
    rules = stream.rules.with_threshold(Threshold(math.inf))
    gate = Gate(rules, stream.hold_tokens)
    last = driven(gate, stream, cuts)[-1]
    assert isinstance(last.answers[-1], Defer)
    assert last.released == 0


def assert_is_shut(gate: Gate) -> None:
    before = gate.tokens, gate.released, gate.verdict, gate.doubt
    with pytest.raises(RuntimeError):
        gate.feed([SURE])
    with pytest.raises(RuntimeError):
        gate.tool_call([SURE])
    with pytest.raises(RuntimeError):
        gate.expire()
    with pytest.raises(RuntimeError):
        gate.end(Ending(Structure.VALID))
    with pytest.raises(RuntimeError):
        gate.carry_on()
    assert (gate.tokens, gate.released, gate.verdict, gate.doubt) == before


@given(tokens_of(), CUTS, RULES)
def test_draft_held_to_its_end_is_judged_as_a_whole_one(
    tokens: list[Token], cuts: set[int], rule: Rule
) -> None:
    policy = Policy("test", replace(rule, abort_below=Threshold(0.0)))
    patient = StreamedRules((Checkpoint(4, policy.whole),), policy.whole, policy.whole)
    events = tuple(Said(each) for each in tokens)
    stream = Stream(patient, None, events, Structure.NOT_ASKED, carries_on=False)
    streamed = driven(gate_of(stream), stream, cuts)[-1].verdict

    logprobs = [each.logprob for each in tokens if each.logprob is not None]
    draft = from_rows(logprobs, [each.top_logprobs for each in tokens])
    whole = defer([draft if len(logprobs) == len(tokens) else Draft()], policy)
    assert streamed is not None
    assert type(streamed) is type(whole)
    assert (streamed.reason, streamed.confidence) == (whole.reason, whole.confidence)
