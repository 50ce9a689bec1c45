"""Candidate and incumbent on the same questions: all that ``evaluation.json`` and its pictures say.

Each cascade decides by its own policy, with routing's own functions.  Everything is computed on the
same resamples of the questions.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from distill.evaluation_file import (
    Alone,
    AloneCompared,
    Cascade,
    CascadeCompared,
    EqualQuality,
    Estimate,
    Forgetting,
    ForgottenGroup,
    Group,
)
from distill.pairing import Pairing, Side
from evaluation.applied import apply_policy
from evaluation.outcomes import Booleans, Floats
from evaluation.paired import (
    Bounds,
    Drawing,
    Mean,
    Ratio,
    bounds_of_means,
    bounds_of_ratio,
    percentiles,
)
from evaluation.records import Record
from evaluation.reliability import auroc, expected_calibration_errors
from evaluation.spending import Costs, Spending, spending_of
from routing import Policy

_WHOLE = None  # beside the groups' names


@dataclass(frozen=True, slots=True, eq=False)
class Decided:
    """What a policy makes of each draft, shape (n,): NaN is no signal, or nothing known before.

    ``samples`` is how many drafts each was chosen from.
    """

    confidence: Floats
    merit: Floats
    bar: Floats
    kept: Booleans
    straight: Booleans
    samples: int = 1


def decide(policy: Policy, records: Iterable[Record], side: Side) -> Decided:
    """Ask the policy about each record, and put its answers in the pairs' order.

    ``records`` are those that were chosen of the side's file.
    """
    applied, order = apply_policy(policy, records), side.order
    return Decided(
        confidence=applied.confidence[order],
        merit=applied.merit[order],
        bar=applied.bar[order],
        kept=applied.kept[order],
        straight=applied.straight[order],
        samples=policy.samples,
    )


def teacher_alone(n: int) -> Decided:
    """What a cascade decides that can keep nothing: every request goes straight to the teacher."""
    silence, all_of_them = np.full(n, np.nan), np.ones(n, dtype=np.bool_)
    return Decided(silence, silence, silence, ~all_of_them, all_of_them)


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """One side as numbers: its drafts, what its policy decides, and what both models cost."""

    side: Side
    decided: Decided
    costs: Costs

    def served(self, teacher: Floats) -> Floats:
        """How good the answer is that a client gets."""
        return np.where(self.decided.kept, self.side.student, teacher)

    @property
    def paid(self) -> Floats:
        """What each request costs."""
        drafted, asked = ~self.decided.straight, ~self.decided.kept
        return np.asarray(self.costs.student * drafted + self.costs.teacher * asked)


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Both arms on the same questions, and how often they are resampled."""

    pairing: Pairing
    candidate: Arm
    incumbent: Arm
    drawing: Drawing

    def quality(self) -> tuple[AloneCompared, Estimate, Mapping[str, Group]]:
        """Both students alone, the cascades' difference, and both by group."""
        masks = self._masks()
        alone = self._differences([arm.side.student for arm in self._arms], masks)
        served = self._differences(self._served, masks)
        worth = {name: self.pairing.sample.worth(masks[name]) for name in self.pairing.group_names}
        running: dict[str | None, Floats] = {}
        total = np.zeros(self.pairing.n)
        for name in sorted(worth, key=lambda each: worth[each]):
            total = total + masks[name]
            running[name] = total
        smaller = self._differences(self._served, running)
        groups = {}
        for name in self.pairing.group_names:
            chosen = masks[name]
            candidate, incumbent = (self._mean(each, chosen) for each in self._served)
            groups[name] = Group(
                records=int(chosen.sum()),
                worth=worth[name],
                candidate=candidate,
                incumbent=incumbent,
                difference=served[name],
                alone=alone[name],
                worth_with_smaller=self.pairing.sample.worth(running[name]),
                with_smaller=smaller[name],
            )
        both = [self._alone(arm) for arm in self._arms]
        compared = AloneCompared(candidate=both[0], incumbent=both[1], difference=alone[_WHOLE])
        return compared, served[_WHOLE], groups

    def cascades(self, difference: Estimate, target: float) -> CascadeCompared:
        """Both cascades as they are, and the bill at ``target`` times the teacher's quality."""
        candidate, incumbent = (self._cascade(arm) for arm in self._arms)
        return CascadeCompared(
            candidate=candidate,
            incumbent=incumbent,
            difference=difference,
            bill=_or_none(bounds_of_ratio(self.pairing.sample, self._bill(), self.drawing)),
            bill_at_equal_quality=self._at_equal_quality(target),
        )

    def spending(self) -> tuple[Spending, Spending]:
        """What each costs and reaches at every threshold."""
        new, old = (
            spending_of(
                self.pairing.outcomes(arm.side), arm.costs, arm.decided.merit, arm.decided.bar
            )
            for arm in self._arms
        )
        return new, old

    # --- parts ---

    @property
    def _arms(self) -> tuple[Arm, Arm]:
        return self.candidate, self.incumbent

    @property
    def _served(self) -> list[Floats]:
        return [arm.served(self.pairing.teacher) for arm in self._arms]

    def _masks(self) -> dict[str | None, Floats]:
        """1 where a record is in a group, for each; none where no record names one."""
        names = np.array(self.pairing.groups, dtype=object)
        masks: dict[str | None, Floats] = {_WHOLE: np.ones(self.pairing.n)}
        for name in self.pairing.group_names:
            masks[name] = (names == name).astype(np.float64)
        return masks

    def _differences(
        self, values: list[Floats], masks: Mapping[str | None, Floats]
    ) -> dict[str | None, Estimate]:
        """Of the candidate's less the incumbent's, over each mask."""
        means = [Mean(values[0] - values[1], mask, -1.0, 1.0) for mask in masks.values()]
        found = bounds_of_means(self.pairing.sample, means, self.drawing) if means else []
        return {
            name: _estimate(bounds)
            for name, bounds in zip(masks, found, strict=True)
            if bounds is not None
        }

    def _mean(self, values: Floats, mask: Floats) -> float:
        return float(np.average(values, weights=self.pairing.sample.weight * mask))

    def _alone(self, arm: Arm) -> Alone:
        outcomes = self.pairing.outcomes(arm.side)
        stated = arm.decided.confidence
        says = bool((~np.isnan(stated)).any())
        (error,) = expected_calibration_errors(stated, outcomes.student, outcomes.weight[None, :])
        return Alone(
            quality=self._mean(outcomes.student, np.ones(self.pairing.n)),
            ece=None if np.isnan(error) else float(error),
            auroc=auroc(outcomes, stated) if says else None,
        )

    def _cascade(self, arm: Arm) -> Cascade:
        everything = np.ones(self.pairing.n)
        kept = self._mean(arm.decided.kept.astype(np.float64), everything)
        return Cascade(
            quality=self._mean(arm.served(self.pairing.teacher), everything),
            kept_share=kept,
            escalation_rate=1.0 - kept,
            straight_share=self._mean(arm.decided.straight.astype(np.float64), everything),
            cost_per_request=self._mean(arm.paid, everything),
        )

    def _bill(self) -> Ratio:
        """An unseen record: one arm keeps its draft and the other asks the teacher, at mean prices.

        How much prices vary is for the resamples to show.
        """
        everything = np.ones(self.pairing.n)
        new, old = (self._mean(arm.costs.student, everything) for arm in self._arms)
        asked = self._mean(self.incumbent.costs.teacher, everything)
        return Ratio(
            above=self.candidate.paid,
            below=self.incumbent.paid,
            dearest=(new + asked, old),
            cheapest=(new, old + asked),
        )

    def _at_equal_quality(self, target: float) -> EqualQuality:
        both = self.spending()
        seen = [each.points(self.pairing.sample.weight[None, :]).cheapest(target) for each in both]
        new, old = (float(each[0]) for each in seen)
        drawn = [
            [each.points(weights).cheapest(target) for each in both]
            for weights, _ in self.pairing.sample.resamples(self.drawing)
        ]
        above, below = (np.concatenate([each[place] for each in drawn]) for place in (0, 1))
        ratio = above / np.where(below > 0.0, below, np.nan) - 1.0
        estimate = new / old - 1.0 if old > 0.0 else float("nan")
        return EqualQuality(
            target=target,
            candidate=None if np.isnan(new) else new,
            incumbent=None if np.isnan(old) else old,
            bill=_or_none(percentiles(estimate, ratio, self.drawing.confidence)),
        )


