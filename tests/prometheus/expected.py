"""The registry of expectations: who adds a panel or a rule says here what it has to show."""

from collections.abc import Mapping
from decimal import Decimal

from tests.prometheus.expected_alerts import ALERTS, FIRES
from tests.prometheus.expected_cost import COST_PANELS
from tests.prometheus.expected_flywheel import FLYWHEEL_PANELS
from tests.prometheus.expected_objectives import OBJECTIVES_PANELS
from tests.prometheus.expected_recorded import RECORDED
from tests.prometheus.expected_routing import ROUTING_PANELS
from tests.prometheus.expected_serving import SERVING_PANELS
from tests.prometheus.expecting import Expected

_BY_DASHBOARD = {
    "understudy-cost": COST_PANELS,
    "understudy-flywheel": FLYWHEEL_PANELS,
    "understudy-objectives": OBJECTIVES_PANELS,
    "understudy-routing": ROUTING_PANELS,
    "understudy-serving": SERVING_PANELS,
}
PANELS: Mapping[tuple[str, int, str], Expected] = {
    (uid, panel, ref): expected
    for uid, panels in _BY_DASHBOARD.items()
    for (panel, ref), expected in panels.items()
}
# Differences of nearly equal numbers, and how far off they may be.
LOOSE: Mapping[tuple[str, int, str], Decimal] = {("understudy-routing", 113, "A"): Decimal("0.02")}
RULES: Mapping[str, Expected] = {**RECORDED, **ALERTS}
__all__ = ["FIRES", "LOOSE", "PANELS", "RULES"]
