import json

from gateway.errors import UpstreamFailed
from gateway.wire.completion import read_completion
from gateway.wire.messages.wire import MessagesWire
from tests.fakes.messages import events_of, message_from
from tests.fakes.upstream import completion

BODY = json.dumps(
    {
        "model": "assistant",
        "max_tokens": 10,
        "stop_sequences": ["END"],
        "messages": [{"role": "user", "content": "Hi."}],
    }
).encode()


def test_an_answer_is_the_same_message_whole_and_replayed() -> None:
    asked = MessagesWire().read(BODY, None)
    answer = completion(choice={"stop_reason": "END"})
    read = read_completion(json.dumps(answer).encode())
    whole = json.loads(asked.whole(read))
    assert (whole["model"], whole["stop_sequence"]) == ("assistant", "END")
    assert message_from(b"".join(asked.replay(read, {"served_by": "student"}))) == whole


def test_what_a_request_says_of_itself() -> None:
    asked = MessagesWire().read(BODY, "law")
    assert (asked.chat.model, asked.chat.group) == ("assistant", "law")
    assert not asked.can_restart
    assert asked.client_param("stop") == "stop_sequences"
    editor = asked.editor()
    (*_, end) = events_of(editor.closing_event({}) + editor.done())
    assert end == {"type": "message_stop"}


def test_an_error_has_one_form_whole_and_in_a_stream() -> None:
    wire, error = MessagesWire(), UpstreamFailed("It broke.")
    (event,) = events_of(wire.read(BODY, None).error_event(error, "r1"))
    assert event == json.loads(wire.error_body(error, "r1"))
