"""Every route: what it takes, what it answers, and what it may refuse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.api.admin import PATH as ADMIN_PATH
from gateway.api.admin import VERSION
from gateway.api.wires import ANTHROPIC, MESSAGES_PATH, OPENAI
from gateway.openapi import examples, failures, refusals
from gateway.openapi.examples import Example
from gateway.openapi.failures import Answers
from gateway.openapi.headers import (
    OF_ANSWERS,
    OF_PASSED,
    answer_parameters,
    references,
    wish_parameters,
)
from gateway.openapi.refusals import Refusal
from gateway.openapi.requests import METADATA
from gateway.openapi.structs import TEXT, Schema, one_of, ref
from gateway.wire.passing import PATHS, PassedRoute
from gateway.wire.stored import DEFAULT_LIMIT, MAX_LIMIT

CASCADE = Answers("Cascade", failures.CASCADE, OPENAI, is_asking=True)
MESSAGES = Answers("Messages", failures.MESSAGES, ANTHROPIC, is_anthropic=True, is_asking=True)
COUNTING = Answers("Counting", failures.COUNTING, ANTHROPIC, is_anthropic=True, is_asking=True)
PASSED = Answers("Passed", failures.PASSED, OPENAI, is_asking=True)
MODELS = Answers("Models", failures.MODELS, OPENAI)
MODEL = Answers("Model", failures.MODEL, OPENAI)
STORED = Answers("Stored", failures.STORED, OPENAI)
STORED_CHANGE = Answers("StoredChange", failures.STORED_CHANGE, OPENAI)
STEERED = Answers("Steered", failures.STEERED, OPENAI)
STEERED_CHANGE = Answers("SteeredChange", failures.STEERED_CHANGE, OPENAI)
GROUPS = (
    CASCADE, MESSAGES, COUNTING, PASSED, MODELS, MODEL, STORED, STORED_CHANGE, STEERED,
    STEERED_CHANGE,
)  # fmt: skip

CHAT_PATH = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.  ``reply`` names the component of its body; ``is_streaming``: it may
    come as events instead.  Without ``answers`` it fails in no form of ours, and needs no key."""

    id: str
    summary: str
    tag: str
    reply: str | None
    answers: Answers | None
    body: str | None = None
    examples: Mapping[str, Example] = field(default_factory=dict)
    parameters: Sequence[Schema] = ()
    headers: Sequence[str] = ()
    refusals: Sequence[Refusal] = ()
    is_streaming: bool = False
    others: Mapping[str, Schema] = field(default_factory=dict)

    def described(self) -> Schema:
        """As OpenAPI has it."""
        told: Schema = {"operationId": self.id, "summary": self.summary, "tags": [self.tag]}
        if self.answers is None:
            told["security"] = []
        if self.parameters:
            told["parameters"] = list(self.parameters)
        if self.body is not None:
            named = {name: {"value": dict(value)} for name, value in self.examples.items()}
            media: Schema = {"schema": ref(self.body), "examples": named}
            told["requestBody"] = {"required": True, "content": {"application/json": media}}
        if self.refusals:
            told["x-refusals"] = [
                {"param": each.param or None, "when": each.when} for each in self.refusals
            ]
        failing = {} if self.answers is None else self.answers.references()
        told["responses"] = {"200": self._success(), **self.others, **failing}
        return told

    def _success(self) -> Schema:
        content: Schema = {}
        if self.reply is not None:
            content["application/json"] = {"schema": ref(self.reply)}
        if self.is_streaming:
            described = "Where `stream` is true: server-sent events in the protocol's own form."
            content["text/event-stream"] = {"schema": {"description": described}}
        success: Schema = {"description": "The answer."}
        if content:
            success["content"] = content
        if self.headers:
            success["headers"] = references(self.headers)
        return success


def paths() -> dict[str, Schema]:
    """All of them."""
    found: dict[str, Schema] = {}
    for path, method, operation in [*_answered(), *_passed(), *_stored(), *_steered(), *_others()]:
        found.setdefault(path, {})[method] = operation.described()
    return found


