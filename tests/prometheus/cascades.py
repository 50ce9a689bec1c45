"""The cascades of the traffic: what the gateway is configured with and the books reckon by."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.prometheus.replies import Tokens

STUDENT, TEACHER = "student", "teacher"
ROLES = (STUDENT, TEACHER)
PER_MILLION = Decimal(1_000_000)


@dataclass(frozen=True)
class TokenPrice:
    """USD per million tokens.  None: ``cached`` costs as ``input``, ``reasoning`` as ``output``."""

    input: str
    output: str
    cached: str | None = None
    reasoning: str | None = None

    def document(self) -> dict[str, Any]:
        """As the configuration has it."""
        known = {"cached_input": self.cached, "reasoning": self.reasoning}
        more = {name: float(value) for name, value in known.items() if value is not None}
        return {"input": float(self.input), "output": float(self.output), **more}

    def usd(self, tokens: Tokens) -> Decimal:
        """What so many tokens cost."""
        cached = Decimal(self.cached or self.input)
        reasoning = Decimal(self.reasoning or self.output)
        total = (
            (tokens.input - tokens.cached) * Decimal(self.input)
            + tokens.cached * cached
            + (tokens.output - tokens.reasoning) * Decimal(self.output)
            + tokens.reasoning * reasoning
        )
        return total / PER_MILLION


@dataclass(frozen=True)
class Rent:
    """What a model's GPUs cost: so many, at USD an hour each, shared by so many gateways.

    ``by`` is the time that calls take or, with a ``reference``, the tokens.
    """

    usd_per_hour: str
    gpus: int
    gateways: int
    server: str
    reference: tuple[int, int] | None = None

    @property
    def usd_per_second(self) -> Decimal:
        """One gateway's part."""
        return Decimal(self.usd_per_hour) * self.gpus / self.gateways / 3600

    @property
    def token_price(self) -> TokenPrice | None:
        """What a token comes to at the reference's throughput."""
        if self.reference is None:
            return None
        read, written = (
            Decimal(self.usd_per_hour) * self.gpus / 3600 / each * PER_MILLION
            for each in self.reference
        )
        return TokenPrice(str(read), str(written))

    def document(self) -> dict[str, Any]:
        """As the configuration has it."""
        rent = {
            "gpu_usd_per_hour": float(self.usd_per_hour),
            "gpus": self.gpus,
            "gateways": self.gateways,
            "server": self.server,
        }
        if self.reference is None:
            return rent
        names = ("input_tokens_per_second", "output_tokens_per_second")
        return {**rent, "reference": dict(zip(names, self.reference, strict=True))}


@dataclass(frozen=True)
class Fitted:
    """What a policy file says: of the drafts whose tokens are sure enough it keeps all."""

    date: str
    threshold: float
    disagreement: float
    kept_share: float

    def document(self, cascade: str, version: str) -> dict[str, Any]:
        """The file."""
        even = {"kind": "piecewise_linear", "scores": [0, 1], "confidences": [0, 1]}
        score = {"signals": ["mean_probability"], "weights": [1], "intercept": 0}
        target = {"kind": "disagreement", "value": self.disagreement, "with_probability": 0.95}
        return {
            "schema_version": 2,
            "cascade": cascade,
            "student_version": version,
            "sampling": None,
            "rule": {"score": score, "calibration": even},
            "threshold": self.threshold,
            "target": target,
            "bound": self.disagreement,
            "n": 1_200,
            "date": self.date,
            "data_sha256": "0123456789abcdef" * 4,
            "evidence": {"kept_share": self.kept_share},
        }


