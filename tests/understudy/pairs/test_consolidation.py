import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill.deletions import Deletion, Deletions
from distill.prompts import normalised_words
from distill.rows import Format
from gateway.stores.sealing import SealBroken
from tests.fakes.pairs import (
    NOON,
    calling,
    completion,
    pair,
    pair_of_version_one,
    request,
    tool,
)
from tests.understudy.pairs.making import (
    ALL_FORMATS,
    consolidated,
    ids_of,
    ids_on,
    left_out,
    rows_of,
    write_parts,
)
from understudy.pairs import selecting
from understudy.pairs.choice import Choice
from understudy.pairs.parts import part_paths
from understudy.pairs.places import Place, place_at
from understudy.telling import CommandError


def wishes(*deletions: Deletion) -> dict[str, Deletions]:
    found = Deletions()
    found.add(deletions)
    return {"assistant": found}


def splice() -> dict[str, Any]:
    return {"handover": "continue", "after_tokens": 3, "after_characters": 9}


def test_the_second_of_two_equal_ids_goes(place: Place) -> None:
    write_parts(place, [pair(1), pair(2), pair(1)], [pair(2), pair(3)])
    card = consolidated(place)
    assert ids_of(place) == [1, 2, 3]
    assert left_out(card, "records") == {"duplicate_id": 2}


@pytest.mark.parametrize("name", ["it's", "[1]", "*"])
def test_the_folder_may_have_any_name(name: str, tmp_path: Path) -> None:
    place = place_at(str(tmp_path / name))
    write_parts(place, [pair(1), pair(2)])
    consolidated(place, Choice(format=ALL_FORMATS))
    assert ids_of(place) == [1, 2]


@pytest.mark.parametrize("limit", ["1KB", "1MB"])
def test_too_little_memory_is_said(place: Place, limit: str) -> None:
    write_parts(place, [pair(number) for number in range(50)])
    with pytest.raises(CommandError, match=f"--memory-limit: {limit} is too little"):
        consolidated(place, Choice(memory_limit=limit))


def test_a_cascade_without_parts_is_refused_and_the_old_set_stays(place: Place) -> None:
    write_parts(place, [pair(1)])
    consolidated(place)
    with pytest.raises(CommandError, match="no parts of 'assitant', but of assistant"):
        consolidated(place, cascade="assitant")
    assert ids_of(place) == [1]


@pytest.mark.parametrize("data", [b"", b"garbage" * 100, b"PAR1" + bytes(100) + b"PAR1"])
def test_a_part_that_is_none_is_named(place: Place, data: bytes) -> None:
    write_parts(place, [pair(1)], [pair(2)])
    broken = part_paths(place)[1]
    with place.writing(broken) as file:
        file.write(data)
    with pytest.raises(CommandError, match=f"{broken}: is no whole part"):
        consolidated(place)


def test_a_part_that_was_cut_off_or_is_somebody_elses_is_named(place: Place) -> None:
    write_parts(place, [pair(1)])
    (path,) = part_paths(place)
    with place.reading(path) as file:
        whole = file.read()
    with place.writing(path) as file:
        file.write(whole[:-100])
    with pytest.raises(CommandError, match=f"{path}: is no whole part"):
        consolidated(place)
    with place.writing(path) as file:
        pq.write_table(pa.table({"id": ["1"]}), file)
    with pytest.raises(CommandError, match=f"{path}: is no whole part: it lacks answer"):
        consolidated(place)


def test_a_column_of_a_later_release_is_left_out(place: Place) -> None:
    write_parts(place, [pair(1)], [pair(2)])
    later = part_paths(place)[0]
    with place.reading(later) as file:
        table = pq.read_table(file)
    with place.writing(later) as file:
        pq.write_table(table.add_column(0, "weather", pa.array(["fine"])), file)
    consolidated(place)
    assert ids_of(place) == [1, 2]


