"""What a threshold would spend: the drafts of the last minutes, by what asking gains for its price.

The order is that of a fractional knapsack: the expected gain of an escalation, ``1 - merit``, over
what it is expected to cost.  A **level** is the logarithm of that
ratio above which a draft is escalated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import exp, floor, log

from routing.document import items, mapping, number, numbers
from routing.pacing_goal import Tally

# What is older weighs less: 37% after so many seconds, but no less than it takes to know anything.
MEMORY_SECONDS = 300.0
LEAST_SAMPLES = 300.0
# Drafts are counted in places; a level is found 3% fine, and finer between drafts of one place.
PLACES = 32
# Everything is escalated that gains anything, and nothing is.
LOWEST, HIGHEST = -64.0, 64.0
# What was expected and what came are compared as if so many escalations had been as expected.
PRIOR_ESCALATIONS = 30.0
MOST_OFF = 8.0
# A place that holds less than this part of all drafts is forgotten.
TRACE = 1e-5
NO_DRAFTS = (0.0, 0.0)
# Where drafts are that no answer could better: below every level.
NEVER = LOWEST - 1.0
_SUMS = ("drafts", "judged", "forced", "escalated", "escalations", "beside", "moved", "expected")


@dataclass(frozen=True, slots=True)
class Demand:
    """Fading sums over the reports of late, whose ``samples`` stand for ``drafts``.

    ``places`` has, for each place, how many drafts fell there and what their escalations are
    expected to spend.  ``beside`` was spent whatever the threshold was, ``moved`` because of
    it, where ``expected`` had been expected.
    """

    places: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    samples: float = 0.0
    drafts: float = 0.0
    judged: float = 0.0
    forced: float = 0.0
    escalated: float = 0.0
    escalations: float = 0.0
    beside: float = 0.0
    moved: float = 0.0
    expected: float = 0.0

    def seen(self, tally: Tally, level: float | None) -> "Demand":
        """With one more report, of a time when this level was in force; None is another rule."""
        asks = tally.escalated + tally.denied
        # Nobody tells what those without a draft alone cost.
        moved = tally.escalations * max(asks - tally.forced, 0) / asks if asks else 0.0
        demand = replace(
            self,
            judged=self.judged + tally.judged,
            forced=self.forced + tally.forced,
            escalated=self.escalated + tally.escalated,
            escalations=self.escalations + tally.escalations,
            beside=self.beside + tally.spent - moved,
        )
        return demand._sampled(tally, level, moved)

    def faded(self, seconds: float) -> "Demand":
        """After so many seconds, of which reports have been seen."""
        if self.samples <= LEAST_SAMPLES or seconds <= 0:
            return self
        part = max(exp(-seconds / MEMORY_SECONDS), LEAST_SAMPLES / self.samples)
        least = TRACE * self.drafts
        return Demand(
            places={
                place: (drafts * part, spend * part)
                for place, (drafts, spend) in self.places.items()
                if drafts >= least
            },
            samples=self.samples * part,
            **{name: getattr(self, name) * part for name in _SUMS},
        )

    @property
    def typical(self) -> float | None:
        """What an escalation spends on average; None where nobody knows."""
        if self.escalated and self.escalations:
            return self.escalations / self.escalated
        if not self.drafts:
            return None
        return sum(spend for _, spend in self.places.values()) / self.drafts

    @property
    def off(self) -> float:
        """How many times what is expected of escalations comes."""
        prior = PRIOR_ESCALATIONS * (self.typical or 0.0)
        if not self.expected + prior:
            return 1.0
        ratio = (self.moved + prior) / (self.expected + prior)
        return min(max(ratio, 1.0 / MOST_OFF), MOST_OFF)

    @property
    def beside_each(self) -> float:
        """What is spent for each judged request, whatever the threshold is."""
        return self.beside / self.judged if self.judged else 0.0

    @property
    def forced_each(self) -> float:
        """How many forced requests come with each judged one."""
        return self.forced / self.judged if self.judged else 0.0

    def spend_at(self, level: float) -> float:
        """What a judged request is expected to spend at a level, beside what it does anyhow."""
        here = floor(level * PLACES)
        total = sum(spend for place, (_, spend) in self.places.items() if place > here)
        total += self.places.get(here, NO_DRAFTS)[1] * (here + 1 - level * PLACES)
        return self.off * total / self.drafts if self.drafts else 0.0

    def level_for(self, spend: float) -> float:
        """The level at which a judged request is expected to spend so much, or the nearest."""
        if spend <= 0.0:
            return HIGHEST
        missing = spend * self.drafts / self.off
        for place in sorted(self.places, reverse=True):
            here = self.places[place][1]
            if place < LOWEST * PLACES:
                break
            if here >= missing:
                return (place + 1 - missing / here) / PLACES
            missing -= here
        return LOWEST

    def _sampled(self, tally: Tally, level: float | None, moved: float) -> "Demand":
        places, typical = dict(self.places), self.typical
        # Replicas draw as many samples, whatever their traffic is.
        each = tally.judged / max(len(tally.samples), 1)
        samples, above = 0, 0.0
        for merit, spend in tally.samples:
            spends = typical if spend is None else spend
            if spends is None:
                continue
            ratio = level_of(merit, spends)
            place = floor(ratio * PLACES)
            drafts, spent = places.get(place, NO_DRAFTS)
            places[place] = (drafts + each, spent + each * spends)
            samples += 1
            above += spends if level is not None and ratio > level else 0.0
        demand = replace(
            self,
            places=places,
            samples=self.samples + samples,
            drafts=self.drafts + each * samples,
        )
        asks = tally.escalated + tally.denied
        if level is None or not samples or not asks:
            return demand
        # What was denied cost nothing, which says nothing of costs: where the teacher is away, no
        # more drafts are to be given up for it.
        granted = tally.escalated / asks
        return replace(
            demand,
            moved=self.moved + moved,
            expected=self.expected + granted * above * tally.judged / samples,
        )

    def document(self) -> dict[str, object]:
        """As JSON has it."""
        return {
            "places": [[place, *self.places[place]] for place in sorted(self.places)],
            "samples": self.samples,
            **{name: getattr(self, name) for name in _SUMS},
        }


def demand_from_document(document: object, path: str) -> Demand:
    """Read what ``Demand.document`` wrote.  Raises PolicyError, which names the path."""
    fields = mapping(document, path, frozenset({"places", "samples", *_SUMS}))
    places: dict[int, tuple[float, float]] = {}
    for at, entry in enumerate(items(fields["places"], f"{path}.places")):
        where = f"{path}.places[{at}]"
        place, drafts, spend = numbers(entry, where, exactly=3)
        places[floor(place)] = (drafts, spend)
    return Demand(
        places=places,
        **{name: number(fields[name], f"{path}.{name}") for name in ("samples", *_SUMS)},
    )


def level_of(merit: float, spend: float) -> float:
    """The logarithm of what an escalation gains for what it spends, ``NEVER`` where that is 0."""
    gain = 1.0 - merit
    return min(max(log(gain / spend), LOWEST), HIGHEST) if gain > 0.0 else NEVER
