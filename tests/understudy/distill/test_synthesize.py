import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from distill.curating import Known
from distill.likeness import print_of
from tests.fakes.datasets import example, preference, row, rows_of, task_rows, write_data_set
from tests.fakes.upstream import Reply, ScriptedModel
from tests.understudy.distill.teaching import Answer, Bench, copied, curated, saying
from understudy.demo.workload import solve
from understudy.distill.synthesizing import MOST_FRUITLESS

COUNTS = {"date": 12, "order": 12, "number": 6, "name": 6}


@pytest.fixture(scope="session")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A curated data set of which numbers and names are failing."""
    folder = tmp_path_factory.mktemp("failing")
    rows = task_rows(1, COUNTS)
    wrong = [preference(each) for each in rows if each["id"].startswith(("number", "name"))]
    held = task_rows(2, {"number": 20, "name": 20})
    return curated(folder, write_data_set(folder / "raw", rows, held, dpo=wrong))


@pytest.fixture
def data(bench: Bench, failing: Path) -> Path:
    return copied(failing, bench)


def arguments(bench: Bench, data: Path, **teacher: Any) -> list[object]:
    clusters, out = data / "clusters.json", bench.folder / "s.jsonl"
    config = bench.config(**teacher)
    return ["synthesize", "--data", data, "--clusters", clusters, "--config", config, "--out", out]


def synthesized(bench: Bench, data: Path, *options: object) -> dict[str, Any]:
    return bench.told(*arguments(bench, data), *options)


BUDGET = ("--budget-usd", "1")
# One that something comes of, and then as many as show that nothing more will.
LISTS = 1 + MOST_FRUITLESS


def test_the_teacher_writes_rows_where_the_student_fails(bench: Bench, data: Path) -> None:
    report = synthesized(bench, data, *BUDGET, "--rows", 12)
    assert (report["accepted"], report["unfinished"]) == (12, None)
    assert [each["accepted"] for each in report["by_cluster"].values()] == [6, 6]
    rows = rows_of(bench.folder / "s.jsonl")
    assert len({each["id"] for each in rows}) == 12
    for each in rows:
        assert each["synthetic"] is True
        assert each["teacher_version"] == "stand-in"
        assert str(each["cluster"]) in report["by_cluster"]
        assert each["completion"][-1]["content"] == solve(each["prompt"])
        assert each["prompt"][-1]["content"].startswith(("In digits", "Last name first"))
    real = len(rows_of(data / "sft-train.jsonl"))
    assert report["share"] == pytest.approx(12 / (real + 12))


def test_nothing_near_what_is_there_is_written(bench: Bench, data: Path) -> None:
    report = synthesized(bench, data, *BUDGET)
    real = len(rows_of(data / "sft-train.jsonl"))
    total = real + report["accepted"]
    assert report["accepted"] <= 0.3 * total < report["accepted"] + 1
    there = [example(each) for each in rows_of(data / "sft-train.jsonl")]
    there += [example(each) for each in rows_of(data / "sft-holdout.jsonl")]
    known = Known([])
    for each in [*there, *map(example, rows_of(bench.folder / "s.jsonl"))]:
        look = print_of(each.prompt)
        assert not known.has(each.key)
        assert each in there or not known.has_near(look)
        known.add(each, look)


def test_what_it_costs_is_told_exactly(bench: Bench, data: Path) -> None:
    report = synthesized(bench, data, *BUDGET, "--rows", 4)
    journal = rows_of(bench.folder / "s.journal.jsonl")
    spent = sum(each["spent_pico"] for each in journal)
    assert Decimal(report["spent_usd"]) * 10**12 == spent > 0
    assert report["requests"] == sum(each["requests"] for each in journal) == 2 + 2 * 4
    assert report["spent_is_exact"] is True
    assert json.loads((bench.folder / "s.card.json").read_text()) == report


def test_a_budget_is_never_overdrawn_and_a_larger_one_goes_on(bench: Bench, data: Path) -> None:
    told = [*arguments(bench, data), "--max-tokens", 4000, "--rows", 10]
    report = bench.told(*told, "--budget-usd", "0.012")
    assert 0 < report["accepted"] < 10
    assert "left of the budget" in report["unfinished"]
    assert Decimal(report["spent_usd"]) <= Decimal("0.012")
    before = rows_of(bench.folder / "s.jsonl")
    assert bench.status(*told, "--budget-usd", "0.012") == 1
    after = bench.told(*told, "--budget-usd", "1")
    assert after["accepted"] == 10
    assert rows_of(bench.folder / "s.jsonl")[: len(before)] == before
    again = bench.told(*told, "--budget-usd", "1")
    assert again == after


def test_so_many_requests_are_made_and_no_more(bench: Bench, data: Path) -> None:
    report = synthesized(bench, data, "--max-requests", 7, "--concurrency", 1)
    assert report["requests"] == 7
    assert report["unfinished"] == "all of 7 requests are made"
    assert bench.status(*arguments(bench, data), "--max-requests", 7) == 1


def test_a_smaller_share_takes_rows_back(bench: Bench, data: Path) -> None:
    made = synthesized(bench, data, *BUDGET)
    before = rows_of(bench.folder / "s.jsonl")
    fewer = synthesized(bench, data, *BUDGET, "--most-share", 0.1)
    assert 0 < fewer["accepted"] < made["accepted"]
    assert fewer["share"] <= 0.1
    assert fewer["requests"] == made["requests"]
    after = rows_of(bench.folder / "s.jsonl")
    assert len(after) == fewer["accepted"]
    assert [each for each in before if each in after] == after


def test_rows_of_one_cluster_can_be_had(bench: Bench, data: Path) -> None:
    report = synthesized(bench, data, *BUDGET, "--rows", 3, "--cluster", 0)
    assert list(report["by_cluster"]) == ["0"]
    (kind,) = {
        each["prompt"][-1]["content"].split(":")[0] for each in rows_of(bench.folder / "s.jsonl")
    }
    assert kind in ("Order to JSON", "Rewrite as YYYY-MM-DD")


def test_people_are_told_in_a_table(bench: Bench, data: Path) -> None:
    assert bench.status(*arguments(bench, data), "--max-requests", 5) == 1
    assert "accepted" in bench.command.output
    assert "Not finished" in bench.command.output


# --- a teacher that does as it is told -----------------------------------------------------


def asked(request: Mapping[str, Any]) -> str:
    return str(request["messages"][-1]["content"])


def writing(prompts: Sequence[str], answer: Answer) -> Answer:
    """A teacher that writes these prompts whenever it is asked for some."""

    def reply(request: Mapping[str, Any]) -> Reply:
        if "how_many" in asked(request):
            return saying(json.dumps(prompts))
        return answer(request)

    return reply


PLAIN = [row(name, f"In digits: {name}", "1") for name in ("one", "two", "three", "four")]


@pytest.fixture(scope="session")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four rows of one cluster, all failing, and a held-out one."""
    folder = tmp_path_factory.mktemp("four")
    dpo = [preference(each, "9") for each in PLAIN]
    held = [row("h", "In digits: eighty")]
    raw = write_data_set(folder / "raw", PLAIN, held, dpo=dpo)
    return curated(folder, raw, "--near", 1)


