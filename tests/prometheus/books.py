"""What the traffic came to, reckoned from the models' own books: the gateway has no part in it.

Nothing of ``routing/`` or ``gateway/`` is imported here.  Money is Decimal, and exact.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from tests.prometheus.acts import Act, Turn
from tests.prometheus.alone import Alone, Knowledge, Observed, alone_of
from tests.prometheus.cascades import BY_MODEL, STUDENT, Setup
from tests.prometheus.replies import Tokens
from tests.prometheus.upstreams import Call

NOTHING = Tokens(0, 0)
ANSWERED = ("kept", "escalated", "degraded")

Key = tuple[str, frozenset[tuple[str, str]]]
Counts = defaultdict[Key, Decimal]


def key(name: str, **labels: str) -> Key:
    """One series of the gateway's."""
    return name, frozenset(labels.items())


@dataclass(frozen=True)
class Line:
    """One line of the bill.  ``usd`` is None where it is unknown, for want of ``missing``."""

    moment: int
    cascade: str
    role: str
    model: str
    kind: str
    tokens: Tokens | None
    usd: Decimal | None
    missing: str | None = None
    is_estimated: bool = False


@dataclass(frozen=True)
class Made:
    """One call as the gateway has it, with the code under which it failed, or ``aborted``."""

    moment: int
    cascade: str
    role: str
    model: str
    error: str | None


@dataclass(frozen=True)
class Played:
    """One request that was sent: its act, and at which moment it was over."""

    number: int
    act: Act
    moment: int


@dataclass(frozen=True)
class Request:
    """What a client sent: an act, in so many bytes."""

    act: Act
    body_bytes: int


@dataclass
class Habits:
    """Tokens for each byte of a request and for each character of an answer, of one model."""

    read: tuple[int, int] = (0, 0)
    wrote: tuple[int, int] = (0, 0)

    def learn(self, body_bytes: int, call: Call) -> None:
        """Take in what a server told of a call."""
        assert call.told is not None
        self.read = self.read[0] + call.told.input, self.read[1] + body_bytes
        if not call.sent.is_counted:
            tokens, characters = self.wrote
            self.wrote = tokens + call.told.output, characters + call.sent.characters

    def guess(self, body_bytes: int, call: Call) -> Tokens:
        """What a call took of which the server told nothing."""
        is_evidence_asked = BY_MODEL[call.model][1] == STUDENT
        entries = call.sent.entries if is_evidence_asked else 0
        untold = call.sent.untold if is_evidence_asked else call.sent.characters
        return Tokens(_nearest(body_bytes, self.read), entries + _nearest(untold, self.wrote))


def _nearest(count: int, ratio: tuple[int, int]) -> int:
    """So many at a ratio, as a whole number, halves upwards."""
    tokens, of = ratio
    return (2 * count * tokens + of) // (2 * of) if count else 0


@dataclass
class Books:
    """All that happened.  A moment is the number of a snapshot: what it has to show."""

    played: list[Played] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    calls: list[Made] = field(default_factory=list)
    alone: list[tuple[int, Alone]] = field(default_factory=list)
    observed: list[tuple[int, Observed]] = field(default_factory=list)
    habits: dict[str, Habits] = field(default_factory=dict)
    known: dict[str, Knowledge] = field(default_factory=dict)
    moment: int = 0

    def close_moment(self, sent: Mapping[int, Request], calls: Sequence[Call]) -> None:
        """Enter the requests and calls since the last moment, which are all over."""
        for call in calls:
            if call.number is None:
                self._enter(call, None, None)
        for number, request in sent.items():
            act, mine = request.act, [call for call in calls if call.number == number]
            if act.held_out is not None and any("teacher" in call.model for call in mine):
                act = act.held_out
            self.played.append(Played(number, act, self.moment))
            for call in mine:
                self._enter(call, act, request.body_bytes)
            if mine:
                self._enter_alone(act, mine)
        self.moment += 1

    def _enter(self, call: Call, act: Act | None, body_bytes: int | None) -> None:
        setup, role = BY_MODEL[call.model]
        turn = None if act is None else act.turns(role)[call.place]
        self.calls += _made(self.moment, setup, role, turn)
        habits = self.habits.setdefault(call.model, Habits())
        if turn is not None and turn.is_estimated and body_bytes is not None:
            call.told = habits.guess(body_bytes, call)
        elif body_bytes is not None and call.told is not None and (turn and not turn.error):
            habits.learn(body_bytes, call)
        self.lines += _lines(self.moment, setup, role, call, turn)

    def _enter_alone(self, act: Act, calls: Sequence[Call]) -> None:
        setup, _ = BY_MODEL[calls[0].model]
        known = self.known.setdefault(setup.name, Knowledge())
        alone, observed = alone_of(setup, act, calls, known)
        if alone is not None:
            self.alone.append((self.moment, alone))
        if observed is not None:
            self.observed.append((self.moment, observed))

    def counters(self, until: int) -> Counts:
        """What each counter is to say at a moment; those that are not here are 0."""
        found: Counts = defaultdict(Decimal)
        _begin(found)
        for line in self.lines:
            if line.moment <= until:
                _count_line(found, line)
        for made in self.calls:
            if made.moment <= until:
                _count_call(found, made)
        for played in self.played:
            if played.moment <= until:
                _count_act(found, played.act)
        for moment, alone in self.alone:
            if moment <= until:
                _count_alone(found, alone)
        for moment, observed in self.observed:
            if moment <= until:
                _count_observed(found, observed)
        return found


