"""Whom a comparator asks, and what becomes of it where nobody answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import pytest

from gateway.audits.asking import Asking, NoAnswer, question_of
from gateway.audits.state import Audits
from gateway.errors import UpstreamFailed, UpstreamRefused
from gateway.legs import Legs, Model
from gateway.wire.chat import parse_chat
from routing.comparators import exact_text, similar_embedding
from routing.vocabulary import Role
from tests.fakes.calls import ClockedModel

NEAR = msgspec.json.encode(
    {"data": [{"index": 0, "embedding": [1.0, 0.0]}, {"index": 1, "embedding": [0.6, 0.8]}]}
)


CHAT = parse_chat(b'{"model":"m","messages":[{"role":"user","content":"Which?"}]}')


@dataclass
class FakeEmbedder:
    """Answers, in turn, with these bodies or errors."""

    replies: list[bytes | Exception]
    asked: list[Mapping[str, object]] = field(default_factory=list)
    is_closed: bool = False

    async def embed(self, fields: Mapping[str, object]) -> bytes:
        self.asked.append(fields)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def close(self) -> None:
        self.is_closed = True


def asking(*replies: bytes | Exception) -> tuple[Asking, FakeEmbedder]:
    embedder = FakeEmbedder(list(replies))
    audits = Audits(is_asking=True, embedder=embedder, retry_seconds=0.0)
    model = ClockedModel()
    return Asking(Model(Role.TEACHER, model, None), audits, Legs(model.clock)), embedder


async def score(made: Asking, left: str = "one thing", right: str = "another") -> float | None:
    return await made.score(similar_embedding("e", 0.9), CHAT, left, right)


pytestmark = pytest.mark.anyio


async def test_embeddings_are_those_of_the_embedder() -> None:
    made, embedder = asking(NEAR)
    assert await score(made) == pytest.approx(0.6)
    assert embedder.asked[0]["input"] == ["another", "one thing"]


async def test_texts_that_are_the_same_are_not_asked_about() -> None:
    made, embedder = asking()
    assert await score(made, "Paris", "paris") == 1.0
    assert embedder.asked == []


async def test_who_fails_is_asked_once_more() -> None:
    made, _ = asking(UpstreamFailed("no"), NEAR)
    assert await score(made) == pytest.approx(0.6)
    made, _ = asking(UpstreamFailed("no"), UpstreamFailed("no"))
    with pytest.raises(NoAnswer):
        await score(made)


async def test_who_refuses_is_not() -> None:
    made, embedder = asking(
        UpstreamRefused("no", param=None, upstream_status=400, is_too_long=False), NEAR
    )
    with pytest.raises(NoAnswer):
        await score(made)
    assert len(embedder.asked) == 1


async def test_a_reply_that_says_nothing_is_no_score() -> None:
    made, _ = asking(b"{}")
    assert await score(made) is None


async def test_long_answers_are_compared_as_short_ones_are() -> None:
    made, _ = asking()
    long = "word " * 2000
    assert await made.score(exact_text(), CHAT, long, long + "more") == 0.0
    assert await made.score(exact_text(), CHAT, long, long) == 1.0


@pytest.mark.parametrize(
    ("content", "question"),
    [
        ("Which?", "Which?"),
        (
            [
                {"type": "text", "text": "See"},
                {"type": "image_url"},
                {"type": "text", "text": "Which?"},
            ],
            "See\nWhich?",
        ),
        (None, ""),
        ([{"type": "text", "text": 3}], ""),
    ],
    ids=["words", "parts", "nothing", "oddities"],
)
async def test_a_judge_reads_the_last_message(content: object, question: str) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]
    chat = parse_chat(msgspec.json.encode({"model": "m", "messages": messages}))
    assert question_of(chat) == question


async def test_closing_audits_closes_their_embedder() -> None:
    made, embedder = asking()
    made.audits.close()
    assert embedder.is_closed
    Audits().close()
