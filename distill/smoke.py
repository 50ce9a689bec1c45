"""Is what a server serves what was evaluated?  Its answers beside those of the records.

The same weights, asked the same, say the same, and are as sure of it: but for rounding, which
differs with the requests that share a batch.  So a few of the texts may differ, and the confidence
a little.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.features import has_prompt, prompt_in
from evaluation.records import Record, draft_of, earlier_kept_in
from routing.cascade import Prospect, judge
from routing.policy import Policy
from routing.sampling import is_greedy
from routing.vocabulary import Draft

_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Tolerance:
    """``confidence`` may be off by so much, and ``differing`` of the examples by more than that."""

    confidence: float = 0.05
    differing: float = 0.125


@dataclass(frozen=True, slots=True)
class Example:
    """A question with what was recorded of its answer.

    ``is_repeatable``: the likeliest token is taken each time, so that the words come again.
    """

    record: Record
    request: Mapping[str, Any]

    @property
    def is_repeatable(self) -> bool:
        """Whether the same words are to be expected."""
        return is_greedy(self.record.student.sampling or self.request)


@dataclass(frozen=True, slots=True)
class Said:
    """What the server answers now."""

    text: str
    draft: Draft


def examples_of(records: Sequence[Record], count: int) -> Sequence[Example]:
    """As many of the records that say what was asked, evenly over all of them."""
    usable = [
        Example(record, record.request)
        for record in records
        if isinstance(record.request, dict)
        and record.student.text is not None
        and record.student.token_logprobs
    ]
    count = min(count, len(usable))
    return [usable[place * len(usable) // count] for place in range(count)]


def difference(example: Example, said: Said, policy: Policy, tolerance: Tolerance) -> str | None:
    """How an answer differs from the recorded one, None where it does not.

    Without log-probabilities every answer does.
    """
    record = example.record
    after = confidence_in(said.draft, record, policy)
    if after is None:
        return f"{record.id}: the server gives no log-probabilities that the policy can judge by"
    if not example.is_repeatable:
        return None
    text = record.student.text or ""
    if said.text.strip() != text.strip():
        return f"{record.id}: {_shown(said.text)} in place of {_shown(text)}"
    # The recorded text judged as the other one is, by what the server said of its tokens.
    before = confidence_in(draft_of(record.student)._replace(text=said.draft.text), record, policy)
    if before is None or abs(before - after) > tolerance.confidence:
        was = "none" if before is None else f"{before:.3f}"
        return f"{record.id}: a confidence of {after:.3f} in place of {was}"
    return None


def most_differing(count: int, tolerance: Tolerance) -> int:
    """How many of so many examples may differ."""
    return int(count * tolerance.differing)


def confidence_in(draft: Draft, record: Record, policy: Policy) -> float | None:
    """The policy's confidence in a draft of that question, None where it can have none."""
    prompt = prompt_in(record)
    is_known = has_prompt(record) or prompt.group
    prospect = Prospect(
        group=prompt.group,
        promised=policy.promised(prompt) if is_known else None,
        earlier_kept=earlier_kept_in(record.student),
    )
    confidence = judge(draft, policy.whole, policy.threshold, prospect).confidence
    return None if confidence is None else confidence.value


def _shown(text: str) -> str:
    short = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
    return repr(short)
