import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.signals import (
    CANDIDATE_SIGNALS,
    CUT_OUT,
    EVIDENCE_NAMES,
    SIGNAL_NAMES,
    TOKEN_SIGNALS,
    mean_probability,
    signals_of,
)
from routing.vocabulary import Draft, Structure
from tests.routing.evidence import from_rows

NEVER = -math.inf
FROM_FORM = {
    "end_probability",
    "finished",
    "valid_structure",
    "no_hedge",
    "no_refusal",
    "agreement",
}
FOUR = ("mean_probability", "min_probability", "low_probability", "min_margin")
LOGPROBS = st.floats(max_value=1e-6, allow_nan=False)
CANDIDATES = st.lists(LOGPROBS, max_size=3).map(lambda row: tuple(sorted(row, reverse=True)))


def log(*probabilities: float) -> tuple[float, ...]:
    return tuple(math.log(each) if each else NEVER for each in probabilities)


def draft(*places: tuple[float, Sequence[float]]) -> Draft:
    """A draft from (probability chosen, probabilities of the candidates) at each place."""
    tokens = log(*(chosen for chosen, _ in places))
    return from_rows(tokens, [log(*candidates) for _, candidates in places])


@st.composite
def drafts(draw: st.DrawFn) -> Draft:
    tokens = draw(st.lists(LOGPROBS, min_size=1, max_size=30))
    rows = draw(st.lists(CANDIDATES, min_size=len(tokens), max_size=len(tokens)))
    return from_rows(tokens, rows)


def of_tokens(name: str, *logprobs: float) -> float:
    return signals_of(Draft(logprobs))[name]


def margin_of(judged: Draft) -> float:
    return signals_of(judged)["min_margin"]


def test_these_are_all_signals() -> None:
    of_drafts = TOKEN_SIGNALS | CANDIDATE_SIGNALS | FROM_FORM
    assert of_drafts | {"earlier_kept"} == SIGNAL_NAMES
    assert len(of_drafts) == len(TOKEN_SIGNALS) + len(CANDIDATE_SIGNALS) + len(FROM_FORM) == 22
    no_evidence = FROM_FORM - {"agreement"} | {"length", "uncut", "earlier_kept"}
    assert no_evidence == SIGNAL_NAMES - EVIDENCE_NAMES


# --- the chosen tokens ---


def test_mean_probability_is_the_geometric_mean() -> None:
    assert mean_probability(log(0.5, 0.125)) == pytest.approx(0.25)


def test_min_probability_is_that_of_the_least_likely_token() -> None:
    assert of_tokens("min_probability", *log(0.9, 0.2, 0.4)) == pytest.approx(0.2)


def test_mean_of_tokens_too_unlikely_to_be_added_up_is_zero() -> None:
    assert mean_probability([-1.7e308] * 2) == 0.0
    assert mean_probability([NEVER] + [0.0] * 10_000) == 0.0


# With n tokens the quantile is the token of this rank, the least likely having rank 0.
@pytest.mark.parametrize(
    ("name", "n", "rank"),
    [
        *(
            ("low_probability", *each)
            for each in [(1, 0), (2, 1), (10, 1), (11, 1), (12, 2), (21, 2), (22, 3), (101, 10)]
        ),
        *(("q25_probability", *each) for each in [(1, 0), (2, 1), (5, 1), (6, 2), (101, 25)]),
        *(("median_probability", *each) for each in [(1, 0), (2, 1), (3, 1), (4, 2), (101, 50)]),
    ],
)
def test_quantiles_are_the_nearest_rank_from_above(name: str, n: int, rank: int) -> None:
    likeliest_first = [-0.01 * place for place in range(n)]
    assert of_tokens(name, *likeliest_first) == math.exp(likeliest_first[n - 1 - rank])


def test_one_wild_token_in_ten_does_not_move_the_low_quantile_and_two_do() -> None:
    assert of_tokens("low_probability", NEVER, *[0.0] * 9) == 1.0
    assert of_tokens("low_probability", NEVER, NEVER, *[0.0] * 8) == 0.0


@pytest.mark.parametrize(
    ("name", "level"), [("above_50", 0.5), ("above_90", 0.9), ("above_99", 0.99)]
)
def test_share_of_tokens_from_a_level_on_counts_equality(name: str, level: float) -> None:
    at, below = math.log(level), math.nextafter(math.log(level), NEVER)
    assert of_tokens(name, at, at, at, below) == 0.75
    assert of_tokens(name, below) == 0.0
    assert of_tokens(name, 0.0) == 1.0


def test_first_token_speaks_for_itself() -> None:
    assert of_tokens("first_probability", *log(0.25, 0.5)) == pytest.approx(0.25)
    first = signals_of(draft((0.5, (0.5, 0.25)), (0.9, (0.9, 0.1))))
    assert first["first_margin"] == pytest.approx(0.25)


