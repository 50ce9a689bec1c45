"""Learnt functions of named features, as plain numbers: fitted elsewhere, applied here.

A feature is a signal, ``label=<text>`` or ``group=<name>`` (1 where the draft or the request is
that one, else 0).  One that the evidence does not support is absent, and each function says what it
makes of that.  Nothing here knows what the numbers mean.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import and_, getitem

from routing.errors import PolicyError

Features = Mapping[str, float]

LABEL_PREFIX = "label="
GROUP_PREFIX = "group="
# What the prompt alone promises of the merit: a feature like any other once there is a draft.
PROMPT_MERIT = "prompt_merit"
# Probabilities closer to 0 or 1 than this count as this far away: an exact 1 has no finite logit.
LOGIT_EDGE = 1e-6
LEAF = -1

_LEAVES_IN_A_BYTE = 8


def is_signal(name: str) -> bool:
    """Whether a feature of this name is a signal, and not one of a label or a group."""
    return not name.startswith((LABEL_PREFIX, GROUP_PREFIX))


def logit(probability: float) -> float:
    """``log(p / (1 - p))`` of a probability in [0, 1], kept LOGIT_EDGE away from both ends."""
    inside = min(max(probability, LOGIT_EDGE), 1.0 - LOGIT_EDGE)
    return math.log(inside / (1.0 - inside))


LARGEST_LOGIT = -logit(0.0)  # rounding leaves logit(1.0) a little smaller


@dataclass(frozen=True, slots=True)
class Score:
    """A weighted sum of signals.  ``signals`` and ``weights`` have the same shape (n,), n >= 1."""

    signals: tuple[str, ...]
    weights: tuple[float, ...]
    intercept: float = 0.0
    _terms: tuple[tuple[str, float], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        terms = zip(self.signals, self.weights, strict=True)
        object.__setattr__(self, "_terms", tuple(terms))

    @property
    def names(self) -> tuple[str, ...]:
        """The features it reads."""
        return self.signals

    def of(self, features: Features) -> float | None:
        """The score, any finite number; None where a signal it needs is absent."""
        total = self.intercept
        for name, weight in self._terms:
            value = features.get(name)
            if value is None:
                return None
            total += weight * value
        return total


@dataclass(frozen=True, slots=True)
class Linear:
    """A weighted sum of features, of which any may be absent: then its default stands in.

    All three tuples have the same shape (n,), n >= 1.  ``is_logit`` takes signals, and the defaults
    that stand in for them, by their log-odds; labels and groups stay 0 or 1.
    """

    names: tuple[str, ...]
    weights: tuple[float, ...]
    defaults: tuple[float, ...]
    intercept: float = 0.0
    is_logit: bool = False
    _terms: tuple[tuple[str, float, float, bool], ...] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        terms = zip(self.names, self.weights, self.defaults, strict=True)
        prepared = tuple((*term, self.is_logit and is_signal(term[0])) for term in terms)
        object.__setattr__(self, "_terms", prepared)

    def of(self, features: Features) -> float:
        """The sum, a finite number."""
        total = self.intercept
        for name, weight, default, is_logit in self._terms:
            value = features.get(name, default)
            total += weight * (logit(value) if is_logit else value)
        return total


@dataclass(frozen=True, slots=True)
class Tree:
    """One decision tree, its nodes in arrays of the same shape (n,), n >= 1; the root is the first.

    At node ``i`` a feature of at most ``threshold[i]`` goes to node ``left[i]``, a greater one to
    ``right[i]``, and one that is absent left where ``missing_left[i]``.  ``feature`` counts in the
    names of the ensemble.  Children stand behind their parent; a node whose ``left`` is LEAF is a
    leaf and worth ``value``.  Raises PolicyError where the arrays make no tree.
    """

    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    missing_left: tuple[bool, ...]
    value: tuple[float, ...]

    def __post_init__(self) -> None:
        arrays = (self.threshold, self.left, self.right, self.missing_left, self.value)
        n = len(self.feature)
        if not n or any(len(array) != n for array in arrays):
            raise PolicyError("its arrays must have the same length, at least 1")
        inner = [node for node in range(n) if self.left[node] != LEAF]
        children = [child for node in inner for child in (self.left[node], self.right[node])]
        if sorted(children) != list(range(1, n)):
            raise PolicyError("left and right must name each node but the first once, or be -1")
        if any(min(self.left[node], self.right[node]) <= node for node in inner):
            raise PolicyError("left and right must name nodes behind their own")

    @property
    def leaves(self) -> int:
        """How many leaves it has."""
        return self.left.count(LEAF)

    def of(self, names: Sequence[str], features: Features) -> float:
        """The value of the leaf that these features lead to: the definition, walked."""
        node = 0
        while self.left[node] != LEAF:
            value = features.get(names[self.feature[node]])
            is_left = self.missing_left[node] if value is None else value <= self.threshold[node]
            node = self.left[node] if is_left else self.right[node]
        return self.value[node]


# Thresholds of one feature in order; the leaves that are still possible when so many of them lie
# below its value; the same where it is absent.
_Cut = tuple[str, tuple[float, ...], tuple[int, ...], int]


@dataclass(frozen=True, slots=True)
class Trees:
    """``base`` plus what each of several trees says, at least one.

    Trees of up to eight leaves are not walked.  All their leaves stand in one long number, a byte
    for a tree, and each comparison that fails strikes the leaves on its left: the first that is
    left in a byte is the tree's answer.  Feature by feature, with thresholds in order, that is one
    bisection and one ``&`` for all trees at once: at 60 trees of depth 3 less than half of a walk.

    Lucchese et al. 2015, "QuickScorer: a fast algorithm to rank documents with additive ensembles
    of regression trees" (SIGIR).
    """

    names: tuple[str, ...]
    trees: tuple[Tree, ...]
    base: float = 0.0
    _walked: tuple[Tree, ...] = field(init=False, repr=False, compare=False)
    _tables: tuple[tuple[float, ...], ...] = field(init=False, repr=False, compare=False)
    _cuts: tuple[_Cut, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        small = [tree for tree in self.trees if tree.leaves <= _LEAVES_IN_A_BYTE]
        walked = tuple(tree for tree in self.trees if tree.leaves > _LEAVES_IN_A_BYTE)
        object.__setattr__(self, "_walked", walked)
        object.__setattr__(self, "_tables", tuple(map(_answers, small)))
        object.__setattr__(self, "_cuts", tuple(_cuts(self.names, small)))

    def of(self, features: Features) -> float:
        """The sum, a finite number; exact before it is rounded, so in any order the same."""
        possible = (1 << _LEAVES_IN_A_BYTE * len(self._tables)) - 1
        for name, thresholds, left, absent in self._cuts:
            value = features.get(name)
            possible &= absent if value is None else left[bisect_left(thresholds, value)]
        bytes_of_trees = possible.to_bytes(len(self._tables), "big")
        said = [*map(getitem, self._tables, bytes_of_trees)]
        said += [tree.of(self.names, features) for tree in self._walked]
        return math.fsum(said) + self.base


@dataclass(frozen=True, slots=True)
class Average:
    """The plain average of several functions, at least one, none of them an average."""

    models: tuple[Linear | Trees, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The features they read, each once, in order."""
        return tuple(dict.fromkeys(name for model in self.models for name in model.names))

    def of(self, features: Features) -> float:
        """The average, a finite number."""
        return math.fsum([model.of(features) for model in self.models]) / len(self.models)


