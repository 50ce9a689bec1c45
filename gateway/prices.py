"""What a cascade's models cost, and what may be spent: the sections ``price`` and ``budget``.

A model is paid by the token or, where its GPUs are rented, by the hour.  Of a rent each call takes
its share of the time, or what its tokens come to at a throughput that somebody measured.
"""

from collections.abc import Hashable, Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Strict,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from gateway.renting import Rented, Rents, together
from gateway.sections import Section
from routing.gpu_time import Rent, pico_per_hour
from routing.money import PICO_PER_USD, Price, pico_per_token

MAX_GPUS = 100_000
MAX_GATEWAYS = 10_000


def _unquoted(value: Any) -> Any:
    """As everywhere in the file: a text in place of a number is mostly a slip."""
    if isinstance(value, str | bool):
        raise PydanticCustomError("decimal_type", "Input should be a number")
    return value


def _usd_per_million(price: Decimal) -> Decimal:
    pico_per_token(price)
    return price


def _usd_per_hour(rent: Decimal) -> Decimal:
    pico_per_hour(rent)
    return rent


def _positive(number: Decimal) -> Decimal:
    if not number.is_finite() or number <= 0:
        raise ValueError("must be a finite number above 0")
    return number


_Number = Annotated[Decimal, BeforeValidator(_unquoted)]
Usd = Annotated[_Number, AfterValidator(_usd_per_million)]
UsdPerHour = Annotated[_Number, AfterValidator(_usd_per_hour)]
_Positive = Annotated[_Number, AfterValidator(_positive)]


class TokenPriceConfig(Section):
    """USD per million tokens.  Cached input costs as input, reasoning as output, unless said."""

    input: Usd
    output: Usd
    cached_input: Usd | None = None
    reasoning: Usd | None = None

    def price(self) -> Price:
        """The same in pico-dollars per token."""
        cached = self.input if self.cached_input is None else self.cached_input
        reasoning = self.output if self.reasoning is None else self.reasoning
        return Price(
            input=pico_per_token(self.input),
            cached_input=pico_per_token(cached),
            output=pico_per_token(self.output),
            reasoning=pico_per_token(reasoning),
        )

    def words(self) -> str:
        """For an operator."""
        return f"{self.input}/{self.output} USD in/out per 1M"


class ReferenceConfig(Section):
    """How much all the GPUs together read, or write, in a second where they do nothing else.

    What comes from a cache is read as fast as anything else, unless said.
    """

    input_tokens_per_second: _Positive
    output_tokens_per_second: _Positive
    cached_input_tokens_per_second: _Positive | None = None