@pytest.mark.parametrize(("n", "length"), [(1, 1 / 2), (3, 1 / 3), (255, 1 / 9)])
def test_length_falls_with_the_logarithm_of_the_tokens(n: int, length: float) -> None:
    assert of_tokens("length", *[0.0] * n) == pytest.approx(length)


@given(st.lists(LOGPROBS, min_size=1), st.data())
def test_the_order_of_tokens_does_not_matter_but_for_the_first(
    logprobs: list[float], data: st.DataObject
) -> None:
    shuffled = signals_of(Draft(tuple(data.draw(st.permutations(logprobs)))))
    before = signals_of(Draft(tuple(logprobs)))
    assert {**shuffled, "first_probability": before["first_probability"]} == before


# --- their rivals ---


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
    assert margin_of(draft(*places)) == pytest.approx(margin)


def test_token_rounded_above_its_own_candidate_is_measured_against_the_second() -> None:
    rounded = from_rows((math.nextafter(-0.5, 0.0),), ((-0.5, -3.0),))
    assert margin_of(rounded) == pytest.approx(math.exp(-0.5) - math.exp(-3.0))


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
    incomplete = signals_of(from_rows((-0.1, -0.1), top_logprobs))
    assert incomplete.keys() == TOKEN_SIGNALS
    assert incomplete == signals_of(Draft((-0.1, -0.1)))


def test_margins_have_a_least_a_low_and_a_mean() -> None:
    places = [(0.5 + 0.01 * place, (0.5 + 0.01 * place, 0.25)) for place in range(11)]
    found = signals_of(draft(*places))
    assert found["min_margin"] == pytest.approx(0.25)
    assert found["low_margin"] == pytest.approx(0.26)
    assert found["mean_margin"] == pytest.approx(0.30)


def test_mean_margin_counts_a_sampled_token_behind_the_first_as_no_lead() -> None:
    found = signals_of(draft((0.1, (0.6, 0.3)), (0.75, (0.75, 0.25))))
    assert found["mean_margin"] == pytest.approx(0.25)


def entropy(*probabilities: float) -> float:
    return -sum(each * math.log(each) for each in probabilities if each)


@pytest.mark.parametrize("chosen", [0.5, 0.25, 0.1])
def test_peakedness_is_the_mean_entropy_of_two_candidates_whichever_was_chosen(
    chosen: float,
) -> None:
    found = signals_of(draft((chosen, (0.5, 0.25)), (0.75, (0.75, 0.25))))
    mean = (entropy(0.5, 0.25) + entropy(0.75, 0.25)) / 2
    assert found["peakedness"] == pytest.approx(math.exp(-mean))


def test_third_candidate_is_not_read_so_that_clients_who_ask_for_more_change_nothing() -> None:
    two = from_rows((-0.1, -0.7), ((-0.1, -3.0), (-0.7, -0.9)))
    more = from_rows((-0.1, -0.7), ((-0.1, -3.0, -4.0), (-0.7, -0.9, math.nan, 17.0)))
    assert signals_of(more) == signals_of(two)
    ragged = from_rows((-0.1, -0.7), ((-0.1, -3.0, math.nan), (-0.7,)))
    assert signals_of(ragged) == signals_of(Draft((-0.1, -0.7)))


def test_full_evidence_gives_every_signal_by_its_name() -> None:
    mean_entropy = (entropy(0.5, 0.3) + entropy(0.125, 0.1)) / 2
    assert signals_of(draft((0.5, (0.5, 0.3)), (0.125, (0.125, 0.1)))) == pytest.approx(
        {
            "mean_probability": 0.25,
            "min_probability": 0.125,
            "low_probability": 0.5,
            "q25_probability": 0.5,
            "median_probability": 0.5,
            "first_probability": 0.5,
            "above_50": 0.5,
            "above_90": 0.0,
            "above_99": 0.0,
            "length": 1 / (1 + math.log2(3)),
            "min_margin": 0.025,
            "low_margin": 0.2,
            "mean_margin": 0.1125,
            "first_margin": 0.2,
            "peakedness": math.exp(-mean_entropy),
            "uncut": 1.0,
        }
    )


def test_single_token_speaks_for_all_of_them() -> None:
    found = signals_of(draft((0.6, (0.6, 0.3))))
    assert [found[name] for name in FOUR] == pytest.approx([0.6, 0.6, 0.6, 0.3])


def test_empty_draft_has_no_signal_rather_than_zero() -> None:
    assert signals_of(Draft()) == {}


def test_candidates_without_tokens_are_no_evidence() -> None:
    assert signals_of(from_rows((), ((-0.1, -3.0),))) == {}


