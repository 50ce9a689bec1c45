"""``understudy doctor``: ask everything that a configuration names whether it will do."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.text import Text

from gateway.cascades import LoadedCascade, load_cascades
from gateway.config_file import ConfigError
from gateway.named_models import load_models
from gateway.settings import Settings, load_settings, read_secret
from gateway.stores.store_url import BadStoreUrl, parse_store_url
from understudy.doctor.examination import Examination, Patient
from understudy.doctor.findings import Finding
from understudy.doctor.process import invalid_settings, process_findings
from understudy.doctor.report import CONFIG_EXIT_CODE, FailOn, Report, invalid_document
from understudy.doctor.showing import show
from understudy.telling import perform


def doctor(
    config: Annotated[Path | None, Parameter(env_var="UNDERSTUDY_CONFIG")] = None,
    *,
    cascade: str | None = None,
    timeout: Annotated[float, Parameter(validator=Number(gt=0, lte=3600))] = 30.0,
    redis_url: Annotated[str | None, Parameter(env_var="UNDERSTUDY_REDIS_URL")] = None,
    fail_on: FailOn = FailOn.AWAY,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Ask all servers of a configuration, and Redis, whether they do what the gateway relies on.

    Each model answers a few short questions, which costs a few hundred tokens.  Says what to do
    about each thing that is not as it should be.  Status 0: nothing is as grave as --fail-on; 1:
    something must be mended; 2: the file is not valid, and nothing was looked at; 3: a server is
    away, and nothing else must be mended; 4: there are hints.

    Parameters
    ----------
    config
        The YAML file with the cascades.
    cascade
        Look at this one alone.
    timeout
        How many seconds each answer may take.
    redis_url
        The Redis of the gateways.
    fail_on
        From which state on the status is not 0: hint, away, problem, or never.
    as_json
        Print JSON instead; docs/doctor.md has its form.
    """

    def work() -> int:
        try:
            patient = _patient(config, cascade, redis_url)
        except ConfigError as error:
            _tell_invalid(str(error), as_json=as_json)
            return CONFIG_EXIT_CODE
        report = asyncio.run(Examination(timeout).of(patient)).without(_secrets(patient))
        status = report.exit_code(fail_on)
        _tell(report, status, as_json=as_json)
        return status

    return perform("look", work)


def _patient(config: Path | None, cascade: str | None, redis_url: str | None) -> Patient:
    """What is to be looked at.  Raises ConfigError where that cannot be known."""
    settings, invalid = _process(config, redis_url)
    path = config if settings is None else settings.config
    if path is None:  # then the settings were read without one
        raise ConfigError("\n".join(each.advice for each in invalid))
    refused: dict[str, str] = {}
    cascades = load_cascades(path, read_secret, refused.__setitem__)
    named = load_models(path, read_secret)
    models = [*(each.name for each in cascades), *(each.name for each in named)]
    process = invalid if settings is None else process_findings(settings, models)
    if cascade is not None:
        names = ", ".join(each.name for each in cascades)
        cascades = tuple(each for each in cascades if each.name == cascade)
        named = ()
        if not cascades:
            raise ConfigError(f"--cascade: {path} has no {cascade!r}: choose from {names}")
    secret = settings.redis_url if settings is not None else None
    url = redis_url or (secret.get_secret_value() if secret is not None else None)
    keys_for = models if settings is not None and settings.keys_in_redis else None
    return Patient(cascades, process, refused, url, keys_for, named)


def _process(config: Path | None, redis_url: str | None) -> tuple[Settings | None, list[Finding]]:
    """The settings of this machine; None where they are not valid, and what to say then."""
    given = {"config": config, "redis_url": redis_url}
    try:
        settings = load_settings({name: value for name, value in given.items() if value})
    except ConfigError as error:
        return None, [invalid_settings(error)]
    return settings, []


def _secrets(patient: Patient) -> list[str]:
    """All that no output may hold."""
    keys = [key for each in patient.cascades for key in _keys(each) if key is not None]
    keys += [each.key for each in patient.named if each.key is not None]
    if patient.redis_url is None:
        return keys
    try:
        url = parse_store_url(patient.redis_url)
    except BadStoreUrl:
        return [*keys, patient.redis_url]
    options = [*url.options.items(), *url.sentinel_options.items()]
    return [*keys, *(str(value) for name, value in options if "password" in name and value)]


def _keys(loaded: LoadedCascade) -> Sequence[str | None]:
    return loaded.student_key, loaded.teacher_key, loaded.embedder_key


def _tell_invalid(error: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(invalid_document(error), ensure_ascii=False))
        return
    console = Console(stderr=True)
    console.print(Text("Not valid:\n", style="bold red") + Text(error), soft_wrap=True)


def _tell(report: Report, status: int, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report.document(status), ensure_ascii=False))
    else:
        show(report, Console())
