"""What a gateway would start with on this machine: its settings, keys, and state directory."""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from gateway.config_file import ConfigError
from gateway.keys import load_keys
from gateway.settings import Settings, spelled, unknown_variables
from gateway.stores.sealing import sealer_of
from understudy.doctor.findings import Finding, State, Subject


def process_findings(settings: Settings) -> list[Finding]:
    """All that can be seen of a gateway's process without starting it."""
    found = [_settings(), _address(settings), _metrics(settings), _keys(settings)]
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
    if settings.keys_file is not None:
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


def _keys(settings: Settings) -> Finding:
    if settings.keys_file is None:
        return Finding(Subject.KEYS, State.SKIPPED, "none are asked for")
    try:
        count = len(load_keys(settings.keys_file).tenants)
    except ConfigError as error:
        return Finding(Subject.KEYS, State.PROBLEM, "no gateway starts with them", str(error))
    return Finding(Subject.KEYS, State.OK, f"{count} in {settings.keys_file}")


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
