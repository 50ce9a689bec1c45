"""What a gateway would start with on this machine: its settings, keys, and state directory."""

import os
import shutil
import tempfile
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from gateway.config_file import ConfigError
from gateway.key_entries import doubts_about_keys, load_keys
from gateway.keys import Tenant
from gateway.settings import Settings, spelled, unknown_variables
from gateway.stores.sealing import sealer_of
from understudy.doctor.findings import Finding, State, Subject


def process_findings(settings: Settings, models: Collection[str] = ()) -> list[Finding]:
    """All that can be seen of a gateway's process without starting it.

    ``models`` are all that its clients may ask for.
    """
    found = [_settings(), _address(settings), _metrics(settings), _keys(settings, models)]
    if "state_dir" in settings.model_fields_set:  # else it is where the gateway is started
        found.append(_state_directory(settings.state_dir, settings.journal_max_bytes))
    if settings.pairs_keys is not None:
        found.append(_encryption(settings))
    return found


def invalid_settings(error: ConfigError) -> Finding:
    """All that can be said where the settings are not valid."""
    return Finding(Subject.SETTINGS, State.PROBLEM, "no gateway starts with them", str(error))


def _settings() -> Finding:
    unknown = unknown_variables()
    if unknown:
        advice = "no setting has such a name: mend its spelling, or unset it"
        return Finding(Subject.SETTINGS, State.HINT, ", ".join(unknown), advice)
    return Finding(Subject.SETTINGS, State.OK, "valid")


def _address(settings: Settings) -> Finding:
    place = f"{settings.host} port {settings.port}"
    if settings.is_loopback:
        return Finding(Subject.ADDRESS, State.OK, f"{place}: for this machine alone")
    if settings.asks_for_keys:
        return Finding(Subject.ADDRESS, State.OK, f"{place}: with keys")
    advice = "name a keys file with UNDERSTUDY_KEYS_FILE and unset UNDERSTUDY_INSECURE"
    return Finding(Subject.ADDRESS, State.HINT, f"{place}: open to all who reach it", advice)


def _metrics(settings: Settings) -> Finding:
    if settings.ops_port is not None:
        return Finding(Subject.METRICS, State.OK, f"on port {settings.ops_port}")
    if settings.is_metrics_on_main_port:
        return Finding(Subject.METRICS, State.OK, "on the main port")
    advice = "set UNDERSTUDY_OPS_PORT: beyond loopback they have a port of their own or none"
    return Finding(Subject.METRICS, State.HINT, "nowhere", advice)


def _keys(settings: Settings, models: Collection[str]) -> Finding:
    """Those of the keys file; of those in Redis the store's part tells."""
    subject, path = Subject.KEYS, settings.keys_file
    if path is None:
        saw = "in Redis alone" if settings.keys_in_redis else "none are asked for"
        return Finding(subject, State.SKIPPED, saw)
    try:
        tenants = load_keys(path).tenants.values()
    except ConfigError as error:
        return Finding(subject, State.PROBLEM, "no gateway starts with them", str(error))
    return keys_finding(tenants, str(path), models, time.time())


def keys_finding(
    tenants: Collection[Tenant], place: str, models: Collection[str], now: float
) -> Finding:
    """What is to be said of keys that could be read."""
    subject, saw = Subject.KEYS, f"{len(tenants)} in {place}"
    if not tenants:
        return Finding(subject, State.HINT, saw, "nobody may ask: `understudy keys create NAME`")
    doubts = doubts_about_keys(tenants, models, now)
    return Finding(subject, State.HINT if doubts else State.OK, saw, "; ".join(doubts))


def _encryption(settings: Settings) -> Finding:
    try:
        sealer_of(settings.pairs_keys)
    except ConfigError as error:
        return Finding(Subject.ENCRYPTION, State.PROBLEM, "no gateway starts with it", str(error))
    return Finding(Subject.ENCRYPTION, State.OK, "its keys are valid")


def _state_directory(path: Path, most: int) -> Finding:
    """Whether the journal fits.  Writes nothing that stays."""
    subject = Subject.STATE_DIRECTORY
    place = path
    while not place.exists() and place != place.parent:
        place = place.parent  # the gateway makes what is missing
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
        disk = shutil.disk_usage(place)
        taken = _taken(path)
    except OSError as error:
        advice = f"name one that can be written, {spelled('state_dir')}, or mend whose it is"
        return Finding(subject, State.PROBLEM, f"{path}: {error.strerror}", advice)
    saw = f"{path}: {_mib(disk.free)} free, {_mib(taken)} taken; the journal may take {_mib(most)}"
    if most > disk.total:
        advice = (
            f"the volume has {_mib(disk.total)} in all: set {spelled('journal_max_bytes')} below"
        )
        return Finding(subject, State.PROBLEM, saw, advice)
    if disk.free + taken < most:
        advice = "the disk is full before the journal is: make room, or let the journal take less"
        return Finding(subject, State.HINT, saw, advice)
    return Finding(subject, State.OK, saw)


def _taken(path: Path) -> int:
    """What journals take there already."""
    taken = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(FileNotFoundError):  # gateways that run meanwhile remove segments
                taken += (Path(folder) / name).stat().st_size
    return taken


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