def test_exact_zeros_are_full_certainty() -> None:
    certain = signals_of(from_rows((0.0, 0.0), ((0.0, -20.0), (0.0, -20.0))))
    assert [certain[name] for name in FOUR[:3]] == [1.0] * 3
    assert certain["above_99"] == certain["median_probability"] == certain["uncut"] == 1.0
    assert certain["min_margin"] == pytest.approx(1.0)


# Top-p, or top-k of 1, leaves one candidate, of probability exactly 1; this stands for the others.
@pytest.mark.parametrize("nothing", [NEVER, -9999.0, -3.4e38])
def test_server_that_warps_probabilities_is_told_by_candidates_that_are_gone(
    nothing: float,
) -> None:
    warped = signals_of(from_rows((0.0, 0.0, 0.0, -0.5), ((0.0, nothing),) * 3 + ((-0.5, -1.0),)))
    assert warped["uncut"] == 0.25
    assert warped["above_99"] == 0.75
    assert warped["peakedness"] == pytest.approx(
        math.exp(-entropy(math.exp(-0.5), math.exp(-1)) / 4)
    )
    only = signals_of(from_rows((0.0,), ((0.0, nothing),)))
    assert only["uncut"] == 0.0
    assert only["peakedness"] == only["min_margin"] == only["mean_probability"] == 1.0


def test_candidates_in_the_wrong_order_may_be_impossible_too() -> None:
    found = signals_of(from_rows((-0.1,), ((NEVER, -0.1),)))
    assert found["peakedness"] == pytest.approx(math.exp(-entropy(math.exp(-0.1))))
    assert found["uncut"] == 1.0


def test_candidate_at_the_edge_was_not_cut_out() -> None:
    assert signals_of(from_rows((0.0,), ((0.0, CUT_OUT),)))["uncut"] == 1.0
    below = math.nextafter(CUT_OUT, NEVER)
    assert signals_of(from_rows((0.0,), ((0.0, below),)))["uncut"] == 0.0


def test_log_probabilities_a_rounding_error_above_zero_count_as_zero() -> None:
    rounded = from_rows((1e-7, 1e-7), ((1e-7, -20.0), (1e-7, -20.0)))
    exact = from_rows((0.0, 0.0), ((0.0, -20.0), (0.0, -20.0)))
    assert signals_of(rounded) == signals_of(exact)


def test_rival_a_rounding_error_above_zero_counts_as_zero() -> None:
    assert margin_of(from_rows((0.0,), ((0.0, 1e-7),))) == 0.0
    assert margin_of(from_rows((-1.0,), ((1e-7, -1.0),))) == 0.0


def test_minus_infinity_is_probability_zero() -> None:
    impossible = signals_of(from_rows((0.0, NEVER), ((0.0, NEVER), (0.0, NEVER))))
    assert [impossible[name] for name in FOUR] == [0.0, 0.0, 1.0, 0.0]
    assert impossible["above_50"] == 0.5
    nowhere = signals_of(from_rows((NEVER,), ((NEVER, NEVER),)))
    assert nowhere == dict.fromkeys(nowhere, 0.0) | {"length": 0.5, "peakedness": 1.0}


@pytest.mark.parametrize("place", [0, 1, 2])
def test_nan_among_the_tokens_leaves_no_evidence(place: int) -> None:
    logprobs = [-0.1, -0.2, -0.3]
    logprobs[place] = math.nan
    assert signals_of(from_rows(tuple(logprobs), ((-0.1, -3.0),) * 3)) == {}


@pytest.mark.parametrize("row", [(math.nan, -3.0), (-0.1, math.nan)])
@pytest.mark.parametrize("place", [0, 1])
def test_nan_among_the_candidates_leaves_no_evidence(row: tuple[float, ...], place: int) -> None:
    rows = [(-0.1, -3.0), (-0.1, -3.0)]
    assert signals_of(from_rows((-0.1, -0.1), (*rows[:place], row, *rows[place + 1 :]))) == {}


def test_rounding_error_goes_as_far_as_a_tenth() -> None:
    assert signals_of(from_rows((0.1,), ((0.1, -20.0),))) == signals_of(
        from_rows((0.0,), ((0.0, -20.0),))
    )
    assert signals_of(Draft((math.nextafter(0.1, 1.0),))) == {}


# Some servers can be told to report logits in place of log-probabilities.
@pytest.mark.parametrize("logprob", [0.2, 17.5, math.inf])
def test_token_far_above_zero_is_no_evidence(logprob: float) -> None:
    assert signals_of(Draft((-0.1, logprob))) == {}


@pytest.mark.parametrize("logprob", [0.2, 17.5, math.inf])
def test_candidate_far_above_zero_is_no_evidence(logprob: float) -> None:
    assert signals_of(from_rows((-0.1,), ((logprob, -0.1),))) == {}


