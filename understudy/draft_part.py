"""What an evaluation record says of a draft, by the gateway's own reading of the reply."""

from typing import Any

from gateway.wire.chat import Chat
from gateway.wire.completion import WHOLE_ENDS, Completion, drafts_of, evidence_in, text_of
from routing.signals import AGREEMENT
from routing.vocabulary import Structure


def draft_part(reply: Completion, chat: Chat) -> dict[str, Any]:
    """The draft with all that the server says of its tokens, reasoning and end included.

    ``answer_span`` is what the gateway judges of them.
    """
    choice = reply.choices[0]
    (draft, *_) = drafts_of(reply, chat)
    tokens = (choice.logprobs and choice.logprobs.content) or []
    part: dict[str, Any] = {
        "text": text_of(choice),
        "finish_reason": choice.finish_reason,
        "complete": choice.finish_reason in WHOLE_ENDS,
    }
    if draft.structure is not Structure.NOT_ASKED:
        part["structure"] = draft.structure
    if reply.samples > 1:
        part |= {"samples": reply.samples, "signals": {AGREEMENT: reply.agreement}}
    if tokens:
        judged, _ = evidence_in(choice)
        first = next((at for at, each in enumerate(tokens) if judged and each is judged[0]), 0)
        last = first + len(judged)
        part |= {
            "tokens": [token.token for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [[top.logprob for top in token.top_logprobs or ()] for token in tokens],
            "answer_span": [first, last],
        }
        if choice.finish_reason != "length" and last < len(tokens):
            part["end_logprob"] = tokens[last].logprob
    return part
