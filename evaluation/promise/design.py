"""The promise as it is held: levels certified in a fixed order, and a hold before the release."""

from dataclasses import dataclass, field

import numpy as np

from evaluation.outcomes import Booleans, Floats, Integers
from evaluation.promise.evidence import Evidence, scaled
from evaluation.promise.grid import grid_from, known_grid, last_of
from evaluation.promise.runs import Seen
from evaluation.promise.tally import Tally
from evaluation.promise.traffic import Traffic
from routing.promise.epoch import HOPELESS, delta_of
from routing.promise.grid import START_SHARE
from routing.promise.state import GATHERED


@dataclass(frozen=True, slots=True)
class Design:
    """One way to hold the promise that at most ``alpha`` of the kept drafts are wrong.

    ``audit`` is the share of kept drafts that is audited, or of all requests where it is
    ``per_request``.  All is escalated until the certified level keeps ``release`` times what the
    point estimate would, for ``hold_at_most`` requests.  ``warm`` records are known at the start.
    The grid is that of earlier traffic, or where ``grid_requests`` is not 0 that of the first so
    many requests, which prove nothing.  So many requests in a row as ``turns`` says are one
    conversation, and one bet.  An attempt that is beyond hope is followed by another, whose grid is
    that of the first requests after it.
    """

    alpha: float = 0.05
    delta: float = 0.05
    audit: float = 0.02
    per_request: bool = False
    release: float = 0.8
    hold_at_most: int = 6000
    warm: int = 0
    grid_requests: int = 0
    is_ordered: bool = True
    turns: int = 1
    seed: int = field(default=1, repr=False)
    others: Traffic | None = None
    other_share: float = START_SHARE
    other_part: float = 0.0

    def __call__(self, traffic: Traffic, runs: int) -> "Promise":
        """A controller of so many runs."""
        return Promise(self, traffic, runs)


