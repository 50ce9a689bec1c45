"""How far each record misses a target: the variable whose mean is positive when it is broken.

`evaluation/bounds.py` proves it.  All arrays broadcast; the last axis runs over records.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from evaluation.outcomes import Booleans, Floats
from evaluation.targets import Kind, Target


class Labelled(Protocol):
    """Records with both qualities and their weights: one set of them, or several side by side."""

    @property
    def student(self) -> Floats: ...
    @property
    def teacher(self) -> Floats: ...
    @property
    def weight(self) -> Floats: ...


@dataclass(frozen=True, slots=True)
class Range:
    """A variable lies in [-``below``, ``above``]."""

    above: float
    below: float


def excess_of(records: Labelled, kept: Booleans, target: Target) -> Floats:
    """The variable Z of ``target`` where ``kept`` are kept."""
    value, weight = target.value, records.weight
    match target.kind:
        case Kind.DISAGREEMENT:
            return np.asarray(weight * kept * (1.0 - records.student - value))
        case Kind.QUALITY:
            served = np.where(kept, records.student, records.teacher)
            return np.asarray(weight * (value * records.teacher - served))
        case Kind.ESCALATION_RATE:
            return np.asarray(weight * (~kept - value))


def range_of(target: Target, weight_bound: float) -> Range:
    """Where Z lies for weights of at most ``weight_bound``."""
    value = target.value
    match target.kind:
        case Kind.DISAGREEMENT | Kind.ESCALATION_RATE:
            return Range(weight_bound * (1.0 - value), weight_bound * value)
        case Kind.QUALITY:
            return Range(weight_bound * value, weight_bound)
