"""Calls that fail are made again on another server: what the client gets, and what is billed."""

import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec import structs

from gateway.building import build_model
from gateway.cascades import load_cascades
from gateway.errors import UpstreamError, UpstreamRefused, UpstreamTimeout, UpstreamUnavailable
from gateway.facts import Ending, RequestSettled
from gateway.legs import Legs, Model
from gateway.upstream.pool import ServerPool
from routing.servers import BURST
from routing.vocabulary import Kind, Role
from tests.fakes.calls import asked
from tests.fakes.script import ROLE, BreakOff, Step, Stop, Words, finish, whole
from tests.fakes.serving import Stage, cascade_document, closed_port_url, serving, stage
from tests.fakes.upstream import Reply, ScriptedModel, completion

ANSWER = Reply(body=completion("Paris."), steps=whole(["Par", "is."]))
NEVER = Reply(delay_seconds=30)


@dataclass
class Street:
    """Two servers of one teacher, and what calls to it come to."""

    model: Model
    servers: Sequence[ScriptedModel]

    def say(self, first: Reply, second: Reply = ANSWER) -> None:
        """What whoever is asked first says, and whoever is asked next."""
        replies = iter([first, second])
        for server in self.servers:
            server.reply = lambda _: next(replies)

    @property
    def requests(self) -> int:
        return sum(len(server.requests) for server in self.servers)


@contextlib.contextmanager
def street_of(folder: Path, count: int = 2, timeout_seconds: float = 5.0) -> Iterator[Street]:
    with contextlib.ExitStack() as stack:
        servers = [ScriptedModel() for _ in range(count)]
        urls = [stack.enter_context(serving(server)) + "/v1" for server in servers]
        teacher = {"base_url": urls, "timeout_seconds": timeout_seconds}
        document = cascade_document("http://s", "http://t", teacher=teacher)
        path = folder / "cascades.yaml"
        path.write_text(json.dumps({"cascades": {"assistant": document}}))
        (loaded,) = load_cascades(path, lambda _: None)
        yield Street(build_model(loaded, Role.TEACHER, lambda _: None), servers)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    with street_of(tmp_path_factory.mktemp("two")) as street:
        yield street


@contextlib.asynccontextmanager
async def fresh(street: Street) -> AsyncIterator[Legs]:
    """As though nothing had happened before; connections end with the loop that has them."""
    pool = street.model.chat
    assert isinstance(pool, ServerPool)
    for server, scripted in zip(pool.servers, street.servers, strict=True):
        server.rest.succeeded()
        server.breaker.succeeded()
        scripted.requests.clear()
    pool._budget.credit = 10**6
    try:
        yield Legs(time.monotonic)
    finally:
        pool.close()
        assert pool.open_calls == 0


def told(legs: Legs) -> list[str | None]:
    return [leg.error for leg in legs.made]


@pytest.mark.parametrize(
    ("failure", "code", "is_known"),
    [
        (Reply(status=500), "upstream_failed", True),
        (Reply(status=503), "upstream_unavailable", True),
        (Reply(status=429), "upstream_busy", True),
        (Reply(status=404), "upstream_misconfigured", True),
        (Reply(is_broken_off=True), "upstream_unavailable", False),
    ],
    ids=["500", "503", "429", "404", "breaks off"],
)
async def test_a_failed_call_is_answered_by_another_server(
    two: Street, failure: Reply, code: str, *, is_known: bool
) -> None:
    async with fresh(two) as legs:
        two.say(failure)
        answer = await legs.ask(two.model, asked())
        assert json.loads(answer.body)["choices"][0]["message"]["content"] == "Paris."
        assert told(legs) == [code, None]
        assert [len(server.requests) for server in two.servers] == [1, 1]
        failed, answered = legs.made
        assert (failed.cost_pico, answered.cost_pico) == (0 if is_known else None, 84_000_000)
        fact = RequestSettled("r", Ending.ESCALATED, 200, 1.0, legs=legs.made)
        settled = structs.replace(fact, served_by=Role.TEACHER)
        assert [entry.kind for entry in settled.entries] == [Kind.RETRY, Kind.SERVED]


