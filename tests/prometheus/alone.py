"""What the teacher alone would have cost, reckoned anew from docs/savings.md, in fractions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from tests.prometheus.acts import Act
from tests.prometheus.cascades import STUDENT, TEACHER, Setup, TokenPrice
from tests.prometheus.replies import Tokens
from tests.prometheus.upstreams import Call

LEAST_OBSERVATIONS = 20
PICO = 10**12


@dataclass(frozen=True)
class Alone:
    """What one request adds to the baseline: ``usd`` on a ``basis``, or why nobody knows it."""

    cascade: str
    basis: str
    usd: Decimal | None
    missing: str | None = None


@dataclass(frozen=True)
class Observed:
    """A request that both models answered, and what it corrects the baseline by, if anything."""

    cascade: str
    basis: str
    correction: Decimal | None = None
    variance: Decimal | None = None


@dataclass
class Seen:
    """Requests that both models answered: how many, and their tokens, each weighed."""

    count: int = 0
    read: Fraction = Fraction(0)
    written: Fraction = Fraction(0)
    of_input: Fraction = Fraction(0)
    of_output: Fraction = Fraction(0)

    def add(self, student: Tokens, teacher: Tokens, weight: Fraction) -> None:
        self.count += 1
        self.read += teacher.input * weight
        self.written += teacher.output * weight
        self.of_input += student.input * weight
        self.of_output += student.output * weight


@dataclass
class Knowledge:
    """What one gateway has learnt of one cascade: the tokens of both models, by basis."""

    seen: dict[str, Seen] = field(default_factory=lambda: {"sample": Seen(), "escalations": Seen()})

    def ratios(self) -> tuple[str, Fraction, Fraction]:
        """On what predictions rest, and how much more the teacher reads and writes."""
        for basis, seen in self.seen.items():
            if seen.count >= LEAST_OBSERVATIONS:
                return basis, seen.read / seen.of_input, seen.written / seen.of_output
        return "prices", Fraction(1), Fraction(1)


def alone_of(
    setup: Setup, act: Act, calls: Sequence[Call], known: Knowledge
) -> tuple[Alone | None, Observed | None]:
    """What a request adds to the baseline, and what is learnt from it; ``known`` learns it."""
    if act.outcome not in ("kept", "escalated", "degraded"):
        return None, None
    price = setup.token_price(TEACHER)
    student, teacher = _last(act, calls, STUDENT, setup), _last(act, calls, TEACHER, setup)
    basis, rho, v = known.ratios()
    if act.doubt == "continue":
        if student is None or teacher is None or price is None:
            raise AssertionError("not of this traffic")
        exact = _reading(student, price) * rho + act.begun_tokens * rho * _usd(price.output)
        return _known(setup, basis, exact + _writing(teacher, price)), None
    predicted = _predicted(student, price, rho, v)
    if act.outcome == "escalated" and teacher is not None:
        alone = _measured(setup, teacher, price)
    elif student is None or price is None:
        alone = Alone(setup.name, basis, None, "usage" if student is None else "price")
    else:
        alone = _known(setup, basis, predicted or Fraction(0))
    if act.outcome != "escalated" or student is None or teacher is None or act.is_draft_cut:
        return alone, None
    return alone, _observed(setup, act, (student, teacher), predicted, known)


def _observed(
    setup: Setup,
    act: Act,
    seen: tuple[Tokens, Tokens],
    predicted: Fraction | None,
    known: Knowledge,
) -> Observed:
    student, teacher = seen
    basis = "sample" if act.reason == "holdout" else "escalations"
    share = Fraction(setup.holdout) if act.reason == "holdout" else Fraction(1)
    known.seen[basis].add(student, teacher, 1 / share)
    price = setup.token_price(TEACHER)
    if act.reason != "holdout" or predicted is None or price is None:
        return Observed(setup.name, basis)
    measured = Fraction(price.usd(teacher))
    error = measured - _at(predicted, PICO)
    return Observed(
        setup.name,
        basis,
        _decimal(_at((1 / share - 1) * error, PICO)),
        _decimal(_at(error**2 * (1 - share) / share**2, PICO**2)),
    )


def _last(act: Act, calls: Sequence[Call], role: str, setup: Setup) -> Tokens | None:
    """What the last call of a model took that came to its end: the draft that counts."""
    found = None
    for call in calls:
        if call.model == setup.model(role):
            turn = act.turns(role)[call.place]
            is_whole = turn.error is None or (turn.error == "aborted" and turn.rest)
            if is_whole and call.status == 200:
                found = call.told
                if found is not None and turn.part is not None and turn.part[0] == "wasted":
                    found = found.without(turn.part[1])
    return found


def _measured(setup: Setup, teacher: Tokens, price: TokenPrice | None) -> Alone:
    if price is None:
        return Alone(setup.name, "measured", None, "price")
    return Alone(setup.name, "measured", price.usd(teacher))


def _predicted(
    student: Tokens | None, price: TokenPrice | None, rho: Fraction, v: Fraction
) -> Fraction | None:
    if student is None or price is None:
        return None
    return _reading(student, price) * rho + _writing(student, price) * v


def _reading(tokens: Tokens, price: TokenPrice) -> Fraction:
    fresh = (tokens.input - tokens.cached) * _usd(price.input)
    return fresh + tokens.cached * _usd(price.cached or price.input)


def _writing(tokens: Tokens, price: TokenPrice) -> Fraction:
    said = (tokens.output - tokens.reasoning) * _usd(price.output)
    return said + tokens.reasoning * _usd(price.reasoning or price.output)


def _usd(per_million: str) -> Fraction:
    return Fraction(per_million) / 10**6


def _known(setup: Setup, basis: str, exact: Fraction) -> Alone:
    return Alone(setup.name, basis, _decimal(_at(exact, PICO)))


def _at(exact: Fraction, unit: int) -> Fraction:
    """The nearest whole number of parts of a unit, halves upwards."""
    return Fraction((2 * exact * unit + 1).__floor__() // 2, unit)


def _decimal(exact: Fraction) -> Decimal:
    return Decimal(exact.numerator) / Decimal(exact.denominator)
