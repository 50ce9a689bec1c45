"""``python -m tests.prometheus.lively``: a Prometheus with six lively hours of real gateways.

For whoever wants to look at the dashboards, or draw them: it takes two minutes, prints where it is
and until when it has data, and stays until Ctrl-C.  The hours are made of real metrics pages, read
between requests and put into Prometheus a minute apart.
"""

import contextlib
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.fakes.serving import wait_until
from tests.prometheus import acts
from tests.prometheus.acts import Act
from tests.prometheus.cascades import PROBES
from tests.prometheus.history import JUNE
from tests.prometheus.run import FAILURES_TO_OPEN, MINUTE, Run, round_of_all, running

HOURS = 6
MOST_REQUESTS = 12
# In minutes from the beginning: a teacher that fails, and a store that is away for so long.
OUTAGE, STORE_AWAY, AWAY_MINUTES = 120, 210, 30
SEED = 1


@contextlib.contextmanager
def lively(folder: Path, minutes: int = HOURS * 60) -> Iterator[tuple[str, float]]:
    """A running Prometheus' address, and the time at which its data ends."""
    with running(folder) as run:
        for player in run.players:
            wait_until(lambda player=player: player.stage.probes >= PROBES)  # type: ignore[misc]
        run.look(0)
        run.idle(1, since=JUNE - minutes * MINUTE, every=MINUTE)
        dice = random.Random(SEED)
        for minute in range(1, minutes + 1):
            _play(run, dice, minute, minutes)
            run.look_every(MINUTE)
        history = run.history()
        run.prometheus.stop()
        run.prometheus.backfill(history.lines())
        run.prometheus.start()
        yield run.prometheus.url, JUNE


def _play(run: Run, dice: random.Random, minute: int, minutes: int) -> None:
    """One minute: more at noon than at dawn, and now and then a mishap."""
    busy = 1 - abs(2 * minute / minutes - 1)
    count = 1 + round(busy * dice.uniform(0.5, 1) * MOST_REQUESTS)
    if minute == STORE_AWAY:
        run.store.stop()
    if minute == STORE_AWAY + AWAY_MINUTES:
        run.store.start()
    if minute == OUTAGE:
        run.play([acts.outage("agreeing")] * FAILURES_TO_OPEN)
    for player in run.players:
        player.play(dice.choices(_repertoire(), k=count))
        if dice.random() < 0.1:
            player.play([dice.choice(acts.mishaps("assistant"))])


def _repertoire() -> list[Act]:
    """Whatever does not ask the teacher that is left alone for a while."""
    return [act for act in round_of_all() if act.cascade != "agreeing"]


def main() -> None:
    """Make it, say where it is, and wait."""
    with tempfile.TemporaryDirectory() as name, lively(Path(name)) as (url, end):
        command = f"python -m grafana.pictures --prometheus {url} --scrape 60 --end {end:.0f}"
        sys.stdout.write(f"{url}, until {end:.0f}\n{command} --seconds {HOURS * 3600}\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                input()


if __name__ == "__main__":
    main()
