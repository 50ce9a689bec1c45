"""The commands as operators run them, in this process."""

import pytest

from understudy.__main__ import app


class Command:
    """Runs `understudy pairs …`, or another command of that name, in this process."""

    name = "pairs"

    def __init__(self, capsys: pytest.CaptureFixture[str], url: str | None) -> None:
        self._capsys = capsys
        self._url = url
        self.error = ""

    def status(self, *arguments: str) -> int:
        url = () if self._url is None else ("--redis-url", self._url)
        status = app([self.name, *arguments, *url], result_action="return_value")
        told = self._capsys.readouterr()
        self.output, self.error = told.out, " ".join(told.err.split())
        return int(status)

    def said(self, *arguments: str) -> str:
        assert self.status(*arguments) == 0, self.error
        return self.output
