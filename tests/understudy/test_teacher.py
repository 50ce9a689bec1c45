import json
from collections.abc import AsyncIterator

import httpx
import httpx2
import openai
import pytest

from gateway.upstream.probe import PREFIX, QUESTION
from understudy.demo.teacher import (
    CANNOT,
    MAX_BODY_BYTES,
    MOST_NUMBERS,
    OWNER,
    Pace,
    create_teacher,
)
from understudy.demo.teacher_wire import MODEL, pieces_of
from understudy.demo.workload import generate

ASK = {"role": "user", "content": "In digits: forty-two"}
CHAT = "/v1/chat/completions"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=create_teacher())
    async with httpx.AsyncClient(transport=transport, base_url="http://teacher") as client:
        yield client


@pytest.fixture
async def official() -> AsyncIterator[openai.AsyncOpenAI]:
    transport = httpx2.ASGITransport(app=create_teacher())
    async with openai.AsyncOpenAI(
        base_url="http://teacher/v1",
        api_key="any",
        http_client=httpx2.AsyncClient(transport=transport),
        max_retries=0,
    ) as client:
        yield client


def chat(**fields: object) -> dict[str, object]:
    return {"model": MODEL, "messages": [ASK], **fields}


def chunks_of(body: str) -> list[dict[str, object]]:
    lines = [line for line in body.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


async def test_every_task_is_solved(official: openai.AsyncOpenAI) -> None:
    for task in generate(5, 40):
        reply = await official.chat.completions.create(
            model=MODEL,
            messages=task.messages,  # type: ignore[arg-type]  # the client wants its own classes
            max_tokens=task.max_tokens,
        )
        assert reply.choices[0].finish_reason == "stop"
        assert task.is_solved_by(reply.choices[0].message.content or "")


async def test_usage_counts_tokens_and_an_overhead_for_each_message(
    client: httpx.AsyncClient,
) -> None:
    answered = {"role": "assistant", "content": "42"}
    reply = (await client.post(CHAT, json=chat(messages=[ASK, answered, ASK]))).json()
    asked = len(("In", " digits", ":", " forty", "-", "two"))
    prompt = 3 * 5 + 2 * asked + 2
    assert reply["usage"] == {
        "prompt_tokens": prompt,
        "completion_tokens": 2,
        "total_tokens": prompt + 2,
    }


async def test_a_stream_has_a_role_content_and_a_finish(client: httpx.AsyncClient) -> None:
    reply = await client.post(CHAT, json=chat(stream=True))
    assert reply.headers["content-type"].startswith("text/event-stream")
    choices = [chunk["choices"][0] for chunk in chunks_of(reply.text)]  # type: ignore[index]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(choice["delta"].get("content", "") for choice in choices) == "42"
    assert [choice["finish_reason"] for choice in choices] == [None, None, None, "stop"]


async def test_a_stream_tells_its_usage_only_when_asked(client: httpx.AsyncClient) -> None:
    plain = await client.post(CHAT, json=chat(stream=True))
    assert not any("usage" in chunk for chunk in chunks_of(plain.text))

    options = {"include_usage": True}
    asked = await client.post(CHAT, json=chat(stream=True, stream_options=options))
    *others, last = chunks_of(asked.text)
    assert last["choices"] == []
    assert last["usage"] == (await client.post(CHAT, json=chat())).json()["usage"]
    assert all(chunk["usage"] is None for chunk in others)


async def test_the_official_client_reads_a_stream(official: openai.AsyncOpenAI) -> None:
    stream = await official.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Order to JSON: 3 mugs at 4 dollars each"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert json.loads(text) == {"item": "mugs", "quantity": 3, "price": 4}
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == len(pieces_of(text))


async def test_a_stream_tells_its_running_usage_where_that_is_wanted(
    client: httpx.AsyncClient,
) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    reply = await client.post(CHAT, json=chat(stream=True, stream_options=options))
    made = [chunk["usage"]["completion_tokens"] for chunk in chunks_of(reply.text)]  # type: ignore[index]
    assert made == [0, 1, 2, 2, 2]
    # vLLM too wants include_usage beside it.
    options = {"continuous_usage_stats": True}
    reply = await client.post(CHAT, json=chat(stream=True, stream_options=options))
    assert not any("usage" in chunk for chunk in chunks_of(reply.text))


ORDER = {"role": "user", "content": "Order to JSON: 3 mugs at 4 dollars each"}
GO_ON = {"continue_final_message": True, "add_generation_prompt": False}


def given(text: object, **fields: object) -> dict[str, object]:
    return chat(messages=[ORDER, {"role": "assistant", "content": text}], **GO_ON | fields)


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    "parts",
    [
        ('{"item": "mu', 'gs", "quantity": 3, "price": 4}'),
        ('{"item":', ' "mugs", "quantity": 3, "price": 4}'),
        ("", '{"item": "mugs", "quantity": 3, "price": 4}'),
        ('{"item": "mugs", "quantity": 3, "price": 4}', ""),
        ("An order of", '\n{"item": "mugs", "quantity": 3, "price": 4}'),
    ],
)
async def test_it_goes_on_from_given_words(
    client: httpx.AsyncClient, parts: tuple[str, str], *, is_stream: bool
) -> None:
    reply = await client.post(CHAT, json=given(parts[0], stream=is_stream))
    if is_stream:
        chunks = [chunk["choices"][0] for chunk in chunks_of(reply.text)]  # type: ignore[index]
        assert "".join(choice["delta"].get("content", "") for choice in chunks) == parts[1]
        assert chunks[-1]["finish_reason"] == "stop"
        return
    (choice,) = reply.json()["choices"]
    assert choice["message"]["content"] == parts[1]
    assert choice["finish_reason"] == "stop"


