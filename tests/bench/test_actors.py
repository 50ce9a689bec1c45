import json
from typing import Any

import httpx
import pytest

from bench.actors import STUDENT, TEACHER, Actors, evidence, question

ASKED = 4711


def body(**more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": f"Where is order {ASKED}?"}], **more}


async def ask(actors: Actors, role: str, **more: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app=actors.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://models") as client:
        return await client.post(f"/{role}/v1/chat/completions", json=body(**more))


def test_a_question_is_the_same_each_time() -> None:
    assert question(ASKED) == question(ASKED)
    assert evidence(question(ASKED)) == evidence(question(ASKED))
    assert question(ASKED) != question(ASKED + 1)


def test_hard_questions_get_less_sure_and_less_often_right_answers() -> None:
    asked = sorted((question(number) for number in range(600)), key=lambda each: each.hardness)
    easy, hard = asked[:200], asked[-200:]

    def sureness(questions: list[Any]) -> float:
        every = [logprob for each in questions for logprob in evidence(each)]
        return sum(every) / len(every)

    assert sureness(easy) > sureness(hard) + 0.2
    assert sum(each.is_answered_well for each in easy) > 190
    assert sum(each.is_answered_well for each in hard) < 170


async def test_a_stream_says_what_the_whole_answer_says() -> None:
    whole = (await ask(Actors(), STUDENT, logprobs=True)).json()
    streamed = await ask(Actors(), STUDENT, logprobs=True, stream=True)
    *events, last = [
        json.loads(line.removeprefix("data: "))
        for line in streamed.text.splitlines()
        if line.startswith("data: {")
    ]
    choice = whole["choices"][0]
    pieces = [each["choices"][0] for each in events]
    text = "".join(piece["delta"].get("content", "") for piece in pieces)
    places = [
        place for piece in pieces for place in (piece["logprobs"] or {"content": []})["content"]
    ]
    assert text == choice["message"]["content"]
    assert places == choice["logprobs"]["content"]
    assert last["usage"] == whole["usage"]
    assert whole["usage"]["completion_tokens"] == len(places)


async def test_only_the_student_gives_evidence() -> None:
    assert (await ask(Actors(), TEACHER, logprobs=True)).json()["choices"][0]["logprobs"] is None
    assert (await ask(Actors(), STUDENT)).json()["choices"][0]["logprobs"] is None


async def test_a_model_can_be_taken_away_and_brought_back() -> None:
    actors = Actors()
    transport = httpx.ASGITransport(app=actors.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://models") as client:
        await client.post(f"/away/{TEACHER}")
        assert (await ask(actors, TEACHER)).status_code == 503
        await client.post(f"/away/{TEACHER}")
    assert (await ask(actors, TEACHER)).status_code == 200


@pytest.mark.parametrize("role", [STUDENT, TEACHER])
async def test_an_answer_is_no_longer_than_asked(role: str) -> None:
    reply = (await ask(Actors(), role, max_tokens=3)).json()
    assert reply["usage"]["completion_tokens"] == 3
