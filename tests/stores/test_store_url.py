import pytest
from redis.asyncio.connection import SSLConnection

from gateway.stores.store_url import Address, BadStoreUrl, parse_store_url


def test_one_server() -> None:
    url = parse_store_url("redis://me:s3cret@valkey:7000/3")
    assert url.addresses == (Address("valkey", 7000),)
    assert url.service is None
    assert (url.options["username"], url.options["password"]) == ("me", "s3cret")
    assert url.options["db"] == 3
    assert "s3cret" not in repr(url)


def test_tls_with_its_options() -> None:
    url = parse_store_url("rediss://valkey?ssl_ca_certs=/ca.pem&ssl_cert_reqs=none")
    assert url.addresses == (Address("valkey", 6379),)
    assert url.options["connection_class"] is SSLConnection
    assert url.options["ssl_ca_certs"] == "/ca.pem"
    assert url.options["ssl_cert_reqs"] == "none"


def test_a_socket() -> None:
    url = parse_store_url("unix:///run/valkey.sock?db=2")
    assert [str(each) for each in url.addresses] == ["/run/valkey.sock"]


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_sentinels(scheme: str) -> None:
    url = parse_store_url(
        f"{scheme}+sentinel://me:s3cret@one:1000,two,[::1]:3000/pairs/2?sentinel_password=other"
    )
    assert url.addresses == [Address("one", 1000), Address("two", 26379), Address("::1", 3000)]
    assert str(url.addresses[2]) == "[::1]:3000"
    assert url.service == "pairs"
    assert url.options["db"] == 2
    assert (url.options["username"], url.options["password"]) == ("me", "s3cret")
    assert "host" not in url.options
    assert (url.sentinel_options["username"], url.sentinel_options["password"]) == (None, "other")
    assert url.sentinel_options["db"] == 0
    is_tls = "connection_class" in url.options
    assert is_tls == (scheme == "rediss")
    assert ("connection_class" in url.sentinel_options) == is_tls


@pytest.mark.parametrize("given", ["redis://h", "redis://h?protocol=3&decode_responses=true"])
def test_what_is_ours_to_say_is_not_the_url_s(given: str) -> None:
    options = parse_store_url(given).options
    assert (options["protocol"], options["decode_responses"]) == (2, False)
    assert options["retry"].get_retries() == 0
    assert options["socket_timeout"] == 4.0


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "http://s3cret@h",
        "redis://:s3cret@h:port",
        "redis+sentinel://:s3cret@h:1",
        "redis+sentinel://:s3cret@/service",
        "redis+sentinel://:s3cret@h:1,,h:2/service",
        "redis+sentinel://:s3cret@h:1,h:x/service",
        "redis://:s3cret@h?socket_timeout=s3cret",
        "redis://:s3cret@h?no_such_option=s3cret",
        "redis://:s3cret@h?ssl_ca_certs=s3cret",
        "redis+sentinel://:s3cret@h/service?no_such_option=1",
    ],
)
def test_what_is_no_use_is_told_without_any_part_of_it(url: str) -> None:
    with pytest.raises(BadStoreUrl) as raised:
        parse_store_url(url)
    assert "s3cret" not in str(raised.value)
    assert str(raised.value).startswith(("is no Redis URL", "has an option"))
