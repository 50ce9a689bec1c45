"""``understudy distill promote``: let a candidate in, step by step, or send it back."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from distill.generations import tries_of
from distill.rollouts import Plan, retried
from understudy.distill.driving import BACK, Errand, Promotion, check_free
from understudy.distill.narrating import Narrator
from understudy.distill.options import Gate, Manner, Smoke
from understudy.distill.people import configured, stopping, undoing, whoami
from understudy.distill.preparing import check_clocks, is_let_past, is_the_same, load
from understudy.distill.proposing import Choice, proposed
from understudy.distill.registry import Place, Registry, opened
from understudy.telling import perform

# So many of the last steps say how often a candidate was tried before.
MOST_STEPS = 500


def promote(
    *,
    config: Annotated[Path, Parameter(env_var="UNDERSTUDY_CONFIG")],
    choice: Choice,
    place: Place | None = None,
    gate: Gate | None = None,
    manner: Manner | None = None,
    smoke: Smoke | None = None,
    who: str | None = None,
    why: str | None = None,
    lease_seconds: Annotated[float, Parameter(validator=Number(gte=1))] = 60.0,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Let a candidate generation in: gate, smoke test, shadow, shares of sessions, promoted.

    It goes back by itself where it does harm, or nobody can tell whether it does.  Stays until that
    is decided.  Ends with status 0 where the candidate is promoted, 1 where it is refused or went
    back, 2 where nothing could begin, 130 where it was interrupted, and the candidate went back.

    Parameters
    ----------
    config
        The YAML file with the cascades.
    who
        Who does it, for the registry; the user and host, unless said.
    why
        Why, for the registry.
    lease_seconds
        How long gateways go on with the candidate after the last word from here.
    as_json
        Print a JSON object a line for each step.
    """
    narrator = Narrator(as_json)
    where = place or Place()

    def work() -> int:
        first = (manner or Manner()).plan()
        loaded = configured(config, where)
        with (
            opened(Place(where.redis_url, loaded.name)) as registry,
            undoing(),
            ExitStack() as undo,
        ):
            check_free(state := registry.basis(time.time()), time.time())
            found = proposed(choice, state, loaded)
            if not is_let_past(found.checks(state, loaded, (gate or Gate()).limits), narrator):
                return BACK
            plan = _as_tried(first, registry, found.version, narrator)
            errand = Errand(
                candidate=found.generation(),
                plan=plan,
                who=who or whoami(),
                why=why or found.why(),
                key=loaded.student_key,
                lease_seconds=lease_seconds,
            )
            check_clocks(registry)
            load(found, registry, loaded.student_key, undo)
            if not is_the_same(found, loaded, smoke or Smoke(), narrator):
                return BACK
            with stopping() as world, narrator.speaking():
                promotion = Promotion(registry, errand, world, narrator)
                promotion.begin()
                undo.pop_all()  # what is loaded now belongs to the state that names it
                return promotion.finish()

    return perform("promote", work)


def _as_tried(plan: Plan, registry: Registry, version: str, narrator: Narrator) -> Plan:
    """The plan, stricter for a candidate that was tried before; says so."""
    tries = tries_of(version, registry.steps(MOST_STEPS))
    if not tries:
        return plan
    stricter = retried(plan, tries)
    narrator.note(
        "tried_before",
        f"{version} has served sessions as a candidate before, rollouts: {tries}; alpha is "
        f"{stricter.alpha:g} in place of {plan.alpha:g}, lest it gets in by being tried often",
    )
    return stricter
