"""A scripted vLLM server: what it refuses, and in which words, as recorded from vLLM 0.32."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Scope, Send

from tests.fakes.chunks import USAGE, chunk, usage_report
from tests.fakes.script import ROLE, Raw, Step, entry, finish, whole
from tests.fakes.upstream import Reply, ScriptedModel, completion

NAMES = ("upstream-student", "upstream-teacher")
DETAILS = {"prompt_tokens_details": {"cached_tokens": 0}}
COUNTED = ("1", ",", " 2")


@dataclass(frozen=True)
class Flags:
    """How it was started; each default is what the gateway wants."""

    enable_auto_tool_choice: bool = True
    tool_call_parser: bool = True
    is_parser_of_this_model: bool = True
    calls_of_itself: bool = True
    can_be_made_to_call: bool = True
    enable_prompt_tokens_details: bool = True
    max_logprobs: int = 20
    has_logprobs: bool = True
    knows_running_usage: bool = True
    has_usage: bool = True
    keeps_last_message: bool = True
    is_collected_by_a_proxy: bool = False
    most_choices: int = 128
    served: Sequence[str] = NAMES
    listing: bytes | None = None
    max_model_len: Mapping[str, int] | None = None
    api_key: str | None = None
    status: int = 200


class ScriptedVllm:
    """An ASGI application; change ``flags`` at any time, read ``model.requests`` afterwards."""

    def __init__(self, flags: Flags | None = None) -> None:
        self.flags = flags or Flags()
        self.model = ScriptedModel()
        self.model.reply = self._reply
        self._is_let_in = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = dict(scope.get("headers", ())).get(b"authorization", b"").decode()
        self._is_let_in = self.flags.api_key in (None, key.removeprefix("Bearer "))
        if scope["type"] != "http" or scope["method"] == "POST":
            await self.model(scope, receive, send)
            return
        status, body = self._listing()
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _listing(self) -> tuple[int, bytes]:
        if not self._is_let_in:
            return 401, b'{"error":"Unauthorized"}'
        if self.flags.listing is not None:
            return self.flags.status, self.flags.listing
        lengths = self.flags.max_model_len or {}
        entries = [
            {"id": name, "parent": None, "max_model_len": lengths.get(name, 2048)}
            for name in self.flags.served
        ]
        return self.flags.status, json.dumps({"object": "list", "data": entries}).encode()

    def _reply(self, request: Mapping[str, Any]) -> Reply:
        if not self._is_let_in:
            return Reply({"error": "Unauthorized"}, status=401)
        if self.flags.status != 200:
            return Reply({}, status=self.flags.status)
        if request["model"] not in self.flags.served:
            return _error(f"The model `{request['model']}` does not exist.", 404)
        return self._refusal(request) or self._answer(request)

    def _refusal(self, request: Mapping[str, Any]) -> Reply | None:
        flags, asked = self.flags, request.get("top_logprobs") or 0
        if asked > flags.max_logprobs:
            return _error(
                f"Requested sample logprobs of {asked}, which is greater than max allowed: "
                f"{flags.max_logprobs} (parameter=logprobs, value={asked})"
            )
        options = request.get("stream_options") or {}
        if options.get("continuous_usage_stats") and not flags.knows_running_usage:
            return _error("Unrecognized request argument supplied: continuous_usage_stats")
        choice = request.get("tool_choice")
        if choice == "auto" and not (flags.enable_auto_tool_choice and flags.tool_call_parser):
            return _error(
                '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to '
                "be set"
            )
        if choice == "required" and not flags.tool_call_parser:
            return _error('tool_choice="required" requires --tool-call-parser to be set')
        return None

    def _answer(self, request: Mapping[str, Any]) -> Reply:
        flags = self.flags
        usage = USAGE | (DETAILS if flags.enable_prompt_tokens_details else {})
        if "tools" in request:
            return self._call(request, usage)
        if request["messages"][-1]["role"] == "assistant":
            return Reply(steps=whole([" ", "4", ", 5"] if flags.keeps_last_message else COUNTED))
        if request.get("stream"):
            return Reply(steps=self._stream(request, usage))
        answer = completion("1, 2", usage=usage if flags.has_usage else None)
        if not (request.get("logprobs") and flags.has_logprobs):
            answer["choices"][0]["logprobs"] = None
        answer["choices"] *= min(request.get("n") or 1, flags.most_choices)
        return Reply(answer)

    def _stream(self, request: Mapping[str, Any], usage: Mapping[str, Any]) -> list[Step]:
        flags, options = self.flags, request.get("stream_options") or {}
        running = {"usage": usage} if options.get("continuous_usage_stats") else {}
        has_logprobs = request.get("logprobs") and flags.has_logprobs
        texts = ["".join(COUNTED)] if flags.is_collected_by_a_proxy else COUNTED
        words: list[Step] = [
            Raw(chunk({"content": text}, [entry(text, -0.1)] if has_logprobs else None, **running))
            for text in texts
        ]
        last: list[Step] = [Raw(usage_report(usage))] if flags.has_usage else []
        return [ROLE, *words, finish()[0], *last]

    def _call(self, request: Mapping[str, Any], usage: Mapping[str, Any]) -> Reply:
        flags, must = self.flags, request["tool_choice"] == "required"
        name = request["tools"][0]["function"]["name"]
        arguments = '{"number": 7}'
        does = flags.can_be_made_to_call if must else flags.calls_of_itself
        if not does:
            return Reply(completion("A number.", usage=usage))
        if not flags.is_parser_of_this_model:
            text = f'<call>{{"name": "{name}", "arguments": {arguments}}}</call>'
            return Reply(completion(text, usage=usage))
        call = {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}
        return Reply(completion(None, message={"tool_calls": [call]}, usage=usage))


def _error(message: str, status: int = 400) -> Reply:
    error = {"message": message, "type": "BadRequestError", "param": None, "code": status}
    return Reply({"error": error}, status=status)
