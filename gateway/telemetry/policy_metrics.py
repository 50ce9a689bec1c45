"""The metrics of policies: which one is in force, since when, what it promises and expects.

They are in docs/metrics.md with all the others.
"""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Gauge

from gateway.facts import PolicyInForce


class PolicyMetrics:
    """What metrics.py has of policies.  What nobody knows is absent."""

    def __init__(self, registry: CollectorRegistry, calibrated: Mapping[str, bool]) -> None:
        """``calibrated`` says for each cascade whether its policy was fitted."""
        self._registry = registry
        self._info = self._gauge(
            "understudy_policy_info",
            "Always 1: the version of the policy in force, and of the student that it is for.",
            "version",
            "student_version",
        )
        self._calibrated = self._gauge(
            "understudy_policy_calibrated",
            "1 where the cascade's policy was fitted, 0 where it is the uncalibrated default.",
        )
        self._threshold = self._gauge(
            "understudy_threshold", "The least merit with which whole drafts are kept."
        )
        self._fitted = self._gauge(
            "understudy_policy_fitted_timestamp_seconds",
            "The day on which the policy was fitted, in seconds since 1970.",
        )
        self._bound = self._gauge(
            "understudy_policy_disagreement_bound",
            "The share of kept drafts that are not acceptable, at most, as the policy promised.",
        )
        self._kept_share = self._gauge(
            "understudy_policy_kept_share",
            "The share of drafts that the policy kept of the records it was fitted on.",
        )
        self._told: dict[str, tuple[str, str]] = {}
        for cascade, is_calibrated in calibrated.items():
            self._calibrated.labels(cascade).set(is_calibrated)

    def threshold(self, cascade: str, threshold: float) -> None:
        """Another threshold holds, whatever the policy's own is; infinity keeps nothing."""
        self._threshold.labels(cascade).set(threshold)

    def in_force(self, fact: PolicyInForce) -> None:
        """A policy decides from now on; what was told of the one before goes."""
        versions = (fact.version, fact.student_version)
        before = self._told.get(fact.cascade, versions)
        if before != versions:
            self._info.remove(fact.cascade, *before)
        self._told[fact.cascade] = versions
        self._info.labels(fact.cascade, *versions).set(1)
        self._calibrated.labels(fact.cascade).set(fact.is_calibrated)
        self._threshold.labels(fact.cascade).set(fact.threshold)
        self._tell(self._fitted, fact.cascade, fact.fitted_at)
        self._tell(self._bound, fact.cascade, fact.disagreement_bound)
        self._tell(self._kept_share, fact.cascade, fact.kept_share)

    def _tell(self, gauge: Gauge, cascade: str, value: float | None) -> None:
        if value is None:
            gauge.remove(cascade)
        else:
            gauge.labels(cascade).set(value)

    def _gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(name, documentation, ("cascade", *labels), registry=self._registry)
