"""Whether a candidate goes on, has to wait, or goes back: decided from counts alone.

First the candidate is tried in the shadow: it writes drafts that nobody gets.  Then it serves
shares of the sessions, in steps.  Each of these trials has counts of its own.

What is promised, with evidence as in evaluation/sequential.py, however often anybody looks:

Harm is promoted with probability at most ``alpha``.  A candidate is harmful where one of the three
watched rates is higher than the incumbent's by at least its margin.  The last trial ends well only
where each of the three has shown that it is not, each with 1/alpha to 1: whichever is harmful had
to be mistaken, so that the one ``alpha`` is enough for all.

A harmless candidate is sent back by a test with probability at most ``alpha``.  It is harmless
where no rate exceeds its margin or limit.  Any of the tests of any trial may err, so each has an
equal share of ``alpha``.  A candidate that can be shown neither harmful nor harmless goes back when
its time is over; no promise covers that.

Both are promises about one rollout.  Whoever lets the same candidate in again and again, until it
is promoted once, would have ``alpha`` each time; so each further try has half of the one before
(``retried``), and all together less than twice ``alpha``.

Earlier trials end well once enough was seen and nothing was found: they are to find disasters while
few can be struck by them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise

from evaluation.sequential import (
    Count,
    Paired,
    evidence_above,
    evidence_of_harm,
    evidence_of_loss,
    evidence_of_no_harm,
    needed,
)
from routing.rollout import Stage
from routing.tally import ArmTally, ShadowTally, Tallies


class Watched(StrEnum):
    """What is watched, as people read it."""

    ERRORS = "failed requests"
    ESCALATIONS = "escalation rate"
    DISAGREEMENT = "disagreement with the teacher"
    CHANGED = "answers that change"


@dataclass(frozen=True, slots=True)
class Margins:
    """By how much each rate of the candidate's may exceed the incumbent's."""

    errors: float = 0.01
    escalations: float = 0.05
    disagreement: float = 0.05


@dataclass(frozen=True, slots=True)
class Limits:
    """The highest rates in the shadow, where the incumbent has none to compare with.

    What the teacher answers there is what the incumbent found hard, so ``disagreement`` is laxer
    than a margin.  ``changed`` is of what both would keep.
    """

    errors: float = 0.05
    disagreement: float = 0.2
    changed: float = 0.2


@dataclass(frozen=True, slots=True)
class Least:
    """How much must have been seen before a trial ends well, however clear it is.

    ``shadow`` is in drafts; ``requests`` and ``held_out`` are of each arm.  The incumbent need not
    have so many held out: it may keep little.
    """

    shadow: int = 200
    requests: int = 200
    held_out: int = 50


@dataclass(frozen=True, slots=True)
class Plan:
    """How a candidate is let in.  Raises ValueError where no candidate could be judged by it.

    ``shares`` are those of the sessions, one a trial; ``holdout`` is the probability with which a
    draft that would be kept is answered by the teacher meanwhile.
    """

    shadow_share: float = 0.1
    shares: Sequence[float] = (0.05, 0.25)
    holdout: float = 0.1
    alpha: float = 0.05
    seconds: float = 86_400.0
    margins: Margins = field(default_factory=Margins)
    limits: Limits = field(default_factory=Limits)
    least: Least = field(default_factory=Least)

    def __post_init__(self) -> None:
        if not self.shares or min(self.shares) <= 0.0 or max(self.shares) >= 1.0:
            raise ValueError("shares: at least one, each above 0 and below 1")
        if any(first >= second for first, second in pairwise(self.shares)):
            raise ValueError("shares: must grow")
        if not 0.0 < self.alpha < 1.0:
            raise ValueError(f"alpha: lies between 0 and 1, got {self.alpha:g}")
        rates = (self.margins, self.limits)
        for name, value in ((name, getattr(one, name)) for one in rates for name in one.__slots__):
            if not 0.0 < value < 1.0:
                raise ValueError(f"{name}: a margin or limit lies between 0 and 1, got {value:g}")

    @property
    def trials(self) -> Sequence["Trial"]:
        """The shadow, then each share."""
        last = len(self.shares) - 1
        return (
            Trial(Stage.SHADOW, self.shadow_share),
            *(
                Trial(Stage.CANARY, share, is_last=place == last)
                for place, share in enumerate(self.shares)
            ),
        )

    @property
    def alpha_of_each(self) -> float:
        """The share of ``alpha`` that a test has which may send a candidate back."""
        return self.alpha / (4 + 3 * len(self.shares))


def retried(plan: Plan, tries: int) -> Plan:
    """The plan for a candidate that has been tried so often before."""
    return replace(plan, alpha=plan.alpha / 2.0**tries)


@dataclass(frozen=True, slots=True)
class Trial:
    """A stage with a share.  After the last one the candidate is promoted."""

    stage: Stage
    share: float
    is_last: bool = False

    def __str__(self) -> str:
        return f"{self.stage.value} {self.share:g}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What the counts say of one rate.

    ``bound`` is a margin, or a limit where there is no ``incumbent``.  ``harm`` is the evidence
    that the rate is above it, ``no_harm`` that it is below, None where nobody asks.
    """

    watched: Watched
    candidate: Count
    incumbent: Count | None
    bound: float
    harm: float
    no_harm: float | None = None


