"""Objectives that operators set while the gateway runs, in place of the file's: one after another,
each with a version, and nothing of what was ordered is forgotten.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from pydantic import Field, TypeAdapter, ValidationError

from gateway.config_file import message_of
from gateway.errors import ObjectiveChanged, RequestError
from gateway.steering.config import SteeredConfig

_objectives: TypeAdapter[SteeredConfig] = TypeAdapter(
    Annotated[SteeredConfig, Field(discriminator="kind")]
)


class Order(msgspec.Struct, frozen=True):
    """What holds since ``version``: this objective, or the file's where it is None.

    ``by`` is the name of the key that said so, None where no key was asked for; ``at`` is in
    seconds since 1970.
    """

    version: int
    objective: dict[str, Any] | None
    by: str | None
    at: float


class Entry(msgspec.Struct, frozen=True):
    """One line of the history: an order, and what held before it.

    ``is_restored``: the store had forgotten it, and was told again.
    """

    version: int
    by: str | None
    at: float
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    is_restored: bool = False


_orders = msgspec.json.Decoder(Order)


@dataclass(slots=True)
class Orders:
    """What was ordered for one cascade, as far as this process knows."""

    latest: Order = field(default_factory=lambda: Order(0, None, None, 0.0))
    objective: SteeredConfig | None = None

    @property
    def version(self) -> int:
        """That of the latest order; 0 is the file's own objective, as nobody ever said another."""
        return self.latest.version

    def take(self, content: bytes) -> bool:
        """Have an order hold, unless a later one does.  Raises ValueError where it is none."""
        order = _orders.decode(content)
        if order.version <= self.version:
            return False
        found = None if order.objective is None else read_objective(order.objective)
        self.latest, self.objective = order, found
        return True

    def next(
        self, objective: SteeredConfig | None, by: str | None, at: float
    ) -> tuple[Order, Entry]:
        """The order that follows, and its line in the history."""
        told = None if objective is None else as_told(objective)
        order = Order(self.version + 1, told, by, at)
        return order, Entry(order.version, by, at, self.latest.objective, told)

    def again(self) -> tuple[Order, Entry]:
        """The latest order for a store that has forgotten it."""
        latest = self.latest
        entry = Entry(latest.version, latest.by, latest.at, None, latest.objective, True)
        return latest, entry


def objective_schema(ref_template: str) -> dict[str, Any]:
    """The JSON Schema of an objective that may be ordered; its kinds are in ``$defs``."""
    return _objectives.json_schema(ref_template=ref_template)


def read_objective(document: object) -> SteeredConfig:
    """An objective that may be ordered.  Raises ValueError, which names the place."""
    try:
        return _objectives.validate_python(document)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = [str(part) for part in problem["loc"]][1:]
        said = message_of(problem)
        raise ValueError(": ".join([*([".".join(place)] if place else []), said])) from None


def as_told(objective: SteeredConfig) -> dict[str, Any]:
    """An objective as JSON has it, money as numbers."""
    fields = objective.model_dump(exclude_none=True)
    return {k: float(v) if isinstance(v, Decimal) else v for k, v in fields.items()}


def refuse_stale(expected: int, version: int) -> None:
    """Raise ObjectiveChanged where another version holds than the client knew."""
    if expected != version:
        raise ObjectiveChanged(
            f"The objective has version {version} by now, not {expected}: read it again."
        )


def objective_of(body: bytes) -> SteeredConfig:
    """The objective that a request carries.  Raises RequestError."""
    try:
        return read_objective(msgspec.json.decode(body))
    except ValueError as error:
        raise RequestError(f"Not an objective: {error}.") from None
    except RecursionError:
        raise RequestError("Not an objective: it is nested too deeply.") from None
