import subprocess
import sys
from pathlib import Path

import pytest

from gateway.openapi.__main__ import OUT, main
from gateway.openapi.document import as_text


def test_the_committed_document_is_what_the_code_makes() -> None:
    assert OUT.read_text(encoding="utf-8") == as_text(), "run ./dev openapi"


def test_a_stale_document_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "openapi.json"
    assert main(["--out", str(out), "--check"]) == 1
    assert main(["--out", str(out)]) == 0
    assert main(["--out", str(out), "--check"]) == 0
    out.write_text("{}")
    assert main(["--out", str(out), "--check"]) == 1
    assert "run ./dev openapi" in capsys.readouterr().err


def test_a_start_does_not_make_the_document() -> None:
    code = "import sys, gateway.app; sys.exit('gateway.openapi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
