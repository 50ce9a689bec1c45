"""Hears every fact once and hands it to metrics and log."""

from structlog.typing import FilteringBoundLogger

from gateway.errors import GatewayError
from gateway.facts import ContentDropped, DraftCompleted, RequestSettled, TeacherProbed
from gateway.ports import Trouble
from gateway.telemetry.log import log_probed, log_settled
from gateway.telemetry.metrics import Metrics
from routing.vocabulary import Role


class Observer:
    """The one listener of a gateway."""

    def __init__(self, metrics: Metrics, log: FilteringBoundLogger) -> None:
        self.metrics = metrics
        self.log = log

    def settled(self, fact: RequestSettled) -> None:
        """A request is over."""
        self.metrics.settled(fact)
        log_settled(self.log, fact)

    def draft_completed(self, fact: DraftCompleted) -> None:
        """An abandoned draft was finished off the path."""
        self.metrics.draft_completed(fact)

    def teacher_probed(self, fact: TeacherProbed) -> None:
        """A teacher was asked off the path whether it goes on from given words."""
        self.metrics.teacher_probed(fact)
        log_probed(self.log, fact)

    def breaker_changed(self, cascade: str, role: Role, failure: GatewayError | None) -> None:
        """A model server is left alone from now on, after this failure; with None no longer."""
        is_open = failure is not None
        self.metrics.breaker_changed(cascade, role, is_open=is_open)
        last = {} if failure is None else {"error": failure.code, "detail": failure.detail()}
        self.log.warning("breaker", cascade=cascade, role=role, open=is_open, **last)

    def content_dropped(self, fact: ContentDropped) -> None:
        """A pair is written without its content."""
        self.metrics.content_dropped(fact)
        self.log.error(
            "content_dropped",
            cascade=fact.cascade,
            pair_id=fact.pair_id,
            cause=fact.cause,
            redactor=fact.redactor,
            detail=fact.detail,
        )

    def pair_written(self, cascade: str) -> None:
        """A pair stands in the journal."""
        self.metrics.pair_written(cascade)

    def pair_shipped(self, cascade: str) -> None:
        """A pair stands in the store."""
        self.metrics.pair_shipped(cascade)

    def pair_lost(self, cascade: str | None, cause: str, trouble: Trouble) -> None:
        """A pair is gone."""
        self.metrics.pair_lost(cascade, cause)
        self.log.error("pair_lost", cascade=cascade, cause=cause, **_told(trouble))

    def journal_changed(self, unshipped_bytes: int) -> None:
        """The journal holds so many bytes that are not in the store."""
        self.metrics.journal_changed(unshipped_bytes)

    def store_failed(self, error: str, trouble: Trouble) -> None:
        """Pairs could not be taken to the store; it will be tried again."""
        self.metrics.store_failed()
        self.log.warning("store_failed", error=error, **_told(trouble))


def _told(trouble: Trouble) -> dict[str, object]:
    return {"place": trouble.place, "errno": trouble.errno, "strerror": trouble.strerror}
