"""The steps from one state of a cascade's generations to the next; who writes it is not here.

A cascade that never had a candidate has no state: None stands for it, with the revision 0.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from routing.rollout import Action, Generation, Generations, Rollout, Stage, Step

# What serves where no generation is in force: the student of the configuration.
CONFIGURED = "configuration"


class NoStep(Exception):
    """The state does not allow it; the message says why."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Who does it, when, in seconds since 1970, and why."""

    who: str
    at: float
    why: str

    def step(self, action: Action, version: str) -> Step:
        """As the registry keeps it."""
        return Step(action, version, self.at, self.who, self.why)


def revision_of(state: Generations | None) -> int:
    """The state's revision, 0 where there is none."""
    return 0 if state is None else state.revision


def version_of(generation: Generation | None) -> str:
    """Its version; that of the configuration's own student is nowhere written."""
    return CONFIGURED if generation is None else generation.version


def named_by(state: Generations | None) -> frozenset[str]:
    """The versions that serve, are gone back to, or are tried."""
    if state is None:
        return frozenset({CONFIGURED})
    candidate = () if state.rollout is None else (state.rollout.candidate,)
    return frozenset(map(version_of, (state.incumbent, state.previous, *candidate)))


def next_number(state: Generations | None) -> int:
    """The number of a generation that has none yet."""
    known = () if state is None else (state.incumbent, state.previous)
    return 1 + max((one.number for one in known if one is not None), default=0)


def tries_of(version: str, steps: Iterable[Step]) -> int:
    """How often a version has served sessions as a candidate; the newest step comes first."""
    tries, is_serving = 0, False
    for step in steps:
        if step.version != version:
            is_serving = False
        elif step.action is Action.CANARIED:
            is_serving = True
        elif step.action is Action.SHADOWED:
            tries += is_serving
            is_serving = False
    return tries


def begun(state: Generations | None, rollout: Rollout, reason: Reason) -> Generations:
    """A candidate is let in.  Raises NoStep where another one is, or it serves already."""
    incumbent = None if state is None else state.incumbent
    if state is not None and state.rollout is not None:
        raise NoStep(f"the candidate {state.rollout.candidate.version} is being tried")
    if incumbent is not None and incumbent.version == rollout.candidate.version:
        raise NoStep(f"{incumbent.version} serves already")
    return Generations(
        revision=revision_of(state) + 1,
        incumbent=incumbent,
        previous=None if state is None else state.previous,
        rollout=rollout,
        last=reason.step(_ACTIONS[rollout.stage], rollout.candidate.version),
    )


def widened(state: Generations, share: float, until: float, reason: Reason) -> Generations:
    """The candidate serves that share of the sessions.  Raises NoStep without a candidate."""
    rollout = replace(_rollout(state), stage=Stage.CANARY, share=share, until=until)
    step = reason.step(Action.CANARIED, rollout.candidate.version)
    return replace(state, revision=state.revision + 1, rollout=rollout, last=step)


def renewed(state: Generations, until: float) -> Generations:
    """The same state, and somebody watches on: no step, and no other revision."""
    return replace(state, rollout=replace(_rollout(state), until=until))


def promoted(state: Generations, reason: Reason) -> Generations:
    """The candidate is the incumbent, and what that was is gone back to if need be."""
    candidate = _rollout(state).candidate
    return Generations(
        revision=state.revision + 1,
        incumbent=candidate,
        previous=state.incumbent,
        rollout=None,
        last=reason.step(Action.PROMOTED, candidate.version),
    )


def ended(state: Generations, reason: Reason) -> Generations:
    """The candidate is out, and the incumbent stays.  Raises NoStep without a candidate."""
    step = reason.step(Action.ROLLED_BACK, _rollout(state).candidate.version)
    return replace(state, revision=state.revision + 1, rollout=None, last=step)


def exchanged(state: Generations | None, reason: Reason) -> Generations:
    """Incumbent and previous change places.  Raises NoStep where both are the configuration's."""
    if state is not None and state.rollout is not None:
        raise NoStep(f"the candidate {state.rollout.candidate.version} is being tried")
    if state is None or (state.incumbent is None and state.previous is None):
        raise NoStep("only the configuration's own student has ever served")
    return Generations(
        revision=state.revision + 1,
        incumbent=state.previous,
        previous=state.incumbent,
        rollout=None,
        last=reason.step(Action.ROLLED_BACK, version_of(state.incumbent)),
    )


def _rollout(state: Generations) -> Rollout:
    if state.rollout is None:
        raise NoStep(f"no candidate is being tried: the last step was {told(state.last)}")
    return state.rollout


def told(step: Step) -> str:
    """A step in words."""
    return f"{step.action.value} {step.version} by {step.who}: {step.why}"


_ACTIONS = {Stage.SHADOW: Action.SHADOWED, Stage.CANARY: Action.CANARIED}
