"""The section ``objective`` of a cascade: what it is held to, whatever its policy says."""

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field, Strict, WithJsonSchema, model_validator

from gateway.audits.config import AuditConfig
from gateway.config_file import ConfigError
from gateway.prices import UsdPerHour
from gateway.sections import Section
from routing.gpu_time import pico_per_hour
from routing.money import Price
from routing.pacing_goal import LEAST_CAP

_Int = Annotated[int, Strict()]
_Float = Annotated[float, Strict()]
# Nobody spends more, and what steers counts in floats.
MOST_USD_PER_HOUR = 10**9
_Spent = Annotated[
    UsdPerHour,
    Field(le=MOST_USD_PER_HOUR),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": MOST_USD_PER_HOUR}),
]


class ConfidenceConfig(Section):
    """Keep a draft from this confidence on, whatever the policy's own threshold is."""

    kind: Literal["confidence"]
    at_least: Annotated[_Float, Field(ge=0, le=1)]


class RateConfig(Section):
    """At most this share of the requests is answered by the teacher."""

    kind: Literal["escalation_rate"]
    at_most: Annotated[_Float, Field(gt=0, lt=1)]


class SpendConfig(Section):
    """So much an hour for all that the cascade costs, and never more than the cap."""

    kind: Literal["spend"]
    usd_per_hour: _Spent
    cap_usd_per_hour: _Spent | None = None

    @model_validator(mode="after")
    def _leaves_room(self) -> "SpendConfig":
        cap, target = self.cap_pico, self.target_pico
        if not target:
            raise ValueError(
                "usd_per_hour: must be above 0, for nothing can be steered by no money: choose a "
                "small amount, or keep all drafts with confidence, at_least: 0"
            )
        if cap is not None and cap < LEAST_CAP * target:
            raise ValueError(
                f"cap_usd_per_hour: must be at least {LEAST_CAP} times usd_per_hour, for the cap "
                "would hold the target down otherwise: raise it, or leave it out"
            )
        return self

    @property
    def target_pico(self) -> int:
        """The target in pico-dollars an hour."""
        return pico_per_hour(self.usd_per_hour)

    @property
    def cap_pico(self) -> int | None:
        """The same of the cap; None without one."""
        return None if self.cap_usd_per_hour is None else pico_per_hour(self.cap_usd_per_hour)


class QualityConfig(Section):
    """At most this share of the kept drafts differs materially, with that probability.

    Everything is escalated until the certified threshold keeps ``release`` times what looks
    possible, for ``hold_at_most`` requests.
    """

    kind: Literal["quality"]
    disagreement_at_most: Annotated[_Float, Field(gt=0, le=0.5)]
    with_probability: Annotated[_Float, Field(ge=0.5, lt=1)]
    release: Annotated[_Float, Field(ge=0.5, le=1)] = 0.8
    hold_at_most: Annotated[_Int, Field(ge=0, le=1_000_000)] = 6_000

    @property
    def delta(self) -> float:
        """The probability of being wrong, as it is written: 1 - 0.95 is one in twenty."""
        return float(1 - Fraction(repr(self.with_probability)))


SteeredConfig = RateConfig | SpendConfig | QualityConfig
ObjectiveConfig = Annotated[ConfidenceConfig | SteeredConfig, Field(discriminator="kind")]


def needs_turns(objective: ConfidenceConfig | SteeredConfig | None, price: Price | None) -> bool:
    """Whether it matters which conversation a request goes on with, by the teacher's price.

    A promise counts them; a spend pays less for what the teacher has in its cache of one.
    """
    if isinstance(objective, SpendConfig):
        return price is not None and price.cached_input < price.input
    return isinstance(objective, QualityConfig)


def refuse_hopeless(
    objective: ConfidenceConfig | SteeredConfig | None,
    audit: AuditConfig,
    *,
    is_storing: bool,
    is_priced: bool,
) -> None:
    """Raise ConfigError for an objective that nothing could be learnt for, or counted.

    ``is_storing``: pairs are kept of requests; ``is_priced``: it is known what the teacher costs.
    """
    if isinstance(objective, QualityConfig):
        if not audit.share_under(objective.kind):
            raise ConfigError(
                "audit.share: 0 leaves nobody to notice that the student gets worse, which the "
                "objective quality promises: set it to about 0.02, or leave it out"
            )
        if not is_storing:
            raise ConfigError(
                "pairs.store: false allows no audits, on which the objective quality rests: set it "
                "to true, or choose another objective"
            )
    if isinstance(objective, SpendConfig) and not is_priced:
        raise ConfigError(
            "teacher.price: nobody knows what the teacher costs, which the objective spend bounds: "
            "add its price, or choose escalation_rate"
        )
