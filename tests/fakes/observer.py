"""An observer that remembers the facts it was told."""

from gateway.facts import BothAnswered, DraftCompleted, RequestSettled
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.observer import Observer


class RememberingObserver(Observer):
    """Counts and logs as the real one does; facts about requests and drafts are kept."""

    def __init__(self, real: Observer) -> None:
        """Its metrics begin at nothing; log and ledger are those of the ``real`` one."""
        super().__init__(Metrics(version="0", calibrated={}), real.log, real.ledger)
        self.settled_facts: list[RequestSettled] = []
        self.completed_facts: list[DraftCompleted] = []
        self.answered_facts: list[BothAnswered] = []

    def settled(self, fact: RequestSettled) -> None:
        """A request is over."""
        super().settled(fact)
        self.settled_facts.append(fact)

    def draft_completed(self, fact: DraftCompleted) -> None:
        """An abandoned draft was finished off the path."""
        super().draft_completed(fact)
        self.completed_facts.append(fact)

    def both_answered(self, fact: BothAnswered) -> None:
        """Both models have answered a request in full."""
        super().both_answered(fact)
        self.answered_facts.append(fact)
