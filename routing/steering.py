"""What steers a cascade: what its replicas tell of the traffic, and what then holds for them all.

A controller is a value.  It takes up reports and says what is to hold from now on; whoever has it
keeps it in the store, and replicas follow what it says.  Two kinds of controllers hold four kinds
of objectives: ``routing/promise`` the quality, ``routing/pacing.py`` rate and spend.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from routing.money import PICO_PER_USD

KEEP_NOTHING = math.inf  # no merit reaches it


@dataclass(frozen=True, slots=True)
class Grade:
    """What the teacher's answer says of one draft, at a known probability.

    ``merit`` in [0, 1] is what the draft was, or would have been, kept or deferred by; 1 where its
    form alone spoke for it.  ``loss`` in [0, 1] is how far the teacher would have answered
    differently; an answer that was asked for and did not come is a loss of 1.  ``propensity`` in
    (0, 1] is the probability with which the loss of *this* draft was to be known: 1 where it was
    escalated whole.  ``least`` in (0, propensity] is the least that any kept draft could have had
    under the standing of that time: 1 while nothing is kept.  ``epoch`` is that of the standing.
    ``conversation`` names that to which it belongs, None where it stands alone.  ``is_answered``
    False: the loss is that of an answer that did not come, which says nothing of the student.
    ``late`` is how many seconds after its request was over the loss was known.
    """

    merit: float
    loss: float
    propensity: float
    least: float
    epoch: int
    is_kept: bool
    conversation: str | None = None
    is_answered: bool = True
    late: float = 0.0

    def __post_init__(self) -> None:
        if not (0.0 <= self.merit <= 1.0 and 0.0 <= self.loss <= 1.0):
            raise ValueError(f"merit and loss must lie in [0, 1]: {self!r}")
        if not 0.0 < self.least <= self.propensity <= 1.0:
            raise ValueError(f"0 < least <= propensity <= 1 must hold: {self!r}")
        if not self.late >= 0.0:
            raise ValueError(f"late must not be negative: {self!r}")


@dataclass(frozen=True, slots=True)
class Sample:
    """One of the drafts that were judged: its merit, and what its escalation is expected to cost.

    ``cost_pico`` is None where nobody knows.
    """

    merit: float
    cost_pico: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What one replica served of a cascade since its last report.

    ``sequence`` grows by 1 with each report of a replica, from 1; ``at`` is in seconds since 1970,
    ``seconds`` how long it covers.  ``judged`` requests had a draft with a merit, of which
    ``samples`` are drawn evenly; ``forced`` had none, and went to the teacher whatever the
    threshold was.  Of the judged ones nothing can be learnt from ``mute``, whatever their drafts
    are: it was known before that no grade may come of them.  ``escalated`` counts the teacher's
    answers, ``denied`` those not granted.
    ``spent_pico`` is what the cascade cost in that time, ``escalated_pico`` the part that
    escalations took, ``audited_pico`` the part of audits.  ``turns`` counts the judged requests of
    each conversation that are not mute.
    """

    replica: str
    sequence: int
    at: float
    seconds: float
    judged: int = 0
    forced: int = 0
    escalated: int = 0
    denied: int = 0
    spent_pico: int = 0
    escalated_pico: int = 0
    audited_pico: int = 0
    samples: Sequence[Sample] = ()
    grades: Sequence[Grade] = ()
    turns: Mapping[str, int] = field(default_factory=dict)
    mute: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds for a cascade until its controller says something else.

    ``revision`` grows with each change.  ``threshold`` is the least merit with which a draft is
    kept, ``KEEP_NOTHING`` none.  ``audit`` is the probability with which a kept draft is audited,
    ``complete`` that with which a draft which was given up is finished.  ``per_usd`` is None where
    all escalations are taken to cost the same; else ``threshold`` is that of a request whose
    escalation costs ``1 / per_usd`` dollars, and a request is kept where
    ``(1 - merit) / its cost <= (1 - threshold) * per_usd``: the gain per dollar decides, and
    ``least_merit`` says it as a threshold of each request's own.
    ``shares`` says, by replica, which part of a hard cap in ``cap_pico`` an hour each may spend;
    None is no cap.  ``line`` says in words for people which rule holds, and by which numbers.
    """

    revision: int
    epoch: int
    threshold: float
    audit: float = 0.0
    complete: float = 0.0
    per_usd: float | None = None
    cap_pico: int | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    line: str = ""

    @property
    def least(self) -> float:
        """The least probability with which a kept draft is graded: 1 where none is kept.

        0 where none is audited: then nothing is learnt of them.
        """
        return 1.0 if self.threshold == KEEP_NOTHING else self.audit

    def least_merit(self, cost_pico: int | None) -> float:
        """The least merit with which a draft is kept whose escalation is expected to cost so much.

        In [0, 1], or ``KEEP_NOTHING``.  A cost that nobody knows is taken to be ``1 / per_usd``.
        """
        if self.per_usd is None or cost_pico is None or self.threshold == KEEP_NOTHING:
            return self.threshold
        asked = (1.0 - self.threshold) * self.per_usd * cost_pico / PICO_PER_USD
        return max(0.0, 1.0 - asked)


class Controller(Protocol):
    """Holds one cascade to its objective.  Immutable: what it learns makes another."""

    @property
    def standing(self) -> Standing:
        """What is to hold now."""

    def advance(self, reports: Sequence[Report], now: float) -> "Controller":
        """After these reports, in this order, at a time in seconds since 1970.

        A report whose sequence is not above the last one seen of its replica is passed over.
        """

    def document(self) -> Mapping[str, object]:
        """All of it as JSON has it: whoever reads that goes on where this one was."""

    def shown(self) -> Mapping[str, object]:
        """What an operator wants to see of it: objective, evidence, what is missing."""
