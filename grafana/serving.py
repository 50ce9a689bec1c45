"""The dashboard for whoever is on call: rate, errors, time, queues, and the servers behind."""

from grafana.boards import Board, Section
from grafana.panels import BLUE, GREEN, GREY, ORANGE, RED, YELLOW, Meaning, Panel, Query, Shape
from grafana.queries import (
    ANSWERED,
    PACE,
    SHOWN,
    everywhere,
    increase,
    quantile,
    quantile_everywhere,
    rate,
    seen,
    share,
    told,
)

PART = "percentunit"

REQUESTS = "understudy_requests_total"
CALLS_FAILED = "understudy_upstream_errors_total"
NO_REQUESTS = "No requests in this time"
NO_STREAMS = "No streams in this time"

# What a client could have had an answer to: neither its own mistake nor its own leaving.
OUR_PART = 'outcome!~"rejected|cancelled"'

RATE = Panel(
    id=201,
    title="Requests by how they ended",
    shape=Shape.STACK,
    unit="reqps",
    width=12,
    lowest=0,
    colours={
        "kept": GREEN,
        "escalated": BLUE,
        "degraded": ORANGE,
        "rejected": YELLOW,
        "failed": RED,
        "cancelled": GREY,
    },
    runbook=("ErrorBudgetBurn", "TurningAway"),
    meaning=Meaning(
        reads="Requests a second. `kept`: a draft was served. `escalated`: the teacher answered. "
        "`degraded`: a deferred draft was served. `rejected`: the client's mistake. `failed`: "
        "ours. `cancelled`: the client left.",
        act="`failed` grows: see *Left alone* and *Errors of model servers*. `rejected` grows: a "
        "client was released with a mistake; the log has its messages.",
        empty=NO_REQUESTS,
    ),
    queries=(Query(seen(REQUESTS, by="outcome"), "{{outcome}}"),),
)

ERRORS = Panel(
    id=202,
    title="Share of requests that failed",
    shape=Shape.LINES,
    unit=PART,
    width=12,
    lowest=0,
    steps=((0.005, YELLOW), (0.072, RED)),
    runbook=("ErrorBudgetBurn",),
    meaning=Meaning(
        reads="Of requests that could be answered (rejected and cancelled ones left out), those "
        "that got a 5xx or broke off.",
        act="Both models are down, or a cascade says `degraded: refuse`. Above 0.5% (the objective "
        "that the alerts know) the error budget is being spent; above 7.2% it is gone in two days.",
        empty=NO_REQUESTS,
    ),
    queries=(
        Query(
            share(
                rate(REQUESTS, 'outcome="failed"', by="cascade"),
                rate(REQUESTS, OUR_PART, by="cascade"),
            ),
            "{{cascade}}",
        ),
    ),
)

BREAKERS = Panel(
    id=204,
    title="Left alone (open breakers)",
    shape=Shape.STATES,
    unit="short",
    width=12,
    base=GREEN,
    steps=((1, RED),),
    states={"0": ("asked", GREEN), "1": ("left alone", RED)},
    runbook=("TeacherDown", "StudentDown", "ReplicaCutOff"),
    meaning=Meaning(
        reads="A bar for each model; red while at least one replica leaves it alone after a run of "
        "failures, and asks it again with a single call now and then.",
        act="A teacher: deferred drafts are served degraded until it is back; look at its pods. A "
        "student: the teacher answers all, at its price.",
        empty="No gateway is scraped",
    ),
    queries=(Query(told("understudy_breaker_open", by="cascade, role"), "{{cascade}} {{role}}"),),
)

UPSTREAM_ERRORS = Panel(
    id=209,
    title="Errors of model servers",
    shape=Shape.STACK,
    unit="cps",
    width=12,
    lowest=0,
    meaning=Meaning(
        reads="Calls that gave no answer or broke off, a second, by model and code. A request can "
        "survive several: the other model answers.",
        act="`upstream_timeout`: overload, see *Room taken at the model servers*. "
        "`upstream_unavailable`: no connection. `upstream_misconfigured`: key or model name. "
        "`cancelled` are clients that left.",
        empty="No call failed in this time",
    ),
    queries=(Query(seen(CALLS_FAILED, by="role, code"), "{{role}} {{code}}"),),
)

_PASSED = everywhere("understudy_passed_requests_total")
NAMED = Panel(
    id=217,
    title="Models that clients ask by name",
    shape=Shape.STACK,
    unit="reqps",
    width=24,
    height=6,
    lowest=0,
    runbook=("NamedModelDown",),
    meaning=Meaning(
        reads="Requests a second that pass to a named model (`models`), and to tokenizers, by how "
        "they ended. They are in no other panel.",
        act="`failed`: the log's line `passed` has the `failure`. No other model answers for it.",
        empty="Nothing was asked of a named model or a tokenizer",
    ),
    queries=(
        Query(
            f"sum by (model, outcome) (rate({_PASSED}[{PACE}])) and on (model, outcome) "
            f"(sum by (model, outcome) (increase({_PASSED}[{SHOWN}])) > 0)",
            "{{model}} {{outcome}}",
        ),
    ),
)


