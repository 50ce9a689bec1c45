"""Looks at everything: this machine, Redis, and then all models at once.

So a server that is dead costs one wait, however many models it was to serve.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gateway.building import config_of, each_server
from gateway.cascades import LoadedCascade
from gateway.comparing import EmbeddingConfig
from gateway.legs import Legs
from gateway.named_models import LoadedModel
from gateway.stores.store_url import BadStoreUrl, parse_store_url
from routing.vocabulary import Role
from understudy.doctor.asking import Interview
from understudy.doctor.clocks import clock_finding
from understudy.doctor.configured import configured, price_of
from understudy.doctor.findings import Fault, Finding, State, Subject
from understudy.doctor.generations import InForce, candidate_finding, gateways_finding, in_force
from understudy.doctor.judging import findings_of, unreachable
from understudy.doctor.listing import Listener, Listing, Told
from understudy.doctor.named import named_part
from understudy.doctor.report import Bill, Part, Report, Whose
from understudy.doctor.store import StoreSeen, Visit
from understudy.doctor.stored import bad_url, no_store, store_findings
from understudy.doctor.stored_keys import stored_keys

_CLOCK_ADVICE = "its logs and traces do not line up with the gateway's: set both clocks by NTP"


@dataclass(frozen=True, slots=True)
class Patient:
    """What is looked at.

    ``process`` is what was found of the gateway's process; ``refused`` by cascade why its policy
    file is no use; ``redis_url`` None where there is none.  ``keys_for`` are all models that a key
    in Redis may be for, None where no keys are there.  ``named`` are the models without a cascade.
    """

    cascades: Sequence[LoadedCascade]
    process: Sequence[Finding] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    redis_url: str | None = None
    keys_for: Collection[str] | None = None
    named: Sequence[LoadedModel] = ()


@dataclass(frozen=True, slots=True)
class Examined:
    """A model's findings, and how long its context is as far as it says."""

    findings: Sequence[Finding]
    context: int | None = None


