"""The end of a request while a candidate is tried; and, in the shadow stage, the draft that the
candidate writes beside it once the client has its answer.

Nobody gets such a draft, and nothing of it is stored: it is judged, compared, counted and billed.
"""

from dataclasses import dataclass, replace

from gateway.answer import write_draft
from gateway.api.account import Account
from gateway.api.context import Trial
from gateway.api.trials import (
    compare_later,
    count_request,
    draft_text,
    is_at_fault,
    only_text,
    taught_text,
)
from gateway.errors import UpstreamRefused
from gateway.facts import SHADOW_ARM, CandidateCompared, CandidateDrafted, ShadowDrafted
from gateway.legs import Legs
from gateway.wire.chat import Chat
from gateway.wire.completion import drafts_of
from gateway.wire.prospect import prospect_of
from routing.cascade import Keep, defer, plan
from routing.tally import Compared, Drafted
from routing.vocabulary import NoDraft, Reason

# So many drafts of a candidate are written at a time; requests beyond that go without.
MOST_SHADOWS = 16


def conclude(account: Account) -> None:
    """Count a request that is over, where a candidate was tried when it came."""
    fact, trial = account.fact, account.trial
    if fact is None or trial is None:
        return
    outcome = count_request(account, trial, fact)
    if fact.is_answered and account.chat is not None:
        is_kept = outcome is Drafted.KEPT
        _begin(account, account.chat, trial, is_incumbents_kept=is_kept)


@dataclass(frozen=True, slots=True)
class _Shadow:
    """A draft that is to be written beside a request."""

    account: Account
    chat: Chat
    trial: Trial
    is_incumbents_kept: bool

    def count(self, outcome: Drafted) -> None:
        """Count what came of it."""
        shadow = self.trial.tallies.shadow
        shadow.drafted(outcome, is_incumbents_kept=self.is_incumbents_kept)
        told = CandidateDrafted(self.trial.candidate.cascade.name, SHADOW_ARM, outcome)
        self.account.context.observer.candidate_drafted(told)

    async def write(self) -> None:
        """Have it written and judged, and count it; bill it whatever happens."""
        account, candidate = self.account, self.trial.candidate
        legs = Legs(account.context.clock)
        try:
            await self._write(legs)
        except UpstreamRefused:
            pass  # it blames the request, and that is no fault
        finally:
            candidate.standing.open_requests -= 1
            tenant = None if account.tenant is None else account.tenant.name
            told = ShadowDrafted(candidate.cascade.name, legs.made, tenant)
            account.context.observer.shadow_drafted(told)

    async def _write(self, legs: Legs) -> None:
        chat, cascade = self.chat, self.trial.candidate.cascade
        policy = cascade.policy
        prospect = prospect_of(chat, policy, cascade.sampling, cascade.samples.count)
        if self.account.turn is not None:
            prospect = replace(prospect, earlier_kept=self.account.turn.talk.past.kept)
        first = plan(prospect, cascade.student_cannot, policy)  # pure
        draft = await write_draft(first, chat, prospect, cascade, legs)  # I/O: candidate
        evidence = draft if isinstance(draft, NoDraft) else drafts_of(draft, chat)
        verdict = defer(evidence, policy, prospect)  # pure
        if is_at_fault(legs.made, legs.denied):
            self.count(Drafted.FAILED)
        elif verdict.reason is Reason.STUDENT_FAILED:
            self.count(Drafted.SKIPPED)  # it is busy
        elif not isinstance(verdict, Keep):
            self.count(Drafted.DEFERRED)
        else:
            self.count(Drafted.KEPT)
            self._compare(None if isinstance(draft, NoDraft) else only_text(draft))

    def _compare(self, draft: str | None) -> None:
        """With the teacher's answer where there is one, else with what the incumbent kept."""
        taught = taught_text(self.account)
        if taught is not None:
            compare_later(self.account, (draft, taught), self._met_teacher)
        elif self.is_incumbents_kept:
            compare_later(self.account, (draft, draft_text(self.account)), self._met_incumbent)

    def _met_teacher(self, outcome: Compared) -> None:
        self.trial.tallies.shadow.met_teacher(outcome)
        self._tell_compared(outcome, is_with_incumbent=False)

    def _met_incumbent(self, outcome: Compared) -> None:
        self.trial.tallies.shadow.met_incumbent(outcome)
        self._tell_compared(outcome, is_with_incumbent=True)

    def _tell_compared(self, outcome: Compared, *, is_with_incumbent: bool) -> None:
        name = self.trial.candidate.cascade.name
        told = CandidateCompared(name, SHADOW_ARM, outcome, is_with_incumbent)
        self.account.context.observer.candidate_compared(told)


def _begin(account: Account, chat: Chat, trial: Trial, *, is_incumbents_kept: bool) -> None:
    context = account.context
    # The state may have changed since the request came, and the candidate be on its way out.
    now = context.served[trial.candidate.cascade.name].trial
    if now is None or now.rollout.id != trial.rollout.id or context.is_draining:
        return
    share = now.rollout.shadow_share(context.epoch())
    if not share or context.dice() >= share:
        return
    shadow = _Shadow(account, chat, now, is_incumbents_kept)
    standing = now.candidate.standing
    if standing.open_requests >= MOST_SHADOWS:
        shadow.count(Drafted.SKIPPED)
        return
    standing.open_requests += 1
    context.go_on(shadow.write())
