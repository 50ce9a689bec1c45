"""What escalations say of drafts that were not enough, and what becomes of those that are owed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from gateway.audits.escalated import MOST_COMPARING
from routing.steering import KEEP_NOTHING
from tests.fakes.script import ROLE, BreakOff, Step, Until, Words, finish, used, whole
from tests.fakes.serving import Stage, wait_until
from tests.fakes.trial import UNSURE, words
from tests.fakes.upstream import Reply, completion
from tests.gateway.audits.auditing import ALWAYS, LYON, UNSURE_REPLY, Scene, auditing
from tests.gateway.audits.test_audits import verdict

CASCADES: dict[str, dict[str, Any]] = {
    "owing": {"audit": ALWAYS | {"catch_up": True}},
    "refusing": {"degraded": "refuse"},
    "holding": {"audit": {"complete_drafts": 0.0, "holdout": 0.5}},
    "aborting": {"streaming": {"early_abort": True}},
    "judging": {"comparator": {"kind": "judge"}},
    "continuing": {"streaming": {"handover": "restart"}},
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("escalated")
    with auditing(folder, {}, CASCADES) as stage:
        yield stage


@pytest.fixture
def scene(built: Stage) -> Iterator[Scene]:
    made = Scene(built)
    made.begin()
    yield made
    made.end()


@pytest.fixture
def deferred(scene: Scene) -> Scene:
    """A scene whose student is unsure, and whose teacher says something else."""
    scene.stage.student.reply = UNSURE_REPLY
    scene.stage.teacher.reply = LYON
    return scene


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("theirs", "loss"), [("Rome", 0.0), ("Lyon.", 1.0)])
def test_an_escalation_of_a_whole_draft_is_a_grade_at_probability_1(
    deferred: Scene, is_stream: bool, theirs: str, loss: float
) -> None:
    steering = deferred.steer()
    deferred.stage.teacher.reply = Reply(body=completion(theirs))
    assert deferred.ask(stream=is_stream).headers["x-understudy-served-by"] == "teacher"
    (pair,) = deferred.pairs()
    (grade,) = steering.grades
    assert (grade.loss, grade.propensity, grade.least, grade.is_kept) == (loss, 1.0, 0.5, False)
    assert grade.merit == pair["merit"]
    assert deferred.audits() == []


def test_nothing_is_compared_for_nobody(deferred: Scene) -> None:
    deferred.ask()
    deferred.settle()
    assert deferred.stage.gateway.context.served["assistant"].audits.comparing == 0
    assert deferred.audits() == []


def test_what_would_be_deferred_at_any_threshold_is_no_grade(deferred: Scene) -> None:
    steering = deferred.steer()
    deferred.stage.student.reply = Reply(body=completion(choice={"logprobs": None}))
    deferred.ask()
    deferred.stage.student.reply = Reply(status=500)
    deferred.ask()
    deferred.stage.student.reply = UNSURE_REPLY
    deferred.ask(response_format={"type": "json_object"})
    deferred.ask(n=2)
    deferred.ask("private")
    deferred.ask(understudy={"route": "teacher"})
    deferred.settle()
    assert steering.grades == []


@pytest.mark.parametrize("cascade", ["assistant", "refusing"])
def test_a_teacher_that_was_asked_in_vain_is_a_loss(deferred: Scene, cascade: str) -> None:
    steering = deferred.steer(cascade)
    deferred.stage.teacher.reply = Reply(status=500)
    deferred.ask(model=cascade)
    deferred.settle()
    (grade,) = steering.grades
    assert (grade.loss, grade.propensity, grade.is_kept) == (1.0, 1.0, False)


def test_so_is_one_that_breaks_off(deferred: Scene) -> None:
    steering = deferred.steer()
    deferred.stage.teacher.reply = Reply(steps=[ROLE, Words(["Ly"]), BreakOff()])
    deferred.ask(stream=True)
    deferred.settle()
    (grade,) = steering.grades
    assert grade.loss == 1.0


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("is_draining", [False, True], ids=["", "as the process ends"])
def test_so_is_one_that_a_client_does_not_wait_for_where_audits_have_no_money(
    deferred: Scene, is_stream: bool, is_draining: bool
) -> None:
    """Who leaves does so for long answers, and might have waited for the draft."""
    steering = deferred.steer()
    steering.has_money = False
    leave(deferred, is_stream=is_stream, is_draining=is_draining)
    assert [grade.loss for grade in steering.grades] == ([] if is_draining else [1.0])
    assert not any(grade.is_answered for grade in steering.grades)
    assert len(deferred.stage.teacher.requests) == 1


def leave(
    scene: Scene, *, is_stream: bool, is_draining: bool = False, model: str = "assistant"
) -> None:
    """Have a client leave while the teacher is asked, who answers at once when asked again."""
    context, gone, replies = scene.stage.gateway.context, scene.event(), scene.stage.teacher.reply

    def answer(request: Any) -> Reply:
        if len(scene.stage.teacher.requests) == 1:
            gone.wait(5)
        return replies(request) if callable(replies) else replies

    def ask() -> None:
        with pytest.raises(httpx.ReadTimeout):
            scene.ask(model=model, stream=is_stream, timeout_seconds=0.3)

    scene.stage.teacher.reply = answer
    with ThreadPoolExecutor(1) as pool:
        left = pool.submit(ask)
        wait_until(lambda: scene.stage.teacher.requests)
        context.is_draining = is_draining
        left.result()
    scene.settle()
    context.is_draining = False


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("reply", "loss", "is_answered"),
    [
        (Reply(body=completion("Rome?")), 0.0, True),
        (LYON, 1.0, True),
        (Reply(status=500), 1.0, False),
    ],
)
def test_the_teacher_is_asked_after_all_where_a_client_left(
    deferred: Scene, is_stream: bool, reply: Reply, loss: float, is_answered: bool
) -> None:
    """Otherwise whoever leaves on purpose would have all of the students' drafts look wrong."""
    steering = deferred.steer()
    deferred.stage.teacher.reply = reply
    leave(deferred, is_stream=is_stream)
    (grade,) = steering.grades
    assert (grade.loss, grade.propensity, grade.is_kept) == (loss, 1.0, False)
    assert grade.is_answered is is_answered
    assert deferred.audits() == []
    assert (steering.spent_pico > 0) is is_answered


