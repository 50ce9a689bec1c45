"""A teacher that has read a conversation answers its next turn at the price of cached tokens: what
steers by gain for money asks it sooner than one that has to read it all."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.audits.purse import Purse
from gateway.prices import TokenPriceConfig
from gateway.steering.aim import Aim
from gateway.steering.config import SpendConfig
from gateway.steering.steered import STEPS, Costs, Steered, World
from routing.money import PICO_PER_USD
from routing.steering import Sample, Standing
from routing.vocabulary import Threshold
from tests.fakes.serving import Stage, cascade_document, load_gateway, stage, wait_until
from tests.fakes.upstream import SURE, UNSURE, Reply, completion

SPEND = SpendConfig(kind="spend", usd_per_hour=Decimal(12))
TEACHER = {"price": {"input": 1.0, "cached_input": 0.1, "output": 1.0}}
PRICE = TokenPriceConfig.model_validate(TEACHER["price"]).price()
# What the student thinks of its draft: a fair one is in between.
LOGPROBS = {"easy": SURE, "fair": -0.6, "hard": UNSURE}
LONG = " and so on" * 400
_sessions = (f"session-{number}" for number in itertools.count())


def said(request: Mapping[str, Any], answer: str, logprob: float = SURE) -> Reply:
    read = len(json.dumps(request["messages"])) // 4
    usage = {"prompt_tokens": read, "completion_tokens": 100, "total_tokens": read + 100}
    return Reply(body=completion(answer, logprob, usage=usage))


def student(request: Mapping[str, Any]) -> Reply:
    return said(request, "Rome.", LOGPROBS[request["messages"][-1]["content"][:4]])


@dataclass
class Scene:
    """A gateway whose standing is the test's, and whose reports nobody takes away."""

    stage: Stage

    def steer(self, *, is_cached_cheaper: bool = True, **standing: Any) -> Steered:
        """Have this standing in force from now on; what an escalation costs is learnt anew."""
        price = PRICE if is_cached_cheaper else replace(PRICE, cached_input=PRICE.input)
        context = self.stage.gateway.context
        served = context.served["assistant"]
        aim = Aim(SPEND, "student-1", Threshold(0.6), 0.0, 0.0)
        world = World("here", 1.0, lambda: 0.0, lambda: 0.0)
        steered = Steered(lambda: aim, Costs(price), Purse(), world)
        steered.follow(Standing(1, 0, **standing), "student-1")
        context.served = {"assistant": replace(served, steered=steered)}
        return steered

    def talk(self, *texts: str) -> list[str]:
        """Who answers the turns of a new conversation, one after another."""
        messages: list[dict[str, Any]] = []
        headers, found = {"x-session-id": next(_sessions)}, []
        for text in texts:
            messages.append({"role": "user", "content": text + LONG})
            question = {"model": "assistant", "messages": messages}
            reply = self.stage.client.post("/v1/chat/completions", json=question, headers=headers)
            messages.append({"role": "assistant", "content": "Paris."})
            found.append(reply.headers["x-understudy-served-by"])
        return found

    def remembered(self) -> int:
        """How many conversations are known, once all requests are over."""
        context = self.stage.gateway.context
        wait_until(lambda: not context.open_requests)
        talks = context.served["assistant"].talks
        return 0 if talks is None else talks.count(context.clock())

    def settled(self, steered: Steered) -> Sequence[Sample]:
        """What was told of the drafts so far, once all requests are over."""
        wait_until(lambda: not self.stage.gateway.context.open_requests)
        return steered.report(1.0, 1.0).samples


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("warm")
    with stage(folder, cascade={"teacher": TEACHER}) as built:
        built.student.reply = student
        built.teacher.reply = lambda request: said(request, "Paris.")
        yield Scene(built)


def between(scene: Scene) -> dict[str, Any]:
    """A standing that keeps a fair draft of a cold conversation, and not of a warm one."""
    steered = scene.steer(threshold=0.3)
    scene.talk("hard", "fair")
    scene.talk("easy", "fair")
    _, warm, _, cold = scene.settled(steered)
    assert warm.merit == cold.merit
    assert warm.cost_pico is not None
    assert cold.cost_pico is not None
    assert warm.cost_pico < 0.7 * cold.cost_pico
    usd = (warm.cost_pico + cold.cost_pico) / 2 / PICO_PER_USD
    return {"threshold": warm.merit, "per_usd": 1.0 / usd}


def test_the_same_draft_is_given_up_where_the_teacher_has_read_the_conversation(
    scene: Scene,
) -> None:
    scene.steer(**between(scene))
    assert scene.talk("hard", "fair") == ["teacher", "teacher"]
    assert scene.talk("easy", "fair") == ["student", "student"]


def test_the_controller_hears_of_the_costs_by_which_it_was_decided(scene: Scene) -> None:
    standing = between(scene)
    steered = scene.steer(**standing)
    held = steered.standing
    answered = [
        by
        for texts in (("hard", "fair", "fair"), ("easy", "fair"), ("hard", "easy", "fair"))
        for by in scene.talk(*texts)
    ]
    samples = scene.settled(steered)
    assert len(samples) == len(answered)
    for sample, by in zip(samples, answered, strict=True):
        least = round(held.least_merit(sample.cost_pico) * STEPS) / STEPS
        assert by == ("student" if sample.merit >= least else "teacher")
    # When the first was decided, nobody knew yet how short the teacher's answers are.
    first, later = (samples[place].cost_pico or 0 for place in (0, 5))
    assert first - later > 100 * PRICE.output


def test_without_a_price_of_cached_tokens_no_turn_is_asked_about(scene: Scene) -> None:
    grown = []
    for is_cached_cheaper in (True, False):
        scene.steer(is_cached_cheaper=is_cached_cheaper, threshold=0.3)
        before = scene.remembered()
        scene.talk("easy", "easy")
        grown.append(scene.remembered() - before)
    assert grown == [1, 0]


@pytest.mark.parametrize(("teacher", "is_wanted"), [(TEACHER, True), ({}, False)])
def test_a_file_with_such_a_price_remembers_conversations_from_the_start(
    tmp_path: Path, teacher: dict[str, Any], is_wanted: bool
) -> None:
    objective = {"kind": "spend", "usd_per_hour": 12}
    document = cascade_document("http://s", "http://t", teacher=teacher, objective=objective)
    served = load_gateway(tmp_path, document).context.served["assistant"]
    assert served.talks is not None
    assert (served.talks.is_wanted, served.is_remembering) == (is_wanted, is_wanted)
