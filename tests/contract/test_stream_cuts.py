"""However a server cuts its stream into chunks and packets, the client gets the same answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from routing.cascade import Defer
from routing.streaming import Doubt, Ending, Gate, Token
from routing.vocabulary import Structure
from tests.fakes.chunks import chunk, usage_report
from tests.fakes.script import Pieces, content_of, entry, payloads, whole
from tests.fakes.serving import Stage, server_of
from tests.fakes.trial import HOPELESS, MIDDLING, SURE, UNSURE, joined
from tests.fakes.upstream import Reply

HOLD_TOKENS = 16
TAUGHT = ["T0 ", "T1."]  # nothing that could be taken for a blank at the seam
# Words, halves of words, blanks, scripts without any, characters of several bytes, and nothing: the
# first bytes of a character are a token without text.
TEXTS = st.sampled_from(["w ", "wo", " x", ".", "\n", "é", "東", "\N{GRINNING FACE}", ""])


@dataclass(frozen=True)
class Drafted:
    """A draft in tokens, and how its server sends it: in chunks of so many, cut at these places."""

    tokens: Sequence[tuple[str, float]]
    chunks: Sequence[int]
    cuts: Sequence[float]

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.tokens)

    def pieces(self) -> list[bytes]:
        """The whole stream as bytes in packets; a cut says where as a share of all."""
        events = [chunk({"role": "assistant", "content": ""})]
        rest = list(self.tokens)
        for size in [*self.chunks, len(rest)]:
            said, rest = rest[:size], rest[size:]
            if said:
                text = "".join(text for text, _ in said)
                events.append(chunk({"content": text}, [entry(*each) for each in said]))
        events += [chunk({}, choice={"finish_reason": "stop"}), usage_report()]
        sent = b"".join(b"data: %b\n\n" % event for event in events)
        places = [0, *sorted({int(cut * len(sent)) for cut in self.cuts}), len(sent)]
        return [sent[start:end] for start, end in pairwise(places) if start < end]


@st.composite
def drafts(draw: st.DrawFn) -> Drafted:
    """Kept, turned down or given up, or sure until after the window, and then hopeless."""
    count = draw(st.integers(0, 60))
    texts = draw(st.lists(TEXTS, min_size=count, max_size=count))
    sure_until = draw(st.sampled_from([0, 5, 18, 18, 18, 60]))
    after = draw(st.sampled_from([MIDDLING, UNSURE, HOPELESS, HOPELESS]))
    logprobs = [SURE if place < sure_until else after for place in range(count)]
    return Drafted(
        list(zip(texts, logprobs, strict=True)),
        draw(st.lists(st.integers(1, 9), max_size=40)),
        draw(st.lists(st.floats(0, 1), max_size=8)),
    )


def judged(stage: Stage, cascade: str, draft: Drafted) -> tuple[str, int]:
    """What the gate says to the same tokens one by one: the reason, and how many may be out."""
    policy = stage.gateway.context.served[cascade].cascade.policy
    gate = Gate(policy.streamed, HOLD_TOKENS)
    for _, logprob in draft.tokens:
        answer = gate.feed([Token(logprob, (logprob, logprob - 5))])
        if isinstance(answer, Defer):
            return answer.reason, 0
        if isinstance(answer, Doubt):
            return "late_doubt", answer.tokens
    end = gate.end(Ending(Structure.NOT_ASKED, draft.text, "stop"))
    if isinstance(end, Defer):
        return end.reason, 0
    return "late_doubt" if isinstance(end, Doubt) else "confident", end.tokens


def is_served(stage: Stage, cascade: str, draft: Drafted) -> None:
    stage.student.reply = Reply(steps=[Pieces(draft.pieces())])
    stage.teacher.reply = Reply(steps=whole(TAUGHT))
    pairs = len(stage.pairs())
    chunks = payloads(stage.ask(model=cascade, stream=True).text)
    text, said = content_of(chunks), chunks[-1]["understudy"]
    reason, tokens = judged(stage, cascade, draft)
    assert said["reason"] == reason
    if not tokens:
        assert text == joined(TAUGHT)
        assert said["served_by"] == "teacher"
    elif "handover" in said:
        released = text.removesuffix(joined(TAUGHT))
        assert text == released + joined(TAUGHT)
        assert joined([text for text, _ in draft.tokens[:tokens]]).startswith(released)
        assert said["handover"]["after_characters"] == len(released)
        assert len(stage.pairs()) == pairs + 1
    else:
        assert text == draft.text
        assert said["served_by"] == "student"
        assert len(stage.pairs()) == pairs


@given(drafts())
def test_the_answer_is_one_models_whole_text(theatre: Stage, draft: Drafted) -> None:
    is_served(theatre, "assistant", draft)


@given(drafts())
def test_or_a_beginning_and_what_the_teacher_made_of_it(theatre: Stage, draft: Drafted) -> None:
    teacher = server_of(theatre.gateway.context.served["continuing"].cascade.teacher)
    teacher.can_continue = True
    is_served(theatre, "continuing", draft)
