"""What a bill says: rows by whatever was asked, each the exact sums of its part of the books."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isqrt

from routing.baseline import LEAST_HELD_OUT
from routing.money import usd
from routing.vocabulary import Basis, Kind, Named, Role
from understudy.bill.books import Book

Value = str | int | None


class By(StrEnum):
    """What a bill may be broken down by."""

    TENANT = "tenant"
    CASCADE = "cascade"
    DAY = "day"
    MONTH = "month"
    ROLE = "role"
    KIND = "kind"


# Requests and their baseline belong to no one model and to no one purpose.
_OF_CALLS = frozenset({By.ROLE, By.KIND})
_ROLES = frozenset({*Role, *Named})
_KINDS, _BASES = frozenset(Kind), frozenset(Basis)
_TOKENS = ("input", "cached_input", "output", "reasoning")
# 1.96 squared, in ten-thousandths: 95% of a normal distribution lie within 1.96 deviations.
_DEVIATIONS_SQUARED = 38_416


@dataclass(slots=True)
class Row:
    """One line: ``key`` has a text for each breakdown, ``values`` the figures by their column.

    Dollars are exact decimals as text; None is what nobody knows.
    """

    key: tuple[str, ...]
    values: dict[str, Value]


def columns(by: Sequence[By]) -> list[str]:
    """The figures of a bill, in order."""
    is_of_calls = bool(_OF_CALLS & set(by))
    kinds = [] if By.KIND in by else [f"{kind}_usd" for kind in Kind]
    return [
        *([] if is_of_calls else ["requests"]),
        "calls",
        *(f"{each}_tokens" for each in _TOKENS),
        *kinds,
        "cost_usd",
        "estimated_usd",
        "usage_unknown_calls",
        "cost_unknown_calls",
        *([] if is_of_calls else BASELINE),
    ]


BASELINE = [
    "baseline_usd",
    "baseline_unknown_requests",
    "net_saving_usd",
    "net_saving_low_usd",
    "net_saving_high_usd",
]


def statement(books: Iterable[Book], by: Sequence[By]) -> list[Row]:
    """The rows, ordered by their keys; one row without a key where ``by`` is empty."""
    is_of_calls = bool(_OF_CALLS & set(by))
    found: dict[tuple[str, ...], defaultdict[str, int]] = {}
    if not by:
        found[()] = defaultdict(int)
    for book in books:
        day = book.day.isoformat()
        known = {By.CASCADE: book.cascade, By.DAY: day, By.MONTH: day[:7]}
        for (tenant, *words), amount in book.sums.amounts.items():
            known[By.TENANT] = tenant
            if is_of_calls and not _is_of_a_call(words):
                continue
            if _is_of_a_call(words):
                known[By.ROLE], known[By.KIND] = words[0], words[1]
            line = found.setdefault(tuple(known[each] for each in by), defaultdict(int))
            _add(line, words, amount)
    return [Row(key, _values(found[key], by)) for key in sorted(found)]


def _is_of_a_call(words: Sequence[str]) -> bool:
    return len(words) == 3 and words[0] in _ROLES and words[1] in _KINDS


def _add(line: defaultdict[str, int], words: Sequence[str], amount: int) -> None:
    """What a later gateway may have counted beside this is left out."""
    if _is_of_a_call(words):
        role, kind, what = words
        line[what] += amount
        if role == Named.MODEL:
            line[f"passed {what}"] += amount
        line[f"{kind} {what}"] += amount
    elif len(words) == 2 and words[0] == "requests":
        line["requests"] += amount
    elif len(words) == 2 and words[0] == "baseline" and words[1] in _BASES:
        line["baseline"] += amount
    else:
        line[" ".join(words)] += amount


def _values(line: defaultdict[str, int], by: Sequence[By]) -> dict[str, Value]:
    values: dict[str, Value] = {"requests": line["requests"], "calls": line["calls"]}
    values |= {f"{each}_tokens": line[each] for each in _TOKENS}
    values |= {f"{kind}_usd": _cost(line, f"{kind} ") for kind in Kind}
    values["cost_usd"] = _cost(line, "")
    values["estimated_usd"] = usd(line["estimated_pico"])
    values["usage_unknown_calls"] = line["usage_unknown"]
    values["cost_unknown_calls"] = line["cost_unknown"]
    values |= _savings(line)
    return {each: values[each] for each in columns(by)}


def _cost(line: defaultdict[str, int], kind: str) -> str | None:
    """The sum of all that is known; None where there are calls, and nothing is known of any."""
    calls, unknown = line[f"{kind}calls"], line[f"{kind}cost_unknown"]
    return None if calls and calls == unknown else usd(line[f"{kind}cost_pico"])


def _savings(line: defaultdict[str, int]) -> dict[str, Value]:
    """What the teacher alone would have cost more, with an interval where enough was held out.

    What passed to named models would have been paid all the same, and saves nothing.
    Its ends are rounded outwards to whole pico-dollars.
    """
    told: dict[str, Value] = dict.fromkeys(BASELINE)
    told["baseline_unknown_requests"] = line["baseline unknown"]
    if line["baseline known"]:
        baseline = line["baseline"] + line["correction up"] - line["correction down"]
        saving = baseline - line["cost_pico"] + line["passed cost_pico"]
        told |= {"baseline_usd": usd(baseline), "net_saving_usd": usd(saving)}
        if line["correction known"] >= LEAST_HELD_OUT:
            margin = isqrt(line["correction variance"] * _DEVIATIONS_SQUARED // 10_000) + 1
            told["net_saving_low_usd"] = usd(saving - margin)
            told["net_saving_high_usd"] = usd(saving + margin)
    return told
