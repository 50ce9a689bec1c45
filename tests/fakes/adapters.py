"""A model server that takes adapters while it serves, as vLLM 0.32 was recorded to."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from starlette.types import Receive, Scope, Send

from tests.fakes.upstream import Reply, ScriptedModel


class AdapterServer:
    """Answers as each of its models is told to in ``replies``.

    ``has_route`` is vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING; ``paths`` are adapters that it can
    read; ``refusal`` is what it says of any other error, with its status.
    """

    def __init__(self, base: str = "upstream-student") -> None:
        self.base = base
        self.paths: set[str] = set()
        self.start_anew()

    def start_anew(self) -> None:
        """Forget all that it was told and asked, but for the adapters that it can read."""
        self.replies: dict[str, Callable[[Mapping[str, Any]], Reply]] = {}
        self.loaded: dict[str, str] = {}
        self.unloaded: list[str] = []
        self.has_route = True
        self.refusal: tuple[int, str] | None = None
        self.keys: set[str | None] = set()
        self.model = ScriptedModel()
        self.model.reply = self._reply

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        self.keys.add(headers.get("authorization"))
        path = scope["path"]
        if path == "/v1/chat/completions":
            await self.model(scope, receive, send)
        elif path == "/v1/models":
            await _send(send, 200, {"object": "list", "data": self._models()})
        elif self.has_route and path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter"):
            fields = json.loads(await _body(receive))
            act = self._load if path == "/v1/load_lora_adapter" else self._unload
            await _send(send, *act(fields))
        else:
            await _send(send, 404, {"detail": "Not Found"})

    def _models(self) -> list[dict[str, Any]]:
        adapters = [{"id": name, "root": path} for name, path in self.loaded.items()]
        return [{"id": self.base, "root": "models/base"}, *adapters]

    def _load(self, fields: Mapping[str, str]) -> tuple[int, object]:
        name, path = fields["lora_name"], fields["lora_path"]
        if self.refusal is not None:
            return _error(*self.refusal)
        if name in self.loaded:
            told = f"The lora adapter '{name}' has already been loaded. If you want to load the "
            return _error(400, told + "adapter in place, set 'load_inplace' to True.")
        if path not in self.paths:
            return _error(404, f"Loading lora {name} failed: No adapter found for {path}")
        self.loaded[name] = path
        return 200, f"Success: LoRA adapter '{name}' added successfully."

    def _unload(self, fields: Mapping[str, str]) -> tuple[int, object]:
        name = fields["lora_name"]
        if self.refusal is not None:
            return _error(*self.refusal)
        if name not in self.loaded:
            return _error(404, f"The lora adapter '{name}' cannot be found.")
        del self.loaded[name]
        self.unloaded.append(name)
        return 200, f"Success: LoRA adapter '{name}' removed successfully."

    def _reply(self, request: Mapping[str, Any]) -> Reply:
        name = request["model"]
        if name != self.base and name not in self.loaded:
            error = {"message": f"The model `{name}` does not exist.", "type": "NotFoundError"}
            return Reply(body={"error": error | {"code": 404}}, status=404)
        says = self.replies.get(name)
        return Reply() if says is None else says(request)


def _error(status: int, message: str) -> tuple[int, object]:
    return status, {"error": {"message": message, "type": "?", "param": None, "code": status}}


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)


async def _send(send: Send, status: int, body: object) -> None:
    is_text = isinstance(body, str)
    kind = b"text/plain" if is_text else b"application/json"
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    headers = [(b"content-type", kind)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
