"""Asks a cascade's models one question and makes a record of it, by the gateway's own wire code.

So the evidence is what the gateway would have seen: the same request, the same reading of the
reply, the same bill.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.building import build_model
from gateway.cascades import LoadedCascade, ModelConfig
from gateway.comparing import EmbeddingConfig, JudgeConfig
from gateway.errors import UpstreamError, UpstreamRefused
from gateway.facts import Leg
from gateway.legs import Legs
from gateway.sampled import Samples, ask_several
from gateway.upstream.embeddings import EmbeddingModel
from gateway.upstream.pool import ServerPool
from gateway.wire.chat import parse_chat
from gateway.wire.completion import Completion, text_of
from routing.comparators import Ask, Asked, Comparator, NoScore, Request, Score
from routing.money import PICO_PER_USD, Usage, total_of
from routing.vocabulary import Role
from understudy.draft_part import draft_part
from understudy.record.dataset import Item

BY_GOLD, BY_TEACHER, ASSUMED = "gold", "teacher", "assumed"

# What of a request decides how an answer is drawn from what the model holds likely.
SAMPLING = (
    "temperature", "top_p", "top_k", "min_p", "typical_p", "seed", "presence_penalty",
    "frequency_penalty", "repetition_penalty", "repeat_penalty", "logit_bias", "stop",
    "max_tokens", "max_completion_tokens", "reasoning_effort",
)  # fmt: skip


class Unanswered(Exception):
    """A question of which there is no record now; ``code`` is counted, ``detail`` is for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Answered:
    """A record, and what all of its calls cost in pico-dollars; None where a part is unknown."""

    record: Mapping[str, Any]
    cost_pico: int | None


