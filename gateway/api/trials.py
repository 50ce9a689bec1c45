"""What requests come to while a candidate is tried: counted for whoever decides about it, and what
has to be compared for that compared off the request path.
"""

import asyncio
from collections.abc import Callable, Sequence

from gateway.api.account import Account
from gateway.api.context import Trial
from gateway.errors import (
    UpstreamFailed,
    UpstreamMalformed,
    UpstreamMisconfigured,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gateway.facts import CandidateCompared, CandidateDrafted, Denial, Ending, Leg, RequestSettled
from gateway.wire.completion import Completion, read_completion, text_of
from routing.comparators import Ask, Comparator, Question
from routing.rollout import Arm
from routing.tally import ArmTally, Compared, Drafted
from routing.vocabulary import Handover, NotAsked, Reason, Role

# A student that is busy, or blames the request, has not failed.
_FAULTS = frozenset(
    error.code
    for error in (
        UpstreamTimeout,
        UpstreamUnavailable,
        UpstreamFailed,
        UpstreamMisconfigured,
        UpstreamMalformed,
    )
)

# With these nothing came of the student's draft, and it did not fail.
_UNTOLD = frozenset({None, Reason.STUDENT_FAILED, Reason.STICKY})


def count_request(account: Account, trial: Trial, fact: RequestSettled) -> Drafted | None:
    """Count a request for its arm, and say what came of its draft; None where nothing did."""
    has_failed = is_at_fault(fact.legs, fact.denials)
    if fact.reason in _UNTOLD and not has_failed:
        return None
    outcome = Drafted.KEPT if fact.is_draft_enough else Drafted.DEFERRED
    outcome = Drafted.FAILED if has_failed else outcome
    _tally(account, trial).drafted(outcome)
    told = CandidateDrafted(trial.candidate.cascade.name, account.arm, outcome)
    account.context.observer.candidate_drafted(told)
    is_answered_twice = fact.reason is Reason.HOLDOUT and fact.ending is Ending.ESCALATED
    if is_answered_twice and not account.is_draft_awaited:
        _compare_held_out(account, trial, draft_text(account))
    return outcome


def compare_held_out(account: Account, draft: bytes | None) -> None:
    """The same of a draft whose rest was written off the path; None where it did not come."""
    if account.trial is not None:
        _compare_held_out(account, account.trial, _text_in(draft))


def is_at_fault(legs: Sequence[Leg], denials: Sequence[Denial]) -> bool:
    """Whether a student gave no answer, or is left alone because it gave none before."""
    is_left_alone = Denial(Role.STUDENT, NotAsked.LEFT_ALONE) in denials
    return is_left_alone or any(leg.role is Role.STUDENT and leg.error in _FAULTS for leg in legs)


def compare_later(
    account: Account, texts: tuple[str | None, str | None], count: Callable[[Compared], None]
) -> None:
    """Compare two answers by the cascade's comparator in the background, and count the outcome."""
    left, right = texts
    if left is None or right is None or account.served is None:
        count(Compared.UNKNOWN)
        return
    comparator = account.served.cascade.samples.comparator
    account.context.go_on(_compare(comparator, left, right, count))


def taught_text(account: Account) -> str | None:
    """The teacher's answer; None where there is none, or it is no answer of its own."""
    given, course = account.given, account.course
    if given is not None:
        return only_text(given.completion) if given.served_by is Role.TEACHER else None
    splice = course.splice
    if course.answer is None or (splice is not None and splice.handover is Handover.CONTINUE):
        return None
    return _text_in(course.answer.body())


def draft_text(account: Account) -> str | None:
    """The student's whole draft; None where it is not known."""
    given, draft = account.given, account.course.draft
    if given is not None:
        return None if given.draft is None else only_text(given.draft)
    if draft is None or not draft.is_whole:
        return None
    return draft.words if draft.words is not None else _text_in(draft.assembly.body())


def only_text(completion: Completion) -> str | None:
    """What was answered; None where it is several things."""
    return text_of(completion.choices[0]) if len(completion.choices) == 1 else None


def _text_in(body: bytes | None) -> str | None:
    try:
        return None if body is None else only_text(read_completion(body))
    except (ValueError, RecursionError):
        return None


async def _compare(
    comparator: Comparator, left: str, right: str, count: Callable[[Compared], None]
) -> None:
    # Long answers take tens of milliseconds, for which requests need not wait.
    begun = await asyncio.to_thread(comparator.begin, Question(), left, right)
    if isinstance(begun, Ask):
        count(Compared.UNKNOWN)  # to ask somebody costs more than a trial is worth
    else:
        is_same = begun.is_same(comparator.at_least)
        count(Compared.SAME if is_same else Compared.DIFFERENT)


def _compare_held_out(account: Account, trial: Trial, draft: str | None) -> None:
    def count(outcome: Compared) -> None:
        _tally(account, trial).compared(outcome)
        told = CandidateCompared(trial.candidate.cascade.name, account.arm, outcome)
        account.context.observer.candidate_compared(told)

    compare_later(account, (draft, taught_text(account)), count)


def _tally(account: Account, trial: Trial) -> ArmTally:
    is_candidates = account.arm is Arm.CANDIDATE
    return trial.tallies.candidate if is_candidates else trial.tallies.incumbent
