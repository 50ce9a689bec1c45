import json
from typing import Any

import pytest

from gateway.conversations.memory import Known, Memory
from gateway.conversations.talks import MOST_UNSHARED, Heard, OpenTurn, Talks
from gateway.wire.chat import parse_chat
from gateway.wire.conversation import Words, words_of
from routing.conversation import Past, Talk, Turn, Whose

KEPT, ESCALATED = Turn(is_enough=True, is_escalated=False), Turn(False, is_escalated=True)
NAME = bytes(16)


def talks(*, is_shared: bool = False) -> Talks:
    made = Talks("assistant", 1, Memory(3600.0), is_wanted=True)
    made.is_shared = is_shared
    return made


def asked(*texts: str, tenant: str | None = None) -> Words:
    """A request whose messages are the user's and the assistant's by turns."""
    messages: list[dict[str, Any]] = [
        {"role": "assistant" if place % 2 else "user", "content": text}
        for place, text in enumerate(texts)
    ]
    chat = parse_chat(json.dumps({"model": "assistant", "messages": messages}).encode())
    words = words_of(chat, Whose("assistant", tenant))
    assert words is not None
    return words


def turn(of: Talks, *texts: str, came_to: Turn = KEPT, answer: str | None = "Hello!") -> OpenTurn:
    """A request, and what it came to."""
    opened = of.begin(asked(*texts), 0.0)
    of.end(opened, came_to, None if answer is None else (answer, ()), 0.0)
    return opened


def test_conversation_has_an_id_from_its_second_turn_on_and_keeps_it() -> None:
    known = talks()
    first = turn(known, "hi")
    second = turn(known, "hi", "Hello!", "and?", answer="So.")
    third = turn(known, "hi", "Hello!", "and?", "So.", "then?")
    assert first.conversation is None
    assert second.conversation is not None
    assert third.conversation == second.conversation
    assert [each.talk.turns for each in (first, second, third)] == [0, 1, 2]
    other = turn(known, "hi", "Hello!", "but?")
    assert other.conversation not in (None, second.conversation)
    again = turn(known, "hi", "Hello!", "and?")  # the client has the second turn answered anew
    assert again.conversation == second.conversation
    assert again.talk == second.talk


def test_replicas_give_a_conversation_the_same_id() -> None:
    here, there = talks(is_shared=True), talks()
    turn(here, "hi")
    there.hear(here.unshared, 0.0)
    told, known = [turn(each, "hi", "Hello!", "and?") for each in (there, here)]
    assert known.conversation is not None
    assert (told.conversation, told.talk) == (known.conversation, known.talk)


@pytest.mark.parametrize("answer", [None, "Something else."])
def test_words_that_nobody_here_answered_stand_alone(answer: str | None) -> None:
    known = talks()
    turn(known, "hi", answer=answer, came_to=ESCALATED)
    following = turn(known, "hi", "Hello!", "and?")
    assert following.conversation is None
    assert following.talk == Talk()


def test_named_conversation_needs_no_answer_to_be_known() -> None:
    known = talks()
    first = known.begin(NAME, 0.0)
    known.end(first, ESCALATED, None, 0.0)
    second = known.begin(NAME, 0.0)
    assert (first.conversation, second.conversation) == (NAME, NAME)
    assert second.talk.past == Past(is_sticky=True, kept=1 / 3)
    assert known.begin(NAME, 3601.0).talk == Talk()


def test_who_knows_of_more_turns_is_right() -> None:
    known = talks(is_shared=True)
    longer, shorter = Talk(turns=5, judged=5), Talk(turns=2, judged=2, deferred=2)
    known.hear([Heard(NAME, Known(NAME, longer)), Heard(NAME, Known(NAME, shorter))], 0.0)
    assert known.begin(NAME, 0.0).talk == longer
    assert not known.unshared  # what others told is not told again


def test_turns_wait_to_be_shared_where_they_are_and_too_many_are_dropped() -> None:
    alone, known = talks(), talks(is_shared=True)
    for each in (alone, known):
        turn(each, "hi")
    assert (len(alone.unshared), len(known.unshared)) == (0, 1)
    for _ in range(MOST_UNSHARED + 4):
        known.end(OpenTurn(NAME, Talk()), KEPT, None, 0.0)
    assert (len(known.unshared), known.dropped) == (MOST_UNSHARED, 5)


def test_turns_that_could_not_be_told_are_the_next_to_be() -> None:
    known = talks(is_shared=True)
    turns = [Heard(bytes([number]), Known(None, Talk())) for number in range(4)]
    known.unshared.extend(turns[2:])
    known.keep_unshared(turns[:2])
    assert list(known.unshared) == turns
    known.unshared.extend([turns[3]] * (MOST_UNSHARED - 5))
    known.keep_unshared(turns[:3])
    assert [known.unshared[0], known.unshared[1]] == [turns[2], turns[0]]
    assert (len(known.unshared), known.dropped) == (MOST_UNSHARED, 2)
    known.keep_unshared(turns)
    assert (known.unshared[0], known.dropped) == (turns[2], 6)
