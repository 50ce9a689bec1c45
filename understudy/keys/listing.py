"""``understudy keys list``: who may ask, and for what."""

import json
import time
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from understudy.keys.places import Where, opened
from understudy.keys.telling import described, table_of
from understudy.telling import perform


def list_keys(
    *,
    where: Where | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Show the keys that are written down, without what would let anybody use them.

    The fingerprint is the beginning of a key's SHA-256.

    Parameters
    ----------
    as_json
        Print JSON instead of a table.
    """

    def work() -> int:
        now = time.time()
        with opened(where or Where()) as place:
            entries = place.entries()
        if as_json:
            print(json.dumps({"keys": [described(entry, now) for entry in entries]}))
            return 0
        console = Console()
        if entries:
            console.print(table_of(entries, now))
        else:
            console.print(f"{place.name} has no keys: nobody may ask.", markup=False)
        return 0

    return perform("list keys", work)
