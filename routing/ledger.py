"""The ledger's arithmetic: what the requests of one cascade and one day came to, by tenant.

All amounts are whole numbers that are only ever added, so that any order of adding, and any way of
cutting the sums into parts, gives the same books.  An amount is named by its tenant and by words:

    requests <how they ended>     requests
    <role> <kind> <what>          calls to models: ``calls``, tokens (``input``, ``cached_input``,
                                  ``output``, ``reasoning``), ``cost_pico``, of that
                                  ``estimated_pico``; calls with an estimate (``estimated``), and
                                  those of which tokens (``usage_unknown``) or cost
                                  (``cost_unknown``) are in no sum
    baseline <basis>              what the teacher alone would have cost, in pico-dollars
    baseline known | unknown      answered requests with such an estimate, and without
    correction up | down          what requests held out at random add to the baseline, or take from
                                  it, in pico-dollars
    correction variance           of these, in squares of pico-dollars
    correction known | unknown    requests held out that say so, and that were to

``encode`` gives fields for a store whose numbers have 64 bits: ``words:tenant``, joined by colons.
Of an amount of 10**12 or more the part in whole 10**12 stands in a field of its own, whose last
word ends in ``_e12``, and so on in steps of 10**12: nothing is ever rounded.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from routing.baseline import Correction, Estimate
from routing.bill import Entry

NOBODY = "-"  # the tenant of requests without a key, and of what the gateway itself asked
STEP_DIGITS = 12
STEP = 10**STEP_DIGITS

# The tenant, and then the words.
Name = tuple[str, ...]


class Unreadable(ValueError):
    """A field that no gateway writes."""


class Sums:
    """Amounts of one cascade and one day by their names."""

    def __init__(self, amounts: Mapping[Name, int] | None = None) -> None:
        self.amounts: defaultdict[Name, int] = defaultdict(int, amounts or {})

    def count(self, tenant: str, ending: str) -> None:
        """Count a request."""
        self.amounts[tenant, "requests", ending] += 1

    def charge(self, tenant: str, entry: Entry) -> None:
        """Add one line of the bill."""
        amounts, role, kind, usage = self.amounts, entry.role, entry.kind, entry.usage
        amounts[tenant, role, kind, "calls"] += 1
        if usage is None:
            amounts[tenant, role, kind, "usage_unknown"] += 1
        else:
            amounts[tenant, role, kind, "input"] += usage.input
            amounts[tenant, role, kind, "output"] += usage.output
            if usage.cached_input:
                amounts[tenant, role, kind, "cached_input"] += usage.cached_input
            if usage.reasoning:
                amounts[tenant, role, kind, "reasoning"] += usage.reasoning
        if entry.cost_pico is None:
            amounts[tenant, role, kind, "cost_unknown"] += 1
        else:
            amounts[tenant, role, kind, "cost_pico"] += entry.cost_pico
        if entry.is_estimated:
            amounts[tenant, role, kind, "estimated"] += 1
            amounts[tenant, role, kind, "estimated_pico"] += entry.cost_pico or 0

    def compare(self, tenant: str, baseline: Estimate) -> None:
        """Add what the teacher alone would have cost for one answered request, if that is known."""
        if baseline.pico is None:
            self.amounts[tenant, "baseline", "unknown"] += 1
        else:
            self.amounts[tenant, "baseline", "known"] += 1
            self.amounts[tenant, "baseline", baseline.basis] += baseline.pico

    def correct(self, tenant: str, correction: Correction | None) -> None:
        """Add what one held-out request says of the baseline of those like it, if that is known."""
        if correction is None:
            self.amounts[tenant, "correction", "unknown"] += 1
        else:
            self.amounts[tenant, "correction", "known"] += 1
            self.amounts[tenant, "correction", correction.direction] += abs(correction.pico)
            self.amounts[tenant, "correction", "variance"] += correction.variance_pico2

    def encode(self) -> dict[str, int]:
        """Fields for the store, without those that add nothing; each is below 10**12."""
        fields: dict[str, int] = {}
        for (tenant, *words), amount in self.amounts.items():
            sign, rest, step = (-1 if amount < 0 else 1), abs(amount), 0
            while rest:
                rest, digit = divmod(rest, STEP)
                if digit:
                    suffix = f"_e{step}" if step else ""
                    fields[f"{':'.join(words)}{suffix}:{tenant}"] = sign * digit
                step += STEP_DIGITS
        return fields


def decode(fields: Iterable[tuple[str, int]]) -> Sums:
    """What fields say, of one part or of many.  Raises Unreadable."""
    sums = Sums()
    for field, amount in fields:
        *words, tenant = field.split(":")
        if not words:
            raise Unreadable(f"{field!r} names no amount and no tenant")
        last, mark, exponent = words[-1].rpartition("_e")
        if mark and exponent.isdecimal() and len(exponent) < 4:  # else a word of its own
            words[-1] = last
            amount *= 10 ** int(exponent)
        sums.amounts[tenant, *words] += amount
    return sums
