import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config_file import ConfigError
from gateway.key_entries import doubts_about_keys, entry_in, load_keys, read_entries
from gateway.keys import KeyLimits, Tenant

CONSENT = ("may_store", "may_train", "may_escalate")
HASH = hashlib.sha256(b"key-of-ann").hexdigest()


def sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def written(folder: Path, content: Any) -> Path:
    path = folder / "keys.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def ann(folder: Path, **said: Any) -> Tenant | None:
    entry = {"name": "ann", "sha256": HASH, **said}
    return load_keys(written(folder, {"keys": [entry]})).tenant(b"Bearer key-of-ann")


def test_a_key_may_do_all_that_needs_no_right_of_its_own(tmp_path: Path) -> None:
    assert ann(tmp_path) == Tenant("ann", key="ann")


def test_all_that_can_be_said_of_a_key_is_taken(tmp_path: Path) -> None:
    limits = {
        "requests_per_minute": 60,
        "tokens_per_minute": 90_000,
        "usd_per_day": 2.5,
        "max_open_requests": 8,
    }
    assert ann(
        tmp_path,
        tenant="search",
        models=["assistant", "writer"],
        may_pin=True,
        may_administer=True,
        dial=[0.5, 1],
        limits=limits,
        expires="2100-01-31T18:00:00+02:00",
    ) == Tenant(
        "search",
        key="ann",
        models=frozenset({"assistant", "writer"}),
        may_pin=True,
        may_administer=True,
        dial=(0.5, 1.0),
        limits=KeyLimits(60, 90_000, 2_500_000_000_000, 8),
        expires_at=datetime(2100, 1, 31, 16, tzinfo=UTC).timestamp(),
    )


@pytest.mark.parametrize("withheld", CONSENT)
def test_a_tenant_may_do_all_that_is_not_withheld(tmp_path: Path, withheld: str) -> None:
    tenant = ann(tmp_path, **{withheld: False})
    assert tenant is not None
    assert {name for name in CONSENT if not getattr(tenant, name)} == {withheld}


def test_several_keys_of_one_tenant_hold_at_once(tmp_path: Path) -> None:
    entries = [{"name": f"ann-{n}", "tenant": "ann", "sha256": sha256(f"k{n}")} for n in (1, 2)]
    keys = load_keys(written(tmp_path, {"keys": entries}))
    assert keys.tenant(b"Bearer k1") == Tenant("ann", key="ann-1")
    assert keys.tenant(b"Bearer k2") == Tenant("ann", key="ann-2")


def test_without_a_file_and_keys_in_redis_no_key_is_asked_for(tmp_path: Path) -> None:
    assert load_keys(None).is_open
    assert not load_keys(None, is_in_redis=True).is_open
    assert not load_keys(written(tmp_path, {"keys": []})).is_open


