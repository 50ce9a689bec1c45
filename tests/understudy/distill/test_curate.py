import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from distill.card import CARD_NAME
from distill.cluster_file import read_clusters
from tests.fakes.datasets import preference, row, rows_of, task_rows, write_data_set
from tests.fakes.serving import closed_port_url
from tests.fakes.upstream import Reply, ScriptedModel
from tests.understudy.distill.teaching import Bench

COUNTS = {"date": 12, "order": 12, "number": 6, "name": 6}
SCHEMA = json.dumps({
    "type": "json_schema",
    "json_schema": {"name": "s", "schema": {"type": "object", "required": ["a"]}},
})  # fmt: skip
TOOLS = json.dumps([
    {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object", "required": ["x"]}},
    }
])  # fmt: skip


def calling(name: str, **arguments: Any) -> list[dict[str, Any]]:
    function = {"name": name, "arguments": arguments}
    call = {"id": "c", "type": "function", "function": function}
    return [{"role": "assistant", "content": "", "tool_calls": [call]}]


def curated(bench: Bench, data: Path, *options: object) -> dict[str, Any]:
    out = bench.folder / "curated"
    # As many as are looked for take their time, and no test has more kinds than four.
    return bench.told("curate", "--data", data, "--out", out, "--most-clusters", 5, *options)


def left_out(card: Mapping[str, Any], form: str = "sft") -> dict[str, int]:
    steps: Sequence[Mapping[str, Any]] = card["formats"][form]["steps"]
    return {cause: count for step in steps for cause, count in step["left_out"].items()}


def test_what_teaches_nothing_goes_and_is_accounted_for(bench: Bench) -> None:
    rows = task_rows(1, COUNTS)
    held = task_rows(2, {"date": 3})
    rows += [
        rows[0] | {"id": "again"},
        row("leak", "", "1", prompt=held[0]["prompt"]),
        row("empty", "Why?", ""),
        row("loop", "Tell me.", "I will say it once more. " * 30),
        row("no-json", "As JSON?", "Sure: {}", response_format='{"type":"json_object"}'),
        row("other-json", "As JSON, please?", '{"b": 1}', response_format=SCHEMA),
        row("json", "As JSON, now?", '{"a": 1}', response_format=SCHEMA),
        row("no-tool", "Call it?", completion=calling("g", x=1), tools=TOOLS),
        row("no-argument", "Call it, please?", completion=calling("f", y=1), tools=TOOLS),
        row("tool", "Call it, now?", completion=calling("f", x=1), tools=TOOLS),
    ]
    data = write_data_set(bench.folder / "data", rows, held)
    told = curated(bench, data)
    card, made = told["card"], told["card"]["formats"]["sft"]
    assert left_out(card) == {
        "in_holdout": 1,
        "answer_empty": 1,
        "answer_not_as_asked": 4,
        "answer_repeats": 1,
        "duplicate_prompt": 1,
    }
    kept = rows_of(bench.folder / "curated" / "sft-train.jsonl")
    ids = {each["id"] for each in kept}
    assert {"json", "tool", "again"} <= ids
    assert rows[0]["id"] not in ids
    assert made["steps"][0]["in"] == len(rows) + len(held)
    for before, after in zip(made["steps"], made["steps"][1:], strict=False):
        assert before["out"] == after["in"]
        assert after["in"] - sum(after["left_out"].values()) == after["out"]
    assert made["steps"][-1]["out"] == len(kept) + len(held)
    assert card["curation"]["of"]
    readable = (bench.folder / "curated" / "card.md").read_text()
    assert "answer_not_as_asked 4" in readable
    assert "## Curation" in readable


def test_the_holdout_is_copied_byte_for_byte(bench: Bench) -> None:
    data = write_data_set(bench.folder / "data", task_rows(1, COUNTS), task_rows(2, {"date": 3}))
    curated(bench, data)
    name = "sft-holdout.jsonl"
    assert (bench.folder / "curated" / name).read_bytes() == (data / name).read_bytes()


