"""Conversations: how one is told from others, and what its earlier turns say of this one.

A conversation has the name that its client gives it or, without one, is known by the words that
each of its turns repeats.  Ids are digests, the same on every replica, of which nothing can be read
back.  This module knows no request, no store and no clock.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from routing.money import Price, expected_cost
from routing.vocabulary import Role

ID_BYTES = 16
# Longer conversations count as this long: what their turns say does not change any more.
MOST_TURNS = 2**16 - 1
MOST_TOKENS = 2**32 - 1
MOST_STICKY_TURNS = 1000


class Naming(StrEnum):
    """By what a conversation is known: digests of different kinds are never the same."""

    SESSION = "session"
    CACHE_KEY = "cache_key"
    WORDS = "words"


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose conversations are told apart.

    ``cascade`` has at most 64 characters of ASCII; ``tenant`` is None where no key is asked for.
    Neither holds a NUL.
    """

    cascade: str
    tenant: str | None = None

    def hash(self, naming: Naming) -> hashlib.blake2b:
        """What digests of this kind begin with."""
        start = f"{naming}\0{self.tenant or ''}\0".encode()
        return hashlib.blake2b(start, digest_size=ID_BYTES, key=self.cascade.encode())


def id_of_name(whose: Whose, naming: Naming, name: bytes) -> bytes:
    """The id of a conversation that its client has named."""
    digest = whose.hash(naming)
    digest.update(name)
    return digest.digest()


class Transcript:
    """The words of a conversation as they come, of which only a digest is kept.

    Messages are JSON objects: none holds a NUL, and each says where it ends.
    """

    __slots__ = ("_hash",)

    def __init__(self, whose: Whose) -> None:
        self._hash = whose.hash(Naming.WORDS)

    def say(self, messages: Iterable[bytes]) -> None:
        """These are the next messages."""
        self._hash.update(b"".join(messages))

    @property
    def digest(self) -> bytes:
        """That of the messages so far."""
        return self._hash.digest()

    def answered(self, text: str, calls: Sequence[str]) -> bytes:
        """That of the messages so far with an answer behind them, which itself is not taken in.

        Of an answer its text counts, without blanks around it, and the names of the functions that
        it calls: clients write all else of it in words of their own when they repeat it.
        """
        whole = self._hash.copy()
        whole.update("\0".join(["", text.strip(), *calls]).encode())
        return whole.digest()


@dataclass(frozen=True, slots=True)
class Past:
    """What a conversation's earlier turns say of this one.

    ``is_sticky``: it stays with the teacher.  ``kept`` in (0, 1) is the share of earlier turns
    whose drafts were enough, None where none was judged.
    """

    is_sticky: bool = False
    kept: float | None = None


NO_PAST = Past()


# These two are made for every turn: a tuple is, in a third of a frozen dataclass's time.
class Turn(NamedTuple):
    """What one turn came to.

    ``is_enough`` says whether its draft was, None where nobody judged one.  ``is_escalated``: the
    teacher answered, and not because an earlier turn, a coin or the request itself said so.
    ``read`` is how many tokens of the conversation each model has in its cache since, as far as
    that is known: what it read, and what it wrote of the answer that the client got.
    """

    is_enough: bool | None
    is_escalated: bool
    student_read: int | None = None
    teacher_read: int | None = None


class Talk(NamedTuple):
    """What is known of a conversation by now: counts of its turns, and of its tokens in caches.

    ``judged`` turns had a draft that somebody judged, ``deferred`` of them one that was not enough;
    ``sticky`` is how many turns more stay with the teacher.
    """

    turns: int = 0
    judged: int = 0
    deferred: int = 0
    sticky: int = 0
    student_read: int = 0
    teacher_read: int = 0

    @property
    def past(self) -> Past:
        """What it says of the next turn.

        One turn that was kept and one that was not are added to those that there were: a single
        turn does not say all.
        """
        if not (self.judged or self.sticky):
            return NO_PAST
        kept = (self.judged - self.deferred + 1) / (self.judged + 2) if self.judged else None
        return Past(self.sticky > 0, kept)

    def after(self, turn: Turn, sticky_turns: int) -> "Talk":
        """The same once another turn is over; ``sticky_turns`` follow an escalation."""
        is_judged = turn.is_enough is not None and self.judged < MOST_TURNS
        return Talk(
            turns=min(self.turns + 1, MOST_TURNS),
            judged=self.judged + is_judged,
            deferred=self.deferred + (is_judged and not turn.is_enough),
            sticky=sticky_turns if turn.is_escalated else max(self.sticky - 1, 0),
            student_read=_read(turn.student_read, self.student_read),
            teacher_read=_read(turn.teacher_read, self.teacher_read),
        )

    def warm_tokens(self, role: Role) -> int:
        """How many tokens of the next prompt that model has read already, at most."""
        return self.student_read if role is Role.STUDENT else self.teacher_read

    def cost(
        self, role: Role, input_tokens: int, output_tokens: int, price: Price | None
    ) -> int | None:
        """What the next turn is expected to cost in pico-dollars if that model answers it.

        What it has not read of the conversation it reads at the full price: that is what a switch
        of models costs.  None without a price.
        """
        warm = min(self.warm_tokens(role), input_tokens)
        return expected_cost(input_tokens, warm, output_tokens, price)


NOTHING_SAID = Talk()


def _read(now: int | None, before: int) -> int:
    return before if now is None else min(now, MOST_TOKENS)
