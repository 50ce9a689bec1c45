import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fakes.serving import cascade_document, load_gateway

MODEL: dict[str, Any] = {"base_url": "http://m/v1", "model": "m"}


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({"serves": ["embeddings", "tokenize"]}, ["emb"]),
        ({"serves": ["embeddings"], "price": {"input": 0}}, []),
        ({"serves": ["tokenize", "detokenize"]}, []),
    ],
)
def test_a_named_model_without_a_price_is_told_where_it_costs_something(
    tmp_path: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
    changes: dict[str, Any],
    warned: list[str],
) -> None:
    keys = tmp_path / "keys.yaml"
    digest = hashlib.sha256(b"key-of-ann").hexdigest()
    keys.write_text(yaml.safe_dump({"keys": [{"name": "a", "sha256": digest, "models": ["emb"]}]}))
    settings = {"log_level": "warning", "keys_file": keys}
    cascade = cascade_document("http://s", "http://t")
    load_gateway(tmp_path, cascade, settings, models={"emb": MODEL | changes})
    lines = [json.loads(line) for line in capfdbinary.readouterr().err.splitlines()]
    assert [line["model"] for line in lines if line["event"] == "no_price"] == warned
    # A key that names such a model names something that there is.
    assert not [line for line in lines if line["event"] == "doubtful_setting"]
