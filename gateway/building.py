"""Builds what serves a cascade from its configuration: its two models, and all that goes with them.

A generation of the student is built here too, whenever one comes into force.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import msgspec

from gateway.answer import Cascade, Streaming
from gateway.api.context import NamedModel, Served, Standing
from gateway.audits.debt import Debt
from gateway.audits.purse import Purse
from gateway.audits.state import Audits
from gateway.cascades import LoadedCascade, ModelConfig
from gateway.comparing import EmbeddingConfig, JudgeConfig
from gateway.conversations.memory import Memory
from gateway.conversations.talks import Talks
from gateway.drawing import Drawing, OwnBooks
from gateway.errors import UpstreamError
from gateway.legs import Model
from gateway.limiting import Limiter
from gateway.named_models import LoadedModel
from gateway.pairs import Source
from gateway.prices import rented
from gateway.renting import Rents
from gateway.safekeeping import Safekeeping
from gateway.sampled import Samples
from gateway.server_facts import BreakerChanged
from gateway.steering.config import needs_turns
from gateway.stores.lease_store import LeaseStore
from gateway.stores.sealing import Sealer
from gateway.stores.store_url import StoreUrl
from gateway.telemetry.observer import Observer
from gateway.upstream.embeddings import EmbeddingModel
from gateway.upstream.openai import Endpoint, OpenAIModel
from gateway.upstream.passing import PassingModel, Place
from gateway.upstream.pool import ServerPool
from gateway.upstream.token_counts import TokenCounter
from gateway.wire.admission import Admission
from gateway.wire.chat import Dialect
from gateway.wire.passing import PassedRoute
from routing.baseline import Learner
from routing.gpu_time import pico_per_hour
from routing.vocabulary import Role, WhenStoreDown


@dataclass(frozen=True, slots=True)
class Workshop:
    """What all cascades of a gateway are built with."""

    observer: Observer
    sealer: Sealer | None
    rents: Rents

    def served(self, loaded: LoadedCascade) -> Served:
        """A cascade with the student of its configuration."""
        config = loaded.config
        student, standing = self._student(loaded)
        teacher = build_model(loaded, Role.TEACHER, self.observer.breaker_changed, self.rents)
        cascade = Cascade(
            name=loaded.name,
            student=student,
            teacher=teacher,
            policy=loaded.policy,
            student_cannot=config.student.cannot,
            when_denied=config.degraded,
            streaming=Streaming(
                hold_tokens=config.streaming.hold_tokens,
                hold_seconds=config.streaming.hold_seconds,
                keepalive_seconds=config.streaming.keepalive_seconds,
                handover=config.streaming.handover,
                is_early_abort=config.streaming.early_abort,
                is_reasoning_released=config.streaming.release_reasoning,
                complete_drafts=config.audit.complete_drafts,
            ),
            samples=Samples(config.samples, config.comparator.comparator()),
            sampling=config.sampling,
            is_one_tokenizer=config.same_tokenizer,
        )
        return Served(
            cascade=cascade,
            source=Source(
                cascade=loaded.name,
                student_version=config.student.version,
                teacher_model=config.teacher.model,
                teacher_version=config.teacher.version or config.teacher.model,
                teacher_outputs_may_train=config.teacher.outputs_may_train,
            ),
            safekeeping=Safekeeping(loaded.redactor, self.sealer),
            is_storing=config.pairs.store,
            is_keeping_completions=config.stored.enabled,
            standing=standing,
            counters={role: TokenCounter(endpoints_of(loaded, role)) for role in Role},
            admission=Admission(config.admission.bounds(), config.media.rules()),
            tokenizers={role: self._tokenizer(loaded, role) for role in Role},
            holdout=config.audit.holdout_share,
            audits=audits_of(loaded),
            talks=_talks(loaded),
        )

    def named(self, loaded: LoadedModel) -> NamedModel:
        """A model that clients ask past any cascade."""
        config = loaded.config
        place = Place(config.base_url, loaded.key, config.max_concurrent, config.timeout_seconds)
        self.observer.metrics.passed.begin(loaded.name, config.serves)
        return NamedModel(
            name=loaded.name,
            upstream_name=config.model,
            model=self._passing(loaded.name, place, config.serves),
            price=None if config.price is None else config.price.price(),
            media=config.media.rules(),
        )

    def _tokenizer(self, loaded: LoadedCascade, role: Role) -> NamedModel:
        config, name = config_of(loaded, role), loaded.name
        key = loaded.student_key if role is Role.STUDENT else loaded.teacher_key
        place = Place(config.base_urls[0], key, config.max_concurrent, config.timeout_seconds)
        passing = self._passing(name, place, [route for route in PassedRoute if route.is_free])
        return NamedModel(name, config.model, passing, None, loaded.config.media.rules())

    def _passing(self, name: str, place: Place, routes: Iterable[PassedRoute]) -> PassingModel:
        def on_breaker(failure: UpstreamError | None) -> None:
            self.observer.passing_breaker_changed(name, failure)

        return PassingModel(place, routes, time.monotonic, on_breaker)

    def with_generation(self, served: Served, loaded: LoadedCascade) -> Served:
        """The same cascade with another student, that of ``loaded``, and its policy."""
        student, standing = self._student(loaded)
        return replace(
            served,
            cascade=replace(served.cascade, student=student, policy=loaded.policy),
            source=replace(served.source, student_version=standing.version),
            standing=standing,
            counters={
                **served.counters,
                Role.STUDENT: TokenCounter(endpoints_of(loaded, Role.STUDENT)),
            },
            tokenizers={**served.tokenizers, Role.STUDENT: self._tokenizer(loaded, Role.STUDENT)},
            learner=Learner(),
            trial=None,
        )

    def _student(self, loaded: LoadedCascade) -> tuple[Model, Standing]:
        standing = Standing(loaded.config.student.version)

        def on_breaker(fact: BreakerChanged) -> None:
            version = None if standing.is_incumbent else standing.version
            self.observer.breaker_changed(replace(fact, student_version=version))

        return build_model(loaded, Role.STUDENT, on_breaker, self.rents), standing


def _talks(loaded: LoadedCascade) -> Talks:
    """What knows a cascade's conversations, whatever the policy reads: where turns are to stick, or
    where its objective rests on them."""
    wanted, price = loaded.config.conversation, loaded.config.teacher.price
    memory = Memory(wanted.idle_seconds)
    is_wanted = wanted.sticky_turns > 0 or needs_turns(
        loaded.config.objective, None if price is None else price.price()
    )
    return Talks(loaded.name, wanted.sticky_turns, memory, is_wanted=is_wanted)


def build_model(
    loaded: LoadedCascade,
    role: Role,
    on_breaker: Callable[[BreakerChanged], None],
    rents: Rents | None = None,
) -> Model:
    """One of a cascade's models.  ``on_breaker`` hears why a server is left alone, or is no longer.

    ``rents`` has the meters of rented servers; without it the model is alone at its own.
    """
    config = config_of(loaded, role)
    whose = (loaded.name, role)
    place = rented(rents or Rents(time.monotonic), config.base_urls, config.price, whose)
    pool: ServerPool

    def serving(endpoint: Endpoint) -> OpenAIModel:
        def tell(failure: UpstreamError | None) -> None:
            servers = len(pool.servers)
            fact = BreakerChanged(
                loaded.name, role, endpoint.base_url, failure, pool.left_alone, servers
            )
            on_breaker(fact)

        return OpenAIModel(endpoint, time.monotonic, tell)

    pool = ServerPool([serving(each) for each in endpoints_of(loaded, role)], time.monotonic)
    return Model(role, pool, None if config.price is None else config.price.price(), place)


def audits_of(loaded: LoadedCascade) -> Audits:
    """What the cascade's audits are made with."""
    config, comparator = loaded.config.audit, loaded.config.comparator
    objective = loaded.config.objective
    budget = config.usd_per_hour
    embedder = None
    if isinstance(comparator, EmbeddingConfig):
        embedder = EmbeddingModel(
            comparator.base_url, loaded.embedder_key, comparator.timeout_seconds
        )
    return Audits(
        purse=Purse(None if budget is None else pico_per_hour(budget)),
        share=config.share_under(None if objective is None else objective.kind),
        priority=config.priority,
        is_asking=isinstance(comparator, EmbeddingConfig | JudgeConfig),
        embedder=embedder,
        debt=Debt() if config.catch_up else None,
    )


