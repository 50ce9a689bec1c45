import json
from typing import Any

import pytest

from distill.pairs import NoPair, read_content, read_pair
from tests.fakes.pairs import completion, encoded, pair, pair_of_version_one, request


def test_a_record_is_read_as_it_was_written() -> None:
    read = read_pair(encoded(pair(7, tenant="team", confidence=None, completes="0" * 32)))
    assert (read.id, read.tenant, read.confidence) == (f"{7:032x}", "team", None)
    assert read.completes == "0" * 32
    assert read.legs[0].cost_usd == "0.0000012"
    assert read.consent.may_train
    assert read.content is not None
    assert json.loads(bytes(read.content.request)) == request("What is 7 + 1?")
    assert json.loads(read.content.draft_or_none or b"") == completion("7")


def test_version_one_is_read_in_the_words_of_this_version() -> None:
    splice = {"handover": "continue", "after_tokens": 32, "released": "It is"}
    read = read_pair(encoded(pair_of_version_one(7, splice=splice, may_train=False, draft=None)))
    assert read.written_version == 1
    assert (read.is_stream, read.teacher_version) == (None, "teacher")
    assert read.consent.tenant_may_train
    assert not read.consent.teacher_outputs_may_train
    assert read.splice is not None
    assert (read.splice.after_tokens, read.splice.after_characters) == (32, 5)
    assert read.content is not None
    assert (read.content.released, read.content.draft_or_none) == ("It is", None)
    assert json.loads(bytes(read.content.answer)) == completion("It is 8.")


def test_both_versions_of_a_pair_say_the_same() -> None:
    one, two = read_pair(encoded(pair_of_version_one(3))), read_pair(encoded(pair(3)))
    assert one.content is not None
    assert two.content is not None
    assert bytes(one.content.answer) == bytes(two.content.answer)
    assert (one.id, one.time, one.signals, one.legs) == (two.id, two.time, two.signals, two.legs)


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"null",
        b"[1]",
        b'{"schema_version": 2}',
        b"\xff" + encoded(pair()),
        encoded(pair()).replace(b"What", b"\xffhat"),
        encoded(pair())[:-1],
        encoded(pair(time="noon")),
        encoded(pair(time=1e300)),
        encoded(pair(time=-1e13)),
        encoded(pair(samples=10**30)),
        encoded(pair(written_version=10**30)),
        encoded(
            pair(splice={"handover": "continue", "after_tokens": 10**30, "after_characters": 1})
        ),
        encoded(
            pair_of_version_one(
                splice={"handover": "continue", "after_tokens": -1, "released": "It is"}
            )
        ),
        encoded(pair(schema_version=3)),
        encoded(pair_of_version_one(may_train=None)),
        b"[" * 100_000,
    ],
)
def test_what_is_no_pair_is_refused(record: bytes) -> None:
    with pytest.raises(NoPair):
        read_pair(record)


@pytest.mark.parametrize(
    "changes",
    [
        {"content": None},
        {"sealed": "token"},
        {"dropped": "redactor_failed"},
        {"content": None, "sealed": "token", "dropped": "redactor_failed"},
    ],
)
def test_a_pair_has_content_or_sealed_content_or_none(changes: dict[str, Any]) -> None:
    with pytest.raises(NoPair, match="one of content, sealed and dropped"):
        read_pair(encoded(pair(**changes)))


def test_a_newer_version_is_named() -> None:
    with pytest.raises(NoPair, match="schema version 3"):
        read_pair(encoded(pair(schema_version=3)))


def test_unknown_fields_of_a_record_do_no_harm() -> None:
    assert read_pair(encoded(pair(5, weather="fine"))).id == f"{5:032x}"


def test_opened_content_is_read_and_anything_else_refused() -> None:
    content = read_content(json.dumps(pair(4)["content"]).encode())
    assert json.loads(bytes(content.answer)) == completion("It is 5.")
    for broken in (b"", b"{}", b"\xff"):
        with pytest.raises(NoPair):
            read_content(broken)
