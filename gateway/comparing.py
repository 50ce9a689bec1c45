"""A cascade's ``comparator``: what decides whether two answers differ materially.

``understudy record`` reads this, and with it whatever rests on its records.  Serving a request
compares nothing but the drafts of one answer, where a cascade asks for several; while a candidate
is tried some answers are compared once they are out, and so are those that are audited.
"""

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Strict

from gateway.sections import HttpUrl, Section
from routing.comparators import (
    Closeness,
    Comparator,
    exact_text,
    judged_by_teacher,
    normalised,
    normalised_text,
    same_json,
    same_label,
    same_number,
    similar_embedding,
)

_Float = Annotated[float, Strict()]
_Share = Annotated[_Float, Field(gt=0, le=1)]
_Tolerance = Annotated[_Float, Field(ge=0, allow_inf_nan=False)]


class ExactConfig(Section):
    """Equal but for blanks around them."""

    kind: Literal["exact"]

    def comparator(self) -> Comparator:
        """The comparator itself."""
        return exact_text()


class NormalisedConfig(Section):
    """Equal but for case, blanks, quotes, closing marks and Unicode's several spellings."""

    kind: Literal["normalised"] = "normalised"

    def comparator(self) -> Comparator:
        """The comparator itself."""
        return normalised_text()


class NumberConfig(Section):
    """The same number: within ``tolerance``, or ``relative_tolerance`` of the larger.

    ``decimal_mark`` says how "1,234" and "1.234" are read, which alone are unclear.
    """

    kind: Literal["number"]
    tolerance: _Tolerance = 0.0
    relative_tolerance: Annotated[_Tolerance, Field(lt=1)] = 0.0
    decimal_mark: Literal[".", ","] = "."

    def comparator(self) -> Comparator:
        """The comparator itself."""
        # By their digits: 0.3 as a float is a little less than three tenths.
        absolute, relative = (
            Fraction(str(tolerance)) for tolerance in (self.tolerance, self.relative_tolerance)
        )
        return same_number(Closeness(absolute, relative, self.decimal_mark))


def _distinct(labels: tuple[str, ...]) -> tuple[str, ...]:
    seen: dict[str, str] = {}
    for label in labels:
        name = normalised(label)
        if not name:
            raise ValueError("a label must have a letter or a digit")
        if name in seen:
            raise ValueError(f"{seen[name]!r} and {label!r} read the same: remove one")
        seen[name] = label
    return labels


class LabelConfig(Section):
    """The same label of a closed set."""

    kind: Literal["label"]
    labels: Annotated[tuple[str, ...], Field(min_length=2), AfterValidator(_distinct)]

    def comparator(self) -> Comparator:
        """The comparator itself."""
        return same_label(self.labels)


class JsonConfig(Section):
    """JSON that agrees in at least that share of its fields."""

    kind: Literal["json"]
    at_least: _Share = 1.0

    def comparator(self) -> Comparator:
        """The comparator itself."""
        return same_json(self.at_least)


class EmbeddingConfig(Section):
    """Texts whose embeddings, from an OpenAI-compatible server, have at least that cosine."""

    kind: Literal["embedding"]
    base_url: HttpUrl
    model: Annotated[str, Field(min_length=1)]
    at_least: _Share
    api_key_env: str | None = None
    timeout_seconds: Annotated[_Float, Field(gt=0, le=3600)] = 30.0

    def comparator(self) -> Comparator:
        """The comparator itself."""
        return similar_embedding(self.model, self.at_least)


class JudgeConfig(Section):
    """Answers that the cascade's teacher holds for the same, by a fixed rubric."""

    kind: Literal["judge"]
    at_least: _Share = 0.5

    def comparator(self) -> Comparator:
        """The comparator itself."""
        return judged_by_teacher(self.at_least)


ComparatorConfig = Annotated[
    ExactConfig
    | NormalisedConfig
    | NumberConfig
    | LabelConfig
    | JsonConfig
    | EmbeddingConfig
    | JudgeConfig,
    Field(discriminator="kind"),
]
