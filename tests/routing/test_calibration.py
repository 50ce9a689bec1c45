import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.calibration import Calibration, Logistic, PiecewiseLinear, Uncalibrated
from routing.errors import CalibrationError, PolicyError

FINITE = st.floats(allow_nan=False, allow_infinity=False)
EXTREMES = [-1e308, -1.0, -5e-324, 0.0, 5e-324, 0.5, 1.0, 1e308]
MAPS: list[Calibration] = [
    Uncalibrated(),
    Logistic(slope=0.0, intercept=0.0),
    Logistic(slope=0.0, intercept=-1e308),
    Logistic(slope=1.0, intercept=0.0),
    Logistic(slope=1e308, intercept=-1e308),
    Logistic(slope=1e308, intercept=1e308),
    PiecewiseLinear(scores=(0.3,), confidences=(0.6,)),
    PiecewiseLinear(scores=(0.0, 1.0), confidences=(0.0, 1.0)),
    PiecewiseLinear(scores=(0.0, 5e-324), confidences=(0.0, 1.0)),
    PiecewiseLinear(scores=(-8e307, 8e307), confidences=(0.0, 1.0)),
    PiecewiseLinear(scores=(-1.0, 0.0, 0.1, 2.0), confidences=(0.1, 0.1, 0.7, 1.0)),
]


@st.composite
def fitted_maps(draw: st.DrawFn) -> Calibration:
    """Any map whose parameters a policy file may hold."""
    if draw(st.booleans()):
        slope = draw(st.floats(min_value=0.0, allow_infinity=False))
        return Logistic(slope=slope, intercept=draw(FINITE))
    within = st.floats(min_value=-8e307, max_value=8e307)
    scores = sorted(draw(st.sets(within, min_size=1, max_size=6)))
    probabilities = st.floats(min_value=0.0, max_value=1.0)
    confidences = draw(st.lists(probabilities, min_size=len(scores), max_size=len(scores)))
    return PiecewiseLinear(scores=tuple(scores), confidences=tuple(sorted(confidences)))


@pytest.mark.parametrize(
    ("score", "confidence"),
    [(-1e308, 0.0), (-0.1, 0.0), (0.0, 0.0), (0.3, 0.3), (1.0, 1.0), (1.1, 1.0), (1e308, 1.0)],
)
def test_uncalibrated_confidence_is_the_score_cut_to_its_range(
    score: float, confidence: float
) -> None:
    assert Uncalibrated().confidence(score).value == confidence


@pytest.mark.parametrize(
    ("score", "confidence"),
    [
        (0.5, 0.5),
        (1.0, 1 / (1 + math.exp(-1))),
        (0.0, 1 / (1 + math.exp(1))),
        (20.0, 1 / (1 + math.exp(-39))),
        (-20.0, 1 / (1 + math.exp(41))),
    ],
)
def test_logistic_follows_its_formula(score: float, confidence: float) -> None:
    platt = Logistic(slope=2.0, intercept=-1.0)
    assert platt.confidence(score).value == pytest.approx(confidence, rel=1e-12)


def test_logistic_of_slope_zero_says_the_same_of_every_score() -> None:
    constant = Logistic(slope=0.0, intercept=math.log(3))
    assert constant.confidence(-1e308) == constant.confidence(1e308)
    assert constant.confidence(0.0).value == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("score", "confidence"),
    [
        (-1e308, 0.1),
        (math.nextafter(1.0, 0.0), 0.1),
        (1.0, 0.1),
        (1.5, 0.2),
        (2.0, 0.3),
        (3.0, 0.6),
        (4.0, 0.9),
        (math.nextafter(4.0, 5.0), 0.9),
        (1e308, 0.9),
    ],
)
def test_piecewise_linear_joins_its_points_and_is_flat_outside(
    score: float, confidence: float
) -> None:
    isotonic = PiecewiseLinear(scores=(1.0, 2.0, 4.0), confidences=(0.1, 0.3, 0.9))
    assert isotonic.confidence(score).value == pytest.approx(confidence, rel=1e-12)


def test_piecewise_linear_of_one_point_says_the_same_of_every_score() -> None:
    constant = PiecewiseLinear(scores=(0.5,), confidences=(0.7,))
    assert {constant.confidence(score).value for score in (-1e308, 0.5, 1e308)} == {0.7}


@pytest.mark.parametrize("confidences", [(0.0, 1.0), (0.5, 0.5)])
def test_piecewise_linear_may_touch_its_limits_and_stay_level(
    confidences: tuple[float, float],
) -> None:
    isotonic = PiecewiseLinear(scores=(0.0, 1.0), confidences=confidences)
    assert isotonic.confidence(0.0).value == confidences[0]
    assert isotonic.confidence(1.0).value == confidences[1]


