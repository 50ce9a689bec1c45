"""LiteLLM's configuration as ours: what comes over is valid, and all else is told."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cascades import load_cascades
from gateway.named_models import load_models
from understudy.moving.command import CONFIG_EXIT_CODE, litellm
from understudy.moving.litellm import Wanted, move

CONFIG = """
model_list:
  - model_name: small
    litellm_params:
      model: hosted_vllm/qwen-4b
      api_base: http://one:8000/v1
      rpm: 60
      max_parallel_requests: 32
  - model_name: small
    litellm_params: {model: hosted_vllm/qwen-4b, api_base: http://two:8000/v1/}
  - model_name: small
    litellm_params: {model: hosted_vllm/other, api_base: http://three:8000/v1}
  - model_name: GPT Large
    litellm_params:
      model: openai/gpt-large
      api_key: os.environ/OPENAI_API_KEY
      timeout: 90
      input_cost_per_token: 0.0000025
      output_cost_per_token: 0.00001
      cache_read_input_token_cost: 0.00000125
  - model_name: claude
    litellm_params: {model: anthropic/claude, api_key: sk-ant-1234567890}
  - model_name: elsewhere
    litellm_params: {model: openai/x, api_base: os.environ/BASE}
  - model_name: embedder
    litellm_params: {model: vllm/bge-m3, api_base: http://embed:8000/v1, api_key: sk-secret-1}
    model_info: {mode: embedding, input_cost_per_token: 0.00000001, output_cost_per_token: 0}
  - model_name: speaker
    litellm_params: {model: openai/tts}
    model_info: {mode: audio_speech}
  - model_name: spare
    litellm_params: {model: openai/spare}
  - 5
litellm_settings:
  drop_params: true
  fallbacks: [{small: ["GPT Large", "spare"]}]
  odd: 1
general_settings: {master_key: sk-master-1}
environment_variables: {OPENAI_API_KEY: sk-1}
"""


def moved(text: str = CONFIG, *wanted: Wanted) -> Any:
    return move(yaml.safe_load(text), wanted)


def test_a_model_with_a_fallback_is_a_student_with_a_teacher() -> None:
    cascade = moved().document["cascades"]["small"]
    assert cascade["student"] == {
        "base_url": ["http://one:8000/v1", "http://two:8000/v1"],
        "model": "qwen-4b",
        "max_concurrent": 32,
        "version": "qwen-4b-1",
    }
    assert cascade["teacher"] == {
        "base_url": "https://api.openai.com/v1",
        "model": "gpt-large",
        "api_key_env": "OPENAI_API_KEY",
        "timeout_seconds": 90.0,
        "price": {"input": 2.5, "cached_input": 1.25, "output": 10.0},
    }


def test_models_that_embed_are_named_models() -> None:
    assert moved().document["models"]["embedder"] == {
        "base_url": "http://embed:8000/v1",
        "model": "bge-m3",
        "api_key_env": "EMBEDDER_API_KEY",
        "price": {"input": 0.01, "output": 0.0},
        "serves": ["embeddings", "tokenize", "detokenize"],
    }


def test_everything_else_is_told_with_its_place() -> None:
    assert [one.place for one in moved().left] == [
        "model_list[0].litellm_params.rpm",
        "model_list[2]",
        "model_list[4].litellm_params",
        "model_list[5].litellm_params.api_base",
        "model_list[6].litellm_params.api_key",
        "model_list[9]",
        "litellm_settings.fallbacks.small",
        "model_list[7]",
        "model_list[8]",
        "litellm_settings.drop_params",
        "litellm_settings.odd",
        "general_settings.master_key",
        "environment_variables",
    ]


def test_a_cascade_can_be_named() -> None:
    document = moved(CONFIG, Wanted("assistant", "small", "spare")).document
    assert list(document["cascades"]) == ["assistant"]
    assert document["cascades"]["assistant"]["teacher"]["model"] == "spare"


def test_a_price_of_which_a_part_is_missing_is_none() -> None:
    text = CONFIG.replace("      output_cost_per_token: 0.00001\n", "")
    assert "price" not in moved(text).document["cascades"]["small"]["teacher"]


def test_what_is_written_is_valid_and_holds_no_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "config.yaml", tmp_path / "cascades.yaml"
    source.write_text(CONFIG)
    assert litellm(source, out=out) == 0
    keys = {"OPENAI_API_KEY": "k", "EMBEDDER_API_KEY": "k"}.get
    (cascade,) = load_cascades(out, keys)
    assert cascade.config.teacher.model == "gpt-large"
    (model,) = load_models(out, keys)
    assert model.name == "embedder"
    told = out.read_text() + capsys.readouterr().err
    assert "sk-" not in told
    assert "outputs_may_train" in told


def test_it_is_written_to_standard_output_where_no_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "config.yaml"
    source.write_text(CONFIG)
    assert litellm(source, cascade=("a=small,spare",)) == 0
    assert list(yaml.safe_load(capsys.readouterr().out)["cascades"]) == ["a"]


@pytest.mark.parametrize(
    ("text", "cascade", "told"),
    [
        ("model_list: []", (), "no model of it has a fallback"),
        ("cascades: {}", (), "model_list"),
        ("5", (), "model_list"),
        (CONFIG, ("a=small",), "write NAME=STUDENT,TEACHER"),
        (CONFIG, ("a=small,nobody",), "there is no 'nobody'"),
        ("model_list: [", (), "not valid YAML"),
    ],
)
def test_what_cannot_be_read_is_told_and_nothing_is_written(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    cascade: tuple[str, ...],
    told: str,
) -> None:
    source, out = tmp_path / "config.yaml", tmp_path / "cascades.yaml"
    source.write_text(text)
    assert litellm(source, cascade=cascade, out=out) == CONFIG_EXIT_CODE
    assert told in capsys.readouterr().err
    assert not out.exists()


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    source = tmp_path / "config.yaml"
    source.write_text(CONFIG)
    assert litellm(source, out=source) == CONFIG_EXIT_CODE
    assert source.read_text() == CONFIG
