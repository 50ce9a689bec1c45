"""How far off tokens are that nobody counted: the numbers of docs/decisions/0012."""

import statistics
from collections.abc import Sequence

import msgspec
import pytest

from gateway.wire.completion import read_completion
from gateway.wire.received import characters_in
from routing.habits import Asked, Habits, Written
from routing.money import Usage
from tests.fakes.recordings import RECORDINGS, wholes


def replies() -> list[tuple[int, int, Usage]]:
    """Bytes of the request, characters of the reply, and what vLLM said that it took."""
    found = []
    for body, path, _ in (parameters.values for parameters in wholes(is_success=True)):
        if path.parent.name.startswith("vllm"):
            completion = read_completion(path.read_bytes())
            assert completion.usage is not None
            asked = len(msgspec.json.encode(body))
            found.append((asked, characters_in(completion.choices), completion.usage))
    return found


def spread(errors: Sequence[float]) -> tuple[float, float, float]:
    """The median and the ninth decile of their sizes, and their mean."""
    sizes = list(map(abs, errors))
    return statistics.median(sizes), statistics.quantiles(sizes, n=10)[8], statistics.mean(errors)


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"no recordings in {RECORDINGS}")
def test_an_estimate_is_fit_for_sums_and_not_for_one_request() -> None:
    seen = replies()
    assert len(seen) == 48
    read, wrote = [], []
    for place, (asked, characters, usage) in enumerate(seen):
        habits = Habits()
        for other_asked, other_characters, other_usage in seen[:place] + seen[place + 1 :]:
            habits.learn(other_usage, other_asked, other_characters)
        guess = habits.estimate(Asked(asked), Written(0, characters))
        assert guess is not None
        read.append(guess.input / usage.input - 1)
        if characters:
            wrote.append(guess.output / usage.output - 1)
    assert spread(read) == pytest.approx((0.24, 0.86, 0.01), abs=0.005)
    assert spread(wrote) == pytest.approx((0.33, 0.76, 0.13), abs=0.005)