def test_parts_are_consolidated_by_one_at_a_time(place: Place) -> None:
    write_parts(place, [pair(1)])
    descriptor = os.open(place.root, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(CommandError, match="another consolidation is at work"):
            consolidated(place)
    finally:
        os.close(descriptor)
    consolidated(place)
    assert ids_of(place) == [1]


def test_of_equal_prompts_the_newest_stays(place: Place) -> None:
    asked = [request(text) for text in ("Say it.", "say  IT.", "Say it!")]
    write_parts(place, [pair(number, request=each) for number, each in enumerate(asked)])
    card = consolidated(place)
    assert ids_of(place) == [1, 2]
    assert left_out(card, "choice", Format.SFT) == {"duplicate_prompt": 1}
    consolidated(place, Choice(deduplicate="id"))
    assert ids_of(place) == [0, 1, 2]


def test_the_newest_that_can_be_learnt_from_stays(place: Place) -> None:
    """An older answer to the same prompt is not lost to a newer one that is no target."""
    asked = request("Say it.")
    no = {"tenant_may_train": False, "teacher_outputs_may_train": True}
    write_parts(
        place,
        [
            pair(1, request=asked),
            pair(2, request=asked, consent=no),
            pair(3, request=asked, splice=splice()),
        ],
    )
    consolidated(place)
    assert ids_of(place) == [1]


@pytest.mark.timeout(600)  # with --full there are ten times the examples
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=settings().max_examples // 3,  # each of them is files, and DuckDB
)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), min_size=1, max_size=30))
def test_every_id_and_every_prompt_is_there_once_however_often_they_were_exported(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[int, int]]
) -> None:
    """An id has one prompt; several ids may have the same."""
    prompts = {number: f"Prompt {asked}" for number, asked in reversed(drawn)}
    records = [pair(number, request=request(prompts[number])) for number, _ in drawn]
    place = place_at(str(tmp_path_factory.mktemp("parts")))
    write_parts(place, records[::2] or records, records[1::2])
    card = consolidated(place)
    kept = ids_of(place)
    newest = {
        prompt: max(n for n in prompts if prompts[n] == prompt) for prompt in prompts.values()
    }
    assert kept == sorted(newest.values())
    told = card.document()
    assert told["steps"][-1]["out"] == len(prompts)
    assert told["formats"]["sft"]["steps"][-1]["out"] == len(kept)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=settings().max_examples // 5,
)
@given(st.lists(st.text("ab \t", max_size=6), min_size=1, max_size=40), st.integers(0, 40))
def test_adding_pairs_moves_no_prompt_to_the_other_side(
    tmp_path_factory: pytest.TempPathFactory, prompts: list[str], first: int
) -> None:
    records = [pair(number, request=request(f"{p}.")) for number, p in enumerate(prompts)]
    choice = Choice(holdout=0.4)
    before, after = (place_at(str(tmp_path_factory.mktemp("parts"))) for _ in range(2))
    write_parts(before, records[:first] or records)
    write_parts(after, records)
    consolidated(before, choice)
    consolidated(after, choice)
    earlier, later = sides(before), sides(after)
    assert earlier["train"] <= later["train"]
    assert earlier["holdout"] <= later["holdout"]
    assert not later["train"] & later["holdout"]


def sides(place: Place) -> dict[str, set[str]]:
    """The prompts on each side, normalised."""
    return {
        side: {
            normalised_words(row["prompt"][0]["content"])
            for row in rows_of(place, f"sft-{side}.jsonl")
        }
        for side in ("train", "holdout")
    }


def test_formats_split_alike(place: Place) -> None:
    write_parts(place, [pair(number) for number in range(60)])
    consolidated(place, Choice(format=ALL_FORMATS, holdout=0.3))
    held = set(ids_on(place, "holdout"))
    assert 0 < len(held) < 60
    assert set(ids_on(place, "holdout", Format.DPO)) == held
    table = pq.ParquetFile(place.path("dataset/pairs-holdout.parquet")).read()
    assert {int(each, 16) for each in table.column("id").to_pylist()} == held


@pytest.mark.parametrize(
    ("choice", "kept", "causes"),
    [
        (Choice(reason=("no_signal", "student_failed")), [2], {"other_reason": 4}),
        (Choice(since="2026-09-22"), [3], {"other_time": 4}),
        (Choice(until="2026-09-21T14:13:22+00:00"), [0, 1], {"other_time": 3}),
        (Choice(student_version=("student-2",)), [1], {"other_student_version": 4}),
        (Choice(min_confidence=0.41), [0, 1, 2, 4], {"other_confidence": 1}),
        (Choice(max_confidence=0.41), [0, 1, 2], {"other_confidence": 2}),
        (Choice(min_confidence=0.2, max_confidence=0.8), [0, 1, 2], {"other_confidence": 2}),
    ],
)
def test_filters_keep_what_they_say(
    place: Place, choice: Choice, kept: list[int], causes: dict[str, int]
) -> None:
    write_parts(
        place,
        [
            pair(0),
            pair(1, student_version="student-2"),
            pair(2, reason="no_signal"),
            pair(3, time=NOON + 90_000, confidence=None),
            pair(4, confidence=0.9),
        ],
    )
    assert left_out(consolidated(place, choice), "filters") == causes
    assert ids_of(place) == kept


