"""Which student of a cascade is in force, by the state in Redis, and which one is tried."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from distill.replicas import alive, behind, clocks_off, orphaned
from gateway.cascades import LoadedCascade, of_generation
from gateway.config_file import ConfigError
from routing.rollout import Generations
from routing.rollout_file import generations_from_document
from routing.tally import Heartbeat, heartbeat_from_document
from understudy.doctor.findings import Fault, Finding, State, Subject
from understudy.doctor.listing import Listing, Told

_NO_USE = (ValueError, RecursionError, ConfigError)  # a PolicyError is a ValueError


@dataclass(frozen=True, slots=True)
class InForce:
    """``serving`` is the cascade with the student that serves.

    ``candidate`` is the same with the student that is tried, None where none is.
    """

    serving: LoadedCascade
    candidate: LoadedCascade | None = None


def in_force(
    loaded: LoadedCascade, document: bytes | None, now: float
) -> tuple[InForce, list[Finding]]:
    """What gateways make of a cascade's state; ``document`` is None where there is none."""
    if document is None:
        return InForce(loaded), [_own()]
    try:
        state = generations_from_document(json.loads(document))
        serving = loaded if state.incumbent is None else of_generation(loaded, state.incumbent)
        rollout = state.rollout
        candidate = None if rollout is None else of_generation(loaded, rollout.candidate)
    except _NO_USE as error:
        advice = (
            f"{error}. Gateways go on with the one before: write another state, "
            f"`understudy distill rollback --cascade {loaded.name}`"
        )
        saw = "the state in Redis is no use"
        return InForce(loaded), [Finding(Subject.GENERATION, State.PROBLEM, saw, advice)]
    return InForce(serving, candidate), [_serving(state), *_tried(loaded.name, state, now)]


def _own() -> Finding:
    return Finding(Subject.GENERATION, State.OK, "0, the configuration's own; none in Redis")


def _serving(state: Generations) -> Finding:
    one = state.incumbent
    which = "0, the configuration's own" if one is None else f"{one.number}, {one.version}"
    return Finding(Subject.GENERATION, State.OK, f"{which}, by revision {state.revision}")


def _tried(cascade: str, state: Generations, now: float) -> list[Finding]:
    rollout = state.rollout
    if rollout is None:
        return []
    saw = f"{rollout.candidate.number}, {rollout.candidate.version}, in the stage {rollout.stage}"
    if rollout.is_running(now):
        return [Finding(Subject.CANDIDATE, State.OK, saw)]
    advice = f"nobody watches it: end it, `understudy distill rollback --cascade {cascade}`"
    return [Finding(Subject.CANDIDATE, State.HINT, saw, advice)]


def candidate_finding(candidate: LoadedCascade, told: Told | Fault) -> Finding:
    """Whether the server of a candidate has it."""
    model = candidate.config.student.model
    subject = Subject.CANDIDATE
    if isinstance(told, Fault):
        return told.finding(subject, "start its server, or roll it back")
    if isinstance(told.listing, Listing) and model not in told.listing.models:
        has = ", ".join(told.listing.models) or "nothing"
        advice = (
            "load it again: adapters that were loaded at run time are gone when vLLM starts anew; "
            "or `understudy distill rollback`"
        )
        return Finding(subject, State.PROBLEM, f"its server has no {model}, but {has}", advice)
    return Finding(subject, State.OK, f"its server has {model}")


def gateways_finding(
    document: bytes | None, heartbeats: Mapping[str, bytes], now: float
) -> Finding:
    """What the replicas of a cascade say of themselves, and how their clocks are."""
    subject, told = Subject.GATEWAYS, _read(heartbeats)
    off = clocks_off({}, told, now)
    if off:
        advice = "`distill promote` needs clocks that agree within seconds: set them by NTP"
        return Finding(subject, State.PROBLEM, "; ".join(off), advice)
    live = alive(told, now)
    state = _state(document)
    lost = orphaned(state, live) if document is None else None
    if lost is not None:
        advice = (
            "put the state back: redis-cli -x SET its key < STATE_DIR/generations-CASCADE.json of "
            "a gateway; `understudy distill status` has the line"
        )
        return Finding(
            subject, State.PROBLEM, f"go on with revision {lost}, and Redis lost it", advice
        )
    late = behind(live, state.revision) if state is not None else []
    if late:
        advice = "`understudy distill status` says why; their log has generations_refused"
        return Finding(subject, State.HINT, f"not at revision: {', '.join(late)}", advice)
    return Finding(subject, State.OK, f"{len(live)} heard of within seconds")


def _state(document: bytes | None) -> Generations | None:
    try:
        return None if document is None else generations_from_document(json.loads(document))
    except _NO_USE:
        return None


def _read(heartbeats: Mapping[str, bytes]) -> dict[str, Heartbeat]:
    """Those of another release are left out."""
    told = {}
    for name, document in heartbeats.items():
        try:
            told[name] = heartbeat_from_document(json.loads(document))
        except _NO_USE:
            continue
    return told
