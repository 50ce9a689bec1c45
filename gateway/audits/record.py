"""The record of one audit, as the journal and the store hold it: docs/audit.schema.json.

It has the form of a pair's, so that whoever reads pairs reads audits too, and says besides what was
found, and how likely it was to be known.  What was said is redacted and sealed as in pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from gateway.api.keeping import kept_content
from gateway.audits.case import Case
from gateway.facts import Leg
from gateway.pairs import Pair, Rescue, content_of, members_of
from gateway.ports import StreamKind
from routing.auditing import Known
from routing.vocabulary import Role


@dataclass(frozen=True, slots=True)
class Finding:
    """What an audit came to.

    ``answer`` is the teacher's, None where it gave none; ``score`` is how far the two agree by the
    comparator, None where nobody could say, and ``loss`` what that comes to.  ``legs`` are the
    audit's calls.
    """

    answer: bytes | None
    score: float | None
    loss: float
    legs: Sequence[Leg]


async def write_record(case: Case, finding: Finding) -> None:
    """Write it to the journal; one that is lost is counted there."""
    terms, provenance = case.terms, case.provenance
    known_with = terms.propensity(case.known)
    rescue = Rescue(
        draft=case.draft,
        is_draft_complete=True,
        answer=b"null" if finding.answer is None else finding.answer,
        reason=case.reason,
        propensity=terms.audited if case.known is Known.AUDITED else known_with,
        samples=case.samples,
    )
    content = content_of(case.chat, rescue)
    kept = await kept_content(case.context, case.served, provenance.id, content)
    calls = [*case.legs, *finding.legs]
    members = members_of(Pair(provenance, rescue, kept), case.chat, case.verdict, calls)
    record = members | {
        "kind": "audit",
        "known": case.known,
        "served_by": Role.STUDENT,
        "degraded": case.degraded,
        "epoch": None if terms.standing is None else terms.standing.epoch,
        "known_with": known_with,
        "least": min(terms.least, known_with),
        "score": finding.score,
        "loss": finding.loss,
        "comparator": case.served.cascade.samples.comparator.version,
        "at_least": case.served.cascade.samples.comparator.at_least,
    }
    encoded = msgspec.json.encode(record)
    case.context.pairs.append(case.cascade, encoded, kind=StreamKind.AUDITS)
