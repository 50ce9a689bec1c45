"""How keys are written down: as SHA-256 hashes with what was agreed, in a YAML file or in Redis.

The file:

    keys:
      - name: search-team-2026       # tells keys apart
        tenant: search-team          # the name, unless said; several keys may share it
        sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
        models: [assistant]          # all, unless said
        may_pin: true                # false unless said
        may_administer: true         # false unless said
        dial: [0.5, 0.95]            # none unless said
        limits: {requests_per_minute: 60, tokens_per_minute: 90000, usd_per_day: 5,
                 max_open_requests: 8}
        expires: 2027-01-01          # never, unless said
        may_store: true              # these three are true unless said
        may_train: true
        may_escalate: true

In Redis an entry is the same as JSON.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    field_serializer,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from gateway.config_file import ConfigError, fix_of, message_of, read_file, yaml_in
from gateway.keys import KeyLimits, Keys, Tenant, written
from routing.money import PICO_PER_USD

NAMED_BY = "which UNDERSTUDY_KEYS_FILE or --keys-file names"
_PLACEHOLDERS = ("", "changeme", "secret", "password", "test", "sk-1234", "your-api-key")
_REFUSED = frozenset(hashlib.sha256(text.encode()).hexdigest() for text in _PLACEHOLDERS)
MOST = 10**12
MOST_USD = 10**6


def _moment(value: object) -> datetime:
    """An instant.  A day stands for its beginning, by UTC."""
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time(), UTC)
    if not isinstance(value, datetime):
        raise ValueError("must be a day such as 2027-01-31, or an instant, 2027-01-31T18:00:00Z")
    if value.tzinfo is None:
        raise ValueError("must say its time zone, as in 2027-01-31T18:00:00Z")
    return value.astimezone(UTC)


def _parsed(text: str) -> date | None:
    for form in (date, datetime):
        try:
            return form.fromisoformat(text)
        except ValueError:
            continue
    return None


def _unquoted(value: Any) -> Any:
    if isinstance(value, str | bool):
        raise PydanticCustomError("decimal_type", "Input should be a number")
    return value


_Bool = Annotated[bool, Strict()]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_Count = Annotated[int, Strict(), Field(ge=1, le=MOST)]
_Share = Annotated[float, Strict(), Field(ge=0, le=1)]
_Usd = Annotated[Decimal, BeforeValidator(_unquoted), Field(gt=0, le=MOST_USD, allow_inf_nan=False)]
_Model = Annotated[str, Field(min_length=1, max_length=128)]
_Moment = Annotated[datetime, BeforeValidator(_moment)]


class LimitsEntry(BaseModel):
    """``limits`` of an entry."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests_per_minute: _Count | None = None
    tokens_per_minute: _Count | None = None
    usd_per_day: _Usd | None = None
    max_open_requests: _Count | None = None

    @field_serializer("usd_per_day")
    def _as_written(self, usd: Decimal | None) -> float | None:
        return None if usd is None else float(usd)

    def limits(self) -> KeyLimits:
        """The same, in pico-dollars."""
        usd = self.usd_per_day
        return KeyLimits(
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            usd_per_day=None if usd is None else int(Fraction(usd) * PICO_PER_USD),
            max_open_requests=self.max_open_requests,
        )


class KeyEntry(BaseModel):
    """One key, as it is written down."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Name
    tenant: _Name | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    models: Annotated[tuple[_Model, ...], Field(min_length=1)] | None = None
    may_pin: _Bool = False
    may_administer: _Bool = False
    dial: tuple[_Share, _Share] | None = None
    limits: LimitsEntry = LimitsEntry()
    expires: _Moment | None = None
    may_store: _Bool = True
    may_train: _Bool = True
    may_escalate: _Bool = True

    @model_validator(mode="after")
    def _is_sound(self) -> "KeyEntry":
        if self.sha256 in _REFUSED:
            raise ValueError(f"the key of {self.name!r} is a placeholder: make a real one")
        if self.dial is not None and self.dial[0] > self.dial[1]:
            raise ValueError("dial: the first number must not be above the second")
        return self

    @field_serializer("expires")
    def _as_written(self, expires: datetime | None) -> str | None:
        return None if expires is None else written(expires.timestamp())

    def document(self) -> dict[str, Any]:
        """What is said of it, without what goes without saying."""
        return self.model_dump(mode="json", exclude_defaults=True, exclude_none=True)

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the key."""
        return bytes.fromhex(self.sha256)

    def owner(self) -> Tenant:
        """Whose it is."""
        return Tenant(
            name=self.tenant or self.name,
            may_store=self.may_store,
            may_train=self.may_train,
            may_escalate=self.may_escalate,
            key=self.name,
            models=None if self.models is None else frozenset(self.models),
            may_pin=self.may_pin,
            may_administer=self.may_administer,
            dial=self.dial,
            limits=self.limits.limits(),
            expires_at=None if self.expires is None else self.expires.timestamp(),
        )


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: list[KeyEntry]


