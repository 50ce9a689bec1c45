"""The error tree.  Every failure that a client can see is one of these, with OpenAI's words for it.

    GatewayError
      RequestError                 400  the client's mistake
        Unauthorized               401
        NotFound                   404
        MethodNotAllowed           405
        RequestTimeout             408  the body did not arrive in time
        BodyTooLarge               413
        UnsupportedMediaType       415  the body is declared to be something else than JSON
      Overloaded                   503  too many open requests here
      ShuttingDown                 503  this process ends before the answer came
      TeacherUnavailable           503  nothing to serve: no draft, no teacher
      NotRecorded                  503  the teacher answered, and its pair could not be written
      InternalError                500  a bug of ours
      UpstreamError                     a model server failed
        UpstreamTimeout            504
        UpstreamUnavailable        503  unreachable, or answered 502, 503 or 504
        UpstreamFailed             502  answered any other 5xx: it lives, and could not do this
        UpstreamBusy               503  answered 429
        UpstreamMisconfigured      502  it refused our key, path or model name
        UpstreamMalformed          502  its answer is no chat completion
      UpstreamRefused         as sent   a model server blames the client's request

A message is public: it names no address, no key and no stack.
"""

import os
import ssl
from typing import ClassVar


def root_of(error: BaseException) -> BaseException:
    """The error beneath ``error`` of which the system says something, or ``error`` itself.

    Clients of the network wrap it several times, and httpcore hides it from ``__cause__``.
    """
    beneath: BaseException | None = error
    while beneath is not None:
        if words_of(beneath) is not None:
            return beneath
        if isinstance(beneath, BaseExceptionGroup):  # one for each address: the first will do
            beneath = beneath.exceptions[0]
        else:
            beneath = beneath.__cause__ or beneath.__context__
    return error


def words_of(error: BaseException) -> str | None:
    """What the system says of an error, without what it was told to do; None where it says nothing.

    asyncio and Redis' client put addresses and whole commands into their messages.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    if isinstance(error, TimeoutError) and error.errno is None:
        return "timed out"
    if not isinstance(error, OSError):
        return None
    if error.errno is None:  # asyncio's, where each of several addresses failed in its own way
        return str(error) if str(error).startswith("Multiple exceptions") else None
    has_number = type(error) is not ssl.SSLError and error.errno > 0
    return os.strerror(error.errno) if has_number else error.strerror


class GatewayError(Exception):
    """Any failure with an HTTP status, an OpenAI error type and code, and a public message."""

    status: ClassVar[int] = 500
    kind: ClassVar[str] = "api_error"
    code: ClassVar[str | None] = "internal_error"
    retry_after_seconds: ClassVar[int | None] = None

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    def detail(self) -> str:
        """For the log: the message, and what is beneath it, in the system's words if it has any."""
        cause = self.__cause__
        if cause is None:
            return self.message
        said = words_of(root_of(cause))
        return f"{self.message} ({type(cause).__name__}{': ' + said if said else ''})"


class RequestError(GatewayError):
    """The request cannot be understood or is not allowed."""

    status = 400
    kind = "invalid_request_error"
    code = "invalid_request"


class Unauthorized(RequestError):
    """No key, or one that is not in the keys file."""

    status = 401
    code = "invalid_api_key"


class NotFound(RequestError):
    """No such route."""

    status = 404
    code = "not_found"


class ModelNotFound(NotFound):
    """No cascade of that name."""

    code = "model_not_found"


class MethodNotAllowed(RequestError):
    """The route exists, the method does not."""

    status = 405
    code = "method_not_allowed"


class RequestTimeout(RequestError):
    """The client took too long to send its body."""

    status = 408
    code = "request_timeout"


class BodyTooLarge(RequestError):
    """The body is over the limit."""

    status = 413
    code = "request_too_large"


class UnsupportedMediaType(RequestError):
    """The body is declared to be something else than JSON."""

    status = 415
    code = "unsupported_media_type"


class Overloaded(GatewayError):
    """This replica has as many open requests as it may have."""

    status = 503
    code = "overloaded"
    retry_after_seconds = 1


class ShuttingDown(GatewayError):
    """This process is told to end, and has waited as long as it may."""

    status = 503
    code = "shutting_down"
    retry_after_seconds = 1


class TeacherUnavailable(GatewayError):
    """There is no draft to serve and the teacher is not to be had."""

    status = 503
    code = "teacher_unavailable"
    retry_after_seconds = 5


class NotRecorded(GatewayError):
    """The teacher answered, but its pair could not be written, and the operator wants both."""

    status = 503
    code = "journal_full"
    retry_after_seconds = 5


class InternalError(GatewayError):
    """A bug: the message says nothing about it, the log does."""


class UpstreamError(GatewayError):
    """A model server failed; the other one may still answer.

    ``is_usage_unknown`` says that it may have worked, and charged, before it failed.  ``is_down``
    tells a server that is not to be had from one that could not do what one client asked.
    """

    status = 502
    code = "upstream_error"
    is_down: ClassVar[bool] = False

    def __init__(self, message: str, *, is_usage_unknown: bool = False) -> None:
        super().__init__(message)
        self.is_usage_unknown = is_usage_unknown


class UpstreamTimeout(UpstreamError):
    """No answer in time."""

    status = 504
    code = "upstream_timeout"
    is_down = True


class UpstreamUnavailable(UpstreamError):
    """Not reachable, or it answered that it is away."""

    status = 503
    code = "upstream_unavailable"
    retry_after_seconds = 5
    is_down = True


class UpstreamFailed(UpstreamError):
    """It answered that it failed at this request."""

    code = "upstream_failed"


class UpstreamBusy(UpstreamError):
    """It answered that it has too much to do."""

    status = 503
    code = "upstream_busy"
    retry_after_seconds = 5


class UpstreamMisconfigured(UpstreamError):
    """It refused our credentials, our path or the model name: an operator has to mend that."""

    code = "upstream_misconfigured"


class UpstreamMalformed(UpstreamError):
    """It answered 200 with something that is no chat completion."""

    code = "upstream_malformed"


class UpstreamRefused(GatewayError):
    """It says that the client's request is wrong; its words and status go on to the client.

    ``is_too_long`` tells a prompt beyond the model's context from every other mistake: another
    model may have room for it.
    """

    kind = "invalid_request_error"
    code = "upstream_refused"
    is_usage_unknown: ClassVar[bool] = False

    def __init__(
        self, message: str, *, param: str | None, upstream_status: int, is_too_long: bool
    ) -> None:
        super().__init__(message, param=param)
        self.upstream_status = upstream_status
        self.is_too_long = is_too_long

    def detail(self) -> str:
        """For the log: without the server's words, which may quote the prompt."""
        return f"The model server refused the request with status {self.upstream_status}."
