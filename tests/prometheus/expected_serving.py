"""What the panels of the dashboard Serving are to show."""

from collections.abc import Iterator, Mapping
from decimal import Decimal

from tests.prometheus.expected_cost import ANSWERED, REQUESTS, UNKNOWN
from tests.prometheus.expecting import (
    Expected,
    Matcher,
    Shown,
    Vector,
    but,
    count,
    empty,
    quantile,
    ratio,
)
from tests.prometheus.server import labels_of


def quantiles(
    panel: int, histogram: str, **where: Matcher
) -> Iterator[tuple[tuple[int, str], Expected]]:
    """Three queries of one histogram."""
    for ref, of in (("A", 0.5), ("B", 0.95), ("C", 0.99)):
        yield (panel, ref), _quantile(of, histogram, **where)


def _quantile(of: float, histogram: str, *by: str, **where: Matcher) -> Expected:
    return lambda shown: quantile(of, shown.pace.told(f"{histogram}_bucket", "le", *by, **where))


def breakers(shown: Shown) -> Vector:
    """The teacher of one cascade was left alone in the outage; nothing is said of the others."""
    was_open = shown.history.times["outage"] <= shown.range.at < shown.history.times["over"]
    return {labels_of(cascade="agreeing", role="teacher"): Decimal(was_open)}


SERVING_PANELS: Mapping[tuple[int, str], Expected] = {
    (201, "A"): lambda shown: shown.pace.pace(REQUESTS, "outcome"),
    (202, "A"): lambda shown: ratio(
        shown.pace.grew(REQUESTS, "cascade", outcome="failed"),
        shown.pace.grew(REQUESTS, "cascade", outcome=but("rejected", "cancelled")),
    ),
    (204, "A"): breakers,
    (209, "A"): lambda shown: shown.pace.pace("understudy_upstream_errors_total", "role", "code"),
    **dict(quantiles(203, "understudy_request_seconds", outcome=ANSWERED)),
    (215, "A"): _quantile(0.95, "understudy_request_seconds", "outcome", outcome=ANSWERED),
    **dict(quantiles(205, "understudy_first_byte_seconds")),
    **dict(quantiles(206, "understudy_time_per_output_token_seconds")),
    **dict(quantiles(207, "understudy_gateway_seconds")),
    (208, "A"): _quantile(0.95, "understudy_upstream_seconds", "cascade", "role"),
    (210, "A"): empty("a page is read when all calls are over"),
    (211, "A"): empty("a page is read when all requests are over"),
    (214, "A"): lambda shown: shown.gauge("understudy_build_info", "version", how=count),
    (212, "A"): empty("the log is a file on a disk with room"),
    (217, "A"): empty("no model has a name of its own"),
    (216, "A"): lambda shown: shown.gauge("understudy_keys_read_age_seconds", "source"),
    (218, "A"): _quantile(0.99, "understudy_loop_lag_seconds"),
    (218, "B"): _quantile(0.99, "understudy_loop_computing_seconds"),
    (213, "A"): lambda shown: shown.range.grew(UNKNOWN),
}
