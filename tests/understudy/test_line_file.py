from pathlib import Path

import pytest

from understudy import line_file as file_module
from understudy.line_file import LineFile, LineFileError


def test_what_was_appended_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "r.jsonl"
    file = LineFile(path)
    assert list(file.lines()) == []
    file.append({"id": "a", "text": "\u2028\n"})
    file.close()
    file = LineFile(path)
    file.append({"id": "b"})
    assert [each["id"] for each in file.lines()] == ["a", "b"]
    assert path.read_bytes().count(b"\n") == 2
    file.close()


@pytest.mark.parametrize("block", [3, 2**20])
@pytest.mark.parametrize("whole", [b"", b'{"id": "a"}\n', b'{"id": "a"}\n{"id": "b"}\n'])
@pytest.mark.parametrize("cut", [b"", b"{", b'{"id": "c"}', b'{"id": "c", "text": "\xc3'])
def test_a_last_line_that_was_cut_short_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, whole: bytes, cut: bytes
) -> None:
    monkeypatch.setattr(file_module, "READ_BYTES", block)
    path = tmp_path / "r.jsonl"
    path.write_bytes(whole + cut)
    file = LineFile(path)
    assert file.cut_bytes == len(cut)
    assert path.read_bytes() == whole
    file.append({"id": "z"})
    assert len(list(file.lines())) == whole.count(b"\n") + 1
    file.close()


@pytest.mark.parametrize("line", [b"no json", b"[]", b"{}", b'{"id": 1}', b"[" * 100_000])
def test_a_file_of_something_else_is_refused(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'\n{"id": "a"}\n' + line + b"\n")
    file = LineFile(path)
    with pytest.raises(LineFileError, match="line 3: is no line of this kind"):
        list(file.lines())
    file.close()


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    file = LineFile(tmp_path / "r.jsonl")
    with pytest.raises(LineFileError, match="another process is writing it"):
        LineFile(tmp_path / "r.jsonl")
    file.close()
    LineFile(tmp_path / "r.jsonl").close()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(LineFileError, match="cannot be written"):
        LineFile(tmp_path)
    with pytest.raises(LineFileError, match=r"without \.gz"):
        LineFile(tmp_path / "r.jsonl.gz")
