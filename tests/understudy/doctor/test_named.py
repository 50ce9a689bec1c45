"""What the doctor says of models that clients ask by name, and of their servers."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse

from gateway.named_models import LoadedModel, NamedModelConfig
from tests.fakes.serving import closed_port_url, serving
from tests.understudy.doctor.examining import examined, patient
from understudy.doctor.examination import Patient
from understudy.doctor.findings import Finding, State, Subject
from understudy.doctor.listing import Listener
from understudy.doctor.named import named_part
from understudy.doctor.report import Whose


def named(url: str, key: str | None = None, **changes: Any) -> LoadedModel:
    said = {"base_url": f"{url}/v1", "model": "bge", "serves": ["embeddings"], **changes}
    return LoadedModel("embed", NamedModelConfig.model_validate(said), key)


def found(model: LoadedModel) -> dict[Subject, Finding]:
    part = asyncio.run(named_part(model, Listener(5, time.time)))
    assert (part.whose, part.cascade, part.name) == (Whose.MODEL, None, "embed")
    assert part.place == model.config.base_url
    return {finding.subject: finding for finding in part.findings}


@pytest.mark.parametrize(
    ("status", "names", "state", "saw"),
    [
        (200, ["bge"], State.OK, "has bge"),
        (200, ["gte"], State.PROBLEM, "has no bge, but gte"),
        (404, [], State.SKIPPED, "lists no models (status 404): not told"),
        (401, [], State.PROBLEM, "lists no models (status 401)"),
        (503, [], State.AWAY, "is not ready"),
    ],
)
def test_its_server_is_asked_for_the_model(
    status: int, names: list[str], state: State, saw: str
) -> None:
    with serving(JSONResponse({"data": [{"id": name} for name in names]}, status)) as url:
        finding = found(named(url))[Subject.SERVER]
    assert finding.state is state
    assert finding.saw.startswith(saw)
    assert bool(finding.advice) is (state not in (State.OK, State.SKIPPED))


def test_a_server_that_is_away_is_told_as_that() -> None:
    assert found(named(closed_port_url()))[Subject.SERVER].state is State.AWAY


def test_a_model_without_a_price_is_a_hint() -> None:
    url = closed_port_url()
    assert found(named(url))[Subject.PRICE].state is State.HINT
    price = found(named(url, price={"input": 0.02}))[Subject.PRICE]
    assert (price.state, price.saw) == (State.OK, "0.02/0 USD in/out per 1M")


def test_named_models_are_examined_beside_the_cascades(tmp_path: Path) -> None:
    looked_at = patient(tmp_path, closed_port_url())
    report = examined(Patient(looked_at.cascades, named=[named(closed_port_url())]), seconds=2)
    assert [part.name for part in report.parts if part.whose is Whose.MODEL] == ["embed"]
