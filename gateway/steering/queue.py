"""The section ``queue`` of a teacher: from when on its queue is too long, and what then."""

from typing import Annotated

from pydantic import Field, Strict

from gateway.sections import Section
from routing.pressure import Bounds

_Bool = Annotated[bool, Strict()]
_Float = Annotated[float, Strict()]


class QueueConfig(Section):
    """What its servers' own metrics may say before a rate or spend objective gives way.

    At ``waiting_at_most`` requests in their queues, or ``cache_at_most`` of a cache in use, nothing
    more is asked of it.  They are asked every ``poll_seconds``.

    ``adaptive_limit``, under any objective: how many calls each server is given is learnt, up to
    ``max_concurrent``.
    """

    waiting_at_most: Annotated[_Float, Field(gt=0, le=100_000)] = 8.0
    cache_at_most: Annotated[_Float, Field(gt=0, le=1)] = 0.9
    poll_seconds: Annotated[_Float, Field(ge=0.5, le=60)] = 2.0
    adaptive_limit: _Bool = False

    @property
    def bounds(self) -> Bounds:
        """The same for the core."""
        return Bounds(self.waiting_at_most, self.cache_at_most)
