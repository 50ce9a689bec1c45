"""Files that operators write: read, and what is wrong with them told with the place and the fix.

What is told never holds a password or a key: a message ends up in logs and in chats.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails


class ConfigError(Exception):
    """A configuration that cannot be used.  The message has a line for each thing to mend."""


class _Loader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys in silence; a cascade named twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001
        seen: set[str] = set()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"line {line}: a key must be a word")
            if key.value in seen:
                raise ConfigError(f"line {line}: {key.value!r} stands there twice: remove one")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path, named_by: str) -> object:
    """The document in a file.  ``named_by`` says which setting names it.  Raises ConfigError."""
    return yaml_in(read_file(path, named_by), path)


def read_file(path: Path, named_by: str) -> bytes:
    """What a file holds.  Raises ConfigError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}: mend the path, {named_by}, or who may read "
            "the file"
        ) from None


def yaml_in(content: bytes, path: Path) -> object:
    """The document that was read from ``path``.  Raises ConfigError."""
    try:
        return yaml.load(content.decode(), Loader=_Loader)  # noqa: S506
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not valid YAML: write it in UTF-8") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not valid YAML: {_yaml_problem(error)}") from None
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply: the example has five levels") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _yaml_problem(error: yaml.YAMLError) -> str:
    """Where it is, without the line itself: that may hold a secret."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return "it has characters that YAML does not allow: remove them"
    mark = error.problem_mark
    return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}: mend that place"


_EMPTY = "is empty: write its value there, or remove the line"
_EMPTY_SECTION = "is empty: write its keys below it, further to the right, or remove the line"
_SECTIONS = frozenset({"dict_type", "model_type", "model_attributes_type"})
_NUMBER = "write the number alone, without quotes, with digits and a point"
_FIXES = {
    "bool_type": "write true or false, without quotes",
    "bool_parsing": "write true or false",
    "dict_type": "write `key: value` lines below it, further to the right",
    "enum": "choose one of these",
    "extra_forbidden": "remove it, or mend its spelling",
    "finite_number": _NUMBER,
    "float_type": _NUMBER,
    "frozen_set_type": "write a list, as in [vision]",
    "int_type": "write a whole number, without quotes",
    "list_type": "write a list: a line that begins with `- ` for each entry",
    "literal_error": "choose one of these",
    "missing": "add it",
    "model_attributes_type": "write `key: value` lines below it, further to the right",
    "model_type": "write `key: value` lines below it, further to the right",
    "path_type": "write a path in quotes",
    "string_pattern_mismatch": "write it in that form",
    "string_too_short": "write something there",
    "string_type": "put it in quotes",
    "too_long": "remove some",
    "too_short": "add one",
    "tuple_type": "write a list, as in [up, down]",
    "union_tag_invalid": "choose one of these",
    "union_tag_not_found": "add kind",
}
_BY_START = {
    "decimal": _NUMBER,
    "greater_than": "choose one in that range",
    "int_": "write a whole number",
    "less_than": "choose one in that range",
}
_SECRET = re.compile(r"key|token|secret|password", re.IGNORECASE)


def explain(path: Path, error: ValidationError) -> list[str]:
    """One line a problem: file, path, what is wrong, the value, what to do."""
    problems = error.errors(include_url=False)
    return [f"{path}: {_explained(each)}" for each in problems if not _is_echo(each, problems)]


def _is_echo(problem: ErrorDetails, problems: Sequence[ErrorDetails]) -> bool:
    """A list of which no entry is valid is not short of one: what is wrong is told of each."""
    place = problem["loc"]
    return problem["type"] == "too_short" and any(
        len(each["loc"]) > len(place) and each["loc"][: len(place)] == place for each in problems
    )


def _explained(problem: ErrorDetails) -> str:
    kind, value = problem["type"], problem["input"]
    where = ".".join(map(str, _place(problem["loc"]))) or "the file"
    if value is None and (kind.endswith("_type") or kind == "enum"):
        return f"{where}: {_EMPTY_SECTION if kind in _SECTIONS else _EMPTY}"
    message, fix = message_of(problem), fix_of(kind)
    if kind == "string_type" and isinstance(value, list):
        fix = "name one here, and no list"
    if kind == "extra_forbidden" and _SECRET.search(where.rpartition(".")[2]):
        fix = "remove it: keys come from the environment, api_key_env names the variable"
    # What is not ours to know may be anything, a key that was put in the wrong place too.
    is_told = kind not in ("missing", "extra_forbidden")
    if kind == "value_error":  # ours: of a section, or with the value in its words already
        is_told = not isinstance(value, dict) and ", got " not in message
    return f"{where}: {message}" + (_got(value) if is_told else "") + (f": {fix}" if fix else "")


def _place(steps: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """The path as the file has it: pydantic puts a section's kind into it, which is no key."""
    if steps[2:3] in (("comparator",), ("objective",)):  # cascades.NAME.comparator
        return steps[:3] + steps[4:]
    if steps[3:4] in (("price",), ("base_url",)):  # cascades.NAME.ROLE.price
        return steps[:4] + steps[5:]
    return steps


def message_of(problem: ErrorDetails) -> str:
    """What is wrong, without the value."""
    if problem["type"] in _SECTIONS:
        return "must hold keys and values"
    return problem["msg"].removeprefix("Value error, ")


def fix_of(kind: str) -> str | None:
    """What to do about a pydantic error of that kind; None where its message says so."""
    if kind in _FIXES:
        return _FIXES[kind]
    return next((fix for start, fix in _BY_START.items() if kind.startswith(start)), None)


def _got(value: object) -> str:
    if isinstance(value, dict | list):
        return ", got a list" if isinstance(value, list) else ", got keys and values"
    shown = _without_secrets(value) if isinstance(value, str) else value
    return f", got {shown!r}"


def _without_secrets(text: str) -> str:
    """What may be meant as an URL, without a user, a password, a query or a fragment."""
    head, at, host = text.rpartition("@")
    scheme, slashes, _ = head.partition("//")
    hidden = f"{scheme if slashes else ''}{slashes}***@" if at else ""
    return hidden + (re.sub(r"[?#].*", "?***", host, flags=re.DOTALL) if "/" in text else host)
