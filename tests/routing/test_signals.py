import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.signals import (
    SIGNAL_NAMES,
    low_probability,
    mean_probability,
    min_margin,
    min_probability,
    signals_of,
)
from routing.vocabulary import Draft

NEVER = -math.inf
FROM_TOKENS = {"mean_probability", "min_probability", "low_probability"}
LOGPROBS = st.floats(max_value=1e-6, allow_nan=False)
CANDIDATES = st.lists(LOGPROBS, max_size=3).map(lambda row: tuple(sorted(row, reverse=True)))


def log(*probabilities: float) -> tuple[float, ...]:
    return tuple(math.log(each) if each else NEVER for each in probabilities)


def draft(*places: tuple[float, Sequence[float]]) -> Draft:
    """A draft from (probability chosen, probabilities of the candidates) at each place."""
    return Draft(
        token_logprobs=log(*(chosen for chosen, _ in places)),
        top_logprobs=tuple(log(*candidates) for _, candidates in places),
    )


@st.composite
def drafts(draw: st.DrawFn) -> Draft:
    tokens = draw(st.lists(LOGPROBS, min_size=1, max_size=30))
    rows = draw(st.lists(CANDIDATES, min_size=len(tokens), max_size=len(tokens)))
    return Draft(tuple(tokens), tuple(rows))


def test_these_are_all_signals() -> None:
    assert {*FROM_TOKENS, "min_margin"} == SIGNAL_NAMES


def test_mean_probability_is_the_geometric_mean() -> None:
    assert mean_probability(log(0.5, 0.125)) == pytest.approx(0.25)


def test_min_probability_is_that_of_the_least_likely_token() -> None:
    assert min_probability(log(0.9, 0.2, 0.4)) == pytest.approx(0.2)


def test_mean_of_tokens_too_unlikely_to_be_added_up_is_zero() -> None:
    assert mean_probability([-1.7e308] * 2) == 0.0
    assert mean_probability([NEVER] + [0.0] * 10_000) == 0.0


# With n tokens the quantile is the token of this rank, the least likely having rank 0.
@pytest.mark.parametrize(
    ("n", "rank"), [(1, 0), (2, 1), (10, 1), (11, 1), (12, 2), (21, 2), (22, 3), (101, 10)]
)
def test_low_probability_is_the_nearest_rank_from_above(n: int, rank: int) -> None:
    likeliest_first = [-0.01 * place for place in range(n)]
    assert low_probability(likeliest_first) == math.exp(likeliest_first[n - 1 - rank])


def test_one_wild_token_in_ten_does_not_move_the_low_quantile_and_two_do() -> None:
    assert low_probability([NEVER] + [0.0] * 9) == 1.0
    assert low_probability([NEVER] * 2 + [0.0] * 8) == 0.0


@given(st.lists(LOGPROBS, min_size=1), st.data())
def test_the_order_of_tokens_does_not_matter(logprobs: list[float], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(logprobs))
    for measure in (mean_probability, min_probability, low_probability):
        assert measure(shuffled) == measure(logprobs)


@pytest.mark.parametrize(
    ("places", "margin"),
    [
        pytest.param([(0.7, (0.7, 0.2))], 0.5, id="the second is the rival of the first"),
        pytest.param([(0.2, (0.7, 0.2))], 0.0, id="a sampled token behind the first has no lead"),
        pytest.param([(0.2, (0.2, 0.7))], 0.0, id="though a server lists the sampled token first"),
        pytest.param([(0.1, (0.6, 0.3))], 0.0, id="a sampled token below the candidates"),
        pytest.param([(0.5, (0.6, 0.3))], 0.0, id="a sampled token between the candidates"),
        pytest.param([(0.4, (0.4, 0.4))], 0.0, id="a tie"),
        pytest.param([(1.0, (1.0, 0.0))], 1.0, id="no doubt at all"),
        pytest.param([(0.0, (0.0, 0.0))], 0.0, id="nothing possible"),
        pytest.param([(0.9, (0.9, 0.1, 0.1))], 0.8, id="the third does not count"),
        pytest.param([(0.9, (0.9, 0.1)), (0.5, (0.5, 0.4))], 0.1, id="the last place is weakest"),
        pytest.param([(0.5, (0.5, 0.4)), (0.9, (0.9, 0.1))], 0.1, id="the first place is weakest"),
    ],
)
def test_margin_is_the_least_lead_over_the_best_rival(
    places: list[tuple[float, Sequence[float]]], margin: float
) -> None:
    assert min_margin(draft(*places)) == pytest.approx(margin)


def test_token_rounded_above_its_own_candidate_is_measured_against_the_second() -> None:
    rounded = Draft((math.nextafter(-0.5, 0.0),), ((-0.5, -3.0),))
    assert min_margin(rounded) == pytest.approx(math.exp(-0.5) - math.exp(-3.0))


