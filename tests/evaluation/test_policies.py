"""From records to a policy: the halves, what routing makes of the file, and the promise as a whole.

The rounds with --full fit, certify and deploy some hundred times: nothing is taken from the theorem
but the count of broken promises.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.binomial import chance_of_at_least
from evaluation.bounds import Certified, Refused
from evaluation.errors import EvaluationError
from evaluation.features import prompt_in
from evaluation.fit import Options
from evaluation.policies import Calibrated, Wanted, calibrate, halves, read
from evaluation.records import Record, draft_of, earlier_kept_in, read_records
from evaluation.targets import Target, target_of
from routing import Policy, policy_from_document
from routing.cascade import AskStudent, Keep, Prospect, defer, plan
from routing.streaming import Ending, Gate, Token
from routing.vocabulary import Draft, Structure

WORDS = ("red", "blue", "green", "seven", "moon", "river")


def made(n: int, seed: int = 0, longest: int = 40) -> list[dict[str, Any]]:
    """Drafts of which the surer ones are more often right; one kind of question is hopeless."""
    generator = np.random.default_rng(seed)
    records = []
    for place in range(n):
        is_hard = bool(generator.random() < 0.3)
        skill = float(generator.normal(-2.0 if is_hard else 1.5, 1.0))
        tokens = int(generator.integers(1, longest + 1))
        doubt = np.minimum(generator.exponential(1.0, tokens) * math.exp(-skill) * 0.4, 5.0)
        ok = bool(generator.random() < 1.0 / (1.0 + math.exp(-1.5 * skill)))
        records.append(
            {
                "id": f"q{place}",
                "group": "hard" if is_hard else "easy",
                "prompt": f"{'Prove' if is_hard else 'Say'} {generator.choice(WORDS)} {place}",
                "student": {
                    "text": "yes" if ok else "no",
                    "version": "s-1",
                    "token_logprobs": [-float(each) for each in doubt],
                    "top_logprobs": [[-float(each), -2.0 - float(each)] for each in doubt],
                    "finish_reason": "stop",
                    "sampling": {"temperature": 0},
                    "ok": ok,
                },
                "teacher": {"ok": bool(generator.random() < 0.95)},
            }
        )
    return records


def written(path: Path, records: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in records))
    return path


def wanted(target: str, **more: Any) -> Wanted:
    return Wanted(target_of(target), Options(), "2026-11-30", **{"cascade": "c", **more})


def calibrated(path: Path, target: str, **more: Any) -> Calibrated | Refused:
    asked = wanted(target, **more)
    return calibrate(read(path, asked.hold_tokens), asked, lambda _: None)


def loaded(found: Calibrated) -> Policy:
    document = json.loads(json.dumps(found.document))
    return policy_from_document(document, version="v", cascade="c", student_version="s-1")


def test_no_record_is_in_both_halves_and_the_seed_draws_them() -> None:
    half = halves(1001, 3)
    assert half.sum() == 500
    assert (half == halves(1001, 3)).all()
    assert (half != halves(1001, 4)).any()


@pytest.fixture(scope="module")
def quality(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Calibrated]:
    path = written(tmp_path_factory.mktemp("calibrate") / "records.jsonl", made(1600))
    found = calibrated(path, "quality=0.95")
    assert isinstance(found, Calibrated), found
    return path, found


def test_the_policy_keeps_what_was_certified_and_nothing_else(
    quality: tuple[Path, Calibrated],
) -> None:
    """The file, read back, decides as the numbers did that the threshold was chosen by."""
    path, found = quality
    policy, kept = loaded(found), 0
    calibration = ~halves(1600, 0)
    for place, record in enumerate(read_records(path)):
        if calibration[place]:
            kept += is_kept(policy, record)
    assert kept == found.whole.kept
    assert 0.2 < found.whole.kept_share < 0.95


def prospect_of(policy: Policy, record: Record) -> Prospect:
    prompt = prompt_in(record)
    return Prospect(
        group=prompt.group,
        promised=policy.promised(prompt),
        sampling={"temperature": 0},
        earlier_kept=earlier_kept_in(record.student),
    )


def is_kept(policy: Policy, record: Record) -> bool:
    prospect = prospect_of(policy, record)
    first = plan(prospect, frozenset(), policy)
    evidence = [draft_of(record.student)] if isinstance(first, AskStudent) else first
    return isinstance(defer(evidence, policy, prospect), Keep)


def tokens_of(draft: Draft) -> Iterator[Token]:
    """As a server tells of them one by one, with two candidates each."""
    columns = draft.token_logprobs, draft.best_logprobs, draft.second_logprobs
    for logprob, *candidates in zip(*columns, strict=True):
        yield Token(logprob, candidates)


def is_released(policy: Policy, record: Record, hold_tokens: int) -> bool:
    """As a gateway streams it, token by token."""
    prospect = prospect_of(policy, record)
    if not isinstance(plan(prospect, frozenset(), policy, is_live=True), AskStudent):
        return False
    gate = Gate(policy.streamed, hold_tokens, prospect)
    draft = draft_of(record.student)
    for token in tokens_of(draft):
        gate.feed([token])
        if gate.verdict is not None:
            return isinstance(gate.verdict, Keep)
    gate.end(Ending(Structure.NOT_ASKED, draft.text, draft.finish_reason))
    return isinstance(gate.verdict, Keep)


@pytest.mark.parametrize("hold_tokens", [pytest.param(8, marks=pytest.mark.full), 16])
def test_streams_release_what_was_certified_and_nothing_else(
    quality: tuple[Path, Calibrated], hold_tokens: int
) -> None:
    path, _ = quality
    found = calibrated(path, "quality=0.95", hold_tokens=hold_tokens)
    assert isinstance(found, Calibrated)
    assert isinstance(found.streamed, Certified)
    policy = loaded(found)
    assert policy.streamed.hold_tokens == hold_tokens
    assert [each.tokens for each in policy.streamed.checkpoints] == [8, 16, 32, 64]
    calibration = ~halves(1600, 0)
    released = [
        is_released(policy, record, hold_tokens)
        for place, record in enumerate(read_records(path))
        if calibration[place]
    ]
    assert sum(released) == found.streamed.kept


def test_what_earlier_turns_came_to_is_learnt_and_decides_as_it_was_certified(
    tmp_path: Path,
) -> None:
    generator, records = np.random.default_rng(5), made(800)
    for each in records[::2]:  # the others are first turns, of which nothing is known
        kept = (int(generator.integers(0, 4)) + 1) / 5
        is_ok = bool(generator.random() < kept)
        each["student"] |= {"signals": {"earlier_kept": kept}, "ok": is_ok}
    path = written(tmp_path / "r.jsonl", records)
    found = calibrated(path, "quality=0.8")
    assert isinstance(found, Calibrated)
    assert isinstance(found.streamed, Certified)
    policy, certifying = loaded(found), ~halves(800, 0)
    assert policy.whole.is_past_read
    assert policy.streamed.checkpoints[1].rule.is_past_read
    asked = [record for place, record in enumerate(read_records(path)) if certifying[place]]
    assert sum(is_kept(policy, record) for record in asked) == found.whole.kept
    released = [is_released(policy, record, wanted("quality=0.8").hold_tokens) for record in asked]
    assert sum(released) == found.streamed.kept
    told = [is_kept(policy, each) for each in asked if earlier_kept_in(each.student) == 0.2]
    assert sum(told) < len(told) / 4


def test_few_drafts_are_given_up_that_would_have_been_kept(
    quality: tuple[Path, Calibrated],
) -> None:
    path, found = quality
    policy = loaded(found)
    lost = kept = 0
    for record in read_records(path):
        if not is_kept(policy, record):
            continue
        kept += 1
        gate = Gate(policy.early_abort, None, prospect_of(policy, record))
        draft = draft_of(record.student)
        for token in tokens_of(draft):
            gate.feed([token])
            if gate.verdict is not None:
                lost += 1
                break
    assert kept > 500
    assert lost <= 0.02 * kept  # half of these records chose the bound of 1%, the others did not


def test_the_file_says_what_it_rests_on(quality: tuple[Path, Calibrated]) -> None:
    _, found = quality
    evidence: Any = found.document["evidence"]
    assert evidence["fitted_on"] == 800
    assert evidence["certified_on"] == 800
    assert "0.95 times" in evidence["promise"]
    assert "Learn then Test" in evidence["theorem"]
    assert {each["group"] for each in evidence["groups"]} == {"easy", "hard"}
    shares = evidence["curve"]["kept_share"]
    assert shares == sorted(shares)
    assert found.document["sampling"] == {"temperature": 0}
    assert found.document["bound"] == 0.95
    json.dumps(found.document, allow_nan=False)


def test_the_seed_alone_decides(quality: tuple[Path, Calibrated]) -> None:
    path, found = quality
    again = calibrated(path, "quality=0.95")
    assert isinstance(again, Calibrated)
    assert again.document == found.document


def test_a_promise_that_the_records_cannot_carry_is_refused(tmp_path: Path) -> None:
    found = calibrated(written(tmp_path / "r.jsonl", made(200)), "disagreement=0.001")
    assert isinstance(found, Refused)
    assert found.needs.without_loss > 1000


@pytest.mark.parametrize(("n", "certifying"), [(1, 1), (2, 1), (7, 4)])
def test_records_too_few_to_fit_on_are_refused_with_the_least_that_would_do(
    tmp_path: Path, n: int, certifying: int
) -> None:
    found = calibrated(written(tmp_path / "r.jsonl", made(n)), "disagreement=0.05")
    assert isinstance(found, Refused)
    assert (found.n, found.needs.without_loss) == (certifying, 59)
    assert str(found) == (
        f"disagreement=0.05 with probability 0.95 cannot be promised on {certifying} records: even "
        "without any loss it takes 59 records that count, about 59 records"
    )


def test_what_no_gateway_sees_is_left_out_and_said(tmp_path: Path) -> None:
    records = made(400)
    for each in records:
        each["student"]["signals"] = {"oracle": float(each["student"]["ok"]), "agreement": 0.5}
    found = calibrated(written(tmp_path / "r.jsonl", records), "quality=0.7")
    assert isinstance(found, Calibrated)
    assert "oracle" in found.notes[0]
    assert "agreement" in found.notes[0]
    assert "oracle" not in json.dumps(found.document["rule"])


def change(records: list[dict[str, Any]], **student: Any) -> list[dict[str, Any]]:
    records[7]["student"] |= student
    return records


@pytest.mark.parametrize(
    ("records", "more", "said"),
    [
        (change(made(60), version="s-2"), {}, "--student-version"),
        (change(made(60), version="s-2"), {"student_version": "s-1"}, "s-2"),
        (made(60), {"student_version": "s-9"}, "s-1"),
        (made(60), {"cascade": None}, "--cascade"),
        (change(made(60), sampling={"temperature": 1.0}), {}, "sampled in 2 ways"),
        ([{**each, "cascade": "other"} for each in made(60)], {}, "other"),
    ],
)
def test_records_of_several_measurements_are_refused(
    tmp_path: Path, records: list[dict[str, Any]], more: dict[str, Any], said: str
) -> None:
    with pytest.raises(EvaluationError, match=said):
        calibrated(written(tmp_path / "r.jsonl", records), "quality=0.9", **more)


@pytest.mark.parametrize("ok", [True, False])
def test_records_that_are_all_alike_are_no_error(tmp_path: Path, ok: bool) -> None:
    records = made(200)
    for each in records:
        each["student"]["ok"] = ok
        each["teacher"]["ok"] = True
    found = calibrated(written(tmp_path / "r.jsonl", records), "disagreement=0.2")
    if ok:
        assert isinstance(found, Calibrated)
        assert found.whole.kept_share == 1.0
    else:
        assert isinstance(found, Refused)


def test_records_without_token_evidence_have_no_rules_for_streams(tmp_path: Path) -> None:
    records = made(400)
    for each in records:
        tokens = each["student"].pop("token_logprobs")
        each["student"].pop("top_logprobs")
        each["student"]["signals"] = {"mean_probability": math.exp(sum(tokens) / len(tokens))}
    found = calibrated(written(tmp_path / "r.jsonl", records), "quality=0.7")
    assert isinstance(found, Calibrated)
    assert found.streamed is None
    assert "streamed" not in found.document
    assert any("no token log-probabilities" in each for each in found.notes)


def test_a_few_records_with_token_evidence_make_no_rules_for_streams(tmp_path: Path) -> None:
    records = made(400)
    for each in records:
        tokens = each["student"]["token_logprobs"]
        each["student"]["signals"] = {"mean_probability": math.exp(sum(tokens) / len(tokens))}
    for each in records[3:]:
        del each["student"]["token_logprobs"], each["student"]["top_logprobs"]
    found = calibrated(written(tmp_path / "r.jsonl", records), "quality=0.7")
    assert isinstance(found, Calibrated)
    assert "streamed" not in found.document


# --- drafts that were chosen from several ---


def sampled(n: int, seed: int = 0) -> list[dict[str, Any]]:
    """Drafts whose tokens say nothing, and whose agreement with two others says much."""
    generator = np.random.default_rng(seed)
    records = made(n, seed, longest=3)
    for each in records:
        agreement = int(generator.integers(1, 4))
        student = each["student"]
        student |= {
            "token_logprobs": [-0.1],
            "top_logprobs": [[-0.1, -2.5]],
            "sampling": {"temperature": 0.7},
            "samples": 3,
            "signals": {"agreement": agreement / 3},
            "ok": bool(generator.random() < {1: 0.3, 2: 0.7, 3: 0.98}[agreement]),
        }
        each["teacher"]["ok"] = True
    return records


def test_agreement_of_so_many_drafts_is_learnt_and_the_policy_says_of_how_many(
    tmp_path: Path,
) -> None:
    path = written(tmp_path / "r.jsonl", sampled(800))
    found = calibrated(path, "disagreement=0.1")
    assert isinstance(found, Calibrated)
    assert found.document["samples"] == 3
    assert "streamed" not in found.document
    assert found.notes[-2].startswith("Streams: drafts are compared once all are whole")
    assert found.notes[-1].startswith("No head start for an objective of quality: not all")
    assert "head_start" not in found.document
    policy = loaded(found)
    assert policy.samples == 3
    assert "agreement" in policy.whole.score.names
    kept = [
        (record.student.signals or {})["agreement"]
        for place, record in enumerate(read_records(path))
        if ~halves(800, 0)[place] and is_kept_of_three(policy, record)
    ]
    assert len(kept) == found.whole.kept
    assert set(kept) == {1.0}


def is_kept_of_three(policy: Policy, record: Record) -> bool:
    prospect = replace(prospect_of(policy, record), sampling={"temperature": 0.7}, samples=3)
    first = plan(prospect, frozenset(), policy)
    evidence = [draft_of(record.student)] if isinstance(first, AskStudent) else first
    return isinstance(defer(evidence, policy, prospect), Keep)


def test_record_whose_server_wrote_fewer_is_never_kept(tmp_path: Path) -> None:
    records = sampled(800)
    for each in records[::2]:
        each["student"]["signals"] = {}
    path = written(tmp_path / "r.jsonl", records)
    # So much is allowed that drafts would be kept of which nothing is known.
    found = calibrated(path, "disagreement=0.6")
    assert isinstance(found, Calibrated)
    source = read(path, 16)
    columns = zip(source.records(), source.visible().signals, strict=True)
    for place, (record, row) in enumerate(columns):
        assert bool(source.seen_signals(record)) is bool(place % 2)
        assert np.isnan(row).all() == (place % 2 == 0)
    policy, calibration = loaded(found), ~halves(800, 0)
    kept = [
        bool(record.student.signals)
        for place, record in enumerate(read_records(path))
        if calibration[place] and is_kept_of_three(policy, record)
    ]
    assert all(kept)
    assert len(kept) == found.whole.kept == calibration[1::2].sum()


@pytest.mark.parametrize(
    ("student", "said"),
    [
        ({"samples": 2}, "chosen from 2 and 3"),
        ({"samples": None}, "chosen from 1 and 3"),
    ],
)
def test_drafts_chosen_from_different_numbers_are_refused(
    tmp_path: Path, student: dict[str, Any], said: str
) -> None:
    with pytest.raises(EvaluationError, match=said):
        calibrated(written(tmp_path / "r.jsonl", change(sampled(60), **student)), "quality=0.9")


@pytest.mark.parametrize(
    ("student", "said"),
    [
        ({"sampling": {"temperature": 0}}, "temperature above 0"),
        ({"samples": 9}, "at most 8"),
        ({"signals": {}}, "no record says which share of the 3 drafts"),
    ],
)
def test_drafts_that_no_gateway_could_choose_from_are_refused(
    tmp_path: Path, student: dict[str, Any], said: str
) -> None:
    records = sampled(60)
    for each in records:
        each["student"] |= student
    with pytest.raises(EvaluationError, match=said):
        calibrated(written(tmp_path / "r.jsonl", records), "quality=0.9")


# --- calibrate, then deploy ---------------------------------------------------------------------


def broken(folder: Path, target: Target, n: int, rounds: int) -> tuple[int, int]:
    """How often the promise was broken for whole drafts, and how often for streams."""
    fresh = [*read_records(written(folder / "new.jsonl", made(6000, seed=10**6)))]
    whole = streams = 0
    for round_ in range(rounds):
        path = written(folder / "r.jsonl", made(n, seed=round_))
        asked = Wanted(target, Options(seed=round_), "2026-11-30", cascade="c")
        found = calibrate(read(path, 16), asked, lambda _: None)
        if isinstance(found, Refused):
            continue
        policy = loaded(found)
        whole += is_broken([is_kept(policy, each) for each in fresh], fresh, target)
        if isinstance(found.streamed, Certified):
            released = [is_released(policy, each, 16) for each in fresh]
            streams += is_broken(released, fresh, target)
    return whole, streams


def is_broken(kept: Sequence[bool], records: Sequence[Record], target: Target) -> bool:
    """Whether so many fresh records show, beyond their own chance, that the target is missed."""
    losses = [
        1.0 - float(each.student.ok) for each, is_in in zip(records, kept, strict=True) if is_in
    ]
    if not losses:
        return False
    error = 2.0 * math.sqrt(target.value * (1.0 - target.value) / len(losses))
    return float(np.mean(losses)) > target.value + error


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("n", [400, 1200])
def test_the_whole_of_it_keeps_its_promise(tmp_path: Path, n: int) -> None:
    target, rounds = Target(target_of("disagreement=0.1").kind, 0.1, 0.9), 60
    for violations in broken(tmp_path, target, n, rounds):
        assert chance_of_at_least(violations, rounds, target.delta) > 1e-3, violations
