"""What a real gateway writes is what readers read: its records become rows of training sets."""

import json
from pathlib import Path

import msgspec

from distill.pairs import read_pair
from distill.rows import Format, Lesson, Manner, row_of
from routing.comparators import normalised_text
from tests.fakes.serving import stage
from tests.fakes.upstream import UNSURE, Reply, completion

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
    assert pair.content is not None
    lesson = Lesson(
        id=pair.id,
        request=bytes(pair.content.request),
        answer=bytes(pair.content.answer),
        draft=pair.content.draft_or_none,
        is_draft_complete=pair.draft_complete,
        is_spliced=pair.splice is not None,
    )
    assert json.loads(row_of(lesson, Format.DPO, Manner(normalised_text())).line) == {
        "id": pair.id,
        "prompt": question,
        "chosen": [{"role": "assistant", "content": "Paris."}],
        "rejected": [{"role": "assistant", "content": "Rome?"}],
    }