@pytest.fixture
def plain(bench: Bench, four: Path) -> Path:
    return copied(four, bench)


def made(bench: Bench, plain: Path, *options: object) -> dict[str, Any]:
    told = ("--most-share", 0.5, "--max-requests", 100)
    return synthesized(bench, plain, *told, *options)


def test_every_prompt_that_is_no_row_has_its_cause(
    bench: Bench, plain: Path, scripted: ScriptedModel
) -> None:
    def answer(request: Mapping[str, Any]) -> Reply:
        what = asked(request).removeprefix("In digits: ")
        if what == "unsure":
            return saying(f"{request['temperature']}")
        if what == "cut":
            return saying("12", finish_reason="length")
        return saying({"empty": "", "loop": "I say it again and again. " * 20}.get(what, "5"))

    prompts = ["fine", "unsure", "cut", "empty", "loop", "ONE", "eighty", "fine "]
    scripted.reply = writing([f"In digits: {each}" for each in prompts], answer)
    report = made(bench, plain)
    assert report["accepted"] == 1
    # The list comes again, until it is seen that nothing comes of it; nothing is answered twice.
    assert report["rejected"] == {
        "answers_differ": 1,
        "answer_cut_short": 1,
        "answer_empty": 1,
        "answer_repeats": 1,
        "in_holdout": LISTS,
        "duplicate_prompt": LISTS + 5 * (LISTS - 1),
    }
    assert "wrote nothing more that could be used" in report["unfinished"]
    (only,) = rows_of(bench.folder / "s.jsonl")
    assert only["prompt"][-1]["content"] == "In digits: fine"


