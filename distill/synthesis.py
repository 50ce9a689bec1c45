"""New rows for the kinds of prompts on which the student fails: how many, and like what.

Asks nobody.  A new prompt is a real one's conversation with another last message, so that its tools
and its form of answer are real ones too.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any

import msgspec

from distill.cluster_file import Cluster, Clusters
from distill.conversation import Message as Said
from distill.dataset import DataError, Example, Message, read_examples, said_in
from distill.prompts import prompt_hash
from distill.rows import trl_message
from distill.writing import MOST_EXAMPLES, Order

VERSION = "synthesis-1"
DEFAULT_MOST_SHARE = 0.3


class Rejected(StrEnum):
    """Why a new prompt is no row, beside the causes of ``distill.causes``."""

    ANSWERS_DIFFER = "answers_differ"
    UNDECIDED = "undecided"
    NOT_COMPARED = "not_compared"


def most_synthetic(real: int, share: float) -> int:
    """How many synthetic rows may stand beside ``real`` ones, so that they are at most ``share``.

    ``share`` lies in [0, 1), and is taken as it is written: 0.3 is three in ten.
    """
    exact = Fraction(repr(share))
    return int(exact * real / (1 - exact))


def chosen_clusters(clusters: Clusters, ids: Sequence[int]) -> list[Cluster]:
    """Those that were named, or else all that fail.  Raises DataError where there are none."""
    if ids:
        by_id = {each.id: each for each in clusters.clusters}
        if unknown := sorted(set(ids) - by_id.keys()):
            raise DataError(f"there is no cluster {unknown[0]}, but {sorted(by_id)}")
        return [by_id[number] for number in dict.fromkeys(ids)]
    failing = [each for each in clusters.clusters if each.is_failing]
    if not failing:
        is_unknown = all(each.is_failing is None for each in clusters.clusters)
        why = "nobody said which drafts fail" if is_unknown else "no cluster is failing"
        raise DataError(f"{why}: curate with --records, or name clusters with --cluster")
    return failing


def shared_out(clusters: Sequence[Cluster], rows: int) -> dict[int, int]:
    """How many rows each gets: by how often the student failed there, evenly where unknown.

    The largest remainders get what is left over; they add up to ``rows``.
    """
    failures = [
        None if each.failures is None else Fraction(each.failures.value) * each.failures.records
        for each in clusters
    ]
    known = [each for each in failures if each]
    weights = [each or Fraction(0) for each in failures] if known else [Fraction(1)] * len(failures)
    total = sum(weights)
    exact = [weight * rows / total for weight in weights]
    whole = [int(each) for each in exact]
    by_remainder = sorted(
        range(len(exact)), key=lambda place: (whole[place] - exact[place], clusters[place].id)
    )
    for place in by_remainder[: rows - sum(whole)]:
        whole[place] += 1
    return {each.id: count for each, count in zip(clusters, whole, strict=True)}


def within(wanted: Mapping[int, int], rows: Iterable[Example]) -> list[Example]:
    """The first rows of each cluster, as many as are wanted: an earlier run may have made more."""
    left = dict(wanted)
    kept = []
    for row in rows:
        if row.cluster is not None and left.get(row.cluster, 0) > 0:
            left[row.cluster] -= 1
            kept.append(row)
    return kept


@dataclass(frozen=True, slots=True)
class Source:
    """A cluster's real rows that new ones can be like: their last message is a user's."""

    cluster: Cluster
    examples: Sequence[Example]

    @classmethod
    def of(cls, cluster: Cluster, by_id: Mapping[str, Example]) -> "Source":
        """Raises DataError where the cluster has no such row in this data set."""
        rows = [by_id[name] for name in cluster.examples if name in by_id]
        fit = [
            each
            for each in rows
            if each.prompt[-1].get("role") == "user" and said_in(each.prompt[-1]).strip()
            if not each.is_synthetic
        ]
        if not fit:
            raise DataError(
                f"cluster {cluster.id} ({cluster.name}): none of its rows is in the data set and "
                "ends with a user's message: are the clusters of another data set?"
            )
        return cls(cluster, fit)

    def order(self, seed: int, number: int, how_many: int) -> tuple[Example, Order]:
        """The order of that number, and the row whose conversation its prompts go on with."""
        rng = random.Random(f"{seed}:{self.cluster.id}:{number}")  # noqa: S311
        template = rng.choice(self.examples)
        alike = [each for each in self.examples if _frame(each) == _frame(template)]
        shown = rng.sample(alike, min(len(alike), MOST_EXAMPLES))
        return template, Order(
            template.earlier,
            [each.question for each in shown],
            how_many,
            rng.randrange(2**31),
        )


def _frame(example: Example) -> object:
    return example.earlier, example.tools, example.response_format


@dataclass(frozen=True, slots=True)
class Candidate:
    """A new prompt, before it has an answer."""

    cluster: int
    template: Example
    text: str

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The conversation with the new last message."""
        return (*self.template.earlier, {"role": "user", "content": self.text})

    @property
    def key(self) -> str:
        """What tells prompts apart."""
        found = prompt_hash(msgspec.json.encode({"messages": self.prompt}))
        assert found is not None  # noqa: S101  # it has messages
        return found

    def request(self, max_tokens: int, temperature: float, seed: int) -> dict[str, Any]:
        """The fields of a chat completion, as a client would ask."""
        fields: dict[str, Any] = {
            "messages": [_as_sent(each) for each in self.prompt],
            "max_tokens": max_tokens,
            "temperature": temperature,
            "seed": seed,
        }
        for name in ("tools", "response_format"):
            told = getattr(self.template, name)
            if told is not None:
                fields[name] = msgspec.json.decode(told)
        return fields

    def row(self, answer: Said, teacher_version: str) -> Example:
        """The row that a student learns from."""
        told: dict[str, Any] = {
            "id": f"synthetic-{self.key.rpartition(':')[2]}",
            "prompt": list(self.prompt),
            "completion": [trl_message(answer)],
            "synthetic": True,
            "cluster": self.cluster,
            "teacher_version": teacher_version,
        }
        for name in ("tools", "response_format"):
            if (value := getattr(self.template, name)) is not None:
                told[name] = value
        (row,) = read_examples([msgspec.json.encode(told)], "a new row")
        return row


def _as_sent(message: Message) -> Mapping[str, Any]:
    """TRL's rows have the arguments of calls as objects, requests as text."""
    calls = message.get("tool_calls")
    if not calls:
        return message
    sent = []
    for call in calls:
        function = call["function"]
        arguments = msgspec.json.encode(function["arguments"]).decode()
        sent.append({**call, "function": {**function, "arguments": arguments}})
    return {**message, "tool_calls": sent}
