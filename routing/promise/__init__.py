"""The promise on kept drafts: at most so many differ, with that probability, at the lowest bill.

``promise.py`` is the controller; ``bets.py`` has the theorem it rests on.
"""

from routing.promise.head_start import head_start_of
from routing.promise.promise import Promise, new_promise, promise_from_document
from routing.promise.terms import HeadStart, Terms

__all__ = [
    "HeadStart",
    "Promise",
    "Terms",
    "head_start_of",
    "new_promise",
    "promise_from_document",
]
