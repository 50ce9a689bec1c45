"""Facts about requests that pass to a model as they are, for whoever counts, logs or bills."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.wire.passing import PassedRoute
from routing.bill import Entry
from routing.money import Usage
from routing.vocabulary import Kind, Named


class Passage(StrEnum):
    """How a request ended that was to pass to a model as it was."""

    PASSED = "passed"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class PassedCall:
    """The call to a model that such a request became.

    ``usage`` is None where nobody knows what the server did, ``cost_pico`` also where it has no
    price; ``error`` is the code of what went wrong, or None.
    """

    seconds: float
    usage: Usage | None
    cost_pico: int | None
    error: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class PassedThrough:
    """One request that was to pass to a model as it was.

    ``model`` is the name of one that is configured, or the cascade's whose tokenizer was asked;
    None where there is none.  ``call`` is None where nobody was asked.  ``entry`` is its line of
    the bill; None also of tokenizers, which cost nothing.
    """

    request_id: str
    model: str | None
    route: PassedRoute
    outcome: Passage
    status: int
    seconds: float
    tenant: str | None = None
    call: PassedCall | None = None
    error_code: str | None = None

    @property
    def entry(self) -> Entry | None:
        """What was paid for."""
        call = self.call
        if call is None or self.route.is_free:
            return None
        kind = Kind.SERVED if self.outcome is Passage.PASSED else Kind.WASTED
        return Entry(Named.MODEL, kind, call.usage, call.cost_pico)