@pytest.mark.parametrize(
    "top_logprobs",
    [
        pytest.param((), id="none at all"),
        pytest.param(((-0.1, -3.0),), id="a place too few"),
        pytest.param(((-0.1, -3.0),) * 3, id="a place too many"),
        pytest.param(((-0.1, -3.0), ()), id="an empty place"),
        pytest.param(((-0.1, -3.0), (-0.1,)), id="a place with one candidate"),
    ],
)
def test_missing_candidates_leave_the_margin_absent_and_the_rest_intact(
    top_logprobs: tuple[tuple[float, ...], ...],
) -> None:
    incomplete = Draft((-0.1, -0.1), top_logprobs)
    assert min_margin(incomplete) is None
    assert signals_of(incomplete).keys() == FROM_TOKENS


def test_full_evidence_gives_every_signal_by_its_name() -> None:
    assert signals_of(draft((0.5, (0.5, 0.3)), (0.125, (0.125, 0.1)))) == pytest.approx(
        {
            "mean_probability": 0.25,
            "min_probability": 0.125,
            "low_probability": 0.5,
            "min_margin": 0.025,
        }
    )


def test_single_token_speaks_for_all_of_them() -> None:
    assert signals_of(draft((0.6, (0.6, 0.3)))) == pytest.approx(
        dict.fromkeys(FROM_TOKENS, 0.6) | {"min_margin": 0.3}
    )


def test_empty_draft_has_no_signal_rather_than_zero() -> None:
    assert signals_of(Draft()) == {}


def test_candidates_without_tokens_are_no_evidence() -> None:
    assert signals_of(Draft(top_logprobs=((-0.1, -3.0),))) == {}


def test_exact_zeros_are_full_certainty() -> None:
    certain = Draft((0.0, 0.0), ((0.0, NEVER), (0.0, NEVER)))
    assert signals_of(certain) == dict.fromkeys(SIGNAL_NAMES, 1.0)


def test_log_probabilities_a_rounding_error_above_zero_count_as_zero() -> None:
    rounded = Draft((1e-7, 1e-7), ((1e-7, -20.0), (1e-7, -20.0)))
    exact = Draft((0.0, 0.0), ((0.0, -20.0), (0.0, -20.0)))
    assert signals_of(rounded) == signals_of(exact)


def test_rival_a_rounding_error_above_zero_counts_as_zero() -> None:
    assert min_margin(Draft((0.0,), ((0.0, 1e-7),))) == 0.0
    assert min_margin(Draft((-1.0,), ((1e-7, -1.0),))) == 0.0


def test_minus_infinity_is_probability_zero() -> None:
    impossible = Draft((0.0, NEVER), ((0.0, NEVER), (0.0, NEVER)))
    assert signals_of(impossible) == {
        "mean_probability": 0.0,
        "min_probability": 0.0,
        "low_probability": 1.0,
        "min_margin": 0.0,
    }


@pytest.mark.parametrize("place", [0, 1, 2])
def test_nan_among_the_tokens_leaves_no_evidence(place: int) -> None:
    logprobs = [-0.1, -0.2, -0.3]
    logprobs[place] = math.nan
    assert signals_of(Draft(tuple(logprobs), ((-0.1, -3.0),) * 3)) == {}


@pytest.mark.parametrize("row", [(math.nan, -3.0), (-0.1, math.nan), (-0.1, -3.0, math.nan)])
@pytest.mark.parametrize("place", [0, 1])
def test_nan_among_the_candidates_leaves_no_evidence(row: tuple[float, ...], place: int) -> None:
    rows = [(-0.1, -3.0), (-0.1, -3.0)]
    assert signals_of(Draft((-0.1, -0.1), (*rows[:place], row, *rows[place + 1 :]))) == {}


def test_rounding_error_goes_as_far_as_a_tenth() -> None:
    assert signals_of(Draft((0.1,), ((0.1, -20.0),))) == signals_of(Draft((0.0,), ((0.0, -20.0),)))
    assert signals_of(Draft((math.nextafter(0.1, 1.0),))) == {}


# Some servers can be told to report logits in place of log-probabilities.
@pytest.mark.parametrize("logprob", [0.2, 17.5, math.inf])
def test_token_far_above_zero_is_no_evidence(logprob: float) -> None:
    assert signals_of(Draft((-0.1, logprob))) == {}


@pytest.mark.parametrize("logprob", [0.2, 17.5, math.inf])
def test_candidate_far_above_zero_is_no_evidence(logprob: float) -> None:
    assert signals_of(Draft((-0.1,), ((logprob, -0.1),))) == {}


@given(drafts())
def test_every_signal_lies_between_zero_and_one(any_draft: Draft) -> None:
    assert all(0.0 <= value <= 1.0 for value in signals_of(any_draft).values())


@given(drafts(), st.data())
def test_adding_certainty_to_a_token_never_lowers_a_signal(
    before: Draft, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(before.token_logprobs) - 1))
    surer = list(before.token_logprobs)
    surer[place] = data.draw(st.floats(min_value=surer[place], max_value=1e-6))
    after = signals_of(Draft(tuple(surer), before.top_logprobs))
    for name, value in signals_of(before).items():
        assert after[name] >= value, name
