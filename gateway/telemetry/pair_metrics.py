"""The metrics of pairs: what became of them, and how the journal and the store stand.

They are in docs/metrics.md with all the others.
"""

import time
from collections.abc import Callable, Collection

from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.ports import Clock, Fate, JournalState
from gateway.telemetry.family import Family

OTHER = "other"
CAUSES_OF_LOSS = ("journal_full", "write_failed", "too_large", "journal_shortened")
CAUSES_OF_EXPIRY = ("age", "size")
CAUSES_OF_DROPPED_CONTENT = ("redactor_failed",)


class PairMetrics:
    """What metrics.py has of pairs.  ``epoch`` counts seconds from 1970."""

    def __init__(
        self, registry: CollectorRegistry, cascades: Collection[str], epoch: Clock = time.time
    ) -> None:
        self._registry = registry
        self._cascades = frozenset(cascades)
        self._epoch = epoch
        self._is_durable: bool | None = None
        self._is_evicting = False
        self._define_pairs()
        self._define_journal()
        self._begin_at_zero()

    def _define_pairs(self) -> None:
        self._written = self._counter(
            "understudy_pairs_written_total", "Pairs that reached the journal.", "cascade"
        )
        self._shipped = self._counter(
            "understudy_pairs_shipped_total", "Pairs that reached the store.", "cascade"
        )
        self._lost = self._counter(
            "understudy_pairs_lost_total",
            "Pairs that are gone (journal_full, write_failed, too_large, journal_shortened).",
            "cascade",
            "cause",
        )
        self._content_dropped = self._counter(
            "understudy_pair_contents_dropped_total",
            "Pairs that were written without their content (redactor_failed).",
            "cascade",
            "cause",
        )
        self._expired = self._counter(
            "understudy_pairs_expired_total",
            "Pairs that went from the store by the cascade's bounds (age, size).",
            "cascade",
            "cause",
        )
        self._deleted = self._counter(
            "understudy_pairs_deleted_total",
            "Pairs that went from journal or store because somebody asked for it.",
            "cascade",
        )

        self._completions = self._counter(
            "understudy_stored_completions_total",
            "Completions that clients had stored (written, shipped, lost, expired).",
            "cascade",
            "fate",
        )
        self._stored = self._gauge_of_cascade(
            "understudy_pairs_stored", "Pairs that are in the store; all replicas say the same."
        )
        self._unread = self._gauge_of_cascade(
            "understudy_pairs_unread",
            "Pairs in the store that no export of the default group has finished with yet.",
        )

    def _define_journal(self) -> None:
        self._unshipped_bytes = self._gauge(
            "understudy_journal_unshipped_bytes",
            "Bytes in the journal from the oldest pair on that is not in the store yet.",
        )
        self._kept_bytes = self._gauge(
            "understudy_journal_kept_bytes",
            "Bytes in the journal that are in the store, and kept until that is sure.",
        )
        self._oldest = self._gauge(
            "understudy_journal_oldest_unshipped_seconds",
            "Age of the oldest pair that is not in the store yet; 0 where all are.",
        )
        self._has_room = self._gauge(
            "understudy_journal_has_room", "1 while pairs can be written, 0 while they are lost."
        )
        self._damaged = self._counter(
            "understudy_journal_damaged_total",
            "Ranges of the journal that cannot be read, by kind (torn, damaged).",
            "kind",
        )
        self._durable = self._gauge(
            "understudy_store_durable",
            "1 where the store says of pairs that they are on its disk.",
        )
        self._evicts = self._gauge(
            "understudy_store_evicts", "1 where the store throws pairs away when it is full."
        )
        self._store_errors = Counter(
            "understudy_store_errors_total",
            "Failed attempts to write to the store; each is tried again.",
            registry=self._registry,
        )

    def _begin_at_zero(self) -> None:
        """``increase()`` does not see a series begin: what is to be seen is there before."""
        for is_torn in (True, False):
            self._damaged.labels(_kind_of_damage(is_torn=is_torn))
        for cause in CAUSES_OF_LOSS:
            self._lost.labels(OTHER, cause)
        for cascade in self._cascades:
            self._written.labels(cascade)
            self._shipped.labels(cascade)
            self._deleted.labels(cascade)
            for cause in CAUSES_OF_LOSS:
                self._lost.labels(cascade, cause)
            for cause in CAUSES_OF_EXPIRY:
                self._expired.labels(cascade, cause)
            for cause in CAUSES_OF_DROPPED_CONTENT:
                self._content_dropped.labels(cascade, cause)

    def watch(self, state: Callable[[], JournalState]) -> None:
        """How the journal stands is asked of it whenever somebody reads the metrics."""
        self._unshipped_bytes.set_function(lambda: state().unshipped_bytes)
        self._kept_bytes.set_function(lambda: state().kept_bytes)
        self._has_room.set_function(lambda: state().has_room)
        self._oldest.set_function(lambda: self._age(state().oldest_unshipped))

    def written(self, cascade: str) -> None:
        """A pair stands in the journal."""
        self._written.labels(cascade).inc()

    def shipped(self, cascade: str) -> None:
        """A pair stands in the store."""
        self._shipped.labels(self._known(cascade)).inc()

    def lost(self, cascade: str | None, cause: str) -> None:
        """A pair is gone."""
        self._lost.labels(self._known(cascade), cause).inc()

    def content_dropped(self, cascade: str, cause: str) -> None:
        """A pair is written without its content."""
        self._content_dropped.labels(cascade, cause).inc()

    def expired(self, cascade: str, cause: str, count: int) -> None:
        """So many pairs went from the store by the cascade's bounds."""
        self._expired.labels(self._known(cascade), cause).inc(count)

    def deleted(self, cascade: str, count: int) -> None:
        """So many pairs went because somebody asked for it."""
        self._deleted.labels(self._known(cascade)).inc(count)

    def completions_kept(self, cascade: str) -> None:
        """A cascade stores completions: what becomes of them is to be seen from nothing on."""
        for fate in Fate:
            self._completions.labels(cascade, fate)

    def completions_became(self, cascade: str, fate: Fate, count: int) -> None:
        """What became of so many of them."""
        self._completions.labels(self._known(cascade), fate).inc(count)

    def counted(self, cascade: str, stored: int | None, unread: int | None) -> None:
        """So many are in the store, and so many of them in no export; None is unknown."""
        for gauge, count in ((self._stored, stored), (self._unread, unread)):
            if count is None:
                gauge.remove(cascade)
            else:
                gauge.labels(cascade).set(count)

    def damaged(self, *, is_torn: bool) -> None:
        """A range of the journal cannot be read."""
        self._damaged.labels(_kind_of_damage(is_torn=is_torn)).inc()

    def store_changed(self, *, is_durable: bool) -> bool:
        """Whether pairs are on the store's disk; gives whether that is news."""
        is_news = self._is_durable is not is_durable
        self._is_durable = is_durable
        self._durable.set(is_durable)
        return is_news

    def store_seen(self, *, is_evicting: bool) -> bool:
        """Whether the store throws pairs away when it is full; gives whether that is news."""
        is_news = self._is_evicting is not is_evicting
        self._is_evicting = is_evicting
        self._evicts.set(is_evicting)
        return is_news

    def store_failed(self) -> None:
        """The store could not be written."""
        self._store_errors.inc()

    def _age(self, since: float | None) -> float:
        return 0.0 if since is None else max(0.0, self._epoch() - since)

    def _known(self, cascade: str | None) -> str:
        """A journal may hold pairs of a cascade that the configuration has since lost."""
        return cascade if cascade is not None and cascade in self._cascades else OTHER

    def _counter(self, name: str, documentation: str, *labels: str) -> Family[Counter]:
        return Family(Counter(name, documentation, labels, registry=self._registry))

    def _gauge(self, name: str, documentation: str) -> Gauge:
        return Gauge(name, documentation, registry=self._registry)

    def _gauge_of_cascade(self, name: str, documentation: str) -> Gauge:
        return Gauge(name, documentation, ("cascade",), registry=self._registry)


def _kind_of_damage(*, is_torn: bool) -> str:
    return "torn" if is_torn else "damaged"
