"""An observer that remembers the facts it was told."""

from gateway.facts import DraftCompleted, RequestSettled
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.observer import Observer


class RememberingObserver(Observer):
    """Counts and logs as the real one does; ``settled_facts`` and ``completed_facts`` are kept."""

    def __init__(self, real: Observer) -> None:
        """Its metrics begin at nothing; the log is that of the ``real`` one."""
        super().__init__(Metrics(version="0", calibrated={}), real.log)
        self.settled_facts: list[RequestSettled] = []
        self.completed_facts: list[DraftCompleted] = []

    def settled(self, fact: RequestSettled) -> None:
        """A request is over."""
        super().settled(fact)
        self.settled_facts.append(fact)

    def draft_completed(self, fact: DraftCompleted) -> None:
        """An abandoned draft was finished off the path."""
        super().draft_completed(fact)
        self.completed_facts.append(fact)
