"""How the rows of each cascade are written: by the comparator that its configuration names."""

from collections.abc import Callable, Mapping, Sequence

from distill.rows import Format, Manner
from gateway.cascades import load_cascades
from gateway.comparing import ComparatorConfig, EmbeddingConfig, JudgeConfig, NormalisedConfig
from gateway.config_file import ConfigError
from understudy.pairs.choice import Choice
from understudy.telling import CommandError

_PREFERENCES = frozenset({Format.DPO, Format.OPENAI_DPO})


def manners_by(choice: Choice) -> Callable[[Sequence[str]], Mapping[str, Manner]]:
    """What gives the manner of each cascade.  Raises CommandError at once where it cannot work."""
    configs: dict[str, ComparatorConfig] = {}
    if choice.config is not None:
        try:
            # No model is asked, so no key is needed.
            loaded = load_cascades(choice.config, lambda _: "not-needed")
        except ConfigError as error:
            raise CommandError(str(error)) from None
        configs = {each.name: each.config.comparator for each in loaded}
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
