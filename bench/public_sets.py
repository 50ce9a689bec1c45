"""``python -m bench.public_sets``: public data sets as evaluation records, JSON lines.

What the results page is measured on.  The data are not part of the project: the script reads the
files where their owners' licences let you put them, and writes records wherever you say.
"""

import argparse
import csv
import gzip
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

LETTERS = "ABCDEFGH"
DIGITS = 6  # logits are float16: further digits of a log-probability say nothing
AGREEMENT_SETS = (
    "mmlu_10k",
    "cosmosqa_10k",
    "hellaswag_10k",
    "halu_dialogue",
    "halu_summarization",
)
# Student and teacher by set, as the study of the promise has them.
OPTION_PAIRS = {
    "emotion": ("emotion10k_option_logits.npz", "Qwen-1_8B__task", "Qwen-14B__task"),
    "mmlu": ("lub_option_logits_Qwen.npz", "Qwen-7B__mmlu_10k", "Qwen-72B__mmlu_10k"),
    "cosmosqa": ("lub_option_logits_Qwen.npz", "Qwen-7B__cosmosqa_10k", "Qwen-72B__cosmosqa_10k"),
}
RIGHT = ("mixtral_8x7b_correct", "gpt4_1106_correct")

JsonRecord = dict[str, Any]


def emotion(folder: Path) -> Iterator[JsonRecord]:
    """Tweets and four emotions: Qwen-1.8B's option logits, Qwen-14B as the teacher."""
    with np.load(folder / "emotion10k_option_logits.npz") as logits:
        drafts, answers = logits["Qwen-1_8B__task"], logits["Qwen-14B__task"].argmax(axis=1)
        right = logits["y"]
    prompts = map(_multiple_choice, _lines(folder / "qa" / "emotion_10k_4.jsonl.gz"))
    for place, (draft, prompt) in enumerate(zip(_log_softmax(drafts), prompts, strict=True)):
        yield {
            "id": f"emotion-{place}",
            "prompt": prompt,
            "student": _option(draft, is_ok=bool(draft.argmax() == right[place])),
            "teacher": {
                "text": LETTERS[answers[place]],
                "ok": bool(answers[place] == right[place]),
            },
        }


def agreement(folder: Path, task: str) -> Iterator[JsonRecord]:
    """Qwen-1.8B's option logits; a draft is acceptable where Qwen-72B says the same."""
    with np.load(folder / "lub_option_logits_Qwen.npz") as logits:
        drafts = logits[f"Qwen-1_8B__{task}"]
        answers = logits[f"Qwen-72B__{task}"].argmax(axis=1)
    for place, draft in enumerate(_log_softmax(drafts)):
        yield {
            "id": f"{task}-{place}",
            "student": _option(draft, is_ok=bool(draft.argmax() == answers[place])),
            "teacher": {"text": LETTERS[answers[place]], "ok": True},
        }


def option_logits(folder: Path, name: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The student's and the teacher's logits of one of ``OPTION_PAIRS``, a column an option."""
    file, student, teacher = OPTION_PAIRS[name]
    with np.load(folder / file) as logits:
        return logits[student], logits[teacher]


def routellm(folder: Path, name: str) -> Iterator[JsonRecord]:
    """RouteLLM's questions: were Mixtral-8x7B and GPT-4 right?  Prompts and no evidence."""
    with gzip.open(folder / name, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            student, teacher = (bool(float(row[key])) for key in RIGHT)
            yield {
                "id": row["qid"],
                "group": row.get("subject"),
                "prompt": row["prompt"],
                "student": {"ok": student},
                "teacher": {"ok": teacher},
            }


def sets(folder: Path) -> dict[str, Iterator[JsonRecord]]:
    """Every set by name; nothing is read before its records are asked for."""
    return {
        "emotion_10k": emotion(folder),
        **{f"agreement_{task}": agreement(folder, task) for task in AGREEMENT_SETS},
        "routellm_mmlu": routellm(folder, "routellm_mmlu.csv.gz"),
        "routellm_gsm8k": routellm(folder, "routellm_gsm8k.csv.gz"),
    }


def write(path: Path, records: Iterator[JsonRecord]) -> int:
    """One record a line; how many there were."""
    with path.open("w", encoding="utf-8") as file:
        return sum(bool(file.write(json.dumps(each) + "\n")) for each in records)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write every set that the data folder holds; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.public_sets", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the public files")
    parser.add_argument("--out", type=Path, required=True, help="folder to write NAME.jsonl into")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    missing = 0
    for name, records in sets(options.data).items():
        path = options.out / f"{name}.jsonl"
        try:
            print(f"{path}: {write(path, records)} records")
        except FileNotFoundError as error:
            path.unlink(missing_ok=True)
            missing += 1
            print(f"{name}: left out, there is no {error.filename}", file=sys.stderr)
    return 1 if missing else 0


def _option(logprobs: npt.NDArray[np.float64], *, is_ok: bool) -> JsonRecord:
    """The student's part where one token, an option's letter, is the whole answer."""
    letter = LETTERS[logprobs.argmax()]
    ranked = [round(float(value), DIGITS) for value in np.sort(logprobs)[::-1]]
    return {
        "text": letter,
        "tokens": [letter],
        "token_logprobs": ranked[:1],
        "top_logprobs": [ranked],
        "finish_reason": "stop",
        "ok": is_ok,
    }


def _log_softmax(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    values = logits.astype(np.float64)
    values -= values.max(axis=1, keepdims=True)
    return np.asarray(values - np.log(np.exp(values).sum(axis=1, keepdims=True)))


def _multiple_choice(question: JsonRecord) -> str:
    options = zip(LETTERS, question["choices"], strict=False)
    return "\n".join([question["text"], *(f"{letter}. {choice}" for letter, choice in options)])


def _lines(path: Path) -> Iterator[JsonRecord]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


if __name__ == "__main__":
    sys.exit(main())
