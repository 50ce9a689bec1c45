"""Run by an interpreter that has the extra `distill`: loads files, or trains one step on them.

The model is tiny, random and made here, and so is its tokenizer: nothing is downloaded.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, load_dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

IGNORED = -100  # what the loss passes over

# As chat templates are: calls as objects rendered to JSON, tools before the conversation.
TEMPLATE = """
{%- if tools %}<s>tools {% for tool in tools %}{{ tool | tojson }}{% endfor %}</s>{% endif %}
{%- for message in messages %}<s>{{ message.role }}: {{ message.content }}
{%- if message.tool_calls %}{% for call in message.tool_calls %}
{{- call.function.name }}{{ call.function.arguments | tojson }}{% endfor %}{% endif %}</s>
{%- endfor %}
{%- if add_generation_prompt %}<s>assistant: {% endif %}"""


def tokenizer() -> Any:
    """A token a byte."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words = ["<pad>", "<s>", "</s>", *sorted(alphabet)]
    made = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    wrapped.chat_template = TEMPLATE
    return wrapped


def model() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=4096,
    )
    return LlamaForCausalLM(config)


def loaded(path: str, folder: str) -> Dataset:
    return load_dataset("json", data_files=path, split="train", cache_dir=f"{folder}/cache")


def options(folder: str) -> dict[str, Any]:
    return {
        "output_dir": f"{folder}/out",
        "max_steps": 1,
        "per_device_train_batch_size": 4,
        "report_to": [],
        "use_cpu": True,
        "save_strategy": "no",
        "max_length": 2048,
        "learning_rate": 0.01,
        "bf16": False,
    }


def trained(trainer: Any) -> dict[str, Any]:
    """One step, and whether it moved anything."""
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    result = trainer.train()
    after = list(trainer.model.parameters())
    moved = any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    return {"loss": result.training_loss, "steps": trainer.state.global_step, "moved": moved}


def sft(path: str, folder: str) -> dict[str, Any]:
    trainer = SFTTrainer(
        model=model(),
        args=SFTConfig(**options(folder)),
        train_dataset=loaded(path, folder),
        processing_class=tokenizer(),
    )
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    place = next(at for at, line in enumerate(lines) if int(line["id"], 16) == 3)
    row, text = trainer.train_dataset[place], tokenizer()
    learnt = [label for label in row["labels"] if label != IGNORED]
    return {
        "learnt": text.decode(learnt),
        "read": text.decode(row["input_ids"]),
        **trained(trainer),
    }


def dpo(path: str, folder: str) -> dict[str, Any]:
    trainer = DPOTrainer(
        model=model(),
        ref_model=model(),
        args=DPOConfig(**options(folder)),
        train_dataset=loaded(path, folder),
        processing_class=tokenizer(),
    )
    return trained(trainer)


def load(path: str, folder: str) -> dict[str, Any]:
    """Whether what is loaded is what stands in the file."""
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    rows = loaded(path, folder)
    differing = [
        (line, row)
        for line, row in zip(lines, rows, strict=True)
        if line != {key: value for key, value in row.items() if value is not None or key in line}
    ]
    return {"rows": len(rows), "lines": len(lines), "differing": differing[:3]}


if __name__ == "__main__":
    command, path, folder = sys.argv[1:]
    print(json.dumps({"sft": sft, "dpo": dpo, "load": load}[command](path, folder)))
