"""PromQL that several panels share, written once so that all of them mean the same.

Counters of all replicas are added up; gauges that all replicas tell alike are taken once, by `max`.
A share is not shown where nothing is there to take it of: it never divides by zero.
"""

# The variables are regular expressions: one name, several (a|b), or anything for all of them.  A
# series without a namespace has an empty one, which matches too.
FROM = 'namespace=~"$namespace", job=~"$job"'
OF = f'{FROM}, cascade=~"$cascade"'

# Requests that got an answer, from whichever model.
ANSWERED = 'outcome=~"kept|escalated|degraded"'

KEEP = 'verdict="keep"'

# The 95% interval of an estimate is so many standard deviations wide to either side.
DEVIATIONS = "1.96"

# With fewer drafts held out the interval is not to be trusted: docs/savings.md.
LEAST_HELD_OUT = 100

# Windows: for what is drawn over time, and for one number about all that is shown.
PACE = "$__rate_interval"
SHOWN = "$__range"


def selector(metric: str, *matchers: str) -> str:
    """The series of a metric of the chosen cascades that match."""
    return f"{metric}{{{', '.join((OF, *matchers))}}}"


def rate(metric: str, *matchers: str, by: str = "", window: str = PACE) -> str:
    """How much a counter grows in a second, over all replicas, apart by the labels ``by``."""
    return f"{_sum(by)}(rate({selector(metric, *matchers)}[{window}]))"


def increase(metric: str, *matchers: str, by: str = "", window: str = SHOWN) -> str:
    """How much a counter has grown, over all replicas, apart by the labels ``by``."""
    return f"{_sum(by)}(increase({selector(metric, *matchers)}[{window}]))"


def pace(metric: str, *matchers: str) -> str:
    """How much each series of a counter grows in a second."""
    return f"rate({selector(metric, *matchers)}[{PACE}])"


def together(*of_counters: str) -> str:
    """Paces of several counters added up, by cascade, whichever of them are there."""
    return f"sum by (cascade) ({' or '.join(of_counters)})"


def told(metric: str, *matchers: str, by: str = "cascade", how: str = "max") -> str:
    """A gauge that every replica tells alike."""
    return f"{how} by ({by}) ({selector(metric, *matchers)})"


def seen(metric: str, *matchers: str, by: str) -> str:
    """The pace of a counter by its labels, without values of them that did not come up in all the
    time shown: counters begin at 0 with every value."""
    grown = increase(metric, *matchers, by=by)
    return f"{rate(metric, *matchers, by=by)} and on ({by}) ({grown} > 0)"


def grown(metric: str, *matchers: str, by: str) -> str:
    """How much a counter grew lately, again without values of its labels that never came up."""
    ever = increase(metric, *matchers, by=by)
    return f"{increase(metric, *matchers, by=by, window=PACE)} and on ({by}) ({ever} > 0)"


def share(part: str, whole: str) -> str:
    """``part / whole``, 0 where the whole is there and the part is not; nothing where there is no
    whole.  Both have the same labels."""
    return f"(({part}) or 0 * ({whole})) / (({whole}) > 0)"


def share_of_all(parts: str, whole: str) -> str:
    """Each of several parts as a share of one number."""
    return f"({parts}) / on () group_left () (({whole}) > 0)"


def quantile(of: float, histogram: str, *matchers: str, by: str = "") -> str:
    """A quantile over all replicas: their buckets are added up first."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({of}, {rate(f'{histogram}_bucket', *matchers, by=labels)})"


def mean(histogram: str, *matchers: str, by: str = "cascade", window: str = PACE) -> str:
    """The mean of what a histogram has seen; nothing where it saw nothing."""
    total = rate(f"{histogram}_sum", *matchers, by=by, window=window)
    count = rate(f"{histogram}_count", *matchers, by=by, window=window)
    return f"{total} / ({count} > 0)"


def everywhere(metric: str, *matchers: str) -> str:
    """The series of a metric that is not told apart by cascade."""
    return f"{metric}{{{', '.join((FROM, *matchers))}}}"


def quantile_everywhere(of: float, histogram: str) -> str:
    """A quantile of what is not told apart by cascade, over all replicas."""
    buckets = everywhere(f"{histogram}_bucket")
    return f"histogram_quantile({of}, sum by (le) (rate({buckets}[{PACE}])))"


def expected_disagreement() -> str:
    """What fitted policies themselves expect to be wrong among kept drafts, by cascade; the
    confidence of others is no probability."""
    wrong = f"1 - {mean('understudy_confidence', KEEP)}"
    return f"{wrong} and on (cascade) {told('understudy_policy_calibrated', how='min')} == 1"


def teacher_alone(by: str = "", window: str = SHOWN) -> str:
    """What the teacher alone would have cost: the baseline and its corrections from the holdout."""
    baseline = increase("understudy_baseline_usd_total", by=by, window=window)
    correction = "understudy_baseline_correction_usd_total"
    up = increase(correction, 'direction="up"', by=by, window=window)
    down = increase(correction, 'direction="down"', by=by, window=window)
    return f"{baseline} + ({up} or 0 * {baseline}) - ({down} or 0 * {baseline})"


def saved(by: str = "", window: str = SHOWN) -> str:
    """Net: the teacher alone, less everything that was paid."""
    baseline = increase("understudy_baseline_usd_total", by=by, window=window)
    cost = increase("understudy_cost_usd_total", by=by, window=window)
    return f"{teacher_alone(by, window)} - ({cost} or 0 * {baseline})"


def saved_margin(by: str = "", window: str = SHOWN) -> str:
    """Half the width of the 95% interval of `saved`.

    Nothing where too few drafts were held out to measure it, be it of one of the cascades summed.
    """
    variance = increase("understudy_baseline_variance_usd2_total", by=by, window=window)
    margin = f"{DEVIATIONS} * sqrt({variance})"
    held_out = increase(
        "understudy_baseline_observations_total", 'basis="sample"', by="cascade", window=window
    )
    if by == "cascade":
        return f"{margin} and on (cascade) {held_out} >= {LEAST_HELD_OUT}"
    estimated = increase("understudy_baseline_usd_total", by="cascade", window=window)
    return f"{margin} and on () count({held_out} >= {LEAST_HELD_OUT}) == count({estimated} > 0)"


def thirty_days(counter: str, by: str) -> str:
    """What thirty days come to at the mean pace of the day before.  The mean is over the moments
    that there is data of, so that a gateway's first day is not taken for a quiet one."""
    return f"avg_over_time(({rate(counter, by=by, window='5m')})[1d:5m]) * 86400 * 30"


def _sum(by: str) -> str:
    return f"sum by ({by}) " if by else "sum"
