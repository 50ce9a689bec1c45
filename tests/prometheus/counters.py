"""Raw counters against the books, to the pico-dollar."""

from collections.abc import Iterator, Mapping
from decimal import Decimal

from tests.prometheus.books import Key, is_by_time

PICO = Decimal("0.000000000001")


def miscounted(page: Mapping[Key, Decimal], due: Mapping[Key, Decimal]) -> Iterator[str]:
    """Every sample of the metrics that the books know which does not say what they say.

    A series that is not there yet is 0.
    """
    known = {name for name, _ in due}
    shown = {which for which in page if which[0] in known and not is_by_time(which)}
    for which in sorted(shown | due.keys(), key=str):
        says, is_due = (one.get(which, Decimal(0)).quantize(PICO) for one in (page, due))
        if says != is_due:
            name, labels = which
            yield f"{name}{dict(sorted(labels))} says {says}, and it was {is_due}"
