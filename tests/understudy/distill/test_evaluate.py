"""`understudy distill evaluate` as it is typed."""

import json
from pathlib import Path

import pytest

from distill.evaluation_file import from_bytes
from evaluation.source import sha256_of
from tests.distill.contestants import good, policy, policy_written, poor, records, written
from tests.understudy.commands import Command
from understudy.telling import CANNOT

N = 240


class Distill(Command):
    name = "distill"


@pytest.fixture
def distill(capsys: pytest.CaptureFixture[str]) -> Distill:
    return Distill(capsys, None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("records")
    written(made / "new.jsonl", records(N, "s-g1", good, 2))
    written(made / "old.jsonl", records(N, "s-g0", poor, 1))
    policy_written(made / "new.json", policy("s-g1", 0.9))
    policy_written(made / "old.json", policy("s-g0", 0.9))
    return made


def asked(folder: Path, out: Path, *more: str) -> list[str]:
    candidate, incumbent = str(folder / "new.jsonl"), str(folder / "old.jsonl")
    files = ["evaluate", "--candidate", candidate, "--incumbent", incumbent, "--out", str(out)]
    return [*files, "--rounds", "200", *more]


def policies(folder: Path) -> list[str]:
    new, old = str(folder / "new.json"), str(folder / "old.json")
    return ["--candidate-policy", new, "--incumbent-policy", old]


def test_a_folder_with_the_evaluation_a_page_and_pictures(
    folder: Path, tmp_path: Path, distill: Distill
) -> None:
    out = tmp_path / "made" / "here"
    said = distill.said(*asked(folder, out, *policies(folder), "--margin", "0.1"))
    for words in ("s-g1 beside s-g0", "cascade: USD per request", "passed   bill", "Written: "):
        assert words in said
    made = from_bytes((out / "evaluation.json").read_bytes())
    assert made.candidate.records_sha256 == sha256_of(folder / "new.jsonl")
    assert "The gate will" in (out / "report.md").read_text()
    for name in ("curves", "reliability"):
        for kind in ("png", "svg", "json"):
            assert (out / f"{name}.{kind}").stat().st_size > 500
    drawn = json.loads((out / "curves.json").read_text())
    assert drawn["unit"] == "USD per 1,000 requests"
    assert drawn["policies"]["candidate"]["cost"] == pytest.approx(
        1000 * made.cascade.candidate.cost_per_request
    )
    assert not (out / "candidate-policy.json").exists()


def test_a_candidate_that_the_gate_would_refuse_is_measured_all_the_same(
    folder: Path, tmp_path: Path, distill: Distill
) -> None:
    """Promoting refuses; measuring tells."""
    same = [*asked(folder, tmp_path, *policies(folder)), "--margin", "0.001", "--json"]
    told = json.loads(distill.said(*same))
    assert told["gate"]["is_open"] is False
    refused = [each["name"] for each in told["gate"]["checks"] if not each["passed"]]
    assert "records" in refused
    assert told["evaluation"]["records"] == N
    assert "refuse the candidate" in (tmp_path / "report.md").read_text()


def test_a_fitted_policy_is_written_and_is_the_one_that_was_measured(
    folder: Path, tmp_path: Path, distill: Distill
) -> None:
    more = ["--fit", "--incumbent-policy", str(folder / "old.json"), "--target", "quality=0.8"]
    distill.said(*asked(folder, tmp_path, *more))
    made = from_bytes((tmp_path / "evaluation.json").read_bytes())
    assert made.candidate.policy_sha256 == sha256_of(tmp_path / "candidate-policy.json")
    assert made.candidate.is_fitted_here


def test_a_target_that_no_policy_holds_writes_nothing(
    folder: Path, tmp_path: Path, distill: Distill
) -> None:
    more = ["--fit", "--incumbent-policy", str(folder / "old.json"), "--target", "quality=1"]
    out = tmp_path / "out"
    assert distill.status(*asked(folder, out, *more)) == 1
    assert "Refused: no policy of the candidate's holds the target" in distill.error
    assert not out.exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "let --fit fit what is missing"),
        (["--target", "speed=1", "--fit"], "target: must be one of"),
        (["--fit"], "name it with --cascade"),
    ],
)
def test_what_it_cannot_do_is_said(
    folder: Path, tmp_path: Path, distill: Distill, more: list[str], said: str
) -> None:
    assert distill.status(*asked(folder, tmp_path / "out", *more)) == CANNOT
    assert "Cannot evaluate: " in distill.error
    assert said in distill.error
