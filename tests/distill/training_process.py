"""Run by an interpreter that trains: does what it is told, a line of JSON each, until stdin ends.

One process for many trainings, since loading the libraries takes longer than any of them here.
The base is a tiny random Llama with a token a byte, made here: nothing is downloaded.
"""

import contextlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from distill.lessons import read_lessons
from distill.recipe import Length, Pace, Recipe
from distill.training import models, trainers
from distill.training.tokens import IGNORED, Tokeniser
from tests.distill.one_step import tokenizer
from understudy.__main__ import app

# As most are: a line break follows the end of each turn, and no model ever says it.
TEMPLATE = """
{%- if tools %}<s>tools {% for tool in tools %}{{ tool | tojson }}{% endfor %}</s>
{% endif %}
{%- for message in messages %}<s>{{ message.role }}: {{ message.content }}
{%- for call in message.tool_calls or [] %}
{{- call.function.name }}{{ call.function.arguments | tojson }}{% endfor %}</s>
{% endfor %}
{%- if add_generation_prompt %}<s>assistant: {% endif %}"""


def make_base(folder: str) -> None:
    """A model folder as others are."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    made = tokenizer()
    made.chat_template = TEMPLATE
    made.save_pretrained(folder)


def learnt(base: str, data: str, stage: str) -> list[dict[str, str]]:
    """What the trainer's own batches hold: all that is read, and what the loss sees of it."""
    path = Path(base)
    text = models.tokenizer_of(path)
    tokeniser = Tokeniser(text, models.ends_of(path, text), max_length=1024)
    rows = tokeniser.all_of(read_lessons([Path(data)], has_preferences=False).train)
    recipe = Recipe(batch_size=len(rows), precision="fp32")
    setting = trainers.Setting(
        recipe=recipe,
        device=models.Device("cpu", is_bf16=False),
        pace=Pace(len(rows), 1),
        length=Length(1, 1),
        stage=Path(stage),
        tokenizer=text,
        callbacks=[],
    )
    model = models.with_adapter(models.load(path, torch.float32), recipe, None)
    trainer = trainers.supervised(model, setting, rows, [])
    (batch,) = list(trainer.get_train_dataloader())
    told = []
    for ids, labels, mask in zip(
        batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True
    ):
        assert all(label in (IGNORED, id) for id, label in zip(ids, labels, strict=True))
        told.append(
            {
                "read": text.decode(ids[mask.bool()]),
                "learnt": text.decode(labels[labels != IGNORED]),
            }
        )
    return told


def dtypes_of(file: str) -> list[str]:
    """The types of the tensors in a file."""
    from safetensors.torch import load_file

    return sorted({str(tensor.dtype) for tensor in load_file(file).values()})


def rounding_of(model: str, file: str) -> list[float]:
    """By how much each matrix differs in GGUF, as transformers reads that, in steps of its scale.

    A block of Q8_0 has steps of a 127th of its largest value, and rounds to the nearest.
    """
    path = Path(file)
    config = transformers.GgufConfig(dequantize=True)
    source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    read = AutoModelForCausalLM.from_pretrained(
        **source, dtype=torch.float32, quantization_config=config
    ).state_dict()
    whole = models.load(Path(model), torch.float32).state_dict()
    assert read.keys() == whole.keys()
    return [
        float((whole[name] - read[name]).abs().max() / whole[name].abs().max() * 127)
        for name in whole
    ]


def answered(model: str, *questions: str) -> list[dict[str, Any]]:
    """What transformers answers, with the log-probability of each token."""
    text = models.tokenizer_of(Path(model))
    loaded = models.load(Path(model), torch.float32)
    told = []
    for question in questions:
        asked = text.apply_chat_template(
            [{"role": "user", "content": question}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        made = loaded.generate(
            **asked,
            max_new_tokens=24,
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
        )
        tokens = made.sequences[0][asked["input_ids"].shape[1] :]
        logprobs = [
            float(torch.log_softmax(scores[0], -1)[token])
            for scores, token in zip(made.scores, tokens, strict=True)
        ]
        told.append({"text": text.decode(tokens, skip_special_tokens=True), "logprobs": logprobs})
    return told


def command(*arguments: str) -> dict[str, Any]:
    """The command line in this process."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        status = app(list(arguments), result_action="return_value")
    return {"status": status, "out": out.getvalue(), "error": errors.getvalue()}


TASKS: dict[str, Callable[..., Any]] = {
    "answered": answered,
    "rounding": rounding_of,
    "base": make_base,
    "command": command,
    "dtypes": dtypes_of,
    "learnt": learnt,
}

if __name__ == "__main__":
    answers = sys.stdout  # what libraries print goes elsewhere
    sys.stdout = sys.stderr
    for line in sys.stdin:
        name, *given = json.loads(line)
        print(json.dumps(TASKS[name](*given)), file=answers, flush=True)
