import numpy as np
import pytest

from evaluation import prompts
from evaluation.features import prompt_in
from evaluation.fit import fit_estimate
from evaluation.folds import folds_of
from evaluation.prompts import fit_prompt
from tests.evaluation.made import answers, record_of, table_of


def test_the_export_says_the_same_to_the_ninth_digit() -> None:
    documents = list(answers(300))
    documents[0].pop("group")
    table = table_of(documents)
    model, _ = fit_prompt(table, table.outcomes.student, folds_of(table.keys, 4, 0))
    exported = model.export()
    said = [exported.of(prompt_in(record_of(each))) for each in documents]
    np.testing.assert_allclose(model.predict(table), said, atol=1e-9)


def test_hard_words_are_found_on_other_folds() -> None:
    table = table_of(answers(600))
    _, estimate = fit_prompt(table, table.outcomes.student, folds_of(table.keys, 4, 0))
    hard = np.array(["integral" in each["prompt"] for each in answers(600)])
    assert estimate[hard].mean() < estimate[~hard].mean() - 0.1


def test_groups_alone_are_enough() -> None:
    documents = list(answers(200, with_prompt=False))
    for place, each in enumerate(documents):
        each["student"]["ok"] = place % 2 == 0
    table = table_of(documents)
    model, estimate = fit_prompt(table, table.outcomes.student, folds_of(table.keys, 4, 0))
    assert estimate[table.groups == "easy"].min() > estimate[table.groups == "odd"].max()
    assert model.export().surface is None


@pytest.mark.parametrize("other", ["odd", None])
def test_a_group_of_one_record_is_no_error(other: str | None) -> None:
    """Of four folds three are fitted on records of which all name the same group."""
    documents = list(answers(40, with_prompt=False))
    for place, each in enumerate(documents):
        each["group"] = "easy" if place else other
    table = table_of(documents)
    model, estimate = fit_prompt(table, table.outcomes.student, folds_of(table.keys, 4, 0))
    assert np.isfinite(estimate).all()
    names = {"easy"} if other is None else {"easy", "odd"}
    assert model.export().groups.keys() == names


def test_prompts_that_tell_nothing_are_left_out() -> None:
    table = table_of(answers(200))
    noise = np.random.default_rng(0).random(200)
    fold = folds_of(table.keys, 4, 0)
    found, estimate = fit_estimate(table, noise, fold)
    if found is not None:  # chance may find a little
        assert np.std(estimate) < 0.1
    constant, estimate = fit_estimate(table, np.full(200, 0.5), fold)
    assert constant is None
    assert (estimate == 0.5).all()
    groups = table_of(answers(50, with_prompt=False))
    alone = groups.take(groups.groups == "easy")
    assert fit_estimate(alone, noise[: alone.n], fold[: alone.n])[0] is None


def test_bidiagonalisation_is_ridge_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "STEPS", 1000)
    table = table_of(answers(60))
    target = table.outcomes.student
    alpha = 3.0
    (model,) = prompts._fit_all(table, target, (alpha,))
    rows = model.space.matrix(table.prompts, table.groups).toarray()
    rows, wanted = rows - rows.mean(axis=0), target - target.mean()
    square = rows.T @ rows + alpha * np.eye(rows.shape[1])
    np.testing.assert_allclose(model.weights, np.linalg.solve(square, rows.T @ wanted), atol=1e-8)


def test_rare_terms_go_first_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "MOST_TERMS", 10)
    table = table_of(answers(100))
    model, _ = fit_prompt(table, table.outcomes.student, folds_of(table.keys, 4, 0))
    assert 0 < len(model.space.places) <= 10
