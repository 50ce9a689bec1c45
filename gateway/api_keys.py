"""The keys of model servers, which the configuration names by their variables and never holds."""

import re
from collections.abc import Callable

from gateway.config_file import ConfigError

ReadSecret = Callable[[str], str | None]
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


def find_key(variable: str | None, read_secret: ReadSecret) -> str | None:
    """The key in a variable; None where none is named.  Raises ConfigError, by ``api_key_env``."""
    if variable is None:
        return None
    key = read_secret(variable)
    if not key:
        raise ConfigError(f"api_key_env: {_no_key_in(variable)}")
    if not re.fullmatch(r"[!-~]*", key):
        raise ConfigError(
            f"api_key_env: the environment's {variable!r} has a space, a line break or "
            "a letter that no header can hold: write the key alone, in ASCII"
        )
    return key


def _no_key_in(variable: str) -> str:
    if not _VARIABLE.fullmatch(variable):  # most likely the key itself: it is not to be told
        return (
            "the environment has no such variable: write the name of one, in capitals, and put "
            "the key itself there, never into this file"
        )
    return (
        f"the environment has no {variable!r}: "
        "set it, or remove the line where the server wants no key"
    )
