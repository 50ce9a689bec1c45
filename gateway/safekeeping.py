"""What is done to the content of pairs before anything of it is written.

Content is what the client and the models said.  Where it cannot be redacted it is dropped: a pair
without content still counts, one that should not have been kept cannot be taken back.
"""

from dataclasses import dataclass

from gateway.redaction import Redactor, RedactorFailed

REDACTOR_FAILED = "redactor_failed"


@dataclass(frozen=True, slots=True)
class Kept:
    """Content in clear, or what it was dropped for.

    ``redactor`` names the one that saw it, or failed at it; ``failure`` tells the operator how, and
    nothing of the content.
    """

    content: bytes | None = None
    dropped: str | None = None
    redactor: str | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Safekeeping:
    """What one cascade does to the content of its pairs."""

    redactor: Redactor | None = None

    def keep(self, content: bytes) -> Kept:
        """The content, an object of JSON, as it may be written.  Never raises."""
        if self.redactor is None:
            return Kept(content)
        name = self.redactor.name
        try:
            return Kept(self.redactor.redacted(content), redactor=name)
        except RedactorFailed as failure:
            return Kept(dropped=REDACTOR_FAILED, redactor=name, failure=str(failure))
