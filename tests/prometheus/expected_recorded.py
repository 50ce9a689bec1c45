"""What the recording rules are to say."""

from collections.abc import Callable, Mapping

from tests.prometheus.expected_cost import BASELINE, COST, REQUESTS, margin, saved
from tests.prometheus.expected_routing import DEFERRALS, ESCALATIONS, JUDGED
from tests.prometheus.expecting import Expected, Shown, Vector, Window, but, minus, plus, ratio
from tests.prometheus.history import JOB
from tests.prometheus.server import labels_of

SECONDS = {
    "5m": 300, "10m": 600, "30m": 1_800, "1h": 3_600, "2h": 7_200, "6h": 21_600,
    "1d": 86_400, "3d": 259_200, "7d": 604_800, "30d": 2_592_000,
}  # fmt: skip
FIRST_BYTE = "understudy_first_byte_seconds"


def of_job(vector: Vector) -> Vector:
    """The same with the label of the job, by which rules tell environments apart."""
    return {labels | labels_of(job=JOB): value for labels, value in vector.items()}


def failed(window: Window) -> Vector:
    """Requests that got no answer, though one was due."""
    return window.grew(REQUESTS, "cascade", outcome="failed")


def due(window: Window) -> Vector:
    """Requests to which an answer was due."""
    return window.grew(REQUESTS, "cascade", outcome=but("rejected", "cancelled"))


def late(window: Window) -> Vector:
    """Streams that began after more than 5 s."""
    quick = window.told(f"{FIRST_BYTE}_bucket", "cascade", le="5.0")
    return minus(window.told(f"{FIRST_BYTE}_count", "cascade"), quick)


def streams(window: Window) -> Vector:
    """Streams that began."""
    return window.told(f"{FIRST_BYTE}_count", "cascade")


def calls(window: Window) -> Vector:
    """Calls to either model."""
    return window.grew("understudy_upstream_seconds_count", "cascade", "role")


def failures(window: Window) -> Vector:
    """Those that the server failed."""
    name, theirs = "understudy_upstream_errors_total", but("cancelled", "upstream_refused")
    return window.grew(name, "cascade", "role", code=theirs)


def kept(window: Window) -> Vector:
    """Drafts that the policy kept, those held out among them."""
    return plus(
        window.grew(REQUESTS, "cascade", outcome="kept"),
        window.grew(ESCALATIONS, "cascade", reason="holdout"),
    )


def judged(window: Window) -> Vector:
    """Drafts that the policy decided about."""
    return plus(
        window.grew(REQUESTS, "cascade", outcome="kept"),
        window.grew(ESCALATIONS, "cascade", reason="holdout"),
        window.grew(DEFERRALS, "cascade", reason=JUDGED),
    )


def kept_share(window: Window) -> Vector:
    """The one as a share of the other."""
    return ratio(kept(window), judged(window))


def pace(window: Window) -> Vector:
    """Dollars a second."""
    return window.pace(COST, "cascade")


def net_saving(window: Window) -> Vector:
    """Of cascades with a baseline."""
    return {
        labels: value
        for labels, value in saved(window, "cascade").items()
        if labels in window.grew(BASELINE, "cascade")
    }


def _over(token: str, value: Callable[[Window], Vector]) -> Expected:
    def expected(shown: Shown) -> Vector:
        return of_job(value(shown.over(SECONDS[token])))

    return expected


_LONG_AND_SHORT = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
_BY_WINDOW: Mapping[str, tuple[Callable[[Window], Vector], tuple[str, ...]]] = {
    "cascade:understudy_requests_failed:increase": (failed, _LONG_AND_SHORT),
    "cascade:understudy_requests_due:increase": (due, _LONG_AND_SHORT),
    "cascade:understudy_first_bytes_late:increase": (late, _LONG_AND_SHORT),
    "cascade:understudy_first_bytes:increase": (streams, _LONG_AND_SHORT),
    "cascade_role:understudy_upstream_calls:increase": (calls, ("10m",)),
    "cascade_role:understudy_upstream_failures:increase": (failures, ("5m", "10m")),
    "cascade:understudy_drafts_judged:increase": (judged, ("1d", "7d")),
    "cascade:understudy_drafts_kept:share": (kept_share, ("1d", "7d")),
    "cascade:understudy_cost_usd:rate": (pace, ("5m", "1h", "1d")),
    "cascade:understudy_cost_usd:increase": (lambda window: window.grew(COST, "cascade"), ("30d",)),
    "cascade:understudy_net_saving_usd:increase": (net_saving, ("7d", "30d")),
    "cascade:understudy_net_saving_usd:margin": (
        lambda window: margin(window, "cascade"),
        ("7d", "30d"),
    ),
}
RECORDED: Mapping[str, Expected] = {
    name + token: _over(token, value)
    for name, (value, tokens) in _BY_WINDOW.items()
    for token in tokens
}
