import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import pytest

from distill.rubric import Grade, Question, Verdict, grade_of
from distill.writing import Order
from tests.fakes.datasets import examples, task_rows
from understudy.demo.teacher import CANNOT, create_teacher
from understudy.demo.teacher_tasks import judge_answers, write_questions
from understudy.demo.workload import generate, solve

ALL = ("date", "order", "number", "name")


def posted(request: Mapping[str, Any]) -> bytes:
    """The stand-in's reply to a request, over its own application."""

    async def post() -> bytes:
        transport = httpx.ASGITransport(app=create_teacher())
        async with httpx.AsyncClient(transport=transport, base_url="http://teacher") as client:
            body = {"model": "stand-in", **request}
            return (await client.post("/v1/chat/completions", json=body)).content

    return asyncio.run(post())


def written(questions: Sequence[str], how_many: int = 5, seed: int = 1) -> list[str]:
    request = Order([], questions, how_many, seed).request()
    found = write_questions(request["messages"], seed)
    assert found is not None
    return json.loads(found)  # type: ignore[no-any-return]


@pytest.mark.parametrize("family", ALL)
def test_new_questions_are_of_the_examples_family_and_can_be_solved(family: str) -> None:
    asked = [each.question for each in examples(task_rows(1, {family: 4}))]
    drawn = written(asked)
    assert len(set(drawn)) == 5
    assert not set(drawn) & set(asked)
    for question in drawn:
        assert question.split(":")[0] == asked[0].split(":")[0]
        assert solve([{"role": "user", "content": question}]) is not None


def test_another_seed_draws_others_and_the_same_the_same() -> None:
    asked = ["In digits: forty-two"]
    assert written(asked, seed=1) == written(asked, seed=1) != written(asked, seed=2)


def test_examples_of_no_family_give_no_questions() -> None:
    assert written(["Write me a poem"]) == []


def test_more_than_there_are_is_not_drawn_for_ever() -> None:
    assert 100 < len(written(["In digits: forty-two"], how_many=5000)) <= 1000


@pytest.mark.parametrize(
    ("draft", "answer", "verdict"),
    [
        ("42", "43", Verdict.DRAFT),
        ("43", "42", Verdict.ANSWER),
        ("42.", "42", Verdict.EQUAL),
        ("43", "44", Verdict.EQUAL),
    ],
)
def test_the_right_answer_is_the_better_one_in_both_orders(
    draft: str, answer: str, verdict: Verdict
) -> None:
    for question, expected in (("In digits: forty-two", verdict), ("A poem?", Verdict.EQUAL)):
        asked = Question([{"role": "user", "content": question}], draft, answer)
        replies = []
        for request in asked.requests():
            found = judge_answers(request["messages"])
            assert found is not None
            assert math.isclose(sum(map(math.exp, found.logprobs.values())), 1.0)
            replies.append(posted(request))
        grade = grade_of(replies)
        assert isinstance(grade, Grade)
        assert grade.verdict is expected


def test_other_requests_are_neither() -> None:
    (task,) = generate(1, 1)
    for messages in (task.messages, [{"role": "system", "content": "x"}, task.messages[-1]]):
        assert write_questions(messages, 0) is None
        assert judge_answers(messages) is None


def test_data_that_is_none_is_no_task() -> None:
    request = Order([], ["In digits: two"], 1, 0).request()
    system, _ = request["messages"]
    for text in ("no json", "[]"):
        user = {"role": "user", "content": text}
        reply = posted({"messages": [system, user]})
        assert json.loads(reply)["choices"][0]["message"]["content"] == CANNOT
