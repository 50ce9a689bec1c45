"""``understudy simulate``: play an objective against traffic before it meets your own."""

import json as jsonlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from evaluation.applied import policy_in
from evaluation.errors import EvaluationError
from evaluation.scenarios.engine import play
from evaluation.scenarios.measures import Measures, measures_of
from evaluation.scenarios.population import population_of
from evaluation.scenarios.scenario import Recorded, Scenario
from evaluation.scenarios.timeline import Timeline
from gateway.config_file import ConfigError
from routing.policy import Policy, uncalibrated_default
from routing.policy_file import origin_from_document
from understudy.simulate.report import Played, document_of, show
from understudy.simulate.scenario_file import read_scenario

CANNOT_SIMULATE = 2
NOT_AS_EXPECTED = 1


def simulate(
    scenario: Path,
    *,
    runs: Annotated[int, Parameter(validator=Number(gte=1, lte=100_000))] = 1,
    minutes: Annotated[float | None, Parameter(validator=Number(gte=1))] = None,
    seed: Annotated[int, Parameter(validator=Number(gte=0))] = 0,
    json: Path | None = None,
    out: Path | None = None,
    check: bool = False,
) -> int:
    """Play a scenario: the real controllers against traffic that is made up or recorded.

    Parameters
    ----------
    scenario
        The YAML file: docs/simulating.md has every key, docs/scenarios has examples.
    runs
        How often, each with the next seed.
    minutes
        Play no more than so many of the scenario's minutes.
    seed
        Of the first run.
    json
        Write all measures to this file.
    out
        A folder for pictures of the first run over time: PNG and SVG.
    check
        Exit with 1 where the runs are not what the scenario's `expect` says.
    """
    console = Console(stderr=True)
    try:
        played = _played(_shortened(read_scenario(scenario), minutes), runs, seed, console)
        if json is not None:
            text = jsonlib.dumps(document_of(played), indent=1, allow_nan=False)
            json.write_text(text + "\n", encoding="utf-8")
        if out is not None:
            _draw(played, out)
    except (ConfigError, EvaluationError) as error:
        console.print(f"[bold red]Cannot simulate:[/] {escape(str(error))}", soft_wrap=True)
        return CANNOT_SIMULATE
    except OSError as error:
        console.print(f"[bold red]Cannot write:[/] {escape(str(error))}", soft_wrap=True)
        return CANNOT_SIMULATE
    show(played, Console())
    return NOT_AS_EXPECTED if check and not played.is_as_expected else 0


def _shortened(scenario: Scenario, minutes: float | None) -> Scenario:
    """The beginning of it; what would happen later does not."""
    if minutes is None:
        return scenario
    seconds = min(scenario.traffic.seconds, round(60 * minutes))
    return replace(
        scenario,
        traffic=replace(scenario.traffic, seconds=seconds),
        events=tuple(each for each in scenario.events if each.at < seconds),
    )


def _played(scenario: Scenario, runs: int, seed: int, console: Console) -> Played:
    scenario, policy = _judged(scenario)
    population = population_of(scenario, policy)
    first: Timeline | None = None
    measures: list[Measures] = []
    started = time.perf_counter()
    with _progress(console) as progress:
        playing = progress.add_task(f"playing {escape(scenario.name)}", total=runs)
        for number in range(runs):
            run = play(scenario, population, seed + number)
            first = run if first is None else first
            measures.append(measures_of(scenario, run))
            progress.advance(playing)
    assert first is not None  # noqa: S101 - the option is at least 1
    return Played(scenario, seed, tuple(measures), first, time.perf_counter() - started)


def _judged(scenario: Scenario) -> tuple[Scenario, Policy | None]:
    """With what judges recorded drafts, and what its file tells beside; None where all is made up.

    Raises EvaluationError where the file is no policy.
    """
    if not isinstance(scenario.population, Recorded):
        return scenario, None
    path, known = scenario.population.policy, None
    policy = uncalibrated_default()
    if path is not None:
        try:
            document = jsonlib.loads(path.read_bytes())
            policy, known = policy_in(document), origin_from_document(document).head_start
        except (OSError, ValueError) as error:
            raise EvaluationError(f"population.policy: {path}: cannot be used: {error}") from error
    cascade = replace(scenario.cascade, start=policy.threshold.value)
    return replace(scenario, cascade=cascade, known=known), policy


def _draw(played: Played, folder: Path) -> None:
    from evaluation.scenarios.pictures import draw  # a plotter is slow to load

    folder.mkdir(parents=True, exist_ok=True)
    draw(played.scenario, played.first, folder)


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        yield progress
