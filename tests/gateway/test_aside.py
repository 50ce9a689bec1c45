"""What is done with a large body does not hold up the event loop."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from gateway.aside import LARGE_BODY_BYTES, Aside

LARGE = bytes(LARGE_BODY_BYTES)
SMALL = bytes(LARGE_BODY_BYTES - 1)


@pytest.fixture
def aside() -> Iterator[Aside]:
    made = Aside()
    yield made
    made.close()


async def test_the_loop_goes_on_while_a_large_body_is_read(aside: Aside) -> None:
    has_gone_on = threading.Event()
    asyncio.get_running_loop().call_soon(has_gone_on.set)
    assert await aside.for_body(LARGE, lambda: has_gone_on.wait(5))


async def test_a_small_body_is_read_at_once(aside: Aside) -> None:
    assert await aside.for_body(SMALL, threading.current_thread) is threading.current_thread()


async def test_large_bodies_are_read_one_after_the_other(aside: Aside) -> None:
    threads = [aside.for_body(LARGE, threading.current_thread) for _ in range(4)]
    assert len(set(await asyncio.gather(*threads))) == 1


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
async def test_what_is_wrong_with_it_is_raised(aside: Aside, body: bytes) -> None:
    with pytest.raises(ValueError, match="wrong"):
        await aside.for_body(body, _wrong)


def _wrong() -> None:
    raise ValueError("wrong")
