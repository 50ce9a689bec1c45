from prometheus_client import Counter
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.histogram import HistogramFamily
from gateway.telemetry.registry import Registry


def test_every_metric_stands_on_the_page_once_and_no_time_of_creation() -> None:
    registry = Registry()
    Counter("some_total", "Some.", registry=registry).inc()
    HistogramFamily("some_seconds", "Some.", ("who",), (1.0,), registry).labels("a").observe(2)
    page = registry.exposition().decode()
    names = [family.name for family in text_string_to_metric_families(page)]
    assert names == ["some", "some_seconds"]
    assert "_created" not in page