def test_preferences_are_curated_too_and_know_the_whole_holdout(bench: Bench) -> None:
    rows, held = task_rows(1, COUNTS), task_rows(2, {"number": 2})
    leak = preference(held[0] | {"id": "leak"})
    dpo = [*(preference(each) for each in rows[:10]), leak]
    data = write_data_set(bench.folder / "data", rows, held, dpo=dpo)
    card = curated(bench, data)["card"]
    assert left_out(card, "dpo") == {"in_holdout": 1}
    kept = rows_of(bench.folder / "curated" / "dpo-train.jsonl")
    assert {each["id"] for each in kept} == {each["id"] for each in rows[:10]}


def test_pairs_say_where_the_student_fails(bench: Bench) -> None:
    rows = task_rows(1, COUNTS)
    wrong = [preference(each) for each in rows if each["id"].startswith("number")]
    data = write_data_set(bench.folder / "data", rows, dpo=wrong)
    clusters = curated(bench, data)["clusters"]
    assert clusters["failures_from"] == "pairs"
    failing = [each for each in clusters["clusters"] if each["failing"]]
    (cluster,) = failing
    assert "in digits" in cluster["telling"]
    assert cluster["failures"]["rate"] == 1.0
    assert (cluster["rows"], cluster["escalations"]) == (6, 6)
    assert set(cluster["examples"]) == {each["id"] for each in wrong}
    folder = bench.folder / "curated"
    read = read_clusters((folder / "clusters.json").read_bytes(), "clusters.json")
    assert read.document() == clusters
    assert "| yes |" in (folder / "clusters.md").read_text()


def record(told: Mapping[str, Any], ok: bool, weight: float = 1.0) -> bytes:
    return msgspec.json.encode({
        "id": told["id"],
        "request": {"messages": told["prompt"]},
        "weight": weight,
        "student": {"ok": ok},
        "teacher": {"ok": True},
    })  # fmt: skip


def test_records_say_where_the_student_fails_by_their_weights(bench: Bench) -> None:
    data = write_data_set(bench.folder / "data", task_rows(1, COUNTS))
    asked = task_rows(5, {"date": 10, "name": 10})
    lines = [record(each, ok=not each["id"].startswith("name"), weight=2.0) for each in asked]
    lines.append(record(row("poem", "Write a poem about the sea at night"), ok=False))
    records = bench.folder / "records.jsonl"
    records.write_bytes(b"\n".join(lines))
    clusters = curated(bench, data, "--records", records)["clusters"]
    assert clusters["failures_from"] == "records"
    rates = {each["name"]: each["failures"] for each in clusters["clusters"]}
    told = {name: rate["rate"] for name, rate in rates.items() if rate is not None}
    assert sorted(told.values()) == [0.0, 1.0]
    (failing,) = [each for each in clusters["clusters"] if each["failing"]]
    assert "last name" in failing["telling"] or "name first" in failing["telling"]
    assert clusters["made_with"]["records_outside"] == 1
    unknown = [each for each in clusters["clusters"] if each["failures"] is None]
    assert len(unknown) == 2
    assert all(each["failing"] is None for each in unknown)


def test_without_a_word_on_drafts_no_cluster_is_known_to_fail(bench: Bench) -> None:
    data = write_data_set(bench.folder / "data", task_rows(1, COUNTS))
    clusters = curated(bench, data)["clusters"]
    assert (clusters["failures_from"], clusters["overall"]) == (None, None)
    assert {each["failing"] for each in clusters["clusters"]} == {None}
    assert "unknown" in (bench.folder / "curated" / "clusters.md").read_text()


def test_no_cluster_has_more_rows_than_its_cap(bench: Bench) -> None:
    data = write_data_set(bench.folder / "data", task_rows(1, COUNTS))
    told = curated(bench, data, "--most-per-cluster", 6)
    assert [each["rows"] for each in told["clusters"]["clusters"]] == [6, 6, 6, 6]
    assert left_out(told["card"]) == {"over_cluster_cap": 12}


def test_a_curated_set_can_be_curated_again(bench: Bench) -> None:
    data = write_data_set(bench.folder / "data", task_rows(1, COUNTS), task_rows(2, {"date": 2}))
    curated(bench, data)
    first, again = bench.folder / "curated", bench.folder / "again"
    card = bench.told("curate", "--data", first, "--out", again)["card"]
    assert (again / "sft-train.jsonl").read_bytes() == (first / "sft-train.jsonl").read_bytes()
    assert len(card["formats"]["sft"]["steps"]) == 9


