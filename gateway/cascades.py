"""The cascades, from one YAML file.  Unknown keys are refused; errors name path, value, fix."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, Strict, TypeAdapter, ValidationError, model_validator

from gateway.admitting import AdmissionConfig, MediaConfig
from gateway.api_keys import ReadSecret, find_key
from gateway.audits.config import AuditConfig
from gateway.comparing import ComparatorConfig, EmbeddingConfig, JudgeConfig, NormalisedConfig
from gateway.config_file import ConfigError, explain, message_of, read_yaml
from gateway.conversations.options import ConversationConfig
from gateway.named_models import NAME, NAMED_BY, NamedModels
from gateway.policies import policy_of, read_policy
from gateway.prices import BudgetConfig, PriceConfig, conflicts
from gateway.redaction import Redactor, find_redactor
from gateway.sections import HttpUrl, HttpUrls, Section
from gateway.steering.config import ConfidenceConfig, ObjectiveConfig, refuse_hopeless
from gateway.steering.queue import QueueConfig
from gateway.stored_config import StoredConfig
from routing.policy import Policy, uncalibrated_default
from routing.policy_file import Origin
from routing.rollout import Generation
from routing.sampling import MAX_SAMPLES, SAMPLING_NAMES, Sampling, is_greedy
from routing.vocabulary import Handover, Need, Threshold, WhenDenied

SCHEMA_VERSION = 1
# YAML tells numbers from texts: what is in quotes where a number belongs is a mistake.
_Bool = Annotated[bool, Strict()]
_Int = Annotated[int, Strict()]
_Float = Annotated[float, Strict()]
_url = TypeAdapter[str](HttpUrl)
# Hears which cascade's policy is no use, and why.
OnPolicy = Callable[[str, str], None]


class ModelConfig(Section):
    """A model behind one or several OpenAI-compatible servers, each asked at most
    ``max_concurrent`` times at once.

    ``running_usage``: it reports usage with every chunk of a stream where it is asked to, as vLLM
    does, so that a stream that is cut short can be billed.
    """

    base_url: HttpUrls
    model: Annotated[str, Field(min_length=1)]
    api_key_env: str | None = None
    price: PriceConfig | None = None
    timeout_seconds: Annotated[_Float, Field(gt=0, le=3600)] = 120.0
    max_concurrent: Annotated[_Int, Field(ge=1)] = 256
    running_usage: _Bool = False
    extra_body: dict[str, Any] = Field(default_factory=dict)

    @property
    def base_urls(self) -> tuple[str, ...]:
        """The addresses of all its servers."""
        return (self.base_url,) if isinstance(self.base_url, str) else self.base_url


class StudentConfig(ModelConfig):
    """The student.  Policies are bound to its ``version``: weights, quantisation and engine."""

    version: Annotated[str, Field(min_length=1)]
    running_usage: _Bool = True
    cannot: frozenset[Need] = frozenset()


class TeacherConfig(ModelConfig):
    """The teacher.  ``outputs_may_train``: whether its licence lets a student learn from it.

    ``version`` is for pairs, where weights change behind one name; the model's name unless said.
    """

    version: Annotated[str, Field(min_length=1)] | None = None
    outputs_may_train: _Bool = False
    queue: QueueConfig | None = None


class PairsConfig(Section):
    """Whether escalations are recorded, who sees them before that, how long the store keeps them.

    ``max_bytes`` holds for each stream of the cascade.
    """

    store: _Bool = True
    redactor: Annotated[str, Field(min_length=1)] | None = None
    max_age_days: Annotated[_Float, Field(gt=0, le=36_500)] | None = None
    max_bytes: Annotated[_Int, Field(ge=2**20)] | None = None


class StreamingConfig(Section):
    """How streams are held back, and what becomes of those that fall into doubt."""

    hold_tokens: _Int = 16
    hold_seconds: Annotated[_Float, Field(gt=0, le=600)] = 10.0
    keepalive_seconds: Annotated[_Float, Field(ge=1, le=600)] = 10.0
    handover: Handover = Handover.NEVER
    early_abort: _Bool = False
    release_reasoning: _Bool = False


class CascadeConfig(Section):
    """One student and one teacher under one model name.

    ``samples``: how many drafts the student writes of an answer, of which one speaks for most.
    ``same_tokenizer``: token ids of clients mean the same to both models.
    """

    student: StudentConfig
    teacher: TeacherConfig
    policy: Path | None = None
    objective: ObjectiveConfig | None = None
    degraded: WhenDenied = WhenDenied.SERVE
    pairs: PairsConfig = PairsConfig()
    stored: StoredConfig = StoredConfig()
    streaming: StreamingConfig = StreamingConfig()
    audit: AuditConfig = AuditConfig()
    comparator: ComparatorConfig = NormalisedConfig()
    samples: Annotated[_Int, Field(ge=1, le=MAX_SAMPLES)] = 1
    budget: BudgetConfig | None = None
    same_tokenizer: _Bool = False
    admission: AdmissionConfig = AdmissionConfig()
    media: MediaConfig = MediaConfig()
    conversation: ConversationConfig = ConversationConfig()

    @model_validator(mode="after")
    def _refuse_a_budget_that_nobody_can_keep(self) -> "CascadeConfig":
        if self.audit.usd_per_hour and self.teacher.price is None:
            raise ValueError(
                "audit.usd_per_hour: nobody knows what audits cost without teacher.price: add it, "
                "or remove the bound"
            )
        return self

    @property
    def sampling(self) -> Sampling:
        """What the operator sets of the student's sampling, whatever clients ask for."""
        extra = self.student.extra_body
        return {name: value for name, value in extra.items() if name in SAMPLING_NAMES}


