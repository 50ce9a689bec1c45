"""A gateway whose models run on rented GPUs: what it shows of rent, calls and idle time."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from routing.money import PICO_PER_USD
from tests.fakes.serving import Stage, stage
from tests.fakes.upstream import UNSURE, Reply, completion

BY_TIME = {"gpu_usd_per_hour": 3600}  # a dollar a second
REFERENCE = {"input_tokens_per_second": 1000, "output_tokens_per_second": 100}
BY_TOKENS = {"gpu_usd_per_hour": 3600, "gpus": 2, "reference": REFERENCE}


def cascade(price: dict[str, Any]) -> dict[str, Any]:
    return {"student": {"price": price}, "teacher": {"price": price, "max_concurrent": 1}}


def escalated(scene: Stage) -> None:
    scene.student.reply = Reply(body=completion("Rome?", UNSURE), delay_seconds=0.02)
    scene.teacher.reply = Reply(body=completion("Paris."), delay_seconds=0.05)
    assert scene.ask().status_code == 200


def paid(scene: Stage, role: str) -> float:
    name = "understudy_cost_usd_total"
    kinds = ("served", "wasted", "retry", "shadow", "audit")
    return sum(scene.metric(name, cascade="assistant", role=role, kind=kind) for kind in kinds)


def test_calls_cost_their_time_and_the_rest_is_idle(tmp_path: Path) -> None:
    with stage(tmp_path, cascade=cascade(BY_TIME)) as scene:
        escalated(scene)
        (pair,) = (json.loads(line)["pair"] for line in scene.pairs())
        for leg in pair["legs"]:
            taken = Decimal(leg["cost_usd"])
            assert float(taken) == pytest.approx(leg["seconds"], abs=1e-6)
            assert float(taken) > 0.01
            assert paid(scene, leg["role"]) == pytest.approx(float(taken))
            rent = scene.metric(
                "understudy_gpu_rent_usd_total", cascade="assistant", role=leg["role"]
            )
            assert rent > paid(scene, leg["role"])
        assert (
            scene.metric(
                "understudy_cost_unknown_total", cascade="assistant", role="student", cause="usage"
            )
            == 0
        )


def test_a_rent_by_tokens_is_a_price_for_them(tmp_path: Path) -> None:
    """Two dollars a second, for 1,000 tokens that are read or 100 that are written."""
    with stage(tmp_path, cascade=cascade(BY_TOKENS)) as scene:
        escalated(scene)
        for role in ("student", "teacher"):
            assert paid(scene, role) == pytest.approx(100 * 0.002 + 10 * 0.02)
        baseline = scene.metric(
            "understudy_baseline_usd_total", cascade="assistant", basis="measured"
        )
        assert baseline * PICO_PER_USD == pytest.approx(0.4 * PICO_PER_USD)