_Placed = tuple[str, str, Operation]


def _answered() -> list[_Placed]:
    wishes = answer_parameters()
    chat = Operation(
        "createChatCompletion", "Answer a chat", "answers", "ChatCompletion", CASCADE, "ChatBody",
        examples.CHAT, wishes, OF_ANSWERS, refusals.CHAT, is_streaming=True,
    )  # fmt: skip
    text = Operation(
        "createCompletion", "Go on from a prompt", "answers", "TextCompletion", CASCADE,
        "TextBody", examples.TEXT, wishes, OF_ANSWERS, refusals.TEXT, is_streaming=True,
    )  # fmt: skip
    response = Operation(
        "createResponse", "Answer, as a response", "answers", "Response", CASCADE,
        "ResponseBody", examples.RESPONSES, wishes, OF_ANSWERS, refusals.RESPONSES,
        is_streaming=True,
    )  # fmt: skip
    message = Operation(
        "createMessage", "Answer, as Anthropic does", "answers", "Message", MESSAGES,
        "MessageBody", examples.MESSAGES, wishes, ("request-id", *OF_ANSWERS),
        refusals.MESSAGES, is_streaming=True,
    )  # fmt: skip
    count = Operation(
        "countMessageTokens", "How long such a request is", "answers", "TokenCount", COUNTING,
        "CountBody", examples.COUNT, wish_parameters(), ("request-id", "x-request-id"),
        refusals.MESSAGES,
    )  # fmt: skip
    return [
        (CHAT_PATH, "post", chat),
        ("/v1/completions", "post", text),
        ("/v1/responses", "post", response),
        (MESSAGES_PATH, "post", message),
        (f"{MESSAGES_PATH}/count_tokens", "post", count),
    ]


_PASSED_EXAMPLES = {
    PassedRoute.EMBEDDINGS: examples.EMBEDDINGS,
    PassedRoute.TOKENIZE: examples.TOKENIZE,
    PassedRoute.DETOKENIZE: examples.DETOKENIZE,
    PassedRoute.SCORE: examples.SCORE,
    PassedRoute.RERANK: examples.RERANK,
}


def _passed() -> list[_Placed]:
    return [
        (
            path,
            "post",
            Operation(
                f"pass{path.title().replace('/', '')}", f"Pass on to a model: {route}",
                "pass-through", "Passed", PASSED, "PassedBody", _PASSED_EXAMPLES[route],
                headers=OF_PASSED, refusals=refusals.PASSED,
            ),
        )
        for path, route in PATHS.items()
    ]  # fmt: skip


def _stored() -> list[_Placed]:
    one = f"{CHAT_PATH}/{{completion_id}}"
    completion_id = [_in_path("completion_id", "chatcmpl-1")]
    page = _page_parameters()
    listed = Operation(
        "listChatCompletions", "What was stored", "stored completions", "StoredCompletions",
        STORED, parameters=[*page, *_filters()], refusals=refusals.STORED,
    )  # fmt: skip
    read = Operation(
        "getChatCompletion", "One stored completion", "stored completions", "StoredCompletion",
        STORED, parameters=completion_id,
    )  # fmt: skip
    change = Operation(
        "updateChatCompletion", "Give it other metadata", "stored completions",
        "StoredCompletion", STORED_CHANGE, "MetadataUpdate", examples.METADATA, completion_id,
        refusals=refusals.STORED,
    )  # fmt: skip
    messages = Operation(
        "getChatCompletionMessages", "What it answers", "stored completions", "StoredMessages",
        STORED, parameters=[*completion_id, *page],
    )  # fmt: skip
    delete = Operation(
        "deleteChatCompletion", "Have it go", "stored completions", "Deleted", STORED,
        parameters=completion_id,
    )  # fmt: skip
    return [
        (CHAT_PATH, "get", listed),
        (one, "get", read),
        (one, "post", change),
        (f"{one}/messages", "get", messages),
        (one, "delete", delete),
    ]


