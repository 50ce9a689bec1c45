"""The cascades, from one YAML file.  Unknown keys are refused; errors name path, value, fix."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, ValidationError

from gateway.comparing import COMPARATOR_KINDS, ComparatorConfig, EmbeddingConfig, NormalisedConfig
from gateway.sections import HttpUrl, Section
from routing.errors import PolicyError
from routing.money import Price, pico_per_token
from routing.policy import Policy, policy_from_document, uncalibrated_default
from routing.vocabulary import Handover, Need, Threshold, WhenDenied

NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"


class ConfigError(Exception):
    """A configuration that cannot be used.  The message has a line for each thing to mend."""


def _usd_per_million(price: Decimal) -> Decimal:
    pico_per_token(price)
    return price


_Usd = Annotated[Decimal, AfterValidator(_usd_per_million)]


class PriceConfig(Section):
    """USD per million tokens.  Cached input costs as input, reasoning as output, unless said."""

    input: _Usd
    output: _Usd
    cached_input: _Usd | None = None
    reasoning: _Usd | None = None

    def price(self) -> Price:
        """The same in pico-dollars per token."""
        cached = self.input if self.cached_input is None else self.cached_input
        reasoning = self.output if self.reasoning is None else self.reasoning
        return Price(
            input=pico_per_token(self.input),
            cached_input=pico_per_token(cached),
            output=pico_per_token(self.output),
            reasoning=pico_per_token(reasoning),
        )


class ModelConfig(Section):
    """A model behind an OpenAI-compatible server.

    ``running_usage``: it reports usage with every chunk of a stream where it is asked to, as vLLM
    does, so that a stream that is cut short can be billed.
    """

    base_url: HttpUrl
    model: Annotated[str, Field(min_length=1)]
    api_key_env: str | None = None
    price: PriceConfig | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 120.0
    max_concurrent: Annotated[int, Field(ge=1)] = 256
    running_usage: bool = False
    extra_body: dict[str, Any] = Field(default_factory=dict)


class StudentConfig(ModelConfig):
    """The student.  Policies are bound to its ``version``: weights, quantisation and engine."""

    version: Annotated[str, Field(min_length=1)]
    running_usage: bool = True
    cannot: frozenset[Need] = frozenset()


class TeacherConfig(ModelConfig):
    """The teacher.  ``outputs_may_train``: whether its licence lets a student learn from it."""

    outputs_may_train: bool = False


class ObjectiveConfig(Section):
    """Keep a draft from this confidence on, whatever the policy's own threshold is."""

    kind: Literal["confidence"]
    at_least: Annotated[float, Field(ge=0, le=1)]


class PairsConfig(Section):
    """Whether escalations are recorded."""

    store: bool = True


class StreamingConfig(Section):
    """How streams are held back, and what becomes of those that fall into doubt."""

    hold_tokens: int = 16
    hold_seconds: Annotated[float, Field(gt=0, le=600)] = 10.0
    keepalive_seconds: Annotated[float, Field(ge=1, le=600)] = 10.0
    handover: Handover = Handover.NEVER
    early_abort: bool = False
    release_reasoning: bool = False


class AuditConfig(Section):
    """What is learnt off the request path.

    ``complete_drafts``: the share of abandoned drafts that the student finishes all the same.
    """

    complete_drafts: Annotated[float, Field(ge=0, le=1)] = 0.05


class CascadeConfig(Section):
    """One student and one teacher under one model name."""

    student: StudentConfig
    teacher: TeacherConfig
    policy: Path | None = None
    objective: ObjectiveConfig | None = None
    degraded: WhenDenied = WhenDenied.SERVE
    pairs: PairsConfig = PairsConfig()
    streaming: StreamingConfig = StreamingConfig()
    audit: AuditConfig = AuditConfig()
    comparator: ComparatorConfig = NormalisedConfig()


class _File(Section):
    cascades: Annotated[
        dict[Annotated[str, Field(pattern=NAME)], CascadeConfig], Field(min_length=1)
    ]


@dataclass(frozen=True, slots=True)
class LoadedCascade:
    """A cascade's configuration with its policy read, and its keys looked up."""

    name: str
    config: CascadeConfig
    policy: Policy
    student_key: str | None
    teacher_key: str | None
    embedder_key: str | None = None


