"""Whether the server in this container answers ``GET /health``: for HEALTHCHECK, which has no curl.

Prints why not, and ends with 1.  An argument names the port; without it UNDERSTUDY_PORT does.
"""

import http.client
import os
import sys
from collections.abc import Sequence

SECONDS = 2.0  # less than HEALTHCHECK's own limit, so that the reason is told


def problem(port: int) -> str | None:
    """What is wrong with the server on that port of loopback, or None."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    return None if status == http.client.OK else f"status {status}"


def main(arguments: Sequence[str]) -> str | None:
    """What to end with: nothing, or the problem."""
    return problem(int(arguments[0] if arguments else os.environ["UNDERSTUDY_PORT"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
