import numpy as np
import pytest

from evaluation.fit import Options
from evaluation.methods import Compared, compare, steps
from evaluation.report import curves_document, reliability_document, report, shown
from tests.evaluation.made import JsonRecord, answers, prompts_alone, signals_alone, table_of

KEYS = ("apgr", "auroc", "ece", "cpt50", "cpt80", "cpt95", "saved95", "saved99")


def compared(documents: list[JsonRecord]) -> tuple[Compared, list[str]]:
    told: list[str] = []
    table = table_of(documents)
    found = compare(table, Options(), 3, told.append)
    assert len(told) == steps(table, 3)
    return found, told


def test_every_method_stands_beside_the_others() -> None:
    documents = list(answers(300, teacher=0.9))
    found, _ = compared(documents)
    assert {
        "random", "mean_logprob", "signal:mean_probability", "signal:min_margin", "best_signal",
        "pre_generation", "learnt", "learnt_pre", "oracle",
    } <= set(found.rankings)  # fmt: skip
    assert "signal:finished" not in found.rankings
    assert sum(found.chosen["rule"].values()) == sum(found.chosen["signal"].values()) == 3
    table = table_of(documents)
    made = report(table.outcomes, found.rankings, 0.05, rounds=20)
    methods = made.document["methods"]
    assert {"always_student", "always_teacher"} <= set(methods)
    assert all(key in methods[name] for name in methods for key in KEYS)
    low, high = methods["learnt"]["intervals"]["apgr"]
    assert low < methods["learnt"]["apgr"] < high
    pair = made.document["differences"]["learnt - best_signal"]["apgr"]
    assert pair["difference"] == pytest.approx(
        methods["learnt"]["apgr"] - methods["best_signal"]["apgr"]
    )
    assert pair["interval"][0] <= pair["interval"][1]
    assert methods["oracle"]["apgr"] > methods["learnt"]["apgr"] > methods["random"]["apgr"]
    curves = curves_document(made, table.outcomes, found.rankings)
    assert len(curves["methods"]["learnt"]["quality"]) == len(curves["share_escalated"])
    stated = reliability_document(table.outcomes, found.rankings)
    assert "learnt" in stated
    assert "random" not in stated
    assert shown(methods)[:3] == ["always_student", "always_teacher", "random"]
    assert not [name for name in shown(methods, every_signal=False) if ":" in name]


def test_prompts_alone_make_a_router() -> None:
    found, _ = compared(list(prompts_alone(200)))
    assert set(found.rankings) == {"random", "pre_generation", "oracle"}


def test_signals_alone_make_a_cascade() -> None:
    documents = [
        {key: value for key, value in each.items() if key != "group"} for each in signals_alone(200)
    ]
    found, _ = compared(documents)
    assert {"signal:p_true", "signal:logit", "learnt", "best_signal"} <= set(found.rankings)
    assert not {"pre_generation", "learnt_pre", "mean_logprob"} & set(found.rankings)


def test_nothing_known_leaves_chance_and_the_oracle() -> None:
    documents = [
        {"id": str(place), "student": {"ok": place % 2}, "teacher": {"ok": 1}}
        for place in range(20)
    ]
    found, _ = compared(documents)
    assert set(found.rankings) == {"random", "oracle"}


def test_sampled_evidence_is_charged() -> None:
    documents = list(answers(120, with_prompt=False))
    for each in documents:
        each["student"]["signals"] = {"agreement": 1.0 if each["student"]["ok"] else 0.3}
        each["student"]["samples"] = 3
    rankings = compared(documents)[0].rankings
    assert rankings["signal:agreement"].student_price == pytest.approx(0.15)
    assert rankings["learnt"].student_price == pytest.approx(0.15)
    assert rankings["signal:mean_probability"].student_price == pytest.approx(0.05)


def test_methods_that_say_the_same_share_their_resamples() -> None:
    table = table_of(answers(100))
    rankings = compare(table, Options(), 2, lambda _: None).rankings
    twice = {"one": rankings["learnt"], "other": rankings["learnt"]}
    made = report(table.outcomes, twice, 0.05, rounds=5)
    assert made.resampled.samples["one"] is made.resampled.samples["other"]


def test_undefined_measures_are_told() -> None:
    table = table_of(answers(60, teacher=0.0))
    made = report(
        table.outcomes, compare(table, Options(), 2, lambda _: None).rankings, 0.05, rounds=5
    )
    assert "not better than the student" in made.document["warnings"][0]
    assert made.document["methods"]["learnt"]["apgr"] is None
    assert made.document["methods"]["learnt"]["pgr50"] is None
    assert made.document["differences"]["learnt - best_signal"]["apgr"] is None
    alike = [each | {"student": each["student"] | {"ok": False}} for each in answers(60)]
    same = table_of(alike)
    found = report(
        same.outcomes, compare(same, Options(), 2, lambda _: None).rankings, 0.05, rounds=5
    )
    assert "all drafts" in found.document["warnings"][0]
    assert found.document["methods"]["learnt"]["auroc"] is None
    assert np.isnan(found.resampled.samples["learnt"]["auroc"]).all()
