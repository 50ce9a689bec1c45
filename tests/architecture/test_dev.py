"""The script at the root offers every command of the command line, and hands each one on."""

import re
from pathlib import Path

import pytest

from understudy.__main__ import app

DEV = (Path(__file__).parents[2] / "dev").read_text()
COMMANDS = sorted(name for name in app if not name.startswith("-"))


def test_there_are_commands() -> None:
    assert {"serve", "demo", "calibrate"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_script_tells_of_a_command_and_hands_it_on(name: str) -> None:
    usage = DEV.partition("<<'USAGE'\n")[2].partition("\nUSAGE\n")[0].splitlines()
    assert any(line.startswith(f"  {name} ") for line in usage), "not in the usage"
    assert len(set(usage) - {""}) == len([line for line in usage if line]), "a line stands twice"
    handed_on = re.search(
        r"^([a-z |]+)\)\n    ensure_installed\n    ensure_training .*\n    exec .* understudy ",
        DEV,
        re.M,
    )
    assert handed_on is not None
    assert name in handed_on[1].split(" | ")


def test_what_only_tests_need_is_installed_for_tests_alone() -> None:
    assert re.search(r'^test\)\n    ensure_tools\n    ensure_clients "\$@"\n', DEV, re.MULTILINE)
    assert len(re.findall(r"^ *ensure_(?:tools|clients \S+)$", DEV, re.MULTILINE)) == 2
