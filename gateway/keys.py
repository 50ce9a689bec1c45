"""The clients' keys that are in force: whose a key is, what was agreed with them, and how many of
its requests are open.  How keys are written down, ``key_entries.py`` knows.

A key is a long random text that we hand out, so a plain fast hash of it cannot be searched, and
nothing here knows a key itself.  An unknown key takes as long as a known one, as far as that
matters: what is compared are hashes.  Whoever sends a key does not choose its SHA-256, and a
hash that comes close to a known one says nothing about the key behind that.  So the entry is looked
up, which takes as long with thousands of keys as with one, and then compared in constant time.
"""

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gateway.errors import KeyExpired, KeysNotKnownYet, RateLimited, Unauthorized
from gateway.ports import Clock

# When a client whose key has too many open requests may come again.
OPEN_RETRY_SECONDS = 1


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """What may be asked with one key; None: as much as there is.

    ``usd_per_day`` is in whole pico-dollars, and days are UTC's.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    usd_per_day: int | None = None
    max_open_requests: int | None = None


NO_LIMITS = KeyLimits()


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who asks, by which key, and what was agreed with them.

    ``name`` stands in logs, pairs and books, and several keys may share it; ``key`` is the name of
    this one key, whose ``limits`` are its own.
    ``may_store``: pairs may be kept of their requests; ``may_train``: a student may learn from
    these; ``may_escalate``: the teacher may be asked for them.
    ``models`` are the cascades and other models that exist for this key, None: all of them.
    ``may_pin``: it may say itself who answers; ``may_administer``: it may set objectives.
    ``dial`` holds the least and the greatest confidence that a request may ask for, None: it may
    not.
    ``expires_at`` is in seconds since 1970.
    """

    name: str
    may_store: bool = True
    may_train: bool = True
    may_escalate: bool = True
    key: str = ""
    models: frozenset[str] | None = None
    may_pin: bool = False
    may_administer: bool = False
    dial: tuple[float, float] | None = None
    limits: KeyLimits = field(default=NO_LIMITS)
    expires_at: float | None = None


def may_use(tenant: Tenant | None, model: str) -> bool:
    """Whether a model exists for whoever asks; for None, who needed no key, each does."""
    return tenant is None or tenant.models is None or model in tenant.models


def written(instant: float) -> str:
    """An instant in seconds since 1970, as it is written in the keys file."""
    return f"{datetime.fromtimestamp(instant, UTC):%Y-%m-%dT%H:%M:%SZ}"


_NOBODY: tuple[bytes, Tenant | None] = (bytes(32), None)


class Keys:
    """The keys in force, which may become others while the gateway runs.

    ``is_open``: no key is asked for.  ``is_waiting``: it is not known yet which keys there are,
    apart from those that are in force already.
    """

    def __init__(
        self, tenants: Mapping[bytes, Tenant], *, is_open: bool, epoch: Clock = time.time
    ) -> None:
        """``tenants`` are by the SHA-256 of their keys."""
        self.is_open = is_open
        self.is_waiting = False
        self._epoch = epoch
        self._open_requests: dict[str, int] = {}
        self.take(tenants)

    def take(self, tenants: Mapping[bytes, Tenant]) -> None:
        """Have these in force from now on; open requests go on, whatever becomes of their key."""
        self._known = {digest: (digest, tenant) for digest, tenant in tenants.items()}

    @property
    def tenants(self) -> Mapping[bytes, Tenant]:
        """Tenants by key hash, those included whose key has expired."""
        return dict(self._known.values())

    def tenant(self, authorization: bytes | None, x_api_key: bytes | None = None) -> Tenant | None:
        """Whose key these headers carry; None where no key is asked for.

        Raises Unauthorized where they carry none that is known or two that differ, KeyExpired, and
        KeysNotKnownYet.
        """
        if self.is_open:
            return None
        digest = hashlib.sha256(_key_in(authorization, x_api_key)).digest()
        known, tenant = self._known.get(digest, _NOBODY)
        if not hmac.compare_digest(known, digest) or tenant is None:
            if self.is_waiting:
                raise KeysNotKnownYet("The gateway cannot tell yet whether this key is valid.")
            raise Unauthorized("This key is not known here.")
        if tenant.expires_at is not None and tenant.expires_at <= self._epoch():
            raise KeyExpired(f"This key expired at {written(tenant.expires_at)}.")
        return tenant

    def begin(self, tenant: Tenant | None) -> None:
        """A request of this key is under way, until ``end`` is called, whatever happens here.

        Raises RateLimited where it is one too many.
        """
        if tenant is None:
            return
        opened = self._open_requests[tenant.key] = self._open_requests.get(tenant.key, 0) + 1
        most = tenant.limits.max_open_requests
        if most is not None and opened > most:
            raise RateLimited(
                f"This key has {most} open requests, as many as it may have.",
                retry_after_seconds=OPEN_RETRY_SECONDS,
            )

    def end(self, tenant: Tenant | None) -> None:
        """A request that was begun is over."""
        if tenant is None:
            return
        opened = self._open_requests.pop(tenant.key, 0) - 1
        if opened > 0:
            self._open_requests[tenant.key] = opened


def _key_in(authorization: bytes | None, x_api_key: bytes | None) -> bytes:
    """The key that a request carries.  Raises Unauthorized."""
    scheme, _, key = (authorization or b"").partition(b" ")
    bearer = key.strip(b" \t") if scheme.lower() == b"bearer" else b""
    other = (x_api_key or b"").strip(b" \t")
    if bearer and other and bearer != other:
        raise Unauthorized(
            "'Authorization' and 'x-api-key' carry different keys: send one of them."
        )
    if not (bearer or other):
        raise Unauthorized("Send your key as 'Authorization: Bearer KEY' or as 'x-api-key: KEY'.")
    return bearer or other
