"""What is told of a key: everything but the key and its hash."""

from collections.abc import Iterable
from typing import Any

from rich.table import Table

from gateway.key_entries import KeyEntry

FINGERPRINT = 12  # hexadecimal digits of the hash: enough to tell keys apart, and no key


def described(entry: KeyEntry, now: float) -> dict[str, Any]:
    """One key, for scripts; ``now`` is in seconds since 1970."""
    tenant, limits = entry.owner(), entry.limits.model_dump(mode="json")
    return {
        "name": entry.name,
        "tenant": tenant.name,
        "fingerprint": entry.sha256[:FINGERPRINT],
        "models": None if entry.models is None else list(entry.models),
        "may_pin": entry.may_pin,
        "may_administer": entry.may_administer,
        "dial": None if entry.dial is None else list(entry.dial),
        "limits": limits,
        "expires": entry.document().get("expires"),
        "is_expired": tenant.expires_at is not None and tenant.expires_at <= now,
        "may_store": entry.may_store,
        "may_train": entry.may_train,
        "may_escalate": entry.may_escalate,
    }


def table_of(entries: Iterable[KeyEntry], now: float) -> Table:
    """All keys, for people."""
    table = Table()
    for heading in ("name", "tenant", "models", "rights", "limits", "expires", "fingerprint"):
        # What is to be copied stays whole.
        table.add_column(heading, overflow="fold", no_wrap=heading in ("name", "fingerprint"))
    for entry in entries:
        told = described(entry, now)
        models = "all" if told["models"] is None else ", ".join(told["models"])
        expires = told["expires"] or "never"
        table.add_row(
            told["name"],
            told["tenant"],
            models,
            _rights(entry),
            _limits(entry),
            f"[red]{expires}, expired" if told["is_expired"] else expires,
            told["fingerprint"],
        )
    return table


def _rights(entry: KeyEntry) -> str:
    rights = ["pin"] if entry.may_pin else []
    if entry.may_administer:
        rights.append("administer")
    if entry.dial is not None:
        rights.append("dial {:g} to {:g}".format(*entry.dial))
    for name in ("store", "train", "escalate"):
        if not getattr(entry, f"may_{name}"):
            rights.append(f"no {name}")
    return ", ".join(rights)


def _limits(entry: KeyEntry) -> str:
    limits = entry.limits
    counts = (
        (limits.requests_per_minute, "requests/min"),
        (limits.tokens_per_minute, "tokens/min"),
        (limits.usd_per_day, "USD/day"),
        (limits.max_open_requests, "open"),
    )
    return ", ".join(f"{count:,} {what}" for count, what in counts if count is not None)
