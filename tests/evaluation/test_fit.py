from itertools import pairwise

import numpy as np
import pytest

from evaluation.candidates import Scorer
from evaluation.curves import Ranking, measure
from evaluation.errors import EvaluationError
from evaluation.features import Table, prompt_in
from evaluation.fit import SINGLE, Options, best_signal, fit, merit_of
from evaluation.folds import folds_of, splits
from evaluation.records import draft_of
from evaluation.rules import Fitted
from routing import Rule, Threshold, signals_of
from tests.evaluation.made import (
    JsonRecord,
    answers,
    prompts_alone,
    record_of,
    signals_alone,
    table_of,
)


def apgr(table: Table, merit: np.ndarray) -> float:
    found = measure(table.outcomes, Ranking(merit))["apgr"]
    assert found is not None
    return found


def check_parity(fitted: Fitted, documents: list[JsonRecord]) -> None:
    """What was fitted says of each record what routing says of it with the exported numbers."""
    parts = fitted.export()
    rule = Rule(
        parts.score, parts.calibration, Threshold(0.5), by_group=parts.by_group, gain=parts.gain
    )
    judged = fitted.judge(table_of(documents))
    for place, record in enumerate(map(record_of, documents)):
        prompt = prompt_in(record)
        promised = None if parts.prompt is None else parts.prompt.estimate(prompt)
        draft = draft_of(record.student)
        features = rule.features(signals_of(draft), draft.text, prompt.group, promised)
        opinion = rule.opinion(features, prompt.group)
        if opinion is None:
            assert np.isnan(judged.merit[place])
            continue
        assert judged.confidence[place] == pytest.approx(opinion.confidence.value, abs=1e-9)
        assert judged.merit[place] == pytest.approx(opinion.merit.value, abs=1e-9)
        if parts.prompt is not None and promised is not None:
            bar = parts.prompt.bar_of(promised).value
            assert judged.bar[place] == pytest.approx(bar, abs=1e-9)


@pytest.mark.parametrize("teacher", [1.0, 0.8])
@pytest.mark.parametrize("with_prompt", [True, False])
def test_what_is_fitted_is_what_routing_applies(teacher: float, with_prompt: bool) -> None:
    documents = list(answers(500, teacher=teacher, with_prompt=with_prompt))
    documents[3]["student"] = {"ok": False}
    documents[4]["student"].pop("text")
    documents[5].pop("group")
    fitted = fit(table_of(documents), Options())
    assert (fitted.rule.gain is None) == (teacher == 1.0 or fitted.rule.gain is None)
    assert (fitted.prompt is not None) == with_prompt
    check_parity(fitted, documents)


@pytest.mark.parametrize("teacher", [1.0, 0.8])
def test_a_single_signal_is_exported_too(teacher: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.fit.LEAST_RECORDS", 10_000)
    documents = list(answers(300, teacher=teacher))
    for place, each in enumerate(documents):
        each["student"]["ok"] = each["student"]["ok"] and place % 2 == 0
    documents[3]["student"] = {"ok": False}
    fitted = fit(table_of(documents), Options())
    assert fitted.rule.chosen == SINGLE
    assert (fitted.rule.gain is None) == (teacher == 1.0)
    assert bool(fitted.rule.by_group) == (teacher == 1.0)
    check_parity(fitted, documents)


@pytest.mark.parametrize("teacher", [1.0, 0.85])
def test_what_can_be_learnt_is_learnt(teacher: float) -> None:
    table = table_of(answers(1500, teacher=teacher))
    later = table_of(answers(1500, seed=1, teacher=teacher))
    fitted = fit(table, Options())
    judged = fitted.judge(later)
    name = best_signal(table)
    best = apgr(later, later.signals[:, later.names.index(name)])
    assert apgr(later, judged.merit) > best + 0.03
    assert apgr(later, np.minimum(judged.merit, judged.bar)) > best + 0.03
    ece = measure(later.outcomes, Ranking(judged.merit, stated=judged.confidence))["ece"]
    assert ece is not None
    assert ece < 0.06


@pytest.mark.parametrize("n", [100, 250])
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.full) for seed in range(1, 4))]
)
def test_small_data_do_no_harm(n: int, seed: int) -> None:
    """One signal that says all there is: nothing learnt from few records may lose it."""
    generator = np.random.default_rng(seed)

    def drawn(count: int) -> list[JsonRecord]:
        sure = generator.random(count)
        return [
            {
                "id": str(place),
                "student": {
                    "signals": {"p": float(each), "q": float(generator.random())},
                    "ok": bool(generator.random() < each),
                },
                "teacher": {"ok": bool(generator.random() < 0.9)},
            }
            for place, each in enumerate(sure)
        ]

    later = table_of(drawn(4000))
    judged = fit(table_of(drawn(n)), Options(seed=seed)).judge(later)
    best = apgr(later, later.signals[:, later.names.index("evidence:p")])
    assert apgr(later, judged.merit) > best - 0.03