@pytest.mark.parametrize("value", ["false", 0, None, "no"])
def test_what_is_agreed_is_said_with_true_or_false(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ConfigError, match=r"keys\.0\.may_train: .*: write true or false"):
        ann(tmp_path, may_train=value)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2027-01-31", "2027-01-31T00:00:00Z"),
        ("'2027-01-31'", "2027-01-31T00:00:00Z"),
        ("2027-01-31T18:00:00Z", "2027-01-31T18:00:00Z"),
        ("'2027-01-31T18:00:00+02:00'", "2027-01-31T16:00:00Z"),
    ],
)
def test_a_key_expires_at_an_instant_or_as_a_day_begins(
    tmp_path: Path, text: str, instant: str
) -> None:
    path = written(tmp_path, f"keys: [{{name: ann, sha256: '{HASH}', expires: {text}}}]")
    (entry,) = read_entries(path)
    assert entry.document()["expires"] == instant


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"expires": "2027-01-31 18:00:00"}, r"keys\.0\.expires: must say its time zone"),
        ({"expires": "next year"}, r"keys\.0\.expires: must be a day such as"),
        ({"expires": 2027}, r"keys\.0\.expires: must be a day such as"),
        ({"dial": [0.9, 0.1]}, "dial: the first number must not be above the second"),
        ({"dial": [0.9]}, r"keys\.0\.dial"),
        ({"dial": [0, 1.1]}, r"keys\.0\.dial\.1: .*choose one in that range"),
        ({"models": []}, r"keys\.0\.models: .*add one"),
        ({"models": "assistant"}, r"keys\.0\.models: .*write a list"),
        ({"limits": {"requests_per_minute": 0}}, r"requests_per_minute: .*in that range"),
        ({"limits": {"requests_per_hour": 1}}, r"requests_per_hour: .*has a `name`"),
        ({"limits": {"usd_per_day": "5"}}, r"usd_per_day: .*write the number alone"),
        ({"limits": {"max_open_requests": True}}, r"max_open_requests: .*whole number"),
        ({"tenant": "a b"}, r"keys\.0\.tenant: .*in that form"),
    ],
)
def test_what_a_key_cannot_say_is_refused(
    tmp_path: Path, said: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        ann(tmp_path, **said)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "keys"),
        ("", "the file: must hold keys and values"),
        ("keys: [", "YAML"),
        ({"keys": [{"name": "ann", "sha256": "key-of-ann"}]}, "sha256sum"),
        ({"keys": [{"name": "ann", "key": "x"}]}, "keys.0"),
        (
            {"keys": [{"name": "ann", "sha256": sha256("x"), "may_trian": False}]},
            r"keys\.0\.may_trian: .*may_train",
        ),
        ({"keys": [{"name": "a b", "sha256": sha256("x")}]}, "keys.0.name"),
        ({"keys": [{"name": "ann", "sha256": sha256("changeme")}]}, "placeholder"),
        ({"keys": [{"name": "ann", "sha256": sha256("")}]}, "placeholder"),
        ({"keys": [{"name": "a", "sha256": sha256(k)} for k in ("k1", "k2")]}, "twice"),
        ({"keys": [{"name": n, "sha256": sha256("k")} for n in ("a", "b")]}, "a key .* twice"),
        ("keys: []\nkeys: []", "line 2: 'keys' stands there twice"),
        ("[" * 1000, "nested too deeply"),
    ],
)
def test_a_file_that_is_no_key_file_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_keys(written(tmp_path, content))
    assert "key-of-ann" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: No such file.*UNDERSTUDY_KEYS_FILE"):
        load_keys(tmp_path / "nowhere")


def test_an_entry_says_the_same_in_redis_as_in_the_file(tmp_path: Path) -> None:
    said = {
        "tenant": "search",
        "models": ["assistant"],
        "dial": [0.5, 0.9],
        "limits": {"usd_per_day": 2.5},
        "expires": "2027-01-31T18:00:00Z",
    }
    (entry,) = read_entries(written(tmp_path, {"keys": [{"name": "ann", "sha256": HASH, **said}]}))
    assert entry_in("ann", json.dumps(entry.document()).encode()) == entry


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'{{"name": "bob", "sha256": "{HASH}"}}', "name: it says 'bob'"),
        ('{"name": "ann"}', "sha256"),
        ("{", "JSON"),
        (f'{{"name": "ann", "sha256": "{HASH}", "may_fly": true}}', "may_fly"),
    ],
)
def test_what_is_no_entry_in_redis_is_refused_without_its_hash(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        entry_in("ann", text.encode())
    assert HASH not in str(caught.value)


def test_what_can_hardly_be_meant_is_said(tmp_path: Path) -> None:
    entries = [
        {"name": "old", "sha256": sha256("1"), "expires": "2026-01-01"},
        {"name": "odd", "sha256": sha256("2"), "models": ["assistant", "asistant"]},
        {"name": "ann", "sha256": HASH, "expires": "2028-01-01", "models": ["assistant"]},
    ]
    found = load_keys(written(tmp_path, {"keys": entries})).tenants.values()
    now = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    old, odd = doubts_about_keys(found, {"assistant"}, now)
    assert old.startswith("key old: expired at 2026-01-01T00:00:00Z: remove it")
    assert odd.startswith("key odd: models: there is no asistant here")