Learnt = Linear | Trees | Average
Model = Score | Learnt


def largest(model: Model) -> float:
    """What no result exceeds in size where features lie in [0, 1]; infinite where floats end."""
    if isinstance(model, Average):
        return max(map(largest, model.models))
    if isinstance(model, Trees):
        sizes = [max(map(abs, tree.value)) for tree in model.trees]
        return sum(sizes) + abs(model.base)
    if isinstance(model, Score):
        return sum(map(abs, model.weights)) + abs(model.intercept)
    terms = zip(model.weights, model.defaults, strict=True)
    reach = LARGEST_LOGIT if model.is_logit else 1.0
    return sum(abs(weight) * max(reach, abs(each)) for weight, each in terms) + abs(model.intercept)


def _answers(tree: Tree) -> tuple[float, ...]:
    """What the tree says for each byte of possible leaves; the first of them has the top bit."""
    values = [tree.value[leaf] for leaf in _leaves_of(tree, 0)]
    firsts = [_LEAVES_IN_A_BYTE - byte.bit_length() for byte in range(2**_LEAVES_IN_A_BYTE)]
    return tuple(values[first] if first < len(values) else 0.0 for first in firsts)


def _leaves_of(tree: Tree, node: int) -> Iterator[int]:
    """The leaves below a node, from left to right."""
    if tree.left[node] == LEAF:
        yield node
    else:
        yield from _leaves_of(tree, tree.left[node])
        yield from _leaves_of(tree, tree.right[node])


def _cuts(names: Sequence[str], trees: Sequence[Tree]) -> Iterator[_Cut]:
    every = (1 << _LEAVES_IN_A_BYTE * len(trees)) - 1
    nodes: dict[int, list[tuple[float, int, bool]]] = {}
    for place, tree in enumerate(trees):
        rest = _LEAVES_IN_A_BYTE * (len(trees) - 1 - place)
        position = {leaf: order for order, leaf in enumerate(_leaves_of(tree, 0))}
        for node, left in enumerate(tree.left):
            if left != LEAF:
                struck = [position[leaf] for leaf in _leaves_of(tree, left)]
                bits = sum(1 << rest + _LEAVES_IN_A_BYTE - 1 - order for order in struck)
                entry = tree.threshold[node], every ^ bits, tree.missing_left[node]
                nodes.setdefault(tree.feature[node], []).append(entry)
    for feature, found in sorted(nodes.items()):
        found.sort()
        left_over = accumulate((mask for _, mask, _ in found), and_, initial=every)
        absent = every
        for _, mask, is_left in found:
            absent &= every if is_left else mask
        yield names[feature], tuple(each for each, _, _ in found), tuple(left_over), absent
