"""One line of the bill for every call to a model: whoever adds up money adds up these.

Counters, the ledger and the log are sums of the same entries, so that they cannot disagree.
"""

from typing import NamedTuple

from routing.money import Usage
from routing.vocabulary import Kind, Named, Role


# A tuple is made in a third of the time that a frozen dataclass takes: each request has some.
class Entry(NamedTuple):
    """What one call came to.

    ``usage`` is None where nobody knows what the server did, ``cost_pico``, in pico-dollars, also
    where it has no price: an unknown is never 0.  ``is_estimated``: the server did not say what it
    did, and its tokens were counted from what was received.
    """

    role: Role | Named
    kind: Kind
    usage: Usage | None
    cost_pico: int | None
    is_estimated: bool = False
