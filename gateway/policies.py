"""A policy's file, read: the policy itself, and where it comes from.  Errors name the fix."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from gateway.config_file import ConfigError
from routing.errors import PolicyError
from routing.policy import Policy
from routing.policy_file import Origin, origin_from_document, policy_from_document
from routing.rollout import Generation
from routing.rollout_file import policy_version

_NO_POLICY = "remove the line to run uncalibrated"


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """What a policy file holds."""

    policy: Policy
    origin: Origin


def read_policy(path: Path, cascade: str, student_version: str) -> LoadedPolicy:
    """Read the policy of a cascade and its student.  Raises ConfigError."""
    try:
        content = path.read_bytes()
        document = json.loads(content)
        version = hashlib.sha256(content).hexdigest()[:12]
        return _policy(document, version, cascade, student_version)
    except OSError as error:
        raise ConfigError(
            f"policy: {path} cannot be read: {error.strerror}: mend the path, or {_NO_POLICY}"
        ) from None
    except PolicyError as error:
        raise ConfigError(f"policy: {path}: {error}: name another file, or {_NO_POLICY}") from None
    except ValueError as error:
        raise ConfigError(
            f"policy: {path} is not valid JSON: {error}: name another file, or {_NO_POLICY}"
        ) from None


def policy_of(generation: Generation, cascade: str) -> LoadedPolicy:
    """The policy that a generation of a cascade's student brings.  Raises ConfigError."""
    document = generation.policy
    try:
        return _policy(document, policy_version(document), cascade, generation.version)
    except PolicyError as error:
        raise ConfigError(f"policy: {error}") from None


def _policy(document: object, version: str, cascade: str, student_version: str) -> LoadedPolicy:
    policy = policy_from_document(
        document, version=version, cascade=cascade, student_version=student_version
    )
    return LoadedPolicy(policy, origin_from_document(document))
