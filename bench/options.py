"""What ``python -m bench`` may be asked for."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.export import PAIRS
from bench.scenarios import MOST_CONCURRENT, Scenario
from bench.side_by_side import CONCURRENCIES as SIDE_CONCURRENCIES
from bench.side_by_side import ROUNDS
from bench.synthetic import ROWS, SEEDS, STEPS

# With these all that a plain run measures takes eight minutes on 2 cores.
REQUESTS = 3000
CONCURRENCIES = (1, 16, 32)
STREAMS = 30
STREAM_CONCURRENCIES = (1, 32)
# A model of 125 tokens a second: 32 of them leave a gateway on one core some air.
PAUSE_MS = 8
OPEN_STREAMS = 1000
PEERS = "peers"
TOKENS = "tokens"
STREAM = "stream"
STALLS = "stalls"
SCORE = "score"
OUTAGE = "outage"
EXPORT = "export"
GROWTH = "growth"
SYNTHETIC = "synthetic"
STEERED = "steered"


def parser_of(known: Sequence[Scenario]) -> argparse.ArgumentParser:
    """The parser, with the scenarios that there are."""
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Measure what a request costs the gateway, with authentication, metrics and "
        "pair log on, over a static upstream (64 tokens of log-probabilities): processor time, "
        "latency and memory beside those of other gateways, what a streamed token costs, when the "
        "first one comes, and what many open streams weigh. Ends with what is asked of the gateway "
        "and whether it is met. docs/benchmarks.md says how to read it.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    _add_scenario(parser, known)
    parser.add_argument(
        "--concurrency",
        type=_concurrency,
        nargs="+",
        metavar="N",
        help=f"requests that are open at once; without it {_listed(SIDE_CONCURRENCIES)} beside "
        f"peers, {_listed(CONCURRENCIES)} without, and {_listed(STREAM_CONCURRENCIES)} streams",
    )
    parser.add_argument(
        "--rounds", type=_whole, default=ROUNDS, help="seconds for each line beside peers"
    )
    parser.add_argument(
        "--requests",
        type=_whole,
        default=REQUESTS,
        help="measured requests for each line of keep, escalate, outage and steered, and all of "
        "growth",
    )
    parser.add_argument(
        "--streams", type=_whole, default=STREAMS, help="measured streams for each line, at least"
    )
    parser.add_argument(
        "--pause-ms", type=_whole, default=PAUSE_MS, help="what a model takes for a streamed token"
    )
    parser.add_argument(
        "--open-streams",
        type=_open_streams,
        default=OPEN_STREAMS,
        metavar="N",
        help="streams that are open at once while memory is read; 0 reads none",
    )
    parser.add_argument(
        "--pairs", type=_whole, default=PAIRS, help="how many pairs --scenario export puts in"
    )
    parser.add_argument(
        "--work-dir",
        type=Path,
        metavar="DIR",
        help="where --scenario export and synthetic have their files; synthetic leaves them there, "
        "and goes on where it stopped",
    )
    _add_synthetic(parser)
    parser.add_argument("--redis-url", help="ship pairs to this Redis while measuring")
    _add_outcome(parser)
    return parser


def _add_scenario(parser: argparse.ArgumentParser, known: Sequence[Scenario]) -> None:
    """Which part is measured."""
    parser.add_argument(
        "--scenario",
        choices=[
            *(PEERS, TOKENS, STREAM, STALLS, *(each.name for each in known)),
            *(SCORE, OUTAGE, EXPORT, GROWTH, SYNTHETIC, STEERED),
        ],
        help="measure this alone: peers (whole replies of ours and of other gateways, side by "
        "side; installs these on first use), tokens (what one more token of a stream costs ours "
        "and a bare relay), stream (when the first token comes, and memory), stalls (how late the "
        "event loop is beside prompts of a megabyte and scrapes); without it all of these. The "
        "others only where they are asked for: keep (the student's answer is served) and "
        "escalate, with the bench's own load generator and without peers; score (judging a "
        "draft of 256 tokens by a learnt policy, without any server), outage (escalations while "
        "the store is up, away and hung), export (pairs out of a Valkey into Parquet and a "
        "training set), growth (memory over --requests of which no two are alike; 500,000 say "
        "whether there is a trend), steered (kept answers of a cascade that is held to a promise, "
        "beside those of one that is not), or synthetic (rows that a teacher wrote where the "
        "student fails, against as many pairs of the traffic; trains for many minutes, and needs "
        "what `./dev distill train` installs)",
    )


def _add_outcome(parser: argparse.ArgumentParser) -> None:
    """What becomes of what was measured."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of the tables")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the JSON there as well")
    parser.add_argument(
        "--strict", action="store_true", help="fail, with status 3, where a target is missed"
    )
    parser.add_argument(
        "--at-most-us",
        type=float,
        metavar="N",
        help="with --scenario keep, escalate or score: fail when the first line costs more "
        "microseconds",
    )


def _add_synthetic(parser: argparse.ArgumentParser) -> None:
    """What ``--scenario synthetic`` alone reads."""
    options = (
        ("--rows", ROWS, "rows that --scenario synthetic adds"),
        ("--seeds", SEEDS, "how often --scenario synthetic trains both students"),
        ("--steps", STEPS, "steps of each training of --scenario synthetic"),
    )
    for name, default, told in options:
        parser.add_argument(name, type=_whole, default=default, metavar="N", help=told)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _whole(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _concurrency(text: str) -> int:
    number = _whole(text)
    if number > MOST_CONCURRENT:
        raise argparse.ArgumentTypeError(f"must be at most {MOST_CONCURRENT}")
    return number


def _open_streams(text: str) -> int:
    return 0 if text == "0" else _concurrency(text)
