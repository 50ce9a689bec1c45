"""Says what happens to the clients' keys, once each time: to metrics and log."""

from collections.abc import Callable, Collection

from gateway.ports import Trouble
from gateway.telemetry.observer import Observer

MOST_NAMES = 50  # in one line of the log: it may be all that a large Redis holds


class KeyNews:
    """What one source of keys has to say.  Nothing that is told holds a key or a hash."""

    def __init__(self, observer: Observer, source: str, age: Callable[[], float]) -> None:
        """``age`` is how many seconds ago the source was last read well."""
        self._observer = observer
        self._source = source
        self._last: object = None
        observer.metrics.keys.watch(source, age)

    def taken(self, names: Collection[str], before: Collection[str]) -> None:
        """These keys are in force now, and those were before."""
        self._observer.metrics.keys.taken(self._source, len(names))
        self._observer.log.info(
            "keys",
            source=self._source,
            count=len(names),
            added=sorted(set(names) - set(before))[:MOST_NAMES],
            removed=sorted(set(before) - set(names))[:MOST_NAMES],
        )

    def refused(self, why: str) -> None:
        """What the source holds is no use; told once for each reason in a row."""
        self._observer.metrics.keys.failed(self._source)
        if self._is_news(("refused", why)):
            self._observer.log.error(
                "keys_refused",
                source=self._source,
                why=why,
                message="the keys in force stay, and none that was taken away since is gone",
            )

    def away(self, error: str, trouble: Trouble) -> None:
        """The source cannot be asked; told once until it can."""
        self._observer.metrics.keys.failed(self._source)
        if self._is_news("away"):
            self._observer.log.warning(
                "keys_away",
                source=self._source,
                error=error,
                place=trouble.place,
                errno=trouble.errno,
                strerror=trouble.strerror,
                message="keys cannot be read: those in force stay",
            )

    def well(self) -> None:
        """The source was read; told where it could not be before."""
        if self._last is not None:
            self._last = None
            self._observer.log.info("keys_back", source=self._source, message="keys are read again")

    def older(self, revision: int, before: int) -> None:
        """The store has an older state than the one in force, as after a restore."""
        self._observer.log.warning(
            "keys_older",
            source=self._source,
            revision=revision,
            before=before,
            message="the store was put back to an older state, which is in force now: revoke again "
            "what was revoked since",
        )

    def left_out(self, name: str, why: str) -> None:
        """One entry is no key, the others are."""
        self._observer.log.error("key_refused", source=self._source, key=name, why=why)

    def not_saved(self, place: str, error: OSError) -> None:
        """The keys could not be read or written in the state directory."""
        self._observer.log.error(
            "keys_not_saved", place=place, errno=error.errno, strerror=error.strerror
        )

    def _is_news(self, told: object) -> bool:
        is_news, self._last = told != self._last, told
        return is_news
