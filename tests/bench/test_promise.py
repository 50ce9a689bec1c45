from pathlib import Path

import pytest

from bench.promise import draw, filled, main, populations
from bench.promise_tables import TABLES, Study
from evaluation.promise.traffic import ranked
from tests.architecture.source import ROOT
from tests.evaluation.public_data import FOLDER, data

PAGE = ROOT / "docs" / "promise.md"


def study(runs: int = 2) -> Study:
    return Study({"syn30/.90": ranked(0.3, 0.9)}, runs)


SHORT = ("cost05", "controls")


@pytest.mark.parametrize(
    "name",
    [*SHORT, *(pytest.param(name, marks=pytest.mark.full) for name in TABLES if name not in SHORT)],
)
def test_every_row_of_a_table_has_as_many_cells_as_its_head(name: str) -> None:
    head, rule, *rows = TABLES[name](study())
    assert rows
    assert {line.count("|") for line in (head, rule, *rows)} == {head.count("|")}


def test_page_has_every_table_once_and_no_other() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [text.count(f"<!-- promise: {name} -->\n") for name in TABLES] == [1] * len(TABLES)
    assert text.count("<!-- promise: ") == len(TABLES)
    assert text.count("<!-- promise end -->") == len(TABLES)


def test_block_is_made_anew_and_the_rest_stays() -> None:
    text = "before\n<!-- promise: audits -->\nold\n<!-- promise end -->\nafter\n"
    found = filled(text, study())
    assert found.startswith("before\n<!-- promise: audits -->\n| audited % of requests | syn30/.90")
    assert found.endswith("|\n<!-- promise end -->\nafter\n")
    assert "old" not in found
    assert filled(text, study(), ["plateau"]) == text
    with pytest.raises(KeyError):
        filled(text.replace("audits", "unknown"), study())


def test_cell_is_simulated_once() -> None:
    one = study()
    tables = "\n".join([*TABLES["audits"](one), *TABLES["audits"](one)])
    assert tables.count("\n| 2 |") == 2
    assert len(one._done) == 4


@pytest.mark.full
def test_pictures_are_drawn(tmp_path: Path) -> None:
    draw(study(), tmp_path / "pictures")
    names = sorted(each.name for each in (tmp_path / "pictures").iterdir())
    assert names == ["promise_by_audit.png", "promise_over_time.png", "promise_risk.png"]


def test_real_pairs_are_read_from_the_folder_that_holds_them() -> None:
    data("lub_option_logits_Qwen.npz")
    found = populations(FOLDER)
    assert list(found)[-3:] == ["emotion", "mmlu", "cosmosqa"]
    assert found["mmlu"].size == 10_000


def test_folder_without_the_data_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(tmp_path), "--runs", "2"]) == 1
    assert f"there is no {tmp_path}" in capsys.readouterr().err


def test_page_is_written(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- promise: audits -->\n<!-- promise end -->\n")
    assert main(["--runs", "2", "--page", str(page)]) == 0
    assert page.read_text().count("\n| ") == 6


def test_tables_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs", "2", "--tables", "audits"]) == 0
    assert capsys.readouterr().out.startswith("\naudits\n\n| audited %")
