import numpy as np
import pytest

from evaluation.features import has_prompt, prompt_in
from tests.evaluation.made import answers, prompts_alone, record_of, signals_alone, table_of


def test_signals_labels_groups_and_prompts_are_gathered() -> None:
    table = table_of(answers(50))
    assert table.n == 50
    assert {"mean_probability", "min_margin", "finished"} <= set(table.names)
    assert table.signals.shape == (50, len(table.names))
    assert set(table.labels) == {"up", "down", "none"}
    assert set(table.groups) == {"easy", "odd"}
    assert table.prompts is not None
    assert table.has_evidence
    assert np.isfinite(table.mean_logprob).all()


def test_what_no_gateway_sees_is_named_so() -> None:
    table = table_of(signals_alone(30))
    assert table.names == ("evidence:logit", "evidence:p_true", "mean_probability")
    assert table.has_evidence
    assert table.prompts is None
    assert np.isnan(table.mean_logprob).all()
    assert all(label is None for label in table.labels)


def test_a_known_signal_out_of_range_is_the_records_own() -> None:
    document = {"id": "a", "student": {"ok": 1, "signals": {"agreement": 3}}, "teacher": {"ok": 1}}
    assert table_of([document]).names == ("evidence:agreement",)


def test_prompts_without_evidence() -> None:
    table = table_of(prompts_alone(30))
    assert not table.has_evidence
    assert table.has_prompts


def test_the_same_prompt_shares_a_key_unless_it_is_everybodys() -> None:
    few = list(answers(300))
    few[1]["prompt"] = few[0]["prompt"]
    keys = table_of(few).keys
    assert keys[0] == keys[1]
    assert len(set(keys)) == 299
    many = [each | {"prompt": "the same"} for each in answers(100)]
    assert len(set(table_of(many).keys)) == 100


def test_without_prompts_the_same_tokens_share_a_key() -> None:
    documents = list(answers(300, with_prompt=False))
    documents[1] = documents[0] | {"id": "other"}
    keys = table_of(documents).keys
    assert keys[0] == keys[1]


def test_a_request_is_read_rather_than_the_prompt() -> None:
    messages = [{"role": "user", "content": "asked"}]
    document = {
        "id": "a", "prompt": "other", "group": "no group name", "request": {"messages": messages},
        "student": {"ok": 1}, "teacher": {"ok": 1},
    }  # fmt: skip
    record = record_of(document)
    assert has_prompt(record)
    assert prompt_in(record).text == "user: asked"
    assert prompt_in(record).group is None


def test_calls_and_the_teachers_second_answer() -> None:
    teacher = {"ok": 1, "again": {"agrees": False}}
    first = {"id": "a", "student": {"ok": 1, "samples": 3}, "teacher": teacher}
    second = {"id": "b", "student": {"ok": 1}, "teacher": {"ok": 1, "again": {}}}
    table = table_of([first, second])
    assert table.calls.tolist() == [3.0, 1.0]
    assert table.agrees[0] == 0.0
    assert np.isnan(table.agrees[1])
    assert table.take(np.array([1])).n == 1


def test_a_table_needs_a_record() -> None:
    with pytest.raises(ValueError, match="at least one record"):
        table_of([])
