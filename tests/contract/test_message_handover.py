"""A message of two authors: the teacher goes on in the block that the student began."""

import anthropic
import pytest

from tests.contract.test_stream_handover import CONTINUED, OUT, falling_into_doubt
from tests.fakes.script import Until, whole
from tests.fakes.trial import Trial


@pytest.mark.parametrize("cascade", ["continuing", "restarting"])
def test_a_message_that_fell_into_doubt(lone_trial: Trial, cascade: str) -> None:
    trial = lone_trial
    trial.student_says(*falling_into_doubt(*[Until(trial.event())][: cascade == "continuing"]))
    trial.teacher_says(*whole(CONTINUED))
    restart = {"x-understudy-handover": "restart"}  # which a message cannot tell
    with (
        anthropic.Anthropic(base_url=trial.stage.url, api_key="k", max_retries=0) as client,
        client.messages.stream(
            model=cascade,
            max_tokens=100,
            messages=[{"role": "user", "content": "?"}],
            extra_headers=restart,
        ) as stream,
    ):
        events = list(stream)
        final = stream.get_final_message()
    (block,) = final.content
    assert block.type == "text"
    (said,) = [event.to_dict()["understudy"] for event in events if event.type == "message_delta"]
    assert isinstance(said, dict)
    if cascade == "continuing":
        assert block.text == OUT + "t0 t1."
        assert (said["served_by"], final.usage.output_tokens) == ("teacher", 42)
    else:
        assert block.text == OUT
        assert said["served_by"] == "student"