@dataclass(frozen=True, slots=True)
class Go:
    """Enough was seen, and nothing speaks against the candidate."""

    why: str


@dataclass(frozen=True, slots=True)
class Wait:
    """What is still missing."""

    missing: Sequence[str]


@dataclass(frozen=True, slots=True)
class Back:
    """The candidate must go, and why."""

    why: str


Decision = Go | Wait | Back


def decide(plan: Plan, trial: Trial, tallies: Tallies, seconds: float) -> Decision:
    """What to do, by the trial's own counts, after so many seconds of it."""
    findings = findings_of(plan, trial, tallies)
    proof = needed(plan.alpha_of_each)
    if harmful := [one for one in findings if one.harm >= proof]:
        return Back("; ".join(f"{describe(one)}: higher, as good as proven" for one in harmful))
    missing = [*_unseen(plan, trial, tallies), *_unproven(plan, findings)]
    if not missing:
        return Go("; ".join(describe(one) for one in findings))
    if seconds >= plan.seconds:
        return Back(f"undecided after {seconds:,.0f} s, for want of {'; '.join(missing)}")
    return Wait(missing)


def findings_of(plan: Plan, trial: Trial, tallies: Tallies) -> Sequence[Finding]:
    """The evidence for and against each watched rate."""
    if trial.stage is Stage.SHADOW:
        return _shadowed(plan, tallies.shadow)
    return [
        Finding(
            watched,
            candidate,
            incumbent,
            margin,
            evidence_of_harm(candidate, incumbent, margin),
            evidence_of_no_harm(candidate, incumbent, margin) if trial.is_last else None,
        )
        for watched, candidate, incumbent, margin in _rates(plan, tallies)
    ]


def describe(finding: Finding) -> str:
    """One rate in words, such as ``escalation rate 12.0% of 250, incumbent 11.8% of 4,750``."""
    told = f"{finding.watched.value} {_rate(finding.candidate)}"
    if finding.incumbent is None:
        return f"{told}, limit {finding.bound:.1%}"
    return f"{told}, incumbent {_rate(finding.incumbent)}"


def _rate(count: Count) -> str:
    return "unknown" if count.rate is None else f"{count.rate:.1%} of {count.of:,}"


def _rates(plan: Plan, tallies: Tallies) -> Iterator[tuple[Watched, Count, Count, float]]:
    candidate, incumbent = tallies.candidate, tallies.incumbent
    for watched, count, margin in (
        (Watched.ERRORS, _errors, plan.margins.errors),
        (Watched.ESCALATIONS, _escalations, plan.margins.escalations),
        (Watched.DISAGREEMENT, _disagreement, plan.margins.disagreement),
    ):
        yield watched, count(candidate), count(incumbent), margin


def _errors(arm: ArmTally) -> Count:
    return Count(arm.failed, arm.drafts + arm.failed)


def _escalations(arm: ArmTally) -> Count:
    return Count(arm.deferred, arm.drafts)


def _disagreement(arm: ArmTally) -> Count:
    return Count(arm.different, arm.held_out)


def _shadowed(plan: Plan, shadow: ShadowTally) -> Sequence[Finding]:
    margin, limits = plan.margins.escalations, plan.limits
    drafts = shadow.drafts
    paired = Paired(
        lost=shadow.incumbent_kept - shadow.both_kept,
        won=shadow.kept - shadow.both_kept,
        same=drafts - shadow.incumbent_kept - shadow.kept + 2 * shadow.both_kept,
    )
    escalations = Finding(
        Watched.ESCALATIONS,
        Count(drafts - shadow.kept, drafts),
        Count(drafts - shadow.incumbent_kept, drafts),
        margin,
        evidence_of_loss(paired, margin),
    )
    limited = (
        (Watched.ERRORS, Count(shadow.failed, drafts + shadow.failed), limits.errors),
        (Watched.DISAGREEMENT, Count(shadow.different, shadow.compared), limits.disagreement),
        (Watched.CHANGED, Count(shadow.changed, shadow.both_compared), limits.changed),
    )
    return [
        escalations,
        *(
            Finding(watched, count, None, limit, evidence_above(count, limit))
            for watched, count, limit in limited
        ),
    ]


def _unseen(plan: Plan, trial: Trial, tallies: Tallies) -> Iterator[str]:
    """What there is too little of."""
    least = plan.least
    if trial.stage is Stage.SHADOW:
        wanted = [("shadow drafts", tallies.shadow.drafts, least.shadow)]
    else:
        wanted = [
            ("requests of the candidate's", tallies.candidate.drafts, least.requests),
            ("requests of the incumbent's", tallies.incumbent.drafts, least.requests),
        ]
        if trial.is_last:
            held_out = tallies.candidate.held_out
            wanted.append(("compared answers of the candidate's", held_out, least.held_out))
    for name, seen, enough in wanted:
        if seen < enough:
            yield f"{name}: {seen:,} of {enough:,}"


def _unproven(plan: Plan, findings: Sequence[Finding]) -> Iterator[str]:
    """Which rates might still be harmful."""
    proof = needed(plan.alpha)
    for one in findings:
        if one.no_harm is not None and one.no_harm < proof:
            yield (
                f"evidence that {one.watched.value} is at most {one.bound:.1%} higher: "
                f"{max(one.no_harm, 0.0):.1f} of {proof:.1f}"
            )