async def test_given_words_are_part_of_the_prompt_and_not_of_the_answer(
    client: httpx.AsyncClient,
) -> None:
    usage = (await client.post(CHAT, json=given('{"item":'))).json()["usage"]
    asked, words = len(pieces_of(str(ORDER["content"]))), len(pieces_of('{"item":'))
    assert usage["prompt_tokens"] == 2 * 5 + asked + words
    rest = ' "mugs", "quantity": 3, "price": 4}'
    assert usage["completion_tokens"] == len(pieces_of(rest))
    cut = (await client.post(CHAT, json=given('{"item":', max_tokens=2))).json()
    assert cut["choices"][0]["message"]["content"] == ' "mugs'


async def test_words_of_an_assistant_are_a_turn_of_its_own_unless_it_is_told_to_go_on(
    client: httpx.AsyncClient,
) -> None:
    body = given("An order of", continue_final_message=False, add_generation_prompt=True)
    assert (await client.post(CHAT, json=body)).json()["choices"][0]["message"]["content"] == CANNOT
    last_is_the_user = chat(**GO_ON)
    reply = (await client.post(CHAT, json=last_is_the_user)).json()
    assert reply["choices"][0]["message"]["content"] == "42"


async def test_it_counts_for_those_who_want_to_see_it_go_on(client: httpx.AsyncClient) -> None:
    messages = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": PREFIX.text},
    ]
    reply = (await client.post(CHAT, json=chat(messages=messages, **GO_ON))).json()
    assert reply["choices"][0]["message"]["content"] == " 4, 5, 6, 7, 8, 9, 10"
    too_many = "Write the numbers from 1 to 999999, separated by commas."
    ask = [{"role": "user", "content": too_many}]
    reply = (await client.post(CHAT, json=chat(messages=ask))).json()
    assert reply["choices"][0]["message"]["content"].endswith(f" {MOST_NUMBERS}")


async def test_an_answer_ends_at_the_token_limit(client: httpx.AsyncClient) -> None:
    ask = [{"role": "user", "content": "Rewrite as YYYY-MM-DD: 5 March 2021"}]
    reply = (await client.post(CHAT, json=chat(messages=ask, max_tokens=9))).json()
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["choices"][0]["message"]["content"] == "2021-03-0"
    assert reply["usage"]["completion_tokens"] == 9
    exact = (await client.post(CHAT, json=chat(messages=ask, max_completion_tokens=10))).json()
    assert exact["choices"][0]["finish_reason"] == "stop"
    assert exact["choices"][0]["message"]["content"] == "2021-03-05"


async def test_it_says_that_it_is_a_stand_in(client: httpx.AsyncClient) -> None:
    (model,) = (await client.get("/v1/models")).json()["data"]
    assert model["id"] == MODEL
    assert model["owned_by"] == OWNER
    assert "stand-in" in model["description"]

    ask = [{"role": "user", "content": "What is the capital of France?"}]
    reply = (await client.post(CHAT, json=chat(messages=ask))).json()
    assert reply["choices"][0]["message"]["content"] == CANNOT
    for option in ("--teacher-url", "--teacher-model", "--teacher-key"):
        assert option in CANNOT


async def test_health_is_ok(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health")).json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("body", "status", "param", "code"),
    [
        (b"{", 400, None, "invalid_json"),
        (b"\xff\xfe", 400, None, "invalid_json"),
        (b"[]", 400, None, "invalid_value"),
        (b'{"model": "stand-in"}', 400, "messages", "invalid_value"),
        (b'{"model": "stand-in", "messages": "hello"}', 400, "messages", "invalid_value"),
        (b'{"model": "stand-in", "messages": [1]}', 400, "messages", "invalid_value"),
        (b'{"model": "stand-in", "messages": []}', 400, "messages", "empty_array"),
        (json.dumps(chat(model="gpt")).encode(), 404, "model", "model_not_found"),
        (json.dumps(chat(stream="yes")).encode(), 400, "stream", "invalid_value"),
        (json.dumps(chat(max_tokens=0)).encode(), 400, "max_tokens", "invalid_value"),
        (
            json.dumps(chat(continue_final_message=True)).encode(),
            400,
            "continue_final_message",
            "invalid_value",
        ),
        (b" " * (MAX_BODY_BYTES + 1), 413, None, "request_too_large"),
    ],
)
async def test_bad_input_gets_an_error_with_four_keys(
    client: httpx.AsyncClient, body: bytes, status: int, param: str | None, code: str
) -> None:
    reply = await client.post(CHAT, content=body)
    error = reply.json()["error"]
    assert reply.status_code == status
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["param"], error["code"]) == (param, code)
    assert error["type"] == "invalid_request_error"
    assert error["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", CHAT, 405), ("GET", "/v1/nothing", 404)]
)
async def test_a_wrong_route_gets_an_error_with_four_keys(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    reply = await client.request(method, path)
    assert reply.status_code == status
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", ()),
        ("42", ("4", "2")),
        ("2021-03", ("2", "0", "2", "1", "-", "0", "3")),
        ("Last name first: ", ("Last", " name", " first", ":", " ")),
        ("quantities", ("quanti", "ties")),
        ('{"item": 3}', ("{", '"', "item", '"', ":", " 3", "}")),
        ("\n\n naïve_漢字\u200b", ("\n\n naïve", "_", "漢字", "\u200b")),
    ],
)
def test_a_text_is_cut_into_its_tokens(text: str, pieces: tuple[str, ...]) -> None:
    assert pieces_of(text) == pieces
    assert "".join(pieces) == text


def test_the_pace_gives_seconds_for_tokens() -> None:
    assert Pace().seconds_for(10) == 0.0
    assert Pace(tokens_per_second=20.0).seconds_for(10) == 0.5
