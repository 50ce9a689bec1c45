"""The quality objective as a controller of ``routing/steering.py``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from routing.promise.promise_file import is_same, promise_document, state_from_document
from routing.promise.state import State, new_state
from routing.promise.telling import line_of, shown_of
from routing.promise.terms import Terms
from routing.steering import KEEP_NOTHING, Report, Standing


@dataclass(frozen=True, slots=True)
class Promise:
    """Holds one cascade to a promise on its kept drafts."""

    state: State

    @property
    def standing(self) -> Standing:
        """What is to hold now."""
        state = self.state
        is_all = state.threshold == KEEP_NOTHING
        return Standing(
            revision=state.revision,
            epoch=state.number,
            threshold=state.threshold,
            audit=0.0 if is_all else state.audit,
            complete=1.0 if is_all else state.terms.complete,
            line=line_of(state),
        )

    def advance(self, reports: Sequence[Report], now: float) -> "Promise":
        """After these reports, in this order, at a time in seconds since 1970."""
        return Promise(self.state.after(reports, now))

    def document(self) -> Mapping[str, object]:
        """All of it as JSON has it."""
        return promise_document(self.state)

    def shown(self) -> Mapping[str, object]:
        """What an operator wants to see of it."""
        return shown_of(self.state)


def new_promise(terms: Terms, revision: int = 0) -> Promise:
    """A promise of which nothing is proven yet, but by a head start; of the next revision."""
    return Promise(new_state(terms, revision))


def promise_from_document(document: object, terms: Terms) -> Promise:
    """Go on where a promise was; begin anew where alpha, delta or subject were others.

    Revisions go on growing, and reports that were taken up stay so.  Other terms may change under
    way.  Raises PolicyError where the document is none.
    """
    state = state_from_document(document, terms)
    if is_same(document, terms):
        return Promise(state)
    return Promise(replace(new_state(terms, state.revision), seen=state.seen))
