"""How a candidate is let in, as options of the command."""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from distill.gate import Limits as GateLimits
from distill.rollouts import Least, Limits, Margins, Plan
from distill.smoke import Tolerance
from understudy.telling import CommandError

_Share = Annotated[float, Parameter(validator=Number(gt=0, lt=1))]
_Count = Annotated[int, Parameter(validator=Number(gte=1))]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Manner:
    """How it is let in.

    Parameters
    ----------
    shadow_share
        Of how many requests it writes a draft that nobody gets, first of all.
    share
        Of how many sessions it serves then: say it once for each step.
    holdout
        How many drafts that would be kept the teacher answers meanwhile, of both students.
    alpha
        The probability with which a harmful candidate may be promoted, and a harmless one sent
        back.
    hours
        How long each step may take; undecided, the candidate goes back.
    errors_margin
        By how much more of its requests may fail than of the incumbent's.
    escalations_margin
        By how much its escalation rate may be higher.
    disagreement_margin
        By how much oftener the teacher may say something else than what it would keep.
    shadow_errors
        The highest share of drafts that may fail in the shadow.
    shadow_disagreement
        The highest disagreement there with what the teacher answered: that was the harder part.
    shadow_changed
        The highest share there of answers that differ, of those that both students would keep.
    least_shadow
        The fewest drafts of the shadow.
    least_requests
        The fewest requests of each student in each step.
    least_held_out
        The fewest answers of the candidate's, in the last step, that were compared.
    """

    shadow_share: Annotated[float, Parameter(validator=Number(gt=0, lte=1))] = 0.1
    share: Annotated[tuple[_Share, ...], Parameter(negative=())] = (0.05, 0.25)
    holdout: Annotated[float, Parameter(validator=Number(gt=0, lte=0.5))] = 0.1
    alpha: _Share = 0.05
    hours: Annotated[float, Parameter(validator=Number(gt=0))] = 24.0
    errors_margin: _Share = 0.01
    escalations_margin: _Share = 0.05
    disagreement_margin: _Share = 0.05
    shadow_errors: _Share = 0.05
    shadow_disagreement: _Share = 0.2
    shadow_changed: _Share = 0.2
    least_shadow: _Count = 200
    least_requests: _Count = 200
    least_held_out: _Count = 50

    def plan(self) -> Plan:
        """The same as a plan.  Raises CommandError."""
        try:
            return Plan(
                shadow_share=self.shadow_share,
                shares=self.share,
                holdout=self.holdout,
                alpha=self.alpha,
                seconds=self.hours * 3600.0,
                margins=Margins(
                    self.errors_margin, self.escalations_margin, self.disagreement_margin
                ),
                limits=Limits(self.shadow_errors, self.shadow_disagreement, self.shadow_changed),
                least=Least(self.least_shadow, self.least_requests, self.least_held_out),
            )
        except ValueError as error:
            raise CommandError(f"--share: {error}") from None


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Gate:
    """What is asked of the evaluation before anybody gets anything.

    Parameters
    ----------
    quality_margin
        How much quality may be lost against the incumbent's cascade, in all and on each group.
    forgetting_margin
        Which share may break of what the incumbent kept rightly on a general set.
    evaluation_days
        How old the evaluation may be.
    """

    quality_margin: _Share = 0.02
    forgetting_margin: _Share = 0.05
    evaluation_days: Annotated[float, Parameter(validator=Number(gt=0))] = 30.0

    @property
    def limits(self) -> GateLimits:
        """The same for the gate."""
        return GateLimits(self.quality_margin, self.forgetting_margin, self.evaluation_days)


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Smoke:
    """What is asked again before anybody gets anything.

    Parameters
    ----------
    smoke_records
        How many of the records.
    smoke_confidence
        By how much the confidence may be off.
    smoke_differing
        Which share of them may differ: engines round differently from one batch to the next.
    """

    smoke_records: _Count = 8
    smoke_confidence: _Share = 0.05
    smoke_differing: Annotated[float, Parameter(validator=Number(gte=0, lt=1))] = 0.125

    @property
    def tolerance(self) -> Tolerance:
        """How much may differ."""
        return Tolerance(self.smoke_confidence, self.smoke_differing)
