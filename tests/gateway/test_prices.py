"""The sections ``price`` and ``budget``: what they come to, and what is refused with what words."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cascades import LoadedCascade, doubts_about, load_cascades
from gateway.config_file import ConfigError
from gateway.prices import GpuPriceConfig, TokenPriceConfig
from routing.gpu_time import Rent
from routing.money import Price
from tests.fakes.serving import cascade_document, load_gateway

REFERENCE = {"input_tokens_per_second": 20_000, "output_tokens_per_second": 2_400}
EIGHT = {"gpu_usd_per_hour": 3.20, "gpus": 8}


def load(folder: Path, **cascades: dict[str, Any]) -> tuple[LoadedCascade, ...]:
    path = folder / "c.yaml"
    made = {
        name: cascade_document("http://student", "http://teacher", **changes)
        for name, changes in cascades.items()
    }
    path.write_text(yaml.safe_dump({"cascades": made}))
    return load_cascades(path, lambda _: None)


def teacher_price(folder: Path, price: Any) -> TokenPriceConfig | GpuPriceConfig | None:
    (loaded,) = load(folder, a={"teacher": {"price": price}})
    return loaded.config.teacher.price


def rented(folder: Path, **price: Any) -> GpuPriceConfig:
    found = teacher_price(folder, EIGHT | price)
    assert isinstance(found, GpuPriceConfig)
    return found


def test_a_rent_is_all_gpus_among_the_gateways(tmp_path: Path) -> None:
    assert rented(tmp_path).rent() == Rent(25_600_000_000_000, 1)
    assert rented(tmp_path, gateways=3, gpus=1).rent() == Rent(3_200_000_000_000, 3)
    assert rented(tmp_path, gpu_usd_per_hour=0).rent() == Rent(0)


def test_time_is_charged_unless_there_is_a_reference_or_it_is_said(tmp_path: Path) -> None:
    assert rented(tmp_path).is_by_time
    assert rented(tmp_path, by="time", reference=REFERENCE).is_by_time
    assert not rented(tmp_path, reference=REFERENCE).is_by_time
    assert not rented(tmp_path, by="tokens", reference=REFERENCE).is_by_time


def test_a_reference_makes_a_price_of_the_rent(tmp_path: Path) -> None:
    """25.6 USD an hour are 7,111,111,111.1 pico-dollars a second, of so many tokens."""
    assert rented(tmp_path).price() is None
    price = rented(tmp_path, reference=REFERENCE).price()
    assert price == Price(355_556, 355_556, 2_962_963, 2_962_963)
    cached = REFERENCE | {"cached_input_tokens_per_second": 400_000}
    price = rented(tmp_path, reference=cached, by="time", gateways=4).price()
    assert price == Price(355_556, 17_778, 2_962_963, 2_962_963)


def test_log_probabilities_make_what_is_written_dearer(tmp_path: Path) -> None:
    price = rented(tmp_path, reference=REFERENCE, logprob_tax=0.2).price()
    assert price == Price(355_556, 355_556, 3_703_704, 3_703_704)


@pytest.mark.parametrize(
    ("price", "path", "fix"),
    [
        ({"gpu_usd_per_hour": -1}, "price.gpu_usd_per_hour: USD an hour must", "got -1"),
        ({"gpu_usd_per_hour": "x"}, "price.gpu_usd_per_hour", "number alone"),
        ({"gpu_usd_per_hour": "3.2"}, "price.gpu_usd_per_hour", "without quotes"),
        ({"input": "0.60", "output": 2.4}, "price.input: Input should be a number", "got '0.60'"),
        ({"input": True, "output": 2.4}, "price.input: Input should be a number", "got True"),
        ({"gpus": 8}, "price.gpu_usd_per_hour", "add it"),
        (EIGHT | {"gpus": 0}, "price.gpus", "in that range"),
        (EIGHT | {"gpus": 0.5}, "price.gpus", "whole number"),
        (EIGHT | {"gateways": 10_001}, "price.gateways", "in that range"),
        (EIGHT | {"by": "luck"}, "price.by", "choose one of these"),
        (EIGHT | {"by": "tokens"}, "a.teacher.price: by: tokens needs a reference", "add it"),
        (EIGHT | {"logprob_tax": 0.1}, "a.teacher.price: logprob_tax", "remove this"),
        (EIGHT | {"reference": REFERENCE, "logprob_tax": 1}, "price.logprob_tax", "in that range"),
        (EIGHT | {"reference": {}}, "price.reference.input_tokens_per_second", "add it"),
        (
            EIGHT | {"reference": REFERENCE | {"output_tokens_per_second": 0}},
            "price.reference.output_tokens_per_second: must be a finite number above 0, got 0",
            "above 0",
        ),
        (
            EIGHT | {"reference": REFERENCE | {"input_tokens_per_second": 1e11}},
            "a.teacher.price: at this reference input costs less than",
            "mend the reference",
        ),
        (EIGHT | {"input": 1}, "a.teacher.price.input", "remove it"),
        (EIGHT | {"server": ""}, "price.server", "write something"),
        ({"input": 1, "output": 2, 3: 4}, "a.teacher.price.3", "Keys should be strings"),
        (5, "a.teacher.price: must hold keys and values, got 5", "further to the right"),
        ([1], "a.teacher.price: must hold keys and values, got a list", "further to the right"),
    ],
)
def test_an_error_names_the_path_the_value_and_the_fix(
    tmp_path: Path, price: Any, path: str, fix: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        teacher_price(tmp_path, price)
    assert f"{tmp_path / 'c.yaml'}: cascades." in str(caught.value)
    assert path in str(caught.value)
    assert fix in str(caught.value)


def test_one_server_is_rented_at_one_price(tmp_path: Path) -> None:
    dearer = {"teacher": {"price": EIGHT | {"gpu_usd_per_hour": 4}}}
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, a={"teacher": {"price": EIGHT}}, b=dearer)
    assert "cascades.b.teacher.price: rents http://teacher/v1 at other terms" in str(caught.value)
    assert "than cascades.a.teacher: say the same" in str(caught.value)


def test_two_servers_behind_one_address_have_names(tmp_path: Path) -> None:
    dearer = {"teacher": {"price": EIGHT | {"gpu_usd_per_hour": 4, "server": "second"}}}
    assert len(load(tmp_path, a={"teacher": {"price": EIGHT}}, b=dearer)) == 2


def test_models_of_one_server_share_its_rent(tmp_path: Path) -> None:
    both = {"teacher": {"price": EIGHT}}
    documents = [
        cascade_document("http://student", url, **both) for url in ("http://t", "http://t", "http://u")
    ]  # fmt: skip
    gateway = load_gateway(tmp_path, documents[0], others={"b": documents[1], "c": documents[2]})
    a, b, c = (served.cascade.teacher.rented for served in gateway.context.served.values())
    assert a is not None
    assert b is not None
    assert c is not None
    a.lanes[0].open(0)
    a.lanes[0].close(10**18, 0)
    # All of that time was of the one model's call; what is idle after it, they share.
    assert a.lanes[0].rent(2 * 10**18) > b.lanes[0].rent(2 * 10**18) > 0
    assert c.lanes[0].rent(10**18) > b.lanes[0].rent(10**18)


@pytest.mark.parametrize(("server", "rents"), [({}, 2), ({"server": "pool"}, 1)])
def test_each_server_of_a_model_is_rented_unless_they_are_one(
    tmp_path: Path, server: dict[str, str], rents: int
) -> None:
    teacher = {"price": EIGHT | server, "base_url": ["http://a/v1", "http://b/v1"]}
    document = cascade_document("http://student", "http://t", teacher=teacher)
    place = load_gateway(tmp_path, document).context.served["assistant"].cascade.teacher.rented
    assert place is not None
    first, second = place.lanes
    assert (first is second) is (rents == 1)
    now = 10**18
    own = {id(lane): lane.rent(now) for lane in place.lanes}
    assert len(own) == rents
    mark = second.open(now)
    taken = second.close(2 * now, mark)
    # A call takes the rent of the server that it is at, and no other's.
    assert taken == pytest.approx(own[id(second)], rel=1e-3)
    assert second.rent(2 * now) > own[id(second)]


@pytest.mark.parametrize(
    ("price", "told"), [({"input": -1, "output": 2}, 1), (EIGHT | {"by": "tokens"}, 0)]
)
def test_an_error_says_the_value_once_and_of_a_section_none(
    tmp_path: Path, price: Any, told: int
) -> None:
    with pytest.raises(ConfigError) as caught:
        teacher_price(tmp_path, price)
    assert str(caught.value).count("got ") == told


def test_a_budget_is_above_nothing(tmp_path: Path) -> None:
    (loaded,) = load(tmp_path, a={"budget": {"usd_per_month": 500}})
    assert loaded.config.budget is not None
    assert loaded.config.budget.usd_per_month == Decimal(500)
    for wrong in (0, -1, float("inf"), "500"):
        with pytest.raises(ConfigError, match=r"a\.budget\.usd_per_month: .* number"):
            load(tmp_path, a={"budget": {"usd_per_month": wrong}})


def test_a_teacher_without_a_price_a_token_is_a_doubt(tmp_path: Path) -> None:
    (loaded,) = load(tmp_path, a={"teacher": {"price": EIGHT}})
    (doubt,) = doubts_about(loaded)
    assert doubt.startswith("teacher.price: without a reference")
    (loaded,) = load(tmp_path, a={"teacher": {"price": EIGHT | {"reference": REFERENCE}}})
    assert doubts_about(loaded) == []


@pytest.mark.parametrize(
    ("price", "words"),
    [
        ({"input": 0.02, "output": 0.06}, "0.02/0.06 USD in/out per 1M"),
        (EIGHT, "8 x 3.2 USD an hour, by time"),
        (
            EIGHT | {"reference": REFERENCE, "gateways": 3},
            "8 x 3.2 USD an hour among 3 gateways, by tokens: 0.355556/2.962963 USD in/out per 1M",
        ),
    ],
)
def test_a_price_is_told_in_words(tmp_path: Path, price: dict[str, Any], words: str) -> None:
    found = teacher_price(tmp_path, price)
    assert found is not None
    assert found.words() == words