@pytest.mark.parametrize(
    ("verdicts", "kept", "cause"),
    [
        (("FIRST", "SECOND"), "second", None),
        (("SECOND", "FIRST"), "first", None),
        (("FIRST", "FIRST"), None, "undecided"),
        (("EQUAL", "EQUAL"), None, "undecided"),
        (("MAYBE", "FIRST"), None, "not_compared"),
    ],
)
def test_by_grade_the_better_of_two_answers_is_kept(
    bench: Bench,
    plain: Path,
    scripted: ScriptedModel,
    verdicts: tuple[str, str],
    kept: str | None,
    cause: str | None,
) -> None:
    def answer(request: Mapping[str, Any]) -> Reply:
        if "answer_1" in asked(request):
            # The second answer is judged as the draft, so it is shown first to begin with.
            is_first_order = json.loads(asked(request))["answer_1"] == "second"
            return saying(verdicts[0] if is_first_order else verdicts[1])
        return saying("first" if request["temperature"] == 0 else "second")

    scripted.reply = writing(["In digits: ninety"], answer)
    report = made(bench, plain, "--filter", "grade", "--rows", 1)
    assert report["rejected"].get(cause or "", 0) == (cause is not None)
    found = [each["completion"][-1]["content"] for each in rows_of(bench.folder / "s.jsonl")]
    assert found == ([] if kept is None else [kept])


def test_a_better_answer_of_the_wrong_form_is_none(
    bench: Bench, plain: Path, scripted: ScriptedModel
) -> None:
    def answer(request: Mapping[str, Any]) -> Reply:
        if "answer_1" in asked(request):
            is_first = json.loads(asked(request))["answer_1"] != "first"
            return saying("FIRST" if is_first else "SECOND")
        return saying("first" if request["temperature"] == 0 else "over and over and over " * 20)

    scripted.reply = writing(["In digits: ninety"], answer)
    report = made(bench, plain, "--filter", "grade", "--rows", 1)
    assert report["rejected"]["answer_repeats"] == 1


def test_where_the_teacher_compares_it_is_asked_that_too(
    bench: Bench, plain: Path, scripted: ScriptedModel
) -> None:
    def answer(request: Mapping[str, Any]) -> Reply:
        if "answer_1" in asked(request):
            return saying("SAME" if "a few" in asked(request) else "DIFFERENT")
        what = "a few" if "ninety" in asked(request) else "many"
        return saying(what if request["temperature"] == 0 else f"{what} or so")

    scripted.reply = writing(["In digits: ninety", "In digits: sixty"], answer)
    told = arguments(bench, plain)
    path = bench.config()
    path.write_text(path.read_text() + "    comparator: {kind: judge}\n")
    report = bench.told(*told, "--most-share", 0.5, "--max-requests", 50, "--rows", 2)
    assert (report["accepted"], report["rejected"]["answers_differ"]) == (1, 1)
    assert report["made_with"]["comparator"] == "judge-1"


def test_a_killed_run_remembers_what_was_known(
    bench: Bench, plain: Path, scripted: ScriptedModel
) -> None:
    prompts = ["In digits: ninety", "In digits: eighty", "In digits: one", "In digits: ninety"]
    scripted.reply = writing(prompts, lambda _: saying("5"))
    first = made(bench, plain, "--rows", 1)
    assert first["rejected"] == {"duplicate_prompt": 1, "in_holdout": 1}
    assert made(bench, plain, "--rows", 1) == first


def test_calls_that_fail_are_left_for_another_run(
    bench: Bench, plain: Path, scripted: ScriptedModel
) -> None:
    down = Reply({}, status=500)
    scripted.reply = writing(["In digits: ninety", "In digits: sixty"], lambda _: down)
    report = made(bench, plain, "--rows", 2)
    assert (report["accepted"], report["unanswered"]) == (0, 2)
    assert "calls failed" in report["unfinished"]
    scripted.reply = writing([], lambda _: saying("5"))
    again = made(bench, plain, "--rows", 2)
    assert (again["accepted"], again["unfinished"]) == (2, None)
    # A failed call costs nothing, and is counted.
    assert again["requests"] == report["requests"] + 4


