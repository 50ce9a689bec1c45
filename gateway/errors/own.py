"""What goes wrong on this side: a client's mistake, a bound, a store, a bug."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from gateway.roots import root_of, words_of


class GatewayError(Exception):
    """Any failure with an HTTP status, an OpenAI error type and code, and a public message."""

    status: ClassVar[int] = 500
    kind: str = "api_error"
    code: ClassVar[str | None] = "internal_error"
    retry_after_seconds: int | None = None
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    def rename(self, param: str) -> None:
        """Call the offending parameter by another name, in the message too."""
        self.message = self.message.replace(f"'{self.param}'", f"'{param}'")
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


class ArrayTooLong(RequestError):
    """More entries than are allowed; the code is OpenAI's."""

    code = "array_above_max_length"


class ValueTooLarge(RequestError):
    """A number above what is allowed; the code is OpenAI's."""

    code = "integer_above_max_value"


class MediaNotAllowed(RequestError):
    """A picture, sound or file is named by an URL that no model server is told to fetch."""

    code = "media_not_allowed"


class Unauthorized(RequestError):
    """No key, or one that is not known."""

    status = 401
    code = "invalid_api_key"


class KeyExpired(Unauthorized):
    """The key was valid once."""

    code = "key_expired"


class NotFound(RequestError):
    """No such route."""

    status = 404
    code = "not_found"


class ModelNotFound(NotFound):
    """No cascade of that name."""

    code = "model_not_found"


class CannotCount(NotFound):
    """The model's server has no route that counts tokens."""


class NotServed(NotFound):
    """The model exists, and is not to be asked for this."""

    code = "model_not_supported"


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


class Forbidden(RequestError):
    """This key may not ask for that."""

    status = 403
    kind = "permission_error"
    code = "not_allowed"


class ObjectiveChanged(RequestError):
    """The objective is another by now than whoever wants to change it has read."""

    status = 412
    code = "objective_changed"


class RateLimited(RequestError):
    """This key has asked for as much as it may for now."""

    status = 429
    kind = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class LimitReached(RateLimited):
    """This key has asked for as much as it may in a minute; ``headers`` say how it stands."""

    def __init__(
        self, message: str, *, kind: str, retry_after_seconds: int, headers: Mapping[str, str]
    ) -> None:
        """``kind`` is what there is too much of, ``requests`` or ``tokens``, as OpenAI tells it."""
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.kind = kind
        self.headers = headers


class BudgetSpent(RateLimited):
    """This key may cost nothing more today, and what it asks for cannot be had without that."""

    kind = "insufficient_quota"
    code = "insufficient_quota"


class Overloaded(GatewayError):
    """This replica has as many open requests as it may have."""

    status = 503
    code = "overloaded"
    retry_after_seconds = 1


class KeysNotKnownYet(GatewayError):
    """The keys are in Redis, and that was never to be had since this gateway was set up."""

    status = 503
    code = "keys_not_known_yet"
    retry_after_seconds = 5


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


class StoreUnavailable(GatewayError):
    """What clients have had stored cannot be read at the moment; the rest goes on."""

    status = 503
    code = "store_unavailable"
    retry_after_seconds = 5


class Unreadable(GatewayError):
    """What is stored cannot be opened: an operator has to give the gateway the key again."""

    code = "stored_unreadable"


class InternalError(GatewayError):
    """A bug: the message says nothing about it, the log does."""