class Panel:
    """A cascade's models and its comparator; ``close`` it."""

    def __init__(self, loaded: LoadedCascade, *, is_teacher_asked: bool) -> None:
        """``is_teacher_asked``: whether the teacher answers too, beside judging where it does."""
        self._loaded = loaded
        self._is_teacher_asked = is_teacher_asked
        self._student = build_model(loaded, Role.STUDENT, lambda _: None)
        self._teacher = build_model(loaded, Role.TEACHER, lambda _: None)
        config = loaded.config.comparator
        self._comparator: Comparator = config.comparator()
        self._embedder = (
            EmbeddingModel(config.base_url, loaded.embedder_key, config.timeout_seconds)
            if isinstance(config, EmbeddingConfig)
            else None
        )

    @property
    def made_with(self) -> dict[str, str | None]:
        """What a record depends on beside its question: other values make another measurement."""
        config = self._loaded.config
        teacher = _digest(config.teacher)
        student = _digest(config.student, config.student.version)
        comparator = f"{self._comparator.version} from {self._comparator.at_least:g}"
        if isinstance(config.comparator, JudgeConfig):
            comparator += f" by {teacher}"
        return {
            "student": student if config.samples == 1 else f"{student}, best of {config.samples}",
            "teacher": teacher if self._is_teacher_asked else None,
            "comparator": comparator,
        }

    def close(self) -> None:
        """Close the connections."""
        for model in (self._student, self._teacher):
            if isinstance(model.chat, ServerPool):
                model.chat.close()
        if self._embedder is not None:
            self._embedder.close()

    async def record(self, item: Item, *, is_asked_again: bool) -> Answered:
        """Ask what there is to ask.  Raises Unanswered.

        ``is_asked_again``: the teacher is asked twice, to learn how far it agrees with itself.
        """
        legs = Legs(time.monotonic)
        try:
            record = await self._record(item, legs, is_asked_again=is_asked_again)
        except (UpstreamError, UpstreamRefused) as failure:
            raise _unanswered(legs.made[-1].role, item, failure) from None
        # Nobody says what embeddings cost.
        is_known = self._embedder is None
        return Answered(
            record, total_of([leg.cost_pico for leg in legs.made]) if is_known else None
        )

    async def _record(self, item: Item, legs: Legs, *, is_asked_again: bool) -> dict[str, Any]:
        reply = await self._drafted(item, legs)
        student = draft_part(reply, item.chat) | self._part(Role.STUDENT, item, legs.made)
        student["version"] = self._loaded.config.student.version
        teacher: dict[str, Any] = {}
        if self._is_teacher_asked:
            teacher = await self._answer(item, legs)
            if is_asked_again:
                teacher["again"] = await self._answer(item, legs)
        await self._judge(item, legs, student, teacher)
        return {
            "id": item.id,
            **({} if item.group is None else {"group": item.group}),
            **({} if item.prompt is None else {"prompt": item.prompt}),
            "request": item.chat.fields,
            **({"gold": item.gold} if item.gold else {}),
            "ok_by": BY_GOLD if item.gold else BY_TEACHER,
            "student": student,
            "teacher": teacher,
            "made_with": self.made_with | {"question": item.digest},
        }

    async def _drafted(self, item: Item, legs: Legs) -> Completion:
        """The student's draft; of several that which most agree with, as the gateway has it."""
        config = self._loaded.config
        if config.samples == 1:
            return await legs.ask(self._student, item.chat)
        samples = Samples(config.samples, self._comparator)
        reply = await ask_several(self._student, item.chat, samples, legs)
        if reply.agreement is None:
            detail = (
                f"{item.id}: asked for {config.samples} drafts, the server wrote {reply.samples}"
            )
            raise Unanswered("student:other_number_of_drafts", detail)
        return reply

    async def _answer(self, item: Item, legs: Legs) -> dict[str, Any]:
        before = len(legs.made)
        reply = await legs.ask(self._teacher, item.chat)
        choice = reply.choices[0]
        part = {"text": text_of(choice), "finish_reason": choice.finish_reason}
        return part | self._part(Role.TEACHER, item, legs.made[before:])

    def _part(self, role: Role, item: Item, made: Sequence[Leg]) -> dict[str, Any]:
        """What a call says of itself, all its drafts together, and how the answer was drawn."""
        config = self._loaded.config
        extra = (config.student if role is Role.STUDENT else config.teacher).extra_body
        asked = {**item.chat.fields, **extra}
        part: dict[str, Any] = {
            "sampling": {name: asked[name] for name in SAMPLING if name in asked},
            "seconds": round(made[0].seconds, 6),
        }
        usages = [leg.usage for leg in made if leg.usage is not None]
        if usages:
            part["usage"] = _usage(usages)
        if (cost := total_of([leg.cost_pico for leg in made])) is not None:
            part["cost_usd"] = cost / PICO_PER_USD
        return part

    async def _judge(
        self, item: Item, legs: Legs, student: dict[str, Any], teacher: dict[str, Any]
    ) -> None:
        """Say of each answer whether it is acceptable: by the right ones, else by the teacher's."""
        again = teacher.get("again")
        if item.gold:
            for part in (student, teacher, again):
                if part:
                    part |= await self._outcome(item, legs, part["text"], item.gold)
        else:
            student |= await self._outcome(item, legs, student["text"], [teacher["text"]])
            teacher["ok"] = True
        if not self._is_teacher_asked:
            teacher |= {"ok": 1.0, "ok_by": ASSUMED}
        if again:
            outcome = await self._outcome(item, legs, teacher["text"], [again["text"]])
            again["agrees"] = outcome["ok"]

    async def _outcome(
        self, item: Item, legs: Legs, text: str, accepted: Sequence[str]
    ) -> dict[str, Any]:
        """The best score against several answers, and whether it is enough."""
        best = 0.0
        for each in accepted:
            best = max(best, (await self._score(item, legs, text, each)).value)
            if Score(best).is_same(self._comparator.at_least):
                break
        return {"ok": Score(best).is_same(self._comparator.at_least), "score": best}

    async def _score(self, item: Item, legs: Legs, left: str, right: str) -> Score:
        begun = self._comparator.begin(item.question, left, right)
        if isinstance(begun, Ask):
            replies = [await self._send(request, item, legs) for request in begun.requests]
            finished = self._comparator.finish(replies)
            if isinstance(finished, NoScore):
                raise Unanswered("comparator:no_score", f"{item.id}: {finished.why}")
            return finished
        return begun

    async def _send(self, request: Request, item: Item, legs: Legs) -> bytes:
        if request.asked is Asked.EMBEDDER and self._embedder is not None:
            try:
                return await self._embedder.embed(request.fields)
            except (UpstreamError, UpstreamRefused) as failure:
                raise _unanswered(request.asked, item, failure) from None
        body = msgspec.json.encode({**request.fields, "model": self._loaded.name})
        return (await legs.ask(self._teacher, parse_chat(body))).body


def _unanswered(who: str, item: Item, failure: UpstreamError | UpstreamRefused) -> Unanswered:
    said = failure.message if isinstance(failure, UpstreamRefused) else failure.detail()
    return Unanswered(f"{who}:{failure.code}", f"{item.id}: {who}: {said}")


def _digest(config: ModelConfig, version: str = "") -> str:
    """What an answer depends on, in few letters; where the server stands is no part of it."""
    told = msgspec.json.encode([config.model, version, config.extra_body], order="sorted")
    return hashlib.sha256(told).hexdigest()[:12]


def _usage(parts: Sequence[Usage]) -> dict[str, Any]:
    """In OpenAI's words."""
    told: dict[str, Any] = {
        "prompt_tokens": sum(usage.input for usage in parts),
        "completion_tokens": sum(usage.output for usage in parts),
    }
    if cached := sum(usage.cached_input for usage in parts):
        told["prompt_tokens_details"] = {"cached_tokens": cached}
    if reasoning := sum(usage.reasoning for usage in parts):
        told["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return told
