"""Encryption at rest: content is sealed before it is written, and opened by whoever has a key.

Fernet: AES-128 in CBC mode with an HMAC over all of it, from the library `cryptography`, which is
needed only where keys are set.  The first key seals, each of them opens, so that keys can change.
"""

import re
from collections.abc import Sequence

from pydantic import SecretStr

from gateway.config_file import ConfigError
from gateway.settings import spelled

_KEY = re.compile(r"[A-Za-z0-9_-]{43}=")
NEW_KEY = (
    "python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
)


class SealBroken(Exception):
    """The token was sealed with none of these keys, or is not what was sealed."""


class BadKey(ValueError):
    """One of the keys is none.  The message says which, and nothing of it."""


class Sealer:
    """Seals and opens content.  No message of it holds a key."""

    def __init__(self, keys: Sequence[str]) -> None:
        """``keys``, at least one: the first seals.

        Raises BadKey, and ModuleNotFoundError where the extra `encryption` is not installed.
        """
        from cryptography.fernet import Fernet, InvalidToken, MultiFernet

        for number, key in enumerate(keys, start=1):
            if not _KEY.fullmatch(key):
                raise BadKey(f"key {number} of {len(keys)} is no Fernet key")
        self._fernet = MultiFernet([Fernet(key) for key in keys])
        self._invalid = InvalidToken

    def seal(self, content: bytes) -> str:
        """Encrypt it; a third longer than the content, and some 100 bytes, in ASCII."""
        return self._fernet.encrypt(content).decode("ascii")

    def open(self, token: str) -> bytes:
        """The content of a token.  Raises SealBroken."""
        try:
            return self._fernet.decrypt(token.encode("ascii"))
        except (self._invalid, UnicodeEncodeError):
            raise SealBroken(
                "none of the keys in UNDERSTUDY_PAIRS_KEYS opens it, or it was changed"
            ) from None


def sealer_of(pairs_keys: SecretStr | None) -> Sealer | None:
    """The sealer for the setting; None where it is not set.  Raises ConfigError."""
    if pairs_keys is None:
        return None
    keys = [key.strip() for key in pairs_keys.get_secret_value().split(",")]
    try:
        return Sealer(keys)
    except ModuleNotFoundError:
        raise ConfigError(
            f"{spelled('pairs_keys')}: needs the library cryptography: pip install "
            "'understudy[encryption]', or unset it to write pairs in clear"
        ) from None
    except BadKey as error:
        raise ConfigError(
            f"{spelled('pairs_keys')}: {error}: write keys of 32 bytes in URL-safe base64, with a "
            f"comma between them; {NEW_KEY} makes one"
        ) from None
