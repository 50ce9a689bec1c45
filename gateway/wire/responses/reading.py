"""Objects of a request's JSON, each with its place in it, so that errors name what a client wrote.

Values stay undecoded where nobody has to look inside.
"""

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from gateway.errors import RequestError
from gateway.wire.chat import read_fields
from gateway.wire.completion import part_of

NULL = msgspec.Raw(b"null")

_T = TypeVar("_T")

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_objects = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_list = msgspec.json.Decoder(list[msgspec.Raw])
_text = msgspec.json.Decoder(str)
_flag = msgspec.json.Decoder(bool)


# A struct and no dataclass: there is one for each item, at a tenth of the cost.
class Node(msgspec.Struct, frozen=True, gc=False):
    """One object: its ``fields``, and its ``place``, "" for the whole body.

    A field that is null counts as one that is not there.
    """

    place: str
    fields: dict[str, msgspec.Raw]

    def place_of(self, name: str) -> str:
        """Where a field of it stands."""
        return f"{self.place}.{name}" if self.place else name

    def raw(self, name: str) -> msgspec.Raw | None:
        """A field as it was written."""
        value = self.fields.get(name, NULL)
        return None if value == NULL else value

    def text(self, name: str) -> str | None:
        """A field that is a string.  Raises RequestError where it is something else."""
        return self._typed(name, _text, "a string")

    def flag(self, name: str) -> bool | None:
        """A field that is true or false.  Raises RequestError where it is something else."""
        return self._typed(name, _flag, "true or false")

    def node(self, name: str) -> "Node | None":
        """A field that is an object.  Raises RequestError where it is something else."""
        fields = self._typed(name, _fields, "an object")
        return None if fields is None else Node(self.place_of(name), fields)

    def nodes(self, name: str) -> "Sequence[Node] | None":
        """A field that is a list of objects.  Raises RequestError where it is something else."""
        value = self.raw(name)
        if value is None:
            return None
        place = self.place_of(name)
        found = part_of(_objects, value)
        if found is None:  # which of them is none?
            entries = _decoded(_list, value, place, "a list")
            found = [
                _decoded(_fields, entry, f"{place}[{number}]", "an object")
                for number, entry in enumerate(entries)
            ]
        return [Node(f"{place}[{number}]", fields) for number, fields in enumerate(found)]

    def entries(self, name: str) -> Sequence[msgspec.Raw] | None:
        """A field that is a list.  Raises RequestError where it is something else."""
        return self._typed(name, _list, "a list")

    def needed(self, name: str) -> msgspec.Raw:
        """A field as it was written.  Raises RequestError where it is not there."""
        value = self.raw(name)
        if value is None:
            raise missing(self.place_of(name))
        return value

    def needed_text(self, name: str) -> str:
        """A string that must be there.  Raises RequestError where it is not."""
        value = self.text(name)
        if value is None:
            raise missing(self.place_of(name))
        return value

    def _typed(self, name: str, decoder: msgspec.json.Decoder[_T], what: str) -> _T | None:
        value = self.raw(name)
        return None if value is None else _decoded(decoder, value, self.place_of(name), what)


def is_string(raw: msgspec.Raw) -> bool:
    """Whether a value is a string."""
    return bytes(memoryview(raw)[:1]) == b'"'


def wrong(place: str, message: str) -> RequestError:
    """The error of a value that is not as it should be."""
    return RequestError(f"Invalid '{place}': {message}.", param=place)


def missing(place: str) -> RequestError:
    """The error of a value that is not there."""
    return RequestError(f"Missing required parameter: '{place}'.", param=place)


def read_body(body: bytes) -> Node:
    """The whole request.  Raises RequestError where it is no JSON object."""
    _, fields = read_fields(_fields, body)
    return Node("", fields)


def _decoded(decoder: msgspec.json.Decoder[_T], raw: msgspec.Raw, place: str, what: str) -> _T:
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError:
        raise wrong(place, f"expected {what}") from None