def _lines(moment: int, setup: Setup, role: str, call: Call, turn: Turn | None) -> Iterable[Line]:
    kind = "audit" if turn is None else turn.kind
    price, is_hourly = setup.token_price(role), setup.is_by_time(role)

    def line(kind: str, tokens: Tokens | None) -> Line:
        missing = "usage" if tokens is None else "price" if price is None else None
        missing = None if is_hourly else missing
        usd = None if tokens is None or price is None else price.usd(tokens)
        is_estimated = turn is not None and turn.is_estimated
        return Line(
            moment, setup.name, role, setup.model(role), kind, tokens, usd, missing, is_estimated
        )

    used = _used(call, turn)
    if turn is not None and turn.part is not None and used is not None:
        its_kind, part = turn.part
        yield line(its_kind, part)
        used = used.without(part)
    yield line(kind, used)


def _made(moment: int, setup: Setup, role: str, turn: Turn | None) -> Iterable[Made]:
    """The call; and where a draft was finished that had been given up, that as another one."""
    model = setup.model(role)
    yield Made(moment, setup.name, role, model, None if turn is None else turn.error)
    if turn is not None and turn.rest:
        yield Made(moment, setup.name, role, model, None)


def _used(call: Call, turn: Turn | None) -> Tokens | None:
    """What a call took, as far as anybody can know."""
    if call.status != 200:
        return NOTHING  # a server that answers with an error has written nothing
    assert turn is None or turn.is_unknown is (call.told is None), (call, turn)
    return call.told


def _begin(found: Counts) -> None:
    """The counters of money that are there from the start."""
    for setup, role in BY_MODEL.values():
        if not setup.is_by_time(role):
            for kind in ("served", "wasted", "retry", "shadow", "audit"):
                where = {"cascade": setup.name, "role": role, "kind": kind}
                found[key("understudy_cost_usd_total", **where)] += 0
                found[key("understudy_cost_estimated_usd_total", **where)] += 0


def is_by_time(which: Key) -> bool:
    """Whether a counter is of dollars that are paid by time: the books know bounds alone."""
    name, labels = which
    known = dict(labels)
    return name in ("understudy_cost_usd_total", "understudy_cost_estimated_usd_total") and any(
        setup.is_by_time(role) and (setup.name, role) == (known["cascade"], known["role"])
        for setup, role in BY_MODEL.values()
    )


def _count_line(found: Counts, line: Line) -> None:
    where = {"cascade": line.cascade, "role": line.role}
    if line.usd is not None:
        found[key("understudy_cost_usd_total", kind=line.kind, **where)] += line.usd
        part = line.usd if line.is_estimated else Decimal(0)
        found[key("understudy_cost_estimated_usd_total", kind=line.kind, **where)] += part
    if line.missing is not None:
        found[key("understudy_cost_unknown_total", cause=line.missing, **where)] += 1
    if line.tokens is None or line.tokens == NOTHING:
        return
    types = {
        "input": line.tokens.input,
        "output": line.tokens.output,
        "cached_input": line.tokens.cached,
        "reasoning": line.tokens.reasoning,
    }
    for name, count in types.items():
        found[key("understudy_tokens_total", type=name, **where)] += count
    for name in ("input", "output"):
        which = {**_gen_ai("openai", line.model), "gen_ai_token_type": name}
        found[key("gen_ai_client_token_usage_sum", **which)] += types[name]
        found[key("gen_ai_client_token_usage_count", **which)] += 1


