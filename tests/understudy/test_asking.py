from collections.abc import Iterator

from tests.fakes.serving import serving
from tests.fakes.upstream import Reply as Scripted
from tests.fakes.upstream import ScriptedModel, completion
from understudy.demo.asking import CONCURRENCY, GROUP_HEADER, ask_all
from understudy.demo.options import Model
from understudy.demo.workload import Task, generate

TASKS = generate(1, 6)


async def test_requests_that_are_not_to_be_stored_say_so_and_others_say_nothing() -> None:
    model = ScriptedModel(Scripted(body=completion("no")))
    with serving(model) as url:
        where = Model(f"{url}/v1", "m")
        await ask_all(where, TASKS, lambda _: None, is_stored=False)
        assert [request["store"] for request in model.requests] == [False] * 6
        await ask_all(where, TASKS, lambda _: None)
    assert not any("store" in request for request in model.requests[6:])
    assert {headers[GROUP_HEADER] for headers in model.headers} == {
        "date",
        "order",
        "number",
        "name",
    }


async def test_replies_are_in_the_order_of_the_tasks() -> None:
    with serving(ScriptedModel(Scripted(body=completion("no")))) as url:
        replies = await ask_all(Model(f"{url}/v1", "m"), TASKS, lambda _: None)
    assert [reply.task for reply in replies] == TASKS


async def test_tasks_are_drawn_one_by_one_so_that_whoever_makes_them_can_end_the_asking() -> None:
    drawn: list[Task] = []
    told: list[str] = []

    def until_three_are_answered() -> Iterator[Task]:
        for task in generate(1, 100):
            if len(told) >= 3:
                return
            drawn.append(task)
            yield task

    with serving(ScriptedModel(Scripted(body=completion("no")))) as url:
        replies = await ask_all(
            Model(f"{url}/v1", "m"),
            until_three_are_answered(),
            lambda reply: told.append(reply.task.id),
        )
    assert [reply.task for reply in replies] == drawn
    assert 3 <= len(drawn) < 3 + CONCURRENCY
