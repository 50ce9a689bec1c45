"""All that one cascade needs to decide: which signals, how they add up, what they mean, how much.

These are the values; ``policy_file.py`` reads and writes the file that holds them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

from routing.calibration import Calibration, Uncalibrated
from routing.errors import PolicyError
from routing.labels import label_of, one_hot
from routing.model import (
    GROUP_PREFIX,
    LABEL_PREFIX,
    PROMPT_MERIT,
    Features,
    Learnt,
    Model,
    Score,
)
from routing.prompt import Prompt, PromptModel
from routing.sampling import Sampling, effective_sampling, is_greedy
from routing.signals import AGREEMENT, EARLIER_KEPT, EVIDENCE_NAMES, Signals
from routing.vocabulary import Confidence, Merit, Threshold

UNCALIBRATED_VERSION = "uncalibrated"
DEFAULT_THRESHOLD = Threshold(0.8)
DEFAULT_ABORT_BELOW = Threshold(0.4)
DEFAULT_CHECKPOINTS = (8, 16, 32, 64)

NEVER = Threshold(0.0)  # every merit is at least 0


# A tuple, as a draft is: each request has one.
class Opinion(NamedTuple):
    """What a rule thinks of a draft.

    ``confidence`` is the probability that it is acceptable, ``merit`` what speaks for keeping it.
    """

    confidence: Confidence
    merit: Merit


@dataclass(frozen=True, slots=True)
class Rule:
    """From features to a confidence and a merit, and the two bounds that this is held against.

    ``score`` is what the calibration takes; ``by_group`` has calibrations of their own for the
    groups that a request can name, and ``calibration`` is for all others.  ``gain`` estimates the
    teacher's quality less the student's, in [-1, 1]; without it the confidence is the merit.
    ``names`` are all features that are read.  ``threshold`` is enough to keep; below
    ``abort_below`` there is no hope, or no longer, and 0 gives none up.  Raises PolicyError where
    ``abort_below`` exceeds ``threshold``, and where the score rests on nothing that tells how sure
    the student was.
    """

    score: Model
    calibration: Calibration
    threshold: Threshold
    abort_below: Threshold = NEVER
    by_group: Mapping[str, Calibration] = field(default_factory=dict)
    gain: Learnt | None = None
    names: frozenset[str] = field(init=False, repr=False, compare=False)
    labels: tuple[str, ...] = field(init=False, repr=False, compare=False)
    is_agreement_read: bool = field(init=False, repr=False, compare=False)
    is_past_read: bool = field(init=False, repr=False, compare=False)
    _is_promise_read: bool = field(init=False, repr=False, compare=False)
    _groups: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _evidence: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.abort_below.value > self.threshold.value:
            raise PolicyError(
                f"abort_below: must be at most the threshold, {self.threshold.value!r}, "
                f"got {self.abort_below.value!r}"
            )
        gain = () if self.gain is None else self.gain.names
        names = frozenset({*self.score.names, *gain})
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "labels", _after(LABEL_PREFIX, names))
        object.__setattr__(self, "_groups", _after(GROUP_PREFIX, names))
        object.__setattr__(self, "is_agreement_read", AGREEMENT in names)
        object.__setattr__(self, "is_past_read", EARLIER_KEPT in names)
        object.__setattr__(self, "_is_promise_read", PROMPT_MERIT in names)
        object.__setattr__(self, "_evidence", EVIDENCE_NAMES.intersection(self.score.names))
        if not self._evidence:
            raise PolicyError("must read a signal that tells how sure the student was")

    def features(
        self,
        signals: Features,
        text: str = "",
        group: str | None = None,
        promised: Merit | None = None,
    ) -> Features:
        """The signals, and what the rule wants to know of the draft's text, group and prompt.

        Without a text, as at the beginning of a draft, or a group nothing is known of them.
        ``promised`` is the merit that the prompt alone let expect, None where nobody estimated it.
        """
        if not (self.labels or self._groups or self._is_promise_read):
            return signals
        found = dict(signals)
        if self._is_promise_read and promised is not None:
            found[PROMPT_MERIT] = promised.value
        if self.labels and text:
            found.update(one_hot(LABEL_PREFIX, self.labels, label_of(text)))
        if self._groups and group is not None:
            found.update(one_hot(GROUP_PREFIX, self._groups, group))
        return found

    def confidence(self, features: Features, group: str | None = None) -> Confidence | None:
        """Confidence in a draft with these features; None where they do not suffice."""
        if self._evidence.isdisjoint(features):
            return None
        score = self.score.of(features)
        if score is None:
            return None
        calibration = self.calibration
        if group is not None:
            calibration = self.by_group.get(group, calibration)
        return calibration.confidence(score)

    def opinion(self, features: Features, group: str | None = None) -> Opinion | None:
        """Confidence in a draft with these features, and its merit; None where they say nothing."""
        confidence = self.confidence(features, group)
        if confidence is None:
            return None
        if self.gain is None:
            return Opinion(confidence, Merit(confidence.value))
        gain = min(max(self.gain.of(features), -1.0), 1.0)
        return Opinion(confidence, Merit((1.0 - gain) / 2.0))

    def merit(self, features: Features, group: str | None = None) -> Merit | None:
        """The merit alone."""
        opinion = self.opinion(features, group)
        return None if opinion is None else opinion.merit

    def with_threshold(self, threshold: Threshold) -> "Rule":
        """The same confidence, itself held against another threshold, and never aborted above it.

        A gain is left out: a threshold that somebody chose is one for the confidence.
        """
        abort_below = Threshold(min(self.abort_below.value, threshold.value))
        return replace(self, threshold=threshold, abort_below=abort_below, gain=None)


def _after(prefix: str, names: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted(name.removeprefix(prefix) for name in names if name.startswith(prefix)))


@dataclass(frozen=True, slots=True)
class PromptRule:
    """The merit to be expected of a draft before there is one.

    ``margin`` is how far above the estimate a draft's merit comes out only so rarely that the draft
    is not worth its price.  Raises PolicyError where it is not finite.
    """

    model: PromptModel
    margin: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.margin):
            raise PolicyError(f"margin: must be a finite number, got {self.margin!r}")

    def estimate(self, prompt: Prompt) -> Merit:
        """The expected merit."""
        return Merit(min(max(self.model.of(prompt), 0.0), 1.0))

    def bar_of(self, promised: Merit) -> Merit:
        """The most that can be hoped for, where this merit is expected."""
        return Merit(min(max(promised.value + self.margin, 0.0), 1.0))

    def bar(self, prompt: Prompt) -> Merit:
        """The most that can be hoped for of this prompt's draft."""
        return self.bar_of(self.estimate(prompt))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The rule for a prefix of ``tokens`` tokens: that is not the rule for an answer."""

    tokens: int
    rule: Rule


@dataclass(frozen=True, slots=True)
class StreamedRules:
    """The rules for a draft that is judged while it is written.

    ``checkpoints`` judge its first tokens, ``end`` its whole text, ``arguments`` the tokens of its
    tool calls.  ``hold_tokens`` is the checkpoint that their threshold was chosen for, None where
    nobody chose one.  Raises PolicyError unless there are checkpoints, their tokens strictly
    increasing from 1 or more, and ``hold_tokens`` among them.
    """

    checkpoints: tuple[Checkpoint, ...]
    end: Rule
    arguments: Rule
    is_calibrated: bool = True
    hold_tokens: int | None = None

    def __post_init__(self) -> None:
        tokens = [0, *(checkpoint.tokens for checkpoint in self.checkpoints)]
        if len(tokens) == 1:
            raise PolicyError("streamed.checkpoints: there must be at least one")
        if any(left >= right for left, right in pairwise(tokens)):
            raise PolicyError(
                "streamed.checkpoints: tokens must strictly increase from at least 1, "
                f"got {tokens[1:]}"
            )
        if self.hold_tokens is not None and self.hold_tokens not in tokens[1:]:
            raise PolicyError(
                f"streamed.hold_tokens: must be one of the checkpoints, {tokens[1:]}, "
                f"got {self.hold_tokens}"
            )

    @property
    def is_past_read(self) -> bool:
        """Whether a rule reads what earlier turns of a conversation came to."""
        is_at_end = self.end.is_past_read or self.arguments.is_past_read
        return is_at_end or any(each.rule.is_past_read for each in self.checkpoints)

    def with_threshold(self, threshold: Threshold) -> "StreamedRules":
        """The same rules, all of them kept at another confidence."""
        return replace(
            self,
            checkpoints=tuple(
                replace(checkpoint, rule=checkpoint.rule.with_threshold(threshold))
                for checkpoint in self.checkpoints
            ),
            end=self.end.with_threshold(threshold),
            arguments=self.arguments.with_threshold(threshold),
            hold_tokens=None,  # a threshold that somebody chose was chosen for no window
        )


def uncalibrated_streamed() -> StreamedRules:
    """The rules for the streams of a cascade whose policy says nothing of them.

    Prefix and answer alike are held against the default score; arguments stand or fall with their
    weakest token.  Nobody has checked what these numbers mean for your traffic.
    """
    score = _average_of_four()
    rule = Rule(score, Uncalibrated(), DEFAULT_THRESHOLD, DEFAULT_ABORT_BELOW)
    return StreamedRules(
        checkpoints=tuple(Checkpoint(tokens, rule) for tokens in DEFAULT_CHECKPOINTS),
        end=rule,
        arguments=Rule(Score(("min_probability",), (1.0,)), Uncalibrated(), DEFAULT_THRESHOLD),
        is_calibrated=False,
    )


@dataclass(frozen=True, slots=True)
class Policy:
    """The frozen rules of one cascade for one version of its student.

    ``whole`` judges drafts once they are whole, ``streamed`` those that are judged while they are
    written: two decisions, certified apart.  ``prompt`` says which prompts are not worth a draft.
    ``sampling`` is how the drafts were sampled that the rules were fitted on, None where nobody
    knows: then any will do.  ``samples`` is how many drafts of an answer they were chosen from, of
    which each agreed with most.  ``version`` names the policy in headers, logs and pairs.
    ``is_calibrated`` is False for the default rule, whose confidence is an ordering and no
    probability.  ``is_past_read``: a rule reads what earlier turns of a conversation came to.
    Raises PolicyError where a rule reads an agreement that cannot be had.
    """

    version: str
    whole: Rule
    is_calibrated: bool = True
    streamed: StreamedRules = field(default_factory=uncalibrated_streamed)
    prompt: PromptRule | None = None
    sampling: Sampling | None = None
    samples: int = 1
    early_abort: StreamedRules = field(init=False, repr=False, compare=False)
    is_past_read: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.samples == 1 and self.whole.is_agreement_read:
            raise PolicyError(f"samples: a rule reads {AGREEMENT}: say of how many drafts it is")
        if self.samples > 1 and self.sampling is not None and is_greedy(self.sampling):
            raise PolicyError("samples: several drafts are one where the likeliest token is taken")
        # The rules for a draft that is served whole, and given up before where it is hopeless.
        object.__setattr__(self, "early_abort", replace(self.streamed, end=self.whole))
        is_past_read = self.whole.is_past_read or self.streamed.is_past_read
        object.__setattr__(self, "is_past_read", is_past_read)

    @property
    def threshold(self) -> Threshold:
        """The least merit with which a whole draft is kept."""
        return self.whole.threshold

    def least_bar(self, *, is_live: bool) -> Threshold:
        """What a prompt's bar must reach for a draft to be worth its price.

        That is the threshold of the decision which the draft would meet: a live stream's where it
        has one of its own.
        """
        own = is_live and self.streamed.is_calibrated
        return self.streamed.end.threshold if own else self.whole.threshold

    def confidence(self, signals: Features, group: str | None = None) -> Confidence | None:
        """Confidence in a whole draft with these signals; None where they do not suffice."""
        return self.whole.confidence(signals, group)

    def promised(self, prompt: Prompt) -> Merit | None:
        """The merit to be expected of this prompt's draft; None where nobody estimates it."""
        return None if self.prompt is None else self.prompt.estimate(prompt)

    def bar(self, promised: Merit | None) -> Merit | None:
        """The most that can be hoped for where this much is promised; None where nobody knows."""
        if self.prompt is None or promised is None:
            return None
        return self.prompt.bar_of(promised)

    def covers(self, sampling: Sampling, samples: int) -> bool:
        """Whether so many drafts, sampled like this, are those that the rules were fitted on."""
        if self.is_calibrated and self.samples != samples:
            return False
        return self.sampling is None or self.sampling == effective_sampling(sampling)

    def is_evidence(self, signals: Signals) -> bool:
        """Whether a draft with these signals was chosen from as many as the rules want.

        A server may write fewer drafts than it was asked for: then no agreement is known.
        """
        return self.samples == 1 or AGREEMENT in signals

    def with_threshold(self, threshold: Threshold) -> "Policy":
        """The same confidence, held against another threshold; the prompt is not asked."""
        return replace(
            self,
            whole=self.whole.with_threshold(threshold),
            streamed=self.streamed.with_threshold(threshold),
            prompt=None,
        )


def uncalibrated_default() -> Policy:
    """The rule for a cascade without a policy: the plain average of four signals.

    Mean, minimum, low quantile and margin, each in [0, 1], weigh the same.  One weak token in a
    sure answer pulls three of the four down, which the mean alone would hide.  Nobody has checked
    what 0.8 means for your traffic: fit a policy before you trust the number.
    """
    return Policy(
        version=UNCALIBRATED_VERSION,
        whole=Rule(_average_of_four(), Uncalibrated(), DEFAULT_THRESHOLD),
        is_calibrated=False,
    )


def _average_of_four() -> Score:
    signals = ("mean_probability", "min_probability", "low_probability", "min_margin")
    return Score(signals=signals, weights=(0.25,) * 4)
