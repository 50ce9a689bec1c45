"""Clients' keys: kept as SHA-256 hashes in a YAML file, compared in constant time.

A key is a long random text that we hand out, so a plain fast hash of it cannot be searched.  The
file:

    keys:
      - name: search-team
        sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.config_file import ConfigError, message_of, read_yaml
from gateway.errors import Unauthorized

NAMED_BY = "which UNDERSTUDY_KEYS_FILE or --keys-file names"
_PLACEHOLDERS = ("", "changeme", "secret", "password", "test", "sk-1234", "your-api-key")
_REFUSED = frozenset(hashlib.sha256(text.encode()).hexdigest() for text in _PLACEHOLDERS)


class _Key(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: Annotated[list[_Key], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Keys:
    """Names by key hash; no entries where the gateway asks for no key."""

    names: Mapping[bytes, str]

    def tenant(self, authorization: str | None) -> str | None:
        """Whose key an ``Authorization`` header carries; None where no key is asked for.

        Raises Unauthorized where it carries none that is known.  Every entry is compared, so the
        time taken tells nothing about which one came close.
        """
        if not self.names:
            return None
        scheme, _, key = (authorization or "").partition(" ")
        key = key.strip(" \t")
        if scheme.lower() != "bearer" or not key:
            raise Unauthorized("Send your key as 'Authorization: Bearer KEY'.")
        # Headers are read as latin-1, a character for a byte: this gives the client's bytes back.
        digest = hashlib.sha256(key.encode("latin-1", "replace")).digest()
        found = None
        for known, name in self.names.items():
            if hmac.compare_digest(known, digest):
                found = name
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
        where = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise ConfigError(
            f"{path}: {where}: {message_of(problem)}: each entry has a `name` and the `sha256` of "
            'its key (printf %s "$KEY" | sha256sum)'
        ) from None
    for key in parsed.keys:
        if key.sha256 in _REFUSED:
            raise ConfigError(f"{path}: the key of {key.name!r} is a placeholder: make a real one")
    if len({key.name for key in parsed.keys}) != len(parsed.keys):
        raise ConfigError(
            f"{path}: a name stands there twice: rename one, for it tells tenants apart"
        )
    if len({key.sha256 for key in parsed.keys}) != len(parsed.keys):
        raise ConfigError(f"{path}: a key stands there twice: make one for each name")
    return Keys({bytes.fromhex(key.sha256): key.name for key in parsed.keys})