def test_a_cascade_can_be_chosen(place: Place) -> None:
    write_parts(place, [pair(1), pair(2, cascade="other")])
    card = consolidated(place, cascade="other")
    assert ids_of(place) == [2]
    assert left_out(card, "filters") == {"other_cascade": 1}
    consolidated(place)
    assert ids_of(place) == [1, 2]


def test_a_tenant_has_at_most_its_cap_and_the_same_pairs_every_time(place: Place) -> None:
    records = [pair(number, tenant="much") for number in range(50)]
    records += [pair(number, tenant="little") for number in range(100, 103)]
    records += [pair(number) for number in range(200, 220)]
    write_parts(place, records)
    choice = Choice(tenant_cap=10, holdout=0.5)
    card = consolidated(place, choice)
    kept = ids_of(place)
    assert [sum(low <= number < low + 100 for number in kept) for low in (0, 100, 200)] == [
        10,
        3,
        10,
    ]
    assert left_out(card, "choice", Format.SFT) == {"over_tenant_cap": 50}
    assert ids_on(place, "train")
    assert ids_on(place, "holdout")
    consolidated(place, choice)
    assert ids_of(place) == kept


def test_consent_is_needed_to_train_and_not_to_archive(place: Place) -> None:
    def consent(tenant: bool, teacher: bool) -> dict[str, bool]:
        return {"tenant_may_train": tenant, "teacher_outputs_may_train": teacher}

    write_parts(
        place,
        [
            pair(0),
            pair(1, tenant="shy", consent=consent(False, True)),
            pair(2, teacher_model="closed", consent=consent(True, False)),
            pair(3, tenant="shy", consent=consent(False, False)),
            pair_of_version_one(4, may_train=False),
        ],
    )
    card = consolidated(place, Choice(format=ALL_FORMATS))
    for form in (Format.SFT, Format.DPO):
        assert ids_of(place, form) == [0]
        assert left_out(card, "consent", form) == {
            "tenant_may_not_train": 2,
            "teacher_outputs_may_not_train": 2,
        }
    assert [
        (each["tenant"], each["teacher"], each["cause"], each["pairs"])
        for each in card.document()["without_consent"]
    ] == [
        ("shy", "teacher", "tenant_may_not_train", 2),
        (None, "closed", "teacher_outputs_may_not_train", 1),
        (None, "teacher", "teacher_outputs_may_not_train", 1),
    ]
    archived = card.document()["formats"]["parquet"]
    assert sum(each["rows"] for each in archived["files"]) == 5


def test_what_cannot_be_learnt_is_counted_by_cause(place: Place) -> None:
    write_parts(
        place,
        [
            pair(0),
            pair(1, splice=splice(), released="It is"),
            pair(2, draft_complete=False),
            pair(3, draft=None),
            pair(4, draft=completion("it is 5")),
            pair(5, answer=completion("It", finish_reason="length")),
            pair(6, content=None, dropped="redactor_failed"),
        ],
    )
    card = consolidated(place, Choice(format=(Format.SFT, Format.DPO)))
    assert ids_of(place) == [0, 2, 3, 4]
    assert ids_of(place, Format.DPO) == [0]
    assert left_out(card, "consent", Format.SFT) == {"content_dropped": 1}
    assert left_out(card, "format", Format.SFT) == {"spliced": 1, "answer_cut_short": 1}
    assert left_out(card, "format", Format.DPO) == {
        "spliced": 1,
        "answer_cut_short": 1,
        "no_draft": 1,
        "draft_incomplete": 1,
        "draft_agrees": 1,
    }


def test_a_finished_draft_stands_in_for_the_pair_whose_draft_it_finishes(place: Place) -> None:
    cut = pair(1, draft_complete=False)
    finished = pair(2, completes=cut["id"], request=cut["content"]["request"])
    write_parts(place, [cut, pair(3)], [finished])
    card = consolidated(place, Choice(format=(Format.SFT, Format.DPO), deduplicate="id"))
    assert ids_of(place) == ids_of(place, Format.DPO) == [2, 3]
    assert left_out(card, "finished drafts") == {"completed_later": 1}


def test_a_finished_draft_that_is_filtered_out_replaces_nothing(place: Place) -> None:
    cut = pair(1, draft_complete=False)
    write_parts(place, [cut, pair(2, completes=cut["id"], time=NOON + 500)])
    consolidated(place, Choice(until="2026-09-21T14:14:00+00:00"))
    assert ids_of(place) == [1]


