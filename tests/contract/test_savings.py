"""The saving on /metrics, through the gateway and real sockets, beside what is known to be true.

The scripts know what the teacher would have taken for every request, asked or not.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from routing.baseline import NORMAL_95
from routing.money import PICO_PER_USD
from tests.fakes.observer import RememberingObserver
from tests.fakes.script import ROLE, BreakOff, Until, Words, finish, used, whole
from tests.fakes.serving import Stage, stage, wait_until
from tests.fakes.trial import HOPELESS, UNSURE, Trial, words
from tests.fakes.upstream import SURE, Reply, completion

READ, SAID = 100, 10  # what both models' scripts take unless they say otherwise
RESTART = {"x-understudy-handover": "restart"}


def teachers(output: int, read: int = READ) -> int:
    """The teacher's prices, in pico-dollars."""
    return read * 600_000 + output * 2_400_000


def students(output: int, read: int = READ) -> int:
    return read * 20_000 + output * 60_000


# --- a known bill, request by request ---


@dataclass(frozen=True)
class Outcome:
    """What one request adds, in pico-dollars."""

    baseline: int = 0
    correction: int = 0
    cost: int = 0


def kept(trial: Trial) -> Outcome:
    trial.student_says(*whole(words(20)))
    trial.ask("holding").whole()
    return Outcome(teachers(SAID), cost=students(SAID))


def held_out(trial: Trial) -> Outcome:
    trial.stage.gateway.context.dice = lambda: 0.49
    trial.student_says(ROLE, Words(words(20), is_counted=True), *finish(usage=used(40)))
    trial.ask("holding").whole()
    error = teachers(SAID) - teachers(40)
    return Outcome(teachers(SAID), error, teachers(SAID) + students(40))


def held_out_in_vain(trial: Trial) -> Outcome:
    trial.stage.gateway.context.dice = lambda: 0.49
    trial.student_says(*whole(words(20)))
    trial.stage.teacher.reply = Reply(status=500)
    trial.ask("holding").whole()
    return Outcome(teachers(SAID), cost=students(SAID))


def deferred(trial: Trial) -> Outcome:
    trial.student_says(*whole(words(5), UNSURE))
    trial.ask("holding").whole()
    return Outcome(teachers(SAID), cost=students(SAID) + teachers(SAID))


def given_up(trial: Trial) -> Outcome:
    trial.student_says(ROLE, Words(words(8), UNSURE, is_counted=True), Until(trial.event()))
    trial.ask("assistant").whole()
    return Outcome(teachers(SAID), cost=students(8) + teachers(SAID))


def degraded(trial: Trial) -> Outcome:
    trial.student_says(*whole(words(5), UNSURE))
    trial.stage.teacher.reply = Reply(status=500)
    trial.ask("assistant").whole()
    return Outcome(teachers(SAID), cost=students(SAID))


def falls_into_doubt(trial: Trial) -> None:
    sure, doubted = Words(words(16), is_counted=True), Words(words(16), HOPELESS, is_counted=True)
    trial.student_says(ROLE, sure, doubted, Until(trial.event()))


def continued(trial: Trial) -> Outcome:
    falls_into_doubt(trial)
    trial.ask("continuing").whole()
    return Outcome(teachers(32 + SAID), cost=students(32) + teachers(SAID))


def restarted(trial: Trial) -> Outcome:
    falls_into_doubt(trial)
    trial.ask("restarting", headers=RESTART).whole()
    return Outcome(teachers(SAID), cost=students(32) + teachers(SAID))


def left_by_its_client(trial: Trial) -> Outcome:
    trial.student_says(ROLE, Words(words(20), is_counted=True), Until(trial.event()))
    trial.ask("assistant", patience=0.2).wait_for_end()
    return Outcome(cost=students(20))


def broken_off(trial: Trial) -> Outcome:
    trial.student_says(ROLE, Words(words(20), is_counted=True), BreakOff())
    trial.ask("assistant").wait_for_end()
    return Outcome(cost=students(20))


