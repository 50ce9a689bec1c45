"""JSON Schemas that clients send: measured, compiled within limits, kept for the next request.

A schema is a stranger's programme that runs between two requests of others, so it fetches nothing,
its patterns match in linear time, and what it may cost is counted before it is compiled.  A schema
that goes beyond these limits is unusable, which is a value here and not an error.  This module
knows no request and no answer.
"""

import math
import re
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from urllib.parse import unquote

import jsonschema_rs
import msgspec

MAX_SCHEMA_BYTES = 64 * 1024
# Values in a schema, its references written out as the library follows them: two references on
# each of 22 levels, which is 1.5 KB, take 120 ms to check, and with every level twice that.
MAX_SIZE = 2**14
# Levels of containers, in a schema with its references and in what a recursive schema checks.
# Without it the two multiply on the library's stack, whose overflow ends the process: 60 times
# 890 levels overflow one of 2 MiB, 240 times 890 the usual one of 8 MiB.
MAX_DEPTH = 64
# A schema's size times the characters of what it checks.  The worst that was found takes 20 ns
# for each, so 0.3 s, with patterns made for it; references take 4 ns.
MAX_WORK = 2**24
# A pattern's compiled size: ten times it is ten times the time for each character.
MAX_PATTERN_BYTES = 128 * 1024
# A pattern counts for its length times its repetitions in a schema's size, within these: the least
# takes 30 microseconds to compile, and the largest holds as many states as its bytes allow.
MIN_PATTERN_SIZE = 32
MAX_PATTERN_SIZE = 1024

MAX_CACHED_SCHEMAS = 256
MAX_CACHED_BYTES = 64 * 1024 * 1024
# Measured: 230 to 460 bytes of memory for each value of a compiled schema.
_BYTES_PER_VALUE = 512

# Their targets depend on the way by which they are reached, or their cost has no useful bound:
# ten nested levels of unevaluatedProperties in a recursive schema keep the library busy for hours.
_NOT_COUNTABLE = frozenset(
    {"$dynamicRef", "$recursiveRef", "unevaluatedItems", "unevaluatedProperties"}
)
# Strings that give "#" another meaning inside a schema; draft 4 says "id".
_REBASING = frozenset({"$id", "$schema", "id"})
_WEIGHED = _NOT_COUNTABLE | _REBASING | {"$ref", "pattern", "patternProperties"}
_CONTAINERS = (dict, list)
_REPETITION = re.compile(r"[{,](\d{1,9})")
_PATTERNS = jsonschema_rs.RegexOptions(
    size_limit=MAX_PATTERN_BYTES, dfa_size_limit=MAX_PATTERN_BYTES
)


@dataclass(frozen=True, slots=True)
class Schema:
    """A compiled schema; ``size`` is the number of its values, references written out."""

    validator: jsonschema_rs.Validator
    size: int
    is_recursive: bool

    def refutes(self, value: object, text: str, *, checks: int) -> bool:
        """Whether a value is known not to satisfy the schema; what costs too much is not known.

        ``value`` is what ``text`` encodes; ``checks`` says how many values share what a request
        may cost.
        """
        if self.size * len(text) * checks > MAX_WORK:
            return False
        if self.is_recursive and not _is_within_depth(value):
            return False
        return not self.validator.is_valid(value)


class _UnusableError(Exception):
    """The schema goes beyond a limit, or cannot be measured."""


def compile_schema(raw: bytes) -> Schema | None:
    """Compile a schema; None where it is unusable: invalid, too large, or not on its own.

    ``format`` is not checked: readers differ in what they take for a date or an address.
    """
    if len(raw) > MAX_SCHEMA_BYTES:
        return None
    try:
        document = msgspec.json.decode(raw)
        if not isinstance(document, dict | bool):
            return None
        # Read once and handed over: two readers could differ, on duplicate keys for instance.
        measure = _Measure(document)
        validator = jsonschema_rs.validator_for(
            document, offline=True, validate_formats=False, pattern_options=_PATTERNS
        )
    except (_UnusableError, ValueError, RecursionError, jsonschema_rs.ReferencingError):
        return None
    return Schema(validator, measure.size, measure.is_recursive)


