"""Typed reading of parsed JSON: each value is what it should be, or its path is named."""

import math
from collections.abc import Mapping, Sequence

from routing.errors import PolicyError

LARGEST = math.nextafter(math.inf, 0.0)
NOTHING: frozenset[str] = frozenset()


def mapping(
    document: object, path: str, keys: frozenset[str], optional: frozenset[str] = NOTHING
) -> Mapping[str, object]:
    """An object that has all of ``keys``, and beside them at most ``optional``."""
    if not isinstance(document, Mapping):
        raise PolicyError(f"{path}: must be an object, got {document!r}")
    if missing := sorted(keys - document.keys()):
        raise PolicyError(f"{path}: lacks {', '.join(missing)}")
    if unknown := sorted(str(key) for key in document.keys() - keys - optional):
        raise PolicyError(f"{path}: has unknown keys: {', '.join(unknown)}")
    return document


def known(document: object, path: str, keys: frozenset[str]) -> Mapping[str, object]:
    """An object that has all of ``keys``; what a later release may say beside them is left out."""
    if isinstance(document, Mapping):
        document = {key: document[key] for key in keys & document.keys()}
    return mapping(document, path, keys)


def named(document: object, path: str) -> Mapping[str, object]:
    """An object with whatever texts as keys."""
    if not isinstance(document, Mapping):
        raise PolicyError(f"{path}: must be an object, got {document!r}")
    for key in document:
        if not isinstance(key, str):
            raise PolicyError(f"{path}: has a key that is no text: {key!r}")
    return document


def count(value: object, path: str, least: int = 1, most: int | None = None) -> int:
    """A whole number of at least ``least``, and at most ``most`` where there is a limit."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise PolicyError(f"{path}: must be a whole number of at least {least}, got {value!r}")
    if most is not None and value > most:
        raise PolicyError(f"{path}: must be at most {most}, got {value!r}")
    return value


def flag(value: object, path: str) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise PolicyError(f"{path}: must be true or false, got {value!r}")
    return value


def number(value: object, path: str, within: float = LARGEST) -> float:
    """A finite number, of at most ``within`` in size."""
    # JSON's whole numbers may be longer than floats reach; NaN fails this comparison too.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise PolicyError(f"{path}: must be a finite number, got {value!r}")
    if abs(value) > within:
        raise PolicyError(f"{path}: must be at most {within:g} in size, got {value!r}")
    return float(value)


def items(values: object, path: str, most: int | None = None) -> Sequence[object]:
    """A list, of at most ``most`` where there is a limit."""
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise PolicyError(f"{path}: must be a list, got {values!r}")
    if most is not None and len(values) > most:
        raise PolicyError(f"{path}: must have at most {most} entries, got {len(values)}")
    return values


def numbers(
    values: object, path: str, within: float = LARGEST, exactly: int | None = None
) -> tuple[float, ...]:
    """A list of finite numbers, each of at most ``within`` in size; ``exactly`` so many of them."""
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise PolicyError(f"{path}: must be a list of numbers, got {values!r}")
    if exactly is not None and len(values) != exactly:
        raise PolicyError(f"{path}: must have {exactly} entries, got {len(values)}")
    return tuple([number(value, f"{path}[{place}]", within) for place, value in enumerate(values)])
