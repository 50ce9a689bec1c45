"""What tells the sessions of one conversation from others, so that each keeps to one student."""

import msgspec

from gateway.wire.chat import Chat

SESSION_HEADER = "x-understudy-session"


class _Message(msgspec.Struct):
    role: str
    content: msgspec.Raw = msgspec.Raw(b"null")


_messages = msgspec.json.Decoder(list[_Message])
_NOBODY = frozenset({b"null", b'""'})


def session_of(chat: Chat, header: str | None) -> str:
    """The session that a request belongs to.

    What its header says, else the field ``user``, else its first user message, which every request
    of a conversation repeats; the last two as JSON, as they were sent.
    """
    if header:
        return header
    user = bytes(chat.fields.get("user", b"null"))
    if user not in _NOBODY:
        return user.decode()
    return first_words(chat).decode()


def first_words(chat: Chat) -> bytes:
    """The content of its first user message, or of its first message, as JSON."""
    messages = _messages.decode(chat.messages)
    first = next((one for one in messages if one.role == "user"), messages[0])
    return bytes(first.content)
