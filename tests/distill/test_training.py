"""The command trains: tiny models, real trainers.  tests/distill/interpreter.py says by whom."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.architecture.source import ROOT
from tests.distill.interpreter import COMMAND, distill_python
from tests.distill.trainer import Trainer, environment

pytestmark = [pytest.mark.distill, pytest.mark.timeout(300)]

LOG_2 = 0.6931


def row(number: int, **changes: Any) -> dict[str, Any]:
    question = {"role": "user", "content": f"What is {number} + 1?"}
    answer = {"role": "assistant", "content": f"It is {number + 1}."}
    return {"id": str(number), "prompt": [question], "completion": [answer], **changes}


def preference(number: int) -> dict[str, Any]:
    told = row(number)
    worse = {"role": "assistant", "content": "I do not know."}
    return {**told, "chosen": told.pop("completion"), "rejected": [worse]}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))


def data_in(folder: Path) -> None:
    folder.mkdir()
    write(folder / "sft-train.jsonl", [row(number) for number in range(20)])
    write(folder / "sft-holdout.jsonl", [row(number) for number in range(100, 106)])
    write(folder / "dpo-train.jsonl", [preference(number) for number in range(8)])


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    made = Trainer(tmp_path_factory.mktemp("training"))
    data_in(made.data)
    yield made
    made.end()


def trail(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "training.jsonl").read_text().splitlines()]


def losses(out: Path, stage: str = "sft") -> list[float]:
    return [point["loss"] for point in trail(out) if point["stage"] == stage and "loss" in point]


def test_the_loss_sees_the_answer_and_the_token_that_ends_it(
    trainer: Trainer, tmp_path: Path
) -> None:
    calling = {"type": "function", "function": {"name": "add", "arguments": {"to": 3}}}
    earlier = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "3 + 1?"},
    ]
    tools = json.dumps([{"type": "function", "function": {"name": "add"}}])
    called = [{"role": "assistant", "content": "", "tool_calls": [calling]}]
    rows = [row(3), row(4, prompt=earlier), row(5, tools=tools, completion=called)]
    write(tmp_path / "rows.jsonl", rows)
    found = trainer.does("learnt", str(trainer.base), str(tmp_path / "rows.jsonl"), str(tmp_path))
    plain, talk, call = sorted(found, key=lambda each: len(each["read"]))
    assert plain == {
        "read": "<s>user: What is 3 + 1?</s>\n<s>assistant: It is 4.</s>",
        "learnt": "It is 4.</s>",
    }
    before = "<s>system: Be brief.</s>\n<s>user: Hi</s>\n<s>assistant: Yes?</s>\n"
    assert talk["read"] == before + "<s>user: 3 + 1?</s>\n<s>assistant: It is 5.</s>"
    assert talk["learnt"] == "It is 5.</s>"
    assert call["read"].startswith('<s>tools {"type": "function"')
    assert call["learnt"] == 'add{"to": 3}</s>'


def test_a_student_is_made_with_its_card(trainer: Trainer) -> None:
    card = trainer.trains("first", "--steps", "6")
    out = trainer.folder / "first"
    assert card["version"].startswith("tiny-g1-")
    assert (card["generation"], card["parent"]) == (1, None)
    assert (card["counts"]["train"], card["counts"]["holdout"]) == (20, 6)
    assert card["metrics"]["steps"] == 6
    assert card["metrics"]["holdout_loss"] < card["metrics"]["holdout_loss_before"]
    assert losses(out)[-1] < losses(out)[0]
    assert f"--lora-modules {card['version']}={out / 'adapter'}" in card["serve"]["vllm"]
    assert (out / "adapter" / "adapter_model.safetensors").is_file()
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["run.json"]
    assert card["version"] in (out / "card.md").read_text()


def test_the_same_command_again_changes_nothing(trainer: Trainer) -> None:
    first = trainer.trains("twice", "--steps", "2")
    done = trainer.does("command", *trainer.options("twice", "--steps", "2"))
    assert (done["status"], first["version"] in done["out"]) == (0, True)
    assert "is finished already" in " ".join(done["error"].split())
    other = trainer.does("command", *trainer.options("twice", "--steps", "3"))
    assert (other["status"], "another options.steps" in other["error"]) == (2, True)


def test_merged_weights_are_made_of_a_finished_training(trainer: Trainer) -> None:
    first = trainer.trains("merging", "--steps", "2")
    merged = trainer.trains("merging", "--steps", "2", "--merge")
    out = trainer.folder / "merging"
    assert merged == first
    assert {path.name for path in (out / "merged").iterdir()} >= {
        "chat_template.jinja",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    }


def test_a_killed_training_goes_on_and_ends_as_if_it_had_not_been(trainer: Trainer) -> None:
    options = ("--steps", "8", "--dropout", "0.1")
    whole = trainer.trains("whole", *options)
    command = [distill_python(COMMAND), "-m", "understudy", *trainer.options("killed", *options)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        # Told before the checkpoint of this step: it is killed while that is written.
        line = next(line for line in process.stderr if "step 6 of 8" in line and "hold" in line)
        process.kill()
    assert line
    out = trainer.folder / "killed"
    assert not (out / "card.json").exists()
    assert not (out / "adapter").exists()
    done = trainer.does("command", *trainer.options("killed", *options))
    assert "going on after step" in done["error"]
    card = json.loads((out / "card.json").read_bytes())
    assert card["version"].rpartition("-")[2] == whole["version"].rpartition("-")[2]
    assert [point["step"] for point in trail(out)] == [
        point["step"] for point in trail(trainer.folder / "whole")
    ]
    assert losses(out) == losses(trainer.folder / "whole")


def test_a_generation_goes_on_from_its_parents_adapter(trainer: Trainer) -> None:
    parent = trainer.trains("parent", "--steps", "6", "--rank", "4")
    adapter = trainer.folder / "parent" / "adapter"
    child = trainer.trains("child", "--steps", "2", "--parent", str(adapter))
    assert (child["generation"], child["parent"]) == (2, parent["version"])
    assert child["metrics"]["holdout_loss_before"] == pytest.approx(
        parent["metrics"]["holdout_loss"], rel=1e-4
    )
    assert child["counts"]["trained_parameters"] == parent["counts"]["trained_parameters"]


def test_preferences_are_learnt_from_the_student_so_far(trainer: Trainer) -> None:
    options = ("--steps", "6", "--dpo", "--dpo-epochs", "3", "--dpo-learning-rate", "0.01")
    card = trainer.trains("preferring", *options)
    told = losses(trainer.folder / "preferring", "dpo")
    assert told[0] == pytest.approx(LOG_2, abs=1e-3)  # as likely as the reference has it
    assert told[-1] < 0.6
    assert card["metrics"]["dpo"]["steps"] == 6
    assert card["counts"]["preferences"] == 8
    assert not list((trainer.folder / "preferring" / "adapter").glob("ref*"))


def test_bfloat16_keeps_the_adapter_exact(trainer: Trainer) -> None:
    card = trainer.trains("bf16", "--steps", "2", "--precision", "bf16")
    assert card["options"]["bf16"] is True
    adapter = trainer.folder / "bf16" / "adapter" / "adapter_model.safetensors"
    assert trainer.does("dtypes", str(adapter)) == ["torch.float32"]


def test_training_stops_where_the_holdout_gets_no_better(trainer: Trainer, tmp_path: Path) -> None:
    """It is taught what the holdout contradicts."""
    write(tmp_path / "sft-train.jsonl", [row(number) for number in range(20)])
    nonsense = [{"role": "assistant", "content": "~~~~~~~~"}]
    write(tmp_path / "sft-holdout.jsonl", [row(9, id="x", completion=nonsense)])
    options = ("--steps", "40", "--patience", "2")
    card = trainer.trains("stopping", *options, data=tmp_path)
    assert card["metrics"]["stopped_early"] is True
    assert card["metrics"]["steps"] < 40
    measured = [
        point["holdout_loss"]
        for point in trail(trainer.folder / "stopping")
        if point["step"] and "holdout_loss" in point
    ]
    assert min(measured[-2:]) >= min(measured[:-2])
    # What is kept is the best and not the last: the next generation begins there.
    adapter = trainer.folder / "stopping" / "adapter"
    child = trainer.trains(
        "stopped", "--parent", str(adapter), "--steps", "1", "--patience", "0", data=tmp_path
    )
    assert child["metrics"]["holdout_loss_before"] == pytest.approx(min(measured), rel=1e-4)


def test_what_a_device_holds_at_once_changes_no_step(trainer: Trainer) -> None:
    trainer.trains("large", "--steps", "4", "--micro-batch-size", "4")
    trainer.trains("small", "--steps", "4", "--micro-batch-size", "1")
    large, small = losses(trainer.folder / "large"), losses(trainer.folder / "small")
    assert small == pytest.approx(large, rel=1e-3)


def test_long_rows_are_counted_and_never_cut(trainer: Trainer, tmp_path: Path) -> None:
    long = [{"role": "assistant", "content": "word " * 100}]
    rows = [*(row(number) for number in range(8)), row(8, completion=long)]
    write(tmp_path / "rows.jsonl", rows)
    options = ("--steps", "1", "--max-length", "200")
    card = trainer.trains("lengths", *options, data=tmp_path / "rows.jsonl")
    assert card["counts"]["left_out"] == {"too_long": 1}
    assert card["counts"]["train"] == 8
    none = trainer.options("none", "--max-length", "10", data=tmp_path / "rows.jsonl")
    refused = trainer.does("command", *none)
    assert (refused["status"], "too_long" in refused["error"]) == (2, True)


def test_all_weights_are_trained_where_that_is_wished(trainer: Trainer) -> None:
    card = trainer.trains("full", "--full", "--steps", "2")
    out = trainer.folder / "full"
    assert not (out / "adapter").exists()
    assert card["counts"]["trained_parameters"] > 20_000
    assert f"vllm serve {out / 'merged'}" in card["serve"]["vllm"]
    child = trainer.trains("full-child", "--full", "--steps", "1", "--base", str(out / "merged"))
    assert (child["generation"], child["parent"]) == (2, card["version"])
    assert child["version"].startswith("tiny-g2-")


@pytest.mark.full
@pytest.mark.parametrize("weights", ["--full", "--rank=4"])
def test_two_processes_learn_what_one_does(trainer: Trainer, weights: str) -> None:
    one, two = f"one{weights}", f"two{weights}"
    options = ("--steps", "4", "--dpo", weights)
    trainer.trains(one, *options)
    command = [distill_python(COMMAND), "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, "-m", "understudy", *trainer.options(two, *options)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.count("is in") == 1  # one of them speaks
    card = json.loads((trainer.folder / two / "card.json").read_bytes())
    assert card["options"]["processes"] == 2
    for stage in ("sft", "dpo"):
        alone, together = losses(trainer.folder / one, stage), losses(trainer.folder / two, stage)
        assert together[0] == pytest.approx(alone[0], rel=1e-5)
        assert together == pytest.approx(alone, rel=1e-2)  # sums in another order, and what follows
