"""What a real gateway writes is what readers read: its records become rows of training sets."""

import json
from pathlib import Path

import msgspec
import pytest

from distill.causes import Cause, LeftOut
from distill.pairs import Pair, read_pair
from distill.rows import Format, Lesson, Manner, row_of
from routing.comparators import normalised_text
from tests.fakes.serving import stage
from tests.fakes.upstream import UNSURE, Reply, completion

MANNER = Manner(normalised_text())
_line = msgspec.json.Decoder(dict[str, msgspec.Raw])


def test_an_escalation_becomes_a_row_of_a_preference_set(tmp_path: Path) -> None:
    with stage(tmp_path) as running:
        running.student.reply = Reply(body=completion("Rome?", logprob=UNSURE))
        running.teacher.reply = Reply(body=completion("Paris."))
        assert running.ask().status_code == 200
        (line,) = running.pairs()
        question = running.question["messages"]
    pair = read_pair(bytes(_line.decode(line)["pair"]))
    assert (pair.cascade, pair.reason) == ("assistant", "low_confidence")
    assert pair.consent.may_train
    assert [leg.role for leg in pair.legs] == ["student", "teacher"]
    assert json.loads(row_of(lesson_of(pair), Format.DPO, MANNER).line) == {
        "id": pair.id,
        "prompt": question,
        "chosen": [{"role": "assistant", "content": "Paris."}],
        "rejected": [{"role": "assistant", "content": "Rome?"}],
    }


@pytest.mark.parametrize(("draft", "is_rejected"), [("Rome.", True), ("paris", False)])
def test_what_was_held_out_is_rejected_only_where_it_says_something_else(
    tmp_path: Path, draft: str, is_rejected: bool
) -> None:
    """The teacher's answer is a target like any other: the draft was good enough, not better."""
    with stage(tmp_path, cascade={"audit": {"holdout": 0.2}}) as running:
        running.gateway.context.dice = lambda: 0.19
        running.student.reply = Reply(body=completion(draft))
        running.teacher.reply = Reply(body=completion("Paris."))
        assert running.ask().status_code == 200
        (line,) = running.pairs()
    pair = read_pair(bytes(_line.decode(line)["pair"]))
    assert (pair.reason, pair.propensity) == ("holdout", 0.2)
    row = json.loads(row_of(lesson_of(pair), Format.SFT, MANNER).line)
    assert row["completion"] == [{"role": "assistant", "content": "Paris."}]
    if is_rejected:
        row = json.loads(row_of(lesson_of(pair), Format.DPO, MANNER).line)
        assert row["rejected"] == [{"role": "assistant", "content": draft}]
    else:
        with pytest.raises(LeftOut) as left_out:
            row_of(lesson_of(pair), Format.DPO, MANNER)
        assert left_out.value.cause is Cause.DRAFT_AGREES


def lesson_of(pair: Pair) -> Lesson:
    assert pair.content is not None
    return Lesson(
        id=pair.id,
        request=bytes(pair.content.request),
        answer=bytes(pair.content.answer),
        draft=pair.content.draft_or_none,
        is_draft_complete=pair.draft_complete,
        is_spliced=pair.splice is not None,
    )
