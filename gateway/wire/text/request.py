"""A completion request: text that is to go on from a prompt, read as the one internal form.

Its prompt is no chat, and no chat template may be put around it, so the models are asked by the
same protocol (``gateway/wire/text/server.py``).
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec

from gateway.errors import RequestError
from gateway.wire.bounds import Size
from gateway.wire.chat import (
    MAX_CHOICES,
    MAX_TOP_LOGPROBS,
    Chat,
    Count,
    Form,
    ResponseFormat,
    StreamOptions,
    has_grammar,
    is_json,
    read_fields,
    token_ids_in,
)
from gateway.wire.controls import take_wish
from gateway.wire.reserved import refuse_reserved

_NULL = msgspec.Raw(b"null")
Prompt = str | Sequence[int]


class TextBody(msgspec.Struct):
    model: str
    prompt: str | list[str | int | list[int]]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: Annotated[int, msgspec.Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=MAX_CHOICES)] | None = None
    best_of: Annotated[int, msgspec.Meta(ge=1, le=MAX_CHOICES)] | None = None
    echo: bool | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0)] | None = None
    top_p: float | None = None
    max_tokens: Count | None = None
    min_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    response_format: ResponseFormat | None = None
    store: bool | None = None


_known = msgspec.json.Decoder(TextBody)


def parse_text(body: bytes, group: str | None = None) -> tuple[Chat, Sequence[Prompt], bool]:
    """Understand a request body: the request, its prompts, and whether they are to be repeated.

    Raises RequestError, which names the offending parameter.
    """
    known, fields = read_fields(_known, body)
    wish = take_wish(fields)
    refuse_reserved(fields)
    prompts = _prompts(known.prompt)
    is_echo = bool(known.echo)
    _refuse(known, prompts)
    response_format, options = known.response_format, known.stream_options
    is_token_ids = not all(isinstance(prompt, str) for prompt in prompts)
    chat = Chat(
        body=body,
        fields=_asked_of_models(fields, prompts),
        model=known.model,
        needs=frozenset(),
        choices=len(prompts) * (known.n or 1),
        is_stream=bool(known.stream),
        is_usage_wanted=options is not None and bool(options.include_usage),
        is_json_wanted=is_json(response_format),
        has_grammar=has_grammar(response_format, fields),
        is_store_allowed=known.store is not False,
        is_continuation=False,
        top_logprobs=known.logprobs,
        group=group,
        form=Form.TEXT,
        token_ids_in="prompt" if is_token_ids else token_ids_in(fields),
        wish=wish,
        size=Size(messages=len(prompts), max_tokens=known.max_tokens or 0),
    )
    return chat, prompts, is_echo


def _prompts(prompt: str | list[str | int | list[int]]) -> Sequence[Prompt]:
    """The prompts, whichever of four forms they came in; each a text or its token ids."""
    if isinstance(prompt, str):
        return (prompt,)
    texts = [one for one in prompt if isinstance(one, str)]
    lists = [one for one in prompt if isinstance(one, list)]
    ids = [one for one in prompt if isinstance(one, int)]
    if prompt and len(ids) == len(prompt):
        return (ids,)
    found: Sequence[Prompt] = texts or lists
    if not found or len(found) != len(prompt) or [] in found:
        raise RequestError(
            "'prompt' must be a text, a list of texts, a list of token ids, or a list of such "
            "lists; none of the lists may be empty.",
            param="prompt",
        )
    return found


def _refuse(known: TextBody, prompts: Sequence[Prompt]) -> None:
    answers = len(prompts) * max(known.n or 1, known.best_of or 1)
    if answers > MAX_CHOICES:
        raise RequestError(
            f"'prompt', 'n' and 'best_of' ask for {answers} answers in one request; "
            f"{MAX_CHOICES} are allowed.",
            param="prompt",
        )
    if known.stream_options is not None and not known.stream:
        raise RequestError("'stream_options' needs 'stream': true.", param="stream_options")
    if not known.echo:
        return
    if known.logprobs is not None:
        raise RequestError(
            "'echo' with 'logprobs' asks for what one model thinks of the prompt, and two may "
            "answer here: leave one of them out.",
            param="echo",
        )
    if not all(isinstance(prompt, str) for prompt in prompts):
        raise RequestError("'echo' needs a prompt in text.", param="echo")


def _asked_of_models(
    fields: Mapping[str, msgspec.Raw], prompts: Sequence[Prompt]
) -> Mapping[str, msgspec.Raw]:
    """The fields that go to a model: a lone prompt as itself, and no echo, which is ours to do."""
    asked = {name: value for name, value in fields.items() if name != "echo"}
    if len(prompts) == 1:
        asked["prompt"] = msgspec.Raw(msgspec.json.encode(prompts[0]))
    return asked