async def test_a_client_s_mistake_is_not_made_again(two: Street) -> None:
    async with fresh(two) as legs:
        two.say(Reply(status=400, body={"error": {"message": "no such field"}}))
        with pytest.raises(UpstreamRefused, match="no such field"):
            await legs.ask(two.model, asked())
        assert two.requests == 1


async def test_where_both_fail_the_last_failure_is_told(two: Street) -> None:
    async with fresh(two) as legs:
        two.say(Reply(status=500), Reply(status=503))
        with pytest.raises(UpstreamUnavailable):
            await legs.ask(two.model, asked())
        assert told(legs) == ["upstream_failed", "upstream_unavailable"]
        assert sorted(leg.server for leg in legs.made) == [0, 1]


async def test_a_server_that_is_not_there_costs_a_client_nothing(tmp_path: Path) -> None:
    with street_of(tmp_path, count=1) as street:
        pool = street.model.chat
        assert isinstance(pool, ServerPool)
        document = cascade_document(
            "http://s", "http://t", teacher={"base_url": [closed_port_url() + "/v1"]}
        )
        path = tmp_path / "absent.yaml"
        path.write_text(json.dumps({"cascades": {"assistant": document}}))
        (loaded,) = load_cascades(path, lambda _: None)
        absent = build_model(loaded, Role.TEACHER, lambda _: None).chat
        assert isinstance(absent, ServerPool)
        model = Model(
            Role.TEACHER, ServerPool([*absent.servers, *pool.servers], time.monotonic), None
        )
        for _ in range(4):
            legs = Legs(time.monotonic)
            await legs.ask(model, asked())
            assert told(legs) in ([None], ["upstream_unavailable", None])
        pool.close()
        assert len(street.servers[0].requests) == 4


async def test_all_tries_share_one_timeout(tmp_path: Path) -> None:
    with street_of(tmp_path, timeout_seconds=0.4) as street:
        street.say(Reply(status=503, delay_seconds=0.3), NEVER)
        async with fresh(street) as legs:
            began = time.monotonic()
            with pytest.raises(UpstreamTimeout):
                await legs.ask(street.model, asked())
            assert time.monotonic() - began < 0.65
            assert told(legs) == ["upstream_unavailable", "upstream_timeout"]


async def test_a_timeout_is_not_made_again(tmp_path: Path) -> None:
    with street_of(tmp_path, timeout_seconds=0.1) as street:
        street.say(NEVER)
        async with fresh(street) as legs:
            with pytest.raises(UpstreamTimeout):
                await legs.ask(street.model, asked())
        assert street.requests == 1


async def test_the_only_server_is_asked_once_more(tmp_path: Path) -> None:
    with street_of(tmp_path, count=1) as street:
        async with fresh(street) as legs:
            street.say(Reply(status=503))
            await legs.ask(street.model, asked())
            assert told(legs) == ["upstream_unavailable", None]
        async with fresh(street) as legs:
            street.say(Reply(status=503, headers={"retry-after": "3"}))
            with pytest.raises(UpstreamUnavailable):  # it knows better when to come back
                await legs.ask(street.model, asked())


async def test_an_outage_does_not_double_the_load(two: Street) -> None:
    async with fresh(two) as legs:
        pool = two.model.chat
        assert isinstance(pool, ServerPool)
        pool._budget.credit = 100
        for server in two.servers:
            server.reply = Reply(status=500)
        for _ in range(60):
            with pytest.raises(UpstreamError):
                await legs.ask(two.model, asked())
        assert two.requests == 60 + BURST + 60 // 10 - 1


# --- streams ---


