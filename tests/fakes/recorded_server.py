"""A model server that replays what a real one said: the recording whose request is most alike."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.types import Receive, Scope, Send

from tests.fakes.recordings import CHAT, RECORDINGS, TEXT

EMBEDDING = "vllm-embed/embeddings.json"
COUNTING = {
    "/tokenize": "tokenize_chat",
    "/v1/messages/count_tokens": "messages_count_tokens",
    "/v1/models": "models",
}


class RecordedServer:
    """An ASGI application over one folder of recordings."""

    def __init__(self, folder: str) -> None:
        self._folder = RECORDINGS / folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        name = _recording_of(scope["path"], json.loads(body) if body else {})
        meta = json.loads((self._folder / f"{name}.meta.json").read_bytes())
        (path,) = (
            each for each in self._folder.glob(f"{name}.*") if not each.name.endswith(".meta.json")
        )
        content = next(
            value for key, value in meta["headers"].items() if key.lower() == "content-type"
        )
        headers = [(b"content-type", content.encode())]
        await send({"type": "http.response.start", "status": meta["status"], "headers": headers})
        await send({"type": "http.response.body", "body": path.read_bytes()})


def _recording_of(path: str, request: Mapping[str, Any]) -> str:
    """The name of the recording that answers such a request."""
    streamed = "_stream" if request.get("stream") else ""
    if path == CHAT and request.get("tool_choice") == "required":
        return f"tools_required{streamed}"
    if path == CHAT and "response_format" in request:
        return "json_schema"
    if path == CHAT:
        return "stream_logprobs" if streamed else "chat_logprobs"
    if path == TEXT:
        return f"completions{streamed}"
    return COUNTING[path]


class RecordedEmbedder:
    """vLLM's pooling server, which has one answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        body = (RECORDINGS / EMBEDDING).read_bytes()
        await send({"type": "http.response.body", "body": body})
