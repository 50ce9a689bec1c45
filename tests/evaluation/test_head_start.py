"""What a calibrated policy's file says of a promise that is to be earned."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.fit import Options
from evaluation.head_start import head_start
from evaluation.policies import Calibrated, Wanted, calibrate, halves, read
from evaluation.source import Source
from evaluation.targets import target_of
from routing.policy_file import origin_from_document
from routing.promise import Terms, new_promise
from routing.promise.terms import SIXTEENTHS
from routing.steering import KEEP_NOTHING
from tests.evaluation.test_policies import made, written

WANTED = Wanted(target_of("disagreement=0.25"), Options(), "2026-11-30", cascade="c")


def judged_by_teacher(n: int) -> list[dict[str, Any]]:
    return [{**each, "ok_by": "teacher"} for each in made(n)]


def calibrated(folder: Path, records: list[dict[str, Any]]) -> tuple[Source, Calibrated]:
    source = read(written(folder / "records.jsonl", records), WANTED.hold_tokens)
    found = calibrate(source, WANTED, lambda _: None)
    assert isinstance(found, Calibrated), found
    return source, found


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Source, Calibrated]:
    return calibrated(tmp_path_factory.mktemp("head-start"), judged_by_teacher(500))


def test_file_has_levels_of_the_fitted_half_and_counts_of_the_other(
    both: tuple[Source, Calibrated],
) -> None:
    source, found = both
    start = origin_from_document(found.document).head_start
    assert start is not None
    other = ~halves(500, WANTED.options.seed)
    assert start.records == other.sum()
    lost = sum(row[SIXTEENTHS] for row in start.counts)
    wrong = int((1.0 - source.table.outcomes.student[other]).sum())
    assert wrong - start.below <= lost <= wrong
    # Levels of other records: the shares that they keep of these are near their steps, not on them.
    steps = np.arange(1, len(start.thresholds) + 1) / len(start.thresholds)
    gaps = np.abs(np.array(start.grid.shares) - steps)
    assert 0.0 < gaps.max() < 0.12
    assert not any("No head start" in note for note in found.notes)


def test_promise_begins_with_what_the_records_prove(both: tuple[Source, Calibrated]) -> None:
    start = origin_from_document(both[1].document).head_start
    cold, warm = (new_promise(Terms(0.25, 0.05, head_start=each)) for each in (None, start))
    assert cold.standing.threshold == KEEP_NOTHING
    assert warm.standing.threshold < 1.0


def test_records_with_other_labels_prove_nothing_of_it(both: tuple[Source, Calibrated]) -> None:
    source, half, merit = both[0], halves(500, 0), np.full(500, 0.5)
    found = head_start(replace(source, by_teacher=499), half, merit, merit)
    assert isinstance(found, str)
    assert found.startswith("not all records are labelled by the teacher's answer")


def test_records_of_which_some_were_drawn_more_often_have_no_head_start(
    both: tuple[Source, Calibrated],
) -> None:
    source, half, merit = both[0], halves(500, 0), np.full(500, 0.5)
    weight = np.where(half, 1.0, 2.0)
    outcomes = replace(source.table.outcomes, weight=weight)
    weighted = replace(source, table=replace(source.table, outcomes=outcomes))
    assert head_start(weighted, half, merit, merit) == "the records were not drawn like the traffic"


def test_drafts_without_a_merit_are_not_counted(both: tuple[Source, Calibrated]) -> None:
    source, half = both[0], halves(500, 0)
    merit = np.linspace(0.0, 1.0, 500)
    some = np.where(np.arange(500) % 2, merit, np.nan)
    found = head_start(source, half, merit, some)
    assert not isinstance(found, str)
    assert found.records == np.count_nonzero(~half & np.isfinite(some))
    none = head_start(source, half, merit, np.full(500, -np.inf))
    assert none == "no record of one of its halves has a merit"
