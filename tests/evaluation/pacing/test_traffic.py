import numpy as np
import pytest

from evaluation.pacing.traffic import Population, arrivals, day_cycle, usual, with_burst


def test_a_day_begins_at_night_and_has_its_mean() -> None:
    rates = day_cycle(86_400, 10.0, 0.7)
    assert rates[0] == pytest.approx(3.0)
    assert rates.max() == pytest.approx(17.0)
    assert rates.mean() == pytest.approx(10.0)


def test_a_burst_comes_from_one_second_to_the_next() -> None:
    rates = day_cycle(100, 10.0, 0.0)
    bursting = with_burst(rates, 50, 10, 5.0)
    assert bursting[49:51].tolist() == [10.0, 50.0]
    assert bursting[59:61].tolist() == [50.0, 10.0]
    assert rates.max() == 10.0


def test_requests_are_as_the_population_says() -> None:
    population = Population(forced=0.1)
    seconds = list(arrivals(day_cycle(1500, 40.0, 0.0), population, np.random.default_rng(1)))
    assert len(seconds) == 1500
    drawn = [arrival for second in seconds for arrival in second]
    assert len(drawn) == pytest.approx(60_000, rel=0.02)
    assert np.mean([each.merit for each in drawn]) == pytest.approx(0.8, abs=0.01)
    assert np.mean([each.expected_pico or 0 for each in drawn]) == pytest.approx(4e9, rel=0.02)
    assert np.mean([each.actual_pico for each in drawn]) == pytest.approx(4e9, rel=0.05)
    assert np.mean([each.is_forced for each in drawn]) == pytest.approx(0.1, abs=0.01)
    assert min(each.seconds for each in drawn) >= 1


def test_the_same_seed_draws_the_same_requests() -> None:
    rates, population = day_cycle(5, 10.0, 0.0), Population()
    once, again = (list(arrivals(rates, population, np.random.default_rng(7))) for _ in range(2))
    assert once == again


def test_where_costs_are_not_known_nothing_is_expected() -> None:
    population = Population(known=False)
    (second,) = arrivals(np.array([50.0]), population, np.random.default_rng(1))
    assert {each.expected_pico for each in second} == {None}
    assert set(usual(population)[1].tolist()) == {population.usd}
