"""What goes wrong at a model server, or what it says is wrong with a request."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from gateway.errors.own import GatewayError


class UpstreamError(GatewayError):
    """A model server failed; the other one may still answer.

    ``is_usage_unknown`` says that it may have worked, and charged, before it failed.  ``is_down``
    tells a server that is not to be had from one that could not do what one client asked.
    ``is_of_one_server``: another server of the same model may do better; ``is_for_the_moment``: the
    same one may, at once.  ``come_back_seconds`` is after what time it wants to be asked again,
    None where it did not say.
    """

    status = 502
    code = "upstream_error"
    is_down: ClassVar[bool] = False
    is_of_one_server: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        is_usage_unknown: bool = False,
        come_back_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.is_usage_unknown = is_usage_unknown
        self.come_back_seconds = come_back_seconds

    @property
    def is_for_the_moment(self) -> bool:
        """Whether it is worth asking the same server again at once."""
        return False


class UpstreamTimeout(UpstreamError):
    """No answer in time."""

    status = 504
    code = "upstream_timeout"
    is_down = True


class UpstreamUnavailable(UpstreamError):
    """It answered that it is away, or broke off."""

    status = 503
    code = "upstream_unavailable"
    retry_after_seconds = 5
    is_down = True
    is_of_one_server = True

    @property
    def is_for_the_moment(self) -> bool:
        """A balancer may have another server behind the same address; one that says when to come
        back knows better."""
        return self.come_back_seconds is None


class UpstreamUnreachable(UpstreamUnavailable):
    """No connection could be made: nothing was sent."""

    @property
    def is_for_the_moment(self) -> bool:
        """Nothing listens there."""
        return False


class UpstreamFailed(UpstreamError):
    """It answered that it failed at this request."""

    code = "upstream_failed"
    is_of_one_server = True


class UpstreamBusy(UpstreamError):
    """It answered that it has too much to do."""

    status = 503
    code = "upstream_busy"
    retry_after_seconds = 5
    is_of_one_server = True


class UpstreamMisconfigured(UpstreamError):
    """It refused our credentials, our path or the model name: an operator has to mend that."""

    code = "upstream_misconfigured"
    is_of_one_server = True


class UpstreamMalformed(UpstreamError):
    """It answered 200 with something that is no chat completion."""

    code = "upstream_malformed"


@dataclass(frozen=True, slots=True)
class ErrorNames:
    """An error's type and code in a server's words, None where it has none that are texts."""

    type: str | None = None
    code: str | None = None


class UpstreamRefused(GatewayError):
    """It says that the client's request is wrong; its words and status go on to the client.

    ``is_too_long`` tells a request beyond the model's context from every other mistake: another
    model may have room for it.
    """

    kind = "invalid_request_error"
    code = "upstream_refused"
    is_usage_unknown: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        param: str | None,
        upstream_status: int,
        is_too_long: bool,
        names: ErrorNames = ErrorNames(),
    ) -> None:
        super().__init__(message, param=param)
        self.upstream_status = upstream_status
        self.is_too_long = is_too_long
        self.names = names

    def without(self, hide: Callable[[str], str]) -> "UpstreamRefused":
        """The same without what must not leave the house."""
        names, param = self.names, self.param
        return UpstreamRefused(
            hide(self.message),
            param=None if param is None else hide(param),
            upstream_status=self.upstream_status,
            is_too_long=self.is_too_long,
            names=ErrorNames(
                None if names.type is None else hide(names.type),
                None if names.code is None else hide(names.code),
            ),
        )

    def detail(self) -> str:
        """For the log: without the server's words, which may quote the prompt."""
        return f"The model server refused the request with status {self.upstream_status}."
