"""What a scenario expects of its runs, so that it is a test too."""

from collections.abc import Mapping
from dataclasses import dataclass

# The expectation, and what is held to it: a measure, and which value of all runs.
LIMITS = {
    "violations_at_most": ("violated", "mean"),
    "bill_over_oracle_at_most": ("bill_over_oracle", "mean"),
    "bill_over_oracle_now_at_most": ("bill_over_oracle_now", "mean"),
    "kept_over_oracle_at_least": ("kept_over_oracle_now", "mean"),
    "detected_at_least": ("detected", "mean"),
    "detection_requests_at_most": ("detection_requests", "p95"),
    "false_alarms_at_most": ("false_alarms", "mean"),
    "hour_over_target_at_most": ("hour_over_target", "most"),
    "hour_off_target_at_most": ("hour_off_target", "most"),
    "hour_over_cap_at_most": ("hour_over_cap", "most"),
    "swings_at_most": ("swings", "most"),
    "denied_at_most": ("denied_share", "mean"),
    "latency_seconds_at_most": ("latency_seconds_most", "most"),
}


@dataclass(frozen=True, slots=True)
class Held:
    """An expectation and what was found; None: no run says anything of it, which meets nothing."""

    name: str
    limit: float
    found: float | None

    @property
    def is_met(self) -> bool:
        """Whether it is kept."""
        if self.found is None:
            return False
        return self.found >= self.limit if self.name.endswith("_at_least") else (
            self.found <= self.limit
        )  # fmt: skip


def held(
    expected: Mapping[str, float], summary: Mapping[str, Mapping[str, float | None]]
) -> list[Held]:
    """Each expectation beside what the runs came to."""
    found = []
    for name, limit in expected.items():
        measure, statistic = LIMITS[name]
        found.append(Held(name, limit, summary.get(measure, {}).get(statistic)))
    return found
