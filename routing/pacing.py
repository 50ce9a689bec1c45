"""Holds a cascade to a share of escalations, or to a spend: where the threshold is to lie just now.

Feed-forward and feedback.  The drafts of the last minutes say what each threshold would spend of
the traffic of the last seconds; the balance of what was allowed and what was spent is paid back
over a minute or more, and forgotten beyond about a hundredth of an hour's worth.  How well that
holds says docs/objectives.md, and why it is done so docs/decisions/0030-pacing.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, floor

from routing.document import count, mapping, named, number
from routing.errors import PolicyError
from routing.money import PICO_PER_USD
from routing.pacing_book import LAG_SECONDS, Allowance, Book, book_from_document
from routing.pacing_demand import HIGHEST, LOWEST, Demand, demand_from_document
from routing.pacing_fleet import Fleet, fleet_from_document
from routing.pacing_goal import Goal, RateGoal, SpendGoal, tally
from routing.pacing_traffic import steady_rate
from routing.steering import KEEP_NOTHING, Report, Standing
from routing.vocabulary import Threshold

SCHEMA_VERSION = 1
HOUR = 3600.0
# Fewer sampled drafts say too little of what a threshold would do.
LEAST_DRAFTS = 50.0
# The balance is paid back over the time that so many escalations take, within these bounds: over a
# shorter one the luck of single requests would move what is spent by more than some 8%.  Their
# costs are more uneven than their number.
PAY_BACK_COUNTED, PAY_BACK_PAID = 60.0, 300.0
LEAST_PAY_BACK_SECONDS, MOST_PAY_BACK_SECONDS = 120.0, 900.0
# So many seconds' worth of what is allowed, or so many escalations, is kept as credit or as debt.
CREDIT_SECONDS, DEBT_SECONDS = 36.0, 72.0
CREDIT_ESCALATIONS, DEBT_ESCALATIONS = 5.0, 10.0
# A standing is left as it is while it is expected to spend within this part of what it should.
NEAR = 0.10
# What was seen of the traffic fades in steps of so many seconds.
FADE_SECONDS = 10
# The price in a standing is left as it is while what escalations cost is within this part of it.
PRICE_NEAR = 0.10
# What a standing says of itself is said anew after so long.
RENEW_SECONDS = 60.0
_KEYS = frozenset(
    {"schema_version", "goal", "subject", "start", "level", "said", "standing"}
    | {"fleet", "demand", "book"}
)
_STANDING = frozenset({"revision", "threshold", "per_usd", "shares", "line"})


@dataclass(frozen=True, slots=True)
class Pacer:
    """The controller of one goal for what ``subject`` names: students, policies, what one likes.

    ``start`` is the threshold until enough drafts were seen.  ``level`` is the standing's, None
    until then; ``said`` is when the standing was last made.
    """

    goal: Goal
    subject: str
    start: Threshold
    standing: Standing
    level: float | None = None
    said: float = 0.0
    fleet: Fleet = field(default_factory=Fleet)
    demand: Demand = field(default_factory=Demand)
    book: Book = field(default_factory=Book)

    def advance(self, reports: Sequence[Report], now: float) -> "Pacer":
        """After these reports, at a time in seconds since 1970."""
        fleet, fresh = self.fleet.after(reports, now)
        demand, book = self.demand, self.book
        allowance = self._allowance()
        for report in fresh:
            one = tally(self.goal, report)
            demand = demand.seen(one, self.level)
            book = book.entered(one, allowance, now)
        until = fleet.told_until(now)
        if until is not None:
            before = book.settled or 0
            book = book.settled_until(floor(until) - LAG_SECONDS, allowance)
            steps = (book.settled or 0) // FADE_SECONDS - before // FADE_SECONDS
            demand = demand.faded(steps * FADE_SECONDS)
        return replace(self, fleet=fleet, demand=demand, book=book)._steered(now)

    def with_goal(self, goal: Goal) -> "Pacer":
        """Held to another figure of the same kind, with all that was learnt of the traffic.

        Raises ValueError where it is of another kind: then nothing that was counted fits.
        """
        if type(goal) is not type(self.goal):
            raise ValueError(f"a {type(self.goal).__name__} cannot become a {type(goal).__name__}")
        pacer = replace(self, goal=goal)
        return replace(pacer, standing=pacer._standing(pacer._shares(self.said), self.said))

    def document(self) -> dict[str, object]:
        """All of it as JSON has it."""
        standing = self.standing
        return {
            "schema_version": SCHEMA_VERSION,
            "goal": _goal_document(self.goal),
            "subject": self.subject,
            "start": None if self.start.value == KEEP_NOTHING else self.start.value,
            "level": self.level,
            "said": self.said,
            "standing": {
                "revision": standing.revision,
                "threshold": None if standing.threshold == KEEP_NOTHING else standing.threshold,
                "per_usd": standing.per_usd,
                "shares": dict(standing.shares),
                "line": standing.line,
            },
            "fleet": self.fleet.document(),
            "demand": self.demand.document(),
            "book": self.book.document(),
        }

    def shown(self) -> dict[str, object]:
        """What an operator wants to see of it."""
        now = float(self.fleet.heard or 0.0)
        hour, minute = self.book.last_hour(now), self.book.last_minute(now)
        allowance = self._allowance()
        return {
            "objective": _goal_document(self.goal),
            "line": self.standing.line,
            "last_hour": {
                "requests": round(hour.requests),
                "escalated": round(hour.escalated),
                **({"usd": round(hour.spent, 6)} if isinstance(self.goal, SpendGoal) else {}),
            },
            "last_minute": {
                "requests": round(minute.requests),
                "escalated": round(minute.escalated),
            },
            "balance": self.book.balance,
            "credit": allowance.credit,
            "debt": allowance.debt,
            "requests_each_second": steady_rate(self.book.traffic),
            "expected_off": self.demand.off,
            "replicas": len(self.fleet.living(now)),
            "missing": self._missing(),
        }

    def _allowance(self) -> Allowance:
        typical = self.demand.typical or 0.0
        if isinstance(self.goal, SpendGoal):
            each_second, each_request = self.goal.pico_per_hour / PICO_PER_USD / HOUR, 0.0
            usual = each_second
        else:
            each_second, each_request = 0.0, self.goal.at_most
            traffic = self.book.traffic
            seen = sum(traffic) * (1.0 + self.demand.forced_each) / max(len(traffic), 1)
            usual = seen * each_request
        return Allowance(
            each_second=each_second,
            each_request=each_request,
            credit=max(usual * CREDIT_SECONDS, typical * CREDIT_ESCALATIONS),
            debt=max(usual * DEBT_SECONDS, typical * DEBT_ESCALATIONS),
        )

    def _steered(self, now: float) -> "Pacer":
        level = self._level()
        shares = self._shares(now)
        is_same = level == self.level and shares == self.standing.shares
        if is_same and now < self.said + RENEW_SECONDS:
            return self
        pacer = replace(self, level=level, said=now)
        return replace(pacer, standing=pacer._standing(shares, now))

    def _level(self) -> float | None:
        """The level that is to hold: another one only where this one is too far off."""
        demand, typical = self.demand, self.demand.typical
        traffic = steady_rate(self.book.traffic)
        if demand.samples < LEAST_DRAFTS or typical is None or not traffic:
            return self.level
        allowance = self._allowance()
        requests = traffic * (1.0 + demand.forced_each)
        allowed = allowance.each_second + allowance.each_request * requests
        luck = PAY_BACK_COUNTED if isinstance(self.goal, RateGoal) else PAY_BACK_PAID
        over = luck * typical / allowed
        over = min(max(over, LEAST_PAY_BACK_SECONDS), MOST_PAY_BACK_SECONDS)
        wanted = max(allowed + self.book.balance / over, 0.0)
        level = demand.level_for(wanted / traffic - demand.beside_each)
        if self.level is not None:
            change = demand.spend_at(level) - demand.spend_at(self.level)
            if abs(change) * traffic <= NEAR * allowed:
                return self.level
        return level

    def _shares(self, now: float) -> Mapping[str, float]:
        if not isinstance(self.goal, SpendGoal) or self.goal.cap_pico_per_hour is None:
            return {}
        return self.fleet.parts(now, self.standing.shares)

    def _standing(self, shares: Mapping[str, float], now: float) -> Standing:
        threshold, per_usd = self._threshold()
        return Standing(
            revision=self.standing.revision + 1,
            epoch=self.standing.epoch,
            threshold=threshold,
            audit=self.goal.audit,
            per_usd=per_usd,
            cap_pico=self.goal.cap_pico_per_hour if isinstance(self.goal, SpendGoal) else None,
            shares=shares,
            line=self._line(threshold, per_usd, now),
        )

    def _threshold(self) -> tuple[float, float | None]:
        """The threshold, and the dollars' worth for which it is one."""
        if self.level is None:
            return self.start.value, None
        least = exp(self.level)
        if isinstance(self.goal, RateGoal):
            return max(0.0, 1.0 - least), None
        each, before = self.demand.typical or 1.0, self.standing.per_usd
        if before is not None and abs(each * before - 1.0) <= PRICE_NEAR:
            each = 1.0 / before
        # Where even a typical answer is not worth its price, a cheaper one has the threshold 0.
        return (1.0 - least * each, 1.0 / each) if least * each < 1.0 else (0.0, least)

    def _line(self, threshold: float, per_usd: float | None, now: float) -> str:
        hour = self.book.last_hour(now)
        if isinstance(self.goal, SpendGoal):
            usd = self.goal.pico_per_hour / PICO_PER_USD
            parts = [f"spend: ${usd:,.2f}/h, last hour ${hour.spent:,.2f}"]
        else:
            share = hour.spent / hour.requests if hour.requests else 0.0
            parts = [f"rate: at most {self.goal.at_most:.1%}, last hour {share:.1%}"]
        keep = f"keep from {threshold:.3g}" if threshold != KEEP_NOTHING else "keep nothing"
        price = f" at ${1.0 / per_usd:.3g} an escalation" if per_usd and threshold else ""
        parts.append(f"{keep}{price}")
        return ", ".join([*parts, self._last_minute(now), *self._missing()])

    def _last_minute(self, now: float) -> str:
        minute = self.book.last_minute(now)
        if minute.requests:
            return f"{minute.escalated:,.0f} of {minute.requests:,.0f} escalated in the last minute"
        is_known = any(at < floor(now) // 60 for at in self.book.minutes)
        return "no requests in the last minute" if is_known else "less than a minute seen yet"

    def _missing(self) -> list[str]:
        demand = self.demand
        if self.level == HIGHEST:
            return ["what no threshold can move already takes all of it"]
        if self.level == LOWEST:
            return ["the traffic is too little to take all of it"]
        if self.level is not None:
            return []
        if demand.typical is None and demand.judged:
            return ["nobody knows yet what an escalation costs"]
        return [f"{demand.samples:.0f} of {LEAST_DRAFTS:.0f} drafts seen to begin with"]


def new_pacer(goal: Goal, subject: str, start: Threshold, revision: int = 0) -> Pacer:
    """A pacer that has seen nothing, whose first standing has the revision after this one."""
    nothing = Standing(revision=revision, epoch=0, threshold=start.value)
    pacer = Pacer(goal, subject, start, nothing)
    return replace(pacer, standing=pacer._standing({}, 0.0))


def pacer_from_document(document: object) -> Pacer:
    """Read what ``Pacer.document`` wrote.  Raises PolicyError, which names the path.

    Whether it is the goal and the subject of now is for the caller to say.
    """
    if not isinstance(document, Mapping) or document.get("schema_version") != SCHEMA_VERSION:
        raise PolicyError(
            f"schema_version: must be {SCHEMA_VERSION}: it was written by another release"
        )
    fields = mapping(document, "pacer", _KEYS)
    goal = _read_goal(fields["goal"])
    said = mapping(fields["standing"], "standing", _STANDING)
    shares = named(said["shares"], "standing.shares")
    per_usd, level = said["per_usd"], fields["level"]
    standing = Standing(
        revision=count(said["revision"], "standing.revision", least=0),
        epoch=0,
        threshold=_read_threshold(said["threshold"], "standing.threshold").value,
        audit=goal.audit,
        per_usd=None if per_usd is None else number(per_usd, "standing.per_usd"),
        cap_pico=goal.cap_pico_per_hour if isinstance(goal, SpendGoal) else None,
        shares={name: number(part, f"standing.shares.{name}") for name, part in shares.items()},
        line=str(said["line"]),
    )
    return Pacer(
        goal=goal,
        subject=str(fields["subject"]),
        start=_read_threshold(fields["start"], "start"),
        standing=standing,
        level=None if level is None else number(level, "level"),
        said=number(fields["said"], "said"),
        fleet=fleet_from_document(fields["fleet"], "fleet"),
        demand=demand_from_document(fields["demand"], "demand"),
        book=book_from_document(fields["book"], "book"),
    )


def _goal_document(goal: Goal) -> dict[str, object]:
    if isinstance(goal, RateGoal):
        return {"kind": "escalation_rate", "at_most": goal.at_most, "audit": goal.audit}
    return {
        "kind": "spend",
        "pico_per_hour": goal.pico_per_hour,
        "cap_pico_per_hour": goal.cap_pico_per_hour,
        "audit": goal.audit,
    }


def _read_goal(document: object) -> Goal:
    kind = document.get("kind") if isinstance(document, Mapping) else None
    try:
        if kind == "escalation_rate":
            fields = mapping(document, "goal", frozenset({"kind", "at_most", "audit"}))
            return RateGoal(number(fields["at_most"], "goal"), number(fields["audit"], "goal"))
        fields = mapping(
            document, "goal", frozenset({"kind", "pico_per_hour", "cap_pico_per_hour", "audit"})
        )
        cap = fields["cap_pico_per_hour"]
        return SpendGoal(
            pico_per_hour=count(fields["pico_per_hour"], "goal.pico_per_hour"),
            cap_pico_per_hour=None if cap is None else count(cap, "goal.cap_pico_per_hour"),
            audit=number(fields["audit"], "goal.audit"),
        )
    except PolicyError:
        raise
    except ValueError as error:
        raise PolicyError(f"goal: {error}") from error


def _read_threshold(value: object, path: str) -> Threshold:
    try:
        return Threshold(KEEP_NOTHING if value is None else number(value, path))
    except PolicyError:
        raise
    except ValueError as error:
        raise PolicyError(f"{path}: {error}") from error
