"""Tells what a rollout does: lines and a live one for people, a JSON object a step for programs."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from distill.rollouts import Back, Decision, Finding, Plan, Trial, Wait, describe
from evaluation.sequential import Count, needed
from routing.rollout import Generations, Step
from routing.tally import Tallies

# Where nobody sees a line change, it is written anew so often.
LOG_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What a trial has come to by now."""

    rollout: str
    trial: Trial
    seconds: float
    plan: Plan
    findings: Sequence[Finding]
    decision: Decision
    tallies: Tallies

    def document(self) -> dict[str, Any]:
        """For ``status``, and for whoever reads along."""
        decision = self.decision
        tallies = self.tallies
        return {
            "rollout": self.rollout,
            "stage": self.trial.stage.value,
            "share": self.trial.share,
            "seconds": round(self.seconds, 1),
            "seconds_at_most": self.plan.seconds,
            "decision": type(decision).__name__.lower(),
            "missing": list(decision.missing) if isinstance(decision, Wait) else [],
            "why": None if isinstance(decision, Wait) else decision.why,
            "findings": [self._finding(one) for one in self.findings],
            "incumbent": tallies.incumbent.document(),
            "candidate": tallies.candidate.document(),
            "shadow": tallies.shadow.document(),
        }

    def _finding(self, finding: Finding) -> dict[str, Any]:
        plan = self.plan
        return {
            "watched": finding.watched.value,
            "told": describe(finding),
            "candidate": _count(finding.candidate),
            "incumbent": None if finding.incumbent is None else _count(finding.incumbent),
            "bound": finding.bound,
            "harm": round(finding.harm, 3),
            "harm_needed": round(needed(plan.alpha_of_each), 3),
            "no_harm": None if finding.no_harm is None else round(finding.no_harm, 3),
            "no_harm_needed": round(needed(plan.alpha), 3),
        }

    def line(self) -> str:
        """What is going on, in one line."""
        told = "; ".join(describe(one) for one in self.findings)
        waiting = "; ".join(self.decision.missing) if isinstance(self.decision, Wait) else ""
        return f"{self.trial}, {self.seconds:,.0f} s: {told}. Waiting for {waiting or 'nothing'}"


def _count(count: Count) -> dict[str, int]:
    return {"happened": count.happened, "of": count.of}


def step_document(step: Step) -> dict[str, Any]:
    """A step as ``--json`` has it."""
    return {
        "action": step.action.value,
        "version": step.version,
        "at": step.at,
        "who": step.who,
        "why": step.why,
    }


def step_line(step: Step) -> str:
    """A step as people read it."""
    at = datetime.fromtimestamp(step.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    action = step.action.value.replace("_", " ")
    return f"{at}  {action} {step.version}, {step.who}: {step.why}"


@dataclass(slots=True)
class Narrator:
    """Says it on standard output."""

    is_json: bool
    console: Console = field(default_factory=lambda: Console(highlight=False))
    _live: Live | None = None
    _logged_at: float | None = None

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """Show what goes on, where somebody watches a terminal."""
        if self.is_json or not self.console.is_terminal:
            yield
            return
        with Live(console=self.console, refresh_per_second=2, transient=True) as self._live:
            yield
        self._live = None

    def step(self, state: Generations) -> None:
        """A step was taken."""
        self._logged_at = None
        if self.is_json:
            told = {"event": "step", "revision": state.revision, **step_document(state.last)}
            self._print_json(told)
        else:
            self._print(step_line(state.last))

    def note(self, kind: str, text: str) -> None:
        """Something else happened."""
        if self.is_json:
            self._print_json({"event": kind, "told": text})
        else:
            self._print(text)

    def check(self, name: str, why: str, *, is_passed: bool) -> None:
        """Something was asked of the candidate before anybody gets anything of it."""
        if self.is_json:
            self._print_json({"event": "check", "name": name, "passed": is_passed, "why": why})
        else:
            self._print(f"{'passed' if is_passed else 'REFUSED'}  {name}: {why}")

    def seen(self, seen: Seen) -> None:
        """The counts have been looked at."""
        if self.is_json:
            return
        if self._live is not None:
            self._live.update(Text(seen.line()))
        elif self._is_due() or isinstance(seen.decision, Back):
            self._print(seen.line())

    def _is_due(self) -> bool:
        now = time.monotonic()
        if self._logged_at is not None and now - self._logged_at < LOG_SECONDS:
            return False
        self._logged_at = now
        return True

    def _print(self, text: str) -> None:
        self.console.print(Text(text), soft_wrap=True)

    def _print_json(self, told: dict[str, Any]) -> None:
        print(json.dumps(told, ensure_ascii=False), flush=True)
