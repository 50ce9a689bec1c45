"""A lesson as tokens, and which of them are learnt: the answer and the token that ends it.

Prompt and answer are tokenised apart, since a server tokenises the prompt alone.  The chat template
renders both; what it puts after the end of the answer is cut off, for no model generates that.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill.lessons import Lesson

IGNORED = -100  # what torch's cross-entropy passes over


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids of a prompt as a server sees it, and of its answer with its end."""

    prompt: list[int]
    answer: list[int]
    rejected: list[int] | None

    def __len__(self) -> int:
        return len(self.prompt) + max(len(self.answer), len(self.rejected or ()))


class Tokeniser:
    """Turns lessons into tokens by a model's own template.  ``left_out`` counts by cause."""

    def __init__(self, tokenizer: Any, ends: frozenset[int], max_length: int) -> None:
        """``ends``: the tokens that end an answer, as the model's generation has them."""
        self._tokenizer = tokenizer
        self._ends = ends
        self._max_length = max_length
        self.left_out: Counter[str] = Counter()

    def all_of(self, lessons: Iterable[Lesson]) -> list[Tokens]:
        """Those that can be learnt, whole: nothing is cut to fit."""
        found = []
        for lesson in lessons:
            tokens = self._tokens(lesson)
            if tokens is None:
                self.left_out["template_changes_prompt"] += 1
            elif len(tokens) > self._max_length:
                self.left_out["too_long"] += 1
            else:
                found.append(tokens)
        return found

    def _tokens(self, lesson: Lesson) -> Tokens | None:
        prompt = self._rendered(lesson, None)
        answer = self._answer(lesson, prompt, lesson.answer)
        rejected = lesson.rejected and self._answer(lesson, prompt, lesson.rejected)
        if answer is None or (lesson.rejected is not None and rejected is None):
            return None
        return Tokens(self._ids(prompt), answer, rejected or None)

    def _answer(self, lesson: Lesson, prompt: str, message: Mapping[str, Any]) -> list[int] | None:
        """None where the template renders the prompt differently once it is answered."""
        whole = self._rendered(lesson, message)
        if not whole.startswith(prompt):
            return None
        ids = self._ids(whole[len(prompt) :])
        last = max((at for at, token in enumerate(ids) if token in self._ends), default=None)
        return [*ids, self._tokenizer.eos_token_id] if last is None else ids[: last + 1]

    def _rendered(self, lesson: Lesson, answer: Mapping[str, Any] | None) -> str:
        text = self._tokenizer.apply_chat_template(
            [*lesson.prompt, *([] if answer is None else [answer])],
            tools=lesson.tools,
            add_generation_prompt=answer is None,
            tokenize=False,
        )
        return str(text)

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False).input_ids)


def columns_of(tokens: Sequence[Tokens]) -> dict[str, list[list[int]]]:
    """As TRL's SFTTrainer takes rows that are tokens already."""
    return {
        "input_ids": [[*each.prompt, *each.answer] for each in tokens],
        "labels": [[IGNORED] * len(each.prompt) + each.answer for each in tokens],
    }


def preference_columns_of(tokens: Sequence[Tokens]) -> dict[str, list[list[int]]]:
    """As TRL's DPOTrainer takes them."""
    return {
        "prompt_ids": [each.prompt for each in tokens],
        "chosen_ids": [each.answer for each in tokens],
        "rejected_ids": [each.rejected or [] for each in tokens],
    }
