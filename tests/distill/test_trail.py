import json
from pathlib import Path

import pytest

from distill.trail import Point, Trail, best_of


def filled(path: Path | None) -> Trail:
    trail = Trail(path)
    trail.add(Point("sft", 0, 0.0, holdout_loss=3.0))
    for step in range(1, 21):
        trail.add(Point("sft", step, float(step), loss=20.0 - step, learning_rate=0.1))
        if step % 10 == 0:
            trail.add(Point("sft", step, step + 0.5, holdout_loss=2.0 + step / 100))
    return trail


def test_each_point_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "training.jsonl"
    filled(path)
    lines = path.read_text().splitlines()
    assert len(lines) == 23
    assert json.loads(lines[1]) == {
        "stage": "sft",
        "step": 1,
        "seconds": 1.0,
        "loss": 19.0,
        "learning_rate": 0.1,
    }


def test_it_goes_on_where_it_was_left(tmp_path: Path) -> None:
    path = tmp_path / "training.jsonl"
    before = filled(path)
    path.write_bytes(path.read_bytes() + b'{"stage": "sf')  # a kill cut it
    after = Trail(path)
    assert after.points == before.points
    assert after.seconds == 20.5


def test_going_back_forgets_what_is_done_again(tmp_path: Path) -> None:
    path = tmp_path / "training.jsonl"
    trail = filled(path)
    trail.add(Point("dpo", 1, 21.0, loss=0.7))
    trail.go_back("dpo", 0)
    assert trail.points[-1].step == 20
    trail.go_back("sft", 10)
    assert [point.step for point in trail.points][-2:] == [10, 10]
    assert Trail(path).points == trail.points
    trail.go_back("sft", -1)
    assert path.read_bytes() == b""


def test_a_stage_that_has_not_begun_forgets_nothing() -> None:
    trail = filled(None)
    trail.go_back("dpo", -1)
    assert len(trail.points) == 23


def test_the_loss_is_the_mean_of_the_last_tenth() -> None:
    assert filled(None).metrics("sft") == {
        "steps": 20,
        "loss": pytest.approx(0.5),  # of steps 19 and 20
        "holdout_loss": 2.1,
        "holdout_loss_before": 3.0,
    }


def test_a_short_stage_has_its_last_loss() -> None:
    trail = Trail(None)
    trail.add(Point("dpo", 1, 0.0, loss=0.7))
    trail.add(Point("dpo", 40, 0.0, holdout_loss=1.0))
    assert trail.metrics("dpo")["loss"] == 0.7


def test_nothing_measured_is_none() -> None:
    assert Trail(None).seconds == 0.0
    assert best_of([Point("sft", 0, 0.0, holdout_loss=1.0)]) is None
    assert Trail(None).metrics("sft") == {
        "steps": 0,
        "loss": None,
        "holdout_loss": None,
        "holdout_loss_before": None,
    }
