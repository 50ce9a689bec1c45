"""A draft that speaks for several: the student is asked so many times, and its drafts compared.

The bill has all of them: the one that counts, and apart from it those that were written beside it.
"""

import asyncio
from dataclasses import dataclass, replace

from gateway.legs import Legs, Model
from gateway.wire.chat import Chat
from gateway.wire.completion import Completion, text_of, tokens_in
from gateway.wire.samples import asking_for, chosen
from routing.agreement import agreement_of
from routing.comparators import Comparator, Question
from routing.money import part_of


@dataclass(frozen=True, slots=True)
class Samples:
    """How many drafts a cascade asks for, and what decides whether two of them are the same.

    ``comparator`` asks nobody: a client is waiting.
    """

    count: int
    comparator: Comparator


async def ask_several(student: Model, chat: Chat, samples: Samples, legs: Legs) -> Completion:
    """The student's draft that most of its drafts agree with.  Raises what the student raises.

    A server that writes another number of drafts than it was asked for leaves it unknown how far
    they agree; the draft is still the best of those that came.
    """
    completion = await legs.ask(student, asking_for(chat, samples.count))
    drafts = completion.choices
    texts = list(map(text_of, drafts))
    # Long drafts take tens of milliseconds, for which other requests need not wait.
    found = await asyncio.to_thread(agreement_of, Question(), texts, samples.comparator)
    if len(drafts) != samples.count:
        found = replace(found, share=None)
    usage = completion.usage
    if usage is not None and len(drafts) > 1:
        usage, others = part_of(usage, list(map(tokens_in, drafts)), found.majority)
        legs.tell_apart(student, usage, others)
    return chosen(completion, found, usage)
