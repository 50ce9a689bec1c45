from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cascades import load_cascades
from gateway.config_file import ConfigError
from gateway.named_models import load_models
from gateway.wire.media import MediaRules
from gateway.wire.passing import PassedRoute
from routing.money import Price
from tests.fakes.serving import cascade_document

MODEL: dict[str, Any] = {
    "base_url": "http://embedder:8000/v1",
    "model": "bge-m3",
    "serves": ["embeddings", "tokenize"],
}
CASCADE = cascade_document("http://student", "http://teacher")
SECRETS = {"EMBEDDER_KEY": "secret"}.get


def written(folder: Path, models: Any) -> Path:
    path = folder / "cascades.yaml"
    path.write_text(yaml.safe_dump({"cascades": {"assistant": CASCADE}, "models": models}))
    return path


def test_a_model_is_read_with_all_that_is_said_of_it(tmp_path: Path) -> None:
    said = MODEL | {
        "api_key_env": "EMBEDDER_KEY",
        "price": {"input": 0.02},
        "timeout_seconds": 5.0,
        "max_concurrent": 3,
        "media": {"hosts": ["a.example"]},
    }
    path = written(tmp_path, {"bge": said, "other": MODEL})
    assert [each.name for each in load_cascades(path, SECRETS)] == ["assistant"]
    model, other = load_models(path, SECRETS)
    assert (model.name, model.key, other.key) == ("bge", "secret", None)
    assert model.config.serves == {PassedRoute.EMBEDDINGS, PassedRoute.TOKENIZE}
    assert model.config.price is not None
    assert model.config.price.price() == Price(20_000, 20_000, 0, 0)
    assert model.config.media.rules() == MediaRules(hosts=frozenset({"a.example"}))
    assert (model.config.timeout_seconds, model.config.max_concurrent) == (5.0, 3)
    assert other.config.price is None


def test_there_need_be_none(tmp_path: Path) -> None:
    path = tmp_path / "cascades.yaml"
    path.write_text(yaml.safe_dump({"cascades": {"assistant": CASCADE}}))
    assert load_models(path, SECRETS) == ()


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ({"assistant": MODEL}, "cascades.assistant and models.assistant have one name: rename one"),
        ({"a": MODEL | {"serves": []}}, "models.a.serves"),
        ({"a": MODEL | {"serves": ["chat"]}}, "models.a.serves.0"),
        ({"a": MODEL | {"base_url": "file:///x"}}, "models.a.base_url: must start with http://"),
        (
            {"a": MODEL | {"base_url": ["http://h/v1"]}},
            "models.a.base_url: Input should be a valid string, got a list: name one here",
        ),
        ({"a": MODEL | {"price": {"output": 1}}}, "models.a.price.input: Field required: add it"),
        ({"a": MODEL | {"price": {"gpu_usd_per_hour": 1}}}, "models.a.price.gpu_usd_per_hour"),
        ({"a": MODEL | {"media": {"hosts": ["*"]}}}, "models.a.media.hosts.0: must be a host"),
        ({"a:b": MODEL}, "models.a:b"),
        ({"a": {"model": "x"}}, "models.a.base_url"),
        (None, "models: is empty"),
    ],
)
def test_what_is_wrong_is_told_with_its_path(tmp_path: Path, models: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_cascades(written(tmp_path, models), SECRETS)
    assert words in str(caught.value)


def test_every_missing_key_is_told(tmp_path: Path) -> None:
    models = {name: MODEL | {"api_key_env": f"KEY_{name.upper()}"} for name in ("a", "b")}
    with pytest.raises(ConfigError) as caught:
        load_models(written(tmp_path, models), SECRETS)
    first, second = str(caught.value).splitlines()
    assert "models.a.api_key_env: the environment has no 'KEY_A'" in first
    assert "models.b.api_key_env: the environment has no 'KEY_B'" in second
