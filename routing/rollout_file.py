"""The document that holds a cascade's generations: read with every doubt, written as it is read."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from routing.document import count, mapping, named, number
from routing.errors import PolicyError
from routing.rollout import Action, Generation, Generations, Rollout, Stage, Step

SCHEMA_VERSION = 1
MOST_HOLDOUT = 0.5
# Up to here every whole number is a float too, which metrics and Redis' scripts make of it.
MOST_NUMBER = 2**53
# The end of the year 9999, in seconds since 1970: calendars end there.
LATEST = 253_402_300_799.0
_STATE = frozenset({"schema_version", "revision", "incumbent", "previous", "rollout", "last"})
_GENERATION = frozenset({"number", "version", "base_url", "model", "policy"})
_ROLLOUT = frozenset({"id", "candidate", "stage", "share", "holdout", "until"})
_STEP = frozenset({"action", "version", "at", "who", "why"})


def generations_from_document(document: object) -> Generations:
    """Read the state.  Raises PolicyError, which names the path, where any of it is no use."""
    if not isinstance(document, Mapping) or document.get("schema_version") != SCHEMA_VERSION:
        raise PolicyError(
            f"schema_version: must be {SCHEMA_VERSION}: it was written by another release"
        )
    fields = mapping(document, "generations", _STATE)
    incumbent = _optional(fields["incumbent"], "incumbent")
    rollout = fields["rollout"]
    return Generations(
        revision=count(fields["revision"], "revision", most=MOST_NUMBER),
        incumbent=incumbent,
        previous=_optional(fields["previous"], "previous"),
        rollout=None if rollout is None else _read_rollout(rollout),
        last=_read_step(fields["last"]),
    )


def generations_document(state: Generations) -> dict[str, Any]:
    """The state as JSON has it."""
    rollout = state.rollout
    return {
        "schema_version": SCHEMA_VERSION,
        "revision": state.revision,
        "incumbent": _generation(state.incumbent),
        "previous": _generation(state.previous),
        "rollout": None if rollout is None else _rollout(rollout),
        "last": {
            "action": state.last.action.value,
            "version": state.last.version,
            "at": state.last.at,
            "who": state.last.who,
            "why": state.last.why,
        },
    }


def policy_version(policy: Mapping[str, Any]) -> str:
    """The version of a generation's policy: 12 hexadecimal digits of SHA-256, as of a policy file.

    A file's are over its bytes; a document inside another has none of its own, so these are over
    its canonical form: JSON in UTF-8, keys sorted, no blanks, numbers as Python writes them.
    """
    canonical = json.dumps(policy, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _optional(document: object, path: str) -> Generation | None:
    return None if document is None else _read_generation(document, path)


def _read_generation(document: object, path: str) -> Generation:
    fields = mapping(document, path, _GENERATION)
    try:
        return Generation(
            number=count(fields["number"], f"{path}.number", least=0, most=MOST_NUMBER),
            version=_name(fields["version"], f"{path}.version"),
            base_url=_text(fields["base_url"], f"{path}.base_url"),
            model=_name(fields["model"], f"{path}.model"),
            policy=dict(named(fields["policy"], f"{path}.policy")),
        )
    except PolicyError as error:
        told = str(error)
        raise PolicyError(told if told.startswith(path) else f"{path}.{told}") from None


def _read_rollout(document: object) -> Rollout:
    fields = mapping(document, "rollout", _ROLLOUT)
    stage = _text(fields["stage"], "rollout.stage")
    if stage not in {each.value for each in Stage}:
        raise PolicyError(f"rollout.stage: must be shadow or canary, got {stage!r}")
    return Rollout(
        id=_name(fields["id"], "rollout.id"),
        candidate=_read_generation(fields["candidate"], "rollout.candidate"),
        stage=Stage(stage),
        share=_amount(fields["share"], "rollout.share", 1.0),
        holdout=_amount(fields["holdout"], "rollout.holdout", MOST_HOLDOUT),
        until=_amount(fields["until"], "rollout.until", LATEST),
    )


def _read_step(document: object) -> Step:
    fields = mapping(document, "last", _STEP)
    action = _text(fields["action"], "last.action")
    if action not in {each.value for each in Action}:
        raise PolicyError(f"last.action: is none that this release knows, got {action!r}")
    return Step(
        action=Action(action),
        version=_name(fields["version"], "last.version"),
        at=_amount(fields["at"], "last.at", LATEST),
        who=_text(fields["who"], "last.who"),
        why=_text(fields["why"], "last.why"),
    )


def _amount(value: object, path: str, most: float) -> float:
    found = number(value, path, most)
    if found < 0:
        raise PolicyError(f"{path}: must be at least 0, got {found!r}")
    return found


def _name(value: object, path: str) -> str:
    """What is hashed, sent to servers, and shown: no control characters."""
    found = _text(value, path)
    if not found.isprintable():
        raise PolicyError(f"{path}: must be printable, got {found!r}")
    return found


def _text(value: object, path: str) -> str:
    if not isinstance(value, str) or not value:
        raise PolicyError(f"{path}: must be a text, got {value!r}")
    if any("\ud800" <= each <= "\udfff" for each in value):
        raise PolicyError(f"{path}: has half a character, got {value!r}")
    return value


def _generation(generation: Generation | None) -> dict[str, Any] | None:
    if generation is None:
        return None
    return {
        "number": generation.number,
        "version": generation.version,
        "base_url": generation.base_url,
        "model": generation.model,
        "policy": dict(generation.policy),
    }


def _rollout(rollout: Rollout) -> dict[str, Any]:
    return {
        "id": rollout.id,
        "candidate": _generation(rollout.candidate),
        "stage": rollout.stage.value,
        "share": rollout.share,
        "holdout": rollout.holdout,
        "until": rollout.until,
    }
