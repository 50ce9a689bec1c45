"""Fresh ids: 128 random bits, as 32 hexadecimal digits."""

import os
from collections.abc import Iterator

_BYTES = 16
# So many for one system call, which takes ten times as long as all else about an id.
_AT_ONCE = 64


def fresh_ids() -> Iterator[str]:
    """Ids without end, for one thread at a time."""
    digits = 2 * _BYTES
    while True:
        block = os.urandom(_BYTES * _AT_ONCE).hex()
        for start in range(0, len(block), digits):
            yield block[start : start + digits]
