"""The demo from start to finish: start everything, ask, compare, tell.

The gateway is asked first and the teacher alone afterwards, so that neither takes the other's
share of the processor.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from redis.asyncio import Redis
from rich.console import Console

from understudy.demo import services
from understudy.demo.asking import Reply, ask_all
from understudy.demo.calibrating import Calibration, calibrate
from understudy.demo.evidence import mark_stream, read_metrics, wait_for_pairs
from understudy.demo.figures import Run, drafts_of, escalated_ids, has_succeeded
from understudy.demo.options import TEACHER_KEY_VARIABLE, DemoOptions, Model
from understudy.demo.processes import Processes, ProcessFailedError, free_ports
from understudy.demo.report import Places, Watch, next_steps, summary
from understudy.demo.state import hold_state
from understudy.demo.workload import Task, generate

WATCH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that is up: the models, the gateway's and the store's URLs."""

    student: Model
    teacher: Model
    gateway_url: str
    store_url: str

    @property
    def cascade(self) -> Model:
        """The gateway's cascade, as a client sees it."""
        return Model(f"{self.gateway_url}/v1", services.CASCADE)


def run_demo(options: DemoOptions, console: Console) -> int:
    """Run the demo; 0 where every request was answered and all figures agree, else 1.

    Raises ProcessFailedError, StateInUseError, and ValueError for more requests than there are.
    Whatever happens, every process that it started has ended when it returns.
    """
    drawn = generate(options.seed, options.requests + options.calibration)
    tasks, labelled = drawn[: options.requests], drawn[options.requests :]
    state_dir = options.state_dir.resolve()
    with hold_state(state_dir), Processes(state_dir / "logs") as processes:
        started = time.monotonic()
        with console.status("Starting the student, the teacher and the store") as status:
            models = _start_models(options, state_dir, processes)
            calibration = None
            if labelled:

                def watch(done: int) -> None:
                    status.update(f"Calibrating: {done} of {len(labelled)} labelled questions")

                calibration = _calibrate(models, labelled, processes, watch)
            status.update("Starting the gateway")
            stage = _start_gateway(models, calibration, processes)
        run = asyncio.run(_perform(stage, tasks, console))
        run = replace(run, calibration=calibration)
        console.print(summary(run))
        console.print(f"It took {time.monotonic() - started:.0f} seconds.", highlight=False)
        places = Places(
            gateway=stage.gateway_url,
            store=stage.store_url,
            config=state_dir / "gateway.yaml",
            pairs=None if options.redis_url is not None else state_dir / "valkey",
            logs=state_dir / "logs",
        )
        words = next_steps(places, is_up=options.serve)
        console.print(words, highlight=False, markup=False, soft_wrap=True)
        while options.serve:
            processes.check()
            time.sleep(WATCH_SECONDS)
    return 0 if has_succeeded(run) else 1


@dataclass(frozen=True, slots=True)
class _Models:
    """What the gateway stands on, up and answering, and where it is configured."""

    student: Model
    teacher: Model
    store_url: str
    config: Path
    port: int


def _start_models(options: DemoOptions, state_dir: Path, processes: Processes) -> _Models:
    ports = free_ports(4)
    student_program, student = services.student_program(ports[0], options.threads)
    programs = [student_program]
    teacher, store_url = options.teacher, options.redis_url
    if teacher is None:
        program, teacher = services.teacher_program(ports[1], options.teacher_delay_ms)
        programs.append(program)
    if store_url is not None and not services.pings(store_url)():
        raise ProcessFailedError("no Redis answers at the address given by --redis-url")
    if store_url is None:
        program, store_url = services.valkey_program(ports[2], state_dir / "valkey")
        programs.append(program)

    for program in programs:
        processes.start(program)
    for program in programs:
        processes.wait_ready(program)
    config = state_dir / "gateway.yaml"
    return _Models(student, teacher, store_url, config, options.port or ports[3])


def _calibrate(
    models: _Models, tasks: Sequence[Task], processes: Processes, watch: Callable[[int], None]
) -> Calibration:
    """A policy from labelled questions.  The teacher is not asked, and so needs no key."""
    services.write_config(models.config, models.student, replace(models.teacher, key=None))
    in_turn = sorted(tasks, key=lambda task: task.family)  # the student reads its examples once
    return calibrate(in_turn, models.config, processes, watch)


def _start_gateway(models: _Models, calibration: Calibration | None, processes: Processes) -> Stage:
    policy = None if calibration is None else calibration.policy
    services.write_config(models.config, models.student, models.teacher, policy)
    environment = {"UNDERSTUDY_REDIS_URL": models.store_url}
    if models.teacher.key is not None:
        environment[TEACHER_KEY_VARIABLE] = models.teacher.key
    gateway, url = services.gateway_program(
        models.port, models.config, models.config.parent / "gateway", environment
    )
    processes.start(gateway)
    processes.wait_ready(gateway)
    return Stage(models.student, models.teacher, url, models.store_url)


async def _perform(stage: Stage, tasks: Sequence[Task], console: Console) -> Run:
    async with Redis.from_url(stage.store_url) as store:
        before = await mark_stream(store)
        with Watch(console, tasks).shown() as watch:
            through_gateway = watch.begin("through the gateway", len(tasks))

            def on_reply(reply: Reply) -> None:
                watch.count(reply)
                through_gateway.advance(reply)

            cascade = await ask_all(stage.cascade, tasks, on_reply, streams=True)
            metrics = await read_metrics(stage.gateway_url)
            pairs = await wait_for_pairs(store, before, escalated_ids(cascade))
            drafts = {reply.task.id: reply for reply in drafts_of(cascade, pairs)}
            rest = [task for task in tasks if task.id not in drafts]
            if rest:
                bar = watch.begin("the student alone", len(rest))
                replies = await ask_all(stage.student, rest, bar.advance)
                drafts |= {reply.task.id: reply for reply in replies}
            bar = watch.begin("the teacher alone", len(tasks))
            teacher = await ask_all(stage.teacher, tasks, bar.advance)
        after = await mark_stream(store)
    student = [drafts[task.id] for task in tasks]
    return Run(cascade, student, teacher, metrics, pairs, before, after)
