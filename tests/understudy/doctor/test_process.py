"""What is said of a gateway's own process: settings, address, keys, state directory."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet

from gateway.settings import Settings
from understudy.doctor.findings import Finding, State, Subject
from understudy.doctor.process import process_findings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "HOST",
        "OPS_PORT",
        "KEYS_FILE",
        "STATE_DIR",
        "PAIRS_KEYS",
        "INSECURE",
        "KEYS_IN_REDIS",
        "REDIS_URL",
    ):
        monkeypatch.delenv(f"UNDERSTUDY_{name}", raising=False)


def found(subject: Subject, **settings: Any) -> Finding:
    """What is said of one subject where a gateway has these settings."""
    made = Settings.model_validate({"config": "c.yaml", **settings})
    (finding,) = [each for each in process_findings(made) if each.subject is subject]
    assert bool(finding.advice) is (finding.state in (State.HINT, State.PROBLEM))
    return finding


def keys_file(folder: Path, **changes: Any) -> Path:
    path = folder / "keys.yaml"
    key = {"name": "team", "sha256": hashlib.sha256(b"a long key").hexdigest()} | changes
    path.write_text(yaml.safe_dump({"keys": [key]}))
    return path


def test_a_variable_that_is_no_setting_is_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(Subject.SETTINGS).state is State.OK
    monkeypatch.setenv("UNDERSTUDY_REDDIS_URL", "redis://somewhere")
    finding = found(Subject.SETTINGS)
    assert (finding.state, finding.saw) == (State.HINT, "UNDERSTUDY_REDDIS_URL")


@pytest.mark.parametrize(
    ("settings", "state"),
    [
        ({}, State.OK),
        ({"host": "0.0.0.0", "insecure": True}, State.HINT),  # which is looked for
    ],
)
def test_an_address_that_is_open_to_all_is_a_hint(settings: dict[str, Any], state: State) -> None:
    assert found(Subject.ADDRESS, **settings).state is state


def test_an_address_with_keys_and_a_port_for_metrics_is_well(tmp_path: Path) -> None:
    settings = {"host": "0.0.0.0", "keys_file": keys_file(tmp_path)}  # as in a pod
    assert found(Subject.ADDRESS, **settings).state is State.OK
    assert found(Subject.METRICS, **settings).state is State.HINT
    assert found(Subject.METRICS, **settings, ops_port=8081).state is State.OK
    assert found(Subject.KEYS, **settings).saw == f"1 in {settings['keys_file']}"


def test_keys_that_no_gateway_starts_with_are_a_problem(tmp_path: Path) -> None:
    path = keys_file(tmp_path, sha256="a long key")
    finding = found(Subject.KEYS, keys_file=path)
    assert finding.state is State.PROBLEM
    assert "keys.0.sha256" in finding.advice
    assert "a long key" not in finding.advice
    assert found(Subject.KEYS).state is State.SKIPPED


def test_keys_that_are_over_or_nobodys_are_a_hint(tmp_path: Path) -> None:
    finding = found(Subject.KEYS, keys_file=keys_file(tmp_path, expires="2026-01-01"))
    assert finding.state is State.HINT
    assert "understudy keys revoke team" in finding.advice
    nobody = tmp_path / "nobody.yaml"
    nobody.write_text("keys: []")
    assert found(Subject.KEYS, keys_file=nobody).state is State.HINT


def test_a_key_for_a_model_that_nobody_serves_is_a_hint(tmp_path: Path) -> None:
    path = keys_file(tmp_path, models=["assistant"])
    made = Settings.model_validate({"config": "c.yaml", "keys_file": path})
    for models, state in ((["assistant"], State.OK), (["writer"], State.HINT)):
        (finding,) = [f for f in process_findings(made, models) if f.subject is Subject.KEYS]
        assert finding.state is state


def test_an_address_whose_keys_are_in_redis_is_well() -> None:
    settings = {"host": "0.0.0.0", "keys_in_redis": True, "redis_url": "redis://r"}
    assert found(Subject.ADDRESS, **settings).state is State.OK
    assert found(Subject.KEYS, **settings).saw == "in Redis alone"


def test_a_state_directory_that_nobody_named_is_not_looked_for() -> None:
    made = Settings.model_validate({"config": "c.yaml"})
    assert Subject.STATE_DIRECTORY not in [each.subject for each in process_findings(made)]


def test_a_state_directory_must_hold_the_journal(tmp_path: Path) -> None:
    (tmp_path / "segment").write_bytes(bytes(2**20))
    finding = found(Subject.STATE_DIRECTORY, state_dir=tmp_path, journal_max_bytes=2**20)
    assert finding.state is State.OK
    assert "1 MiB taken; the journal may take 1 MiB" in finding.saw
    finding = found(Subject.STATE_DIRECTORY, state_dir=tmp_path, journal_max_bytes=2**60)
    assert finding.state is State.PROBLEM
    assert "UNDERSTUDY_JOURNAL_MAX_BYTES" in finding.advice
    total = shutil.disk_usage(tmp_path).total  # of which something is taken
    finding = found(Subject.STATE_DIRECTORY, state_dir=tmp_path, journal_max_bytes=total)
    assert finding.state is State.HINT


def test_a_state_directory_that_is_to_be_made_is_looked_at_where_it_will_be(
    tmp_path: Path,
) -> None:
    path = tmp_path / "not" / "yet"
    finding = found(Subject.STATE_DIRECTORY, state_dir=path, journal_max_bytes=2**20)
    assert finding.state is State.OK
    assert not path.exists()


def test_a_state_directory_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    finding = found(Subject.STATE_DIRECTORY, state_dir=path / "state", journal_max_bytes=2**20)
    assert finding.state is State.PROBLEM
    assert "UNDERSTUDY_STATE_DIR" in finding.advice


def test_keys_for_pairs_are_tried() -> None:
    key = Fernet.generate_key().decode()
    assert found(Subject.ENCRYPTION, pairs_keys=key).state is State.OK
    finding = found(Subject.ENCRYPTION, pairs_keys="no-key-at-all")
    assert finding.state is State.PROBLEM
    assert "no-key-at-all" not in finding.advice
