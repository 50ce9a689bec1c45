"""What is done to the content of pairs before anything of it is written: redacted, then sealed.

Content is what the client and the models said.  Where it cannot be redacted it is dropped: a pair
without content still counts, one that should not have been kept cannot be taken back.
"""

from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct

from gateway.redaction import Redactor, RedactorFailed

REDACTOR_FAILED = "redactor_failed"


class Seal(Protocol):
    """Encrypts what only the holder of a key may read."""

    def seal(self, content: bytes) -> str:
        """The content as a token, in ASCII."""


class Kept(Struct, frozen=True):
    """Content in clear, content sealed, or what it was dropped for: one of the three.

    ``redactor`` names the one that saw it, or failed at it; ``failure`` tells the operator how, and
    nothing of the content.
    """

    content: bytes | None = None
    sealed: str | None = None
    dropped: str | None = None
    redactor: str | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Safekeeping:
    """What one cascade does to the content of its pairs."""

    redactor: Redactor | None = None
    sealer: Seal | None = None

    @property
    def is_quick(self) -> bool:
        """Whether nothing is done to the content."""
        return self.redactor is None and self.sealer is None

    def keep(self, content: bytes) -> Kept:
        """The content, an object of JSON, as it may be written.  Never raises."""
        name = None
        if self.redactor is not None:
            name = self.redactor.name
            try:
                content = self.redactor.redacted(content)
            except RedactorFailed as failure:
                return Kept(dropped=REDACTOR_FAILED, redactor=name, failure=str(failure))
        if self.sealer is None:
            return Kept(content, redactor=name)
        return Kept(sealed=self.sealer.seal(content), redactor=name)
