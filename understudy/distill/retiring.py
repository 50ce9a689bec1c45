"""Unloads an adapter that no state names any more, once no request is under way with it."""

from collections.abc import Sequence

from distill.generations import named_by
from routing.rollout import Generations
from understudy.distill.adapters import Servers
from understudy.distill.registry import Registry
from understudy.distill.settling import World, wait_drained, wait_settled
from understudy.telling import CommandError

SETTLED, UNSETTLED, RETIRED = "settled", "unsettled", "retired"


def settle(
    registry: Registry, state: Generations, gone: Sequence[str], key: str | None, world: World
) -> list[tuple[str, str]]:
    """Wait until all replicas have the state, then unload what is gone; what came of it, by kind.

    May raise RedisError.
    """
    settled = wait_settled(registry, state.revision, world)
    if settled.why_not is not None:
        return [(UNSETTLED, f"{settled.why_not}; nothing is unloaded")]
    told = [(SETTLED, f"taken up by all gateways: {settled.replicas}")]
    return told + [(RETIRED, line) for line in _retired(registry, state, gone, key, world)]


def _retired(
    registry: Registry, state: Generations, versions: Sequence[str], key: str | None, world: World
) -> list[str]:
    """Unload those of the versions that were loaded by us and are in no use; what came of each."""
    used = named_by(state)
    told = []
    for version in dict.fromkeys(versions):
        adapter = registry.adapter(version)
        if version in used or adapter is None:
            continue
        by_hand = f"unload it by hand: POST {adapter.base_urls[0]}/unload_lora_adapter"
        if left := wait_drained(registry, version, world):
            told.append(f"{version} stays loaded: {left} requests are under way: {by_hand}")
            continue
        try:
            Servers(adapter.base_urls, key).unload(version)
        except CommandError as error:
            told.append(f"{version} stays loaded: {error}: {by_hand}")
            continue
        registry.drop_adapter(version)
        told.append(f"{version} is unloaded")
    return told