def _steered() -> list[_Placed]:
    one, tag = f"{ADMIN_PATH}/{{cascade}}", "operators"
    cascade = [_in_path("cascade", "support")]
    version: Schema = {
        "name": "if-match", "in": "header", "required": True,
        "description": "The version that is to be replaced: the `etag` of the cascade.",
        "schema": {"type": "string", "pattern": f"^{VERSION}$"},
    }  # fmt: skip
    every = _Steering("listCascades", "What cascades are held to", tag, "SteeredCascades", STEERED)
    read = _Steering(
        "getCascade", "What a cascade is held to, and how that stands", tag, "SteeredCascade",
        STEERED, parameters=cascade, headers=("etag",),
    )  # fmt: skip
    change = _Steering(
        "setObjective", "Hold it to something else", tag, "SteeredCascade", STEERED_CHANGE,
        "Objective", examples.OBJECTIVE, [*cascade, version], ("etag",), refusals.OBJECTIVE,
    )  # fmt: skip
    delete = _Steering(
        "deleteObjective", "Hold it to its file again", tag, "SteeredCascade", STEERED_CHANGE,
        parameters=[*cascade, version], headers=("etag",),
    )  # fmt: skip
    history = _Steering(
        "listObjectives", "What was set, and by whom", tag, "ObjectiveHistory", STEERED,
        parameters=cascade,
    )  # fmt: skip
    return [
        (ADMIN_PATH, "get", every),
        (one, "get", read),
        (f"{one}/objective", "put", change),
        (f"{one}/objective", "delete", delete),
        (f"{one}/objective/history", "get", history),
    ]


def _others() -> list[_Placed]:
    away: Schema = {
        "description": "Not yet, or no longer.",
        "content": {"application/json": {"schema": ref("Status")}},
    }
    models = Operation("listModels", "What a key may ask for", "models", "Models", MODELS)
    model = Operation(
        "getModel", "One of these", "models", "Model", MODEL,
        parameters=[_in_path("model", "assistant")],
    )  # fmt: skip
    health = Operation("getHealth", "The process runs", "operators", "Status", None)
    ready = Operation(
        "getReadiness", "Requests may be sent here", "operators", "Status", None,
        others={"503": away},
    )  # fmt: skip
    document = Operation("getOpenApi", "This document", "operators", "OpenApi", None)
    return [
        ("/v1/models", "get", models),
        ("/v1/models/{model}", "get", model),
        ("/health", "get", health),
        ("/readyz", "get", ready),
        ("/openapi.json", "get", document),
        ("/metrics", "get", _Metrics("getMetrics", "For Prometheus", "operators", None, None)),
    ]


_OPS_PORT = "On `UNDERSTUDY_OPS_PORT`, or beside the API on loopback."


class _Steering(Operation):
    """On the operators' port where there is one; reading takes no key."""

    def described(self) -> Schema:
        told = Operation.described(self)
        told["description"] = _OPS_PORT
        if self.answers is STEERED:
            told["security"] = []
        return told


class _Metrics(Operation):
    """Text, and on the operators' port where there is one."""

    def described(self) -> Schema:
        told = Operation.described(self)
        content = {"text/plain": {"schema": TEXT}}
        told["description"] = _OPS_PORT
        told["responses"] = {"200": {"description": "The metrics.", "content": content}}
        return told


def _in_path(name: str, example: str) -> Schema:
    return {
        "name": name, "in": "path", "required": True, "schema": TEXT | {"minLength": 1},
        "example": example,
    }  # fmt: skip


def _page_parameters() -> list[Schema]:
    limit: Schema = {
        "type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT,
    }  # fmt: skip
    return [
        {"name": "after", "in": "query", "schema": TEXT},
        {"name": "limit", "in": "query", "schema": limit},
        {"name": "order", "in": "query", "schema": one_of("asc", "desc") | {"default": "asc"}},
    ]


def _filters() -> list[Schema]:
    return [
        {"name": "model", "in": "query", "schema": TEXT},
        {
            "name": "metadata", "in": "query", "style": "deepObject", "explode": True,
            "schema": METADATA,
        },
    ]  # fmt: skip
