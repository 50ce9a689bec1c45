"""The stand on which everything is measured: a gateway, the upstream under it, the load on it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bench.load import Job, Outcome
from bench.processes import GatewayProcess, LoadProcess
from bench.scenarios import Scenario


class WrongReplies(Exception):
    """The gateway did not do what the scenario asks of it, so its speed means nothing."""


@dataclass(frozen=True, slots=True)
class Stand:
    """The processes of a run."""

    gateway: GatewayProcess
    load: LoadProcess
    upstream_port: int

    def run(self, job: Job) -> Outcome:
        """Do one job.  Raises WrongReplies."""
        outcome = self.load.run(job)
        if outcome.fault is not None:
            log = self.gateway.log_tail().strip().rpartition("\n")[2]
            raise WrongReplies(f"{outcome.fault}\nthe gateway's last line: {log}")
        return outcome

    def run_watched(self, job: Job) -> tuple[Outcome, float]:
        """Do one job; with the gateway's processor time for it, in seconds."""
        before = self.gateway.cpu_seconds()
        outcome = self.run(job)
        return outcome, self.gateway.cpu_seconds() - before

    def check_count(self, scenario: Scenario, sent: int) -> None:
        """The gateway's own books must agree with what was sent.  Raises WrongReplies."""
        if (counted := self._counted(scenario)) != sent:
            raise WrongReplies(
                f"/metrics counts {counted:g} requests as {scenario.outcome}, sent: {sent}"
            )

    def check_count_least(self, scenario: Scenario, answered: int) -> None:
        """The same where the load does not say how much it sent.  Raises WrongReplies."""
        if (counted := self._counted(scenario)) < answered:
            raise WrongReplies(
                f"/metrics counts {counted:g} requests as {scenario.outcome}, answered: {answered}"
            )

    def _counted(self, scenario: Scenario) -> float:
        labels = f'{{cascade="{scenario.name}",outcome="{scenario.outcome}"}}'
        return self.metric(f"understudy_requests_total{labels}")

    def metric(self, sample: str) -> float:
        """One sample of ``/metrics``, named with its labels; 0 where there is none."""
        page = self.gateway.get("/metrics")[1].decode()
        line = re.search(rf"^{re.escape(sample)} (\S+)$", page, re.MULTILINE)
        return 0.0 if line is None else float(line[1])


def p99(values: Sequence[float]) -> float:
    """The value that 99 in 100 do not exceed, by nearest rank; ``values`` has at least one."""
    ranked = sorted(values)
    return ranked[-(-99 * len(ranked) // 100) - 1]
