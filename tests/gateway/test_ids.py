import re
from itertools import islice

from gateway.ids import fresh_ids


def test_each_is_new_and_has_the_same_form() -> None:
    ids = [*islice(fresh_ids(), 1000), *islice(fresh_ids(), 1000)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[0-9a-f]{32}", each) for each in ids)
