"""A model server with every route that the gateway asks: whatever is asked of it, it answers."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.types import Receive, Scope, Send

from tests.fakes.script import Played, play, steps_of
from tests.fakes.texts import choice_of, text_reply, text_stream
from tests.fakes.upstream import SURE, UNSURE, completion

USAGE = {"prompt_tokens": 7, "total_tokens": 7}
OTHERS: Mapping[str, Any] = {
    "/tokenize": {"count": 3, "max_model_len": 4096, "tokens": [1, 2, 3]},
    "/detokenize": {"prompt": "Once upon"},
    "/v1/embeddings": {"object": "list", "data": [], "model": "up", "usage": USAGE},
    "/v1/score": {"object": "list", "data": [], "model": "up", "usage": USAGE},
    "/v1/rerank": {"id": "rerank-1", "results": [], "model": "up", "usage": USAGE},
}


async def any_server(scope: Scope, receive: Receive, send: Send) -> None:
    """The application.  Of every second length of a request it is unsure."""
    if scope["type"] != "http":
        return
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    path: str = scope["path"]
    request = json.loads(body) if body else {}
    logprob = SURE if len(body) % 2 else UNSURE
    if path == "/v1/chat/completions":
        said = _chat(request, logprob)
        if request.get("stream"):
            await play(steps_of(said), Played(request), receive, send)
            return
        await _send(send, json.dumps(said).encode())
    elif path == "/v1/completions":
        if request.get("stream"):
            await _send(
                send, text_stream("a", " time.", logprob=logprob), kind=b"text/event-stream"
            )
            return
        await _send(send, json.dumps(_text(request, logprob)).encode())
    elif path in OTHERS:
        await _send(send, json.dumps(OTHERS[path]).encode())
    else:
        await _send(send, b'{"error": {"message": "Not Found"}}', 404)


def _chat(request: Mapping[str, Any], logprob: float) -> dict[str, Any]:
    said = completion(logprob=logprob)
    (choice,) = said["choices"]
    count = request.get("n") or 1
    return said | {"choices": [choice | {"index": place} for place in range(count)]}


def _text(request: Mapping[str, Any], logprob: float) -> dict[str, Any]:
    prompt = request["prompt"]
    is_several = isinstance(prompt, list) and not isinstance(prompt[0], int)
    count = (len(prompt) if is_several else 1) * (request.get("n") or 1)
    choices = [choice_of("a", " time.", logprob=logprob, index=place) for place in range(count)]
    return text_reply(*choices)


async def _send(
    send: Send, body: bytes, status: int = 200, kind: bytes = b"application/json"
) -> None:
    headers = [(b"content-type", kind)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
