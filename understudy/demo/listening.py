"""Where the demo's servers listen: on loopback, or where they are told to in so many words.

Nothing here asks for a key.  In a container a server has to be reached from outside it, and there
a network that only the gateway is on stands in for one.
"""

import argparse
from ipaddress import ip_address

from understudy.demo.processes import LOOPBACK


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--host``, ``--port`` and ``--insecure``."""
    parser.add_argument(
        "--host", default=LOOPBACK, help="the address to listen on (default %(default)s)"
    )
    parser.add_argument("--port", type=int, required=True, help="the port there")
    parser.add_argument(
        "--insecure",
        action="store_true",
        help="listen beyond loopback, where whoever reaches the server may use it",
    )


def chosen_host(parser: argparse.ArgumentParser, options: argparse.Namespace) -> str:
    """The address to listen on; ends the program where others reach it and nobody allowed that."""
    host: str = options.host
    if not (options.insecure or _is_loopback(host)):
        parser.error(
            f"--host {host} can be reached from other machines, and no key is asked for: "
            "say --insecure where only those who may use it can reach it"
        )
    return host


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
