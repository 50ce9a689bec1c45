"""What a failure of the store means: whom it concerns, and what may be told of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from redis.exceptions import AuthenticationError, MovedError, ResponseError

from gateway.ports import Trouble
from gateway.roots import root_of, words_of
from gateway.stores.store_url import Address

# Replies that say something of the server, and nothing of the key.
_OF_THE_SERVER = frozenset({
    "BUSY", "LOADING", "MASTERDOWN", "MISCONF", "NOAUTH", "NOREPLICAS", "OOM", "READONLY",
    "UNKILLABLE", "WRONGPASS",
})  # fmt: skip
# After these another server may be the right one, or the same under another address.
_OF_THE_PLACE = frozenset({"CLUSTERDOWN", "MASTERDOWN", "READONLY"})
# What a class of the client stands for where it has taken the code off the message.
_CODES: Mapping[str, str] = {
    "AskError": "ASK",
    "BusyLoadingError": "LOADING",
    "ClusterCrossSlotError": "CROSSSLOT",
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
    "MovedError": "MOVED",
    "NoPermissionError": "NOPERM",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "TryAgainError": "TRYAGAIN",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """``kind`` and ``trouble`` are for the operator.

    ``is_of_server``: the server takes no records at all at the moment.  ``is_of_place``: look again
    where the server is.  ``moved_to``: where the cluster says that the key is.
    """

    kind: str
    trouble: Trouble
    is_of_server: bool
    is_of_place: bool
    moved_to: Address | None = None


def failure_of(error: Exception, place: Address) -> Failure:
    """What an error of the client says of the server at ``place``."""
    root = root_of(error)
    number = root.errno if isinstance(root, OSError) else None
    # What the server says of a password is fixed text; other replies may quote a record.
    said = str(error) if isinstance(error, AuthenticationError) else words_of(root)
    code = _code_of(error)
    is_reply = bool(code) or isinstance(error, ResponseError)  # else the connection failed
    moved_to = None
    if isinstance(error, MovedError):
        host = error.host if error.host not in ("", "?") else place.host
        moved_to = Address(host, error.port)
    return Failure(
        kind=_kind_of(error, root, code),
        trouble=Trouble(str(place), number, said),
        is_of_server=not is_reply or code in _OF_THE_SERVER,
        is_of_place=not is_reply or code in _OF_THE_PLACE,
        moved_to=moved_to,
    )


def _code_of(error: Exception) -> str:
    known = _CODES.get(type(error).__name__)
    if known is not None:
        return known
    code = str(error).partition(" ")[0]
    is_code = (
        isinstance(error, ResponseError) and code.isalpha() and code.isupper() and len(code) > 1
    )
    return code if is_code else ""


def _kind_of(error: Exception, root: BaseException, code: str) -> str:
    """What went wrong, without the server's whole message: that may quote a command, and a pair."""
    kind = type(error).__name__
    if root is not error:
        beneath = type(root).__name__
        return kind if beneath == kind else f"{kind} ({beneath})"
    return f"{kind} ({code})" if code and kind == "ResponseError" else kind