def test_an_older_set_in_the_folder_is_replaced(bench: Bench) -> None:
    rows = task_rows(1, COUNTS)
    wrong = [preference(each) for each in rows[:3]]
    curated(bench, write_data_set(bench.folder / "data", rows, dpo=wrong))
    assert (bench.folder / "curated" / "dpo-train.jsonl").exists()
    curated(bench, write_data_set(bench.folder / "other", rows))
    assert not (bench.folder / "curated" / "dpo-train.jsonl").exists()


def test_where_nothing_is_left_that_is_said(bench: Bench) -> None:
    data = write_data_set(bench.folder / "data", [row("a", "Why?", "")])
    told = curated(bench, data)
    assert told["clusters"]["clusters"] == []
    assert "sft: nothing is left to learn from" in told["card"]["notes"]
    assert not (bench.folder / "curated" / "sft-train.jsonl").exists()


def test_people_are_told_in_tables(bench: Bench) -> None:
    data = write_data_set(bench.folder / "data", task_rows(1, COUNTS))
    assert bench.status("curate", "--data", data, "--out", bench.folder / "out") == 0
    assert "telling words" in bench.command.output
    assert "unknown" in bench.command.output


# --- embeddings ---------------------------------------------------------------------------


def embedding(request: Mapping[str, Any]) -> Reply:
    """One of two directions, as the text is about numbers or not; the last one first."""
    rows = [
        {"index": index, "embedding": [1.0, 0.1] if "digits" in text else [0.1, 1.0]}
        for index, text in enumerate(request["input"])
    ]
    return Reply({"data": rows[::-1]})


def test_embeddings_make_the_clusters_where_there_is_a_server(
    bench: Bench, scripted: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.reply = embedding
    monkeypatch.setenv("EMBEDDER_KEY", "secret")
    data = write_data_set(bench.folder / "data", task_rows(1, COUNTS))
    options = ("--embeddings-url", f"{bench.teacher_url}/v1", "--embeddings-model", "e5")
    clusters = curated(bench, data, *options, "--embeddings-key-env", "EMBEDDER_KEY")["clusters"]
    assert [each["rows"] for each in clusters["clusters"]] == [30, 6]
    assert clusters["made_with"]["vectors"] == "embeddings of e5"
    assert {each["model"] for each in scripted.requests} == {"e5"}
    assert {each["authorization"] for each in scripted.headers} == {"Bearer secret"}


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Reply({"data": []}), "asked for 36 embeddings, the server sent 0"),
        (Reply({"data": [{"index": 0, "embedding": []}]}), "the server sent 1"),
        (Reply({"data": "none"}), "holds no embeddings"),
        (Reply(b"no json"), "holds no embeddings"),
        (Reply({"error": {"message": "too long"}}, status=400), "too long"),
        (Reply({}, status=500), "status 500"),
    ],
)
def test_a_server_that_gives_no_embeddings_is_told_of(
    bench: Bench, scripted: ScriptedModel, reply: Reply, why: str
) -> None:
    scripted.reply = reply
    data = write_data_set(bench.folder / "data", task_rows(1, COUNTS))
    options = ("--embeddings-url", f"{bench.teacher_url}/v1", "--embeddings-model", "e5")
    assert bench.status("curate", "--data", data, "--out", bench.folder / "o", *options) == 2
    assert why in bench.command.error


def test_vectors_of_several_lengths_are_refused(bench: Bench, scripted: ScriptedModel) -> None:
    def uneven(request: Mapping[str, Any]) -> Reply:
        texts = request["input"]
        rows = [{"index": n, "embedding": [1.0] * (1 + n % 2)} for n in range(len(texts))]
        return Reply({"data": rows})

    scripted.reply = uneven
    data = write_data_set(bench.folder / "data", task_rows(1, COUNTS))
    options = ("--embeddings-url", f"{bench.teacher_url}/v1", "--embeddings-model", "e5")
    assert bench.status("curate", "--data", data, "--out", bench.folder / "o", *options) == 2
    assert "differ in length" in bench.command.error


