"""The demo's requests: drawn from a seed, each with its right answer, and the solver of them all.

The solver reads a request's words only, so it answers any question of these families, drawn here
or typed by hand, and nothing else.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from understudy.demo.families import FAMILIES, PRODUCT, Family

Message = Mapping[str, object]

# A family that has given nothing unseen in this many draws is taken to be used up.
MOST_DRAWS = 200


@dataclass(frozen=True, slots=True)
class Task:
    """One checkable request: examples and then the question, as OpenAI chat messages."""

    id: str
    family: str
    messages: tuple[dict[str, str], ...]
    max_tokens: int
    expected: str

    def is_solved_by(self, text: str) -> bool:
        """Whether ``text`` is the right answer, give or take what does not change it."""
        return _FAMILY_BY_NAME[self.family].accepts(self.expected, text)


def generate(seed: int, count: int) -> list[Task]:
    """``count`` distinct tasks, the families in turn; the same seed gives the same tasks.

    None repeats an example that its own prompt shows.  Raises ValueError where the families do not
    hold that many distinct questions.
    """
    rng = random.Random(seed)
    seen: set[str] = set()
    tasks = []
    for number in range(count):
        family = FAMILIES[number % len(FAMILIES)]
        tasks.append(draw_task(family, rng, seen, f"{family.name}-{number:04d}"))
    return tasks


def draw_task(family: Family, rng: random.Random, seen: set[str], name: str) -> Task:
    """A task with the id ``name`` whose question is none of ``seen``, and is added to them.

    Raises ValueError where the family seems to have no other question left.
    """
    for _ in range(MOST_DRAWS):
        words = family.draw(rng)
        question = family.instruction + words
        if words in family.examples or question in seen:
            continue
        seen.add(question)
        return Task(
            id=name,
            family=family.name,
            messages=_prompt(family, question),
            max_tokens=family.max_tokens,
            expected=_solution(family, words),
        )
    raise ValueError(f"no {family.name} question is left after {len(seen)} tasks: ask for fewer")


def solve(messages: Sequence[Message]) -> str | None:
    """The right answer to the last message, or None where it is not a task of these families."""
    if not messages or messages[-1].get("role") != "user":
        return None
    content = messages[-1].get("content")
    text = content if isinstance(content, str) else _joined_text(content)
    for family in _FAMILY_BY_NAME.values():
        if text.startswith(family.instruction):
            return family.solve(text.removeprefix(family.instruction).strip())
    return None


def _prompt(family: Family, question: str) -> tuple[dict[str, str], ...]:
    messages = []
    for words in family.examples:
        messages.append({"role": "user", "content": family.instruction + words})
        messages.append({"role": "assistant", "content": _solution(family, words)})
    return (*messages, {"role": "user", "content": question})


def _solution(family: Family, words: str) -> str:
    answer = family.solve(words)
    if answer is None:
        raise ValueError(f"the family {family.name} cannot solve its own question {words!r}")
    return answer


def _joined_text(content: object) -> str:
    """The text of a message given as a list of parts; empty where any part is not text."""
    if not isinstance(content, list):
        return ""
    texts = [part.get("text") if isinstance(part, dict) else None for part in content]
    strings = [text for text in texts if isinstance(text, str)]
    return "".join(strings) if len(strings) == len(texts) else ""


_FAMILY_BY_NAME = {family.name: family for family in (*FAMILIES, PRODUCT)}
