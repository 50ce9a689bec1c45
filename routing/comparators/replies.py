"""Reads what is needed of a reply's JSON, whatever else is in it or wrong with it."""

import json
import math
from typing import Any


def document_of(reply: bytes) -> Any:
    """The reply's JSON; None where it is none."""
    try:
        return json.loads(reply)
    except (ValueError, RecursionError):
        return None


def at(document: Any, *path: str | int) -> Any:
    """What stands at a path of keys and places; None where nothing does."""
    for step in path:
        if isinstance(step, str) and isinstance(document, dict):
            document = document.get(step)
        elif isinstance(step, int) and isinstance(document, list) and step < len(document):
            document = document[step]
        else:
            return None
    return document


def finite(value: Any) -> float | None:
    """A number as a float; None for what is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def shortened(text: str, most: int) -> str:
    """A text of at most so many characters: its head and its tail, where it is longer."""
    if len(text) <= most:
        return text
    gap = "\n[...]\n"
    half = (most - len(gap)) // 2
    return text[:half] + gap + text[-half:]
