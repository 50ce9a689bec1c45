"""What the panels of the dashboard Objectives are to show: little, for no cascade here is steered.

That steered cascades show in them what they are to is for ``bench.pictures``, with eyes.
"""

from collections.abc import Mapping

from tests.prometheus.expected_cost import COST
from tests.prometheus.expected_recorded import SECONDS
from tests.prometheus.expecting import Expected, empty

UNSTEERED = "no cascade is held to an objective that steers itself"
UNAUDITED = "no cascade has an audit share"
UNASKED = "no cascade asks for its teacher's queue"
FORGETFUL = "no cascade remembers conversations"

OBJECTIVES_PANELS: Mapping[tuple[int, str], Expected] = {
    (401, "A"): empty(UNSTEERED),
    (402, "A"): empty(UNSTEERED),
    (403, "A"): empty(UNSTEERED),
    (403, "B"): empty(UNSTEERED),
    (403, "C"): empty(UNAUDITED),
    (404, "A"): empty(UNSTEERED),
    (405, "A"): empty(UNSTEERED),
    (406, "A"): empty(UNSTEERED),
    (407, "A"): empty(UNSTEERED),
    (407, "B"): empty(UNSTEERED),
    (408, "A"): empty(UNSTEERED),
    (408, "B"): empty(UNSTEERED),
    (408, "C"): empty(UNSTEERED),
    (409, "A"): empty(UNSTEERED),
    (410, "A"): empty(UNAUDITED),
    (411, "A"): empty(UNAUDITED),
    (412, "A"): lambda shown: shown.over(SECONDS["1h"]).grew(COST, "cascade", kind="audit"),
    (413, "A"): empty(FORGETFUL),
    (414, "A"): empty(UNSTEERED),
    (415, "A"): empty(UNSTEERED),
    (416, "A"): empty(UNASKED),
    (416, "B"): empty(UNASKED),
}
