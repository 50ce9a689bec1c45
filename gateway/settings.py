"""Process settings from the environment.  Nothing else in the gateway reads it.

Every variable is in docs/operating.md.  Cascades have a file of their own: ``cascades.py``.
"""

import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.config_file import ConfigError, fix_of, message_of
from routing.vocabulary import WhenStoreDown

PREFIX = "UNDERSTUDY_"
# These are set by the environment alone.
WITHOUT_OPTION = frozenset({
    "drain_seconds", "journal_fsync_seconds", "journal_keep_seconds", "journal_max_bytes",
    "journal_when_full", "max_body_bytes", "max_body_entries", "max_body_members",
    "max_open_requests", "pairs_keys", "shutdown_delay_seconds", "store_down", "tracing",
})  # fmt: skip
Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseSettings):
    """One frozen tree, prefix ``UNDERSTUDY_``; units stand in the names."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    config: Path = Field(description="The YAML file with the cascades.")
    host: str = Field(default="127.0.0.1", description="The address to listen on.")
    port: Port = Field(default=8080, description="The port of the API; 0 picks a free one.")
    ops_port: Port | None = Field(
        default=None,
        description="A port of its own for `/metrics`, on the same address. Without it `/metrics` "
        "is on the main port, but only while that listens on loopback.",
    )
    redis_url: SecretStr | None = Field(
        default=None,
        description="Where pairs go. Without it they stay in the journal.",
    )
    state_dir: Path = Field(
        default=Path(".understudy/state"),
        description="Writable directory for the journal; several processes may share it.",
    )
    keys_file: Path | None = Field(default=None, description="YAML file with the clients' keys.")
    keys_in_redis: bool = Field(
        default=False,
        description="Clients' keys are in Redis, beside those in a keys file if there is one.",
    )
    insecure: bool = Field(
        default=False, description="Listen beyond loopback without keys, as told in so many words."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe log line that is written."
    )
    max_body_bytes: int = Field(
        default=10 * 2**20, ge=1, description="Largest request body; beyond it 413."
    )
    max_body_members: int = Field(
        default=50_000,
        ge=100,
        description="Most objects, arrays and named values in one request body; beyond it 413.",
    )
    max_body_entries: int = Field(
        default=2**18,
        ge=100,
        description="Most entries of all lists and objects in one request body, token ids among "
        "them; beyond it 413.",
    )
    max_open_requests: int = Field(
        default=1024, ge=1, description="Open requests in this process; beyond it 503."
    )
    journal_max_bytes: int = Field(
        default=2**30,
        ge=2**10,
        description="Most that one process' journal takes on disk; what is shipped goes first.",
    )
    journal_fsync_seconds: float = Field(
        default=0.1,
        ge=0,
        le=60,
        description="How long a record may wait to be on the disk itself; 0: no answer goes before "
        "that.",
    )
    journal_keep_seconds: float = Field(
        default=3600,
        ge=0,
        description="How long shipped records stay where Redis does not say that it has them on "
        "its disk, or has replicas.",
    )
    journal_when_full: Literal["count", "refuse"] = Field(
        default="count",
        description="What becomes of escalations whose pair cannot be written: they are answered "
        "and the loss is counted, or they are refused.",
    )
    pairs_keys: SecretStr | None = Field(
        default=None,
        description="Fernet keys, with commas between them, for the content of pairs: the first "
        "seals, each opens. Without them it is written in clear.",
    )
    shutdown_delay_seconds: int = Field(
        default=0,
        ge=0,
        le=3600,
        description="How long new connections are taken after SIGTERM, although `/readyz` says no.",
    )
    drain_seconds: int = Field(
        default=30, ge=0, le=3600, description="How long open requests may go on after that."
    )

    store_down: WhenStoreDown = Field(
        default=WhenStoreDown.DEGRADE,
        description="What becomes of requests of limited keys while Redis cannot say what is left: "
        "the student answers them alone, or they are let in.",
    )

    tracing: bool = Field(
        default=False,
        description="Send spans to an OpenTelemetry collector, which the variables `OTEL_*` name.",
    )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the gateway."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def asks_for_keys(self) -> bool:
        """Whether clients need a key, be there any or not."""
        return self.keys_file is not None or self.keys_in_redis

    @property
    def is_metrics_on_main_port(self) -> bool:
        """Whether `/metrics` is served beside the API."""
        return self.ops_port is None and self.is_loopback

    @model_validator(mode="after")
    def _refuse_open_doors(self) -> "Settings":
        if not (self.is_loopback or self.asks_for_keys or self.insecure):
            raise ValueError(
                f"host {self.host} can be reached from other machines: name a keys file with "
                "UNDERSTUDY_KEYS_FILE or --keys-file, say --keys-in-redis, or --insecure"
            )
        if self.keys_in_redis and self.redis_url is None:
            raise ValueError(
                f"{spelled('keys_in_redis')} needs the Redis: name it, {spelled('redis_url')}"
            )
        if self.ops_port is not None and self.ops_port == self.port != 0:
            raise ValueError(f"ops_port and port are both {self.port}: they must differ")
        return self


def load_settings(given: Mapping[str, Any]) -> Settings:
    """Settings from the environment, overridden by ``given``.  Raises ConfigError."""
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_url=False, include_input=False):
            name = ".".join(str(part) for part in problem["loc"])
            message, fix = message_of(problem), fix_of(problem["type"])
            message += f": {fix}" if fix else ""
            lines.append(f"{spelled(name)}: {message}" if name else message)
        raise ConfigError("\n".join(lines)) from None


def spelled(name: str) -> str:
    """A setting in all its spellings, for messages: ``port (UNDERSTUDY_PORT, --port)``."""
    option = "" if name in WITHOUT_OPTION else f", --{name.replace('_', '-')}"
    return f"{name} ({PREFIX}{name.upper()}{option})"


def unknown_variables() -> list[str]:
    """Variables with our prefix that are no setting: most likely misspelt."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    elsewhere = (f"{PREFIX}DEMO_", f"{PREFIX}TEST_")
    return sorted(
        name
        for name in os.environ
        if name.startswith(PREFIX) and name not in known and not name.startswith(elsewhere)
    )


def read_secret(variable: str) -> str | None:
    """The value of an environment variable that the cascades' file names, or None."""
    return os.environ.get(variable)


def standard_variable(name: str) -> str | None:
    """The value of one of OpenTelemetry's variables, which its SDK reads too; None where empty."""
    return os.environ.get(name, "").strip() or None