def _known_version(version: int) -> int:
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"this release reads {SCHEMA_VERSION}, got {version}: run the release that the file "
            "was written for, or write it as understudy.example.yaml of this one shows"
        )
    return version


class _File(Section):
    """``schema_version``: raised where a key that is there already comes to mean something else.

    Of a key that is new an older release says that it does not know it.
    """

    schema_version: Annotated[_Int, AfterValidator(_known_version)] = SCHEMA_VERSION
    cascades: Annotated[
        dict[Annotated[str, Field(pattern=NAME)], CascadeConfig], Field(min_length=1)
    ]
    models: NamedModels = Field(default_factory=dict)

    @model_validator(mode="after")
    def _refuse_two_of_one_name(self) -> "_File":
        if both := sorted(self.models.keys() & self.cascades.keys()):
            raise ValueError(
                f"cascades.{both[0]} and models.{both[0]} have one name: rename one, for clients "
                "tell them apart by that"
            )
        return self


@dataclass(frozen=True, slots=True)
class LoadedCascade:
    """A cascade's configuration with its policy read, its keys and its redactor looked up.

    ``origin`` is where the policy comes from, None for the default.
    """

    name: str
    config: CascadeConfig
    policy: Policy
    student_key: str | None
    teacher_key: str | None
    embedder_key: str | None = None
    redactor: Redactor | None = None
    origin: Origin | None = None


def load_cascades(
    path: Path,
    read_secret: ReadSecret,
    on_policy: OnPolicy | None = None,
) -> tuple[LoadedCascade, ...]:
    """Read and check the file with everything that it names.

    ``read_secret`` looks an API key up by its variable's name.  Relative policy paths start at the
    file's folder.  ``on_policy`` hears of a cascade whose policy is no use for it, which has the
    default in its place then; without it that is a problem like others.  Raises ConfigError, which
    tells of every problem found, one a line.
    """
    document = read_yaml(path, NAMED_BY)
    try:
        parsed = _File.model_validate(document)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(path, error))) from None
    problems = [f"{path}: {problem}" for problem in conflicts(_priced(parsed.cascades))]
    loaded = []
    for name, config in parsed.cascades.items():
        try:
            keys = _keys(config, read_secret)
            policy, origin = _policy(path.parent, name, config, on_policy)
            loaded.append(
                LoadedCascade(
                    name=name,
                    config=config,
                    policy=policy,
                    student_key=keys["student"],
                    teacher_key=keys["teacher"],
                    embedder_key=keys.get("comparator"),
                    redactor=_redactor(config.pairs),
                    origin=origin,
                )
            )
        except ConfigError as error:
            problems.append(f"{path}: cascades.{name}.{error}")
    if problems:
        raise ConfigError("\n".join(problems))
    return tuple(loaded)


def _priced(
    cascades: Mapping[str, CascadeConfig],
) -> Iterator[tuple[str, str, PriceConfig | None]]:
    for name, config in cascades.items():
        for role, model in (("student", config.student), ("teacher", config.teacher)):
            for base_url in model.base_urls:
                yield f"cascades.{name}.{role}", base_url, model.price


def doubts_about(loaded: LoadedCascade) -> list[str]:
    """What is allowed and can hardly be meant: the path, why, and what to do; mostly nothing."""
    hold, timeout = loaded.config.streaming.hold_seconds, loaded.config.student.timeout_seconds
    doubts = []
    if hold >= timeout:
        doubts.append(
            f"streaming.hold_seconds: {hold:g} s are never waited, for student.timeout_seconds "
            f"ends the draft after {timeout:g} s: choose hold_seconds below that"
        )
    price = loaded.config.teacher.price
    if price is not None and price.price() is None:
        doubts.append(
            "teacher.price: without a reference nobody knows what the teacher alone would have "
            "cost for answers that it did not write: add its throughput"
        )
    if loaded.config.audit.share and not loaded.config.pairs.store:
        doubts.append(
            "audit.share: nothing is audited of what may not be recorded: set pairs.store to true, "
            "or share to 0"
        )
    return doubts


def _keys(config: CascadeConfig, read_secret: ReadSecret) -> Mapping[str, str | None]:
    named = {
        "student": config.student.api_key_env,
        "teacher": config.teacher.api_key_env,
    }
    if isinstance(config.comparator, EmbeddingConfig):
        named["comparator"] = config.comparator.api_key_env
    return {role: _key(role, variable, read_secret) for role, variable in named.items()}