def config_of(loaded: LoadedCascade, role: Role) -> ModelConfig:
    """What a cascade's configuration says of one of its models."""
    return loaded.config.student if role is Role.STUDENT else loaded.config.teacher


def each_server(loaded: LoadedCascade, role: Role) -> list[LoadedCascade]:
    """The cascade once for each server of one of its models, as though it had no other."""
    config = config_of(loaded, role)
    return [
        replace(
            loaded,
            config=loaded.config.model_copy(
                update={role.value: config.model_copy(update={"base_url": base_url})}
            ),
        )
        for base_url in config.base_urls
    ]


def endpoints_of(loaded: LoadedCascade, role: Role) -> list[Endpoint]:
    """Where each server of one of a cascade's models is, and how it is asked."""
    is_student = role is Role.STUDENT
    config = config_of(loaded, role)
    queue = None if is_student else loaded.config.teacher.queue
    dialect = Dialect(
        model=config.model,
        is_evidence_wanted=is_student,
        has_running_usage=config.running_usage,
        extra={
            name: msgspec.Raw(msgspec.json.encode(value))
            for name, value in config.extra_body.items()
        },
    )
    return [
        Endpoint(
            base_url=base_url,
            api_key=loaded.student_key if is_student else loaded.teacher_key,
            dialect=dialect,
            max_concurrent=config.max_concurrent,
            timeout_seconds=config.timeout_seconds,
            number=number,
            is_limit_adaptive=queue is not None and queue.adaptive_limit,
        )
        for number, base_url in enumerate(config.base_urls)
    ]


def build_limiter(url: StoreUrl | None, when_down: WhenStoreDown, observer: Observer) -> Limiter:
    """What holds keys to their limits; without Redis each process has these to itself."""
    books = OwnBooks(time.time) if url is None else LeaseStore(url)
    drawing = Drawing(books, time.monotonic, observer, observer.drawing_failed)
    return Limiter(drawing, time.monotonic, observer, when_down)
