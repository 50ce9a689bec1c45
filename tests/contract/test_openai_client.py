"""The official client talks to the gateway, over a real socket."""

from collections.abc import Iterator

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.fakes.serving import Stage, stage
from tests.fakes.upstream import UNSURE, Reply, completion

QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Capital of France?"}]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("contract")) as built:
        yield built


@pytest.fixture
def client(scene: Stage) -> Iterator[openai.OpenAI]:
    scene.student.reply = Reply()
    scene.teacher.reply = Reply(body=completion("Paris, of course."))
    with openai.OpenAI(base_url=scene.url + "/v1", api_key="unused", max_retries=0) as built:
        yield built


def test_a_plain_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="assistant", messages=QUESTION)
    assert answer.choices[0].message.content == "Paris."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].logprobs is None
    assert answer.model == "assistant"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 110


def test_the_headers_can_be_read(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="assistant", messages=QUESTION)
    assert raw.headers["x-understudy-served-by"] == "student"
    assert raw.parse().choices[0].message.content == "Paris."


@pytest.mark.parametrize("is_sure", [True, False])
def test_a_streamed_answer(scene: Stage, client: openai.OpenAI, is_sure: bool) -> None:
    if not is_sure:
        scene.student.reply = Reply(body=completion("Rome?", UNSURE))
    stream = client.chat.completions.create(
        model="assistant",
        messages=QUESTION,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == ("Paris." if is_sure else "Paris, of course.")
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 10


def test_the_streaming_helper_builds_the_same_answer(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="assistant", messages=QUESTION) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "Paris."


async def test_the_async_client(scene: Stage) -> None:
    base_url = scene.url + "/v1"
    async with openai.AsyncOpenAI(base_url=base_url, api_key="unused", max_retries=0) as client:
        scene.student.reply = Reply()
        answer = await client.chat.completions.create(model="assistant", messages=QUESTION)
        assert answer.choices[0].message.content == "Paris."
        stream = await client.chat.completions.create(
            model="assistant", messages=QUESTION, stream=True
        )
        parts = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert "".join(parts) == "Paris."


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["assistant"]


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nope", messages=QUESTION)
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert caught.value.type == "invalid_request_error"


def test_empty_messages_are_a_bad_request(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="assistant", messages=[])
    assert caught.value.param == "messages"


def test_a_wrong_type_is_a_bad_request(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model="assistant",
            messages=QUESTION,
            temperature="hot",  # type: ignore[call-overload]  # the mistake under test
        )
    assert caught.value.param == "temperature"


def test_both_models_failing_is_an_internal_server_error_to_retry(
    scene: Stage, client: openai.OpenAI
) -> None:
    scene.student.reply = scene.teacher.reply = Reply(status=500)
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="assistant", messages=QUESTION)
    assert caught.value.status_code == 503
    assert caught.value.response.headers["retry-after"] == "5"


def test_asked_for_log_probabilities_come(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="assistant", messages=QUESTION, logprobs=True, top_logprobs=1
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert [len(entry.top_logprobs) for entry in logprobs.content] == [1]