async def read(legs: Legs, street: Street) -> str:
    leg = await legs.stream(street.model, asked(stream=True))
    text = ""
    try:
        while part := await leg.read():
            text += "".join(chunk.content for chunk in part)
    finally:
        leg.close()
    return text


@pytest.mark.parametrize(
    "failure",
    [Reply(status=503), Reply(steps=[BreakOff()])],
    ids=["refuses to begin", "breaks off before a word"],
)
async def test_a_stream_that_said_nothing_begins_anew_elsewhere(
    two: Street, failure: Reply
) -> None:
    async with fresh(two) as legs:
        two.say(failure)
        assert await read(legs, two) == "Paris."
        assert told(legs) == ["upstream_unavailable", None]
        assert two.requests == 2


@pytest.mark.parametrize("said", [[ROLE], [ROLE, Words(["Par"])]], ids=["a role", "a word"])
async def test_a_stream_that_said_something_is_never_begun_anew(
    two: Street, said: list[Step]
) -> None:
    async with fresh(two) as legs:
        two.say(Reply(steps=[*said, BreakOff()]))
        with pytest.raises(UpstreamUnavailable):
            await read(legs, two)
        assert told(legs) == ["upstream_unavailable"]
        assert two.requests == 1


async def test_what_the_second_server_refuses_is_no_mistake_of_the_client(two: Street) -> None:
    async with fresh(two) as legs:
        two.say(Reply(steps=[BreakOff()]), Reply(status=400, body={"error": "no"}))
        with pytest.raises(UpstreamUnavailable):
            await read(legs, two)
        assert told(legs) == ["upstream_unavailable", "upstream_refused"]


async def test_an_answer_without_a_word_is_no_break(two: Street) -> None:
    async with fresh(two) as legs:
        two.say(Reply(steps=[ROLE, *finish()]), Reply(steps=[Stop()]))
        assert await read(legs, two) == ""
        assert two.requests == 1


# --- a whole gateway ---


@pytest.fixture
def theatre(tmp_path: Path) -> Iterator[tuple[Stage, ScriptedModel]]:
    """A cascade whose student has a second server."""
    second = ScriptedModel()
    with serving(second) as url, serving(first := ScriptedModel()) as own:
        student = {"base_url": [own + "/v1", url + "/v1"]}
        with stage(tmp_path, cascade={"student": student}) as scene:
            scene.student = first
            yield scene, second


def test_one_of_two_servers_may_die(theatre: tuple[Stage, ScriptedModel]) -> None:
    scene, second = theatre
    second.reply = Reply(status=503)
    for _ in range(12):
        response = scene.ask()
        assert response.headers["x-understudy-served-by"] == "student"
    labels = {"cascade": "assistant", "role": "student"}
    cost = "understudy_cost_usd_total"
    assert scene.metric("understudy_breaker_open", **labels) == 0
    assert scene.metric("understudy_upstream_max_calls", **labels) == 512
    assert scene.metric(cost, **labels, kind="served") == pytest.approx(12 * 2.6e-6)
    assert scene.teacher.requests == []


def test_a_role_is_down_once_all_its_servers_are(theatre: tuple[Stage, ScriptedModel]) -> None:
    scene, second = theatre
    second.reply = scene.student.reply = Reply(status=503)
    labels = {"cascade": "assistant", "role": "student"}
    for _ in range(12):
        assert scene.ask().headers["x-understudy-reason"] == "student_failed"
    assert scene.metric("understudy_servers_left_alone", **labels) == 2
    assert scene.metric("understudy_breaker_open", **labels) == 1
    one, other = scene.gateway.models[:2]
    one.breaker.opened_at = one.breaker.opened_at and one.breaker.opened_at - 60
    scene.student.reply = second.reply = Reply()
    assert scene.ask().headers["x-understudy-served-by"] == "student"
    assert scene.metric("understudy_servers_left_alone", **labels) == 1
    assert scene.metric("understudy_breaker_open", **labels) == 0
    assert other.breaker.opened_at is not None
