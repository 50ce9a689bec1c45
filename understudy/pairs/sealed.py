"""Content that is encrypted at rest, opened with the operator's keys."""

from collections.abc import Callable

from pydantic import SecretStr

from distill.pairs import Content, NoPair, Pair, read_content
from gateway.config_file import ConfigError
from gateway.settings import read_secret
from gateway.stores.sealing import SealBroken, sealer_of
from understudy.telling import CommandError

KEYS = "UNDERSTUDY_PAIRS_KEYS"

# Opens one token; raises SealBroken where no key fits.
Opener = Callable[[str], bytes]


class Seals:
    """Opens content.  Whoever meets none that is sealed needs no key and no library."""

    def __init__(self, opener: Opener | None = None) -> None:
        """``opener``: by the keys in the environment where none is given."""
        self._opener = opener

    def content_of(self, pair: Pair) -> Content | None:
        """The payloads; None where they were dropped.

        Raises SealBroken, and CommandError where there is no key at all.
        """
        return pair.content if pair.sealed is None else self.opened(pair.sealed)

    def opened(self, token: str) -> Content:
        """The same, of a token."""
        if self._opener is None:
            self._opener = opener_for(read_secret(KEYS))
        try:
            return read_content(self._opener(token))
        except NoPair:
            raise SealBroken("what it opens to is no content of a pair") from None


def opener_for(keys: str | None) -> Opener:
    """What opens content with these Fernet keys, separated by commas.  Raises CommandError."""
    try:
        sealer = sealer_of(SecretStr(keys) if keys else None)
    except ConfigError as error:
        raise CommandError(f"these pairs are encrypted: {error}") from None
    if sealer is None:
        raise CommandError(
            f"these pairs are encrypted: set {KEYS} to the keys of the gateway that wrote them"
        )
    return sealer.open
