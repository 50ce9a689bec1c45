import inspect
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.settings import WITHOUT_OPTION, Settings, read_secret, spelled, unknown_variables
from understudy.serve import serve


def settings(**changes: Any) -> Settings:
    return Settings.model_validate({"config": "c.yaml"} | changes)


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_CONFIG", "c.yaml")
    monkeypatch.setenv("UNDERSTUDY_PORT", "9000")
    monkeypatch.setenv("UNDERSTUDY_REDIS_URL", "redis://:pw@h")
    read = Settings()
    assert read.config == Path("c.yaml")
    assert read.port == 9000
    assert "pw" not in repr(read)


def test_what_is_given_overrides_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_PORT", "9000")
    assert Settings(config=Path("c.yaml"), port=9001).port == 9001


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_needs_no_keys(host: str) -> None:
    assert settings(host=host).is_metrics_on_main_port


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", "::ffff:10.0.0.1"])
def test_any_other_address_needs_keys_or_a_clear_word(host: str) -> None:
    with pytest.raises(ValidationError, match="keys file"):
        settings(host=host)
    assert not settings(host=host, insecure=True).is_metrics_on_main_port
    assert not settings(host=host, keys_file="k.yaml").is_loopback


def test_keys_in_redis_are_keys_and_need_one() -> None:
    made = settings(host="0.0.0.0", keys_in_redis=True, redis_url="redis://r")
    assert made.asks_for_keys
    assert not settings().asks_for_keys
    with pytest.raises(ValidationError, match="UNDERSTUDY_REDIS_URL"):
        settings(keys_in_redis=True)


def test_metrics_leave_the_main_port_once_they_have_their_own() -> None:
    assert not settings(ops_port=9100).is_metrics_on_main_port


def test_two_servers_cannot_share_a_port() -> None:
    with pytest.raises(ValidationError, match="must differ"):
        settings(port=9000, ops_port=9000)
    settings(port=0, ops_port=0)


@pytest.mark.parametrize(
    ("name", "least", "below"),
    [
        ("max_body_bytes", 1, 0),
        ("max_open_requests", 1, 0),
        ("journal_max_bytes", 1024, 1023),
        ("drain_seconds", 0, -1),
        ("drain_seconds", 3600, 3601),
        ("shutdown_delay_seconds", 0, -1),
        ("shutdown_delay_seconds", 3600, 3601),
        ("port", 0, -1),
    ],
)
def test_limits_have_a_least_value(name: str, least: int, below: int) -> None:
    settings(**{name: least})
    with pytest.raises(ValidationError):
        settings(**{name: below})


def test_what_a_full_journal_means_is_one_of_two_words() -> None:
    assert settings().journal_when_full == "count"
    assert settings(journal_when_full="refuse").journal_when_full == "refuse"
    with pytest.raises(ValidationError):
        settings(journal_when_full="drop")


def test_keys_of_pairs_are_not_shown() -> None:
    assert "hunter2" not in repr(settings(pairs_keys="hunter2"))


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValidationError):
        settings(prot=1)


def test_empty_variables_are_unset_and_unknown_ones_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("UNDERSTUDY_CONFIG", "c.yaml")
    monkeypatch.setenv("UNDERSTUDY_REDIS_URL", "")
    monkeypatch.setenv("UNDERSTUDY_PROT", "9000")
    monkeypatch.setenv("UNDERSTUDY_DEMO_TEACHER_KEY", "x")
    assert Settings().redis_url is None
    assert unknown_variables() == ["UNDERSTUDY_PROT"]


def test_a_setting_is_spelled_with_the_option_only_where_there_is_one() -> None:
    assert set(Settings.model_fields) - set(inspect.signature(serve).parameters) == WITHOUT_OPTION
    assert spelled("ops_port") == "ops_port (UNDERSTUDY_OPS_PORT, --ops-port)"
    assert spelled("drain_seconds") == "drain_seconds (UNDERSTUDY_DRAIN_SECONDS)"


def test_a_secret_is_read_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "x")
    assert read_secret("SOME_KEY") == "x"
    assert read_secret("NO_SUCH_KEY") is None
