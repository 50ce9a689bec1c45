"""What a job has done and spent so far, so that it can be stopped at any moment and gone on with.

A job's results are made from its journal.  A call that was under way when the process was killed is
not in it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.spending import Purse
from understudy.distill.asking import Account
from understudy.line_file import LineFile, LineFileError
from understudy.telling import CommandError

SETTINGS = "settings"
FAILED = "failed"


@dataclass(slots=True)
class Journal:
    """The lines of one job, each with what it cost; ``before`` are those of earlier runs."""

    file: LineFile
    before: Sequence[Mapping[str, Any]] = ()
    _count: int = 0

    def note(self, event: str, account: Account, **told: Any) -> None:
        """Write one down.  Raises LineFileError where the disk takes no more."""
        self.file.append({
            "id": str(self._count),
            "event": event,
            "spent_pico": account.spent_pico,
            "requests": account.requests,
            "is_exact": account.is_exact,
            **told,
        })  # fmt: skip
        self._count += 1

    @contextmanager
    def counting(self, account: Account) -> Iterator[None]:
        """Have written down what was spent on work that comes to nothing: it fails, or is ended."""
        try:
            yield
        except BaseException:
            if account.requests:
                self.note(FAILED, account)
            raise

    def go_on(self, settings: Mapping[str, Any], purse: Purse) -> None:
        """Read what is there, and count what was spent.

        Raises CommandError where it was begun with other settings.
        """
        self.before = list(self.file.lines())
        self._count = len(self.before)
        if not self.before:
            self.note(SETTINGS, Account(), settings=dict(settings))
            return
        first = self.before[0].get(SETTINGS)
        if not isinstance(first, dict):
            raise CommandError(f"{self.file.path}: is no journal of such a job")
        if differing := sorted(name for name in settings if first.get(name) != settings[name]):
            raise CommandError(
                f"{self.file.path}: was begun with another {' and another '.join(differing)}: "
                "name another file with --out"
            )
        for line in self.before:
            purse.recall(line["spent_pico"], line["requests"], is_exact=line["is_exact"])

    def events(self, event: str) -> Iterator[Mapping[str, Any]]:
        """What earlier runs wrote down of a kind, in order."""
        return (line for line in self.before if line["event"] == event)


@contextmanager
def opened_journal(out: Path) -> Iterator[Journal]:
    """The journal beside a job's output.  Raises CommandError, also where its disk fails."""
    path = out.with_name(f"{out.stem}.journal.jsonl")
    if out.exists() and not path.exists():
        raise CommandError(f"{out}: is there, and its journal is not: name another file")
    try:
        with closing(LineFile(path)) as file:
            yield Journal(file)
    except LineFileError as error:
        raise CommandError(str(error)) from None
