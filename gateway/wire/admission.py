"""What a cascade takes of a request that is understood: how much of it, and which media."""

from dataclasses import dataclass, field

from gateway.wire.bounds import Bounds
from gateway.wire.chat import Chat, Form
from gateway.wire.media import MediaRules, refuse_media


@dataclass(frozen=True, slots=True)
class Admission:
    """The operator's word on both."""

    bounds: Bounds = field(default_factory=Bounds)
    media: MediaRules = field(default_factory=MediaRules)

    def check(self, chat: Chat) -> None:
        """Raise RequestError, which names the parameter, for what is not taken."""
        self.bounds.check(chat.size, chat.choices)
        if chat.form is Form.CHAT and bytes(chat.fields["messages"]).count(b"[") > 1:
            refuse_media(chat.fields["messages"], self.media)  # there may be parts somewhere
