"""How the rows of each cascade are written: by the comparator that its configuration names."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from distill.rows import Format, Manner
from gateway.cascades import load_cascades
from gateway.comparing import ComparatorConfig, EmbeddingConfig, JudgeConfig, NormalisedConfig
from gateway.config_file import ConfigError
from routing.comparators import Comparator
from understudy.pairs.choice import Choice
from understudy.telling import CommandError

_PREFERENCES = frozenset({Format.DPO, Format.OPENAI_DPO})


def comparator_of(config: Path | None, cascade: str) -> Comparator | None:
    """What says whether two answers are the same; None where it would ask a server.

    Without a file it is ``normalised``.  Raises CommandError.
    """
    if config is None:
        return NormalisedConfig().comparator()
    found = _comparators(config).get(cascade)
    if found is None:
        raise CommandError(f"{config}: has no cascade {cascade!r}, whose pairs these are")
    return None if isinstance(found, EmbeddingConfig | JudgeConfig) else found.comparator()


def _comparators(config: Path) -> dict[str, ComparatorConfig]:
    try:
        # No model is asked, so no key is needed.
        loaded = load_cascades(config, lambda _: "not-needed")
    except ConfigError as error:
        raise CommandError(str(error)) from None
    return {each.name: each.config.comparator for each in loaded}


def manners_by(choice: Choice) -> Callable[[Sequence[str]], Mapping[str, Manner]]:
    """What gives the manner of each cascade.  Raises CommandError at once where it cannot work."""
    configs: dict[str, ComparatorConfig] = {}
    if choice.config is not None:
        configs = _comparators(choice.config)
    is_comparing = bool(_PREFERENCES & set(choice.formats))

    def manners(cascades: Sequence[str]) -> Mapping[str, Manner]:
        return {name: manner(name) for name in cascades}

    def manner(name: str) -> Manner:
        config: ComparatorConfig = NormalisedConfig()
        if is_comparing and choice.config is not None:
            if name not in configs:
                raise CommandError(
                    f"{choice.config}: has no cascade {name!r}, whose pairs these are"
                )
            config = configs[name]
            if isinstance(config, EmbeddingConfig | JudgeConfig):
                raise CommandError(
                    f"{choice.config}: cascades.{name}.comparator: {config.kind} would ask a "
                    "server about every pair, which an export does not do: name a file with "
                    "another comparator, or leave dpo out"
                )
        return Manner(config.comparator(), has_reasoning=choice.with_reasoning)

    return manners