SCENES = (
    kept, held_out, held_out_in_vain, deferred, given_up, degraded, continued, restarted,
    left_by_its_client, broken_off,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_to_requests_nothing_counts_twice(lone_trial: Trial, seed: int) -> None:
    """Hand-overs, disconnects, failures, in any order: each adds what it is known to add."""
    dice, trial, expected = Random(seed), lone_trial, []
    for scene in dice.choices(SCENES, k=3) + dice.sample(SCENES, k=len(SCENES)):
        trial.stage.gateway.context.dice = lambda: 0.99
        trial.teacher_says(*whole(words(5, "t")))
        expected.append(scene(trial))
        wait_until(lambda: len(trial.observer.settled_facts) == len(expected))
        wait_until(lambda: not trial.stage.gateway.context.background)
    sums = pico_sums(trial.stage)
    assert sums["understudy_baseline_usd_total"] == sum(each.baseline for each in expected)
    assert sums["understudy_cost_usd_total"] == sum(each.cost for each in expected)
    corrected = sum(each.correction for each in expected)
    assert sums["up"] - sums["down"] == corrected
    assert len({fact.request_id for fact in trial.observer.settled_facts}) == len(expected)
    held = [each for each in expected if each.correction]
    facts = [each for each in trial.observer.answered_facts if each.correction is not None]
    assert len(facts) == len(held)


def pico_sums(scene: Stage) -> Mapping[str, int]:
    """The sums of dollars of all cascades, in whole pico-dollars, corrections by direction."""
    sums = dict.fromkeys(
        ("understudy_baseline_usd_total", "understudy_cost_usd_total", "up", "down"), 0
    )
    for family in scene.gateway.context.observer.metrics.registry.collect():
        for sample in family.samples:
            name = sample.labels.get("direction", sample.name)
            if name in sums:
                sums[name] += round(sample.value * PICO_PER_USD)
    return sums


# --- a true bill that a cascade never sees ---

REQUESTS = 160
SHARE = 0.4


@dataclass(frozen=True)
class Question:
    """One request: whether the draft will do, and what both models write."""

    is_sure: bool
    drafted: int
    taught: int


def a_question(dice: Random) -> Question:
    """Where the student is unsure the teacher writes far more: escalations mislead."""
    is_sure, drafted = dice.random() < 0.7, 1 + round(dice.lognormvariate(3.5, 0.7))
    times = (1.8 if is_sure else 5.0) * dice.lognormvariate(0, 0.3)
    return Question(is_sure, drafted, 1 + round(drafted * times))


def saying(questions: list[Question], *, is_teacher: bool) -> Any:
    """A model that answers the question whose number it reads."""

    def reply(request: Mapping[str, Any]) -> Reply:
        question = questions[int(request["messages"][0]["content"])]
        output = question.taught if is_teacher else question.drafted
        logprob = SURE if question.is_sure or is_teacher else UNSURE
        return Reply(
            body=completion("so it is", logprob, usage=used(output)),
            steps=[ROLE, Words(words(20), logprob, is_counted=True), *finish(usage=used(output))],
        )

    return reply


def test_the_true_bill_lies_within_the_interval(tmp_path: Path) -> None:
    dice = Random(11)
    questions = [a_question(dice) for _ in range(REQUESTS)]
    audit = {"complete_drafts": 0.5, "holdout": SHARE}
    with stage(tmp_path, cascade={"audit": audit}) as scene:
        context = scene.gateway.context
        observer = context.observer = RememberingObserver(context.observer)
        context.dice = dice.random
        scene.student.reply = saying(questions, is_teacher=False)
        scene.teacher.reply = saying(questions, is_teacher=True)
        by: dict[str, int] = {}
        for number in range(REQUESTS):
            content = [{"role": "user", "content": str(number)}]
            response = scene.ask(messages=content, stream=number % 2 == 0)
            assert response.status_code == 200
            reason = response.headers["x-understudy-reason"]
            by[reason] = by.get(reason, 0) + 1
        wait_until(lambda: not context.background)
        sums = pico_sums(scene)
        name = "understudy_baseline_variance_usd2_total"
        variance = observer.metrics.registry.get_sample_value(name, {"cascade": "assistant"})
    assert set(by) == {"confident", "holdout", "low_confidence"}
    sample = [each for each in observer.answered_facts if each.correction is not None]
    assert len(sample) == by["holdout"] >= 30
    true = sum(teachers(question.taught) for question in questions)
    estimated = sums["understudy_baseline_usd_total"] + sums["up"] - sums["down"]
    half = NORMAL_95 * math.sqrt(variance or 0) * PICO_PER_USD
    assert abs(estimated - true) <= half
    assert half < 0.15 * true
    measured = sum(
        fact.baseline.pico or 0
        for fact in observer.settled_facts
        if fact.baseline is not None and fact.baseline.basis == "measured"
    )
    as_if_as_wordy = measured + sum(
        teachers(question.drafted)
        for question, fact in zip(questions, observer.settled_facts, strict=True)
        if fact.ending == "kept"
    )
    assert abs(as_if_as_wordy - true) > half  # the price for the student's tokens is far off