@pytest.mark.parametrize("cascade", ["assistant", "judging"])
def test_nobody_is_asked_for_a_controller_that_learns_nothing_from_answers(
    deferred: Scene, cascade: str
) -> None:
    """A rate or a spend would pay twice for each client that leaves, a cap notwithstanding."""
    steering = deferred.steer(cascade)
    steering.is_promise = False
    leave(deferred, is_stream=False, model=cascade)
    deferred.ask(model=cascade)
    deferred.settle()
    assert len(deferred.stage.teacher.requests) == 2
    assert (steering.grades, steering.spent_pico) == ([], 0)


def test_one_that_left_before_the_draft_was_whole_is_a_loss(deferred: Scene) -> None:
    steering = deferred.steer("aborting")
    never = deferred.event()
    unsure: list[Step] = [ROLE, Words(words(8), UNSURE), Until(never)]
    deferred.stage.student.reply = Reply(steps=unsure)

    def answer(_: object) -> Reply:
        never.wait(5)
        return Reply()

    deferred.stage.teacher.reply = answer
    with pytest.raises(httpx.ReadTimeout):
        deferred.ask(model="aborting", stream=True, timeout_seconds=1.0)
    deferred.settle()  # before the teacher answers after all
    never.set()
    assert [grade.loss for grade in steering.grades] == [1.0]


def test_a_client_that_leaves_before_the_teacher_is_asked_says_nothing(deferred: Scene) -> None:
    steering, never = deferred.steer(), deferred.event()
    deferred.stage.student.reply = Reply(steps=[ROLE, Until(never)])
    with pytest.raises(httpx.ReadTimeout):
        deferred.ask(stream=True, timeout_seconds=0.3)
    deferred.settle()
    assert steering.grades == []