class GpuPriceConfig(Section):
    """So many GPUs at USD an hour each; ``gateways`` is how many replicas share them.

    ``by``: calls are charged by their share of the ``time``, or by ``tokens`` at the reference's
    throughput; tokens where there is a reference, unless said.  ``logprob_tax`` is the share of the
    throughput that log-probabilities take, where the reference was measured without.  Models of
    one ``server``, by default of one ``base_url``, share its GPUs.  Of several addresses each is a
    server with so many GPUs, unless ``server`` names what stands behind all of them.
    """

    gpu_usd_per_hour: UsdPerHour
    gpus: Annotated[int, Strict(), Field(ge=1, le=MAX_GPUS)] = 1
    gateways: Annotated[int, Strict(), Field(ge=1, le=MAX_GATEWAYS)] = 1
    by: Literal["time", "tokens"] | None = None
    reference: ReferenceConfig | None = None
    logprob_tax: Annotated[float, Strict(), Field(ge=0, lt=1)] = 0.0
    server: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _adds_up(self) -> "GpuPriceConfig":
        if self.reference is None and self.by == "tokens":
            raise ValueError("by: tokens needs a reference: add it, or say by: time")
        if self.reference is None and self.logprob_tax:
            raise ValueError("logprob_tax is of a reference's throughput: add that, or remove this")
        price = self.price()
        if price is not None and self.gpu_usd_per_hour:
            for name in ("input", "cached_input", "output"):
                if getattr(price, name) == 0:
                    raise ValueError(
                        f"at this reference {name} costs less than half a pico-dollar a token, "
                        "which is the smallest there is: mend the reference, or say by: time "
                        "without one"
                    )
        return self

    @property
    def is_by_time(self) -> bool:
        """Whether calls are charged by their share of the time."""
        return (self.by or ("time" if self.reference is None else "tokens")) == "time"

    def rent(self) -> Rent:
        """What all the GPUs cost."""
        return Rent(pico_per_hour(self.gpu_usd_per_hour) * self.gpus, self.gateways)

    def price(self) -> Price | None:
        """What a token costs at the reference's throughput; None without a reference."""
        reference = self.reference
        if reference is None:
            return None
        rent = self.rent()
        read = reference.input_tokens_per_second
        # By their digits: 0.1 as a float is a little more than a tenth.
        written = Fraction(reference.output_tokens_per_second) * (
            1 - Fraction(str(self.logprob_tax))
        )
        output = rent.per_token(written)
        return Price(
            input=rent.per_token(Fraction(read)),
            cached_input=rent.per_token(
                Fraction(reference.cached_input_tokens_per_second or read),
            ),
            output=output,
            reasoning=output,
        )

    def words(self) -> str:
        """For an operator."""
        words = f"{self.gpus} x {self.gpu_usd_per_hour} USD an hour"
        if self.gateways > 1:
            words += f" among {self.gateways} gateways"
        words += ", by time" if self.is_by_time else ", by tokens"
        price = self.price()
        if price is not None:
            words += f": {_per_million(price.input)}/{_per_million(price.output)} USD in/out per 1M"
        return words


def _per_million(pico: int) -> str:
    return f"{Decimal(pico) * 10**6 / PICO_PER_USD:f}"


TOKENS, GPUS = "tokens", "gpus"


def _form(price: Any) -> str:
    """Which of the forms is meant: whoever names GPUs pays by the hour."""
    names = price if isinstance(price, dict) else ()
    is_rent = isinstance(price, GpuPriceConfig) or any(
        str(name).startswith("gpu") for name in names
    )
    return GPUS if is_rent else TOKENS


PriceConfig = Annotated[
    Annotated[TokenPriceConfig, Tag(TOKENS)] | Annotated[GpuPriceConfig, Tag(GPUS)],
    Discriminator(_form),
]


class BudgetConfig(Section):
    """What a cascade may cost in a calendar month."""

    usd_per_month: _Positive


def rented(
    rents: Rents,
    base_urls: Sequence[str],
    price: TokenPriceConfig | GpuPriceConfig | None,
    whose: Hashable = None,
) -> Rented | None:
    """A model's place at its servers' meters; None where no GPUs are rented for it.

    Each server is rented at that price, unless it names one that stands behind all addresses.
    """
    if not isinstance(price, GpuPriceConfig):
        return None
    rent, is_by_time = price.rent(), price.is_by_time
    servers = [server_of(base_url, price) for base_url in base_urls]
    return together(
        [rents.rented(server, rent, is_by_time=is_by_time, whose=whose) for server in servers]
    )


def server_of(base_url: str, price: GpuPriceConfig) -> str:
    """What tells a model's server from others."""
    return base_url.rstrip("/") if price.server is None else price.server


def conflicts(
    models: Iterable[tuple[str, str, TokenPriceConfig | GpuPriceConfig | None]],
) -> list[str]:
    """Models, each a path with ``base_url`` and price, that rent one server at different prices."""
    first: dict[str, tuple[str, Rent]] = {}
    problems = []
    for path, base_url, price in models:
        if not isinstance(price, GpuPriceConfig):
            continue
        server = server_of(base_url, price)
        path_before, rent = first.setdefault(server, (path, price.rent()))
        if rent != price.rent():
            problems.append(
                f"{path}.price: rents {server} at other terms than {path_before}: say the same "
                "gpu_usd_per_hour, gpus and gateways in both, or give each a server: NAME of its "
                "own, where they only share an address"
            )
    return problems
