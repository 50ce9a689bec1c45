"""Several drafts of one answer, on the wire: asked for in one request, one of them left.

They come as choices (``n``).  What remains is a reply as it would have been to a request for one:
the client of a cascade that samples sees no other drafts and no other usage.
"""

import msgspec
from msgspec.structs import replace

from gateway.wire.chat import Chat
from gateway.wire.completion import Completion, part_of
from routing.agreement import Agreement
from routing.money import Usage

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_choices = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_usage = msgspec.json.Decoder(dict[str, msgspec.Raw])


def asking_for(chat: Chat, samples: int) -> Chat:
    """The same request, for so many answers."""
    fields = {**chat.fields, "n": msgspec.Raw(msgspec.json.encode(samples))}
    return replace(chat, fields=fields, choices=samples)


def chosen(completion: Completion, found: Agreement, usage: Usage | None) -> Completion:
    """The reply with the draft that most agree with, alone, and what that one took."""
    fields: dict[str, object] = {**_fields.decode(completion.body)}
    choices = _choices.decode(fields["choices"])  # type: ignore[arg-type]  # a Raw is a buffer
    fields["choices"] = [{**choices[found.majority], "index": 0}]
    if usage is not None and (told := part_of(_usage, fields["usage"])):  # type: ignore[arg-type]  # as above
        # How the server counts thoughts is known of all drafts together, not of one.
        fields["usage"] = {
            **told,
            "completion_tokens": usage.output,
            "total_tokens": usage.input + usage.output,
            "completion_tokens_details": None,
        }
    return Completion(
        body=msgspec.json.encode(fields),
        choices=[completion.choices[found.majority]],
        usage=usage,
        samples=len(completion.choices),
        agreement=found.share,
    )
