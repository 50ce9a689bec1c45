"""Redaction: a function from text to text runs over all that a pair says, or the content is lost.

What is text, and what is the protocol's, is decided here by closed lists: whatever is in none of
them is text, object keys included, so that a field nobody has thought of is redacted too.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points

import msgspec

from gateway.config_file import ConfigError

GROUP = "understudy.redactors"
REDACTOR_SECONDS = 1.0  # for one pair: other requests may wait meanwhile
MAX_TEXT_CHARACTERS = 2**20  # of one text: it cannot be interrupted
REMOVED = "[removed: not text]"

# At these keys, these words are the protocol's; any other word is text.
_WORD_KEYS = frozenset({
    "finish_reason", "object", "reasoning_effort", "role", "tool_choice", "type",
})  # fmt: skip
_WORDS = frozenset(
    {"assistant", "developer", "function", "system", "tool", "user"}
    | {"chat.completion", "content_filter", "function_call", "length", "stop", "tool_calls"}
    | {"audio_url", "custom", "file", "image_url", "input_audio", "refusal", "text", "video_url"}
    | {"json_object", "json_schema", "auto", "none", "required", "minimal", "low", "medium", "high"}
    | {"array", "boolean", "integer", "null", "number", "object", "string"}
)
# Names that a model, a server or a client gave to something, where they have the form of one.
_NAME_KEYS = frozenset({"id", "model", "system_fingerprint", "tool_call_id"})
_NAME = re.compile(r"[A-Za-z0-9._:/-]{1,128}")
# What says the same as the text, in a form that no redactor reads.
_ECHOES = frozenset({
    "__verbose", "input_ids", "logprobs", "output_ids", "prompt_logprobs", "prompt_token_ids",
    "token_ids",
})  # fmt: skip
# Pictures, sound and files, encoded; an URL that points elsewhere is text.
_MEDIA = frozenset({"data", "file_data"})
_URLS = frozenset({"audio_url", "image_url", "url", "video_url"})
# The members through which one gets from one object of the protocol to the next.  What lies behind
# any other member (metadata, the schemas of tools) was made by the client alone.
_CONTAINERS = frozenset(
    {"answer", "draft", "request", "choices", "message", "messages", "content"}
    | {"audio", "file", "function", "function_call", "functions", "image_url", "input_audio"}
    | {"json_schema", "response_format", "tool_calls", "tool_choice", "tools", "video_url"}
    | {"audio_url", "stream_options", "usage"}
)
# Keys that are no text: the protocol's, and the words of JSON Schema.
_KEYS = frozenset(
    _CONTAINERS
    | _WORD_KEYS
    | _NAME_KEYS
    | _MEDIA
    | _URLS
    | {"arguments", "created", "description", "detail", "file_id", "filename", "format", "index"}
    | {"name", "parameters", "reasoning", "reasoning_content", "refusal", "released", "schema"}
    | {"strict", "text", "annotations", "stop_reason", "service_tier", "metadata", "user"}
    | {"chat_template_kwargs", "frequency_penalty", "include_usage", "logit_bias", "logprobs"}
    | {"max_completion_tokens", "max_tokens", "min_p", "modalities", "n", "parallel_tool_calls"}
    | {"best_of", "echo", "prompt", "suffix"}
    | {"presence_penalty", "repetition_penalty", "seed", "stop", "store", "stream"}
    | {"temperature", "top_k", "top_logprobs", "top_p", "verbosity"}
    | {"cached_tokens", "completion_tokens", "completion_tokens_details", "prompt_tokens"}
    | {"prompt_tokens_details", "reasoning_tokens", "total_tokens"}
    | {"$defs", "$id", "$ref", "$schema", "additionalProperties", "allOf", "anyOf", "const"}
    | {"default", "definitions", "enum", "examples", "exclusiveMaximum", "exclusiveMinimum"}
    | {"items", "maxItems", "maxLength", "maximum", "minItems", "minLength", "minimum", "oneOf"}
    | {"pattern", "prefixItems", "properties", "required", "title", "uniqueItems"}
)


class RedactorFailed(Exception):
    """The content could not be redacted, so it may not be kept.  Tells why, and nothing of it."""


@dataclass(frozen=True, slots=True)
class Redactor:
    """A function from text to text, under the name by which a cascade asks for it."""

    name: str
    redact: Callable[[str], str]
    clock: Callable[[], float] = time.monotonic

    def redacted(self, content: bytes) -> bytes:
        """The same JSON, redacted.  Raises RedactorFailed, whatever goes wrong."""
        try:
            document = msgspec.json.decode(content)
            walk = _Walk(self.redact, self.clock, self.clock() + REDACTOR_SECONDS)
            return msgspec.json.encode(walk.value(document, "", is_protocol=True))
        except RedactorFailed:
            raise
        except Exception as error:  # noqa: BLE001 - anything may come, and its words quote the text
            raise RedactorFailed(type(error).__name__) from None


@dataclass(slots=True)
class _Walk:
    """One pass over one content.  Plain loops: half the frames, so twice as deep."""

    redact: Callable[[str], str]
    clock: Callable[[], float]
    until: float

    def value(self, value: object, key: str, *, is_protocol: bool) -> object:
        """What is below ``key``; the items of a list are below the list's.

        ``is_protocol``: the members of an object that comes next are the protocol's.
        """
        if isinstance(value, str):
            return value if key in _WORD_KEYS and value in _WORDS else self.text(value)
        if isinstance(value, list):
            items = []
            for item in value:
                items.append(self.value(item, key, is_protocol=is_protocol))
            return items
        return self.members(value, is_protocol=is_protocol) if isinstance(value, dict) else value

    def members(self, members: dict[str, object], *, is_protocol: bool) -> dict[str, object]:
        """An object, without what echoes the text."""
        redacted: dict[str, object] = {}
        for key, value in members.items():
            if is_protocol and key in _ECHOES and isinstance(value, dict | list):
                continue
            if is_protocol and key == "prompt" and _is_token_ids(value):
                continue
            name = key if key in _KEYS else self.text(key)
            if is_protocol and isinstance(value, str) and _is_media(key, value):
                redacted[name] = REMOVED
            elif is_protocol and isinstance(value, str) and _is_name(key, value):
                redacted[name] = value
            else:
                is_next = is_protocol and key in _CONTAINERS
                redacted[name] = self.value(value, key, is_protocol=is_next)
        return redacted

    def text(self, text: str) -> str:
        """One text.  Raises RedactorFailed."""
        if len(text) > MAX_TEXT_CHARACTERS:
            raise RedactorFailed(f"a text has more than {MAX_TEXT_CHARACTERS} characters")
        redacted = self.redact(text)
        if not isinstance(redacted, str):
            raise RedactorFailed(f"it returned {type(redacted).__name__}, no text")
        if self.clock() > self.until:
            raise RedactorFailed(f"it took more than {REDACTOR_SECONDS:g} s for one pair")
        return redacted


def _is_token_ids(value: object) -> bool:
    """Whether a prompt says its text in numbers, which no redactor reads."""
    return isinstance(value, list) and any(isinstance(one, int | list) for one in value)


def _is_media(key: str, value: str) -> bool:
    return key in _MEDIA or (key in _URLS and value[:5].lower() == "data:")


def _is_name(key: str, value: str) -> bool:
    return key in _NAME_KEYS and _NAME.fullmatch(value) is not None


def find_redactor(name: str) -> Redactor:
    """The redactor that is installed under that name.  Raises ConfigError."""
    installed = entry_points(group=GROUP)
    found = {one.value: one for one in installed.select(name=name)}
    if not found:
        names = ", ".join(sorted({one.name for one in installed})) or "none"
        raise ConfigError(
            f"redactor: {name!r} is not installed: choose one of those that are ({names}), or "
            f"install the package that has it under the entry points {GROUP!r}"
        )
    if len(found) > 1:
        raise ConfigError(
            f"redactor: {name!r} is installed twice, as {' and '.join(sorted(found))}: remove one"
        )
    (point,) = found.values()
    try:
        redact = point.load()
    except Exception as error:
        raise ConfigError(
            f"redactor: {name!r} cannot be loaded: {type(error).__name__}: {error}: install what "
            "it needs; for `pii` that is the extra `redact`, pip install 'understudy[redact]'"
        ) from error
    if not callable(redact):
        raise ConfigError(
            f"redactor: {name!r} is {point.value}, which cannot be called: name a function from "
            "text to text there"
        )
    return Redactor(name, redact)
