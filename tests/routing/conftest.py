"""What coverage looks at: the tests that are about a line, and not the simulations."""

from collections.abc import Generator

import pytest
from coverage import Coverage


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Nothing of a simulation counts: it runs the same lines thousands of times.

    Under coverage each of them takes four times as long.
    """
    counting = Coverage.current() if item.get_closest_marker("simulated") else None
    if counting is None:
        return (yield)
    counting.stop()
    try:
        return (yield)
    finally:
        counting.start()
