"""What of the parts becomes a data set: the options that export and consolidate share."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from distill.rows import Format
from understudy.telling import CommandError

DEFAULT_FORMATS = (Format.SFT,)


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Choice:
    """Which pairs, and how they are written.

    Parameters
    ----------
    format
        sft, dpo (TRL), openai, openai-dpo, parquet (full records); say it again for several.
    out
        The folder or URL for the data set; without it `dataset` in the folder of the parts.
    config
        The YAML file with the cascades, whose comparators say when a draft differs (DPO).
    reason
        Only pairs of this reason, such as low_confidence; say it again for several.
    since
        Only pairs from this day or time on: 2026-11-01, or 2026-11-01T12:00:00+00:00.
    until
        Only pairs before it.
    student_version
        Only pairs of this student; say it again for several.
    min_confidence
        Only pairs with at least this confidence.
    max_confidence
        Only pairs with at most this confidence.
    deduplicate
        By prompt, the newest stays; or by id alone.
    tenant_cap
        At most so many pairs of each tenant in each format.
    holdout
        The share of prompts that is held out.
    with_reasoning
        The teacher's reasoning is part of the target (sft and dpo).
    memory_limit
        What DuckDB may hold in memory; beyond it, it uses the disk.
    """

    format: Annotated[tuple[Format, ...], Parameter(negative=())] = DEFAULT_FORMATS
    out: str | None = None
    config: Path | None = None
    reason: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    since: str | None = None
    until: str | None = None
    student_version: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    min_confidence: Annotated[float | None, Parameter(validator=Number(gte=0, lte=1))] = None
    max_confidence: Annotated[float | None, Parameter(validator=Number(gte=0, lte=1))] = None
    deduplicate: Literal["prompt", "id"] = "prompt"
    tenant_cap: Annotated[int | None, Parameter(validator=Number(gte=1))] = None
    holdout: Annotated[float, Parameter(validator=Number(gte=0, lte=1))] = 0.1
    with_reasoning: Annotated[bool, Parameter(negative=())] = False
    memory_limit: str = "1GB"

    @property
    def formats(self) -> tuple[Format, ...]:
        """The formats, each once."""
        return tuple(dict.fromkeys(self.format))

    def span(self) -> tuple[float | None, float | None]:
        """From when, and until before when, in seconds since 1970.  Raises CommandError."""
        return _seconds("--since", self.since), _seconds("--until", self.until)

    def document(self) -> dict[str, Any]:
        """The options, for the card."""
        return {
            "reasons": list(self.reason) or None,
            "since": self.since,
            "until": self.until,
            "student_versions": list(self.student_version) or None,
            "min_confidence": self.min_confidence,
            "max_confidence": self.max_confidence,
            "deduplicate": self.deduplicate,
            "tenant_cap": self.tenant_cap,
            "holdout": self.holdout,
            "with_reasoning": self.with_reasoning,
        }


def _seconds(option: str, text: str | None) -> float | None:
    """A day, or a time, in UTC unless it says otherwise.  Raises CommandError."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(
            f"{option}: {text!r} is no time: write 2026-11-01 or an ISO time"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
