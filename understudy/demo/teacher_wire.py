"""What the stand-in teacher reads and writes: OpenAI chat requests, completions, chunks and errors.

Nothing here knows how an answer is found or how slowly it is sent.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

import msgspec

MODEL = "stand-in"
MESSAGE_OVERHEAD_TOKENS = 5  # What chat templates commonly spend on one message's role and end.
# Close to what common vocabularies make of English and of figures: a digit or a mark is a token, a
# word is one for every six letters, and space belongs to what follows it.
_TOKEN = re.compile(r"\s*(?:[^\W\d_]{1,6}|\S)|\s+")
STREAM_END = b"data: [DONE]\n\n"


class Told(Enum):
    """When a stream tells its usage: not at all, in one last chunk, or in that and all others."""

    NEVER = auto()
    AT_THE_END = auto()
    ALWAYS = auto()


class StreamOptions(msgspec.Struct):
    """``stream_options`` of a chat request."""

    include_usage: bool = False
    continuous_usage_stats: bool = False


class Chat(msgspec.Struct):
    """The parts of a chat request that the stand-in heeds; it ignores all others."""

    model: str
    messages: list[dict[str, object]]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    continue_final_message: bool = False
    add_generation_prompt: bool = True
    logprobs: bool = False
    seed: int | None = None

    @property
    def given(self) -> str | None:
        """The first words of the answer, where the stand-in is to go on from them."""
        if not self.continue_final_message or self.messages[-1].get("role") != "assistant":
            return None
        return "".join(_texts(self.messages[-1].get("content")))

    @property
    def told_usage(self) -> Told:
        """When a stream tells its usage."""
        options = self.stream_options or StreamOptions()
        if not options.include_usage:
            return Told.NEVER
        return Told.ALWAYS if options.continuous_usage_stats else Told.AT_THE_END


class Refusal(Exception):
    """A request that cannot be served: the status, and the parts of OpenAI's error body."""

    def __init__(self, status: int, message: str, *, param: str | None, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in pieces of about one token, and why it ends where it does.

    ``logprobs`` are of the first piece and its rivals, likeliest first; of other answers the
    stand-in tells none, for it draws no tokens.
    """

    id: str
    created: int
    pieces: tuple[str, ...]
    finish_reason: str
    prompt_tokens: int
    logprobs: Mapping[str, float] | None = None


def read_chat(body: bytes) -> Chat:
    """Decode and check a request.  Raises Refusal where it cannot be served."""
    try:
        chat = msgspec.json.decode(body, type=Chat)
    except msgspec.ValidationError as error:
        found = re.search(r"`\$\.(\w+)|field `(\w+)`", str(error))
        param = (found[1] or found[2]) if found else None
        raise Refusal(400, str(error), param=param, code="invalid_value") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"the body is not JSON: {error}"
        raise Refusal(400, message, param=None, code="invalid_json") from None
    if chat.model != MODEL:
        message = f"the model {chat.model!r} does not exist; there is only {MODEL!r}"
        raise Refusal(404, message, param="model", code="model_not_found")
    if not chat.messages:
        raise Refusal(400, "messages must not be empty", param="messages", code="empty_array")
    if chat.continue_final_message and chat.add_generation_prompt:
        message = "continue_final_message and add_generation_prompt cannot both be true"
        raise Refusal(400, message, param="continue_final_message", code="invalid_value")
    limits = {"max_tokens": chat.max_tokens, "max_completion_tokens": chat.max_completion_tokens}
    for name, limit in limits.items():
        if limit is not None and limit < 1:
            message = f"{name} must be at least 1, got {limit}"
            raise Refusal(400, message, param=name, code="invalid_value")
    return chat


def pieces_of(text: str) -> tuple[str, ...]:
    """``text`` cut into the tokens that it is billed as; together they are the text again."""
    return tuple(_TOKEN.findall(text))


def prompt_tokens(messages: Sequence[dict[str, object]]) -> int:
    """Tokens that a prompt is billed as: its texts, and an overhead for every message."""
    texts = (text for message in messages for text in _texts(message.get("content")))
    return MESSAGE_OVERHEAD_TOKENS * len(messages) + sum(len(pieces_of(text)) for text in texts)


def completion(reply: Reply) -> dict[str, object]:
    """The body of a plain answer."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "".join(reply.pieces)},
        "logprobs": None if reply.logprobs is None else {"content": [_told(reply.logprobs)]},
        "finish_reason": reply.finish_reason,
    }
    usage = _usage(reply, len(reply.pieces))
    return _head(reply, "chat.completion") | {"choices": [choice], "usage": usage}


def _told(logprobs: Mapping[str, float]) -> dict[str, object]:
    """The first token with its rivals, as servers tell them."""
    rivals = [
        {"token": token, "logprob": logprob, "bytes": list(token.encode())}
        for token, logprob in logprobs.items()
    ]
    return rivals[0] | {"top_logprobs": rivals}


def stream_events(reply: Reply, told: Told) -> Iterator[bytes]:
    """The server-sent events of a streamed answer, without the ``[DONE]`` that ends the stream."""
    head = _head(reply, "chat.completion.chunk")

    def usage(made: int) -> dict[str, object]:
        match told:
            case Told.NEVER:
                return {}
            case Told.AT_THE_END:
                return {"usage": None}
            case Told.ALWAYS:
                return {"usage": _usage(reply, made)}

    yield _event(head | _delta({"role": "assistant", "content": ""}, None) | usage(0))
    for made, piece in enumerate(reply.pieces, start=1):
        yield _event(head | _delta({"content": piece}, None) | usage(made))
    made = len(reply.pieces)
    yield _event(head | _delta({}, reply.finish_reason) | usage(made))
    if told is not Told.NEVER:
        yield _event(head | {"choices": [], "usage": _usage(reply, made)})


def error_body(message: str, *, param: str | None, code: str) -> dict[str, object]:
    """OpenAI's error body with all four keys."""
    kind = "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _head(reply: Reply, kind: str) -> dict[str, object]:
    return {"id": reply.id, "object": kind, "created": reply.created, "model": MODEL}


def _delta(delta: dict[str, str], finish_reason: str | None) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return {"choices": [choice]}


def _event(chunk: dict[str, object]) -> bytes:
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def _usage(reply: Reply, made: int) -> dict[str, int]:
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": made,
        "total_tokens": reply.prompt_tokens + made,
    }


def _texts(content: object) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            text = part.get("text") if isinstance(part, dict) else None
            if isinstance(text, str):
                yield text
