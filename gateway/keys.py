"""Clients' keys: kept as SHA-256 hashes in a YAML file, compared in constant time.

A key is a long random text that we hand out, so a plain fast hash of it cannot be searched.  The
file:

    keys:
      - name: search-team
        sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
        may_store: true       # these three are true unless said
        may_train: true
        may_escalate: true
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError
from pydantic_core import ErrorDetails

from gateway.config_file import ConfigError, fix_of, message_of, read_yaml
from gateway.errors import Unauthorized

NAMED_BY = "which UNDERSTUDY_KEYS_FILE or --keys-file names"
_PLACEHOLDERS = ("", "changeme", "secret", "password", "test", "sk-1234", "your-api-key")
_REFUSED = frozenset(hashlib.sha256(text.encode()).hexdigest() for text in _PLACEHOLDERS)

_Bool = Annotated[bool, Strict()]
_CONSENT = ("may_store", "may_train", "may_escalate")


class _Key(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    may_store: _Bool = True
    may_train: _Bool = True
    may_escalate: _Bool = True


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: Annotated[list[_Key], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who asks, and what was agreed with them.

    ``may_store``: pairs may be kept of their requests; ``may_train``: a student may learn from
    these; ``may_escalate``: the teacher may be asked for them.
    """

    name: str
    may_store: bool = True
    may_train: bool = True
    may_escalate: bool = True


@dataclass(frozen=True, slots=True)
class Keys:
    """Tenants by key hash; no entries where the gateway asks for no key."""

    tenants: Mapping[bytes, Tenant]

    def tenant(self, authorization: str | None) -> Tenant | None:
        """Whose key an ``Authorization`` header carries; None where no key is asked for.

        Raises Unauthorized where it carries none that is known.  Every entry is compared, so the
        time taken tells nothing about which one came close.
        """
        if not self.tenants:
            return None
        scheme, _, key = (authorization or "").partition(" ")
        key = key.strip(" \t")
        if scheme.lower() != "bearer" or not key:
            raise Unauthorized("Send your key as 'Authorization: Bearer KEY'.")
        # Headers are read as latin-1, a character for a byte: this gives the client's bytes back.
        digest = hashlib.sha256(key.encode("latin-1", "replace")).digest()
        found = None
        for known, tenant in self.tenants.items():
            if hmac.compare_digest(known, digest):
                found = tenant
        if found is None:
            raise Unauthorized("This key is not known here.")
        return found


def load_keys(path: Path | None) -> Keys:
    """Read the keys file; no path, no keys.  Raises ConfigError."""
    if path is None:
        return Keys({})
    document = read_yaml(path, NAMED_BY)
    try:
        parsed = _File.model_validate(document)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        raise ConfigError(f"{path}: {_explained(problem)}") from None
    for key in parsed.keys:
        if key.sha256 in _REFUSED:
            raise ConfigError(f"{path}: the key of {key.name!r} is a placeholder: make a real one")
    if len({key.name for key in parsed.keys}) != len(parsed.keys):
        raise ConfigError(
            f"{path}: a name stands there twice: rename one, for it tells tenants apart"
        )
    if len({key.sha256 for key in parsed.keys}) != len(parsed.keys):
        raise ConfigError(f"{path}: a key stands there twice: make one for each name")
    return Keys(
        {
            bytes.fromhex(key.sha256): Tenant(
                key.name, key.may_store, key.may_train, key.may_escalate
            )
            for key in parsed.keys
        }
    )


def _explained(problem: ErrorDetails) -> str:
    """The place, what is wrong there, and the fix; never the value, which may be the key."""
    where = ".".join(str(part) for part in problem["loc"]) or "the file"
    fix = fix_of(problem["type"]) if where.endswith(_CONSENT) else None
    if fix is None or problem["type"] == "extra_forbidden":
        fix = (
            'each entry has a `name`, the `sha256` of its key (printf %s "$KEY" | sha256sum) and, '
            "where something is not agreed, `may_store`, `may_train`, `may_escalate`"
        )
    return f"{where}: {message_of(problem)}: {fix}"
