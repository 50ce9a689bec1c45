from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.histogram import HistogramFamily
from gateway.telemetry.registry import Registry

NAME = "some_seconds"
BOUNDS = (0.1, 1.0, 10.0)

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    """What Prometheus would read."""
    return {
        (line.name, frozenset(line.labels.items())): line.value
        for family in text_string_to_metric_families(text)
        for line in family.samples
        if line.name.startswith(NAME) and not line.name.endswith("_created")
    }


def collected(registry: CollectorRegistry) -> Samples:
    return samples(generate_latest(registry).decode())


# Equality at a bound is where a bucket begins or ends.
VALUES = st.one_of(st.sampled_from(BOUNDS), st.floats(0, 100))


@given(st.lists(st.tuples(st.sampled_from("ab"), VALUES)))
def test_it_says_what_the_client_librarys_own_would(
    observations: Sequence[tuple[str, float]],
) -> None:
    ours, theirs = Registry(), CollectorRegistry()
    family = HistogramFamily(NAME, "Some.", ("who",), BOUNDS, ours)
    wanted = Histogram(NAME, "Some.", ("who",), buckets=BOUNDS, registry=theirs)
    for who, value in observations:
        family.labels(who).observe(value)
        wanted.labels(who).observe(value)
    assert samples(ours.exposition().decode()) == collected(ours) == collected(theirs)


@pytest.mark.parametrize("value", ['say "no"', "back\\slash", "two\nlines", "größer"])
def test_a_label_may_have_any_value(value: str) -> None:
    registry = Registry()
    HistogramFamily(NAME, "Some.", ("who",), BOUNDS, registry).labels(value).observe(2)
    labels = frozenset({("who", value)})
    assert samples(registry.exposition().decode())[f"{NAME}_count", labels] == 1


def test_an_empty_label_is_none() -> None:
    registry = Registry()
    family = HistogramFamily(NAME, "Some.", ("who", "error"), BOUNDS, registry)
    family.labels("a", "").observe(2)
    assert (f"{NAME}_count", frozenset({("who", "a")})) in samples(registry.exposition().decode())


def test_one_without_labels_is_as_the_client_librarys_own() -> None:
    ours, theirs = Registry(), CollectorRegistry()
    HistogramFamily(NAME, "Some.", (), BOUNDS, ours).labels().observe(2)
    Histogram(NAME, "Some.", buckets=BOUNDS, registry=theirs).observe(2)
    assert samples(ours.exposition().decode()) == collected(ours) == collected(theirs)


def test_there_is_one_metric_of_a_name() -> None:
    registry = Registry()
    HistogramFamily(NAME, "Some.", ("who",), BOUNDS, registry)
    with pytest.raises(ValueError, match=NAME):
        HistogramFamily(NAME, "Others.", ("who",), BOUNDS, registry)