@dataclass(frozen=True, slots=True)
class Examination:
    """How it is looked at: so many seconds for each answer, by this clock."""

    seconds: float
    epoch: Callable[[], float] = time.time
    legs: Legs = field(default_factory=lambda: Legs(time.monotonic))

    async def of(self, patient: Patient) -> Report:
        """Everything."""
        store, found = await self._store(patient)
        told = await asyncio.gather(
            *(self._cascade(each, patient, store) for each in patient.cascades)
        )
        listener = Listener(self.seconds, self.epoch)
        named = await asyncio.gather(*(named_part(each, listener) for each in patient.named))
        parts = [
            Part(Whose.GATEWAY, patient.process),
            Part(Whose.STORE, found),
            *(part for parts in told for part in parts),
            *named,
        ]
        return Report([part for part in parts if part.findings], Bill.of(self.legs))

    async def _store(self, patient: Patient) -> tuple[StoreSeen | Fault | None, list[Finding]]:
        if patient.redis_url is None:
            return None, [no_store()]
        try:
            url = parse_store_url(patient.redis_url)
        except BadStoreUrl as error:
            return None, [bad_url(str(error))]
        names = [loaded.name for loaded in patient.cascades]
        seen = await Visit(url, names, self.seconds, self.epoch).pay()
        is_storing = any(loaded.config.stored.enabled for loaded in patient.cascades)
        found = store_findings(seen, is_storing=is_storing)
        if patient.keys_for is not None and not isinstance(seen, Fault):
            found.append(await stored_keys(url, patient.keys_for, self.seconds, self.epoch()))
        return seen, found

    async def _cascade(
        self, loaded: LoadedCascade, patient: Patient, store: StoreSeen | Fault | None
    ) -> list[Part]:
        """One cascade with the student that serves; all its models at the same time."""
        name, now = loaded.name, self.epoch()
        force, told = self._in_force(loaded, store, now)
        serving = force.serving
        students, teachers, more = await asyncio.gather(
            self._servers(serving, Role.STUDENT),
            self._servers(serving, Role.TEACHER),
            self._others(serving, force.candidate),
        )
        today = datetime.fromtimestamp(now, UTC).date()
        found = [*configured(serving, patient.refused.get(name), today), *told, *more]
        reads, is_read = _least_context(students), _least_context(teachers)
        if reads and is_read and is_read < reads:
            found.append(_shorter(reads, is_read))
        models = [(Whose.STUDENT, Role.STUDENT, students), (Whose.TEACHER, Role.TEACHER, teachers)]
        parts = [Part(Whose.CASCADE, found, name)]
        for whose, role, servers in models:
            config = config_of(serving, role)
            for place, examined in zip(config.base_urls, servers, strict=True):
                parts.append(Part(whose, examined.findings, name, config.model, place))
        return parts

    def _in_force(
        self, loaded: LoadedCascade, store: StoreSeen | Fault | None, now: float
    ) -> tuple[InForce, list[Finding]]:
        """Which student serves, and what there is to say of that."""
        name = loaded.name
        if not isinstance(store, StoreSeen):
            return InForce(loaded), []
        if name not in store.states:
            saw = "not told: this user may not ask (GET)"
            return InForce(loaded), [Finding(Subject.GENERATION, State.SKIPPED, saw)]
        document = store.states[name]
        force, found = in_force(loaded, document, now)
        if name in store.heartbeats:
            found.append(gateways_finding(document, store.heartbeats[name], now))
        return force, found

    async def _servers(self, loaded: LoadedCascade, role: Role) -> Sequence[Examined]:
        """Each server of a model, all at the same time."""
        return await asyncio.gather(
            *(self._server(alone, role) for alone in each_server(loaded, role))
        )

    async def _server(self, loaded: LoadedCascade, role: Role) -> Examined:
        """A model's only server."""
        config = config_of(loaded, role)
        key = loaded.student_key if role is Role.STUDENT else loaded.teacher_key
        told = await Listener(self.seconds, self.epoch).ask(config.base_urls[0], key)
        price = price_of(config)
        if isinstance(told, Fault):
            return Examined([unreachable(told), price])
        interview = Interview(loaded, role, self.seconds, self.legs)
        seen = await interview.hold(told.listing)
        clock = clock_finding(told.drift, _CLOCK_ADVICE)
        models = told.listing.models if isinstance(told.listing, Listing) else {}
        findings = [*findings_of(interview.wanted, seen), clock, price]
        return Examined(findings, models.get(config.model))

    async def _others(
        self, serving: LoadedCascade, candidate: LoadedCascade | None
    ) -> list[Finding]:
        """Further servers: that of a candidate, and of embeddings."""
        listener, found = Listener(self.seconds, self.epoch), []
        if candidate is not None:
            for base_url in candidate.config.student.base_urls:
                told = await listener.ask(base_url, candidate.student_key)
                found.append(candidate_finding(candidate, told))
        comparator = serving.config.comparator
        if isinstance(comparator, EmbeddingConfig):
            told = await listener.ask(comparator.base_url, serving.embedder_key)
            found.append(_comparator(comparator, told))
        return found


def _least_context(servers: Sequence[Examined]) -> int | None:
    """That of the server with the shortest, as far as they say."""
    return min((one.context for one in servers if one.context), default=None)


def _shorter(student: int, teacher: int) -> Finding:
    saw = f"the student reads {student} tokens, and the teacher {teacher}"
    advice = "what is too long for the student goes to the teacher: give that one --max-model-len"
    return Finding(Subject.CONTEXT, State.HINT, saw, advice)


def _comparator(config: EmbeddingConfig, told: Told | Fault) -> Finding:
    subject = Subject.COMPARATOR
    if isinstance(told, Fault):
        return told.finding(subject, "start it, or mend comparator.base_url")
    if not isinstance(told.listing, Listing):
        advice = "mend comparator.base_url, or its api_key_env"
        return Finding(subject, State.HINT, told.listing.saw, advice)
    if config.model not in told.listing.models:
        has = ", ".join(told.listing.models) or "nothing"
        advice = "mend comparator.model, or have the server serve it"
        return Finding(subject, State.PROBLEM, f"has no {config.model}, but {has}", advice)
    return Finding(subject, State.OK, f"has {config.model}")
