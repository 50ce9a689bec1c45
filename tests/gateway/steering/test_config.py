"""What a cascade may be held to, and what is refused with the way out."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cascades import LoadedCascade, load_cascades
from gateway.config_file import ConfigError
from gateway.steering.aim import Aim
from gateway.steering.config import QualityConfig, RateConfig, SpendConfig, SteeredConfig
from routing.errors import PolicyError
from routing.pacing import Pacer
from routing.pacing_goal import RateGoal
from routing.steering import KEEP_NOTHING
from routing.vocabulary import Threshold
from tests.fakes.serving import cascade_document

QUALITY = {"kind": "quality", "disagreement_at_most": 0.05, "with_probability": 0.95}
SPEND = {"kind": "spend", "usd_per_hour": 12}


def load(folder: Path, **changes: Any) -> LoadedCascade:
    path = folder / "c.yaml"
    document = cascade_document("http://student", "http://teacher", **changes)
    path.write_text(yaml.safe_dump({"cascades": {"assistant": document}}))
    (loaded,) = load_cascades(path, lambda _: None)
    return loaded


def test_every_kind_is_read(tmp_path: Path) -> None:
    quality = load(tmp_path, objective=QUALITY).config.objective
    assert isinstance(quality, QualityConfig)
    assert (quality.release, quality.hold_at_most, quality.delta) == (0.8, 6_000, 0.05)
    spend = load(tmp_path, objective=SPEND | {"cap_usd_per_hour": 15}).config.objective
    assert isinstance(spend, SpendConfig)
    assert (spend.target_pico, spend.cap_pico) == (12 * 10**12, 15 * 10**12)
    rate = {"kind": "escalation_rate", "at_most": 0.15}
    assert load(tmp_path, objective=rate).config.objective == RateConfig.model_validate(rate)


@pytest.mark.parametrize(
    ("changes", "place", "words"),
    [
        ({"objective": QUALITY, "audit": {"share": 0}}, "audit.share", "about 0.02"),
        ({"objective": QUALITY, "pairs": {"store": False}}, "pairs.store", "allows no audits"),
        (
            {"objective": QUALITY | {"disagreement_at_most": 0}},
            "objective.disagreement_at_most",
            "greater than 0",
        ),
        (
            {"objective": QUALITY | {"disagreement_at_most": 0.51}},
            "objective.disagreement_at_most",
            "less than or equal to 0.5",
        ),
        (
            {"objective": QUALITY | {"with_probability": 1.0}},
            "objective.with_probability",
            "less than 1",
        ),
        (
            {"objective": QUALITY | {"with_probability": 0.4}},
            "objective.with_probability",
            "greater than or equal to 0.5",
        ),
        ({"objective": SPEND, "teacher": {"price": None}}, "teacher.price", "add its price"),
        (
            {"objective": SPEND | {"cap_usd_per_hour": 12}},
            "objective",
            "would hold the target down",
        ),
        ({"objective": SPEND | {"usd_per_hour": 0}}, "objective", "must be above 0"),
        ({"objective": [QUALITY, SPEND]}, "objective", "keys and values"),
        ({"objective": {"kind": "magic"}}, "objective", "'escalation_rate', 'spend', 'quality'"),
    ],
)
def test_what_cannot_be_held_to_is_refused_with_its_place(
    tmp_path: Path, changes: dict[str, Any], place: str, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, **changes)
    assert f"cascades.assistant.{place}" in str(caught.value)
    assert words in str(caught.value)


def aim(objective: SteeredConfig, subject: str = "student-1") -> Aim:
    return Aim(objective, subject, Threshold(0.6), 0.02, 0.05)


RATE = RateConfig(kind="escalation_rate", at_most=0.25)


def test_an_aim_is_told_by_objective_and_student() -> None:
    other = RateConfig(kind="escalation_rate", at_most=0.3)
    assert aim(RATE).digest == aim(RATE).digest
    assert len({aim(RATE).digest, aim(other).digest, aim(RATE, "student-2").digest}) == 3


def test_another_figure_of_one_kind_keeps_what_was_learnt() -> None:
    document = aim(RATE).begin(7).document()
    other = aim(RateConfig(kind="escalation_rate", at_most=0.3)).resume(document)
    assert isinstance(other, Pacer)
    assert isinstance(other.goal, RateGoal)
    assert (other.goal.at_most, other.standing.revision) == (0.3, 9)
    assert aim(RATE).resume(document).standing.revision == 8


def test_of_another_student_or_kind_nothing_counts() -> None:
    document = aim(RATE).begin(0).document()
    with pytest.raises(PolicyError, match="another's"):
        aim(RATE, "student-2").resume(document)
    with pytest.raises(PolicyError, match="cannot become"):
        aim(SpendConfig.model_validate(SPEND)).resume(document)


def test_a_promise_goes_on_where_it_was() -> None:
    quality = QualityConfig.model_validate(QUALITY)
    first = aim(quality).begin(3)
    again = aim(quality).resume(first.document())
    assert again.standing == first.standing
    assert again.standing.threshold == KEEP_NOTHING
    stricter = QUALITY | {"disagreement_at_most": 0.02}
    changed = aim(QualityConfig.model_validate(stricter)).resume(first.document())
    assert changed.standing.revision > first.standing.revision
