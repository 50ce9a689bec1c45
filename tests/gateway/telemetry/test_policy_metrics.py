from gateway.facts import PolicyInForce
from gateway.telemetry.policy_metrics import PolicyMetrics
from gateway.telemetry.registry import Registry

FITTED = PolicyInForce(
    cascade="a",
    version="0123456789ab",
    student_version="s-1",
    threshold=0.7,
    is_calibrated=True,
    fitted_at=1_000_000.0,
    disagreement_bound=0.05,
    kept_share=0.6,
)
DEFAULT = PolicyInForce("a", "uncalibrated", "s-2", 0.8, is_calibrated=False)
NAMES = {
    "understudy_policy_calibrated": (1, 0),
    "understudy_threshold": (0.7, 0.8),
    "understudy_policy_fitted_timestamp_seconds": (1_000_000, None),
    "understudy_policy_disagreement_bound": (0.05, None),
    "understudy_policy_kept_share": (0.6, None),
}


def test_what_a_policy_says_is_shown_and_goes_with_it() -> None:
    registry = Registry()
    policies = PolicyMetrics(registry, {"a": True})
    for place, fact in enumerate((FITTED, DEFAULT)):
        policies.in_force(fact)
        for name, values in NAMES.items():
            assert registry.get_sample_value(name, {"cascade": "a"}) == values[place], name


def test_one_policy_is_in_force_at_a_time() -> None:
    registry = Registry()
    policies = PolicyMetrics(registry, {"a": True, "b": False})
    for fact in (FITTED, FITTED, DEFAULT):
        policies.in_force(fact)
    page = registry.exposition().decode()
    shown = [line for line in page.splitlines() if line.startswith("understudy_policy_info{")]
    labels = 'cascade="a",student_version="s-2",version="uncalibrated"'
    assert shown == [f"understudy_policy_info{{{labels}}} 1.0"]