def load_keys(path: Path | None, *, is_in_redis: bool = False) -> Keys:
    """The keys that a gateway starts with.  No path, and none in Redis: no key is asked for.

    Raises ConfigError.
    """
    entries = () if path is None else read_entries(path)
    return Keys(owners_of(entries), is_open=path is None and not is_in_redis)


def owners_of(entries: Iterable[KeyEntry]) -> dict[bytes, Tenant]:
    """Whose the keys are, by hash."""
    return {entry.digest: entry.owner() for entry in entries}


def read_entries(path: Path) -> Sequence[KeyEntry]:
    """What a keys file holds; an empty list is nobody.  Raises ConfigError."""
    return entries_in(read_file(path, NAMED_BY), path)


def entries_in(content: bytes, path: Path) -> Sequence[KeyEntry]:
    """The entries that were read from ``path``.  Raises ConfigError."""
    document = yaml_in(content, path)
    try:
        entries = _File.model_validate(document).keys
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        raise ConfigError(f"{path}: {explained(problem)}") from None
    if len({entry.name for entry in entries}) != len(entries):
        raise ConfigError(
            f"{path}: a name stands there twice: rename one, for it tells keys apart; `tenant` may "
            "be the same"
        )
    if len({entry.sha256 for entry in entries}) != len(entries):
        raise ConfigError(f"{path}: a key stands there twice: make one for each name")
    return entries


def entry_in(name: str, text: bytes) -> KeyEntry:
    """The entry of that name, as it stands in Redis.  Raises ValueError; the words hold no hash."""
    try:
        entry = KeyEntry.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(explained(problem)) from None
    if entry.name != name:
        raise ValueError(f"name: it says {entry.name!r}")
    return entry


def doubts_about_keys(tenants: Iterable[Tenant], models: Collection[str], now: float) -> list[str]:
    """What is allowed, and can hardly be meant.  ``models`` are all that there are."""
    doubts = []
    for tenant in tenants:
        if tenant.expires_at is not None and tenant.expires_at <= now:
            doubts.append(
                f"key {tenant.key}: expired at {written(tenant.expires_at)}: remove it, "
                f"`understudy keys revoke {tenant.key}`, or mend `expires`"
            )
        unknown = sorted((tenant.models or frozenset()) - frozenset(models))
        if unknown:
            doubts.append(
                f"key {tenant.key}: models: there is no {', '.join(unknown)} here: mend the name, "
                "or remove it"
            )
    return doubts


def explained(problem: ErrorDetails) -> str:
    """The place, what is wrong there, and the fix; never the value, which may be the key."""
    where = ".".join(str(part) for part in problem["loc"]) or "the file"
    place = problem["loc"][2:] if problem["loc"][:1] == ("keys",) else problem["loc"]
    is_optional = bool(place) and f"`{place[0]}`" in _OPTIONAL
    fix = fix_of(problem["type"]) if is_optional else None
    if problem["type"] == "value_error":
        return f"{where}: {message_of(problem)}"
    if fix is None or problem["type"] == "extra_forbidden":
        fix = (
            'each entry has a `name`, the `sha256` of its key (printf %s "$KEY" | sha256sum) and, '
            f"as far as it is wanted, {_OPTIONAL}"
        )
    return f"{where}: {message_of(problem)}: {fix}"


_OPTIONAL = ", ".join(
    f"`{name}`" for name, field in KeyEntry.model_fields.items() if not field.is_required()
)
