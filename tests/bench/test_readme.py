"""The README's tables are those of the committed run."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from bench.measure import Found, Report
from bench.readme import README, filled, main, read_run
from bench.side_by_side import LeftOut

PAGE = "# A page\n\n<!-- bench: {} -->\n| old |\n<!-- bench end -->\n\nThe rest.\n"


@pytest.fixture(scope="module")
def run() -> Report:
    return read_run()


def test_the_readme_shows_the_committed_run(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--check"])
    assert status == 0, capsys.readouterr().err
    assert README.read_text().count("<!-- bench: ") == 4


def test_a_page_that_differs_is_told_and_then_written(
    run: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, file = tmp_path / "page.md", tmp_path / "run.json"
    page.write_text(PAGE.format("asked"))
    file.write_bytes(msgspec.json.encode(run))
    told = ["--page", str(page), "--run", str(file)]
    assert main([*told, "--check"]) == 1
    assert "run python -m bench.readme" in capsys.readouterr().err
    assert page.read_text() == PAGE.format("asked")
    assert main(told) == 0
    assert main([*told, "--check"]) == 0
    written = page.read_text()
    assert written.startswith("# A page\n\n<!-- bench: asked -->\n| asked for | at most |")
    assert written.endswith("|\n<!-- bench end -->\n\nThe rest.\n")
    assert all(each.name in written for each in run.verdicts)


@pytest.mark.parametrize("name", ["replies", "tokens", "streams"])
def test_a_run_without_a_part_makes_no_table_of_it(
    name: str, run: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, file = tmp_path / "page.md", tmp_path / "run.json"
    page.write_text(PAGE.format(name))
    file.write_bytes(msgspec.json.encode(replace(run, found=Found())))
    assert main(["--page", str(page), "--run", str(file)]) == 1
    assert "the run has no --scenario" in capsys.readouterr().err


def test_a_peer_that_is_absent_is_named_with_its_reason(run: Report) -> None:
    assert run.found.sides is not None
    lines = [each for each in run.found.sides.measurements if each.name != "LiteLLM"]
    absent = LeftOut("LiteLLM", None, "it could not be installed: no network\nmore of it")
    sides = replace(run.found.sides, measurements=lines, left_out=[absent])
    text = filled(PAGE.format("replies"), replace(run, found=replace(run.found, sides=sides)))
    assert "| LiteLLM" not in text
    assert "Not measured: LiteLLM, for it could not be installed: no network.\n" in text
