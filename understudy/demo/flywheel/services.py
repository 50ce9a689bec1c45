"""What the flywheel's cascade is, and where each generation of its student is served.

Nothing is started here.
"""

from dataclasses import dataclass
from pathlib import Path

import yaml

from understudy.demo import teacher_wire
from understudy.demo.options import Model
from understudy.demo.services import STUDENT_PRICE, TEACHER_PRICE, yaml_price

CASCADE = "flywheel"


@dataclass(frozen=True, slots=True)
class Deployment:
    """One version of the student, and where it is served."""

    version: str
    model: Model


def write_config(
    path: Path, deployment: Deployment, teacher: Model, policy: Path | None = None
) -> None:
    """Write a configuration of the cascade with this student to ``path``.

    Without a ``policy`` the uncalibrated default decides.
    """
    cascade = {
        "student": {
            "base_url": deployment.model.base_url,
            "model": deployment.model.name,
            "version": deployment.version,
            "price": yaml_price(STUDENT_PRICE),
        },
        "teacher": {
            "base_url": teacher.base_url,
            "model": teacher.name,
            "price": yaml_price(TEACHER_PRICE),
            "outputs_may_train": teacher.name == teacher_wire.MODEL,
        },
        # No objective: it would overrule the thresholds of all generations to come.
        **({} if policy is None else {"policy": str(policy)}),
        "pairs": {"store": True},
    }
    path.write_text(yaml.safe_dump({"cascades": {CASCADE: cascade}}, sort_keys=False))
