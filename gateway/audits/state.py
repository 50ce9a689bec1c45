"""What a cascade's audits are made with, and what of them is open: one object as long as the
process, whichever student is in force.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gateway.audits.debt import Debt
from gateway.audits.purse import Purse

# So many audits of a cascade are open at a time, and no more is begun.
MOST_OPEN = 16


class Embedder(Protocol):
    """Whoever says how near two texts are, for comparators that ask for that."""

    async def embed(self, fields: Mapping[str, object]) -> bytes:
        """The reply's body.  Raises UpstreamError and UpstreamRefused as a model does."""

    def close(self) -> None:
        """Close the connections."""


@dataclass(slots=True)
class Audits:
    """The audits of one cascade.

    ``share`` is the operator's, where no controller wants another.  ``priority`` is sent to the
    teacher's server with audits alone, None never.  ``is_asking``: the comparator asks somebody.
    ``debt`` is None where nothing is caught up.  ``retry_seconds`` are between a failure and the
    second try.  ``comparing`` counts escalations whose two answers are being compared.
    """

    purse: Purse = field(default_factory=Purse)
    share: float = 0.0
    priority: int | None = None
    is_asking: bool = False
    embedder: Embedder | None = None
    debt: Debt | None = None
    retry_seconds: float = 2.0
    open: int = field(default=0)
    comparing: int = field(default=0)

    @property
    def has_room(self) -> bool:
        """Whether another may be open."""
        return self.open < MOST_OPEN

    def close(self) -> None:
        """Close the connections."""
        if self.embedder is not None:
            self.embedder.close()
