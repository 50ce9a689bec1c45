"""``understudy distill status``: who serves, who is tried and how that goes, what was done last."""

import json
import time
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.table import Table
from rich.text import Text

from distill.generations import CONFIGURED
from distill.replicas import SKEW_SECONDS, alive, orphaned
from routing.rollout import Generation, Generations
from routing.rollout_file import policy_version
from understudy.distill.narrating import step_document, step_line
from understudy.distill.registry import Place, Registry, opened
from understudy.telling import perform


def status(
    *,
    place: Place | None = None,
    steps: Annotated[int, Parameter(validator=Number(gte=0))] = 10,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Show a cascade's generations, its gateways, the evidence about a candidate, the last steps.

    Parameters
    ----------
    steps
        How many of the last steps.
    as_json
        Print JSON instead.
    """

    def work() -> int:
        with opened(place or Place()) as registry:
            told = document(registry, steps, time.time())
            lines = [step_line(each) for each in registry.steps(steps)] if not as_json else []
        if as_json:
            print(json.dumps(told, ensure_ascii=False))
        else:
            _show(told, lines)
        return 0

    return perform("tell", work)


def document(registry: Registry, steps: int, now: float) -> dict[str, Any]:
    """All of it, for ``--json``."""
    state = registry.state()
    heartbeats = registry.heartbeats()
    live = alive(heartbeats, now)
    lost = orphaned(state, live)
    known = lost is None
    return {
        "cascade": registry.cascade,
        "revision": 0 if state is None else state.revision,
        "lost": None if lost is None else registry.told_lost(lost),
        "incumbent": _generation(state.incumbent if state else None) if known else None,
        "previous": _generation(state.previous if state else None) if known else None,
        "rollout": _rollout(state, registry.reported(), now),
        "replicas": {
            name: {
                "alive": name in live,
                "seconds_ago": round(now - one.at, 1),
                "revision": one.revision,
                "open": dict(one.open),
                "refused": one.refused,
            }
            for name, one in sorted(heartbeats.items())
        },
        "steps": [step_document(each) for each in registry.steps(steps)],
    }


def _generation(generation: Generation | None) -> dict[str, Any]:
    if generation is None:
        return {"number": 0, "version": CONFIGURED}
    return {
        "number": generation.number,
        "version": generation.version,
        "base_url": generation.base_url,
        "model": generation.model,
        "policy": policy_version(generation.policy),
    }


def _rollout(
    state: Generations | None, seen: dict[str, Any] | None, now: float
) -> dict[str, Any] | None:
    if state is None or state.rollout is None:
        return None
    rollout = state.rollout
    is_of_this = seen is not None and seen.get("rollout") == rollout.id
    return {
        "id": rollout.id,
        "candidate": _generation(rollout.candidate),
        "stage": rollout.stage.value,
        "share": rollout.share,
        "holdout": rollout.holdout,
        "until": rollout.until,
        "is_watched": rollout.is_running(now),
        "seen": seen if is_of_this else None,
        "seen_seconds_ago": round(now - float(seen["at"]), 1) if seen and is_of_this else None,
    }


def _show(told: dict[str, Any], lines: list[str]) -> None:
    console = Console(highlight=False)
    table = Table(
        "", "generation", "version", title=f"{told['cascade']}: revision {told['revision']}"
    )
    for name in ("incumbent", "previous"):
        one = told[name] or {"number": "?", "version": "unknown"}
        table.add_row(name, str(one["number"]), Text(one["version"]))
    rollout = told["rollout"]
    if rollout is not None:
        candidate = rollout["candidate"]
        table.add_row("candidate", str(candidate["number"]), Text(candidate["version"]))
    console.print(table)
    if told["lost"] is not None:
        console.print(Text(told["lost"], style="bold red"), soft_wrap=True)
    if rollout is not None:
        _show_rollout(rollout, console)
    replicas = Table("gateway", "heard of", "revision", "requests under way", "refuses")
    for name, one in told["replicas"].items():
        ago = one["seconds_ago"]
        heard = f"{ago:,.0f} s ago" if ago > -SKEW_SECONDS else f"clock {-ago:,.0f} s ahead"
        under_way = ", ".join(f"{version}: {count}" for version, count in one["open"].items())
        replicas.add_row(
            Text(name),
            heard if one["alive"] else f"{heard}: gone",
            str(one["revision"]),
            Text(under_way),
            Text(one["refused"] or ""),
        )
    console.print(replicas)
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _show_rollout(rollout: dict[str, Any], console: Console) -> None:
    what = f"{rollout['stage']}, share {rollout['share']:g}"
    if rollout["is_watched"]:
        console.print(f"Being tried: {what}.")
    else:
        console.print(
            f"Dead: {what}. Nobody watches it any more, and gateways have left the candidate "
            "alone since: end it with `understudy distill rollback`.",
            style="bold red",
            soft_wrap=True,
        )
    seen = rollout["seen"]
    if seen is None:
        return
    table = Table("watched", "seen", "evidence of harm", "evidence of no harm")
    for one in seen["findings"]:
        no_harm = one["no_harm"]
        table.add_row(
            one["watched"],
            Text(one["told"]),
            f"{max(one['harm'], 0):.1f} of {one['harm_needed']:.1f}",
            "" if no_harm is None else f"{max(no_harm, 0):.1f} of {one['no_harm_needed']:.1f}",
        )
    console.print(table)
    console.print(f"Looked at {rollout['seen_seconds_ago']:,.0f} s ago.")
    for missing in seen["missing"] if rollout["is_watched"] else ():
        console.print(Text(f"Waiting for {missing}"), soft_wrap=True)
