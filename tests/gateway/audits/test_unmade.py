"""Drafts that the prompt spared are written off the path, now and then, for their pairs."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from gateway.api.context import Served
from routing.policy import PromptRule
from routing.prompt import PromptModel, Terms
from tests.fakes.serving import Stage, wait_until
from tests.fakes.upstream import SURE, Reply, completion
from tests.gateway.audits.auditing import LYON, Scene, auditing

PESSIMIST = PromptRule(PromptModel(Terms(buckets=1)), margin=-1.0)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("unmade")
    with auditing(folder, {"audit": {"complete_drafts": 0.25}}, {"unlearned": {}}) as stage:
        yield stage


@pytest.fixture
def scene(built: Stage) -> Iterator[Scene]:
    made = Scene(built)
    context = built.gateway.context
    context.served = {name: pessimistic(served) for name, served in context.served.items()}
    made.begin()
    context.dice = lambda: 0.24
    built.teacher.reply = LYON
    yield made
    made.end()


def pessimistic(served: Served) -> Served:
    """A cascade whose policy expects nothing of any prompt."""
    policy = replace(served.cascade.policy, prompt=PESSIMIST)
    return replace(served, cascade=replace(served.cascade, policy=policy))


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_the_draft_is_written_once_the_client_has_the_teachers_answer(
    scene: Scene, is_stream: bool
) -> None:
    scene.stage.student.reply = Reply(body=completion("Rome it is.", SURE))
    response = scene.ask(stream=is_stream)
    assert response.headers["x-understudy-reason"] == "prompt_says_so"
    first, second = scene.pairs()
    assert first["content"]["draft"] is None
    assert second["completes"] == first["id"]
    assert (second["propensity"], second["draft_complete"]) == (0.25, True)
    assert (second["reason"], second["merit"]) == (first["reason"], first["merit"])
    assert second["content"]["answer"] == first["content"]["answer"]
    draft = second["content"]["draft"]["choices"][0]
    assert draft["message"]["content"] == "Rome it is."
    assert second["confidence"] > 0.8  # what the draft itself says of it
    assert {"mean_probability", "min_margin"} <= set(second["signals"])
    assert [leg["role"] for leg in second["legs"]] == ["student"]


def test_what_it_costs_is_paid_as_audit(scene: Scene) -> None:
    scene.ask()
    student = {"cascade": "assistant", "role": "student"}
    spent = scene.counted("understudy_cost_usd_total", **student, kind="audit")
    assert spent == pytest.approx(100 * 0.02e-6 + 10 * 0.06e-6)
    completed = {"cascade": "assistant", "outcome": "completed"}
    assert scene.counted("understudy_drafts_completed_total", **completed) == 1


def test_it_is_written_as_often_as_the_share_says(scene: Scene) -> None:
    scene.stage.gateway.context.dice = lambda: 0.25
    scene.ask()
    assert len(scene.pairs()) == 1
    assert scene.stage.student.requests == []


@pytest.mark.parametrize(
    "reply",
    [Reply(status=500), Reply(status=400, body={"error": {"message": "no"}})],
    ids=["fails", "refuses"],
)
def test_a_student_that_does_not_answer_leaves_the_pair_as_it_is(
    scene: Scene, reply: Reply
) -> None:
    scene.stage.student.reply = reply
    scene.ask()
    assert len(scene.pairs()) == 1
    assert scene.stage.student.requests
    assert scene.stage.gateway.context.served["assistant"].standing.open_requests == 0


def test_nothing_is_written_for_whom_no_pair_is(scene: Scene) -> None:
    scene.ask("private")
    scene.ask(store=False)
    assert scene.pairs() == []
    assert scene.stage.student.requests == []


def test_nothing_is_written_where_there_is_no_room(scene: Scene) -> None:
    audits = scene.stage.gateway.context.served["assistant"].audits
    audits.open += 16
    scene.ask()
    wait_until(lambda: not scene.stage.gateway.context.background)
    audits.open -= 16
    assert len(scene.pairs()) == 1
