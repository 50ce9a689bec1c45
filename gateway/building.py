"""Builds what serves a cascade from its configuration: its two models, and all that goes with them.

A generation of the student is built here too, whenever one comes into force.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from gateway.answer import Cascade, Streaming
from gateway.api.context import Served, Standing
from gateway.cascades import LoadedCascade, ModelConfig
from gateway.errors import UpstreamError
from gateway.legs import Model
from gateway.pairs import Source
from gateway.prices import rented
from gateway.renting import Rents
from gateway.safekeeping import Safekeeping
from gateway.sampled import Samples
from gateway.stores.sealing import Sealer
from gateway.telemetry.observer import Observer
from gateway.upstream.openai import Endpoint, OpenAIModel
from gateway.wire.chat import Dialect
from routing.baseline import Learner
from routing.vocabulary import Role


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
        teacher = build_model(
            loaded,
            Role.TEACHER,
            lambda failure: self.observer.breaker_changed(loaded.name, Role.TEACHER, failure),
            self.rents,
        )
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
            standing=standing,
            holdout=config.audit.holdout_share,
        )

    def with_generation(self, served: Served, loaded: LoadedCascade) -> Served:
        """The same cascade with another student, that of ``loaded``, and its policy."""
        student, standing = self._student(loaded)
        return replace(
            served,
            cascade=replace(served.cascade, student=student, policy=loaded.policy),
            source=replace(served.source, student_version=standing.version),
            standing=standing,
            learner=Learner(),
            trial=None,
        )

    def _student(self, loaded: LoadedCascade) -> tuple[Model, Standing]:
        standing = Standing(loaded.config.student.version)

        def on_breaker(failure: UpstreamError | None) -> None:
            version = None if standing.is_incumbent else standing.version
            self.observer.breaker_changed(loaded.name, Role.STUDENT, failure, version)

        return build_model(loaded, Role.STUDENT, on_breaker, self.rents), standing


def build_model(
    loaded: LoadedCascade,
    role: Role,
    on_breaker: Callable[[UpstreamError | None], None],
    rents: Rents | None = None,
) -> Model:
    """One of a cascade's models.  ``on_breaker`` hears why it is left alone, None: no longer.

    ``rents`` has the meters of rented servers; without it the model is alone at its own.
    """
    config = config_of(loaded, role)
    place = rented(
        rents or Rents(time.monotonic), config.base_url, config.price, (loaded.name, role)
    )
    return Model(
        role,
        OpenAIModel(endpoint_of(loaded, role), time.monotonic, on_breaker),
        None if config.price is None else config.price.price(),
        place,
    )


def config_of(loaded: LoadedCascade, role: Role) -> ModelConfig:
    """What a cascade's configuration says of one of its models."""
    return loaded.config.student if role is Role.STUDENT else loaded.config.teacher


def endpoint_of(loaded: LoadedCascade, role: Role) -> Endpoint:
    """Where one of a cascade's models is, and how it is asked."""
    is_student = role is Role.STUDENT
    config = config_of(loaded, role)
    return Endpoint(
        base_url=config.base_url,
        api_key=loaded.student_key if is_student else loaded.teacher_key,
        dialect=Dialect(
            model=config.model,
            is_evidence_wanted=is_student,
            has_running_usage=config.running_usage,
            extra={
                name: msgspec.Raw(msgspec.json.encode(value))
                for name, value in config.extra_body.items()
            },
        ),
        max_concurrent=config.max_concurrent,
        timeout_seconds=config.timeout_seconds,
    )
