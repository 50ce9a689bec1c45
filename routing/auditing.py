"""How likely it is that the teacher's word on a draft is known, and what that word says of it.

A kept draft is audited with a probability that is fixed when its request comes, before there is a
draft.  One that was escalated is known anyway, at a probability of its own.  Both are grades, from
which a controller learns.
"""

from dataclasses import dataclass
from enum import StrEnum

from routing.steering import KEEP_NOTHING, Grade, Standing


class Known(StrEnum):
    """How it came that the teacher has answered what the student did.

    ``audited``: a kept draft was drawn.  ``held_out``: it would have been kept.  ``escalated``: it
    was not enough, and is whole.  ``completed``: it was given up, and its rest was written off the
    path.  ``owed``: it was served degraded, and the teacher was asked once it was back.
    """

    AUDITED = "audited"
    HELD_OUT = "held_out"
    ESCALATED = "escalated"
    COMPLETED = "completed"
    OWED = "owed"


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms one request is learnt from, as they were when it came.

    ``share`` is the probability with which its draft is audited where it is kept, ``holdout`` that
    with which it is held out in place of being kept, ``complete`` that with which it is finished
    where it is given up; each coin knows nothing of the others, nor of the request.  ``standing``
    is None where no controller steers the cascade.
    """

    share: float
    holdout: float
    complete: float
    standing: Standing | None = None

    def propensity(self, known: Known, *, may_audit: bool = True) -> float:
        """The probability with which a draft's loss was to be known.

        ``may_audit``: nothing stood in the way of an audit, as far as a draft that was held out
        would have met with it.
        """
        if known in (Known.AUDITED, Known.HELD_OUT):
            return self.holdout + (self.audited if may_audit else 0.0)
        return self.complete if known is Known.COMPLETED else 1.0

    @property
    def audited(self) -> float:
        """The probability with which a draft that is kept, unless it is held out, is audited."""
        return (1.0 - self.holdout) * self.share

    @property
    def least(self) -> float:
        """The least of the probabilities with which drafts like it come to be known."""
        return min(self.propensity(Known.AUDITED), self.complete or 1.0)

    def grade(
        self,
        known: Known,
        loss: float,
        merit: float | None,
        *,
        may_audit: bool = True,
        conversation: str | None = None,
    ) -> Grade | None:
        """The grade of a draft; None where no controller would make use of it.

        ``merit`` is None of a draft that was kept for its form alone: no threshold would defer it.
        """
        propensity = self.propensity(known, may_audit=may_audit)
        least = min(self.least, propensity)
        if self.standing is None or not least:
            return None
        return Grade(
            merit=1.0 if merit is None else merit,
            loss=loss,
            propensity=propensity,
            least=least,
            epoch=self.standing.epoch,
            is_kept=known in (Known.AUDITED, Known.HELD_OUT),
            conversation=conversation,
        )


def terms_of(
    standing: Standing | None, share: float, holdout: float, complete: float
) -> Terms | None:
    """The terms of a request; None where nothing is learnt from any.

    ``share`` and ``complete`` are the operator's; a controller may want more.  While nothing is to
    be kept, what is kept all the same, for its form alone, is audited each time: everything else
    is escalated then.  Under a controller a draft that is given up is finished at least as often
    as one that is kept is audited: one bound on bets holds for both.
    """
    if standing is None:
        return Terms(share, holdout, complete) if share else None
    own = standing.audit or share
    if own and standing.threshold == KEEP_NOTHING:
        own = 1.0
    return Terms(own, holdout, max(complete, standing.complete, own), standing)


def loss_of(score: float | None, at_least: float) -> float:
    """1 where the answers differ materially, else 0.

    What is promised is how often they do, so that a graded comparator's score is held against its
    bound.  Without a score, as where the teacher gave no answer, nobody can say that they agree: 1.
    """
    return 0.0 if score is not None and score >= at_least else 1.0