class _Loader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys in silence; a cascade named twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001
        seen: set[str] = set()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"line {line}: a key must be a word")
            if key.value in seen:
                raise ConfigError(f"line {line}: {key.value!r} stands there twice: remove one")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_cascades(
    path: Path, read_secret: Callable[[str], str | None]
) -> tuple[LoadedCascade, ...]:
    """Read and check the file with everything that it names.

    ``read_secret`` looks an API key up by its variable's name.  Relative policy paths start at the
    file's folder.  Raises ConfigError, which tells of every problem found, one a line.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not valid YAML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    try:
        parsed = _File.model_validate(document)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(path, error))) from None
    problems: list[str] = []
    loaded = []
    for name, config in parsed.cascades.items():
        try:
            loaded.append(_load_one(path.parent, name, config, read_secret))
        except ConfigError as error:
            problems.append(f"{path}: cascades.{name}.{error}")
    if problems:
        raise ConfigError("\n".join(problems))
    return tuple(loaded)


def _load_one(
    folder: Path, name: str, config: CascadeConfig, read_secret: Callable[[str], str | None]
) -> LoadedCascade:
    named = {
        "student": config.student.api_key_env,
        "teacher": config.teacher.api_key_env,
    }
    if isinstance(config.comparator, EmbeddingConfig):
        named["comparator"] = config.comparator.api_key_env
    keys = {role: _key(role, variable, read_secret) for role, variable in named.items()}
    policy = uncalibrated_default()
    if config.policy is not None:
        policy = _read_policy(folder / config.policy, name, config.student.version)
    if config.objective is not None:
        policy = policy.with_threshold(Threshold(config.objective.at_least))
    places = [checkpoint.tokens for checkpoint in policy.streamed.checkpoints]
    if config.streaming.hold_tokens not in places:
        raise ConfigError(
            f"streaming.hold_tokens: must be a checkpoint of the policy, one of {places}, "
            f"got {config.streaming.hold_tokens}"
        )
    return LoadedCascade(
        name, config, policy, keys["student"], keys["teacher"], keys.get("comparator")
    )


def _key(role: str, variable: str | None, read_secret: Callable[[str], str | None]) -> str | None:
    if variable is None:
        return None
    key = read_secret(variable)
    if not key:
        raise ConfigError(
            f"{role}.api_key_env: the environment has no {variable!r}: "
            "set it, or remove the line where the server wants no key"
        )
    if not re.fullmatch(r"[!-~]*", key):
        raise ConfigError(
            f"{role}.api_key_env: the environment's {variable!r} has a space, a line break or "
            "a letter that no header can hold: write the key alone, in ASCII"
        )
    return key


def _read_policy(path: Path, cascade: str, student_version: str) -> Policy:
    try:
        content = path.read_bytes()
        return policy_from_document(
            json.loads(content),
            version=hashlib.sha256(content).hexdigest()[:12],
            cascade=cascade,
            student_version=student_version,
        )
    except OSError as error:
        raise ConfigError(
            f"policy: {path} cannot be read: {error.strerror}: "
            "mend the path, or remove the line to run uncalibrated"
        ) from None
    except PolicyError as error:
        raise ConfigError(f"policy: {path}: {error}") from None
    except ValueError as error:
        raise ConfigError(f"policy: {path} is not valid JSON: {error}") from None


_FIXES = {
    "extra_forbidden": "remove it, or mend its spelling",
    "missing": "add it",
    "string_type": "put it in quotes",
    "union_tag_not_found": "add kind",
}


def _explain(path: Path, error: ValidationError) -> list[str]:
    """One line a problem: file, path, what is wrong, the value, what to do."""
    lines = []
    for problem in error.errors(include_url=False):
        where = _place(problem["loc"]) or "the file"
        message = problem["msg"].removeprefix("Value error, ")
        fix = _FIXES.get(problem["type"])
        got = "" if problem["type"] == "missing" else f", got {problem['input']!r}"
        lines.append(f"{path}: {where}: {message}{got}" + (f": {fix}" if fix else ""))
    return lines


def _place(steps: Sequence[str | int]) -> str:
    """The path as the file has it: a section's kind, which pydantic names too, is no key there."""
    kinds = {place + 1 for place, step in enumerate(steps[:-1]) if step == "comparator"}
    return ".".join(
        str(step)
        for place, step in enumerate(steps)
        if place not in kinds or step not in COMPARATOR_KINDS
    )
