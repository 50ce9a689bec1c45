"""No secret stands in a manifest: not as an object, not in a variable, an argument or a file."""

import re
from collections.abc import Iterator
from itertools import pairwise

from tests.deploy.manifests import Manifests, containers, name_of, of_kind

# Names of variables that hold secrets; one that names a file or another variable does not.
_SECRET_NAME = re.compile(r"(KEY|KEYS|PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIALS?)$")
_SECRET_OPTION = re.compile(r"^--[\w-]*(api-key|password|requirepass|secret|token)(=|$)")
_SECRETS = (
    re.compile(r"\b[sr]k-[A-Za-z0-9_-]{16,}"),
    re.compile(r"\bhf_[A-Za-z0-9]{20,}"),
    re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,}"),
    re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"),
    # A password in an address; $(NAME) is a variable that kubelet puts in.
    re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@]*:(?!\$[({])[^\s/@]+@"),
    re.compile(
        r"(?i)\b(?:password|requirepass|masterauth|api[-_]key)\s*[:=]?\s+['\"]?[^\s'\"$#{|]+"
    ),
)


def secrets_come_from_elsewhere(manifests: Manifests) -> Iterator[str]:
    """A Secret in a repository is none."""
    yield from (f"{name_of(each)} is in the repository" for each in of_kind(manifests, "Secret"))


def variables_hold_no_secrets(manifests: Manifests) -> Iterator[str]:
    for container in containers(manifests):
        for name, value in container.values.items():
            told = _SECRET_NAME.search(name) and value and not value.startswith("$(")
            if told or _is_secret(value):
                yield f"{container.where}: the value of {name} is for everybody to read"
        for word, after in pairwise((*container.words, "")):
            option = _SECRET_OPTION.search(word)
            given = word.partition("=")[2] or after if option else ""
            if _is_secret(word) or (given and not given.startswith(("$(", "-"))):
                yield f"{container.where}: an argument is a secret: {word.partition('=')[0]}"


def files_hold_no_secrets(manifests: Manifests) -> Iterator[str]:
    for config in of_kind(manifests, "ConfigMap"):
        for key, text in (config.get("data") or {}).items():
            for line in text.splitlines():
                if not line.lstrip().startswith("#") and _is_secret(line):
                    yield f"{name_of(config)}: {key} holds a secret: {line.strip()[:20]}…"


def _is_secret(text: str) -> bool:
    return any(pattern.search(text) for pattern in _SECRETS)
