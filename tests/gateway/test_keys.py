import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config_file import ConfigError
from gateway.errors import Unauthorized
from gateway.keys import Keys, Tenant, load_keys


def sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def written(folder: Path, content: Any) -> Path:
    path = folder / "keys.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def two_keys(folder: Path) -> Keys:
    entries = [{"name": name, "sha256": sha256(f"key-of-{name}")} for name in ("ann", "bob")]
    return load_keys(written(folder, {"keys": entries}))


def test_each_key_has_its_tenant(tmp_path: Path) -> None:
    keys = two_keys(tmp_path)
    assert keys.tenant("Bearer key-of-ann") == Tenant("ann")
    assert keys.tenant("bearer  key-of-bob ") == Tenant("bob")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "key-of-ann",
        "Basic key-of-ann",
        "Bearer",
        "Bearer ",
        "Bearer key-of-ANN",
        "Bearer \udcff",
    ],
)
def test_anything_else_is_refused(tmp_path: Path, header: str | None) -> None:
    with pytest.raises(Unauthorized):
        two_keys(tmp_path).tenant(header)


def test_without_a_file_no_key_is_asked_for() -> None:
    assert load_keys(None).tenant(None) is None
    assert load_keys(None).tenant("Bearer x") is None


@pytest.mark.parametrize("withheld", ["may_store", "may_train", "may_escalate"])
def test_a_tenant_may_do_all_that_is_not_withheld(tmp_path: Path, withheld: str) -> None:
    entry = {"name": "ann", "sha256": sha256("key-of-ann"), withheld: False}
    tenant = load_keys(written(tmp_path, {"keys": [entry]})).tenant("Bearer key-of-ann")
    may = {"may_store": True, "may_train": True, "may_escalate": True} | {withheld: False}
    assert tenant == Tenant("ann", **may)


@pytest.mark.parametrize("value", ["false", 0, None, "no"])
def test_what_is_agreed_is_said_with_true_or_false(tmp_path: Path, value: Any) -> None:
    entry = {"name": "ann", "sha256": sha256("key-of-ann"), "may_train": value}
    with pytest.raises(ConfigError, match=r"keys\.0\.may_train: .*: write true or false"):
        load_keys(written(tmp_path, {"keys": [entry]}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"keys": []}, "keys"),
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
