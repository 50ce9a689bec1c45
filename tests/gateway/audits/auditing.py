"""A gateway whose kept drafts are audited, shared by many tests, one at a time."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
import yaml

from gateway.ports import StreamKind
from routing.breaker import Breaker
from routing.servers import Rest
from tests.fakes.journals import all_records
from tests.fakes.pair_schema import valid_audit, valid_pair
from tests.fakes.serving import Stage, server_of, stage, wait_until
from tests.fakes.steering import KEEPING, FakeSteering
from tests.fakes.upstream import UNSURE, Reply, completion

KEYS: dict[str, dict[str, Any]] = {
    "open": {},
    "private": {"may_store": False},
    "inside": {"may_escalate": False},
}
ALWAYS = {"share": 1.0, "complete_drafts": 0.0}
UNSURE_REPLY = Reply(body=completion("Rome?", UNSURE))
LYON = Reply(body=completion("Lyon."))


@dataclass
class Scene:
    """What one test does, and what came of it; numbers count from its beginning."""

    stage: Stage
    _records: int = 0
    _counts: dict[str, float] = field(default_factory=dict)
    _events: list[Event] = field(default_factory=list)

    def begin(self) -> None:
        """Forget what other tests did."""
        context = self.stage.gateway.context
        context.dice = lambda: 0.25
        for model in (self.stage.student, self.stage.teacher):
            model.requests.clear()
            model.reply = Reply()
        for upstream in self.stage.gateway.models:
            upstream.breaker, upstream.rest = Breaker(), Rest()
        for served in context.served.values():
            served.audits.retry_seconds = 0.0
            if served.audits.debt is not None:
                served.audits.debt.not_before = 0.0
        self._records, self._counts = len(self._all()), self._series()

    def end(self) -> None:
        """Let all that still waits go on; nobody steers any more."""
        for event in self._events:
            event.set()
        self.settle()
        context = self.stage.gateway.context
        for each in context.served.values():
            while each.audits.debt:
                each.audits.debt.take()
        context.served = {n: replace(each, steered=None) for n, each in context.served.items()}
        for each in context.served.values():
            assert each.audits.open == each.audits.comparing == 0

    def settle(self) -> None:
        """Wait until all that goes on behind requests is over."""
        context = self.stage.gateway.context
        wait_until(lambda: not (context.open_requests or context.background))

    def event(self) -> Event:
        """An event that a model may wait for."""
        made = Event()
        self._events.append(made)
        return made

    def steer(self, cascade: str = "assistant", **changes: Any) -> FakeSteering:
        """Have somebody steer a cascade, with this changed of what is in force."""
        context = self.stage.gateway.context
        steering = FakeSteering(replace(KEEPING, **changes))
        steered: Any = steering
        served = replace(context.served[cascade], steered=steered)
        context.served = {**context.served, cascade: served}
        return steering

    def ask(
        self, key: str = "open", *, timeout_seconds: float = 20.0, **changes: Any
    ) -> httpx.Response:
        """Ask with a key, by the name of what was agreed with it; the client waits so long."""
        return self.stage.client.post(
            "/v1/chat/completions",
            json=self.stage.question | changes,
            headers={"authorization": f"Bearer {key}"},
            timeout=timeout_seconds,
        )

    def leave_teacher_alone(self, cascade: str) -> None:
        """Open the breaker of its only server."""
        server = server_of(self.stage.gateway.context.served[cascade].cascade.teacher)
        for _ in range(5):
            server.breaker.failed(1e12)

    def audits(self) -> list[dict[str, Any]]:
        """What audits wrote, once they are over."""
        self.settle()
        mine = self._all()[self._records :]
        return [valid_audit(each) for kind, each in mine if kind is StreamKind.AUDITS]

    def pairs(self) -> list[dict[str, Any]]:
        """What escalations wrote."""
        self.settle()
        mine = self._all()[self._records :]
        lines = [b'{"pair":%s}' % each for kind, each in mine if kind is StreamKind.PAIRS]
        return [valid_pair(each) for each in lines]

    def counted(self, name: str, **labels: str) -> float:
        """How much a counter has grown."""
        self.settle()
        return self.stage.metric(name, **labels) - self._counts.get(_key(name, labels), 0.0)

    def skipped(self, cascade: str = "assistant") -> list[str]:
        """The causes for which drafts that were drawn were not audited."""
        self.settle()
        name, found = "understudy_audits_skipped_total", []
        for family in self.stage.gateway.context.observer.metrics.registry.collect():
            for sample in family.samples:
                if sample.name == name and sample.labels["cascade"] == cascade:
                    found += [sample.labels["cause"]] * int(self.counted(name, **sample.labels))
        return found

    def _all(self) -> list[tuple[StreamKind, bytes]]:
        frames = all_records(self.stage.folder / "state")
        return [(each.kind, bytes(each.record)) for each in frames]

    def _series(self) -> dict[str, float]:
        registry = self.stage.gateway.context.observer.metrics.registry
        return {
            _key(sample.name, sample.labels): sample.value
            for family in registry.collect()
            for sample in family.samples
        }


def _key(name: str, labels: Mapping[str, str]) -> str:
    return name + ",".join(f"{label}={labels[label]}" for label in sorted(labels))


@contextmanager
def auditing(
    folder: Path, cascade: dict[str, Any], others: dict[str, dict[str, Any]]
) -> Iterator[Stage]:
    """The stage, with a key for each name in KEYS."""
    path = folder / "keys.yaml"
    keys = [
        {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), **agreed}
        for name, agreed in KEYS.items()
    ]
    path.write_text(yaml.safe_dump({"keys": keys}))
    with (
        pytest.MonkeyPatch.context() as patch,
        stage(folder, cascade=cascade, others=others, settings={"keys_file": path}) as built,
    ):
        patch.setattr("gateway.audits.catching_up.LOOK_SECONDS", 0.02)
        patch.setattr("gateway.audits.debt.PAUSE_SECONDS", 0.0)
        wait_until(lambda: not built.gateway.context.background)
        yield built