@pytest.mark.parametrize("n", [8, 40, 90])
def test_very_few_records_fall_back_to_the_best_signal(n: int) -> None:
    documents = list(answers(n))
    for place, each in enumerate(documents):
        each["student"]["ok"] = place < 2
    fitted = fit(table_of(documents), Options())
    assert fitted.rule.chosen == SINGLE
    check_parity(fitted, documents)


def test_all_drafts_alike_are_no_error() -> None:
    documents = [each | {"student": each["student"] | {"ok": True}} for each in answers(120)]
    judged = fit(table_of(documents), Options()).judge(table_of(documents))
    assert (judged.confidence > 0.9).all()


def test_weights_count() -> None:
    documents = list(answers(200))
    for each in documents:
        each["weight"] = 4.0 if each["group"] == "odd" else 1.0
    fitted = fit(table_of(documents), Options())
    assert np.isfinite(fitted.judge(table_of(documents)).merit).all()


def test_merit_is_acceptance_where_the_teacher_is_always_as_good() -> None:
    _, is_probability = merit_of(table_of(answers(20)))
    assert is_probability
    target, is_probability = merit_of(table_of(answers(200, teacher=0.5)))
    assert not is_probability
    assert set(target) == {0.0, 0.5, 1.0}


def test_a_dearer_draft_must_be_kept_more_often() -> None:
    table = table_of(answers(300))
    margins = [fit(table, Options(price_ratio=ratio)).margin for ratio in (2.0, 5.0, 20.0)]
    assert all(left < right for left, right in pairwise(margins))


def test_a_rule_may_leave_the_prompt_out() -> None:
    table = table_of(answers(400))
    assert "prompt_merit" not in fit(table, Options(reads_prompt=False)).rule.names


def test_no_policy_rests_on_what_no_gateway_sees() -> None:
    with pytest.raises(EvaluationError, match="no gateway sees evidence:"):
        fit(table_of(signals_alone(300)), Options()).export()


def test_without_evidence_there_is_no_rule() -> None:
    with pytest.raises(EvaluationError, match="token log-probabilities"):
        fit(table_of(prompts_alone(100)), Options())


def test_a_signal_that_no_record_to_fit_on_has_is_not_the_best() -> None:
    """Of all that are there each is worse than chance, and silence is not."""
    documents = list(answers(40))
    for each in documents:
        each["student"] = {"ok": each["student"]["ok"], "signals": {"p": -each["student"]["ok"]}}
    lone = documents[0] | {"id": "lone", "student": {"ok": 1, "signals": {"q": 0.5}}}
    table = table_of([*documents, lone])
    assert best_signal(table.take(np.arange(40))) == "evidence:p"
    with pytest.raises(EvaluationError, match="of the 40 records to fit on none has"):
        best_signal(table_of([*prompts_alone(40), lone]).take(np.arange(40)))


@pytest.mark.parametrize("heard", [1, 3])
def test_a_few_records_with_evidence_are_enough_for_a_rule(heard: int) -> None:
    documents = list(answers(60))
    for each in documents[heard:]:
        each["student"] = {"ok": each["student"]["ok"]}
    fitted = fit(table_of(documents), Options())
    assert fitted.rule.chosen == SINGLE
    judged = fitted.judge(table_of(documents))
    assert np.isfinite(judged.merit[:heard]).all()
    assert np.isnan(judged.merit[heard:]).all()


def test_merits_out_of_fold_are_of_the_records_that_were_fitted_on() -> None:
    table = table_of(answers(300))
    fitted: Fitted = fit(table, Options())
    assert fitted.out_of_fold.merit.shape == (300,)
    assert fitted.out_of_fold.bar.shape == (300,)
    assert {SINGLE, "narrow", "linear", "trees", "average"} == set(fitted.areas)
    scorer: Scorer | None = fitted.rule.scorer
    assert scorer is not None or fitted.rule.chosen == SINGLE
    assert len(list(splits(folds_of(table.keys, 4, 0)))) == 4
