import pytest

from distill.deletions import Deletion, Deletions


@pytest.mark.parametrize(
    ("request_id", "tenant", "time", "is_concerned"),
    [
        ("r1", None, 9.0, True),
        ("r1", "other", 1.0, True),
        ("r2", "team", 4.9, True),
        ("r2", "team", 5.0, True),
        ("r2", "team", 5.1, False),
        ("r2", "other", 1.0, False),
        ("r2", None, 1.0, False),
    ],
)
def test_a_wish_concerns_a_request_for_ever_and_a_tenant_until_it_was_made(
    request_id: str, tenant: str | None, time: float, is_concerned: bool
) -> None:
    wishes = Deletions()
    wishes.add([Deletion(5.0, tenant="team"), Deletion(3.0, tenant="team")])
    wishes.add([Deletion(5.0, request_id="r1")])
    assert wishes.concern(request_id, tenant, time) is is_concerned
    assert len(wishes) == 2


@pytest.mark.parametrize("time", [float("nan"), float("inf")])
def test_a_wish_has_a_time(time: float) -> None:
    with pytest.raises(ValueError, match="has a time"):
        Deletion(time, tenant="team")


@pytest.mark.parametrize("named", [{}, {"request_id": "r", "tenant": "t"}])
def test_a_wish_names_one_thing(named: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="a request or a tenant"):
        Deletion(1.0, **named)