# --- what cannot be done ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--embeddings-url", "http://x/v1"), "go together"),
        (("--embeddings-model", "e5"), "go together"),
        (
            ("--embeddings-url", closed_port_url(), "--embeddings-model", "e5"),
            "could not be reached",
        ),
        (
            (
                "--embeddings-url",
                "http://x",
                "--embeddings-model",
                "e",
                "--embeddings-key-env",
                "N",
            ),
            "has no N",
        ),
        (("--records", "nowhere.jsonl"), "nowhere.jsonl"),
    ],
)
def test_options_that_cannot_hold_are_told_of(
    bench: Bench, options: tuple[str, ...], why: str
) -> None:
    data = write_data_set(bench.folder / "data", task_rows(1, COUNTS))
    assert bench.status("curate", "--data", data, "--out", bench.folder / "o", *options) == 2
    assert why in bench.command.error
    assert not (bench.folder / "o" / CARD_NAME).exists()


def test_records_that_do_not_say_what_was_asked_are_refused(bench: Bench) -> None:
    data = write_data_set(bench.folder / "data", task_rows(1, COUNTS))
    records = bench.folder / "r.jsonl"
    records.write_text('{"id": "a", "student": {"ok": true}, "teacher": {"ok": true}}\n')
    out = bench.folder / "o"
    assert bench.status("curate", "--data", data, "--out", out, "--records", records) == 2
    assert "no record says what was asked" in bench.command.error


def test_a_set_is_not_curated_over_itself(bench: Bench) -> None:
    data = write_data_set(bench.folder / "data", task_rows(1, COUNTS))
    before = {path.name: path.read_bytes() for path in data.iterdir()}
    assert bench.status("curate", "--data", data, "--out", data / ".." / "data") == 2
    assert "another folder" in bench.command.error
    assert {path.name: path.read_bytes() for path in data.iterdir()} == before


def test_a_folder_without_a_card_is_no_data_set(bench: Bench) -> None:
    (bench.folder / "data").mkdir()
    assert bench.status("curate", "--data", bench.folder / "data", "--out", bench.folder / "o") == 2
    assert "has no card.json" in bench.command.error


@pytest.mark.parametrize(
    ("card", "why"),
    [
        (b"no json", "is no data card"),
        (b"[]", "is no data card"),
        (b'{"formats": {"openai": {"files": []}}}', "has neither sft nor dpo rows"),
    ],
)
def test_a_card_of_something_else_is_refused(bench: Bench, card: bytes, why: str) -> None:
    data = write_data_set(bench.folder / "data", task_rows(1, COUNTS))
    (data / CARD_NAME).write_bytes(card)
    assert bench.status("curate", "--data", data, "--out", bench.folder / "o") == 2
    assert why in bench.command.error


def test_a_file_that_is_not_the_cards_is_refused(bench: Bench) -> None:
    data = write_data_set(bench.folder / "data", task_rows(1, COUNTS))
    with (data / "sft-train.jsonl").open("ab") as file:
        file.write(msgspec.json.encode(row("late", "Added by hand")))
    assert bench.status("curate", "--data", data, "--out", bench.folder / "o") == 2
    assert "is not the file that its card tells of" in bench.command.error


def test_rows_that_are_none_are_told_with_their_line(bench: Bench) -> None:
    data = write_data_set(bench.folder / "data", [row("a", "Hi"), {"id": "b"}])
    assert bench.status("curate", "--data", data, "--out", bench.folder / "o") == 2
    assert "sft-train.jsonl, line 2" in bench.command.error


def test_counts_that_do_not_add_up_are_refused(bench: Bench) -> None:
    data = write_data_set(bench.folder / "data", task_rows(1, COUNTS))
    card = msgspec.json.decode((data / CARD_NAME).read_bytes())
    card["formats"]["sft"]["steps"][-1]["out"] += 1
    (data / CARD_NAME).write_bytes(msgspec.json.encode(card))
    assert bench.status("curate", "--data", data, "--out", bench.folder / "o") == 2
    assert "37 rows are accounted for, and 36 are there" in bench.command.error


def test_a_missing_extra_is_named() -> None:
    without = "import sys; sys.modules['numpy'] = None; from understudy.__main__ import main; "
    done = subprocess.run(
        [sys.executable, "-c", f"{without} main()", "distill", "curate", "--data=a", "--out=b"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip() == "This needs numpy: pip install 'understudy[evaluate]'"