def forgetting(
    pairing: Pairing, candidate: Decided, incumbent: Decided, drawing: Drawing
) -> Forgetting:
    """What became of the drafts that the incumbent kept rightly on a general set."""
    new, old = pairing.candidate.student, pairing.incumbent.student
    held = old * incumbent.kept
    wrong = 1.0 - new
    broken = wrong * candidate.kept
    bounds = bounds_of_means(
        pairing.sample,
        [Mean(broken, held, 0.0, 1.0), Mean(wrong, held, 0.0, 1.0)],
        drawing,
    )
    names = np.array(pairing.groups, dtype=object)
    groups = {}
    for name in pairing.group_names:
        mass = pairing.sample.weight * held * (names == name)
        if mass.any():
            groups[name] = ForgottenGroup(
                held=int((mass > 0.0).sum()), broken=float(np.average(broken, weights=mass))
            )
    return Forgetting(
        records=pairing.n,
        held=int((held > 0.0).sum()),
        worth=pairing.sample.worth(held),
        broken=_or_none(bounds[0]),
        draft_lost=_or_none(bounds[1]),
        groups=groups,
    )


def _estimate(bounds: Bounds) -> Estimate:
    return Estimate(estimate=bounds.estimate, low=bounds.low, high=bounds.high)


def _or_none(bounds: Bounds | None) -> Estimate | None:
    return None if bounds is None else _estimate(bounds)
