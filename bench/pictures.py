"""``python -m bench.pictures``: a scripted hour in a few minutes, and each dashboard drawn of it.

Two real gateways with a real store under scripted clients, between models that are made
(bench/actors.py), scraped by a real Prometheus.  Nothing is drawn that Prometheus did not answer.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import yaml

from bench import processes, scenarios
from bench.actors import STUDENT, TEACHER, VERDICTS, evidence, logprob_entry, question, words
from bench.processes import Pipes, StartFailed
from bench.visitors import Incident, Script, visit
from grafana.pictures.__main__ import OUT, draw_all
from grafana.pictures.answers import Prometheus
from understudy.demo.processes import LOOPBACK, free_ports
from understudy.demo.services import valkey_program

RECORDS = 3000
SCRAPE_SECONDS = 2
VERSION = "orders-8b-2026-11"
TEACHER_AWAY = Incident(TEACHER, 0.4, 0.47)
REPLICAS = 2
FAILED_EXIT_CODE = 1
INTERRUPTED_EXIT_CODE = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Play and draw as told by the arguments; the exit status."""
    parser = argparse.ArgumentParser(
        prog="pictures",
        description="Draw the dashboards: two gateways under scripted clients, scraped by a "
        "Prometheus of its own (Debian: apt install prometheus). For pictures of your own "
        "gateways see python -m grafana.pictures --help.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=15, help="how long clients come")
    parser.add_argument(
        "--per-second", type=float, default=5, help="requests a second, in the mean"
    )
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR")
    options = parser.parse_args(arguments)
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        with tempfile.TemporaryDirectory(prefix="understudy-pictures-") as name:
            drawn = _play(Path(name), options.minutes * 60, options.per_second, options.out)
    except StartFailed as error:
        sys.stderr.write(f"no pictures: {error}\n")
        return FAILED_EXIT_CODE
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return INTERRUPTED_EXIT_CODE
    finally:
        signal.signal(signal.SIGTERM, before)
    sys.stdout.writelines(f"{path}\n" for path in drawn)
    return 0


def _stop(*_: object) -> None:
    """End as Ctrl-C does, so that the other processes and the temporary files go too."""
    raise KeyboardInterrupt


def _play(folder: Path, seconds: float, per_second: float, out: Path) -> list[Path]:
    program = shutil.which("prometheus")
    if program is None:
        raise StartFailed("prometheus is not installed (Debian: apt install prometheus)")
    with contextlib.ExitStack() as ends:
        models = ends.enter_context(_actors())
        store = ends.enter_context(_store(folder / "store"))
        _write_policy(folder)
        _write_configuration(folder, models)
        options = scenarios.options(folder, store)
        gateways = []
        for number in range(REPLICAS):
            own = folder / f"replica-{number}"
            own.mkdir()
            gateways.append(ends.enter_context(processes.gateway(own, options, None)).port)
        prometheus = ends.enter_context(_prometheus(program, folder / "prometheus", gateways))
        script = Script(
            gateways=[f"http://{LOOPBACK}:{port}" for port in gateways],
            models=models,
            key=scenarios.KEY,
            cascades=(("assistant", 0.5), ("coder", 0.2), ("writer", 0.3)),
            seconds=seconds,
            per_second=per_second,
            incidents=(TEACHER_AWAY,),
        )
        sent = asyncio.run(_visit(script, lambda: _export(folder, store)))
        sys.stderr.write(f"{sent} requests sent\n")
        time.sleep(2 * SCRAPE_SECONDS)  # for the last of them to be seen
        return draw_all(Prometheus(prometheus, SCRAPE_SECONDS), time.time(), seconds, out)


@contextlib.contextmanager
def _actors() -> Iterator[str]:
    """Both models; yields where they are."""
    command = [sys.executable, "-m", "bench.actors"]
    with processes.child(command, None, Pipes(stdout=subprocess.PIPE), os.environ) as process:
        assert process.stdout is not None
        port = process.stdout.readline()
        if not port:
            raise StartFailed("the models ended at once")
        yield f"http://{LOOPBACK}:{int(port)}"


@contextlib.contextmanager
def _store(folder: Path) -> Iterator[str]:
    """A Valkey of our own; yields its address."""
    (port,) = free_ports(1)
    program, url = valkey_program(port, folder)
    quiet = Pipes(stdout=subprocess.DEVNULL)
    with processes.child(_tied(program.command), None, quiet, os.environ) as process:
        _wait(program.is_ready, process, "the store")
        yield url


@contextlib.contextmanager
def _prometheus(program: str, folder: Path, gateways: Sequence[int]) -> Iterator[str]:
    """A Prometheus that scrapes the gateways; yields its address."""
    (port,) = free_ports(1)
    folder.mkdir()
    targets = [f"{LOOPBACK}:{each}" for each in gateways]
    job = {"job_name": "understudy", "static_configs": [{"targets": targets}]}
    every = {"scrape_interval": f"{SCRAPE_SECONDS}s", "scrape_timeout": f"{SCRAPE_SECONDS}s"}
    config = folder / "prometheus.yaml"
    config.write_text(yaml.safe_dump({"global": every, "scrape_configs": [job]}))
    command = [program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    options = [f"--web.listen-address={LOOPBACK}:{port}", "--log.level=error"]
    url = f"http://{LOOPBACK}:{port}"

    def is_ready() -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/-/ready"):  # noqa: S310
            return True
        return False

    with processes.child(_tied([*command, *options]), None, Pipes(), os.environ) as process:
        _wait(is_ready, process, "Prometheus")
        yield url


def _tied(command: Sequence[str]) -> list[str]:
    """A program that knows nothing of us ends with us all the same, even where we are killed."""
    parent = str(os.getpid())
    tie = [sys.executable, "-m", "understudy.demo.lifeline", "--parent", parent, "--"]
    return [*tie, *command]


def _wait(is_ready: Callable[[], bool], process: subprocess.Popen[bytes], name: str) -> None:
    end = time.monotonic() + processes.START_SECONDS
    while not is_ready():
        if time.monotonic() > end or process.poll() is not None:
            raise StartFailed(f"{name} did not start")
        time.sleep(processes.POLL_SECONDS)


async def _visit(script: Script, export: Callable[[], None]) -> int:
    """Let the clients come, and take out after a third of the time what there is by then."""
    visits = asyncio.create_task(visit(script))
    await asyncio.sleep(script.seconds / 3)
    await asyncio.to_thread(export)
    return await visits


def _export(folder: Path, store: str) -> None:
    """Export one cascade's pairs; from now on the store knows which are in no export."""
    command = [sys.executable, "-m", "understudy", "pairs", "export", str(folder / "export")]
    options = ["--redis-url", store, "--cascade", "assistant"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise StartFailed(f"nothing could be exported:\n{done.stdout}{done.stderr}")


def _write_policy(folder: Path) -> None:
    """Fit one as anybody would, on labelled records of the same made student."""
    records = folder / "records.jsonl"
    with records.open("w") as written:
        for number in range(10_000_000, 10_000_000 + RECORDS):
            written.write(json.dumps(_record(number)) + "\n")
    command = [sys.executable, "-m", "understudy", "calibrate", str(records)]
    options = ["--target", "disagreement=0.09", "--cascade", "assistant"]
    out = ["--student-version", VERSION, "--out", str(folder / "policy.json")]
    done = subprocess.run([*command, *options, *out], capture_output=True, text=True, check=False)
    if done.returncode:
        raise StartFailed(f"no policy could be fitted:\n{done.stdout}{done.stderr}")


def _record(number: int) -> dict[str, object]:
    asked = question(number % 1_000_000)
    said = [logprob_entry(*pair) for pair in zip(words(asked.tokens), evidence(asked), strict=True)]
    return {
        "id": f"q{number}",
        "request": {
            "messages": [{"role": "user", "content": f"Where is order {number}?"}],
            "temperature": 0,
        },
        "student": {
            "text": "".join(words(asked.tokens)),
            "tokens": [each["token"] for each in said],
            "token_logprobs": [each["logprob"] for each in said],
            "top_logprobs": [[top["logprob"] for top in each["top_logprobs"]] for each in said],
            "finish_reason": "stop",
            "complete": True,
            "version": VERSION,
            "ok": asked.is_answered_well,
        },
        "teacher": {"text": "as it is", "ok": True},
    }


def _write_configuration(folder: Path, models: str) -> None:
    """Three cascades: one priced by tokens with a fitted policy, one whose GPUs are rented and that
    is held to a rate of escalations, and one that earns a promise of quality."""
    scenarios.write_configuration(folder, (), 0)  # the keys
    student = {"base_url": f"{models}/{STUDENT}/v1", "model": "orders-8b", "running_usage": True}
    teacher = {"base_url": f"{models}/{TEACHER}/v1", "model": "large-235b", "running_usage": True}
    assistant = {
        "student": student
        | {"version": VERSION, "price": {"input": 0.02, "cached_input": 0.01, "output": 0.06}},
        "teacher": teacher
        | {
            "max_concurrent": 32,
            "outputs_may_train": True,
            "price": {"input": 0.6, "cached_input": 0.3, "output": 2.4},
        },
        "policy": str(folder / "policy.json"),
        "streaming": {"early_abort": True},
        "audit": {"complete_drafts": 0.2, "holdout": 0.06},
        "budget": {"usd_per_month": 600},
    }
    coder = {
        "student": student
        | {"version": "code-3b-2026-10", "price": {"input": 0.01, "output": 0.03}},
        "teacher": teacher | {"max_concurrent": 8, "price": _rent()},
        "objective": {"kind": "escalation_rate", "at_most": 0.35},
        "streaming": {"early_abort": True},
        "audit": {"complete_drafts": 0.2, "holdout": 0.15},
        "budget": {"usd_per_month": 2000},
    }
    writer = {
        "student": assistant["student"],
        "teacher": assistant["teacher"],
        "comparator": {"kind": "label", "labels": list(VERDICTS)},
        "objective": {
            "kind": "quality",
            "disagreement_at_most": 0.3,
            "with_probability": 0.9,
            "hold_at_most": 100,
        },
        "audit": {"share": 0.1, "complete_drafts": 0.5},
    }
    cascades = {"cascades": {"assistant": assistant, "coder": coder, "writer": writer}}
    (folder / "cascades.yaml").write_text(yaml.safe_dump(cascades))


def _rent() -> dict[str, object]:
    """One GPU that both gateways share, billed by its time, and what it can do at most."""
    throughput = {"input_tokens_per_second": 4_000, "output_tokens_per_second": 200}
    return {
        "gpu_usd_per_hour": 3.2,
        "gpus": 1,
        "gateways": REPLICAS,
        "by": "time",
        "reference": throughput,
    }


if __name__ == "__main__":
    sys.exit(main())
