"""Which student serves one cascade, and which one is tried: a state is taken up whole, or refused.

A student and the policy that was fitted for it change together, in one assignment between two
requests; whoever was admitted before keeps both.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from gateway.api.context import Context, Served, Trial
from gateway.building import Workshop
from gateway.cascades import LoadedCascade, of_generation
from gateway.config_file import ConfigError
from gateway.facts import GenerationsRefused, GenerationsTaken
from gateway.legs import Model
from gateway.renting import RunningRent
from gateway.upstream.pool import ServerPool
from gateway.watching import watch_student
from routing.rollout import Generation, Generations
from routing.rollout_file import generations_from_document
from routing.tally import Heartbeat, Tallies
from routing.vocabulary import Role

# What is wrong with a state may quote it.
MOST_TOLD_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class _Built:
    """A generation, None being the configuration's own, with what serves it."""

    generation: Generation | None
    loaded: LoadedCascade
    served: Served

    def is_of_student(self, loaded: LoadedCascade) -> bool:
        """Whether that is the same student, whatever its policy is."""
        ours, theirs = self.loaded.config.student, loaded.config.student
        return (ours.base_urls, ours.model, ours.version) == (
            theirs.base_urls,
            theirs.model,
            theirs.version,
        )


class Succession:
    """One cascade's students.  ``context.served`` has what it says is in force."""

    def __init__(self, loaded: LoadedCascade, context: Context, workshop: Workshop) -> None:
        self._own = loaded
        self._context = context
        self._workshop = workshop
        self._incumbent = _Built(None, loaded, context.served[loaded.name])
        self._candidate: _Built | None = None
        self._left: list[_Built] = []
        self._state: Generations | None = None
        self._seen: bytes | None = None
        self._refused: str | None = None
        self._tried: str | None = None
        self._unwatched: str | None = None
        self._tallies = Tallies.empty()
        self._rent = RunningRent()
        self._watch_rent()

    @property
    def students(self) -> Sequence[Model]:
        """All that may be asked: the incumbent, the candidate, and those that are being left."""
        return [one.served.cascade.student for one in self._all()]

    @property
    def revision(self) -> int:
        """That of the state in force; 0 without one."""
        return 0 if self._state is None else self._state.revision

    @property
    def is_refused(self) -> bool:
        """Whether the newest state could not be taken up."""
        return self._refused is not None

    @property
    def has_tried(self) -> bool:
        """Whether a candidate was ever tried here, so that there is something to tell of it."""
        return self._tried is not None

    def take_up(self, document: bytes, *, is_news: bool = True) -> bool:
        """Take up a state, unless it was the last one seen; says whether it is in force since.

        ``is_news`` False: it was in force before this process was.
        """
        if document == self._seen:
            return False
        self._seen = document
        try:
            state = generations_from_document(json.loads(document))
            incumbent = self._loaded(state.incumbent)
            candidate = None if state.rollout is None else self._loaded(state.rollout.candidate)
        except (ValueError, RecursionError, ConfigError) as error:
            self._refused = str(error)[:MOST_TOLD_CHARACTERS]
            fact = GenerationsRefused(self._own.name, self._refused)
            self._context.observer.generations_refused(fact)
            return False
        before, self._state, self._refused = self._state, state, None
        self._swap(state, incumbent, candidate)
        self._context.observer.generations_taken(
            GenerationsTaken(self._own.name, before, state, is_news=is_news)
        )
        return True

    def tidy(self) -> None:
        """Close students that are left once nothing is under way with them.

        Tells where nobody watches the candidate any more, too, and where somebody does again.
        """
        self._look_for_watcher()
        for built in [one for one in self._left if not one.served.standing.open_requests]:
            self._left.remove(built)
            chat = built.served.cascade.student.chat
            if isinstance(chat, ServerPool):
                chat.close()

    def _look_for_watcher(self) -> None:
        rollout = None if self._state is None else self._state.rollout
        if rollout is None:
            return
        is_watched = rollout.is_running(self._context.epoch())
        if is_watched is (self._unwatched != rollout.id):
            return
        self._unwatched = None if is_watched else rollout.id
        self._context.observer.rollout_watched(
            self._own.name, rollout.candidate.version, is_watched=is_watched
        )

    def heartbeat(self) -> Heartbeat:
        """How this replica stands with the cascade."""
        opened: Counter[str] = Counter()
        for one in self._all():
            standing = one.served.standing
            opened[standing.version] += standing.open_requests
        return Heartbeat(
            at=self._context.epoch(),
            revision=self.revision,
            open=opened,
            refused=self._refused,
            rollout=self._tried,
            tallies=self._tallies,
        )

    def _all(self) -> Sequence[_Built]:
        """Those in force first, each student once."""
        candidate = [] if self._candidate is None else [self._candidate]
        return _each_student_once([self._incumbent, *candidate, *self._left])

    def _loaded(self, generation: Generation | None) -> LoadedCascade:
        """A generation's configuration.  Raises ConfigError."""
        for built in self._all():
            if built.generation == generation:
                return built.loaded
        return self._own if generation is None else of_generation(self._own, generation)

    def _built(
        self, known: Sequence[_Built], generation: Generation | None, loaded: LoadedCascade
    ) -> _Built:
        """What serves a generation: what is known of it, or a student that was not there before."""
        for built in known:
            if built.generation == generation:
                return built
        for built in known:
            if built.is_of_student(loaded):
                cascade = replace(built.served.cascade, policy=loaded.policy)
                return _Built(generation, loaded, replace(built.served, cascade=cascade))
        base = self._context.served[self._own.name]
        return _Built(generation, loaded, self._workshop.with_generation(base, loaded))

    def _swap(
        self, state: Generations, incumbent: LoadedCascade, candidate: LoadedCascade | None
    ) -> None:
        """Put a state in force: the one assignment that requests see is to ``context.served``."""
        before, rollout, trial = self._all(), state.rollout, None
        self._incumbent = self._built(before, state.incumbent, incumbent)
        self._candidate = None
        if rollout is not None and candidate is not None:
            known = [*before, self._incumbent]
            self._candidate = self._built(known, rollout.candidate, candidate)
            if self._tried != rollout.id:
                self._tried, self._tallies = rollout.id, Tallies.empty()
            base = self._incumbent.served.holdout
            holdout = max(base, Fraction(repr(rollout.holdout)))
            trial = Trial(rollout, self._candidate.served, self._tallies, holdout)
        in_force = {id(one.served.standing) for one in self._all()}
        self._left = [one for one in before if id(one.served.standing) not in in_force]
        for one in (*self._all(), *self._left):
            standing = one.served.standing
            standing.is_incumbent = standing is self._incumbent.served.standing
        served = replace(self._incumbent.served, trial=trial)
        self._context.served = {**self._context.served, self._own.name: served}
        if served.steered is not None:
            served.steered.check()
        watch_student(self._context, self._incumbent.loaded)
        self._watch_rent()

    def _watch_rent(self) -> None:
        in_force = [self._incumbent, *([] if self._candidate is None else [self._candidate])]
        places = [one.served.cascade.student.rented for one in _each_student_once(in_force)]
        self._rent.be_on(places)
        if any(place is not None for place in places):
            money = self._context.observer.metrics.money
            money.watch_rent(self._own.name, Role.STUDENT, self._rent.pico)


def _each_student_once(every: Iterable[_Built]) -> Sequence[_Built]:
    found: dict[int, _Built] = {}
    for one in every:
        found.setdefault(id(one.served.standing), one)
    return list(found.values())