def _quantiles(histogram: str, *matchers: str) -> tuple[Query, ...]:
    return (
        Query(quantile(0.5, histogram, *matchers), "half are faster (p50)"),
        Query(quantile(0.95, histogram, *matchers), "p95"),
        Query(quantile(0.99, histogram, *matchers), "p99"),
    )


LATENCY = Panel(
    id=203,
    title="Time to the whole answer",
    shape=Shape.LINES,
    unit="s",
    width=8,
    lowest=0,
    meaning=Meaning(
        reads="From a request's headers to its answer's readiness, of answered requests. Quantiles "
        "are read off buckets: between two of them they are guessed.",
        act="Compare *Gateway's own time* and *Time at the model servers*: nearly always it is the "
        "models.",
        empty=NO_REQUESTS,
    ),
    queries=_quantiles("understudy_request_seconds", ANSWERED),
)

LATENCY_BY_OUTCOME = Panel(
    id=215,
    title="Time to the whole answer, by outcome",
    shape=Shape.LINES,
    unit="s",
    width=8,
    lowest=0,
    colours={"kept": GREEN, "escalated": BLUE, "degraded": ORANGE},
    meaning=Meaning(
        reads="The 95th percentile apart for kept, escalated and degraded answers. An escalated "
        "one waits for the draft first.",
        act="`escalated` far above the teacher's own time: drafts are given up late; see "
        "`early_abort`.",
        empty=NO_REQUESTS,
    ),
    queries=(
        Query(quantile(0.95, "understudy_request_seconds", ANSWERED, by="outcome"), "{{outcome}}"),
    ),
)

FIRST_TOKEN = Panel(
    id=205,
    title="Time to the first token",
    shape=Shape.LINES,
    unit="s",
    width=8,
    lowest=0,
    steps=((5, RED),),
    runbook=("LatencyBurn",),
    meaning=Meaning(
        reads="Of streams: from the request's headers to the first event with a part of the "
        "answer. The hold-back window is in it.",
        act="Too long with a healthy student: a smaller `hold_tokens` shows words earlier, with "
        "more late doubts.",
        empty=NO_STREAMS,
    ),
    queries=_quantiles("understudy_first_byte_seconds"),
)

PER_TOKEN = Panel(
    id=206,
    title="Time per output token",
    shape=Shape.LINES,
    unit="s",
    width=8,
    lowest=0,
    meaning=Meaning(
        reads="Of streams: from first to last token, divided by the tokens between. The client's "
        "reading speed is about 0.1 s.",
        act="A rise with the load: the model server batches more than it can; add replicas of it.",
        empty=NO_STREAMS,
    ),
    queries=_quantiles("understudy_time_per_output_token_seconds"),
)

OWN_TIME = Panel(
    id=207,
    title="Gateway's own time",
    shape=Shape.LINES,
    unit="s",
    width=8,
    lowest=0,
    meaning=Meaning(
        reads="A request's time less the time in which a call to a model was open: parsing, "
        "judging, writing the pair.",
        act="Above some 10 ms: the process is short of processor time, or the disk of the journal "
        "is slow. Add replicas.",
        empty=NO_REQUESTS,
    ),
    queries=_quantiles("understudy_gateway_seconds"),
)

UPSTREAM_TIME = Panel(
    id=208,
    title="Time at the model servers",
    shape=Shape.LINES,
    unit="s",
    width=8,
    lowest=0,
    meaning=Meaning(
        reads="The 95th percentile of the time that one call to a model took, by role.",
        act="The model that grew is the one that lacks room: see *Calls open at the model "
        "servers*.",
        empty="No call in this time",
    ),
    queries=(
        Query(
            quantile(0.95, "understudy_upstream_seconds", by="cascade, role"),
            "{{cascade}} {{role}}",
        ),
    ),
)

OPEN_CALLS = told("understudy_upstream_open_calls", by="cascade, role", how="sum")
MOST_CALLS = told("understudy_upstream_max_calls", by="cascade, role", how="sum")

QUEUES = Panel(
    id=210,
    title="Room taken at the model servers",
    shape=Shape.LINES,
    unit=PART,
    width=12,
    lowest=0,
    steps=((0.9, RED),),
    runbook=("TeacherSaturated", "StudentSaturated"),
    meaning=Meaning(
        reads="Calls that all replicas have open at each model, as a share of those that they may "
        "have (`max_concurrent`). The gateway has no queue of its own: what waits, waits in the "
        "model server. At 100% a model is not asked: deferrals are denied (`teacher_busy`), or the "
        "teacher answers in the student's place.",
        act="Above 90% for minutes: raise `max_concurrent` if the server can take more (its own "
        "queue says), else give it more GPUs.",
        empty="No gateway is scraped",
    ),
    queries=(Query(f"{OPEN_CALLS} / ({MOST_CALLS} > 0)", "{{cascade}} {{role}}"),),
)

