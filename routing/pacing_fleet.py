"""The replicas that report: which of them live, what was heard of each, its part of a hard cap.

They report every second, whether there was anything to tell or not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp

from routing.document import count, mapping, named, number
from routing.steering import Report

# A replica of which nothing was heard for so long is gone, and its part of the cap is another's.
GONE_SECONDS = 10.0
# Where nothing is heard of anybody, it is the store that is gone.  When it is back, what waited
# comes in over this time, and nobody is taken for gone until then.
SILENCE_SECONDS = 3.0
GRACE_SECONDS = 8.0
# Parts of a cap follow what replicas ask for over minutes; this share of it is had by all alike.
ASKS_SECONDS = 180.0
ALIKE = 0.125
# Parts are left as they are until one of them is off by so much.
PART_OFF = 0.04
# A replica is remembered so long, for reports that come twice; and so many of them.
MEMORY_SECONDS = 3600.0
MOST_REPLICAS = 500


@dataclass(frozen=True, slots=True)
class Seen:
    """What was heard of a replica: its last report, when that was read, its asks a second."""

    sequence: int
    heard: float
    asks: float


@dataclass(frozen=True, slots=True)
class Fleet:
    """All replicas of which anything was heard in the last hour.

    ``heard`` is when a report was last read; ``silent`` is when the last one was before the last
    silence, and ``grace`` until when what waited meanwhile may come in.
    """

    replicas: Mapping[str, Seen] = field(default_factory=dict)
    heard: float | None = None
    silent: float = 0.0
    grace: float = 0.0

    def after(self, reports: Sequence[Report], now: float) -> tuple["Fleet", list[Report]]:
        """With these reports, and those of them that were not seen before."""
        replicas, fresh = dict(self.replicas), []
        usual = _mean([seen.asks for seen in self.living(now).values()])
        for report in reports:
            before = replicas.get(report.replica)
            if before is not None and report.sequence <= before.sequence:
                continue
            fresh.append(report)
            seconds = max(report.seconds, 1e-3)
            new = 1.0 - exp(-seconds / ASKS_SECONDS)
            asks = usual if before is None else before.asks
            asks += new * ((report.escalated + report.denied) / seconds - asks)
            replicas[report.replica] = Seen(report.sequence, now, asks)
        if not fresh:
            return self, fresh
        silent, grace = self.silent, self.grace
        if self._was_silent(fresh, now):
            silent, grace = self.heard or now, now + GRACE_SECONDS
        latest = sorted(replicas.items(), key=lambda entry: entry[1].heard)[-MOST_REPLICAS:]
        fleet = Fleet(
            replicas={name: seen for name, seen in latest if now - seen.heard < MEMORY_SECONDS},
            heard=now,
            silent=silent,
            grace=grace,
        )
        return fleet, fresh

    def told_until(self, now: float) -> float | None:
        """Until when all reports should have come; None where nobody can tell."""
        if self.heard is None or now < self.grace:
            return None
        return min(now, self.heard + SILENCE_SECONDS)

    def living(self, now: float) -> dict[str, Seen]:
        """The replicas that are there; while nothing is heard of any, those that were there."""
        if self.heard is None:
            return {}
        since = now if now <= self.heard + SILENCE_SECONDS else self.heard
        if now < self.grace:
            since = self.silent
        return {
            name: seen for name, seen in self.replicas.items() if since - seen.heard <= GONE_SECONDS
        }

    def parts(self, now: float, before: Mapping[str, float]) -> Mapping[str, float]:
        """Which part of a cap each may spend, together 1; as before where that is near enough."""
        living = self.living(now)
        asks = sum(seen.asks for seen in living.values())
        parts = {
            name: (1.0 - ALIKE) * seen.asks / asks + ALIKE / len(living)
            if asks
            else 1 / len(living)
            for name, seen in sorted(living.items())
        }
        is_near = parts.keys() == before.keys() and all(
            abs(part - before[name]) <= PART_OFF for name, part in parts.items()
        )
        return before if is_near else parts

    def _was_silent(self, fresh: Sequence[Report], now: float) -> bool:
        """Whether these waited for a store.  One silence after the other is no store that is gone:
        somebody reads late."""
        if self.heard is None or self.heard >= now - SILENCE_SECONDS:
            return False
        waited = any(report.at < now - SILENCE_SECONDS for report in fresh)
        return waited and now > self.grace + GRACE_SECONDS

    def document(self) -> dict[str, object]:
        """As JSON has it."""
        return {
            "replicas": {
                name: {"sequence": seen.sequence, "heard": seen.heard, "asks": seen.asks}
                for name, seen in self.replicas.items()
            },
            "heard": self.heard,
            "silent": self.silent,
            "grace": self.grace,
        }


def fleet_from_document(document: object, path: str) -> Fleet:
    """Read what ``Fleet.document`` wrote.  Raises PolicyError, which names the path."""
    fields = mapping(document, path, frozenset({"replicas", "heard", "silent", "grace"}))
    replicas: dict[str, Seen] = {}
    for name, entry in named(fields["replicas"], f"{path}.replicas").items():
        where = f"{path}.replicas.{name}"
        seen = mapping(entry, where, frozenset({"sequence", "heard", "asks"}))
        replicas[name] = Seen(
            sequence=count(seen["sequence"], f"{where}.sequence", least=0),
            heard=number(seen["heard"], f"{where}.heard"),
            asks=number(seen["asks"], f"{where}.asks"),
        )
    heard = fields["heard"]
    return Fleet(
        replicas=replicas,
        heard=None if heard is None else number(heard, f"{path}.heard"),
        silent=number(fields["silent"], f"{path}.silent"),
        grace=number(fields["grace"], f"{path}.grace"),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
