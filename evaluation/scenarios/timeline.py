"""What was seen second by second, and what one run comes to."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from evaluation.outcomes import Booleans, Floats

# What is counted in a second, summed over replicas.
COUNTED = (
    "served", "kept", "judged", "forced", "escalated", "denied", "busy", "failed", "audits",
    "spent_pico", "escalated_pico", "audited_pico", "teacher_alone_pico",
)  # fmt: skip
# What holds in it.  ``disagreement`` and ``unseen`` are the worst of the standings in force, and
# ``pressure`` that of all replicas; ``limit`` is how many calls they may have open together.
# ``oracle_kept`` and ``oracle_pico`` are in the mean of a request; NaN where there is no oracle.
HELD = (
    "threshold", "disagreement", "unseen", "kept_truly", "audit", "epoch", "revision",
    "latency_seconds", "waiting", "pressure", "limit", "oracle_kept", "oracle_pico",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Alarm:
    """An epoch that ended; ``second`` is the first of the next."""

    second: int
    epoch: int


@dataclass(slots=True, eq=False)
class Timeline:
    """``columns`` has an array of shape (seconds,) for each of COUNTED and HELD."""

    seconds: int
    columns: dict[str, Floats] = field(default_factory=dict)
    alarms: list[Alarm] = field(default_factory=list)
    lines: list[tuple[int, str]] = field(default_factory=list)
    regressions: list[int] = field(default_factory=list)
    shown: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.columns = {name: np.zeros(self.seconds) for name in COUNTED + HELD}

    def __getitem__(self, name: str) -> Floats:
        return self.columns[name]

    def windows(self, name: str, seconds: int) -> Floats:
        """Sums over all windows of so many seconds, shape (n - seconds + 1,); at least one."""
        sums = np.concatenate([np.zeros(1), np.cumsum(self.columns[name])])
        width = min(seconds, self.seconds)
        return np.asarray(sums[width:] - sums[:-width])

    def is_above(self, disagreement_at_most: float) -> Booleans:
        """In which seconds a standing in force truly broke the promise."""
        return np.asarray(self.columns["disagreement"] > disagreement_at_most + 1e-9)
