"""Which of routing's controllers holds an objective, as the gateway makes it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from evaluation.errors import EvaluationError
from evaluation.scenarios.population import SILENT
from evaluation.scenarios.scenario import EscalationRate, Fixed, Quality, Scenario, Spend
from evaluation.scenarios.world import World
from routing.money import PICO_PER_USD
from routing.pacing import new_pacer, pacer_from_document
from routing.pacing_goal import RateGoal, SpendGoal
from routing.promise import (
    HeadStart,
    Terms,
    head_start_of,
    new_promise,
    promise_from_document,
)
from routing.steering import Controller, Report, Standing
from routing.vocabulary import Threshold

Reviver = Callable[[object], Controller]


@dataclass(frozen=True, slots=True)
class FixedController:
    """A threshold that nothing moves: the objective ``confidence``."""

    at_least: float
    audit: float

    @property
    def standing(self) -> Standing:
        """The same at all times."""
        line = f"confidence: at least {self.at_least:g}"
        return Standing(1, 1, self.at_least, audit=self.audit, line=line)

    def advance(self, reports: Sequence[Report], now: float) -> "FixedController":
        """Nothing is learnt."""
        return self

    def document(self) -> Mapping[str, object]:
        """All of it."""
        return {"at_least": self.at_least, "audit": self.audit}

    def shown(self) -> Mapping[str, object]:
        """The same."""
        return self.document()


@dataclass(slots=True, eq=False)
class Steering:
    """The controller, what reads its document, and what it says to stand: kept, for it is dear."""

    controller: Controller
    revive: Reviver
    standing: Standing = field(init=False)

    def __post_init__(self) -> None:
        self.standing = self.controller.standing

    def advance(self, reports: Sequence[Report], now: float) -> None:
        """Let it take up what was told."""
        self.controller = self.controller.advance(reports, now)
        self.standing = self.controller.standing

    def pass_on(self) -> None:
        """Another replica reads what this one wrote."""
        self.controller = self.revive(json.loads(json.dumps(self.controller.document())))

    def last_alarm(self) -> float | None:
        """When the last was, in seconds since 1970."""
        alarms = self.controller.shown().get("alarms")
        if not isinstance(alarms, list) or not alarms:
            return None
        return float(alarms[-1]["at"])


def steering_of(scenario: Scenario, world: World, generator: np.random.Generator) -> Steering:
    """The controller of the scenario's objective, as it begins.

    Raises EvaluationError where routing refuses the objective.
    """
    cascade = scenario.cascade
    start = Threshold(cascade.start)
    try:
        match cascade.objective:
            case Fixed(at_least=at_least):
                fixed = FixedController(at_least, cascade.audit_share)
                return Steering(fixed, lambda document: fixed)
            case EscalationRate(at_most=at_most):
                rate = RateGoal(at_most, cascade.audit_share)
                return Steering(new_pacer(rate, scenario.name, start), pacer_from_document)
            case Spend() as spend:
                goal = _spend_goal(spend, cascade.audit_share)
                return Steering(new_pacer(goal, scenario.name, start), pacer_from_document)
            case Quality() as quality:
                terms = _terms(scenario, quality, world, generator)
                return Steering(
                    new_promise(terms), lambda document: promise_from_document(document, terms)
                )
    except ValueError as error:
        raise EvaluationError(f"cascade.objective: {error}") from error


def _terms(
    scenario: Scenario, quality: Quality, world: World, generator: np.random.Generator
) -> Terms:
    records = scenario.head_start
    return Terms(
        alpha=quality.disagreement_at_most,
        delta=1.0 - quality.with_probability,
        audit_share=scenario.cascade.audit_share,
        release=quality.release,
        hold_at_most=quality.hold_at_most,
        head_start=_labelled(records, world, generator) if records else scenario.known,
    )


def _labelled(records: int, world: World, generator: np.random.Generator) -> HeadStart:
    """What so many labelled records tell: the levels are made of as many others."""
    merit = world.population.merit
    fitted = merit[world.draw(generator, records)]
    places = world.draw(generator, records)
    places = places[merit[places] > SILENT]
    losses = world.losses(places, generator.random(len(places)))
    checked = zip(merit[places].tolist(), losses.tolist(), strict=True)
    return head_start_of(fitted[fitted > SILENT].tolist(), list(checked))


def _spend_goal(spend: Spend, audit: float) -> SpendGoal:
    cap = spend.cap_usd_per_hour
    return SpendGoal(
        pico_per_hour=round(spend.usd_per_hour * PICO_PER_USD),
        cap_pico_per_hour=None if cap is None else round(cap * PICO_PER_USD),
        audit=audit,
    )
