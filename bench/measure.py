"""One run: everything is started, measured and ended, and a report made of it."""

import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench import peers, processes, verdict
from bench.driven import Driver, OwnLoad
from bench.environments import Absent
from bench.machine import Machine, this_machine
from bench.peers import PEERS, RELAY, Peer
from bench.processes import Cores, Progress, StartFailed
from bench.scenarios import SCENARIOS, Scenario, options, write_configuration
from bench.side_by_side import LeftOut, Side, SideBySide, SidePlan, SideReport
from bench.stalls import StallReport, measure_stalls
from bench.stand import Stand
from bench.streams import StreamPlan, StreamReport, Streams
from bench.token_costs import TokenCosts, TokenPlan, TokenReport
from bench.verdict import Verdict
from bench.whole import Measurement, Whole, WholePlan
from bench.wrk import find_wrk

PACKAGES = ("understudy", "fastapi", "uvicorn", "uvloop", "httptools", "msgspec")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure; each part only where it is wanted.

    ``whole`` is of ours alone, ``sides`` of ours beside ``peers``; stalls take ``stall_seconds``.
    """

    whole: WholePlan | None = None
    sides: SidePlan | None = None
    tokens: TokenPlan | None = None
    streams: StreamPlan | None = None
    stall_seconds: float = 0.0
    redis_url: str | None = None
    peers: Sequence[Peer] = PEERS

    @property
    def of_replies(self) -> list[Scenario]:
        """The cascades that whole replies need; none where none are wanted."""
        whole = [] if self.whole is None else list(self.whole.scenarios)
        return [*whole, *(SCENARIOS if self.sides is not None else ())]

    @property
    def of_streams(self) -> list[Scenario]:
        """The cascades that streams need; none where none are wanted."""
        streams = () if self.streams is None else self.streams.scenarios
        return [*streams, *(() if self.tokens is None else self.tokens.scenarios)]


@dataclass(frozen=True, slots=True)
class Found:
    """What was measured; ``load_generator`` asked the gateways side by side."""

    load_generator: str = OwnLoad.name
    sides: SideReport | None = None
    measurements: list[Measurement] = field(default_factory=list)
    tokens: TokenReport | None = None
    streams: StreamReport | None = None
    stalls: StallReport | None = None

    def verdicts(self) -> Iterator[Verdict]:
        """Each target of which something was measured."""
        if self.sides is not None:
            yield from verdict.of_sides(self.sides)
        if self.tokens is not None:
            yield from verdict.of_tokens(self.tokens)
        if self.streams is not None:
            yield from verdict.of_streams(self.streams)
        if self.stalls is not None:
            yield from verdict.of_stalls(self.stalls)


@dataclass(frozen=True, slots=True)
class Report:
    """One run: what was found, what of it is asked for, and what it was made with."""

    date: str
    seconds: float
    machine: Machine
    is_pinned: bool
    has_redis: bool
    versions: dict[str, str]
    found: Found
    verdicts: list[Verdict]


@dataclass(frozen=True, slots=True)
class _Run:
    """A plan that is being measured on a stand, in a folder."""

    plan: Plan
    stand: Stand
    folder: Path
    cores: Cores
    progress: Progress

    def replies(self) -> Found:
        """Whole replies: ours beside others, or alone."""
        whole: list[Measurement] = []
        if self.plan.whole is not None:
            whole = Whole(self.plan.whole, self.stand).measurements(self.progress)
        if self.plan.sides is None:
            return Found(measurements=whole)
        driver: Driver | None = find_wrk(self.cores.load, self.progress)
        if driver is None:
            driver = OwnLoad(self.stand.load)
        return Found(driver.name, self._sides(self.plan.sides, driver), whole)

    def _sides(self, plan: SidePlan, driver: Driver) -> SideReport:
        """Ours among its peers, those that can be had."""
        found: list[Side] = []
        absent: list[LeftOut] = []
        with ExitStack() as ends:
            for peer in self.plan.peers:
                try:
                    found.append(ends.enter_context(self._peer(peer)))
                except (Absent, StartFailed) as error:
                    absent.append(LeftOut(peer.name, None, str(error)))
            measured = SideBySide(plan, self.stand, driver, found)
            return measured.report(absent, self.progress)

    def tokens(self) -> TokenReport | None:
        """Ours and the relay."""
        if self.plan.tokens is None:
            return None
        with self._peer(RELAY) as relay:
            assert relay.process is not None
            return TokenCosts(self.plan.tokens, self.stand, relay.process).report(self.progress)

    def streams(self) -> StreamReport | None:
        """What clients see of streams."""
        if self.plan.streams is None:
            return None
        return Streams(self.plan.streams, self.stand).report(self.progress)

    @contextmanager
    def _peer(self, peer: Peer) -> Iterator[Side]:
        """A peer that is up.  Raises Absent and StartFailed."""
        port = self.stand.upstream_port
        place = peers.place_of(peer, self.folder, port, self.progress)
        self.progress(f"{peer.name} is starting")
        with peers.running(peer, place, self.cores.gateway) as process:
            yield Side(peer.name, peer.target(process.port), process, version=peer.version)


def measure(plan: Plan, progress: Progress) -> Report:
    """Start everything, measure, end everything.

    Raises StartFailed where one of our own processes does not come up, WrongReplies where one that
    is measured answers wrongly.
    """
    began = time.monotonic()
    cores = processes.cores()
    processes.raise_descriptor_limit()
    found = Found()
    if plan.of_replies:
        with _stand(plan, plan.of_replies, cores, progress) as run:
            found = run.replies()
    if plan.of_streams:  # on a gateway whose memory has not been used for anything else
        with _stand(plan, plan.of_streams, cores, progress) as run:
            found = replace(found, streams=run.streams(), tokens=run.tokens())
    if plan.stall_seconds:
        found = replace(found, stalls=measure_stalls(plan.stall_seconds, cores, progress))
    return Report(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - began, 1),
        machine=this_machine(),
        is_pinned=cores.is_pinned,
        has_redis=plan.redis_url is not None,
        versions={
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
        found=found,
        verdicts=list(found.verdicts()),
    )


@contextmanager
def _stand(
    plan: Plan, wanted: Sequence[Scenario], cores: Cores, progress: Progress
) -> Iterator[_Run]:
    """A gateway with these cascades over an upstream, neither of which has been asked anything."""
    with (
        tempfile.TemporaryDirectory(prefix="understudy-bench-") as name,
        processes.upstream(cores.upstream) as port,
        processes.load_generator(cores.load) as load,
    ):
        folder = Path(name)
        write_configuration(folder, wanted, port)
        with processes.gateway(folder, options(folder, plan.redis_url), cores.gateway) as gateway:
            yield _Run(plan, Stand(gateway, load, port), folder, cores, progress)
