"""A client for the Redis of an URL, in every form that the gateway takes."""

from typing import Any, cast

import redis
from redis.sentinel import Sentinel

from gateway.stores.store_url import BadStoreUrl, StoreUrl, parse_store_url
from understudy.telling import CommandError

TIMEOUT_SECONDS = 30.0
_WAITS: dict[str, Any] = {
    "socket_timeout": TIMEOUT_SECONDS,
    "socket_connect_timeout": TIMEOUT_SECONDS,
}


def connect(url: str) -> redis.Redis:
    """A client for that address: of one server, of what sentinels name, or of a whole cluster.

    Raises CommandError where it is no address, and RedisError where nobody answers.
    """
    try:
        place = parse_store_url(url)
    except BadStoreUrl as error:
        raise CommandError(f"--redis-url (UNDERSTUDY_REDIS_URL): {error}") from None
    if place.service is not None:
        return _named_by_sentinels(place, place.service)
    client = redis.Redis.from_url(url, **_WAITS)
    if not _is_cluster(client):
        return client
    client.close()
    # It has the same commands, and no common base class.
    return cast("redis.Redis", redis.RedisCluster.from_url(url, **_WAITS))


def _is_cluster(client: redis.Redis) -> bool:
    try:
        return bool(cast("Any", client.info("cluster")).get("cluster_enabled"))
    except redis.ResponseError:  # a user who may not ask: then each key must be where the URL says
        return False


def _named_by_sentinels(place: StoreUrl, service: str) -> redis.Redis:
    sentinels = Sentinel(  # type: ignore[no-untyped-call]  # the library's own gap
        [(each.host, each.port) for each in place.addresses],
        sentinel_kwargs=_for_this_client(place.sentinel_options),
    )
    options = _for_this_client(place.options)
    found = sentinels.master_for(service, **options)  # type: ignore[no-untyped-call]  # as above
    return cast("redis.Redis", found)


def _for_this_client(options: Any) -> dict[str, Any]:
    """Options of the gateway's client, which is an asynchronous one, without what is that one's."""
    own = {"connection_class", "retry", "protocol", "decode_responses"}
    is_secure = "connection_class" in options
    plain = {name: value for name, value in options.items() if name not in own}
    return {**plain, **_WAITS, **({"ssl": True} if is_secure else {})}
