"""Hears every fact once and hands it to metrics, ledger and log."""

from collections.abc import Iterator, Mapping, Sequence

from gateway.errors import GatewayError
from gateway.facts import (
    AuditOver,
    AuditSkipped,
    BothAnswered,
    CandidateCompared,
    CandidateDrafted,
    ContentDropped,
    DraftCompleted,
    GenerationsRefused,
    GenerationsTaken,
    PolicyInForce,
    RequestSettled,
    ShadowDrafted,
)
from gateway.ledger import Ledger
from gateway.passage import PassedThrough
from gateway.ports import Damage, DrawFailed, Fate, StreamKind, Trouble
from gateway.server_facts import BreakerChanged, CachedTokensAsked, RoomLearnt, TeacherProbed
from gateway.telemetry.log import (
    Log,
    log_cached_tokens,
    log_generations,
    log_passed,
    log_probed,
)
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.request_line import request_line
from gateway.telemetry.telling import Telling
from routing.vocabulary import Limit


class Observer:
    """The one listener of a gateway."""

    def __init__(self, metrics: Metrics, log: Log, ledger: Ledger) -> None:
        self.metrics = metrics
        self.log = log
        self.ledger = ledger
        self.telling = Telling(self._tell)

    def settled(self, fact: RequestSettled) -> None:
        """A request is over."""
        self.telling.add(fact)

    def page(self) -> Iterator[bytes]:
        """All metrics in Prometheus' text format, in pieces, with what is to be told yet."""
        self.telling.tell()
        return self.metrics.parts()

    def _tell(self, facts: Sequence[RequestSettled]) -> None:
        lines = []
        for fact in facts:
            try:
                self.metrics.settled(fact)
                self.ledger.settled(fact)
                lines.append(request_line(fact))
            except Exception:  # a bug in telling of one hides none of the others
                self.log.exception("bug", request_id=fact.request_id)
        self.log.lines(lines)

    def passed_through(self, fact: PassedThrough) -> None:
        """A request that was to pass to a model as it was is over."""
        self.metrics.passed.passed_through(fact)
        self.ledger.passed_through(fact)
        log_passed(self.log, fact)

    def passing_breaker_changed(self, model: str, failure: GatewayError | None) -> None:
        """A named model, or a tokenizer, is left alone after this failure; with None no longer."""
        is_open = failure is not None
        told = {} if failure is None else {"error": failure.code, "detail": failure.detail()}
        self.metrics.passed.breaker_changed(model, is_open=is_open)
        self.log.warning("breaker", model=model, open=is_open, **told)

    def draft_completed(self, fact: DraftCompleted) -> None:
        """An abandoned draft was finished off the path."""
        self.metrics.draft_completed(fact)
        self.ledger.draft_completed(fact)

    def both_answered(self, fact: BothAnswered) -> None:
        """Both models have answered a request in full."""
        self.metrics.baseline.both_answered(fact)
        self.ledger.both_answered(fact)

    def teacher_probed(self, fact: TeacherProbed) -> None:
        """A teacher was asked off the path whether it goes on from given words."""
        self.metrics.teacher_probed(fact)
        self.ledger.probed(fact)
        log_probed(self.log, fact)

    def cached_tokens_asked(self, fact: CachedTokensAsked) -> None:
        """A server was asked off the path whether it tells of cached tokens."""
        self.metrics.cached_tokens_asked(fact)
        self.ledger.probed(fact)
        log_cached_tokens(self.log, fact)

    def breaker_changed(self, fact: BreakerChanged) -> None:
        """A server is left alone from now on, or no longer.

        The metrics are of the incumbent: of another student only the log tells.
        """
        failure, told = fact.failure, {}
        if failure is not None:
            told = {"error": failure.code, "detail": failure.detail()}
        if fact.student_version is None:
            is_alone = fact.left_alone
            self.metrics.calls.breaker_changed(fact.cascade, fact.role, is_alone, fact.servers)
        else:
            told["student_version"] = fact.student_version
        self.log.warning(
            "breaker",
            cascade=fact.cascade,
            role=fact.role,
            server=fact.server,
            open=failure is not None,
            **told,
        )

    def room_learnt(self, fact: RoomLearnt) -> None:
        """How much the context of a student's server holds."""
        self.log.info(
            "context", cascade=fact.cascade, server=fact.server, context_tokens=fact.tokens
        )

    def policy_in_force(self, fact: PolicyInForce) -> None:
        """A policy decides from now on."""
        self.metrics.policies.in_force(fact)

    def generations_taken(self, fact: GenerationsTaken) -> None:
        """A state of the registry is in force."""
        self.metrics.rollouts.taken(fact)
        log_generations(self.log, fact)

    def generations_refused(self, fact: GenerationsRefused) -> None:
        """A state of the registry is no use."""
        self.metrics.rollouts.refused(fact)
        self.log.error(
            "generations_refused",
            cascade=fact.cascade,
            why=fact.why,
            message="the state in force stays; `understudy distill rollback` writes a usable one, "
            "or, of one that cannot be read, whoever puts the registry's last good one back",
        )

    def rollout_watched(self, cascade: str, version: str, *, is_watched: bool) -> None:
        """Nobody watches a candidate any more, or somebody does again."""
        if is_watched:
            self.log.info("rollout_watched", cascade=cascade, version=version)
            return
        self.log.warning(
            "rollout_unwatched",
            cascade=cascade,
            version=version,
            message="whoever tried this candidate has not been heard of: it gets nothing any more, "
            "until that one is back; `understudy distill rollback` ends it",
        )

    def generations_lost(self, cascade: str, revision: int) -> None:
        """The registry has no state any more, and one is in force here."""
        self.metrics.rollouts.lost(cascade)
        self.log.warning(
            "generations_lost",
            cascade=cascade,
            revision=revision,
            message="the store has no generations of this cascade any more: the state in force "
            "stays here, and a gateway without a saved one would begin with the configuration's",
        )

    def generations_found(self, cascade: str, *, is_refused: bool) -> None:
        """The registry has a state again; ``is_refused``: it is the one that was no use before."""
        self.metrics.rollouts.found(cascade, is_refused=is_refused)
        self.log.info(
            "generations_found", cascade=cascade, message="the store has generations again"
        )

    def generations_not_saved(self, place: str, error: OSError) -> None:
        """The last state could not be read or written in the state directory."""
        self.log.error(
            "generations_not_saved", **_told(Trouble(place, error.errno, error.strerror))
        )

    def registry_changed(self, failures: Mapping[str, tuple[str, Trouble]]) -> None:
        """The registry cannot be read any more, of these cascades; with none it can again."""
        if not failures:
            self.log.info("registry_back", message="generations are read again")
            return
        error, trouble = next(iter(failures.values()))
        self.log.warning(
            "registry_away",
            cascades=sorted(failures),
            error=error,
            message="generations cannot be read: the state in force stays",
            **_told(trouble),
        )

    def turn_answered(self, fact: RequestSettled) -> None:
        """A turn of a conversation was answered."""
        self.metrics.conversations.turn_answered(fact)

    def turns_shared(self, failure: tuple[str, Trouble] | None) -> None:
        """Replicas do not hear of each other's turns any more; None: they do again."""
        if failure is None:
            self.log.info("turns_back", message="turns of conversations are shared again")
            return
        error, trouble = failure
        self.log.warning(
            "turns_away",
            error=error,
            message="turns of conversations are known to the replica alone that answered them",
            **_told(trouble),
        )

    def candidate_drafted(self, fact: CandidateDrafted) -> None:
        """What came of a request while a candidate is tried."""
        self.metrics.rollouts.drafted(fact)

    def candidate_compared(self, fact: CandidateCompared) -> None:
        """What a draft came to beside another answer."""
        self.metrics.rollouts.compared(fact)

    def shadow_drafted(self, fact: ShadowDrafted) -> None:
        """A candidate wrote a draft that nobody gets."""
        self.metrics.shadow_drafted(fact)
        self.ledger.shadow_drafted(fact)

    def audit_over(self, fact: AuditOver) -> None:
        """The teacher was asked about a draft."""
        self.metrics.audit_over(fact)
        self.ledger.audit_over(fact)

    def audit_skipped(self, fact: AuditSkipped) -> None:
        """A kept draft was drawn, and is not audited."""
        self.metrics.audits.skipped(fact)

    def audit_debt_dropped(self, cascade: str, count: int) -> None:
        """Some of what was to be audited once the teacher is back is forgotten."""
        self.metrics.audits.debt_dropped(cascade, count)

    def content_dropped(self, fact: ContentDropped) -> None:
        """A pair is written without its content."""
        self.metrics.pairs.content_dropped(fact.cascade, fact.cause)
        self.log.error(
            "content_dropped",
            cascade=fact.cascade,
            pair_id=fact.pair_id,
            cause=fact.cause,
            redactor=fact.redactor,
            detail=fact.detail,
        )

    def pair_written(self, cascade: str) -> None:
        """A pair stands in the journal."""
        self.metrics.pairs.written(cascade)

    def pair_shipped(self, cascade: str) -> None:
        """A pair stands in the store."""
        self.metrics.pairs.shipped(cascade)

    def posting_written(self) -> None:
        """A part of the ledger stands in the journal."""
        self.metrics.ledger.written()

    def posting_shipped(self) -> None:
        """A part of the ledger is in the store's books."""
        self.metrics.ledger.shipped()

    def completions_became(
        self, cascade: str, fate: Fate, cause: str | None = None, count: int = 1
    ) -> None:
        """What became of completions that clients had stored."""
        self.metrics.pairs.completions_became(cascade, fate, count)
        if fate is Fate.LOST:
            self.log.error("stored_completion_lost", cascade=cascade, cause=cause)
        elif fate is Fate.EXPIRED:
            self.log.info("stored_completions_expired", cascade=cascade, cause=cause, count=count)

    def stored_unavailable(self, error: str, trouble: Trouble) -> None:
        """A client could not read what it had stored."""
        self.log.warning("stored_unavailable", error=error, place=trouble.place)

    def pair_lost(self, cascade: str | None, cause: str, trouble: Trouble) -> None:
        """A pair is gone."""
        self.metrics.pairs.lost(cascade, cause)
        self.log.error("pair_lost", cascade=cascade, cause=cause, **_told(trouble))

    def pairs_expired(self, cascade: str, cause: str, count: int) -> None:
        """Pairs went from the store for their age, or for the size of all of them."""
        self.metrics.pairs.expired(cascade, cause, count)
        self.log.info("pairs_expired", cascade=cascade, cause=cause, count=count)

    def pairs_deleted(self, cascade: str, count: int) -> None:
        """Pairs went from journal or store because somebody asked for it."""
        self.metrics.pairs.deleted(cascade, count)
        self.log.info("pairs_deleted", cascade=cascade, count=count)

    def pairs_counted(self, cascade: str, stored: int | None, unread: int | None) -> None:
        """So many pairs are in the store, and so many of them in no export yet."""
        self.metrics.pairs.counted(cascade, stored, unread)

    def journal_damaged(self, damage: Damage) -> None:
        """A part of the journal cannot be read."""
        self.metrics.pairs.damaged(is_torn=damage.is_torn)
        self.log.error(
            "journal_damaged",
            place=damage.place,
            offset=damage.offset,
            bytes=damage.size,
            torn=damage.is_torn,
            kept=damage.kept,
        )

    def journal_failed(self, trouble: Trouble) -> None:
        """Something but the writing of a pair went wrong with the journal's files."""
        self.log.error("journal_failed", **_told(trouble))

    def journal_adopted(self, place: str, unshipped_bytes: int) -> None:
        """A directory that a dead process left is this one's now."""
        self.log.info("journal_adopted", place=place, unshipped_bytes=unshipped_bytes)

    def store_changed(self, *, is_durable: bool) -> None:
        """Whether the store says of pairs that they are on its disk."""
        if self.metrics.pairs.store_changed(is_durable=is_durable) and not is_durable:
            self.log.warning(
                "store_not_durable",
                message="the store does not say that pairs are on its disk: what is shipped "
                "stays in the journal for a time. Give it appendonly yes, and Redis 7.2 or Valkey",
            )

    def store_seen(self, *, is_evicting: bool) -> None:
        """Whether the store throws keys away when it is full."""
        if self.metrics.pairs.store_seen(is_evicting=is_evicting) and is_evicting:
            self.log.error(
                "store_evicts",
                message="the store throws pairs or the ledger's books away when it is full: set "
                "its maxmemory-policy to noeviction",
            )

    def store_failed(
        self,
        error: str,
        trouble: Trouble,
        cascade: str | None = None,
        records: StreamKind | None = None,
    ) -> None:
        """Records could not be taken to the store; it will be tried again."""
        self.metrics.pairs.store_failed()
        about = {"error": error, "cascade": cascade, "records": records}
        self.log.warning("store_failed", **about, **_told(trouble))

    def limited(self, limit: Limit | None) -> None:
        """A request was over a limit of its key; None: nobody could say."""
        self.metrics.limits.limited(limit)

    def draw_failed(self) -> None:
        """The books of a key's limits could not be asked."""
        self.metrics.limits.draw_failed()

    def limits_changed(self, failure: DrawFailed | None) -> None:
        """The books of some keys' limits cannot be asked any more; None: those of all can again."""
        if failure is None:
            self.log.info("limits_back", message="limits are shared with all replicas again")
            return
        self.log.warning(
            "limits_away",
            error=failure.error,
            message="what is left of limits cannot be asked: keys have what is in hand here, and "
            "then UNDERSTUDY_STORE_DOWN says what becomes of their requests",
            **_told(failure.trouble),
        )

    def drawing_failed(self) -> None:
        """A bug, while its exception is handled."""
        self.log.exception("bug", message="asking for what is left of limits failed")

    def shipping_ended(self) -> None:
        """A bug, while its exception is handled."""
        self.log.exception("bug", message="the keeping of pairs ended; it is started again")


def _told(trouble: Trouble) -> dict[str, object]:
    return {"place": trouble.place, "errno": trouble.errno, "strerror": trouble.strerror}
