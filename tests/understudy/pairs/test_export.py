"""Exporting and consolidating, as operators do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from distill.deletions import Deletion
from distill.rows import Format
from tests.fakes.pair_log import fill
from tests.fakes.pairs import NOON, encoded, pair
from tests.understudy.commands import Command
from understudy.pairs.store import Log
from understudy.telling import CANNOT


def test_export_makes_parts_and_a_data_set(command: Command, log: Log, tmp_path: Path) -> None:
    fill(log, [pair(number) for number in range(30)])
    out = tmp_path / "out"
    shown = command.said("export", str(out), "--format", "sft", "--format", "dpo", "--trim")
    assert "Exported 30 pairs in 1 parts." in shown
    assert "Trimmed 30 entries" in shown
    assert (out / "dataset" / "dpo-train.jsonl").exists()
    drained, card = command.said("export", str(out), "--json").splitlines()
    assert json.loads(drained)["exported"] == 0
    assert json.loads(card)["source"]["records"] == 30


def test_the_time_after_which_others_count_as_dead_is_finite(
    command: Command, log: Log, tmp_path: Path
) -> None:
    fill(log, [pair(1)])
    for seconds in ("inf", "1e30"):
        with pytest.raises(SystemExit):
            command.status("export", str(tmp_path / "out"), "--reclaim-seconds", seconds)


def test_a_worker_leaves_the_data_set_to_another(
    command: Command, log: Log, tmp_path: Path
) -> None:
    fill(log, [pair(1), b"nonsense"])
    shown = command.said("export", str(tmp_path / "out"), "--no-consolidate")
    assert "1 entries are no pairs" in shown
    assert not (tmp_path / "out" / "dataset").exists()


def test_a_worker_takes_no_wishes_for_a_data_set(
    command: Command, log: Log, tmp_path: Path
) -> None:
    fill(log, [pair(1)])
    wishes = ["--no-consolidate", "--format", "dpo"]
    assert command.status("export", str(tmp_path), *wishes) == CANNOT
    assert "pairs consolidate" in command.error
    assert not list(tmp_path.iterdir())


def test_consolidate_needs_no_redis(
    log: Log, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv("UNDERSTUDY_REDIS_URL", raising=False)
    fill(log, [pair(number) for number in range(30)])
    log.delete(Deletion(NOON, request_id="req-3"))
    out = str(tmp_path / "out")
    command.said("export", out, "--no-consolidate")
    log.delete(Deletion(NOON, request_id="req-4"))
    elsewhere = str(tmp_path / "elsewhere")
    alone = Command(capsys, None)
    card = json.loads(alone.said("consolidate", out, "--json", "--out", elsewhere))
    assert card["steps"][0]["in"] == 29
    assert card["steps"][0]["left_out"] == {}
    assert (tmp_path / "elsewhere" / "card.json").exists()
    card = json.loads(command.said("consolidate", out, "--json"))
    assert card["steps"][0]["left_out"] == {"deleted": 1}


def test_what_an_export_cannot_do_is_said_before_anything_is_taken(
    command: Command, log: Log, tmp_path: Path
) -> None:
    fill(log, [pair(1)])
    config = tmp_path / "cascades.yaml"
    assert command.status("export", str(tmp_path), "--config", str(config)) == CANNOT
    assert "cascades.yaml: cannot be read" in command.error
    assert command.status("export", str(tmp_path), "--since", "soon") == CANNOT
    assert "--since: 'soon' is no time" in command.error
    assert command.status("export", "nowhere://x") == CANNOT
    assert log.client.xinfo_groups(log.key("pairs")) == []


def test_a_disk_that_is_full_is_said_so(
    command: Command, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(log, [pair(1)])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert command.status("export", str(tmp_path / "out")) == CANNOT
    assert "No space left on device" in command.error


def test_a_wish_that_is_none_stops_an_export(command: Command, log: Log, tmp_path: Path) -> None:
    """What it was to delete would be exported."""
    fill(log, [pair(1)])
    log.client.xadd(log.deletions_key, {"request_id": "req-1"})
    assert command.status("export", str(tmp_path / "out")) == CANNOT
    assert "needs time, and request_id or tenant" in command.error


def test_a_missing_extra_is_named() -> None:
    without = "import sys; sys.modules['pyarrow'] = None; from understudy.__main__ import main; "
    done = subprocess.run(
        [sys.executable, "-c", f"{without} main()", "pairs", "consolidate", "somewhere"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip() == "This needs pyarrow: pip install 'understudy[pairs]'"


def test_every_format_has_its_name_on_the_command_line(
    command: Command, log: Log, tmp_path: Path
) -> None:
    fill(log, [encoded(pair(number)) for number in range(9)])
    named = [part for form in Format for part in ("--format", form.value)]
    shown = json.loads(
        command.said("export", str(tmp_path), *named, "--holdout", "0", "--json").splitlines()[1]
    )
    assert list(shown["formats"]) == [form.value for form in Format]
