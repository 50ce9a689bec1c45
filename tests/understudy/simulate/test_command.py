import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from evaluation.scenarios.expectations import LIMITS
from routing.promise import head_start_of
from routing.promise.head_start import head_start_document
from tests.architecture.source import ROOT
from tests.evaluation.made import answers, written
from tests.evaluation.test_applied import document_of
from tests.understudy.simulate.test_scenario_file import EXAMPLES, PRICES, document
from understudy.simulate.command import CANNOT_SIMULATE, NOT_AS_EXPECTED, simulate
from understudy.simulate.report import WORDS

QUALITY = {"kind": "quality", "disagreement_at_most": 0.1, "with_probability": 0.9}


def file(folder: Path, **changes: object) -> Path:
    path = folder / "made.yaml"
    path.write_text(yaml.safe_dump(document(**changes)))
    return path


def test_a_table_says_what_it_costs_and_how_fast_it_went(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate(file(tmp_path)) == 0
    said = capsys.readouterr().out
    for words in ("made: 1 run of", "bill, USD", "requests kept", "times as fast as they would"):
        assert words in said
    assert simulate(file(tmp_path), runs=3, minutes=2) == 0
    said = capsys.readouterr().out
    for words in ("3 runs of 0.0333333 hours", "mean", "p90", "most"):
        assert words in said


def test_the_documents_numbers_are_those_of_the_runs(tmp_path: Path) -> None:
    at = tmp_path / "found.json"
    assert simulate(file(tmp_path), runs=2, seed=5, json=at) == 0
    found = json.loads(at.read_text())
    assert (found["scenario"], found["seed"], found["runs"]) == ("made", 5, 2)
    kept = [each["kept_share"] for each in found["each_run"]]
    assert found["measures"]["kept_share"]["mean"] == pytest.approx(sum(kept) / 2)
    assert found["times_real_time"] > 100
    again = tmp_path / "again.json"
    assert simulate(file(tmp_path), seed=6, json=again) == 0
    assert json.loads(again.read_text())["each_run"][0] == found["each_run"][1]


def test_check_exits_with_one_where_something_is_not_as_expected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = {"denied_at_most": 0.0}, {"denied_at_most": 0.0, "hour_over_target_at_most": 0.1}
    assert simulate(file(tmp_path, expect=good), check=True) == 0
    assert "met: denied_at_most 0, found 0" in capsys.readouterr().out
    assert simulate(file(tmp_path, expect=bad), check=True) == NOT_AS_EXPECTED
    assert "NOT MET: hour_over_target_at_most 0.1, found nothing" in capsys.readouterr().out
    assert simulate(file(tmp_path, expect=bad)) == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"traffic": {}}, "traffic.per_second: Field required: add it"),
        ({"population": {"records": "none.jsonl"}}, "none.jsonl: cannot be read"),
        ({"population": {"records": "r.jsonl", "policy": "no.json"}}, "no.json: cannot be used"),
        (
            {"population": {"kinds": {"a": {"disagreement": 0.5, "auroc": 0.9999}}}},
            "auroc: no population has 0.9999",
        ),
    ],
)
def test_what_cannot_be_played_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, object], words: str
) -> None:
    assert simulate(file(tmp_path, **changes)) == CANNOT_SIMULATE
    assert words in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate(file(tmp_path), minutes=1, json=tmp_path / "no" / "x.json") == CANNOT_SIMULATE
    assert "Cannot write" in capsys.readouterr().err


def test_recorded_requests_are_asked_again(tmp_path: Path) -> None:
    records = written(tmp_path / "r.jsonl", answers(300))
    drift = [{"kind": "topic_drift", "at_minute": 5, "shares": {"odd": 1.0}}]
    path = file(tmp_path, population={"records": records.name}, events=drift)
    at = tmp_path / "found.json"
    assert simulate(path, json=at) == 0
    found = json.loads(at.read_text())["each_run"][0]
    assert 0.0 < found["kept_share"] < 1.0
    assert found["requests"] == pytest.approx(3000, rel=0.1)


def test_a_policys_head_start_is_taken_along(tmp_path: Path) -> None:
    documents = list(answers(150))
    written(tmp_path / "r.jsonl", documents)
    known = head_start_of([0.9, 0.8, 0.5], [(0.95, 0.0)] * 200 + [(0.6, 1.0)] * 20)
    policy = document_of(documents, 0.3) | {"head_start": head_start_document(known)}
    (tmp_path / "p.json").write_text(json.dumps(policy))
    at = tmp_path / "found.json"
    path = file(
        tmp_path,
        population={"records": "r.jsonl", "policy": "p.json"},
        cascade={"objective": QUALITY, **PRICES},
    )
    assert simulate(path, minutes=1, json=at) == 0
    shown = json.loads(at.read_text())["first_run"]["shown"]
    assert (shown["epoch"], shown["evidence"]["levels"]) == (1, 3)
    assert shown["evidence"]["level"] is not None


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_beginning_of_every_example_is_played(path: Path, tmp_path: Path) -> None:
    at, pictures = tmp_path / "found.json", tmp_path / "pictures"
    is_drawn = path.stem in {"quality-steady", "three-replicas"}
    assert simulate(path, minutes=2, json=at, out=pictures if is_drawn else None) == 0
    found = json.loads(at.read_text())
    assert found["each_run"][0]["requests"] > 100
    if is_drawn:
        for kind in ("png", "svg"):
            assert (pictures / f"{path.stem}.{kind}").stat().st_size > 10_000


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_comes_out_as_it_expects(path: Path) -> None:
    runs = {"quality-steady": 100, "quality-regression": 40, "topic-drift": 20}
    assert simulate(path, runs=runs.get(path.stem, 1), check=True) == 0


def test_the_page_has_every_key_measure_and_expectation() -> None:
    page = (ROOT / "docs" / "simulating.md").read_text()
    missing = [name for name in LIMITS if f"`{name}`" not in page]
    missing += [words for words, _ in WORDS.values() if words not in page]
    assert not missing


def test_the_page_shows_a_scenario_that_is_valid(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "simulating.md").read_text()
    shown = page.split("```yaml\n")[1].split("```")[0]
    path = tmp_path / "shown.yaml"
    path.write_text(shown)
    written(tmp_path / "records.jsonl", answers(120))
    (tmp_path / "policy.json").write_text("{}")
    assert yaml.safe_load(shown)["cascade"]["student"]["price"].keys() == {"input", "output"}
    assert simulate(path, minutes=1) == CANNOT_SIMULATE  # an empty policy: all else was read


def test_serving_loads_nothing_of_it() -> None:
    code = "import sys, understudy.serve; print(sorted(m for m in ('numpy', 'scipy', 'matplotlib', "
    code += "'evaluation') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "[]\n", done.stderr
