"""The whole run: two gateways, their models, a store, a Prometheus, and traffic of known cost."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fakes.serving import free_port, serving, wait_until
from tests.fakes.valkey import StoreServer, store_server
from tests.prometheus import acts
from tests.prometheus.acts import Act
from tests.prometheus.cascades import PROBES, configuration
from tests.prometheus.history import JOB, JUNE, MAY, SCRAPE_SECONDS, History, Replica, Span
from tests.prometheus.server import Prometheus, prometheus_in
from tests.prometheus.traffic import Player, Snapshot, Stage, keys_file, total
from tests.prometheus.upstreams import BookedModel
from tests.wire_server.process import process_serving

# The last rounds are all alike, so that a rate is known wherever it begins; they take five minutes.
ROUNDS = 21
# So many failures in a row, and a model is left alone for so long (docs/operating.md).
FAILURES_TO_OPEN = 5
REST_SECONDS = 5.2
REPLICAS = 2
# Coins thrown in a round: of those of all rounds at least 100 send a draft to the teacher, which is
# enough for an interval, but for one run in ten million.
COINS = 14
MINUTE = 60
PAIRS_BEFORE, PAIRS_EXPORTED = 7, 3
# Before the rounds nothing happens for more than the hour that is shown.
IDLE_MINUTES = 75


@dataclass
class Run:
    """Everything that runs, and what was seen of it.  ``spans`` become the history."""

    players: Sequence[Player]
    store: StoreServer
    prometheus: Prometheus
    snapshots: list[list[Snapshot]] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)

    def look(self, scrapes: int = 1, name: str | None = None) -> None:
        """Read the metrics of all replicas at a moment, which lasts for so many scrapes."""
        self.snapshots.append([player.snapshot() for player in self.players])
        self.spans.append(Span(len(self.snapshots) - 1, scrapes, name))

    def look_every(self, seconds: int) -> None:
        """The same for one scrape, with the next one so many seconds later."""
        self.look(0)
        self.spans.append(Span(len(self.snapshots) - 1, every=seconds))

    def idle(self, minutes: int, since: float, every: int) -> None:
        """Have the last moment last for some time from then on."""
        scrapes = minutes * MINUTE // every
        self.spans.append(Span(len(self.snapshots) - 1, scrapes, since=since, every=every))

    def play(self, *played: Sequence[Act]) -> None:
        """Send acts to the replicas, to each its own."""
        for player, each in zip(self.players, played, strict=False):
            player.play(each)

    def history(self) -> History:
        """What was seen, as Prometheus is to have it."""
        replicas = [
            Replica(f"gateway-{number}:9090", [row[number] for row in self.snapshots], player.books)
            for number, player in enumerate(self.players)
        ]
        return History(replicas, self.spans)


def round_of_all() -> list[Act]:
    """One round: what happens on a good day."""
    return [
        *acts.everyday("assistant"),
        acts.handed_over("assistant", "continue"),
        acts.everyday("coder.v2")[0],
        acts.finished("coder.v2"),
        acts.handed_over("coder.v2", "restart"),
        acts.several_drafts("agreeing"),
        *acts.everyday("agreeing")[2:3],
        *acts.unpriced("free"),
        *[acts.coin("measured")] * COINS,
        *acts.rented("rented"),
    ]


def play_all(run: Run) -> None:
    """The script of the traffic: quiet, trouble, and then a good while of the same."""
    for player in run.players:
        wait_until(lambda player=player: player.stage.probes >= PROBES)  # type: ignore[misc]
    run.look(0)
    run.idle(50, since=MAY, every=MINUTE)
    run.idle(10, since=MAY + 50 * MINUTE, every=SCRAPE_SECONDS)
    run.play([acts.outage("agreeing")] * FAILURES_TO_OPEN)
    opened = time.monotonic()
    run.play([acts.left_alone("agreeing")] * 2)
    run.look(4, name="outage")
    run.play([*acts.mishaps("assistant"), acts.handed_over("free", "never"), *acts.strangers()])
    run.play([*acts.everyday("coder.v2")[:3], *acts.untold("coder.v2")])
    run.look(4, name="mishaps")
    run.store.stop()
    run.play(acts.everyday("assistant"), acts.everyday("assistant"))
    run.look(4, name="store away")
    run.store.start()
    wait_until(lambda: all(_has_shipped(player) for player in run.players), seconds=20)
    wait_until(lambda: time.monotonic() > opened + REST_SECONDS)
    run.look(4, name="over")
    began = JUNE - MINUTE * IDLE_MINUTES - SCRAPE_SECONDS * (ROUNDS - 1)
    run.idle(IDLE_MINUTES, since=began, every=MINUTE)
    for number in range(ROUNDS):
        run.play(round_of_all(), acts.everyday("assistant"))
        run.look(name="end" if number == ROUNDS - 1 else None)


def _has_shipped(player: Player) -> bool:
    return total(player.page(), "understudy_journal_unshipped_bytes") == 0


@contextlib.contextmanager
def running(folder: Path, rules: Sequence[Path] = ()) -> Iterator[Run]:
    """Everything started, and nothing asked yet."""
    (folder / "store").mkdir()
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(store_server(folder / "store"))
        _store_pairs(store)
        gateways = [_replica(folder / f"replica-{number}", store) for number in range(REPLICAS)]
        with ThreadPoolExecutor(REPLICAS) as pool:  # a process takes seconds to start
            players = list(pool.map(stack.enter_context, gateways))
        targets = {JOB: [player.metrics_url.split("/")[2] for player in players]}
        where = folder / "prometheus"
        prometheus = stack.enter_context(prometheus_in(where, targets=targets, rules=rules))
        yield Run(players, store, prometheus)


def _store_pairs(store: StoreServer) -> None:
    """Pairs of an earlier day, of which an export has some."""
    stream = "understudy:{assistant}:pairs"
    with store.client() as client:
        for number in range(PAIRS_BEFORE):
            client.xadd(stream, {"pair": f'{{"id": "before-{number}"}}'})
        client.xgroup_create(stream, "export", id="0")
        read: Any = client.xreadgroup("export", "job", {stream: ">"}, count=PAIRS_EXPORTED)
        client.xack(stream, "export", *[entry for entry, _ in read[0][1]])


@contextlib.contextmanager
def _replica(folder: Path, store: StoreServer) -> Iterator[Player]:
    """A gateway between models of its own, which share the store with the other gateways."""
    folder.mkdir()
    stage = Stage()
    model = BookedModel(stage.say)
    with serving(model) as url:
        ops_port = free_port()
        environment = {
            "UNDERSTUDY_OPS_PORT": str(ops_port),
            "UNDERSTUDY_REDIS_URL": store.url,
            "UNDERSTUDY_KEYS_FILE": str(keys_file(folder)),
        }
        with process_serving(folder, configuration(url, folder), **environment) as gateway:
            player = Player(gateway.url, f"http://127.0.0.1:{ops_port}/metrics", model, stage)
            try:
                yield player
            finally:
                player.client.close()
