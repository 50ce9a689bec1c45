import hashlib
from dataclasses import replace

import pytest

from gateway.errors import KeyExpired, KeysNotKnownYet, RateLimited, Unauthorized
from gateway.keys import KeyLimits, Keys, Tenant, may_use

ANN, BOB = Tenant("ann", key="ann-1"), Tenant("bob", key="bob-1")


def sha256(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def keys(*tenants: Tenant, now: float = 1000.0, is_open: bool = False) -> Keys:
    known = {sha256(f"key-of-{tenant.name}"): tenant for tenant in tenants}
    return Keys(known, is_open=is_open, epoch=lambda: now)


def test_each_key_has_its_tenant() -> None:
    made = keys(ANN, BOB)
    assert made.tenant(b"Bearer key-of-ann") is ANN
    assert made.tenant(b"bearer  key-of-bob ") is BOB
    assert made.tenant(None, b"key-of-ann") is ANN


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"key-of-ann",
        b"Basic key-of-ann",
        b"Bearer",
        b"Bearer ",
        b"Bearer key-of-ANN",
        b"Bearer \xff",
    ],
)
def test_anything_else_is_refused(header: bytes | None) -> None:
    with pytest.raises(Unauthorized):
        keys(ANN, BOB).tenant(header)


@pytest.mark.parametrize("header", [b"", b" ", b"key-of-ANN", b"Bearer key-of-ann"])
def test_anything_else_is_no_x_api_key(header: bytes) -> None:
    with pytest.raises(Unauthorized):
        keys(ANN, BOB).tenant(None, header)


@pytest.mark.parametrize("beside", [b"Bearer key-of-ann", b"Bearer", b"Basic dTpw", b"", None])
def test_an_x_api_key_is_read_beside_an_authorization_that_says_nothing_else(
    beside: bytes | None,
) -> None:
    assert keys(ANN, BOB).tenant(beside, b"key-of-ann") is ANN


def test_two_keys_that_differ_are_refused_although_both_are_known() -> None:
    with pytest.raises(Unauthorized, match="different keys"):
        keys(ANN, BOB).tenant(b"Bearer key-of-ann", b"key-of-bob")


def test_no_key_is_asked_for_where_the_gateway_is_open() -> None:
    made = keys(is_open=True)
    assert made.tenant(None) is None
    assert made.tenant(b"Bearer x", b"y") is None


def test_nobody_gets_in_where_keys_are_asked_for_and_there_are_none() -> None:
    for headers in ((None, None), (b"Bearer x", None), (None, b"x")):
        with pytest.raises(Unauthorized):
            keys().tenant(*headers)


def test_a_key_expires_on_the_second() -> None:
    ann = replace(ANN, expires_at=1000.0)
    assert keys(ann, now=999.9).tenant(b"Bearer key-of-ann") is ann
    with pytest.raises(KeyExpired, match="expired at 1970-01-01T00:16:40Z"):
        keys(ann, now=1000.0).tenant(b"Bearer key-of-ann")


def test_while_keys_are_not_known_yet_a_strange_one_is_told_to_come_again() -> None:
    made = keys(ANN)
    made.is_waiting = True
    assert made.tenant(b"Bearer key-of-ann") is ANN
    with pytest.raises(KeysNotKnownYet):
        made.tenant(b"Bearer key-of-bob")
    with pytest.raises(Unauthorized):
        made.tenant(None)


def test_keys_that_are_taken_replace_those_before() -> None:
    made = keys(ANN)
    made.take({sha256("key-of-bob"): BOB})
    assert made.tenant(b"Bearer key-of-bob") is BOB
    with pytest.raises(Unauthorized):
        made.tenant(b"Bearer key-of-ann")
    assert made.tenants == {sha256("key-of-bob"): BOB}


def test_open_requests_are_counted_by_key_and_one_too_many_is_refused() -> None:
    made, ann = keys(ANN, BOB), replace(ANN, limits=KeyLimits(max_open_requests=2))
    made.begin(ann)
    made.begin(ann)
    with pytest.raises(RateLimited, match="2 open requests") as refused:
        made.begin(ann)
    assert refused.value.retry_after_seconds == 1
    made.end(ann)  # the one that was refused
    made.begin(BOB)
    made.begin(None)
    with pytest.raises(RateLimited):
        made.begin(ann)
    made.end(ann)
    made.end(ann)
    made.begin(ann)
    for tenant in (ann, ann, BOB, None):
        made.end(tenant)
    assert not made._open_requests


def test_two_keys_of_a_tenant_have_open_requests_of_their_own() -> None:
    made, limits = keys(), KeyLimits(max_open_requests=1)
    for name in ("ann-1", "ann-2"):
        made.begin(Tenant("ann", key=name, limits=limits))


def test_open_requests_are_still_counted_when_the_keys_change() -> None:
    ann = replace(ANN, limits=KeyLimits(max_open_requests=1))
    made = keys(ann)
    made.begin(ann)
    made.take({sha256("key-of-ann"): ann})
    with pytest.raises(RateLimited):
        made.begin(ann)


def test_a_model_exists_for_whom_it_is_allowed() -> None:
    some = replace(ANN, models=frozenset({"assistant"}))
    assert may_use(some, "assistant")
    assert not may_use(some, "writer")
    assert may_use(ANN, "writer")
    assert may_use(None, "writer")
