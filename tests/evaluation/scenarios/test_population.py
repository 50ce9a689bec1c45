from pathlib import Path

import numpy as np
import pytest

from evaluation.errors import EvaluationError
from evaluation.scenarios.population import SILENT, auroc_of, population_of, risks_of
from evaluation.scenarios.scenario import Kind, Recorded
from routing.policy import uncalibrated_default
from tests.evaluation.made import answers, written
from tests.evaluation.scenarios.made_up import scenario


@pytest.mark.parametrize(("disagreement", "auroc"), [(0.3, 0.85), (0.1, 0.7), (0.45, 0.95)])
def test_made_up_requests_have_the_disagreement_and_the_auroc_that_were_asked(
    disagreement: float, auroc: float
) -> None:
    risk = risks_of(disagreement, auroc, 2000)
    assert risk.mean() == pytest.approx(disagreement, abs=1e-6)
    assert auroc_of(risk) == pytest.approx(auroc, abs=1e-4)
    assert (np.diff(risk) <= 0).all()


def test_what_no_population_has_is_refused() -> None:
    with pytest.raises(EvaluationError, match=r"auroc: no population has 0\.9999"):
        risks_of(0.5, 0.9999, 200)


def test_merits_are_what_the_risks_say_unless_drafts_are_overconfident() -> None:
    kinds = {"sober": Kind(0.5, 0.2, 0.8), "bold": Kind(0.5, 0.2, 0.8, overconfidence=1.0)}
    made = population_of(scenario(kinds=kinds))
    bold = made.kind == 1
    assert made.merit[~bold] == pytest.approx(1.0 - made.risk[~bold])
    assert (made.merit[bold] > 1.0 - made.risk[bold]).all()
    assert (np.diff(made.merit) <= 0).all()


def test_costs_spread_around_their_mean() -> None:
    made = population_of(scenario(spread=0.8))
    mean = 600 * 600_000 + 200 * 2_400_000
    assert made.teacher_pico.mean() == pytest.approx(mean, rel=1e-6)
    assert made.teacher_pico.max() > 5 * mean
    assert made.student_pico / made.teacher_pico == pytest.approx(24 / 840, rel=1e-3)


def test_records_are_requests_with_their_groups_weights_and_costs(tmp_path: Path) -> None:
    documents = list(answers(80))
    for number, each in enumerate(documents):
        each["student"]["cost_usd"], each["teacher"]["cost_usd"] = 0.0001, 0.002
        if each["group"] == "odd":
            each["weight"] = 3.0
        if number < 5:
            del each["student"]["token_logprobs"], each["student"]["top_logprobs"]
    path = written(tmp_path / "r.jsonl", documents)
    found = population_of(scenario(kinds=Recorded(path)), uncalibrated_default())
    assert found.kinds == ("easy", "odd")
    assert found.shares == pytest.approx([0.25, 0.75])
    assert (found.merit == SILENT).sum() == 5
    assert set(found.risk) == {0.0, 1.0}
    assert not found.is_graded
    assert set(found.teacher_pico) == {2_000_000_000}
    assert set(found.student_pico) == {100_000_000}
    assert found.risk.mean() == 1 - np.mean([each["student"]["ok"] for each in documents])


def test_records_without_a_policy_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="a policy must say"):
        population_of(scenario(kinds=Recorded(tmp_path / "none.jsonl")))
