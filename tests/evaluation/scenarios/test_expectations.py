import pytest

from evaluation.scenarios.expectations import LIMITS, held
from evaluation.scenarios.measures import summary_of
from understudy.simulate.scenario_file import ExpectSection


@pytest.mark.parametrize(
    ("name", "measure", "value", "is_met"),
    [
        ("violations_at_most", "violated", 0.0, True),
        ("violations_at_most", "violated", 1.0, False),
        ("hour_over_cap_at_most", "hour_over_cap", 0.5, True),
        ("kept_over_oracle_at_least", "kept_over_oracle_now", 0.5, True),
        ("kept_over_oracle_at_least", "kept_over_oracle_now", 0.49, False),
    ],
)
def test_a_limit_is_held_to_its_measure(
    name: str, measure: str, value: float, is_met: bool
) -> None:
    (found,) = held({name: 0.5}, summary_of([{measure: value}]))
    assert (found.found, found.is_met) == (value, is_met)


def test_what_nobody_found_meets_nothing() -> None:
    (found,) = held({"detection_requests_at_most": 1e9}, {})
    assert found.found is None
    assert not found.is_met


def test_the_file_knows_every_limit() -> None:
    assert ExpectSection.model_fields.keys() == LIMITS.keys()
