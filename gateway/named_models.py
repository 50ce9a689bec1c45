"""Models that clients ask by name and no cascade stands before: the section ``models``."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import Field, Strict, TypeAdapter

from gateway.admitting import MediaConfig
from gateway.api_keys import ReadSecret, find_key
from gateway.config_file import ConfigError, read_yaml
from gateway.prices import TokenPriceConfig, Usd
from gateway.sections import HttpUrl, Section
from gateway.wire.passing import PassedRoute

NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"
NAMED_BY = "which UNDERSTUDY_CONFIG, --config or the command names"


class PassedPriceConfig(TokenPriceConfig):
    """USD per million tokens.  What only reads, as embedding models do, writes none."""

    output: Usd = Decimal(0)


class NamedModelConfig(Section):
    """A model, its server, and which routes of that server clients may use.

    ``base_url`` ends in ``/v1`` or its like; tokenizers are asked beside it, at the server's root.
    """

    base_url: HttpUrl
    model: Annotated[str, Field(min_length=1)]
    serves: Annotated[frozenset[PassedRoute], Field(min_length=1)]
    api_key_env: str | None = None
    price: PassedPriceConfig | None = None
    timeout_seconds: Annotated[float, Strict(), Field(gt=0, le=3600)] = 60.0
    max_concurrent: Annotated[int, Strict(), Field(ge=1)] = 256
    media: MediaConfig = MediaConfig()


NamedModels = dict[Annotated[str, Field(pattern=NAME)], NamedModelConfig]
_models = TypeAdapter(NamedModels)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A named model's configuration with its key looked up."""

    name: str
    config: NamedModelConfig
    key: str | None


def load_models(path: Path, read_secret: ReadSecret) -> tuple[LoadedModel, ...]:
    """Read the section from a file that ``load_cascades`` has found valid.

    Raises ConfigError, which tells of every key that is missing, one a line.
    """
    document = read_yaml(path, NAMED_BY)
    section = document.get("models", {}) if isinstance(document, Mapping) else {}
    loaded, problems = [], []
    for name, config in _models.validate_python(section).items():
        try:
            loaded.append(LoadedModel(name, config, find_key(config.api_key_env, read_secret)))
        except ConfigError as error:
            problems.append(f"{path}: models.{name}.{error}")
    if problems:
        raise ConfigError("\n".join(problems))
    return tuple(loaded)
