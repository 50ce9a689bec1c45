"""Content that is encrypted at rest, opened with the operator's keys."""

from collections.abc import Callable

from distill.pairs import Content, NoPair, Pair, read_content
from gateway.settings import read_secret
from understudy.pairs.telling import PairsError

KEYS = "UNDERSTUDY_PAIRS_KEYS"

# Opens one token; raises SealBroken where no key fits.
Opener = Callable[[str], bytes]


class SealBroken(Exception):
    """No key opens this content."""


class Seals:
    """Opens content.  Whoever meets none that is sealed needs no key and no library."""

    def __init__(self, opener: Opener | None = None) -> None:
        """``opener``: by the keys in the environment where none is given."""
        self._opener = opener

    def content_of(self, pair: Pair) -> Content | None:
        """The payloads; None where they were dropped.

        Raises SealBroken, and PairsError where there is no key at all.
        """
        return pair.content if pair.sealed is None else self.opened(pair.sealed)

    def opened(self, token: str) -> Content:
        """The same, of a token."""
        if self._opener is None:
            self._opener = opener_for(read_secret(KEYS))
        try:
            return read_content(self._opener(token))
        except NoPair:
            raise SealBroken from None


def opener_for(keys: str | None) -> Opener:
    """What opens content with these Fernet keys, separated by commas.  Raises PairsError."""
    if not keys:
        raise PairsError(
            f"these pairs are encrypted: set {KEYS} to the keys of the gateway that wrote them"
        )
    try:
        from cryptography.fernet import Fernet, InvalidToken, MultiFernet
    except ImportError:
        raise PairsError(
            "these pairs are encrypted: install the extra, understudy[encryption]"
        ) from None
    try:
        fernet = MultiFernet([Fernet(key.strip()) for key in keys.split(",") if key.strip()])
    except ValueError:
        raise PairsError(f"{KEYS} holds something that is no key") from None

    def opener(token: str) -> bytes:
        try:
            return bytes(fernet.decrypt(token))
        except InvalidToken:
            raise SealBroken from None

    return opener