@given(drafts())
def test_every_signal_lies_between_zero_and_one(any_draft: Draft) -> None:
    assert all(0.0 <= value <= 1.0 for value in signals_of(any_draft).values())


@given(drafts(), st.sets(st.sampled_from(sorted(SIGNAL_NAMES))))
def test_what_is_wanted_is_what_it_would_be_among_all(any_draft: Draft, wanted: set[str]) -> None:
    every, some = signals_of(any_draft), signals_of(any_draft, frozenset(wanted))
    assert some.items() <= every.items()
    assert every.keys() & wanted <= some.keys()


@given(drafts(), st.data())
def test_adding_certainty_to_a_token_never_lowers_a_signal(
    before: Draft, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(before.token_logprobs) - 1))
    surer = list(before.token_logprobs)
    surer[place] = data.draw(st.floats(min_value=surer[place], max_value=1e-6))
    after = signals_of(before._replace(token_logprobs=tuple(surer)))
    for name, value in signals_of(before).items():
        assert after[name] >= value, name


# What a server of whatever making may report: any float at all, in rows of any length.
ANYTHING = st.floats() | st.sampled_from([0.0, NEVER, math.nan, math.inf, 0.05, -9999.0])


@given(
    st.builds(
        Draft,
        token_logprobs=st.lists(ANYTHING, max_size=12).map(tuple),
        best_logprobs=st.lists(ANYTHING, max_size=12).map(tuple),
        second_logprobs=st.lists(ANYTHING, max_size=12).map(tuple),
        structure=st.sampled_from(Structure),
        text=st.text(),
        finish_reason=st.none() | st.text(),
        end_logprob=st.none() | ANYTHING,
        agreement=st.none() | ANYTHING,
    )
)
def test_whatever_is_reported_gives_known_signals_in_range_and_never_raises(
    anything: Draft,
) -> None:
    found = signals_of(anything)
    assert found.keys() <= SIGNAL_NAMES
    assert all(0.0 <= value <= 1.0 for value in found.values())


# --- what is known beside the tokens ---


@pytest.mark.parametrize(
    ("reason", "finished"),
    [
        *((reason, 1.0) for reason in ("stop", "tool_calls", "function_call")),
        *((reason, 0.0) for reason in ("length", "content_filter", "abort", "")),
    ],
)
def test_draft_that_came_to_its_own_end_is_finished(reason: str, finished: float) -> None:
    assert signals_of(Draft(finish_reason=reason)) == {"finished": finished}


def test_form_counts_where_one_was_asked_for() -> None:
    assert signals_of(Draft(structure=Structure.VALID)) == {"valid_structure": 1.0}
    assert signals_of(Draft(structure=Structure.INVALID)) == {"valid_structure": 0.0}


# An end-of-sequence token is very likely once an answer is over: averaged in, it would make short
# answers look sure.
def test_end_of_sequence_token_is_a_signal_of_its_own_and_moves_no_other() -> None:
    bare = from_rows((-1.0, -2.0), ((-1.0, -1.5), (-2.0, -2.5)))
    ended = bare._replace(end_logprob=-0.25)
    assert signals_of(ended) == {**signals_of(bare), "end_probability": math.exp(-0.25)}


@pytest.mark.parametrize(
    ("end_logprob", "found"),
    [
        (0.0, {"end_probability": 1.0}),
        (0.1, {"end_probability": 1.0}),
        (NEVER, {"end_probability": 0.0}),
        (0.2, {}),
        (math.nan, {}),
        (math.inf, {}),
    ],
)
def test_end_of_sequence_token_is_read_like_any_other(
    end_logprob: float, found: dict[str, float]
) -> None:
    assert signals_of(Draft(end_logprob=end_logprob)) == found


@pytest.mark.parametrize("agreement", [0.0, 1 / 3, 1.0])
def test_agreement_is_what_it_is(agreement: float) -> None:
    assert signals_of(Draft(agreement=agreement)) == {"agreement": agreement}


@pytest.mark.parametrize("agreement", [-0.1, 1.1, math.nan])
def test_agreement_that_is_no_share_is_absent(agreement: float) -> None:
    assert signals_of(Draft(agreement=agreement)) == {}


def test_tone_is_a_signal_where_the_language_is_known() -> None:
    assert signals_of(Draft(text="The capital of France is Paris.")) == {
        "no_hedge": 1.0,
        "no_refusal": 1.0,
    }
    assert signals_of(Draft(text="I think it is Paris.")) == {"no_hedge": 0.0, "no_refusal": 1.0}
    assert signals_of(Draft(text="I'm sorry, but I can't help with that.")) == {
        "no_hedge": 1.0,
        "no_refusal": 0.0,
    }
    assert signals_of(Draft(text="Paris")) == {}
