"""What a request says of the conversation that it is a turn of: a name, or the words it repeats."""

from collections.abc import Sequence

import msgspec

from gateway.wire.chat import Chat, Form
from gateway.wire.session import first_words
from routing.conversation import Naming, Transcript, Whose, id_of_name

# What other gateways and clients call it; ours, x-understudy-session, is as good.
CONVERSATION_HEADER = "x-session-id"
CACHE_KEY = "prompt_cache_key"

_NOBODY = frozenset({b"null", b'""'})
_ASSISTANT = "assistant"


class _Role(msgspec.Struct):
    role: str


class _Part(msgspec.Struct):
    text: str = ""


class _Function(msgspec.Struct, frozen=True):
    name: str = ""


class _Call(msgspec.Struct):
    function: _Function = _Function()


class _Answer(msgspec.Struct):
    content: str | list[_Part] | None = None
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None


_raws = msgspec.json.Decoder(list[msgspec.Raw])
_role = msgspec.json.Decoder(_Role)
_answer = msgspec.json.Decoder(_Answer)


class Words:
    """The words of one request, by which the conversation is known that it goes on with.

    ``before`` is the digest of all up to the last answer in it: that of an earlier turn with its
    answer, if this is its next turn.  None where there is no answer yet.
    """

    __slots__ = ("_transcript", "before")

    def __init__(self, transcript: Transcript, before: bytes | None) -> None:
        self._transcript = transcript
        self.before = before

    @property
    def digest(self) -> bytes:
        """That of the whole request."""
        return self._transcript.digest

    def answered(self, text: str, calls: Sequence[str]) -> bytes:
        """What the next turn will have for ``before``, if this is the answer."""
        return self._transcript.answered(text, calls)


def id_given(chat: Chat, header: str | None, whose: Whose) -> bytes | None:
    """The id of the conversation that a request names; None where it names none.

    ``header`` is what one of the headers says.  A ``prompt_cache_key`` may be that of several
    conversations which begin alike: they are told apart by the first words of the user's.
    """
    if header:
        return id_of_name(whose, Naming.SESSION, header.encode())
    key = bytes(chat.fields.get(CACHE_KEY, b"null"))
    if key in _NOBODY:
        return None
    return id_of_name(whose, Naming.CACHE_KEY, key + b"\0" + first_words(chat))


def words_of(chat: Chat, whose: Whose) -> Words | None:
    """The words of a request; None of a bare prompt, which is no conversation."""
    if chat.form is not Form.CHAT:
        return None
    messages = _raws.decode(chat.messages)
    transcript = Transcript(whose)
    place = _place_of_last_answer(chat, messages)
    if place is None:
        transcript.say(messages)
        return Words(transcript, None)
    transcript.say(messages[:place])
    before = _answered(transcript, messages[place])
    transcript.say(messages[place:])
    return Words(transcript, before)


def _place_of_last_answer(chat: Chat, messages: list[msgspec.Raw]) -> int | None:
    if b"assistant" not in bytes(chat.messages):  # most often so, and found in no time
        return None
    places = range(len(messages) - 1, -1, -1)
    return next((at for at in places if _role.decode(messages[at]).role == _ASSISTANT), None)


def _answered(transcript: Transcript, message: msgspec.Raw) -> bytes | None:
    """The digest with this answer; None where it is none that a model of ours could have given."""
    try:
        said = _answer.decode(message)
    except msgspec.ValidationError:
        return None
    content = said.content or ""
    text = content if isinstance(content, str) else "".join([part.text for part in content])
    calls = [call.function.name for call in said.tool_calls or ()]
    if said.function_call is not None:
        calls.append(said.function_call.name)
    return transcript.answered(text, calls)