def test_a_server_that_is_down_is_given_up(
    bench: Bench, plain: Path, scripted: ScriptedModel
) -> None:
    names = [f"In digits: {chr(97 + n) * 9}" for n in range(26)]
    down = Reply({}, status=500)
    scripted.reply = writing(names, lambda _: down)
    rows = [row(f"r{n}", f"In digits: {n} {'x' * 20}") for n in range(40)]
    raw = write_data_set(bench.folder / "many", rows)
    out = bench.folder / "many-curated"
    bench.told("curate", "--data", raw, "--out", out, "--most-clusters", 1)
    options = ("--cluster", 0, "--rows", 26, "--per-request", 26, "--most-share", 0.5)
    report = synthesized(bench, out, *options, "--max-requests", 100)
    assert "20 calls failed one after the other" in report["unfinished"]


def test_a_teacher_that_refuses_to_write_is_not_asked_for_ever(
    bench: Bench, plain: Path, scripted: ScriptedModel
) -> None:
    scripted.reply = saying("I would rather not.")
    report = made(bench, plain)
    assert report["requests"] == 3
    scripted.reply = Reply({"error": {"message": "too long"}}, status=400)
    again = made(bench, plain)
    assert (again["requests"], again["unanswered"]) == (6, 3)


def test_a_killed_run_asks_again_only_what_was_not_decided(
    bench: Bench, plain: Path, scripted: ScriptedModel
) -> None:
    prompts = [f"In digits: {name}" for name in ("ninety", "sixty", "fifty")]
    scripted.reply = writing(prompts, lambda _: saying("5"))
    made(bench, plain, "--rows", 3)
    journal = bench.folder / "s.journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    decided = [n for n, line in enumerate(lines) if b'"decided"' in line]
    # As if it had been killed with one row written, amid the next line.
    journal.write_bytes(b"".join(lines[: decided[0] + 1]) + b'{"id": "9", "ev')
    scripted.requests.clear()
    again = made(bench, plain, "--rows", 3)
    assert again["accepted"] == 3
    assert not any("how_many" in asked(request) for request in scripted.requests)
    assert len(scripted.requests) == 4
    first = msgspec.json.decode(lines[decided[0]])["row"]
    assert rows_of(bench.folder / "s.jsonl")[0] == first


def test_of_two_near_prompts_that_are_answered_at_once_one_is_kept(
    bench: Bench, plain: Path, scripted: ScriptedModel
) -> None:
    near = "In digits, please, and without a word of explanation beside it: fifty"
    scripted.reply = writing([near, f"{near}!"], lambda _: saying("50"))
    report = bench.told(*arguments(bench, plain), "--most-share", 0.5, "--rows", 2,
                        "--max-requests", 20, "--concurrency", 2)  # fmt: skip
    assert report["accepted"] == 1
    assert report["rejected"]["near_duplicate"] >= 1
    assert len(rows_of(bench.folder / "s.jsonl")) == 1


def test_ctrl_c_leaves_what_there_is(bench: Bench, plain: Path, scripted: ScriptedModel) -> None:
    def answer(request: Mapping[str, Any]) -> Reply:
        if "sixty" in asked(request) and request["temperature"]:
            raise_interrupt()
        return saying("5")

    scripted.reply = writing(["In digits: ninety", "In digits: sixty"], answer)
    status = bench.status(*arguments(bench, plain), "--most-share", 0.5, "--rows", 2,
                          "--max-requests", 9, "--concurrency", 1)  # fmt: skip
    assert status == 130
    assert len(rows_of(bench.folder / "s.jsonl")) == 1