@dataclass(frozen=True)
class Setup:
    """One cascade.  ``changes`` are sections of its configuration, beside its two models.

    ``budget`` is in USD a month; ``holdout`` is a share; ``fitted`` what its policy says, if it has
    one of its own.
    """

    name: str
    prices: Mapping[str, TokenPrice | Rent | None]
    changes: Mapping[str, Any] = field(default_factory=dict)
    student: Mapping[str, Any] = field(default_factory=dict)
    budget: str | None = None
    holdout: str = "0"
    fitted: Fitted | None = None

    def model(self, role: str) -> str:
        """The name by which a server knows one of its models."""
        return f"{role}-of-{self.name}"

    def token_price(self, role: str) -> TokenPrice | None:
        """What its tokens cost; None where they have no price."""
        price = self.prices[role]
        return price.token_price if isinstance(price, Rent) else price

    def is_by_time(self, role: str) -> bool:
        """Whether calls to a model are paid by the time that they take."""
        price = self.prices[role]
        return isinstance(price, Rent) and price.reference is None

    @property
    def version(self) -> str:
        """The student's."""
        return f"{self.name}-student-1"

    def document(self, url: str, folder: Path) -> dict[str, Any]:
        """Its configuration, both models at one server; its policy is written to the folder."""
        models = {role: self._model(role, url) for role in ROLES}
        models[STUDENT] |= {"version": self.version, **self.student}
        models[TEACHER] |= {"outputs_may_train": True}
        more: dict[str, Any] = {}
        if self.budget is not None:
            more["budget"] = {"usd_per_month": float(self.budget)}
        if self.fitted is not None:
            path = folder / f"{self.name}-policy.json"
            path.write_text(json.dumps(self.fitted.document(self.name, self.version)))
            more["policy"] = path.name
        return {**models, **self.changes, **more}

    def _model(self, role: str, url: str) -> dict[str, Any]:
        price = self.prices[role]
        told = {} if price is None else {"price": price.document()}
        return {"base_url": url + "/v1", "model": self.model(role), **told}


_FINISH_NONE = {"audit": {"complete_drafts": 0.0}}
_CHEAP = TokenPrice("0.02", "0.06", cached="0.01", reasoning="0.08")
_DEAR = TokenPrice("0.6", "2.4", cached="0.15", reasoning="3.000001")

SETUPS = (
    Setup(
        "assistant",
        {STUDENT: _CHEAP, TEACHER: _DEAR},
        {"streaming": {"handover": "continue"}, **_FINISH_NONE},
        budget="0.01",
    ),
    Setup(
        "coder.v2",  # the dot is a part of its name, and means another thing in a label matcher
        {STUDENT: TokenPrice("0.05", "0.15"), TEACHER: TokenPrice("1.25", "10")},
        {"streaming": {"handover": "restart"}, "audit": {"complete_drafts": 1.0}},
        fitted=Fitted("2025-05-01", threshold=0.75, disagreement=0.05, kept_share=0.7),
    ),
    Setup(
        "agreeing",
        {STUDENT: _CHEAP, TEACHER: _DEAR},
        {"samples": 3, **_FINISH_NONE},
        {"extra_body": {"temperature": 0.7}},
    ),
    Setup("free", {STUDENT: None, TEACHER: _DEAR}, _FINISH_NONE),
    Setup(
        "measured",
        {STUDENT: TokenPrice("0.05", "0.15"), TEACHER: TokenPrice("1.25", "10")},
        {"audit": {"complete_drafts": 0.0, "holdout": 0.5}},
        budget="1000",
        holdout="0.5",
    ),
    Setup(
        "rented",
        {
            STUDENT: Rent("3.6", gpus=2, gateways=2, server="a"),
            TEACHER: Rent("3.6", gpus=2, gateways=1, server="b", reference=(1_000, 250)),
        },
        _FINISH_NONE,
    ),
)
# These do not tell of cached tokens, though they have a price of their own.
SILENT = frozenset({"teacher-of-free"})
# At its start the gateway asks a teacher that is to go on with streams whether it does, and each of
# five models with a price for cached tokens whether it tells of them; a silent one it asks twice.
PROBES = 1 + 4 + 2
BY_MODEL = {setup.model(role): (setup, role) for setup in SETUPS for role in ROLES}


def configuration(url: str, folder: Path) -> dict[str, Any]:
    """The gateway's file, which will be in the folder, for models that are all at one server."""
    return {"cascades": {setup.name: setup.document(url, folder) for setup in SETUPS}}