@pytest.mark.parametrize("cascade", ["assistant", "owing"])
def test_a_teacher_that_was_not_asked_says_nothing(deferred: Scene, cascade: str) -> None:
    steering = deferred.steer(cascade)
    deferred.leave_teacher_alone(cascade)
    assert deferred.ask(model=cascade).headers["x-understudy-degraded"] == "teacher_failed"
    deferred.settle()
    assert steering.grades == []
    assert deferred.stage.teacher.requests == []


def test_a_grade_says_how_long_after_its_request_it_came(scene: Scene) -> None:
    steering, replies = scene.steer(), iter([Reply(status=500), Reply()])
    scene.stage.gateway.context.served["assistant"].audits.retry_seconds = 0.1
    scene.stage.teacher.reply = lambda _: next(replies)
    scene.ask()
    scene.settle()
    (grade,) = steering.grades
    assert 0.1 <= grade.late < 5.0


@pytest.mark.parametrize("is_broken_off", [False, True], ids=["left", "broken off"])
def test_a_kept_draft_that_did_not_arrive_is_skipped_and_counted(
    scene: Scene, is_broken_off: bool
) -> None:
    steering = scene.steer()
    last: Step = BreakOff() if is_broken_off else Until(scene.event())
    scene.stage.student.reply = Reply(steps=[ROLE, Words(words(64)), last])
    if is_broken_off:
        scene.ask(stream=True)
    else:
        with pytest.raises(httpx.ReadTimeout):
            scene.ask(stream=True, timeout_seconds=0.5)
    assert scene.skipped() == ["not_delivered"]
    assert (steering.grades, steering.mute, scene.audits()) == ([], [], [])


def test_a_draft_that_was_given_up_is_a_grade_once_it_is_finished(deferred: Scene) -> None:
    steering = deferred.steer("aborting", complete=0.75)
    more = deferred.event()
    steps: list[Step] = [
        ROLE, Words(words(8), UNSURE), Until(more), Words(["and", " more"]), *finish(usage=used(9))
    ]  # fmt: skip
    deferred.stage.student.reply = Reply(steps=steps)
    deferred.stage.teacher.reply = Reply(steps=whole([*words(8), "and", " more"]))
    deferred.ask(model="aborting", stream=True)
    assert steering.grades == []
    more.set()
    deferred.settle()
    (grade,) = steering.grades
    assert (grade.loss, grade.propensity, grade.least, grade.is_kept) == (0.0, 0.75, 0.5, False)
    assert deferred.pairs()[1]["propensity"] == 0.75


def test_one_that_is_not_finished_is_none(deferred: Scene) -> None:
    steering = deferred.steer("aborting", complete=0.75)
    deferred.stage.gateway.context.dice = lambda: 0.75
    steps: list[Step] = [ROLE, Words(words(8), UNSURE), Until(deferred.event())]
    deferred.stage.student.reply = Reply(steps=steps)
    deferred.ask(model="aborting", stream=True)
    deferred.settle()
    assert steering.grades == []


def test_while_nothing_is_kept_all_that_is_given_up_is_finished(deferred: Scene) -> None:
    steering = deferred.steer("aborting", threshold=KEEP_NOTHING, complete=0.0)
    deferred.stage.gateway.context.dice = lambda: 0.99
    steps: list[Step] = [
        ROLE,
        Words(words(8), UNSURE),
        Words(["and", " more"]),
        *finish(usage=used(9)),
    ]
    deferred.stage.student.reply = Reply(steps=steps)
    deferred.ask(model="aborting", stream=True)
    deferred.settle()
    (grade,) = steering.grades
    assert (grade.propensity, grade.least) == (1.0, 1.0)


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_a_draft_that_is_held_out_counts_as_kept_at_both_coins_probability(
    scene: Scene, is_stream: bool
) -> None:
    steering = scene.steer("holding", audit=0.5)
    scene.stage.teacher.reply = LYON
    response = scene.ask(model="holding", stream=is_stream)
    assert response.headers["x-understudy-reason"] == "holdout"
    scene.settle()
    (grade,) = steering.grades
    assert (grade.loss, grade.propensity, grade.is_kept) == (1.0, 0.75, True)
    steering.has_money = False  # then none of its like could have been audited
    scene.ask(model="holding", stream=is_stream)
    scene.settle()
    assert steering.grades[1].propensity == 0.5


