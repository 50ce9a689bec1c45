"""Models: the base from a folder or a GGUF file, an adapter on it, and both as one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate import PartialState
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from distill.folder import Folder, written
from distill.recipe import CannotTrain, Recipe, is_bf16


@dataclass(frozen=True, slots=True)
class Device:
    """Where a training runs, and whether it computes in bfloat16 there."""

    kind: str
    is_bf16: bool

    @property
    def frozen_dtype(self) -> Any:
        """Of weights that do not move."""
        return torch.bfloat16 if self.is_bf16 else torch.float32


def processes() -> Any:
    """Who else trains along: torchrun and accelerate say it in the environment."""
    return PartialState(cpu=not torch.accelerator.is_available())


def device_for(recipe: Recipe) -> Device:
    """The accelerator, or else the CPU.  Raises CannotTrain."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    kind = "cpu" if found is None else str(found.type)
    if torch.accelerator.device_count() > 1 and processes().num_processes == 1:
        raise CannotTrain(
            "several accelerators are visible to one process: start it by torchrun or accelerate "
            "launch, or let it see one (CUDA_VISIBLE_DEVICES=0)"
        )
    if kind == "cpu":
        features = torch.cpu.get_capabilities()
        supported = any(features.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    elif kind == "cuda":
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        supported = False
    return Device(kind, is_bf16(recipe.precision, kind, is_supported=supported))


def base_folder(base: Path, folder: Folder) -> Path:
    """The folder that holds the base's weights; a GGUF file is unpacked into ``base/`` once."""
    if base.suffix != ".gguf":
        return base
    state = processes()
    if state.is_main_process and not folder.base.is_dir():
        source = {"pretrained_model_name_or_path": str(base.parent), "gguf_file": base.name}
        try:
            model = AutoModelForCausalLM.from_pretrained(
                **source,
                dtype=torch.bfloat16,
                quantization_config=transformers.GgufConfig(dequantize=True),
            )
            tokenizer = AutoTokenizer.from_pretrained(**source)
        except (ValueError, NotImplementedError) as error:
            raise CannotTrain(f"{base}: transformers cannot read it: {error}") from error
        with written(folder.base) as beside:
            model.save_pretrained(beside)
            tokenizer.save_pretrained(beside)
    state.wait_for_everyone()
    return folder.base


def tokenizer_of(path: Path) -> Any:
    """The tokenizer, with a chat template.  Raises CannotTrain where it has none."""
    tokenizer = AutoTokenizer.from_pretrained(path)
    if not tokenizer.chat_template:
        raise CannotTrain(
            f"{path}: its tokenizer has no chat template; take the instruction-tuned model, or "
            "put a chat_template.jinja there"
        )
    if tokenizer.eos_token_id is None:
        raise CannotTrain(f"{path}: its tokenizer has no eos_token, so that no answer could end")
    return tokenizer


def ends_of(base: Path, tokenizer: Any) -> frozenset[int]:
    """The tokens at which a server stops."""
    named = None
    if (base / "generation_config.json").is_file():
        named = transformers.GenerationConfig.from_pretrained(base).eos_token_id
    ids = named if isinstance(named, list) else [named]
    return frozenset(id for id in (*ids, tokenizer.eos_token_id) if id is not None)


def load(path: Path, dtype: Any) -> Any:
    """A model as it lies in a folder."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    model.config.use_cache = False
    return model


def with_adapter(model: Any, recipe: Recipe, parent: Path | None) -> Any:
    """A model with an adapter to train: a fresh one, or the parent's.

    A fresh one says the same as the model alone: its second factor is zero.
    """
    if parent is not None:
        return PeftModel.from_pretrained(model, parent, is_trainable=True)
    torch.manual_seed(recipe.seed)  # the first factor is drawn
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.chosen_rank,
        lora_alpha=recipe.chosen_alpha,
        lora_dropout=recipe.dropout,
        target_modules="all-linear",
    )
    return get_peft_model(model, config)


def merged(base: Path, adapter: Path) -> Any:
    """Base and adapter as one model, in fp32 so that nothing is rounded on the way."""
    return PeftModel.from_pretrained(load(base, torch.float32), adapter).merge_and_unload()
