"""What is held out of requests that are judged whole, and who is never held out."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.facts import BothAnswered
from routing.baseline import Correction
from routing.vocabulary import Basis
from tests.fakes.observer import RememberingObserver
from tests.fakes.pair_schema import valid_pair
from tests.fakes.scripted_log import ScriptedLog
from tests.fakes.serving import Stage, stage, wait_until
from tests.fakes.upstream import UNSURE, Reply, completion

QUARTER: dict[str, Any] = {"audit": {"complete_drafts": 0, "holdout": 0.25}}
# 100 tokens of input and 10 of output, or the teacher's 30, at its prices in pico-dollars.
PREDICTED, MEASURED = 100 * 600_000 + 10 * 2_400_000, 100 * 600_000 + 30 * 2_400_000
# Held out with one quarter: it stands for three more.
CORRECTED = Correction(3 * (MEASURED - PREDICTED), 12 * (MEASURED - PREDICTED) ** 2)
TAUGHT_USAGE = {"prompt_tokens": 100, "completion_tokens": 30, "total_tokens": 130}


@contextmanager
def holding_out(
    folder: Path, settings: dict[str, Any] | None = None, **cascade: Any
) -> Iterator[tuple[Stage, RememberingObserver]]:
    """A stage with a student that is sure, and a coin that says that its drafts are held out."""
    with stage(folder, cascade=QUARTER | cascade, settings=settings) as scene:
        context = scene.gateway.context
        wait_until(lambda: not context.background)
        context.dice = lambda: 0.24
        scene.teacher.reply = Reply(body=completion("Lyon.", usage=TAUGHT_USAGE))
        observer = context.observer = RememberingObserver(context.observer)
        yield scene, observer


@pytest.mark.parametrize("request_", [{}, {"n": 2, "stream": True}], ids=["plain", "replayed"])
def test_the_teacher_answers_in_place_of_a_draft_that_is_enough(
    tmp_path: Path, request_: dict[str, Any]
) -> None:
    body = completion()
    body["choices"] *= request_.get("n", 1)
    with holding_out(tmp_path) as (scene, observer):
        scene.student.reply = Reply(body=body)
        response = scene.ask(**request_)
        assert "Lyon." in response.text
        assert response.headers["x-understudy-served-by"] == "teacher"
        assert response.headers["x-understudy-reason"] == "holdout"
        (fact,) = observer.settled_facts
        assert fact.ending == "escalated"
        assert [fact.kind_of(leg) for leg in fact.legs] == ["shadow", "served"]
        seen = BothAnswered("assistant", None, Basis.SAMPLE, CORRECTED, is_learnt=True)
        assert observer.answered_facts == [seen]
        (pair,) = map(valid_pair, scene.pairs())
        assert (pair["reason"], pair["propensity"]) == ("holdout", 0.25)
        assert pair["draft_complete"] is True
        assert pair["confidence"] > 0.9


def test_one_coin_is_thrown_for_each_request_and_none_without_a_share(tmp_path: Path) -> None:
    thrown = []

    def dice() -> float:
        thrown.append(0.25)
        return 0.25

    with holding_out(tmp_path) as (scene, _):
        scene.gateway.context.dice = dice
        assert scene.ask().headers["x-understudy-served-by"] == "student"  # at the edge
        assert len(thrown) == 1
    (tmp_path / "none").mkdir()
    with stage(tmp_path / "none") as scene:
        scene.gateway.context.dice = dice
        scene.ask()
        assert len(thrown) == 1


def test_of_several_drafts_the_one_that_speaks_for_them_is_compared(tmp_path: Path) -> None:
    body = completion("Paris.")
    body["choices"] = [{**body["choices"][0], "index": place} for place in range(3)]
    body["usage"] = {"prompt_tokens": 100, "completion_tokens": 30, "total_tokens": 130}
    with holding_out(tmp_path, samples=3, comparator={"kind": "exact"}) as (scene, observer):
        scene.student.reply = Reply(body=body)
        scene.ask(temperature=0.7)
        (fact,) = observer.settled_facts
        assert {fact.kind_of(leg) for leg in fact.legs if leg.role == "student"} == {"shadow"}
        assert [seen.correction for seen in observer.answered_facts] == [CORRECTED]
        (pair,) = map(valid_pair, scene.pairs())
        assert pair["samples"] == 3


def test_a_draft_of_the_wrong_form_is_deferred_for_that(tmp_path: Path) -> None:
    with holding_out(tmp_path) as (scene, observer):
        scene.ask(response_format={"type": "json_object"})
        (fact,) = observer.settled_facts
        assert fact.reason == "invalid_structure"
        (seen,) = observer.answered_facts
        assert seen == BothAnswered("assistant", None, Basis.ESCALATIONS, None, is_learnt=True)


def test_a_deferred_draft_teaches_and_is_no_part_of_the_sample(tmp_path: Path) -> None:
    with holding_out(tmp_path) as (scene, observer):
        scene.student.reply = Reply(body=completion(logprob=UNSURE))
        scene.ask()
        assert observer.settled_facts[0].reason == "low_confidence"
        (pair,) = map(valid_pair, scene.pairs())
        assert pair["propensity"] == 1.0
        assert [seen.basis for seen in observer.answered_facts] == [Basis.ESCALATIONS]


def test_who_may_not_escalate_is_never_held_out(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    digest = hashlib.sha256(b"key-of-ann").hexdigest()
    key = {"name": "ann", "sha256": digest, "may_escalate": False}
    path.write_text(yaml.safe_dump({"keys": [key]}))
    with holding_out(tmp_path, {"keys_file": path}) as (scene, observer):
        scene.client.headers["authorization"] = "Bearer key-of-ann"
        response = scene.ask()
        assert response.headers["x-understudy-served-by"] == "student"
        assert response.headers["x-understudy-reason"] == "confident"
        assert observer.settled_facts[0].denials == []
        assert scene.teacher.requests == []


def test_whose_pairs_are_not_stored_is_held_out_all_the_same(tmp_path: Path) -> None:
    with holding_out(tmp_path) as (scene, observer):
        assert scene.ask(store=False).headers["x-understudy-reason"] == "holdout"
        assert [seen.correction for seen in observer.answered_facts] == [CORRECTED]
        assert scene.pairs() == []


@pytest.mark.parametrize("when_full", ["count", "refuse"])
def test_a_full_journal_forbids_it_where_the_operator_insists(
    tmp_path: Path, when_full: str
) -> None:
    with holding_out(tmp_path, {"journal_when_full": when_full}) as (scene, observer):
        scene.gateway.context.pairs = ScriptedLog(has_room=False, is_taking=False)
        response = scene.ask()
        assert "x-understudy-degraded" not in response.headers
        served = {"count": ("teacher", "holdout"), "refuse": ("student", "confident")}
        who, why = served[when_full]
        assert response.headers["x-understudy-served-by"] == who
        assert response.headers["x-understudy-reason"] == why
        assert observer.settled_facts[0].denials == []


def test_where_the_room_goes_meanwhile_the_draft_is_served_as_kept(tmp_path: Path) -> None:
    """Its prediction is in the baseline, and no correction: it is as though it were not drawn."""
    settings = {"journal_when_full": "refuse"}
    with holding_out(tmp_path, settings, degraded="refuse") as (scene, observer):
        scene.gateway.context.pairs = ScriptedLog(has_room=True, is_taking=False)
        response = scene.ask()
        assert response.json()["choices"][0]["message"]["content"] == "Paris."
        assert response.headers["x-understudy-reason"] == "confident"
        assert "x-understudy-degraded" not in response.headers
        (fact,) = observer.settled_facts
        assert (fact.ending, fact.degraded) == ("kept", None)
        assert [fact.kind_of(leg) for leg in fact.legs] == ["served", "wasted"]
        assert fact.baseline is not None
        assert (fact.baseline.pico, fact.baseline.basis) == (PREDICTED, Basis.PRICES)
        assert observer.answered_facts == []


@pytest.mark.parametrize("degraded", ["serve", "refuse"])
def test_a_teacher_that_fails_leaves_a_kept_draft(tmp_path: Path, degraded: str) -> None:
    with holding_out(tmp_path, degraded=degraded) as (scene, observer):
        scene.teacher.reply = Reply(status=500)
        response = scene.ask()
        assert response.status_code == 200
        assert response.headers["x-understudy-reason"] == "confident"
        assert "x-understudy-degraded" not in response.headers
        assert observer.settled_facts[0].ending == "kept"
        assert observer.answered_facts == []


@pytest.mark.parametrize("silent", ["student", "teacher"])
def test_without_both_bills_nothing_is_corrected_and_that_is_counted(
    tmp_path: Path, silent: str
) -> None:
    with holding_out(tmp_path) as (scene, observer):
        model = scene.student if silent == "student" else scene.teacher
        model.reply = Reply(body=completion(usage=None))
        scene.ask()
        seen = BothAnswered("assistant", None, Basis.SAMPLE, None, is_learnt=False)
        assert observer.answered_facts == [seen]
        unknown = {"cascade": "assistant", "cause": "observation"}
        assert scene.metric("understudy_baseline_unknown_total", **unknown) == 1
        baseline = observer.settled_facts[0].baseline
        assert baseline is not None
        basis = Basis.MEASURED if silent == "student" else Basis.PRICES
        assert baseline.basis is basis


def test_without_the_teachers_price_there_is_no_baseline(tmp_path: Path) -> None:
    with holding_out(tmp_path, teacher={"price": None}) as (scene, observer):
        scene.ask()
        (seen,) = observer.answered_facts
        assert (seen.correction, seen.is_learnt) == (None, True)
        unknown = {"cascade": "assistant", "cause": "price"}
        assert scene.metric("understudy_baseline_unknown_total", **unknown) == 1


def test_what_is_predicted_rests_on_what_was_known_before_the_draft(tmp_path: Path) -> None:
    """The twentieth observation is the first to be learnt from, and not for itself."""
    with holding_out(tmp_path) as (scene, observer):
        for _ in range(20):
            scene.ask()
        assert [seen.correction for seen in observer.answered_facts] == [CORRECTED] * 20
        scene.ask()
        assert observer.answered_facts[-1].correction == Correction(0, 0)
        scene.gateway.context.dice = lambda: 0.25
        scene.ask()
        baseline = observer.settled_facts[-1].baseline
        assert baseline is not None
        assert (baseline.pico, baseline.basis) == (MEASURED, Basis.SAMPLE)
