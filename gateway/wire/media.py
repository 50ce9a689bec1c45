"""Which pictures, sounds and files a request may name for a model server to fetch.

A server asks whatever address it is given, from inside the cluster.  So an URL passes only where
all who read it must read the same host in it, and that host is allowed; it is judged by what it may
be made of, because parsers of URLs differ in what they forgive.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

import msgspec

from gateway.errors import MediaNotAllowed

MAX_ECHO = 100  # characters of the client's own words in an error message
DATA = "data"
# Without ASCII a Kelvin sign would be a k.
_ANY_CASE = re.IGNORECASE | re.ASCII
# What stands in a part for people or models to read: no server fetches it.
_TEXTS = frozenset({"text", "refusal", "thinking", "reasoning", "content", "name", "title"})
# Names under which servers look for an URL, whatever the value looks like.
is_url_name = re.compile(
    r"(?:.*_)?(?:url|uri)|(?:input_)?(?:image|video|audio|file)", _ANY_CASE
).fullmatch
# What is one under any other name.
_looks_like_url = re.compile(r"\s*+(?:[a-z][a-z0-9+.-]*+:[/\\]|file:|data:)", _ANY_CASE).match
_is_data = re.compile(r"data:[^\s\\]", _ANY_CASE).match
# A scheme, a host of plain labels, perhaps a port, and then what no parser takes for a host:
# no user, no bracket, no percent sign, no backslash, no character that is not ASCII.
_REMOTE = re.compile(
    r"(https?)://([a-z0-9](?:[a-z0-9._-]{0,252}[a-z0-9])?)(?::([0-9]{1,5}))?(?:/[!-\[\]-~]*)?",
    _ANY_CASE,
).fullmatch

_anything = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True)
class MediaRules:
    """``schemes`` of ``data``, ``https`` and ``http``; ``hosts`` are names, lower case, or ``*.``
    and the end of names, each perhaps with ``:PORT``; without one the scheme's own port is meant.
    """

    schemes: frozenset[str] = frozenset({DATA, "https"})
    hosts: frozenset[str] = frozenset()

    def allows(self, url: str) -> bool:
        """Whether a model server may be told to fetch this."""
        if _is_data(url):
            return DATA in self.schemes
        found = _REMOTE(url)
        if found is None or (scheme := found[1].lower()) not in self.schemes:
            return False
        own_port = "443" if scheme == "https" else "80"
        host, port = found[2].lower(), found[3] or own_port
        suffix = "" if port == own_port else f":{port}"
        return any(f"{name}{suffix}" in self.hosts for name in _patterns(host))


def _patterns(host: str) -> Iterator[str]:
    """The host itself and all patterns that it fits."""
    yield host
    labels = host.split(".")
    for start in range(1, len(labels)):
        yield "*." + ".".join(labels[start:])


def refuse_media(messages: bytes, rules: MediaRules) -> None:
    """Raise MediaNotAllowed for the first URL in the content parts of messages that is not allowed.

    ``messages`` are valid JSON.
    """
    for number, message in enumerate(_anything.decode(messages)):
        for name, content in message.items() if isinstance(message, dict) else ():
            # Servers that are written in Go read a name in any case.
            if isinstance(content, list) and name.casefold() == "content":
                refuse_urls(content, rules, f"messages[{number}].{name}")


def refuse_urls(value: object, rules: MediaRules, path: str) -> None:
    """The same for a content part, or a list of them, however deep."""
    _refuse(_Place(value, _Look.FOR_URLS), rules, path)


def refuse_field(name: str, value: object, rules: MediaRules) -> None:
    """The same for a field of a request that is no chat: an URL by its name, or texts, or content
    parts, or lists of either."""
    look = _Look.AT_URL if is_url_name(name) else _Look.FOR_PARTS
    _refuse(_Place(value, look), rules, name)


class _Look(Enum):
    """What a text may be: anything, as outside of a part; an URL if it looks like one; an URL."""

    FOR_PARTS = auto()
    FOR_URLS = auto()
    AT_URL = auto()


class _Place(NamedTuple):
    """A value of a request, and how to look at it; ``step`` is its name or number in ``inside``."""

    value: object
    look: _Look
    step: str | int = ""
    inside: "_Place | None" = None


def _refuse(first: _Place, rules: MediaRules, path: str) -> None:
    """Look at all that is there, in its order, and say where something is only once it is.

    A stranger chooses how deep it is, how much of it there is, and how long names are: what is
    done for each must not take longer for where it stands.
    """
    waiting = [first]
    while waiting:
        place = waiting.pop()
        value, look = place.value, place.look
        if isinstance(value, list):
            waiting += [
                _Place(value[number], look, number, place)
                for number in range(len(value) - 1, -1, -1)
                if _is_open(value[number], look, rules)
            ]
        elif isinstance(value, dict):
            for name in reversed(value):
                look = _Look.AT_URL if is_url_name(name) else _Look.FOR_URLS
                if name in _TEXTS and isinstance(value[name], str):
                    continue
                if _is_open(value[name], look, rules):
                    waiting.append(_Place(value[name], look, name, place))
        elif _is_open(value, look, rules):
            where = path + _path_of(place)
            raise MediaNotAllowed(_why(str(value), where, rules), param=where)


def _is_open(value: object, look: _Look, rules: MediaRules) -> bool:
    """Whether a value is to be looked into, or is an URL that is not allowed."""
    if isinstance(value, str):
        is_url = look is _Look.AT_URL
        if look is _Look.FOR_URLS:
            is_url = ":" in value and _looks_like_url(value) is not None
        return is_url and not rules.allows(value)
    return isinstance(value, list | dict)


def _path_of(place: _Place) -> str:
    steps: list[str] = []
    while place.inside is not None:
        step = place.step
        steps.append(f"[{step}]" if isinstance(step, int) else f".{step[:MAX_ECHO]}")
        place = place.inside
    return "".join(reversed(steps))


def _why(url: str, path: str, rules: MediaRules) -> str:
    kinds = ["data: URLs"] if DATA in rules.schemes else []
    kinds += ["files of the hosts that the operator names"] if rules.hosts else []
    said = "a data: URL" if _is_data(url) else f"'{url[:MAX_ECHO]}'"
    return f"Invalid '{path}': {said}; allowed here: {' and '.join(kinds) or 'no URL at all'}."
