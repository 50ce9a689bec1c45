"""The id of a request has two names in a reply, whichever way the reply is sent."""

from typing import Any

import pytest

from gateway.api.exchange import passing_on, read_body
from gateway.api.request_ids import WithRequestId
from tests.understudy.test_replying import POST, body, reply, start, writes_of


async def whole(scope: Any, receive: Any, send: Any) -> None:
    await reply(scope, send, 200, {"x-request-id": "7"}, b"ok")


async def in_messages(scope: Any, receive: Any, send: Any) -> None:
    await send(start((b"x-request-id", b"7")))
    await send(body(b"ok"))


async def streamed(scope: Any, receive: Any, send: Any) -> None:
    await in_messages(scope, receive, lambda message: send({**message, "more_body": True}))
    assert passing_on(scope, send)(b"more")
    await send(body(b""))


@pytest.mark.parametrize("app", [whole, in_messages, streamed])
async def test_the_id_is_said_under_both_names(app: Any) -> None:
    head = b"".join(await writes_of(WithRequestId(app))).partition(b"\r\n\r\n")[0]
    assert head.count(b"\r\nx-request-id: 7") == 1
    assert head.count(b"\r\nrequest-id: 7") == 1


async def test_a_reply_without_an_id_gets_none() -> None:
    async def nameless(scope: Any, receive: Any, send: Any) -> None:
        assert await read_body(scope, receive, most=9, seconds=5) == b"x"
        await reply(scope, send, 200, {}, b"ok")

    (said,) = await writes_of(WithRequestId(nameless), POST % (1, b"x"))
    assert b"request-id" not in said


async def test_any_other_server_is_answered_in_messages() -> None:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    await WithRequestId(whole)({"type": "http", "headers": []}, None, send)  # type: ignore[arg-type]
    assert (b"request-id", b"7") in said[0]["headers"]
