"""The gate of a stream: how much of a draft may reach the client while it is still being written.

You feed it the answer's tokens as they come; it says Hold, Release, Defer or, once something is
out, Doubt.  It counts tokens and never chunks.  It knows no text, clock or socket: the shell reads
and sends, and says when the time for holding back is over.
"""

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from routing.cascade import NOTHING_KNOWN, Defer, Keep, Prospect, Verdict, judge, weakest
from routing.policy import Checkpoint, Rule, StreamedRules
from routing.vocabulary import Confidence, Draft, Merit, Reason, Structure, Threshold


class Token(NamedTuple):
    """What the server said of one token.

    ``logprob`` is None where it said nothing: then the token counts, and nothing it is part of has
    a signal.  ``top_logprobs`` are those of the candidates at its place, most likely first, of
    which two are read.
    """

    logprob: float | None
    top_logprobs: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Ending:
    """What only a draft's end can tell: its form, that of its tool calls where it has any; its
    text; and the server's word for why, and how surely, it ended.
    """

    structure: Structure
    text: str = ""
    finish_reason: str | None = None
    end_logprob: float | None = None

    def of(self, draft: Draft) -> Draft:
        """The draft, now that it is over."""
        return draft._replace(
            structure=self.structure,
            text=self.text,
            finish_reason=self.finish_reason,
            end_logprob=self.end_logprob,
        )


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing more may go out yet."""


@dataclass(frozen=True, slots=True)
class Release:
    """The first ``tokens`` tokens, counted from the start of the draft, may go out."""

    tokens: int


@dataclass(frozen=True, slots=True)
class Doubt:
    """What is out cannot be taken back, and the draft has turned out not to be enough.

    The first ``tokens`` tokens may go out, the rest only after ``carry_on()``.  ``reason`` is that
    of the deferral it would have been; an answer that carries on all the same is a late doubt.
    """

    tokens: int
    reason: Reason
    confidence: Confidence | None


_HOLD = Hold()
_NOT_ASKED = Structure.NOT_ASKED
_NOT_SAID = math.nan


class Gate:
    """Stands between one draft and its client, and answers each call with what to do now.

    Nothing goes out until the first ``hold_tokens`` tokens have been found good enough; they are
    one of the checkpoints, and None holds all to the end.  Raises ValueError for any other number,
    and RuntimeError for a call that cannot follow those before it: none follows a Defer, and only
    ``carry_on()`` an end.  ``prospect`` is what is known of the request.

    ``verdict`` is None until it is known, and a Keep once anything may go out.  ``doubt`` is the
    only one that there will be.  ``released`` is how many tokens may have gone out by now, and
    ``tokens`` how many were fed, those of tool calls among them.
    """

    def __init__(
        self,
        rules: StreamedRules,
        hold_tokens: int | None,
        prospect: Prospect = NOTHING_KNOWN,
    ) -> None:
        places = [checkpoint.tokens for checkpoint in rules.checkpoints]
        if hold_tokens is not None and hold_tokens not in places:
            raise ValueError(f"hold_tokens must be one of {places} or None, got {hold_tokens!r}")
        self.verdict: Verdict | None = None
        self.doubt: Doubt | None = None
        self.released = 0
        self.tokens = 0
        self._rules = rules
        self._hold_tokens = hold_tokens
        self._prospect = prospect
        self._text = _Evidence()
        self._arguments = _Evidence()
        self._before_call: int | None = None  # tokens up to the first tool call
        self._ahead = iter(rules.checkpoints)
        self._next = next(self._ahead, None)
        self._passed: Checkpoint | None = None
        self._is_doubted = False  # from a Doubt until carry_on()
        self._is_over = False

    def feed(self, tokens: Sequence[Token]) -> Hold | Release | Defer | Doubt:
        """Take more of the text.  A checkpoint judges the tokens before it, wherever chunks end."""
        if self._is_over:
            raise self._too_late()
        count = self._text.extend(tokens)
        self.tokens += len(tokens)
        if self._is_doubted or self._before_call is not None:
            return _HOLD
        while self._next is not None and count >= self._next.tokens:
            if (rejection := self._judge_prefix(self._next)) is not None:
                return rejection
        if self.verdict is None:
            return _HOLD
        self.released = count
        return Release(count)

    def tool_call(self, tokens: Sequence[Token]) -> Hold:
        """Take more of a tool call.  Half of one is of no use: all waits for the end from here."""
        if self._is_over:
            raise self._too_late()
        if self._before_call is None:
            self._before_call = self.tokens
        self._arguments.extend(tokens)
        self.tokens += len(tokens)
        return _HOLD

    def expire(self) -> Hold | Release | Defer:
        """End the window by its time: the last checkpoint passed within it decides, if any was."""
        if self._is_over:
            raise self._too_late()
        is_holding = self.verdict is None and self._before_call is None
        if self._hold_tokens is None or not is_holding:
            return _HOLD
        if self._passed is None:
            return self._defer(Defer(Reason.NO_SIGNAL, has_draft=True))
        rule = self._passed.rule
        verdict = self._judge(self._text.draft(self._passed.tokens), rule, rule.threshold)
        if isinstance(verdict, Defer):
            return self._defer(verdict)
        self.verdict = verdict
        return self._release(self.tokens)

    def end(self, ending: Ending) -> Release | Defer | Doubt:
        """Judge the whole draft, now that it is known how it ends."""
        if self._is_over:
            raise self._too_late()
        self._is_over = True
        if self.doubt is None:
            verdict = self._judge_whole(ending)
            if isinstance(verdict, Defer):
                return self._reject(verdict, self._outside_calls())
            self.verdict = verdict
        elif self._is_doubted:
            return self.doubt
        return self._release(self.tokens)

    def carry_on(self) -> Release:
        """Let the draft flow on in spite of a doubt; it is not doubted again."""
        if not self._is_doubted:
            raise RuntimeError("there is no doubt to carry on from")
        self._is_doubted = False
        return self._release(self.tokens if self._is_over else self._outside_calls())

    def _too_late(self) -> RuntimeError:
        how = "deferred" if isinstance(self.verdict, Defer) else "ended"
        return RuntimeError(f"the draft has been {how}: its gate takes nothing more")

    def _outside_calls(self) -> int:
        """How many tokens no tool call holds back."""
        return self.tokens if self._before_call is None else self._before_call

    def _judge_prefix(self, checkpoint: Checkpoint) -> Defer | Doubt | None:
        """What to answer at the checkpoint; None where the draft may go on."""
        self._passed, self._next = checkpoint, next(self._ahead, None)
        rule = checkpoint.rule
        is_window = self.verdict is None and checkpoint.tokens == self._hold_tokens
        at_least = rule.threshold if is_window else rule.abort_below
        verdict = self._judge(self._text.draft(checkpoint.tokens), rule, at_least)
        if isinstance(verdict, Defer):
            return self._reject(verdict, checkpoint.tokens)
        if is_window:
            self.verdict = verdict
        return None

    def _judge_whole(self, ending: Ending) -> Verdict:
        """Text and tool calls make one answer, which is as good as the weaker of them."""
        if self._before_call is None:
            return self._judge_text(ending)
        arguments = self._judge_arguments(ending)
        if not self._text.chosen:
            return arguments
        return weakest([self._judge_text(replace(ending, structure=_NOT_ASKED)), arguments])

    def _judge_text(self, ending: Ending) -> Verdict:
        """What is out already stays as it was judged, unless there is no hope left for it."""
        rule, draft = self._rules.end, ending.of(self._text.draft())
        if self.verdict is None:
            return self._judge(draft, rule, rule.threshold)
        verdict = self._judge(draft, rule, rule.abort_below)
        return verdict if isinstance(verdict, Defer) else self.verdict

    def _judge_arguments(self, ending: Ending) -> Verdict:
        """Some servers say nothing of a streamed tool call: then its form decides alone."""
        rule = self._rules.arguments
        if ending.structure is Structure.VALID and self._arguments.is_silent():
            if rule.threshold.keeps_nothing:
                return Defer(Reason.LOW_CONFIDENCE, has_draft=True, merit=Merit(1.0))
            return Keep(None, reason=Reason.VALID_STRUCTURE)
        return self._judge(ending.of(self._arguments.draft()), rule, rule.threshold)

    def _judge(self, draft: Draft, rule: Rule, at_least: Threshold) -> Verdict:
        return judge(draft, rule, at_least, self._prospect)

    def _reject(self, verdict: Defer, tokens: int) -> Defer | Doubt:
        """Defer while nothing is out; then doubt, with the first ``tokens`` as good as out."""
        if self.verdict is None:
            return self._defer(verdict)
        self.doubt = Doubt(tokens, verdict.reason, verdict.confidence)
        self.released = tokens
        self._is_doubted = True
        self._next = None
        return self.doubt

    def _defer(self, verdict: Defer) -> Defer:
        self.verdict = verdict
        self._is_over = True
        return verdict

    def _release(self, tokens: int) -> Release:
        self.released = tokens
        return Release(tokens)


class _Evidence:
    """What the server said of a growing text: three numbers a token, NaN where it said nothing."""

    __slots__ = ("best", "chosen", "second")

    def __init__(self) -> None:
        self.chosen = array("d")
        self.best = array("d")
        self.second = array("d")

    def extend(self, tokens: Sequence[Token]) -> int:
        """Take these in; returns how many there are now."""
        for logprob, candidates in tokens:
            self.chosen.append(_NOT_SAID if logprob is None else logprob)
            self.best.append(candidates[0] if candidates else _NOT_SAID)
            self.second.append(candidates[1] if len(candidates) > 1 else _NOT_SAID)
        return len(self.chosen)

    def is_silent(self) -> bool:
        """Whether the server said nothing of any token."""
        return all(map(math.isnan, self.chosen))

    def draft(self, tokens: int | None = None) -> Draft:
        """The first ``tokens`` tokens, or all, as a draft that can be judged."""
        chosen, best, second = self.chosen[:tokens], self.best[:tokens], self.second[:tokens]
        return Draft(tuple(chosen), _said(best), _said(second))


def _said(column: "array[float]") -> tuple[float, ...]:
    """What is there of it: all, but for a server that says nothing here and there."""
    if math.isnan(sum(column)):
        return tuple([each for each in column if not math.isnan(each)])
    return tuple(column)
