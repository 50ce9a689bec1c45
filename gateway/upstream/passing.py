"""A model that is asked as clients ask it: fixed paths of one server, a breaker, a limit."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gateway.errors import (
    UpstreamBusy,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gateway.ports import Clock
from gateway.upstream.discretion import Discretion
from gateway.upstream.faults import NETWORK_ERRORS, fault_of, fault_of_status
from gateway.upstream.http1 import HttpClient
from gateway.upstream.openai import MAX_REPLY_BYTES, PATIENCE_SECONDS
from gateway.wire.passing import PassedRoute
from routing.breaker import Breaker


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model is.  ``base_url`` ends in ``/v1`` or its like."""

    base_url: str
    api_key: str | None
    max_concurrent: int
    timeout_seconds: float


def url_of(base_url: str, route: PassedRoute) -> str:
    """Where a server has a route: tokenizers stand at its root, all else under the base."""
    base = base_url.rstrip("/")
    return f"{base.removesuffix('/v1') if route.is_free else base}/{route}"


class PassingModel:
    """One model at one server, with what it may be asked for."""

    def __init__(
        self,
        place: Place,
        routes: Iterable[PassedRoute],
        clock: Clock,
        on_breaker: Callable[[UpstreamError | None], None],
    ) -> None:
        """``on_breaker`` is told the failure that opens the breaker, and None when it closes."""
        self.open_calls = 0
        self._place = place
        self._clock = clock
        self._on_breaker = on_breaker
        self._breaker = Breaker()
        self._discretion = Discretion(place.base_url, place.api_key)
        headers = {"content-type": "application/json"}
        if place.api_key is not None:
            headers["authorization"] = f"Bearer {place.api_key}"
        self._clients = {
            route: HttpClient(url_of(place.base_url, route), headers) for route in routes
        }

    @property
    def routes(self) -> frozenset[PassedRoute]:
        """What it may be asked for."""
        return frozenset(self._clients)

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()

    def reserve(self) -> None:
        """Raise UpstreamBusy or UpstreamUnavailable where it may not be asked now.

        A call must follow where it may.
        """
        if self.open_calls >= self._place.max_concurrent:
            raise UpstreamBusy("The model has as many open calls as it may have.")
        if not self._breaker.allows(self._clock()):
            raise UpstreamUnavailable("The model has failed of late, and is left alone for now.")

    async def ask(self, route: PassedRoute, body: bytes, headers: bytes = b"") -> bytes:
        """The answer's body.  Raises UpstreamError, and UpstreamRefused where it blames the client.

        ``headers`` are lines that this request has beside those of all, each with its end.
        """
        self.open_calls += 1
        started, client = self._clock(), self._clients[route]
        try:
            status, reply = await client.post(
                body, seconds=self._place.timeout_seconds, most=MAX_REPLY_BYTES, headers=headers
            )
            if status != 200:
                fault = fault_of_status(status, reply, client.retry_after)
                if isinstance(fault, UpstreamRefused):
                    raise fault.without(self._discretion.hide)
                raise fault
        except NETWORK_ERRORS as failure:
            error = fault_of(failure)
            self._report(error)
            raise error from failure
        except (UpstreamError, UpstreamRefused) as error:
            self._report(error)
            raise
        except BaseException:  # nobody waits any more
            self._given_up(self._clock() - started)
            raise
        finally:
            self.open_calls -= 1
        self._report(None)
        return reply

    def _given_up(self, waited_seconds: float) -> None:
        if waited_seconds >= PATIENCE_SECONDS:
            self._report(UpstreamTimeout("A client left that had waited for long."))
        else:
            self._breaker.abandoned()

    def _report(self, error: UpstreamError | UpstreamRefused | None) -> None:
        if isinstance(error, UpstreamError) and error.is_down:
            if self._breaker.failed(self._clock()):
                self._on_breaker(error)
        elif self._breaker.succeeded():
            self._on_breaker(None)
