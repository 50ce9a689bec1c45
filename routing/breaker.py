"""When to stop asking a model server that keeps failing, and when to try it again.

Time is an argument, in seconds of any steady clock.  A closed breaker opens after a run of
failures; an open one lets a single probe through after a rest; what becomes of that decides.
Nygard, "Release It!", chapter 5.
"""

from dataclasses import dataclass

FAILURES_TO_OPEN = 5
REST_SECONDS = 5.0


@dataclass(slots=True)
class Breaker:
    """State of one upstream's breaker.  ``opened_at`` is None while it is closed."""

    failures: int = 0
    opened_at: float | None = None
    probing: bool = False

    def allows(self, now: float) -> bool:
        """Say whether a call may be made at ``now``; a True after a rest hands out the probe."""
        if self.opened_at is None:
            return True
        if self.probing or now - self.opened_at < REST_SECONDS:
            return False
        self.probing = True
        return True

    def began(self) -> bool:
        """Report a call that the server has begun to answer: that is all that a probe has to find.

        It ends no run of failures, for a server may begin well and break off every time.  True
        where this closed the breaker.
        """
        return self.probing and self.succeeded()

    def succeeded(self) -> bool:
        """Report a call that the server answered, whatever it answered: the breaker closes.

        True where it was open.
        """
        was_open = self.opened_at is not None
        self.failures, self.opened_at, self.probing = 0, None, False
        return was_open

    def failed(self, now: float) -> bool:
        """Report a call that the server failed at ``now``.  True where this opens the breaker."""
        self.failures += 1
        was_closed = self.opened_at is None
        if self.probing or (was_closed and self.failures >= FAILURES_TO_OPEN):
            self.opened_at = now
        self.probing = False
        return was_closed and self.opened_at is not None

    def abandoned(self) -> None:
        """Report a call that was given up before the server could show how it fares."""
        self.probing = False
