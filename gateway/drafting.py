"""A draft that is being written, with the gate that watches it and what is held back of it."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from gateway.errors import UpstreamTimeout
from gateway.legs import OpenLeg
from gateway.wire.assemble import Assembly
from gateway.wire.chat import Chat, Prefix
from gateway.wire.chunk import Chunk
from gateway.wire.completion import WHOLE_ENDS, drafts_of, read_completion
from routing.cascade import Defer, Keep
from routing.streaming import Doubt, Ending, Gate, Hold, Release, Token
from routing.vocabulary import Handover, Need, Obstacle, Structure

# Longer than any word: what comes in so many pieces is a number, a key, an address.
MAX_WORD_CHUNKS = 16

Decision = Hold | Release | Defer | Doubt
_HOLD = Hold()
_REJECTIONS = (Defer, Doubt)


@dataclass(frozen=True, slots=True)
class Window:
    """How long a draft is held back, and what may become of it later.

    ``until`` is by the running loop's clock; None has no end.  ``is_all_wanted``: the whole draft
    is, although it is enough.
    """

    handover: Handover
    until: float | None
    is_all_wanted: bool = False


class Drafting:
    """Reads a student's stream, asks the gate, and keeps what may not go out yet.

    Where the teacher may continue, a word waits until it is whole, and blanks for the word after
    them: a model that is to go on from half a word, or from a blank, derails.  ``is_over`` says
    that the student is through, ``has_begun`` that it said anything at all.  ``beyond_text`` is
    what of the draft nobody can go on from who has its words alone.
    """

    def __init__(self, leg: OpenLeg, gate: Gate, chat: Chat, window: Window) -> None:
        self.leg = leg
        self.gate = gate
        self.is_over = False
        self.has_begun = False
        self.beyond_text = _beyond_text(chat)
        self._assembly: Assembly | None = None
        self._chat = chat
        self._handover = window.handover
        self._until = window.until
        self._is_all_wanted = window.is_all_wanted or window.handover is not Handover.NEVER
        self._is_gated = True
        self._has_tool_call = False
        self._may_call = Need.TOOLS in chat.needs
        self._unclear: list[Token] = []
        self._unread: Sequence[Chunk] = ()
        self._held: list[Chunk] = []
        self._places: list[int] = []  # of each, up to which token it goes
        self._released: list[str] = []
        self._released_tokens = 0
        self._finish_reason: str | None = None
        self._end_logprob: float | None = None
        self._text = bytearray()  # encoded, for strings of a token each would weigh ten times that

    async def advance(self) -> Decision:
        """Read on, and say what the gate makes of it.  Raises UpstreamError.

        A student that has not said anything when the window's time is over has failed.
        """
        chunks = self._unread or await self.leg.read(self._until)
        if chunks is None:
            return self._expire()
        if not chunks:
            return self._end()
        decision: Decision = _HOLD
        read = 0
        while read < len(chunks) and not isinstance(decision, _REJECTIONS):
            decision = self._take_in(chunks[read])
            read += 1
        self._unread = chunks[read:] if read < len(chunks) else ()
        if self._until is not None and self.gate.verdict is not None:
            self._until = None  # the window is over, and nothing is to be done at its end
        if isinstance(decision, Hold) and self.releasable:
            return Release(self.releasable)  # a tool call holds back no text that came before it
        return decision

    def open_gate(self) -> Release:
        """Have the gate judge no more: the draft is served whatever it is, however slowly."""
        self._is_gated = False
        self._until = None
        return Release(self.gate.tokens)

    def take(self, tokens: int) -> Sequence[Chunk]:
        """What may go out now that so many tokens are released, and is not out yet."""
        count = bisect_right(self._places, tokens)
        if self._handover is not Handover.NEVER:
            count = self._note_as_out(count)
        return self._take(count)

    def take_reasoning(self) -> Sequence[Chunk]:
        """What has come of reasoning before the first word of the answer, and is not out yet."""
        held = zip(self._places, self._held, strict=True)
        before = [*takewhile(lambda each: not (each[0] or each[1].is_answer), held)]
        if not any(chunk.reasoning for _, chunk in before):
            return ()  # a role alone would send the headers, which know no verdict yet
        return self._take(len(before))

    @property
    def assembly(self) -> Assembly:
        """The draft as far as somebody may still ask for it; of all of it, the text."""
        if self._assembly is None:
            self._assembly = Assembly()
            self._assembly.add_text(self._text.decode())
        return self._assembly

    @property
    def prefix(self) -> Prefix:
        """The text that is out."""
        return Prefix("".join(self._released), self._released_tokens)

    @property
    def words(self) -> str | None:
        """The answer's text so far; None where it calls a tool."""
        return None if self._has_tool_call else self._text.decode()

    @property
    def releasable(self) -> int:
        """How many tokens may be out by now: half a tool call is none of them."""
        return self.gate.released if self._is_gated else self.gate.tokens

    @property
    def is_whole(self) -> bool:
        """Whether the student came to an end of its own, and was not broken off."""
        return self.is_over and self._finish_reason in WHOLE_ENDS

    @property
    def is_given_up(self) -> bool:
        """Whether the student was stopped before it was through."""
        return self.leg.is_closed and not self.is_over

    def _take(self, count: int) -> Sequence[Chunk]:
        """The first of what is held."""
        if count == len(self._held):
            taken, self._held, self._places = self._held, [], []
        else:
            taken = self._held[:count]
            del self._held[:count], self._places[:count]
        return taken

    def _note_as_out(self, count: int) -> int:
        """Note the text of so many chunks, for a teacher that may take over.

        Returns how many of them may go out, that it could go on after them.
        """
        texts = [chunk.content for chunk in self._held[:count]]
        if self._handover is Handover.CONTINUE and not self.is_over:
            del texts[_seam(texts) :]
        if texts:
            self._released += texts
            self._released_tokens = self._places[len(texts) - 1]
        return len(texts)

    def _take_in(self, chunk: Chunk) -> Decision:
        if chunk.cut is None:  # else it is more text, and there is nothing else to it
            self._note(chunk)
        if self._is_wanted:
            self.assembly.add(chunk)
        else:
            self._assembly = None  # most of what a stream holds that is open
        self._text += chunk.content.encode()
        decision = self._judge(chunk) if self._is_gated else Release(self.gate.tokens)
        self._held.append(chunk)
        self._places.append(self.gate.tokens)
        return decision

    @property
    def _is_wanted(self) -> bool:
        """Whether more is to be known of the draft than its text: a tool call's form is judged."""
        is_kept = isinstance(self.gate.verdict, Keep)
        return not is_kept or self._is_all_wanted or self._has_tool_call

    def _note(self, chunk: Chunk) -> None:
        """What there is to a chunk besides more text."""
        self.has_begun = self.has_begun or chunk.says_something
        self._finish_reason = chunk.finish_reason or self._finish_reason
        if chunk.end_logprob is not None:
            self._end_logprob = chunk.end_logprob
        self._has_tool_call |= chunk.is_tool_call
        if chunk.is_tool_call or chunk.reasoning or chunk.has_unread_text:
            self.beyond_text = self.beyond_text or _form_of(chunk)

    def _judge(self, chunk: Chunk) -> Decision:
        """What the gate says to the chunk's tokens.

        Where tools are offered, tokens without any text may be the beginning of a call, some twenty
        of them before its first word comes: what they are is known by what follows them.
        """
        if self._may_call and not chunk.is_answer:
            self._unclear.extend(chunk.tokens)
            return self.gate.feed(())
        tokens = chunk.tokens
        if self._unclear:
            tokens = [*self._unclear, *tokens]
            self._unclear.clear()
        if chunk.is_tool_call or (self._has_tool_call and not chunk.content):
            return self.gate.tool_call(tokens)
        return self.gate.feed(tokens)

    def _expire(self) -> Decision:
        self._until = None
        if self.has_begun:
            return self.gate.expire()
        failure = UpstreamTimeout(
            "The model server did not begin to answer in time.", is_usage_unknown=True
        )
        self.leg.fail(failure)
        raise failure

    def _end(self) -> Decision:
        self.is_over = True
        self.leg.close()
        if not self._is_gated:
            return Release(self.gate.tokens)
        return self.gate.end(
            Ending(
                structure=self._structure(),
                text=self._text.decode(),
                finish_reason=self._finish_reason,
                end_logprob=self._end_logprob,
            )
        )

    def _structure(self) -> Structure:
        if self._finish_reason not in WHOLE_ENDS:
            return Structure.INVALID
        if not (self._has_tool_call or self._chat.is_json_wanted):
            return Structure.NOT_ASKED
        try:
            (draft,) = drafts_of(read_completion(self.assembly.body()), self._chat)
        except (ValueError, RecursionError):
            return Structure.INVALID
        return draft.structure


def _beyond_text(chat: Chat) -> Obstacle | None:
    """What there is to an answer beyond its words before the first of them."""
    if chat.is_json_wanted:
        return Obstacle.JSON
    if chat.has_grammar:
        return Obstacle.GRAMMAR
    return Obstacle.CONTINUATION if chat.is_continuation else None


def _form_of(chunk: Chunk) -> Obstacle:
    if chunk.is_tool_call:
        return Obstacle.TOOL_CALL
    return Obstacle.REASONING if chunk.reasoning else Obstacle.NOT_TEXT


def _seam(texts: Sequence[str]) -> int:
    """How many of the texts end where a word ends, as far as can be known before the next."""
    after: str | None = None
    for place in range(len(texts), 0, -1):
        text = texts[place - 1]
        if text:
            may_go_on = _is_of_word(text[-1]) and (after is None or _is_of_word(after))
            if not (may_go_on or text.isspace()):
                return place
            after = text[0]
        if len(texts) - place >= MAX_WORD_CHUNKS:
            return len(texts)
    return 0


def _is_of_word(character: str) -> bool:
    """Whether words have more of such; in the scripts from U+2E80 on each character may be one."""
    return character.isalnum() and character < "\u2e80"
