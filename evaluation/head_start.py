"""What labelled records prove of a promise on kept drafts before the first request comes.

The levels are those of the half that the policy was fitted on, the counts those of the other half:
the same cut that certifies its threshold.
"""

import numpy as np

from evaluation.outcomes import Booleans, Floats
from evaluation.source import Source
from routing.promise.head_start import head_start_of
from routing.promise.terms import HeadStart


def head_start(source: Source, half: Booleans, fitted: Floats, judged: Floats) -> HeadStart | str:
    """The head start of a policy, or why there is none.

    ``fitted`` are the merits of the records in ``half``, without having learnt from each; of the
    others ``judged`` has what the policy's own objects say.  Both have shape (n,), and are no
    number where a draft has no merit: such a draft is never kept, and no promise is about it.
    """
    outcomes = source.table.outcomes
    if source.by_teacher < source.table.n:
        return "not all records are labelled by the teacher's answer, which the promise is about"
    if not outcomes.has_equal_weights:
        return "the records were not drawn like the traffic"
    levels = half & np.isfinite(fitted)
    counted = ~half & np.isfinite(judged)
    if not (levels.any() and counted.any()):
        return "no record of one of its halves has a merit"
    losses = 1.0 - outcomes.student[counted]
    pairs = list(zip(judged[counted].tolist(), losses.tolist(), strict=True))
    return head_start_of(fitted[levels].tolist(), pairs)