class Promise:
    """Holds every run to the promise; all state has one row a run."""

    def __init__(self, design: Design, traffic: Traffic, runs: int) -> None:
        self.design, self.traffic, self.runs = design, traffic, runs
        self.grid = known_grid(traffic, runs)
        levels = self.grid.kept.shape[1]
        self._evidence = Evidence(runs, levels, design.alpha)
        self._best = np.zeros((runs, levels))
        self._tally = Tally(runs, levels)
        self._judged = np.zeros(runs, dtype=np.int64)
        self._released = np.zeros(runs, dtype=np.bool_)
        self._level = np.full(runs, -1)
        self._wanted = design.grid_requests or GATHERED
        self._first = np.zeros((runs, self._wanted), dtype=np.int64)
        self._collected = np.full(runs, 0 if design.grid_requests else self._wanted)
        self.attempts = np.ones(runs, dtype=np.int64)
        if design.warm:
            self._warm_up()

    @property
    def kept(self) -> Integers:
        """How many places are kept in each run."""
        chosen = np.take_along_axis(self.grid.kept, np.maximum(self._level, 0)[:, None], axis=1)
        return np.where(self._level >= 0, chosen[:, 0], 0)

    @property
    def audit(self) -> Floats:
        """The probability with which a kept draft is audited."""
        design = self.design
        if not design.per_request:
            return np.full(self.runs, design.audit)
        share = self._share(self._level)
        return np.minimum(1.0, design.audit / np.where(share > 0.0, share, 1.0))

    def take(self, seen: Seen) -> None:
        """Bet on what was learnt, look, and move the threshold."""
        used = self._collected >= self._wanted
        if not used.all():
            self._collect(seen.places, ~used)
        bins = self.grid.bins(seen.places)
        bins[~used] = self.grid.kept.shape[1]  # no level keeps it, none bets on it
        self._tally.add(bins, seen)
        x = scaled(seen.losses, seen.propensity, seen.least[:, None], self.design.alpha)
        self._evidence.add(*self._clusters(bins, x, seen.known))
        self._judged += np.where(used, seen.places.shape[1], 0)
        self._look()
        self._renew()

    def _clusters(
        self, bins: Integers, x: Floats, known: Booleans
    ) -> tuple[Integers, Floats, Booleans]:
        """One bet for each conversation, on the mean of its turns, which share a bin."""
        turns = self.design.turns
        shape = (self.runs, -1, turns)
        mean = np.where(known, x, 0.0).reshape(shape).mean(axis=2)
        return bins[:, ::turns], np.asarray(mean), np.asarray(known.reshape(shape).any(axis=2))

    def _collect(self, places: Integers, runs: Booleans) -> None:
        """The merits of these drafts are for the grid of those runs, and for nothing else."""
        where = self._collected[runs, None] + np.arange(places.shape[1])
        self._first[np.flatnonzero(runs)[:, None], where] = places[runs]
        self._collected += np.where(runs, places.shape[1], 0)
        ready = runs & (self._collected >= self._wanted)
        if ready.any():
            self.grid.replace(ready, grid_from(self.traffic, self._first[ready]))

    def wealth(self) -> Floats:
        """Of each run and level."""
        return self._evidence.wealth()

    def _needed(self) -> Floats:
        """What certifies a level in each run."""
        delta = self.design.delta
        return np.array([1.0 / delta_of(delta, int(attempt)) for attempt in self.attempts])

    def _renew(self) -> None:
        """Begin anew where the hold ended with nothing, and the first level is beyond hope."""
        first = (self.grid.shares < START_SHARE - 1e-9).sum(axis=1)
        first = np.minimum(first, self.grid.shares.shape[1] - 1)
        wealth = np.take_along_axis(self.wealth(), first[:, None], axis=1)[:, 0]
        hopeless = self._released & (self._level < 0) & (wealth < HOPELESS * self._needed())
        if hopeless.any():
            self._evidence.forget(hopeless)
            self._tally.forget(hopeless)
            self._best[hopeless], self._released[hopeless] = 0.0, False
            self._judged[hopeless] = self._collected[hopeless] = 0
            self.attempts[hopeless] += 1

    def _look(self) -> None:
        self._best = np.maximum(self._best, self.wealth())
        certified = self._certified()
        share = self._share(certified)
        enough = share >= self.design.release * self._share(self._estimated())
        self._released |= (certified >= 0) & enough
        self._released |= self._judged >= self.design.hold_at_most
        self._level = np.where(self._released, certified, -1)

    def _certified(self) -> Integers:
        """The last level that is proven; -1 before the first."""
        design = self.design
        if not design.is_ordered:
            return last_of(self._best >= self._needed()[:, None])
        usual = self._chain(START_SHARE, 1.0 - design.other_part)
        if not design.other_part:
            return usual
        return np.maximum(usual, self._chain(design.other_share, design.other_part))

    def _chain(self, start_share: float, part: float) -> Integers:
        """The last level that is proven, with a part of delta, without a gap from the one that
        keeps so much on."""
        proven = self._best * part >= self._needed()[:, None]
        before = self.grid.shares < start_share - 1e-9
        unbroken = np.logical_and.accumulate(proven | before, axis=1).sum(axis=1)
        return np.where(unbroken > before.sum(axis=1), unbroken - 1, -1)

    def _estimated(self) -> Integers:
        """The most permissive level that looks good enough; -1 where none does."""
        return last_of(self._tally.looks_good(self.design.alpha))

    def _share(self, level: Integers) -> Floats:
        share = np.take_along_axis(self.grid.shares, np.maximum(level, 0)[:, None], axis=1)[:, 0]
        return np.where(level >= 0, share, 0.0)

    def _warm_up(self) -> None:
        """Records of the past, each labelled and alone; what levels keep is known of them."""
        design, ones = self.design, np.ones((self.runs, self.design.warm))
        generator = np.random.default_rng(design.seed)
        source = design.others or self.traffic
        drawn = generator.integers(0, source.size, size=ones.shape)
        losses = source.losses(drawn, generator)
        places = self.traffic.places_of(source.merit[drawn]) if design.others else drawn
        bins = self.grid.bins(places)
        self._tally.add(bins, Seen(places, losses, ones < 0, ones > 0, ones, ones[:, 0]))
        self._evidence.add(bins, scaled(losses, ones, ones, design.alpha), ones > 0)
        self._judged[:] = design.warm
        if design.others is None:
            self.grid.shares = self._tally.counts.cumsum(axis=1) / design.warm
        self._look()