@pytest.mark.parametrize("calibration", MAPS)
def test_maps_are_monotone_at_the_extremes(calibration: Calibration) -> None:
    confidences = [calibration.confidence(score).value for score in EXTREMES]
    assert confidences == sorted(confidences)
    assert 0.0 <= confidences[0] <= confidences[-1] <= 1.0


@given(fitted_maps(), FINITE, FINITE)
def test_maps_are_monotone_and_stay_in_their_range(
    calibration: Calibration, left: float, right: float
) -> None:
    low, high = sorted((left, right))
    below, above = calibration.confidence(low).value, calibration.confidence(high).value
    assert 0.0 <= below <= above <= 1.0


@given(fitted_maps(), FINITE)
def test_maps_are_monotone_between_neighbouring_scores(
    calibration: Calibration, score: float
) -> None:
    above = min(math.nextafter(score, math.inf), 1.7e308)
    score = min(score, above)
    assert calibration.confidence(score).value <= calibration.confidence(above).value


def test_logistic_rounding_never_turns_more_evidence_into_less_confidence() -> None:
    platt = Logistic(slope=1.0, intercept=0.0)
    # Where power / (1 + power), the textbook's other branch, goes down by one rounding step.
    below, above = -0.9761699985024288, -0.9761699985024287
    assert platt.confidence(below).value <= platt.confidence(above).value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logistic_refuses_numbers_that_are_not_finite(value: float) -> None:
    with pytest.raises(CalibrationError, match=r"^calibration: slope and intercept must be finite"):
        Logistic(slope=value, intercept=0.0)
    with pytest.raises(CalibrationError, match=r"^calibration: slope and intercept must be finite"):
        Logistic(slope=1.0, intercept=value)


def test_logistic_refuses_a_slope_below_zero() -> None:
    with pytest.raises(CalibrationError, match=r"^calibration\.slope must be at least 0, got -"):
        Logistic(slope=math.nextafter(0.0, -1.0), intercept=0.0)


@pytest.mark.parametrize(
    ("scores", "confidences", "complaint"),
    [
        ((), (), r"calibration: .* same length, at least 1, got 0 and 0"),
        ((0.0, 1.0), (0.5,), r"calibration: .* same length, at least 1, got 2 and 1"),
        ((0.0,), (0.5, 0.6), r"calibration: .* same length, at least 1, got 1 and 2"),
        ((0.0, math.nan), (0.1, 0.2), r"calibration\.scores must be finite"),
        ((-math.inf, 0.0), (0.1, 0.2), r"calibration\.scores must be finite"),
        ((0.0, math.inf), (0.1, 0.2), r"calibration\.scores must be finite"),
        ((0.0, 0.0), (0.1, 0.2), r"calibration\.scores must strictly increase"),
        ((1.0, 0.0), (0.1, 0.2), r"calibration\.scores must strictly increase"),
        ((0.0, 2.0, 1.0), (0.1, 0.2, 0.3), r"calibration\.scores must strictly increase"),
        ((0.0, 1.0), (-5e-324, 0.2), r"calibration\.confidences must lie in \[0, 1\]"),
        (
            (0.0, 1.0),
            (0.1, math.nextafter(1.0, 2.0)),
            r"calibration\.confidences must lie in \[0, 1\]",
        ),
        ((0.0, 1.0), (0.1, math.nan), r"calibration\.confidences must lie in \[0, 1\]"),
        ((0.0, 1.0), (0.2, 0.1), r"calibration\.confidences must never decrease"),
        ((0.0, 1.0, 2.0), (0.2, 0.3, 0.25), r"calibration\.confidences must never decrease"),
    ],
)
def test_piecewise_linear_refuses_what_is_no_map(
    scores: tuple[float, ...], confidences: tuple[float, ...], complaint: str
) -> None:
    with pytest.raises(CalibrationError, match=f"^{complaint}"):
        PiecewiseLinear(scores=scores, confidences=confidences)


def test_piecewise_linear_refuses_scores_too_far_apart_to_subtract() -> None:
    with pytest.raises(CalibrationError, match=r"^calibration\.scores "):
        PiecewiseLinear(scores=(-1e308, 1e308), confidences=(0.0, 1.0))


def test_calibration_error_is_a_policy_error() -> None:
    assert issubclass(CalibrationError, PolicyError)
    assert issubclass(PolicyError, ValueError)
