import json
import re
import shlex
import subprocess
import sys

import pytest

from deploy.needs import Inputs, plan
from deploy.sizing import WORKED, main, number
from tests.architecture.source import ROOT

SCRIPT = ROOT / "deploy/sizing.py"
PAGE = (ROOT / "deploy/sizing.md").read_text(encoding="utf-8")
PRINTED = re.findall(
    r"^<!-- printed by: python deploy/sizing\.py (.*) -->\n\n((?:\|.*\n)+)", PAGE, re.MULTILINE
)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def test_it_runs_from_any_folder_on_the_standard_library_alone() -> None:
    # -S: nothing that is installed is found.
    command = [sys.executable, "-E", "-S", str(SCRIPT), "--show", "inputs"]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True)
    assert "--requests-per-second" in done.stdout


@pytest.mark.parametrize(("arguments", "table"), PRINTED)
def test_the_pages_tables_are_what_the_script_prints(
    arguments: str, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert table == printed(capsys, *shlex.split(arguments))


def test_the_page_has_the_inputs_a_plan_and_the_worked_loads() -> None:
    assert len(PRINTED) >= 3


def test_the_json_says_what_the_table_says(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(printed(capsys, "--json"))
    needed = plan(Inputs())
    assert told["plan"]["usd"] == pytest.approx(sum(told["plan"]["bill"].values()))
    assert told["plan"]["fleets"]["students"]["needed"] == needed.fleets.students.needed
    rows = printed(capsys).splitlines()
    assert re.split(r"\s{2,}", rows[3])[:2] == [
        "students needed",
        str(needed.fleets.students.needed),
    ]


def test_users_a_week_become_requests_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(
        printed(capsys, "--weekly-users", "604800", "--weekly-requests", "3", "--json")
    )
    assert told["inputs"]["load"]["requests_per_second"] == pytest.approx(3)


def test_every_option_reaches_the_arithmetic(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "--show", "inputs").splitlines()[1:]
    options = [re.split(r"\s{2,}", line)[:2] for line in lines]
    before = json.loads(printed(capsys, "--show", "inputs", "--json"))
    seen = set()
    for option, default in options:
        value = float(default.replace(",", "")) * 0.999
        after = json.loads(
            printed(capsys, "--show", "inputs", "--json", option.strip("`"), str(value))
        )
        changed = [
            (part, name)
            for part, values in after.items()
            for name in values
            if values[name] != before[part][name]
        ]
        assert len(changed) == 1, option
        seen.update(changed)
    assert len(seen) == len(options) == sum(map(len, before.values()))


def test_the_worked_loads_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    head = printed(capsys, "--show", "worked", "--markdown").splitlines()[0]
    assert head == f"| what | {' | '.join(name for name, _ in WORKED)} |"
    assert list(json.loads(printed(capsys, "--show", "worked", "--json"))) == [
        name for name, _ in WORKED
    ]


def test_what_cannot_be_is_told_and_nothing_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--escalation-rate", "2"])
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert "escalation_rate is a share" in told.err
    assert not told.out


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1e-9, "< 0.001"), (0.01234, "0.0123"), (12.0, "12"), (1234.5, "1,234")],
)
def test_a_number_has_the_digits_that_it_deserves(value: float, text: str) -> None:
    assert number(value) == text