def raise_interrupt() -> None:
    """What a terminal's Ctrl-C does to this process, while a call is open."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.5)


# --- what cannot be done ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("teacher", "options", "why"),
    [
        ({"outputs_may_train": False}, BUDGET, "outputs_may_train is false"),
        ({"price": None}, BUDGET, "nobody knows what a call of this teacher costs"),
        ({"price": {"gpu_usd_per_hour": 3.2}}, BUDGET, "nobody knows what a call"),
        ({"price": None}, (*BUDGET, "--max-requests", 3), "--budget-usd: nobody knows"),
        ({}, (), "say what it may cost"),
        ({}, ("--budget-usd", "0"), "must be an amount above 0"),
        ({}, ("--budget-usd", "-1"), "must be an amount above 0"),
        ({}, (*BUDGET, "--cascade", "other"), "there is no 'other', but demo"),
        ({}, (*BUDGET, "--cluster", 99), "there is no cluster 99"),
        ({}, (*BUDGET, "--most-share", 0), "leave no room"),
        ({"nonsense": 1}, BUDGET, "nonsense"),
    ],
)
def test_what_must_not_or_cannot_be_is_refused_before_anything_is_asked(
    bench: Bench, data: Path, teacher: dict[str, Any], options: tuple[object, ...], why: str
) -> None:
    assert bench.status(*arguments(bench, data, **teacher), *options) == 2
    assert why in bench.command.error
    assert not (bench.folder / "s.jsonl").exists()


def test_an_unknown_price_is_allowed_within_so_many_requests(bench: Bench, data: Path) -> None:
    told = arguments(bench, data, price=None)
    report = bench.told(*told, "--max-requests", 9, "--rows", 2)
    assert report["accepted"] == 2
    assert (report["spent_usd"], report["spent_is_exact"]) == ("0.0", False)


def test_another_work_does_not_go_on_with_this_journal(bench: Bench, data: Path) -> None:
    synthesized(bench, data, *BUDGET, "--rows", 2)
    told = [*arguments(bench, data), *BUDGET, "--rows", 2]
    assert bench.status(*told, "--seed", 1) == 2
    assert "another seed: name another file" in bench.command.error
    assert bench.status(*told, "--filter", "grade") == 2
    assert "another filter" in bench.command.error


def test_a_file_without_its_journal_is_left_alone(bench: Bench, data: Path) -> None:
    (bench.folder / "s.jsonl").write_text("mine")
    assert bench.status(*arguments(bench, data), *BUDGET) == 2
    assert (bench.folder / "s.jsonl").read_text() == "mine"


@pytest.mark.parametrize("line", ['{"id": "0", "event": "other"}', '{"id": "0", "settings": 1}'])
def test_a_journal_of_something_else_is_left_alone(bench: Bench, data: Path, line: str) -> None:
    (bench.folder / "s.journal.jsonl").write_text(line + "\n")
    assert bench.status(*arguments(bench, data), *BUDGET) == 2
    assert "is no journal of such a job" in bench.command.error
    (bench.folder / "s.journal.jsonl").write_text("no json\n")
    assert bench.status(*arguments(bench, data), *BUDGET) == 2
    assert "no line of this kind" in bench.command.error


def test_clusters_of_another_data_set_are_refused(bench: Bench, data: Path) -> None:
    other = write_data_set(bench.folder / "other", [row("z", "Hi")] * 2)
    told = ["synthesize", "--data", other, "--clusters", data / "clusters.json", "--config"]
    told += [bench.config(), "--out", bench.folder / "s.jsonl", *BUDGET, "--most-share", 0.5]
    assert bench.status(*told) == 2
    assert "are the clusters of another data set?" in bench.command.error


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("no json", "is no list of clusters"),
        ('{"schema_version": 9, "failing_from": 0.2, "clusters": []}', "has schema version 9"),
    ],
)
def test_clusters_that_are_none_are_refused(
    bench: Bench, data: Path, content: str, why: str
) -> None:
    (data / "clusters.json").write_text(content)
    assert bench.status(*arguments(bench, data), *BUDGET) == 2
    assert why in bench.command.error


def test_a_comparator_that_asks_a_server_is_refused(bench: Bench, data: Path) -> None:
    told = arguments(bench, data)
    path = bench.config()
    embedder = "{kind: embedding, base_url: 'http://x/v1', model: e5, at_least: 0.9}"
    path.write_text(path.read_text() + f"    comparator: {embedder}\n")
    assert bench.status(*told, *BUDGET) == 2
    assert "name a file with another comparator" in bench.command.error