def test_what_was_deleted_is_not_in_the_data_set_and_goes_from_the_parts(place: Place) -> None:
    write_parts(
        place,
        [pair(1), pair(2, tenant="team"), pair(3, tenant="team", time=NOON + 9000)],
        [pair(2, tenant="team")],
        [pair(4)],
    )
    untouched = Path(place.path(part_paths(place)[2]))
    before = untouched.stat().st_ino
    asked = wishes(Deletion(NOON, request_id="req-1"), Deletion(NOON + 100, tenant="team"))
    card = consolidated(place, wishes=asked)
    assert ids_of(place) == [3, 4]
    assert left_out(card, "records") == {"deleted": 3}
    paths = part_paths(place)
    rows = [row for path in paths for row in pq.ParquetFile(place.path(path)).read().to_pylist()]
    assert sorted(int(row["id"], 16) for row in rows) == [3, 4]
    assert len(paths) == 2
    assert untouched.stat().st_ino == before


def test_a_tenants_pair_of_the_very_moment_is_deleted_too(place: Place) -> None:
    write_parts(place, [pair(number, tenant="team") for number in (1, 2, 3)])
    consolidated(place, wishes=wishes(Deletion(NOON + 2, tenant="team")))
    assert ids_of(place) == [3]


def test_another_cascades_wishes_delete_nothing_here(place: Place) -> None:
    write_parts(place, [pair(1), pair(1, cascade="other", id="f" * 32)])
    found = wishes(Deletion(NOON, request_id="req-1"))
    consolidated(place, Choice(deduplicate="id"), wishes={"other": found["assistant"]})
    assert ids_of(place) == [1]


def test_the_card_says_what_is_in_the_files(place: Place) -> None:
    write_parts(place, [pair(number, tenant="team") for number in range(20)])
    card = consolidated(place, Choice(format=ALL_FORMATS, holdout=0.5))
    with place.reading("dataset/card.json") as file:
        told = json.load(file)
    assert told == json.loads(card.encoded())
    files = [each for made in told["formats"].values() for each in made["files"]]
    assert len(files) == 2 * len(ALL_FORMATS)
    for each in files:
        data = Path(place.path(f"dataset/{each['name']}")).read_bytes()
        assert each["sha256"] == hashlib.sha256(data).hexdigest()
        assert each["bytes"] == len(data)
        if each["name"].endswith(".jsonl"):
            assert each["rows"] == data.count(b"\n")
    made = told["formats"]["sft"]
    assert made["tenants"] == {"team": 20}
    assert sum(each["rows"] for each in made["target_characters"]) == 20
    assert told["source"]["oldest"] == "2026-09-21T14:13:20+00:00"
    assert told["versions"]["comparator of assistant"] == "normalised-1"
    assert "sft-train.jsonl" in Path(place.path("dataset/card.md")).read_text()


def test_the_same_parts_make_the_same_files(place: Place, tmp_path: Path) -> None:
    records = [pair(number) for number in range(30)]
    write_parts(place, records)
    other = place_at(str(tmp_path / "other"))
    write_parts(other, records[20:], records[:20], records[5:9])
    assert [each.sha256 for each in consolidated(place).formats[0].files] == [
        each.sha256 for each in consolidated(other).formats[0].files
    ]


def test_files_of_an_older_data_set_go(place: Place) -> None:
    write_parts(place, [pair(number) for number in range(20)])
    consolidated(place, Choice(format=(Format.DPO, Format.SFT)))
    stranger = Path(place.path("dataset/notes.txt"))
    stranger.write_text("mine")
    consolidated(place, Choice(format=(Format.SFT,), holdout=0))
    assert place.matching("dataset/*") == [
        "dataset/card.json",
        "dataset/card.md",
        "dataset/notes.txt",
        "dataset/sft-train.jsonl",
    ]


