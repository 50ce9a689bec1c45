"""The section ``audit`` of a cascade: what is learnt off the request path, and what it may cost."""

from fractions import Fraction
from typing import Annotated

from pydantic import Field, Strict

from gateway.prices import UsdPerHour
from gateway.sections import Section

_Bool = Annotated[bool, Strict()]
_Int = Annotated[int, Strict()]
_Float = Annotated[float, Strict()]
# The objective that rests on audits, and the share of requests that it has audited unless said:
# more hardly certifies sooner, and less is slow to notice a regression.
QUALITY, QUALITY_SHARE = "quality", 0.02


class AuditConfig(Section):
    """What is learnt off the request path.

    ``complete_drafts``: the share of abandoned drafts that the student finishes all the same.
    ``holdout``: the share of drafts that would be kept which the teacher answers all the same.
    ``share``: the share of requests whose draft is audited where it is kept; None is as the
    objective needs it.  ``usd_per_hour`` bounds what audits cost, ``priority`` is sent with them
    and with nothing else.  ``catch_up``: what was served degraded is audited once the teacher is
    back.
    """

    complete_drafts: Annotated[_Float, Field(ge=0, le=1)] = 0.05
    holdout: Annotated[_Float, Field(ge=0, le=0.5)] = 0.0
    share: Annotated[_Float, Field(ge=0, le=1)] | None = None
    usd_per_hour: UsdPerHour | None = None
    priority: Annotated[_Int, Field(ge=1, lt=2**31)] | None = None
    catch_up: _Bool = False

    @property
    def holdout_share(self) -> Fraction:
        """The same exactly, as it is written: 0.05 is one in twenty."""
        return Fraction(repr(self.holdout))

    def share_under(self, objective: str | None) -> float:
        """The share of requests whose kept draft is audited, under an objective of this kind.

        Only a promise of quality rests on audits; for any other they are the operator's to ask for.
        """
        if self.share is not None:
            return self.share
        return QUALITY_SHARE if objective == QUALITY else 0.0
