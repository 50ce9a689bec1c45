"""Reads the parts of a request, each with its path, so that a refusal names what is wrong."""

from typing import TypeVar

import msgspec

from gateway.errors import RequestError

MAX_ECHO = 60  # characters of the client's own words in an error message
NULL = msgspec.Raw(b"null")

_T = TypeVar("_T")


def read(decoder: msgspec.json.Decoder[_T], raw: msgspec.Raw | bytes, path: str) -> _T:
    """Decode one part.  Raises RequestError, which names the path of what is wrong in it."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise _wrong_shape(str(error), path) from None


def refused(path: str, what: str) -> RequestError:
    """The error that says what is wrong with a part."""
    return RequestError(f"{path}: {what}", param=path)


def unsupported(path: str, value: str) -> RequestError:
    """The error for a part that is of a kind which nobody here can serve."""
    return refused(path, f"'{value[:MAX_ECHO]}' is not supported here.")


def missing(path: str) -> RequestError:
    """The error for a part that has to be there."""
    return refused(path, "Field required.")


def _wrong_shape(message: str, path: str) -> RequestError:
    """Turn msgspec's "Expected `str`, got `int` - at `$.text`" into a path and words."""
    what, _, inner = message.partition(" - at `$")
    steps = [path, inner.rstrip("`").replace("[", ".").replace("]", "").strip(".")]
    if what.startswith("Object missing required field"):
        return missing(_joined(*steps, what.rpartition("field `")[2].rstrip("`")))
    return refused(_joined(*steps) or "body", what.replace("`", "") + ".")


def _joined(*steps: str) -> str:
    return ".".join(step for step in steps if step)
