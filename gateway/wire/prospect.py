"""What a chat request tells before anybody has answered it, as far as its policy asks.

Most policies ask for nothing here, and then nothing is read.
"""

import msgspec

from gateway.wire.chat import Chat
from routing.cascade import NOTHING_KNOWN, Prospect
from routing.policy import Policy
from routing.prompt import prompt_of
from routing.sampling import SAMPLING_NAMES, Sampling, samples_of
from routing.vocabulary import Merit

# With it vLLM cuts the prompt, so that its length says nothing.
TRUNCATING = "truncate_prompt_tokens"

_any = msgspec.json.Decoder()


def prospect_of(chat: Chat, policy: Policy, fixed: Sampling, wanted: int = 1) -> Prospect:
    """What is known of the request.

    ``fixed`` is the sampling that the operator sets himself, ``wanted`` how many drafts of one
    answer he asks for.
    """
    is_asked = policy.prompt is not None or policy.sampling is not None or wanted != 1
    if not (chat.needs or chat.group or is_asked):
        return NOTHING_KNOWN
    return Prospect(
        needs=chat.needs,
        group=chat.group,
        promised=_promised(chat, policy),
        sampling={} if policy.sampling is None else {**_asked(chat), **fixed},
        samples=samples_wanted(chat, fixed, wanted),
    )


def samples_wanted(chat: Chat, fixed: Sampling, wanted: int) -> int:
    """How many drafts of one answer the student is to write for this request."""
    return 1 if wanted == 1 else samples_of(wanted, chat.choices, {**_asked(chat), **fixed})


def _promised(chat: Chat, policy: Policy) -> Merit | None:
    if policy.prompt is None:
        return None
    return policy.promised(prompt_of(_any.decode(chat.messages), chat.group))


def _asked(chat: Chat) -> Sampling:
    """The sampling parameters that the client wrote."""
    names = SAMPLING_NAMES.intersection(chat.fields)
    return {name: _any.decode(chat.fields[name]) for name in names}
