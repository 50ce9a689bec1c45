"""What a request says of how the gateway is to answer it: by whom, and how sure.

It may say so in three places: headers, the body's own object ``understudy``, and behind the name of
the cascade.  Two of them may say the same, and none may contradict another.
"""

from dataclasses import dataclass
from typing import Annotated

import msgspec

from gateway.errors import RequestError
from routing.vocabulary import Route

FIELD = "understudy"
ROUTE_HEADER = "x-understudy-route"
CONFIDENCE_HEADER = "x-understudy-min-confidence"
# What may stand behind a cascade's name, after a colon.
PINS = {Route.STUDENT.value: Route.STUDENT, Route.TEACHER.value: Route.TEACHER}

_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class Wish:
    """Who is to answer, and the least confidence with which a draft is kept; None: not said."""

    route: Route | None = None
    min_confidence: float | None = None

    @property
    def is_any(self) -> bool:
        """Whether it asks for anything that would not happen anyway."""
        return self.min_confidence is not None or self.is_pin

    @property
    def is_pin(self) -> bool:
        """Whether it says who is to answer."""
        return self.route not in (None, Route.AUTO)


NO_WISH = Wish()


class Controls(msgspec.Struct, forbid_unknown_fields=True):
    route: Route | None = None
    min_confidence: _Share | None = None


_said = msgspec.json.Decoder(Controls | None)


def take_wish(fields: dict[str, msgspec.Raw]) -> Wish:
    """What a body says, taken out of it: no model server is to see it.  Raises RequestError."""
    raw = fields.pop(FIELD, None)
    if raw is None:
        return NO_WISH
    try:
        said = _said.decode(raw)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        param = FIELD + path.rstrip("`")
        raise RequestError(f"Invalid '{param}': {what.replace('`', '')}.", param=param) from None
    return NO_WISH if said is None else Wish(said.route, said.min_confidence)


def wish_in_headers(route: bytes | None, confidence: bytes | None) -> Wish:
    """What headers say.  Raises RequestError."""
    if route is None and confidence is None:
        return NO_WISH
    return Wish(_route_in(route), _share_in(confidence))


def _route_in(route: bytes | None) -> Route | None:
    if route is None:
        return None
    try:
        return Route(route.decode("latin-1"))
    except ValueError:
        raise RequestError(
            f"The header '{ROUTE_HEADER}' must be one of {', '.join(Route)}.", param=ROUTE_HEADER
        ) from None


def _share_in(confidence: bytes | None) -> float | None:
    if confidence is None:
        return None
    try:
        return msgspec.convert(confidence.decode("latin-1"), _Share, strict=False)
    except msgspec.ValidationError:
        raise RequestError(
            f"The header '{CONFIDENCE_HEADER}' must be a number from 0 to 1.",
            param=CONFIDENCE_HEADER,
        ) from None


def named_wish(model: str) -> tuple[str, Wish]:
    """A model's name as ``cascade:student``: the cascade, and whom the name pins."""
    name, colon, pin = model.rpartition(":")
    if not colon or pin not in PINS:
        return model, NO_WISH
    return name, Wish(PINS[pin])


def agreed(*wishes: Wish) -> Wish:
    """What several places say together.  Raises RequestError where they contradict each other."""
    if wishes.count(NO_WISH) == len(wishes):
        return NO_WISH
    routes = {one.route for one in wishes if one.route is not None}
    shares = {one.min_confidence for one in wishes if one.min_confidence is not None}
    if len(routes) > 1 or len(shares) > 1:
        raise RequestError(
            "The model's name, the headers and the body say different things of who is to answer: "
            "say it once.",
            param=FIELD,
        )
    return Wish(next(iter(routes), None), next(iter(shares), None))
