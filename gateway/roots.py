"""What lies beneath an error, and what the system says of it: for logs, and for the doctor."""

import os
import ssl


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
