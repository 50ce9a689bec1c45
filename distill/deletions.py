"""What was asked to be deleted, and which pairs that concerns."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import isfinite


@dataclass(frozen=True, slots=True)
class Deletion:
    """One wish: all of a request, whenever written, or all of a tenant up to ``time``.

    Exactly one of ``request_id`` and ``tenant`` is not None; ``time`` is in seconds since 1970.
    """

    time: float
    request_id: str | None = None
    tenant: str | None = None

    def __post_init__(self) -> None:
        if (self.request_id is None) == (self.tenant is None):
            raise ValueError("a deletion names a request or a tenant")
        if not isfinite(self.time):
            raise ValueError("a deletion has a time")


@dataclass(slots=True)
class Deletions:
    """All wishes about one cascade, made ready to be asked of every pair."""

    requests: set[str] = field(default_factory=set)
    tenants: dict[str, float] = field(default_factory=dict)

    def add(self, deletions: Iterable[Deletion]) -> None:
        """Learn of more of them; their order makes no difference."""
        for deletion in deletions:
            if deletion.request_id is not None:
                self.requests.add(deletion.request_id)
            elif deletion.tenant is not None:
                before = self.tenants.get(deletion.tenant, deletion.time)
                self.tenants[deletion.tenant] = max(before, deletion.time)

    def concern(self, request_id: str, tenant: str | None, time: float) -> bool:
        """Whether a record with these marks is to be deleted."""
        if request_id in self.requests:
            return True
        until = None if tenant is None else self.tenants.get(tenant)
        return until is not None and time <= until

    def __len__(self) -> int:
        return len(self.requests) + len(self.tenants)
