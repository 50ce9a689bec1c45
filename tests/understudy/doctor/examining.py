"""A configuration for the doctor to look at, and what it says is amiss."""

import asyncio
import json
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from gateway.cascades import load_cascades
from tests.fakes.generations import POLICY
from tests.fakes.serving import cascade_document
from understudy.doctor.examination import Examination, Patient
from understudy.doctor.findings import Finding, State, Subject
from understudy.doctor.report import Report, Whose

CONTINUE = {"streaming": {"handover": "continue"}}
KEY = "right-key"


def configured(folder: Path, url: str, made: date | None = None, **changes: Any) -> Path:
    """A cascade with two models of one server, and a policy of a day: today's, unless said."""
    day = (made or date.today()).isoformat()  # noqa: DTZ011  # any machine's day will do
    policy = {**POLICY, "student_version": "student-1", "date": day}
    (folder / "policy.json").write_text(json.dumps(policy))
    document = {"policy": "policy.json", **cascade_document(url, url, **{**CONTINUE, **changes})}
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump({"cascades": {"assistant": document}}))
    return path


def patient(folder: Path, url: str, **changes: Any) -> Patient:
    """The same, loaded as the doctor loads it."""
    refused: dict[str, str] = {}
    path = configured(folder, url, **changes)
    cascades = load_cascades(path, {"KEY": KEY}.get, refused.__setitem__)
    return Patient(cascades, refused=refused)


def examined(
    patient: Patient, seconds: float = 10, epoch: Callable[[], float] = time.time
) -> Report:
    """What the doctor finds."""
    return asyncio.run(Examination(seconds, epoch).of(patient))


def amiss(report: Report) -> dict[tuple[Whose, Subject], Finding]:
    """All that is not as it should be, by whose it is and what it is about."""
    return {
        (part.whose, finding.subject): finding
        for part in report.parts
        for finding in part.findings
        if finding.state not in (State.OK, State.SKIPPED)
    }
