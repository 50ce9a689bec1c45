"""The comparison's numbers, against what each record says by itself."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from distill.comparison import Arm, Comparison, decide, forgetting, teacher_alone
from distill.evaluation_file import Evaluation, Group
from distill.gate import Limits, Proposal, check
from distill.pairing import Pairing, Side, pair
from evaluation.applied import policy_in
from evaluation.binomial import chance_of_at_least
from evaluation.outcomes import Booleans, Floats, outcomes_of
from evaluation.paired import Drawing, Sample
from evaluation.records import Columns, read_records
from evaluation.spending import Costs
from tests.distill.contestants import good, policy, poor, records, written
from tests.distill.evaluations import MADE_AT, POLICY, evaluation

DRAWING = Drawing(300)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    folder = tmp_path_factory.mktemp("compared")
    new = list(reversed(records(300, "s-g1", good, 2)))  # another order than the incumbent's
    new[0]["student"].pop("token_logprobs")
    new[0]["student"].pop("top_logprobs")
    paths = (
        written(folder / "new.jsonl", new),
        written(folder / "old.jsonl", records(300, "s-g0", poor, 1)),
    )
    pairing = pair(*paths)
    arms = []
    for side in (pairing.candidate, pairing.incumbent):
        decided = decide(policy_in(policy(side.version, 0.9)), read_records(side.path), side)
        arms.append(Arm(side, decided, Costs(side.columns.student_usd, pairing.teacher_usd)))
    return Comparison(pairing, arms[0], arms[1], DRAWING)


def by_hand(side: Side) -> tuple[float, float, float]:
    """Quality, share kept and cost of a cascade, record by record."""
    served, kept, paid = 0.0, 0, 0.0
    found = list(read_records(side.path))
    for record in found:
        (logprob, *_) = record.student.token_logprobs or (None,)
        is_kept = logprob is not None and 0.001 + 0.998 * np.exp(logprob) >= 0.9
        kept += is_kept
        served += float(record.student.ok if is_kept else record.teacher.ok)
        paid += 0.0001 + (0.0 if is_kept else 0.002)
    return served / len(found), kept / len(found), paid / len(found)


def test_the_cascades_are_what_each_record_says(compared: Comparison) -> None:
    _, difference, _ = compared.quality()
    found = compared.cascades(difference, 0.99)
    told = []
    for side, cascade in (
        (compared.pairing.candidate, found.candidate),
        (compared.pairing.incumbent, found.incumbent),
    ):
        quality, kept, paid = by_hand(side)
        assert cascade.quality == pytest.approx(quality)
        assert (
            cascade.kept_share == pytest.approx(kept) == pytest.approx(1 - cascade.escalation_rate)
        )
        assert cascade.cost_per_request == pytest.approx(paid)
        told.append((quality, paid))
    assert difference.estimate == pytest.approx(told[0][0] - told[1][0])
    assert found.bill is not None
    assert found.bill.estimate == pytest.approx(told[0][1] / told[1][1] - 1.0)
    assert found.bill.low < found.bill.estimate < found.bill.high < 0.0


def test_both_alone_and_by_group(compared: Comparison) -> None:
    alone, difference, groups = compared.quality()
    assert alone.difference.low > 0.1
    assert alone.candidate.auroc is not None
    assert alone.candidate.auroc > 0.8
    assert alone.candidate.ece is not None
    assert alone.candidate.ece < 0.1
    weights = [each.records for each in groups.values()]
    parts = [each.difference.estimate for each in groups.values()]
    assert sum(weights) == 300
    assert np.average(parts, weights=weights) == pytest.approx(difference.estimate)
    largest = max(groups.values(), key=lambda each: each.worth)
    assert largest.worth_with_smaller == 300.0
    assert largest.with_smaller.estimate == pytest.approx(difference.estimate)
    smallest = min(groups.values(), key=lambda each: each.worth)
    assert smallest.with_smaller == smallest.difference
    assert abs(groups["riddles"].alone.estimate) < 0.15


def test_the_bill_at_equal_quality_is_of_the_cheapest_points(compared: Comparison) -> None:
    found = compared.cascades(compared.quality()[1], 0.9).bill_at_equal_quality
    assert found.candidate is not None
    assert found.incumbent is not None
    assert found.bill is not None
    assert found.bill.estimate == pytest.approx(found.candidate / found.incumbent - 1.0)
    assert found.bill.low < found.bill.estimate < found.bill.high
    assert found.candidate < found.incumbent < 0.0021


def test_the_teacher_alone_states_nothing_and_pays_no_draft(compared: Comparison) -> None:
    pairing = compared.pairing
    old = compared.incumbent
    arm = Arm(old.side, teacher_alone(pairing.n), old.costs)
    against = Comparison(pairing, compared.candidate, arm, DRAWING)
    alone, difference, _ = against.quality()
    found = against.cascades(difference, 0.99)
    assert (alone.incumbent.ece, alone.incumbent.auroc) == (None, None)
    assert found.incumbent.cost_per_request == pytest.approx(0.002)
    assert found.incumbent.straight_share == found.incumbent.escalation_rate == 1.0
    assert found.bill_at_equal_quality.incumbent == pytest.approx(0.002)


def test_forgetting_is_of_what_the_incumbent_kept_rightly(compared: Comparison) -> None:
    pairing, new, old = compared.pairing, compared.candidate, compared.incumbent
    found = forgetting(pairing, new.decided, old.decided, DRAWING)
    held = old.decided.kept & (old.side.student == 1.0)
    lost = held & (new.side.student == 0.0)
    assert found.held == held.sum()
    assert found.broken is not None
    assert found.draft_lost is not None
    assert found.broken.estimate == pytest.approx((lost & new.decided.kept).sum() / held.sum())
    assert found.draft_lost.estimate == pytest.approx(lost.sum() / held.sum())
    assert 0.0 <= found.broken.low < found.broken.high < 0.2
    assert sum(each.held for each in found.groups.values()) == found.held
    nothing = forgetting(pairing, new.decided, teacher_alone(pairing.n), DRAWING)
    assert (nothing.held, nothing.broken, nothing.groups) == (0, None, {})


# --- all of one kind ----------------------------------------------------------------------------


def made_of(new: Floats, old: Floats, kept: Booleans, groups: tuple[str, ...] = ()) -> Comparison:
    """A comparison of these qualities: both keep what is ``kept``, and the teacher is right."""
    n = len(new)
    teacher, weight = np.ones(n), np.ones(n)
    sides = []
    for version, quality in (("s-g1", new), ("s-g0", old)):
        columns = Columns(
            ids=tuple(map(str, range(n))),
            group_names=(),
            group=np.full(n, -1),
            outcomes=outcomes_of(quality, teacher),
            signals={},
            student_usd=np.full(n, 0.1),
            teacher_usd=np.ones(n),
            versions=frozenset({version}),
        )
        sides.append(Side(Path("r.jsonl"), "0" * 64, version, columns, np.arange(n)))
    pairing = Pairing(
        candidate=sides[0],
        incumbent=sides[1],
        sample=Sample(weight, np.arange(n)),
        groups=groups or ("(none)",) * n,
        teacher=teacher,
        teacher_usd=np.ones(n),
        assumed=np.zeros(n, dtype=np.bool_),
    )
    silence = teacher_alone(n)
    said = kept.astype(np.float64)
    decided = silence.__class__(said, said, np.ones(n), kept, ~kept & False)
    costs = Costs(np.full(n, 0.1), np.ones(n))
    arms = [Arm(side, decided, costs) for side in sides]
    return Comparison(pairing, arms[0], arms[1], DRAWING)


@pytest.mark.parametrize("right", [0.0, 1.0])
@pytest.mark.parametrize("is_kept", [True, False])
def test_all_right_and_all_wrong_are_no_error(right: float, is_kept: bool) -> None:
    quality = np.full(200, right)
    found = made_of(quality, quality, np.full(200, is_kept))
    alone, difference, groups = found.quality()
    cascades = found.cascades(difference, 0.99)
    assert groups == {}
    assert alone.candidate.auroc is None
    assert alone.candidate.ece == pytest.approx(abs(right - is_kept))
    assert -0.04 < difference.low < 0.0 < difference.high < 0.04
    assert cascades.bill is not None
    assert cascades.bill.low < 0.0 < cascades.bill.high


# --- how often the gate errs --------------------------------------------------------------------


def let_in(generator: np.random.Generator, loss: float, gain: float) -> bool:
    """Whether the gate finds no group worse, of three of which one loses ``loss - gain``."""
    n = 600
    groups = tuple(np.repeat(["fine", "harmed", "other"], n // 3))
    drawn = generator.random(n)
    chance = np.repeat([0.01, gain, 0.03], n // 3)
    wrong = np.repeat([0.01, loss, 0.0], n // 3)
    new = np.where(drawn < wrong, 0.0, 1.0)
    old = np.where((drawn >= wrong) & (drawn < wrong + chance), 0.0, 1.0)
    found = made_of(new, old, np.ones(n, dtype=np.bool_), groups)
    compared = found.__class__(
        found.pairing,
        found.candidate,
        found.incumbent,
        Drawing(300, int(generator.integers(2**31))),
    )
    by_group: dict[str, Group] = dict(compared.quality()[2])
    made: Evaluation = evaluation(groups=by_group)
    now = datetime.fromisoformat(MADE_AT)
    checks = check(made, Proposal("s-g1", POLICY, "s-g0"), now, Limits(margin=0.05))
    return all(each.passed for each in checks if each.name.startswith("quality of"))


def errors(trials: int, loss: float, gain: float) -> int:
    generator = np.random.default_rng(11)
    return sum(let_in(generator, loss, gain) for _ in range(trials))


def test_a_candidate_that_harms_one_group_is_seldom_let_in() -> None:
    trials = 60
    assert chance_of_at_least(errors(trials, 0.05, 0.0), trials, 0.05) > 1e-3


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("loss", "gain"), [(0.05, 0.0), (0.07, 0.02), (0.2, 0.15)])
def test_harm_on_one_group_passes_at_most_one_time_in_twenty(loss: float, gain: float) -> None:
    trials = 1500
    assert chance_of_at_least(errors(trials, loss, gain), trials, 0.055) > 1e-3


def test_a_candidate_that_harms_none_is_mostly_let_in() -> None:
    assert errors(30, 0.01, 0.02) > 20