def _key(role: str, variable: str | None, read_secret: ReadSecret) -> str | None:
    try:
        return find_key(variable, read_secret)
    except ConfigError as error:
        raise ConfigError(f"{role}.{error}") from None


def _policy(
    folder: Path, name: str, config: CascadeConfig, on_policy: OnPolicy | None
) -> tuple[Policy, Origin | None]:
    """The policy of a cascade, or the default; and where it comes from."""
    policy, origin = uncalibrated_default(), None
    try:
        if config.policy is not None:
            found = read_policy(folder / config.policy, name, config.student.version)
            policy, origin = found.policy, found.origin
        return _suited(name, config, policy), origin
    except ConfigError as error:
        if on_policy is None:
            raise
        on_policy(name, str(error))
        return uncalibrated_default(), None


def of_generation(loaded: LoadedCascade, generation: Generation) -> LoadedCascade:
    """The cascade with a generation in place of the file's own student and its policy.

    All else stays, the student's price, key and ``extra_body`` too; and where the generation is at
    one of the file's own servers, it is at all of them.  Raises ConfigError where the policy is no
    use for this student or this cascade.
    """
    try:
        base_url = _url.validate_python(generation.base_url)
    except ValidationError as error:
        raise ConfigError(f"base_url: {message_of(error.errors()[0])}") from None
    own = loaded.config.student
    is_there = base_url.rstrip("/") in [each.rstrip("/") for each in own.base_urls]
    changes = {
        "base_url": own.base_url if is_there else base_url,
        "model": generation.model,
        "version": generation.version,
    }
    config = loaded.config.model_copy(update={"student": own.model_copy(update=changes)})
    problems = conflicts(_priced({loaded.name: config}))
    if problems:
        raise ConfigError("; ".join(problems))
    found = policy_of(generation, loaded.name)
    policy = _suited(loaded.name, config, found.policy)
    return replace(loaded, config=config, policy=policy, origin=found.origin)


def _suited(name: str, config: CascadeConfig, policy: Policy) -> Policy:
    """The policy as the cascade is served by it.  Raises ConfigError where they do not suit."""
    if isinstance(config.objective, ConfidenceConfig):
        policy = policy.with_threshold(Threshold(config.objective.at_least))
    check_objective(config)
    _check_samples(name, config, policy)
    places = [checkpoint.tokens for checkpoint in policy.streamed.checkpoints]
    if config.streaming.hold_tokens not in places:
        raise ConfigError(
            f"streaming.hold_tokens: must be a checkpoint of the policy, one of {places}, "
            f"got {config.streaming.hold_tokens}: choose one of these"
        )
    certified = policy.streamed.hold_tokens
    if certified not in (None, config.streaming.hold_tokens):
        raise ConfigError(
            f"streaming.hold_tokens: the policy's promise for streams is for {certified}, got "
            f"{config.streaming.hold_tokens}: set it to {certified}, or fit the policy again, "
            f"`understudy calibrate RECORDS --cascade {name} --hold-tokens "
            f"{config.streaming.hold_tokens} --target quality=0.99 --out policy.json`"
        )
    return policy


def check_objective(config: CascadeConfig) -> None:
    """Raise ConfigError for an objective that nothing could be learnt for, or counted."""
    refuse_hopeless(
        config.objective,
        config.audit,
        is_storing=config.pairs.store,
        is_priced=config.teacher.price is not None,
    )


def _check_samples(name: str, config: CascadeConfig, policy: Policy) -> None:
    """Refuse drafts that cannot be compared, cannot differ, or are not those of the policy."""
    wanted = config.samples
    if policy.is_calibrated and policy.samples != wanted:
        raise ConfigError(
            f"samples: the policy is for drafts chosen from {policy.samples}, got {wanted}: set it "
            f"to {policy.samples}, or make records with {wanted} and fit the policy again, "
            f"`understudy record --cascade {name} --dataset F.jsonl --config … --out RECORDS` and "
            f"`understudy calibrate RECORDS --cascade {name} --target quality=0.99 --out "
            "policy.json`"
        )
    if wanted == 1:
        return
    if isinstance(config.comparator, EmbeddingConfig | JudgeConfig):
        raise ConfigError(
            f"samples: {wanted} drafts are compared while the client waits, and the comparator "
            f"{config.comparator.kind} would have to ask somebody: choose exact, normalised, "
            "number, label or json, or set samples to 1"
        )
    if is_greedy(config.sampling):
        raise ConfigError(
            f"samples: student.extra_body has the likeliest token taken each time, so that "
            f"{wanted} drafts are one: set a temperature above 0 there, or samples to 1"
        )
    if config.streaming.early_abort:
        raise ConfigError(
            f"samples: {wanted} drafts are judged once all are whole, and none can be given up "
            "before: remove streaming.early_abort, or set samples to 1"
        )


def _redactor(pairs: PairsConfig) -> Redactor | None:
    if pairs.redactor is None:
        return None
    try:
        return find_redactor(pairs.redactor)
    except ConfigError as error:
        raise ConfigError(f"pairs.{error}") from None