def _count_call(found: Counts, made: Made) -> None:
    where = {"cascade": made.cascade, "role": made.role}
    found[key("understudy_upstream_seconds_count", **where)] += 1
    if made.error == "aborted":
        found[key("understudy_drafts_aborted_total", cascade=made.cascade)] += 1
    elif made.error is not None:
        found[key("understudy_upstream_errors_total", code=made.error, **where)] += 1
    which = _gen_ai("openai", made.model, is_error=made.error is not None)
    found[key("gen_ai_client_operation_duration_seconds_count", **which)] += 1


def _gen_ai(provider: str, model: str, *, is_error: bool = False) -> dict[str, str]:
    """The labels of OpenTelemetry's names."""
    return {
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": provider,
        "gen_ai_request_model": model,
        **({"error_type": "_OTHER"} if is_error else {}),
    }


def _count_act(found: Counts, act: Act) -> None:
    cascade, outcome = act.cascade, act.outcome
    is_answered = outcome in ANSWERED
    found[key("understudy_requests_total", cascade=cascade, outcome=outcome)] += 1
    if is_answered or outcome == "failed":
        found[key("understudy_request_seconds_count", cascade=cascade, outcome=outcome)] += 1
    if cascade != "other":
        found[key("understudy_gateway_seconds_count", cascade=cascade)] += 1
    which = _gen_ai("understudy", cascade, is_error=not is_answered)
    found[key("gen_ai_server_request_duration_seconds_count", **which)] += 1
    if act.begun is not None:
        name = "understudy_first_byte_seconds_count"
        found[key(name, cascade=cascade, outcome=act.begun)] += 1
        if is_answered:
            which = _gen_ai("understudy", cascade)
            found[key("gen_ai_server_time_to_first_token_seconds_count", **which)] += 1
    _count_decisions(found, act)


def _count_decisions(found: Counts, act: Act) -> None:
    cascade, outcome = act.cascade, act.outcome
    is_deferred = act.reason != "holdout" and (outcome == "escalated" or act.verdict == "defer")
    if act.verdict is not None:
        verdict = "defer" if is_deferred else "keep"
        found[key("understudy_confidence_count", cascade=cascade, verdict=verdict)] += 1
    if act.reason is not None and is_deferred:
        found[key("understudy_deferrals_total", cascade=cascade, reason=act.reason)] += 1
    if act.reason is not None and outcome == "escalated":
        found[key("understudy_escalations_total", cascade=cascade, reason=act.reason)] += 1
    if act.degraded is not None:
        found[key("understudy_degraded_total", cascade=cascade, degraded=act.degraded)] += 1
    if act.doubt is not None:
        found[key("understudy_late_doubts_total", cascade=cascade, handover=act.doubt)] += 1
    if act.pairs:
        found[key("understudy_pairs_written_total", cascade=cascade)] += act.pairs
    for _ in (turn for turn in act.student if turn.rest):
        name = "understudy_drafts_completed_total"
        found[key(name, cascade=cascade, outcome="completed")] += 1


def _count_alone(found: Counts, alone: Alone) -> None:
    where = {"cascade": alone.cascade}
    if alone.usd is not None:
        found[key("understudy_baseline_usd_total", basis=alone.basis, **where)] += alone.usd
    if alone.missing is not None:
        found[key("understudy_baseline_unknown_total", cause=alone.missing, **where)] += 1


def _count_observed(found: Counts, observed: Observed) -> None:
    where = {"cascade": observed.cascade}
    name = "understudy_baseline_observations_total"
    found[key(name, basis=observed.basis, **where)] += 1
    if observed.correction is not None and observed.variance is not None:
        name = "understudy_baseline_correction_usd_total"
        direction = "up" if observed.correction >= 0 else "down"
        found[key(name, direction=direction, **where)] += abs(observed.correction)
        found[key("understudy_baseline_variance_usd2_total", **where)] += observed.variance
