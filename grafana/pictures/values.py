"""Numbers as Grafana writes them: short, with their unit."""

import math

_SECONDS = (
    (86400 * 365, "years"),
    (86400, "days"),
    (3600, "hours"),
    (60, "min"),
    (1, "s"),
    (1e-3, "ms"),
    (1e-6, "µs"),
)
_BYTES = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))
_THOUSANDS = ((1e9, "B"), (1e6, "M"), (1e3, "K"), (1, ""))
_AFTER = {"reqps": " req/s", "cps": "/s", "short": ""}


def written(value: float, unit: str, decimals: int | None = None) -> str:
    """A value with its unit, as one of the dashboards' units: raises ValueError for others."""
    match unit:
        case "currencyUSD":
            sign = "-" if value < 0 else ""
            return f"{sign}${_digits(abs(value), decimals)}"
        case "percentunit":
            return f"{_digits(value * 100, decimals)}%"
        case "s":
            return _scaled(value, _SECONDS, decimals)
        case "bytes":
            return _scaled(value, _BYTES, decimals)
        case "reqps" | "cps" | "short":
            return _scaled(value, _THOUSANDS, decimals).replace(" ", "") + _AFTER[unit]
        case _:
            raise ValueError(f"no way to write a value in {unit!r}")


def _scaled(value: float, scale: tuple[tuple[float, str], ...], decimals: int | None) -> str:
    if value == 0:
        (unit,) = (name for size, name in scale if size == 1)
        return f"0 {unit}"
    for size, name in scale:
        if abs(value) >= size * 0.9995:
            return f"{_digits(value / size, decimals)} {name}"
    size, name = scale[-1]
    return f"{_digits(value / size, decimals)} {name}"


def _digits(value: float, decimals: int | None) -> str:
    """Three digits that count, unless it is said how many come after the point."""
    if decimals is None:
        if value == 0:
            return "0"
        decimals = min(max(2 - math.floor(math.log10(abs(value))), 0), 7)
        text = f"{value:,.{decimals}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:,.{decimals}f}"