OPEN = Panel(
    id=211,
    title="Requests being answered",
    shape=Shape.LINES,
    unit="short",
    width=12,
    lowest=0,
    meaning=Meaning(
        reads="Requests that are open right now, of all cascades together, one line a replica.",
        act="One replica far above the others: the balancer counts connections, not requests. A "
        "line that only grows: a model server takes requests and never answers.",
        empty="No gateway is scraped",
    ),
    queries=(
        Query(f"sum by (instance) ({everywhere('understudy_open_requests')})", "{{instance}}"),
    ),
)

REPLICAS = Panel(
    id=214,
    title="Gateways and their versions",
    shape=Shape.TABLE,
    unit="short",
    width=8,
    height=6,
    runbook=("Down", "Absent", "ReplicaDown"),
    meaning=Meaning(
        reads="How many replicas are scraped, by version.",
        act="Fewer than there should be: Prometheus does not reach some. Two versions beyond a "
        "roll-out: finish it.",
        empty="No gateway is scraped",
    ),
    queries=(Query(f"count by (version) ({everywhere('understudy_build_info')})", "Replicas"),),
)

LOST_LINES = Panel(
    id=212,
    title="Log lines lost",
    shape=Shape.NUMBER,
    unit="short",
    width=8,
    height=6,
    decimals=0,
    steps=((1, RED),),
    runbook=("LogLinesLost",),
    meaning=Meaning(
        reads="Log lines that could not be written in the time shown, of all cascades.",
        act="What reads the log is too slow, or its disk is full. Metrics and bill are not "
        "touched.",
        empty="No gateway is scraped",
    ),
    queries=(
        Query(
            f"sum(increase({everywhere('understudy_log_lines_lost_total')}[{SHOWN}]))",
            "Log lines lost",
        ),
    ),
)

COST_UNKNOWN = Panel(
    id=213,
    title="Calls without a cost",
    shape=Shape.NUMBER,
    unit="short",
    width=8,
    height=6,
    decimals=0,
    steps=((1, YELLOW),),
    runbook=("CostUnknown",),
    meaning=Meaning(
        reads="Calls of the time shown that are in no sum of dollars.",
        act="*Calls without a cost* on the Cost dashboard says what is missing, and of whom.",
        empty="No call was counted yet",
    ),
    queries=(Query(increase("understudy_cost_unknown_total"), "Calls without a cost"),),
)

KEYS_AGE = Panel(
    id=216,
    title="Age of the clients' keys",
    shape=Shape.LINES,
    unit="s",
    width=12,
    height=6,
    lowest=0,
    runbook=("KeysNotRead",),
    meaning=Meaning(
        reads="How long ago the replica that waits longest read the clients' keys well, by where "
        "they are: the keys file, or Redis. Above a few seconds a key that was made or taken away "
        "does not arrive there.",
        act="The gateways' log says why (`keys_refused`, `keys_away`). The keys in force stay.",
        empty="No keys are asked for",
    ),
    queries=(
        Query(f"max by (source) ({everywhere('understudy_keys_read_age_seconds')})", "{{source}}"),
    ),
)

LOOP_LAG = Panel(
    id=218,
    title="Lag of the event loop",
    shape=Shape.LINES,
    unit="s",
    width=12,
    height=6,
    lowest=0,
    meaning=Meaning(
        reads="The 99th percentile of how late a timer comes that is due 50 times a second: for so "
        "long everything waits. *computing* is the part of it in which the gateway had a "
        "processor.",
        act="Both above 20 ms: too much load for one core, prompts of many megabytes, or a slow "
        "redactor; add replicas, or lower `UNDERSTUDY_MAX_BODY_BYTES`. The lag alone: the CPU "
        "limit, a crowded node, or a slow disk under the journal.",
        empty="No gateway is scraped",
    ),
    queries=tuple(
        Query(quantile_everywhere(0.99, histogram), name)
        for histogram, name in (
            ("understudy_loop_lag_seconds", "lag"),
            ("understudy_loop_computing_seconds", "computing"),
        )
    ),
)

BOARD = Board(
    uid="understudy-serving",
    title="Understudy / Serving",
    question="Are clients served, how fast, and if not, which server is it.",
    since="now-1h",
    sections=(
        Section("Are clients served", (RATE, ERRORS)),
        Section("The servers behind", (BREAKERS, UPSTREAM_ERRORS, NAMED)),
        Section("How fast, to the client", (LATENCY, LATENCY_BY_OUTCOME, FIRST_TOKEN)),
        Section("Where the time goes", (PER_TOKEN, OWN_TIME, UPSTREAM_TIME)),
        Section("Room", (QUEUES, OPEN)),
        Section("The gateways", (REPLICAS, LOST_LINES, COST_UNKNOWN, KEYS_AGE, LOOP_LAG)),
    ),
)
