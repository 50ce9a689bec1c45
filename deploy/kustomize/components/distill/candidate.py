"""Lets a trained adapter be served, and writes the configuration that asks for it.

Runs in the job `measure`, mounted from a ConfigMap, with what is in the image: the standard library
and PyYAML. vLLM loads an adapter by itself when it is asked for a model of that name, where
VLLM_LORA_RESOLVER_CACHE_DIR has a folder of the name whose adapter_config.json names the base as
the server does. Training knows the base as a folder of its own, so that name is put right here.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

ADAPTER, CARD = "adapter", "card.json"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def published(generation: Path, served_base: str) -> str:
    """Have vLLM find the generation's adapter; the version that it is served as.

    ``generation`` is the folder that training made; beside it the version becomes a link to its
    adapter. Doing it again changes nothing. Raises ValueError where the weights are not those that
    the version names.
    """
    version: str = json.loads((generation / CARD).read_bytes())["version"]
    adapter = generation / ADAPTER
    with (adapter / WEIGHTS).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(version.rpartition("-")[2]):
        raise ValueError(f"{adapter}: the weights have the SHA-256 {digest[:12]}…, not {version}")
    config = json.loads((adapter / CONFIG).read_bytes())
    replace(adapter / CONFIG, json.dumps({**config, "base_model_name_or_path": served_base}))
    link = generation.parent / version
    if not link.is_symlink():
        link.symlink_to(Path(generation.name) / ADAPTER, target_is_directory=True)
    return version


def with_candidate(document: dict[str, Any], cascade: str, version: str) -> dict[str, Any]:
    """The cascades with the candidate as the student of one of them.

    Without that cascade's policy: it is the incumbent's, and would be refused.
    """
    served = document["cascades"][cascade]
    student = {**served["student"], "model": version, "version": version}
    changed = {name: value for name, value in served.items() if name != "policy"}
    return {"cascades": {cascade: {**changed, "student": student}}}


def replace(path: Path, text: str) -> None:
    """Write a file that others may read meanwhile: they see the old one or the new one."""
    beside = path.with_name(f".{path.name}.partial")
    beside.write_text(text, encoding="utf-8")
    beside.rename(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do both, as told by the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generation", type=Path, required=True, help="the folder of the training")
    parser.add_argument("--served-base", required=True, help="what the student's vLLM calls it")
    parser.add_argument("--config", type=Path, required=True, help="the cascades as they are")
    parser.add_argument("--cascade", required=True, help="whose student it is to be")
    parser.add_argument("--out", type=Path, required=True, help="the cascades with the candidate")
    options = parser.parse_args(arguments)
    version = published(options.generation, options.served_base)
    document = yaml.safe_load(options.config.read_bytes())
    options.out.parent.mkdir(parents=True, exist_ok=True)
    replace(options.out, yaml.safe_dump(with_candidate(document, options.cascade, version)))
    sys.stdout.write(f"{version} is served from {options.generation / ADAPTER}\n")


if __name__ == "__main__":
    main()
