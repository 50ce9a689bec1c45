from collections.abc import Callable

import pytest
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from understudy.telling import CANNOT, INTERRUPTED, CommandError, perform


def raising(error: BaseException) -> Callable[[], int]:
    def work() -> int:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (CommandError("no [bold]pairs[/]"), "Cannot do it: no [bold]pairs[/]"),
        (AuthenticationError("invalid username-password pair"), "invalid username-password pair"),
        (
            ResponseError("Command # 1 (XADD secret) of pipeline caused error: OOM not allowed"),
            "Redis: OOM not allowed",
        ),
        (ResponseError("WRONGTYPE Operation"), "Redis: WRONGTYPE Operation: see UNDERSTUDY_REDIS"),
        (
            RedisError("No master found for 'pairs' : <redis.client.Redis(secret)> - Timeout()"),
            "Redis: No master found for 'pairs': see UNDERSTUDY_REDIS",
        ),
        (RedisError(), "Redis: RedisError"),
        (PermissionError(13, "Permission denied", "/out"), "/out: Permission denied"),
        (OSError("it broke"), "it broke"),
    ],
)
def test_an_error_is_told_in_a_sentence_without_a_pair(
    error: Exception, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert perform("do it", raising(error)) == CANNOT
    told = " ".join(capsys.readouterr().err.split())
    assert words in told
    assert "secret" not in told


def test_an_interrupt_and_a_reader_that_left_are_no_errors(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert perform("do it", raising(KeyboardInterrupt())) == INTERRUPTED
    assert perform("do it", raising(BrokenPipeError())) == 0
    assert perform("do it", lambda: 1) == 1
    assert capsys.readouterr().err == ""
