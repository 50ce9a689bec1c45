"""``understudy keys revoke``: a key is none any more."""

import json
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from understudy.keys.places import Where, opened
from understudy.telling import perform


def revoke(
    name: str,
    *,
    where: Where | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Take a key away.  Gateways refuse it within seconds; what it has asked already goes on.

    Parameters
    ----------
    name
        The key's name, as `list` shows it.
    as_json
        Print JSON.
    """

    def work() -> int:
        with opened(where or Where()) as place:
            place.remove(name)
        if as_json:
            print(json.dumps({"revoked": name, "source": place.source}))
        else:
            Console().print(f"{name} is gone from {place.name}.", markup=False, highlight=False)
        return 0

    return perform("revoke a key", work)
