"""The commands of `understudy distill`, run in this process."""

import json
from typing import Any

from tests.understudy.commands import Command
from tests.understudy.distill.proposal import Proposal
from tests.understudy.distill.streets import PATHS, Street

# Small enough for some hundred requests, and wide enough for what is as good.
QUICK = (
    "--shadow-share", "1", "--share", "0.3", "--share", "0.6", "--holdout", "0.5",
    "--errors-margin", "0.2", "--escalations-margin", "0.3", "--disagreement-margin", "0.3",
    "--least-shadow", "20", "--least-requests", "20", "--least-held-out", "10",
    "--hours", "0.01", "--who", "ada@desk", "--why", "a lower bill", "--json",
)  # fmt: skip


class Distill(Command):
    """Runs `understudy distill …`."""

    name = "distill"

    def told(self, event: str) -> list[dict[str, Any]]:
        """What was said of a kind, by `--json`."""
        events = [json.loads(line) for line in self.output.splitlines()]
        return [each for each in events if each["event"] == event]

    def promote(self, street: Street, proposal: Proposal, *more: str) -> int:
        """Have a candidate's adapter loaded, where there is one, and let it in quickly."""
        path = PATHS.get(proposal.version)
        load = () if path is None else ("--load-adapter", path)
        options = (*proposal.options, *load, *QUICK, *more)
        return self.status("promote", "--config", str(street.config), *options)

    def rollback(self, street: Street, *more: str) -> int:
        return self.status("rollback", "--config", str(street.config), "--json", *more)
