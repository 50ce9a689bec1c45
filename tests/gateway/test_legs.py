"""What calls come to, told by a clock: rents, parts of calls, estimates."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from gateway.errors import UpstreamRefused, UpstreamTimeout, UpstreamUnavailable
from gateway.facts import ABORTED, CANCELLED, SPARE
from gateway.legs import Legs, Model
from gateway.ports import ChatStream
from gateway.renting import Rents
from gateway.wire.chat import Chat
from gateway.wire.chunk import Chunk
from gateway.wire.completion import Completion
from routing.gpu_time import Rent
from routing.money import NOTHING_USED, Price, Usage
from routing.vocabulary import Role
from tests.fakes.calls import ClockedModel, asked

PRICE = Price(input=1, cached_input=1, output=10, reasoning=10)
PICO_A_SECOND = Rent(3600)
USAGE = Usage(input=100, output=10)


@pytest.fixture
def server() -> ClockedModel:
    return ClockedModel()


@pytest.fixture
def by_time(server: ClockedModel) -> Model:
    rents = Rents(server.clock)
    return Model(Role.STUDENT, server, PRICE, rents.rented("s", PICO_A_SECOND, is_by_time=True))


@pytest.fixture
def by_tokens(server: ClockedModel) -> Model:
    rents = Rents(server.clock)
    return Model(Role.STUDENT, server, PRICE, rents.rented("s", PICO_A_SECOND, is_by_time=False))


def failing(failure: Exception) -> Callable[[], Completion]:
    def fail() -> Completion:
        raise failure

    return fail


def rent_of(model: Model) -> int:
    assert model.rented is not None
    return model.rented.rent()


async def test_a_call_costs_its_time_or_its_tokens(
    server: ClockedModel, by_time: Model, by_tokens: Model
) -> None:
    legs = Legs(server.clock)
    for model in (by_time, by_tokens):
        await legs.ask(model, asked())
    assert [(leg.cost_pico, leg.usage) for leg in legs.made] == [(5, USAGE), (200, USAGE)]
    assert [leg.started for leg in legs.made] == [0, 5]
    assert rent_of(by_time) == rent_of(by_tokens) == 10


async def test_time_is_paid_for_a_call_that_was_left(server: ClockedModel, by_time: Model) -> None:
    server.does = failing(asyncio.CancelledError())  # type: ignore[arg-type]
    legs = Legs(server.clock)
    with pytest.raises(asyncio.CancelledError):
        await legs.ask(by_time, asked())
    (leg,) = legs.made
    assert (leg.error, leg.usage, leg.cost_pico) == (CANCELLED, None, 5)


@pytest.mark.parametrize(
    ("failure", "cost"),
    [
        (UpstreamUnavailable("away"), 0),
        (UpstreamRefused("no", param=None, upstream_status=400, is_too_long=False), 0),
        (UpstreamTimeout("late", is_usage_unknown=True), 5),
    ],
)
async def test_the_time_of_a_call_that_was_never_worked_on_is_idle(
    server: ClockedModel, by_time: Model, failure: Exception, cost: int
) -> None:
    server.does = failing(failure)
    legs = Legs(server.clock)
    with pytest.raises(type(failure)):
        await legs.ask(by_time, asked())
    assert legs.made[0].cost_pico == cost
    assert rent_of(by_time) == 5


async def test_drafts_beside_the_chosen_one_take_their_part_of_the_time(
    server: ClockedModel, by_time: Model
) -> None:
    legs = Legs(server.clock)
    await legs.ask(by_time, asked())
    legs.tell_apart(by_time, Usage(100, 3), Usage(0, 7))
    chosen, spare = legs.made
    assert (chosen.cost_pico, chosen.error) == (2, None)
    assert (spare.cost_pico, spare.error) == (3, SPARE)


async def test_drafts_beside_the_chosen_one_take_their_part_of_the_tokens(
    server: ClockedModel, by_tokens: Model
) -> None:
    legs = Legs(server.clock)
    await legs.ask(by_tokens, asked())
    legs.tell_apart(by_tokens, Usage(100, 3), Usage(0, 7))
    assert [leg.cost_pico for leg in legs.made] == [130, 70]


async def test_a_stream_that_is_handed_on_is_paid_once(
    server: ClockedModel, by_time: Model
) -> None:
    legs, later = Legs(server.clock), Legs(server.clock)
    leg = await legs.stream(by_time, asked())
    server.now = 3
    leg.hand_on(later)
    server.now = 7
    leg.close()
    leg.close()
    (before,), (after,) = legs.made, later.made
    assert (before.cost_pico, before.error, before.seconds) == (3, ABORTED, 3)
    assert (after.cost_pico, after.error, after.seconds) == (4, CANCELLED, 4)
    assert rent_of(by_time) == 7


async def test_a_stream_that_does_not_begin_is_over(server: ClockedModel, by_time: Model) -> None:
    async def fail(*_: object) -> ChatStream:
        server.now += 2
        raise UpstreamTimeout("late", is_usage_unknown=True)

    server.stream = fail  # type: ignore[method-assign]
    legs = Legs(server.clock)
    with pytest.raises(UpstreamTimeout):
        await legs.stream(by_time, asked())
    server.now = 9
    assert legs.made[0].cost_pico == 2
    assert rent_of(by_time) == 9


async def cut(server: ClockedModel, model: Model, chat: Chat, *chunks: Chunk) -> Legs:
    """The legs of a stream that is closed after these chunks."""
    legs = Legs(server.clock)
    leg = await legs.stream(model, chat)
    for chunk in chunks:
        server.streams[-1].received.add(chunk)
    leg.close(ABORTED)
    return legs


SAID = Chunk(body=b"{}", content="Par", told_tokens=2)
UNTOLD = Chunk(body=b"{}", content="Paris.")


async def test_a_cut_stream_is_estimated_from_what_came(
    server: ClockedModel, by_tokens: Model
) -> None:
    """The server wrote 10 tokens for the 6 characters of the whole answer before."""
    legs = Legs(server.clock)
    await legs.ask(by_tokens, asked())
    (leg,) = (await cut(server, by_tokens, asked(), SAID, UNTOLD)).made
    assert leg.usage == Usage(input=100, output=2 + 10)
    assert leg.is_estimated
    assert leg.cost_pico == 100 + 120


async def test_nothing_learnt_or_nothing_received_is_unknown(
    server: ClockedModel, by_tokens: Model
) -> None:
    (leg,) = (await cut(server, by_tokens, asked(), SAID)).made
    assert (leg.usage, leg.cost_pico, leg.is_estimated) == (None, None, False)
    await Legs(server.clock).ask(by_tokens, asked())
    role = Chunk(body=b"{}", has_choice=True)
    (leg,) = (await cut(server, by_tokens, asked(), role)).made
    assert (leg.usage, leg.cost_pico, leg.is_estimated) == (None, None, False)


@pytest.mark.parametrize(
    ("later", "usage"),
    [
        ((), Usage(100, 4, cached_input=50)),
        ((Chunk(body=b"{}", told_tokens=1, finish_reason="stop"),), Usage(100, 4, cached_input=50)),
        ((SAID,), Usage(100, 4 + 2, cached_input=50)),
        ((UNTOLD, SAID), Usage(100, 4 + 10 + 2, cached_input=50)),
    ],
)
async def test_text_that_came_after_the_servers_word_is_estimated(
    server: ClockedModel, by_tokens: Model, later: Sequence[Chunk], usage: Usage
) -> None:
    await Legs(server.clock).ask(by_tokens, asked())
    legs = Legs(server.clock)
    leg = await legs.stream(by_tokens, asked())
    stream = server.streams[-1]
    stream.received.add(SAID)
    stream.usage = Usage(100, 4, cached_input=50)
    stream.received.counted(is_end=False)
    for chunk in later:
        stream.received.add(chunk)
    leg.close(ABORTED)
    assert legs.made[0].usage == usage
    assert legs.made[0].is_estimated is (usage.output > 4)


async def test_no_answer_is_taken_to_be_longer_than_it_may_be(
    server: ClockedModel, by_tokens: Model
) -> None:
    await Legs(server.clock).ask(by_tokens, asked())
    short = asked(max_tokens=7, max_completion_tokens=90)
    (leg,) = (await cut(server, by_tokens, short, UNTOLD)).made
    assert leg.usage is not None
    assert leg.usage.output == 7


async def test_time_that_is_measured_needs_no_estimate(
    server: ClockedModel, by_time: Model
) -> None:
    await Legs(server.clock).ask(by_time, asked())
    (leg,) = (await cut(server, by_time, asked(), SAID)).made
    assert (leg.usage, leg.is_estimated) == (None, False)


async def test_pictures_teach_nothing_and_are_not_estimated(
    server: ClockedModel, by_tokens: Model
) -> None:
    part = {"type": "image_url", "image_url": {"url": "data:,"}}
    picture = asked(messages=[{"role": "user", "content": [part]}])
    await Legs(server.clock).ask(by_tokens, picture)
    (leg,) = (await cut(server, by_tokens, asked(), SAID)).made
    assert leg.usage is None
    await Legs(server.clock).ask(by_tokens, asked())
    (leg,) = (await cut(server, by_tokens, picture, SAID)).made
    assert leg.usage is None


async def test_a_finished_stream_teaches_what_came_before_its_usage(
    server: ClockedModel, by_tokens: Model
) -> None:
    leg = await Legs(server.clock).stream(by_tokens, asked())
    stream = server.streams[-1]
    stream.received.add(UNTOLD)
    stream.received.counted(is_end=True)
    stream.is_over, stream.usage = True, Usage(50, 3)
    leg.close()
    (leg_cut,) = (await cut(server, by_tokens, asked(), UNTOLD, UNTOLD)).made
    assert leg_cut.usage == Usage(50, 6)


@pytest.mark.parametrize(
    ("whole", "rest"),
    [
        (Usage(120, 30), Usage(20, 20)),
        (Usage(90, 30), Usage(0, 20)),  # the estimate was too high, and is not taken back
    ],
)
async def test_what_comes_after_an_estimate_is_estimated_too(
    server: ClockedModel, by_tokens: Model, whole: Usage, rest: Usage
) -> None:
    await Legs(server.clock).ask(by_tokens, asked())
    legs, later = Legs(server.clock), Legs(server.clock)
    leg = await legs.stream(by_tokens, asked())
    stream = server.streams[-1]
    stream.received.add(UNTOLD)
    leg.hand_on(later)
    stream.received.counted(is_end=True)
    stream.usage, stream.is_over = whole, True
    leg.close()
    assert legs.made[0].usage == USAGE
    assert later.made[0].usage == rest
    assert legs.made[0].is_estimated
    assert later.made[0].is_estimated


async def test_a_server_that_is_away_is_free_by_tokens(
    server: ClockedModel, by_tokens: Model
) -> None:
    server.does = failing(UpstreamUnavailable("away"))
    legs = Legs(server.clock)
    with pytest.raises(UpstreamUnavailable):
        await legs.ask(by_tokens, asked())
    assert legs.made[0].usage == NOTHING_USED
    assert legs.made[0].cost_pico == 0