def test_a_data_set_that_could_not_be_finished_has_no_card(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parts(place, [pair(number) for number in range(20)])
    consolidated(place)

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", broken)
        with pytest.raises(OSError, match="No space"):
            consolidated(place)
    assert place.matching("dataset/card*") == []
    assert place.matching(".understudy-*") == []
    consolidated(place)
    assert len(ids_of(place)) == 20


def test_nothing_left_is_said_in_a_note(place: Place) -> None:
    write_parts(place, [pair(1, draft=None)])
    card = consolidated(place, Choice(format=(Format.DPO,)))
    assert card.notes == ["dpo: nothing is left to learn from"]


def test_sealed_content_is_opened_for_training_and_stays_sealed_in_an_archive(
    place: Place,
) -> None:
    contents = {str(number): json.dumps(pair(number)["content"]).encode() for number in range(9)}

    def opener(token: str) -> bytes:
        if token not in contents:
            raise SealBroken
        return contents[token]

    sealed = [pair(number, content=None, sealed=str(number)) for number in range(10)]
    write_parts(place, [*sealed, pair(20, request=request("What is 3 + 1?"))])
    choice = Choice(format=(Format.SFT, Format.PARQUET))
    card = consolidated(place, choice, opener=opener)
    assert ids_of(place) == [0, 1, 2, 4, 5, 6, 7, 8, 20]
    assert left_out(card, "consent", Format.SFT) == {"seal_broken": 1}
    assert left_out(card, "choice", Format.SFT) == {"duplicate_prompt": 1}
    tables = [
        pq.ParquetFile(place.path(name)).read() for name in place.matching("dataset/*.parquet")
    ]
    rows = [row for table in tables for row in table.to_pylist()]
    assert {row["sealed"] for row in rows if row["request"] is None} >= {"0", "9"}


def test_without_a_key_sealed_content_says_which_variable_to_set(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNDERSTUDY_PAIRS_KEYS", raising=False)
    write_parts(place, [pair(1, content=None, sealed="token")])
    with pytest.raises(CommandError, match="UNDERSTUDY_PAIRS_KEYS"):
        consolidated(place)


def test_the_first_lines_show_every_shape(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever reads the first piece of a file has seen all of its types."""
    weather = request("And in Paris?", tools=[tool("weather", city={"type": "string"})])
    called = completion(None, tool_calls=[calling("weather", '{"city": "Paris"}')])
    write_parts(
        place,
        [
            *(pair(number) for number in range(20)),
            pair(20, request=weather),
            pair(21, request=request("Weather?", tools=weather["tools"]), answer=called),
        ],
    )
    consolidated(place, Choice(holdout=0))
    first = rows_of(place, "sft-train.jsonl")[:3]
    assert sum("tools" in row for row in first) == 2
    assert sum("tool_calls" in row["completion"][0] for row in first) == 1
    assert ids_on(place, "train")[3:] == sorted(set(ids_on(place, "train")[3:]))
    monkeypatch.setattr(selecting, "LEADING_BYTES", 1)
    consolidated(place, Choice(holdout=0))
    assert ids_on(place, "train") == list(range(22))


def test_parts_and_data_sets_may_lie_elsewhere() -> None:
    fsspec.filesystem("memory").store.clear()
    place = place_at("memory://bucket/pairs")
    write_parts(place, [pair(number) for number in range(20)], [pair(1)])
    consolidated(
        place, Choice(format=ALL_FORMATS), wishes=wishes(Deletion(NOON, request_id="req-3"))
    )
    assert ids_of(place) == [number for number in range(20) if number != 3]
    assert len(part_paths(place)) == 2


def test_the_comparator_of_the_cascade_decides_what_differs(place: Place, tmp_path: Path) -> None:
    config = tmp_path / "cascades.yaml"
    config.write_text(CONFIG.format(comparator="{kind: number}"))
    write_parts(place, [pair(1, draft=completion("2")), pair(2, draft=completion("7"))])
    choice = Choice(format=(Format.DPO,), config=config)
    card = consolidated(place, choice)
    assert ids_of(place, Format.DPO) == [2]
    assert card.versions["comparator of assistant"].startswith("number")


CONFIG = """
cascades:
  assistant:
    student: {{base_url: "http://s/v1", model: s, version: s-1, api_key_env: NOT_SET_HERE}}
    teacher: {{base_url: "http://t/v1", model: t}}
    comparator: {comparator}
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CONFIG.format(comparator="{kind: judge}"), "judge would ask a server"),
        (
            CONFIG.replace("assistant", "other").format(comparator="{kind: exact}"),
            "no cascade 'assis",
        ),
        ("cascades: 1", "must hold keys and values"),
    ],
)
def test_a_comparator_that_will_not_do_is_refused(
    place: Place, tmp_path: Path, text: str, words: str
) -> None:
    config = tmp_path / "cascades.yaml"
    config.write_text(text)
    write_parts(place, [pair(1)])
    with pytest.raises(CommandError, match=words):
        consolidated(place, Choice(format=(Format.DPO,), config=config))


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (Choice(since="soon"), "--since: 'soon' is no time"),
        (Choice(until="2026-13-01"), "--until"),
        (Choice(memory_limit="much"), "--memory-limit"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(place: Place, choice: Choice, words: str) -> None:
    write_parts(place, [pair(1)])
    with pytest.raises(CommandError, match=words):
        consolidated(place, choice)


def test_a_folder_without_parts_is_refused(place: Place) -> None:
    with pytest.raises(CommandError, match="has no parts"):
        consolidated(place)