def test_a_draft_that_was_held_out_in_vain_is_a_loss_and_no_audit(scene: Scene) -> None:
    steering = scene.steer("holding", audit=0.5)
    scene.stage.teacher.reply = Reply(status=500)
    assert scene.ask(model="holding").headers["x-understudy-reason"] == "confident"
    assert scene.audits() == []
    (grade,) = steering.grades
    assert (grade.loss, grade.propensity, grade.is_kept) == (1.0, 0.75, True)


def test_an_answer_that_was_handed_over_is_no_grade(scene: Scene) -> None:
    steering = scene.steer("continuing")
    doubted = [ROLE, Words(words(20)), Words(words(20, "x"), -7.0), *finish()]
    scene.stage.student.reply = Reply(steps=doubted)
    scene.stage.teacher.reply = Reply(steps=whole(words(3, "t")))
    headers = {"x-understudy-handover": "restart", "authorization": "Bearer open"}
    question = scene.stage.question | {"model": "continuing", "stream": True}
    scene.stage.client.post("/v1/chat/completions", json=question, headers=headers)
    scene.settle()
    assert scene.pairs()[0]["splice"]["handover"] == "restart"
    assert steering.grades == []
    assert steering.mute == [True]


def test_a_judge_is_asked_about_escalations_within_the_budget_of_audits(deferred: Scene) -> None:
    steering = deferred.steer("judging")

    def reply(request: Any) -> Reply:
        is_judging = request["messages"][0]["role"] == "system"
        return Reply(body=verdict("SAME")) if is_judging else LYON

    deferred.stage.teacher.reply = reply
    deferred.ask(model="judging")
    deferred.settle()
    (grade,) = steering.grades
    assert grade.loss == 0.0
    assert steering.spent_pico > 0
    assert len(deferred.stage.teacher.requests) == 3
    steering.has_money = False
    deferred.ask(model="judging")
    deferred.settle()
    assert len(steering.grades) == 1
    assert len(deferred.stage.teacher.requests) == 4


@pytest.mark.parametrize(
    ("key", "changes", "is_mute"),
    [
        ("open", {}, False),
        ("private", {}, True),
        ("inside", {}, True),
        ("open", {"n": 2}, True),
    ],
)
@pytest.mark.parametrize("is_kept", [False, True])
def test_requests_of_which_no_grade_may_come_are_told_apart(
    scene: Scene, key: str, changes: dict[str, Any], is_mute: bool, is_kept: bool
) -> None:
    steering = scene.steer()
    if not is_kept:
        scene.stage.student.reply = UNSURE_REPLY
    scene.ask(key, **changes)
    scene.settle()
    assert steering.mute == [is_mute]


@pytest.mark.parametrize(("cascade", "is_mute"), [("assistant", True), ("owing", False)])
def test_what_is_served_degraded_tells_something_where_it_is_owed_or_was_asked_in_vain(
    deferred: Scene, cascade: str, is_mute: bool
) -> None:
    steering = deferred.steer(cascade)
    deferred.stage.teacher.reply = Reply(status=500)
    deferred.ask(model=cascade)
    deferred.leave_teacher_alone(cascade)
    deferred.ask(model=cascade)
    deferred.settle()
    assert steering.mute == [False, is_mute]


def test_no_more_answers_wait_to_be_compared_than_may(deferred: Scene) -> None:
    steering = deferred.steer()
    audits = deferred.stage.gateway.context.served["assistant"].audits
    audits.comparing += MOST_COMPARING
    deferred.ask()
    deferred.settle()
    audits.comparing -= MOST_COMPARING
    assert steering.grades == []
    audits.comparing += MOST_COMPARING - 1
    deferred.ask()
    deferred.settle()
    audits.comparing -= MOST_COMPARING - 1
    assert len(steering.grades) == 1
