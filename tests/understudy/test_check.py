from pathlib import Path

import pytest
import yaml

from tests.fakes.serving import cascade_document, closed_port_url
from understudy.check import CONFIG_EXIT_CODE, check


def test_a_valid_file_is_told_so_and_nobody_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    url = closed_port_url()
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({"cascades": {"assistant": cascade_document(url, url)}}))
    assert check(path) == 0
    said = capsys.readouterr().out
    for words in ("upstream-student", "upstream-teacher", url, "0.02/0.06", "No policy", "valid"):
        assert words in said


def test_named_models_are_told_with_what_they_serve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    path = tmp_path / "c.yaml"
    model = {"base_url": "http://m/v1", "model": "bge-m3", "serves": ["score", "embeddings"]}
    cascades = {"assistant": cascade_document("http://s", "http://t")}
    path.write_text(yaml.safe_dump({"cascades": cascades, "models": {"emb": model}}))
    assert check(path) == 0
    said = capsys.readouterr().out
    for words in ("emb", "embeddings, score", "bge-m3", "http://m/v1", "unknown"):
        assert words in said
    locked = model | {"api_key_env": "NO_SUCH_KEY"}
    path.write_text(yaml.safe_dump({"cascades": cascades, "models": {"emb": locked}}))
    assert check(path) == CONFIG_EXIT_CODE
    assert "models.emb.api_key_env" in capsys.readouterr().err.replace("\n", "")


def test_an_invalid_file_is_told_so_with_the_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.yaml"
    document = cascade_document("http://a", "http://b", streaming={"hold_tokens": 17})
    path.write_text(yaml.safe_dump({"cascades": {"assistant": document}}))
    assert check(path) == CONFIG_EXIT_CODE
    assert "streaming.hold_tokens" in capsys.readouterr().err


def test_the_comparator_is_told_and_whether_anybody_chose_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.yaml"
    said = []
    for changes in ({}, {"comparator": {"kind": "label", "labels": ["yes", "no"]}}):
        document = cascade_document("http://a", "http://b", **changes)
        path.write_text(yaml.safe_dump({"cascades": {"assistant": document}}))
        assert check(path) == 0
        said.append(capsys.readouterr().out)
    assert "Compares answers by normalised-1" in said[0]
    assert "Nobody chose that" in said[0]
    assert "Compares answers by label-1(yes,no), the same from 1." in said[1]
    assert "Nobody chose that" not in said[1]


def test_an_address_is_told_whole_on_a_narrow_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    url = "http://" + "a-long-name." * 5 + "example"
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({"cascades": {"assistant": cascade_document(url, url)}}))
    assert check(path) == 0
    cells = [line.split("\u2502") for line in capsys.readouterr().out.splitlines()]
    server = "".join(row[3].strip() for row in cells if len(row) == 6)
    assert server == (url + "/v1") * 2


def test_what_can_hardly_be_meant_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.yaml"
    document = cascade_document("http://a", "http://b", student={"timeout_seconds": 5})
    path.write_text(yaml.safe_dump({"cascades": {"assistant": document}}))
    assert check(path) == 0
    assert "assistant: streaming.hold_seconds" in capsys.readouterr().out


def test_so_many_drafts_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yaml"
    document = cascade_document("http://a", "http://b", samples=3)
    path.write_text(yaml.safe_dump({"cascades": {"assistant": document}}))
    assert check(path) == 0
    assert "Asks for 3 drafts" in capsys.readouterr().out


def test_a_rent_and_a_budget_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    rent = {"price": {"gpu_usd_per_hour": 3.2, "gpus": 8}}
    document = cascade_document("http://a", "http://b", teacher=rent, budget={"usd_per_month": 500})
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({"cascades": {"assistant": document}}))
    assert check(path) == 0
    said = capsys.readouterr().out
    assert "8 x 3.2 USD an hour, by time" in said
    assert "Budget: 500 USD a month; nothing is refused for it." in said
    assert "teacher.price: without a reference" in said


def test_the_keys_file_is_looked_at_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, keys = tmp_path / "c.yaml", tmp_path / "keys.yaml"
    document = cascade_document("http://a", "http://b")
    path.write_text(yaml.safe_dump({"cascades": {"assistant": document}}))
    entry = {"name": "ann", "sha256": "0" * 64, "models": ["assistant"]}
    said = []
    for changes in ({}, {"models": ["writer"]}, {"expires": "2026-01-01"}):
        keys.write_text(yaml.safe_dump({"keys": [entry | changes]}))
        assert check(path, keys_file=keys) == 0
        said.append(capsys.readouterr().out)
    assert f"Keys in {keys}: 1." in said[0]
    assert "key ann" not in said[0]
    assert "there is no writer here" in said[1]
    assert "expired at 2026-01-01T00:00:00Z" in said[2]
    keys.write_text("keys: [{name: ann}]")
    assert check(path, keys_file=keys) == CONFIG_EXIT_CODE
    assert "keys.0.sha256" in capsys.readouterr().err
