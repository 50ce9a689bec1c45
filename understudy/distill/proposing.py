"""Makes of files and options the generation that is to be let in, or says why it cannot be.

A generation gets past here only with the policy that was evaluated, fitted for this very student,
and, where its adapter lies on this machine, with the weights that its version names.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from distill.evaluation_file import Evaluation, EvaluationFileError, from_bytes
from distill.gate import Check, Limits, Proposal, Serving, check
from distill.generations import next_number
from distill.lineage import sha256_of
from evaluation.errors import RecordError
from evaluation.records import Record, read_records
from gateway.cascades import LoadedCascade
from gateway.config_file import ConfigError
from gateway.policies import policy_of
from gateway.steering.config import ConfidenceConfig
from routing.errors import PolicyError
from routing.rollout import Generation, Generations
from understudy.distill.answering import with_student
from understudy.distill.registry import Adapter
from understudy.telling import CommandError

_NUMBERED = re.compile(r".*-g([0-9]{1,9})-(?P<weights>[0-9a-f]{12})")
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be let in.

    Parameters
    ----------
    evaluation
        What `understudy distill evaluate` wrote: evaluation.json, or its folder.
    policy
        The candidate's own policy, the one that was evaluated.
    records
        The candidate's evaluation records: some are asked again of its server.
    student_url
        Where the candidate is served, up to /v1; where the configuration's student is, unless said:
        on all its servers, where these are several.
    student_model
        Under which name it is served there; its version, unless said.
    load_adapter
        Have vLLM load this LoRA adapter first.  A path as the server has it.
    adapter_server
        The servers that load it, where --student-url stands for several: say it once for each.
    """

    evaluation: Path
    policy: Path
    records: Path
    student_url: str | None = None
    student_model: str | None = None
    load_adapter: str | None = None
    adapter_server: Annotated[tuple[str, ...], Parameter(negative=())] = ()


@dataclass(frozen=True, slots=True)
class Proposed:
    """The candidate, with what was measured of it and what has to be loaded for it."""

    evaluation: Evaluation
    policy: bytes
    records: Path
    generation_number: int
    version: str
    base_url: str
    model: str
    adapter: Adapter | None

    def generation(self) -> Generation:
        """As the registry has it.  Raises CommandError where the policy is another student's."""
        try:
            document: Any = json.loads(self.policy)
            return Generation(
                self.generation_number, self.version, self.base_url, self.model, document
            )
        except (PolicyError, ValueError, AttributeError) as error:
            raise CommandError(f"--policy: {error}") from None

    def checks(
        self, state: Generations | None, loaded: LoadedCascade, limits: Limits
    ) -> list[Check]:
        """What the gate says of it, in the place of the student that serves now.

        Raises CommandError where this configuration could not serve who serves now.
        """
        incumbent = None if state is None else state.incumbent
        now = loaded if incumbent is None else with_student(loaded, incumbent)
        serving = Serving(now.policy.version, now.policy.threshold.value)
        proposal = Proposal(self.version, self.policy, now.config.student.version, serving)
        return [
            *check(self.evaluation, proposal, datetime.now(UTC), limits),
            self._records_check(),
            *self._threshold_checks(loaded),
        ]

    def why(self) -> str:
        """What speaks for it, for the registry."""
        cascade = self.evaluation.cascade
        bill = "unknown" if cascade.bill is None else f"{100 * cascade.bill.estimate:+.1f}%"
        return (
            f"evaluated {self.evaluation.made_at}: bill {bill}, quality "
            f"{cascade.difference.estimate:+.3f} against {self.evaluation.incumbent.version}"
        )

    def _records_check(self) -> Check:
        found = _sha256(self.records)
        is_same = found == self.evaluation.candidate.records_sha256
        ended = "are those that were measured" if is_same else "are not those that were measured"
        return Check("smoke records", is_same, f"the records {found[:12]} {ended}")

    def _threshold_checks(self, loaded: LoadedCascade) -> Iterator[Check]:
        """What was measured is the policy's own threshold; the cascade may overrule that."""
        objective = loaded.config.objective
        if not isinstance(objective, ConfidenceConfig):
            return  # none, or one that moves the threshold whatever the policy says
        try:
            own = policy_of(self.generation(), loaded.name).policy.threshold.value
        except (CommandError, ConfigError):
            return  # the check of the policy says why
        at_least = objective.at_least
        why = f"the objective of the cascade keeps drafts from {at_least:g} on, "
        if own == at_least:
            yield Check("threshold", True, f"{why}as the policy does")
            return
        why += f"and the policy was measured from {own:g} on: take `objective` out of the cascade"
        yield Check("threshold", False, why)


def proposed(choice: Choice, state: Generations | None, loaded: LoadedCascade) -> Proposed:
    """What the options name.  Raises CommandError."""
    evaluation = _evaluation(choice.evaluation)
    version = evaluation.candidate.version
    named = _NUMBERED.fullmatch(version)
    is_elsewhere = choice.student_url is not None
    if choice.load_adapter is None and not is_elsewhere and choice.student_model is None:
        raise CommandError(
            "say where the candidate is: --load-adapter PATH has vLLM load it, --student-url and "
            "--student-model name where it is served already"
        )
    if choice.adapter_server and choice.load_adapter is None:
        raise CommandError("--adapter-server is for --load-adapter PATH")
    own = loaded.config.student.base_urls
    base_url = choice.student_url or own[0]
    adapter = None
    if choice.load_adapter is not None:
        if choice.student_model not in (None, version):
            raise CommandError(f"--student-model: an adapter is served as its version, {version}")
        _check_weights(Path(choice.load_adapter), named and named["weights"])
        servers = own if choice.student_url is None else (base_url,)
        adapter = Adapter(choice.adapter_server or servers, choice.load_adapter)
    return Proposed(
        evaluation=evaluation,
        policy=_content(choice.policy, "--policy"),
        records=choice.records,
        generation_number=int(named[1]) if named else next_number(state),
        version=version,
        base_url=base_url,
        model=choice.student_model or version,
        adapter=adapter,
    )


def records_of(path: Path) -> Sequence[Record]:
    """The candidate's evaluation records.  Raises CommandError."""
    try:
        return list(read_records(path))
    except RecordError as error:
        raise CommandError(f"--records: {error}") from None


def _evaluation(path: Path) -> Evaluation:
    file = path / "evaluation.json" if path.is_dir() else path
    try:
        return from_bytes(_content(file, "--evaluation"))
    except EvaluationFileError as error:
        raise CommandError(f"--evaluation: {file}: {error}") from None


def _content(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(f"{option}: {path}: {error.strerror}") from None


def _sha256(path: Path) -> str:
    try:
        return sha256_of([path])
    except OSError as error:
        raise CommandError(f"--records: {path}: {error.strerror}") from None


def _check_weights(folder: Path, named: str | None) -> None:
    """Refuse an adapter that lies here and is not the one that the version names."""
    for file in (folder / name for name in _WEIGHTS):
        if named is not None and file.is_file():
            found = sha256_of([file])[:12]
            if found != named:
                raise CommandError(
                    f"--load-adapter: {file} has the SHA-256 {found}…, and the version that was "
                    f"evaluated names {named}: it is another adapter"
                )
            return
