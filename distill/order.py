"""Which row is learnt when: drawn once for the whole training, so that any process knows it.

A training that was killed, or runs in several processes, reads the same rows in the same order.
"""

import random
from collections.abc import Sequence


def order_of(lengths: Sequence[int], batch_size: int, steps: int, seed: int) -> list[int]:
    """Positions of rows, ``batch_size`` for each step; every row once before any comes again.

    A step's rows are drawn at random, as they should be; only within the step the longest come
    first.  What is computed at once is then of about one length, and little of it is padding.
    Grouping whole steps by length would save more, and make a step a lesson in one kind of task.
    """
    drawn = random.Random(seed)
    waiting: list[int] = []
    order: list[int] = []
    for _ in range(steps):
        while len(waiting) < batch_size:
            again = list(range(len(lengths)))
            drawn.shuffle(again)
            waiting.extend(again)
        step, waiting = waiting[:batch_size], waiting[batch_size:]
        order.extend(sorted(step, key=lambda row: -lengths[row]))
    return order


def sample_of(count: int, most: int, seed: int) -> list[int]:
    """Which of ``count`` rows to measure on, at most ``most`` of them, in their own order."""
    if count <= most:
        return list(range(count))
    return sorted(random.Random(seed).sample(range(count), most))
