"""What goes wrong, told in a sentence, and the exit status of a command that it ends."""

from collections.abc import Callable
from contextlib import suppress

from redis.exceptions import RedisError
from rich.console import Console
from rich.text import Text

from gateway.roots import root_of, words_of

CANNOT = 2
INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it


class CommandError(Exception):
    """Why a command cannot do what it was asked; the message says what to mend."""


def perform(name: str, work: Callable[[], int]) -> int:
    """The exit status of ``work``; an error is told on stderr, never as a traceback."""
    console = Console(stderr=True)
    try:
        return work()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read along has seen enough
        with suppress(OSError):
            console.file.flush()
        return 0
    except CommandError as error:
        told = str(error)
    except RedisError as error:
        told = f"Redis: {words_of_redis(error)}: see UNDERSTUDY_REDIS_URL or --redis-url"
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        told = f"{place}{words_of(error) or error}"
    console.print(Text(f"Cannot {name}: ", style="bold red") + Text(told), soft_wrap=True)
    return CANNOT


def words_of_redis(error: RedisError) -> str:
    """What the server or the system says, without the command: that may hold a pair."""
    root = root_of(error)
    if isinstance(root, OSError):
        return words_of(root) or type(root).__name__
    # Of a pipeline it is "Command # 1 (XADD, the pair) of pipeline caused error: OOM …",
    # of sentinels "No master found for 'pairs' : <redis.client…", with all options of the clients.
    words = str(error).rpartition("caused error: ")[2].partition(" : <redis.")[0]
    return words or type(error).__name__
