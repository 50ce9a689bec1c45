"""What Grafana puts in the place of a query's variables, for whoever asks Prometheus without it."""

from dataclasses import dataclass

# As provisioning/datasources/prometheus.yaml tells Grafana, and as Prometheus scrapes unless told.
SCRAPE_SECONDS = 15


@dataclass(frozen=True)
class Window:
    """What a panel shows: so many seconds up to ``end``, a point every ``step`` of them."""

    end: float
    seconds: float
    step: float
    scrape: float = SCRAPE_SECONDS

    @property
    def rate_interval(self) -> float:
        """Grafana's rule: wide enough for four scrapes, and for no scrape to fall between steps."""
        return max(self.step + self.scrape, 4 * self.scrape)


def interpolated(promql: str, window: Window, cascade: str = ".+") -> str:
    """The query as Prometheus gets it, of all namespaces and jobs."""
    values = {
        "$__rate_interval": _duration(window.rate_interval),
        "$__range": _duration(window.seconds),
        "$cascade": cascade,
        "$namespace": ".*",
        "$job": ".*",
    }
    for name, value in values.items():
        promql = promql.replace(name, value)
    return promql


def _duration(seconds: float) -> str:
    return f"{max(round(seconds * 1000), 1)}ms"