class _Measure:
    """Counts a schema's values the way the library follows them, up to MAX_SIZE.

    Every key counts as the keyword of that name, even where it is a property or data; a wrong
    guess makes a schema look larger, never smaller.
    """

    def __init__(self, root: object) -> None:
        self._root = root
        self._active: set[int] = set()
        self._is_draft_4 = isinstance(root, dict) and "draft-04" in str(root.get("$schema"))
        self._has_reference = False
        self._is_rebased = False
        self.size = 1
        self.is_recursive = False
        self._visit(root, 1)
        if self._has_reference and self._is_rebased:
            raise _UnusableError("what a reference means is unclear")

    def _visit(self, value: object, depth: int) -> None:
        if isinstance(value, dict):
            if id(value) in self._active:
                # The library keeps results for each value that a cycle comes to, so its cost is in
                # the length of what is checked.
                self.is_recursive = True
                return
            self._count(len(value), depth)
            self._active.add(id(value))
            for key, child in value.items():
                if key in _WEIGHED:
                    self._weigh(key, child, depth)
                if isinstance(child, _CONTAINERS):
                    self._visit(child, depth + 1)
            self._active.remove(id(value))
        elif isinstance(value, list):
            self._count(len(value), depth)
            for child in value:
                if isinstance(child, _CONTAINERS):
                    self._visit(child, depth + 1)

    def _count(self, values: int, depth: int) -> None:
        self.size += values
        if depth > MAX_DEPTH or self.size > MAX_SIZE:
            raise _UnusableError("too large")

    def _weigh(self, key: str, child: object, depth: int) -> None:
        """Count what a keyword costs beyond the values it is written with."""
        if key in _NOT_COUNTABLE:
            raise _UnusableError(key)
        if key == "patternProperties" and isinstance(child, dict):
            self._count(sum(map(_pattern_size, child)), depth)
        elif isinstance(child, str):
            if key == "$ref":
                self._has_reference = True
                self._visit(self._target(child), depth + 1)
            elif key == "pattern":
                self._count(_pattern_size(child), depth)
            elif depth > 1 and (key != "id" or self._is_draft_4):
                self._is_rebased = True

    def _target(self, reference: str) -> object:
        """What a reference within the document points at; all others are refused."""
        start, *segments = unquote(reference).split("/")
        if start != "#" or len(segments) != reference.count("/"):  # "%2F" can be read in two ways
            raise _UnusableError("a reference out of the document")
        target: object = self._root
        for segment in segments:
            target = _part(target, segment)
        return target


def _part(value: object, segment: str) -> object:
    """Take one step of a JSON pointer (RFC 6901)."""
    try:
        if isinstance(value, dict):
            return value[segment.replace("~1", "/").replace("~0", "~")]
        if isinstance(value, list) and segment.isdecimal():
            return value[int(segment)]
    except LookupError:
        pass
    raise _UnusableError("a reference to nothing")


def _pattern_size(pattern: str) -> int:
    repetitions = math.prod(max(1, int(count)) for count in _REPETITION.findall(pattern))
    return max(MIN_PATTERN_SIZE, min(MAX_PATTERN_SIZE, len(pattern) * repetitions))


def _is_within_depth(value: object) -> bool:
    """Whether a decoded JSON value has at most MAX_DEPTH levels of containers."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        parents = [value for value in level if isinstance(value, _CONTAINERS)]
        if not parents:
            return True
        level = [
            child
            for each in parents
            for child in (each.values() if isinstance(each, dict) else each)
        ]
    return False


class SchemaCache:
    """Compiled schemas by their bytes, unusable ones too; the least recently used make room."""

    def __init__(self) -> None:
        self._schemas: OrderedDict[bytes, Schema | None] = OrderedDict()
        self._lock = Lock()
        self.held_bytes = 0

    def __len__(self) -> int:
        return len(self._schemas)

    def find(self, raw: bytes) -> Schema | None:
        """Give the schema with these bytes, compiled now or before; None where it is unusable."""
        with self._lock:
            if raw in self._schemas:
                self._schemas.move_to_end(raw)
                return self._schemas[raw]
        schema = compile_schema(raw)
        if len(raw) <= MAX_SCHEMA_BYTES:
            with self._lock:
                self._keep(raw, schema)
        return schema

    def _keep(self, raw: bytes, schema: Schema | None) -> None:
        if raw in self._schemas:
            return
        self._schemas[raw] = schema
        self.held_bytes += _held_bytes(raw, schema)
        while len(self._schemas) > MAX_CACHED_SCHEMAS or self.held_bytes > MAX_CACHED_BYTES:
            self.held_bytes -= _held_bytes(*self._schemas.popitem(last=False))


def _held_bytes(raw: bytes, schema: Schema | None) -> int:
    return len(raw) + (schema.size * _BYTES_PER_VALUE if schema else 0)
