"""The dashboard for whoever answers for the bill: what is paid, for what, and what it saves."""

from grafana.boards import Board, Section
from grafana.panels import BLUE, GREEN, ORANGE, PURPLE, RED, YELLOW, Meaning, Panel, Query, Shape
from grafana.queries import (
    ANSWERED,
    grown,
    increase,
    rate,
    saved,
    saved_margin,
    share,
    share_of_all,
    teacher_alone,
    thirty_days,
    told,
)

USD = "currencyUSD"
PART = "percentunit"

COST = "understudy_cost_usd_total"
REQUESTS = "understudy_requests_total"
BASELINE = "understudy_baseline_usd_total"
RENT = "understudy_gpu_rent_usd_total"
NO_COST = "No cost was counted: no requests, or no price is configured"
NO_BASELINE = "No estimate: no answered requests, or the teacher has no price for tokens"

SPEND = Panel(
    id=1,
    title="Spend",
    shape=Shape.NUMBER,
    unit=USD,
    width=4,
    height=5,
    base=BLUE,
    meaning=Meaning(
        reads="What all calls to both models cost in the time shown: served, wasted, retried, "
        "shadow and audit. Calls of unknown cost are in no sum: see *Calls without a cost*. Rented "
        "GPUs count for the time they worked; what they cost idle stands apart.",
        act="Nothing by itself. Compare it with *Saved*, and with *Where the money goes*.",
        empty=NO_COST,
    ),
    queries=(Query(increase(COST), "Spend"),),
)

THIS_MONTH = Panel(
    id=3,
    title="This month so far",
    shape=Shape.NUMBER,
    unit=USD,
    width=4,
    height=5,
    base=BLUE,
    period="now/M",
    runbook=("BudgetSpent",),
    meaning=Meaning(
        reads="What all calls cost since the first of this month, whatever time is shown "
        "elsewhere. It reaches back as far as Prometheus keeps its data (15 days unless told).",
        act="For the books take `understudy bill`, which is exact and needs no Prometheus.",
        empty=NO_COST,
    ),
    queries=(Query(increase(COST), "This month"),),
)

LAST_MONTH = Panel(
    id=5,
    title="Last month",
    shape=Shape.NUMBER,
    unit=USD,
    width=4,
    height=5,
    base=BLUE,
    period="now/M",
    earlier="1M/M",
    meaning=Meaning(
        reads="What all calls cost from the first to the last day of the month before this one. It "
        "reaches back as far as Prometheus keeps its data (15 days unless told).",
        act="For the books take `understudy bill --by cascade`, which is exact.",
        empty="Prometheus has no data of last month; understudy bill has",
    ),
    queries=(Query(increase(COST), "Last month"),),
)

SAVED = Panel(
    id=4,
    title="Saved against the teacher alone",
    shape=Shape.NUMBER,
    unit=USD,
    width=8,
    height=5,
    base=RED,
    steps=((0, GREEN),),
    runbook=("NoSaving",),
    meaning=Meaning(
        reads="What the teacher alone would have cost for the same answered requests, less "
        "everything that was paid: net of wasted drafts, retries, audits and shadow. *At least* "
        "and *At most* are its 95% interval. They are there only where 100 drafts or more were "
        "held out (`audit.holdout`) of each cascade that is summed. Without them the number rests "
        "on learnt ratios, and is as a rule too high: see *What the estimate rests on*.",
        act="Below 0 the cascade costs more than it saves: look at the escalation rate and at "
        "*Wasted share*. Where the interval holds 0, nothing is proved: raise the holdout, or show "
        "more time.",
        empty=NO_BASELINE,
    ),
    queries=(
        Query(f"{saved()} - ({saved_margin()})", "At least"),
        Query(saved(), "Saved"),
        Query(f"{saved()} + ({saved_margin()})", "At most"),
    ),
)

SAVED_SHARE = Panel(
    id=6,
    title="Share saved",
    shape=Shape.NUMBER,
    unit=PART,
    width=4,
    height=5,
    base=RED,
    decimals=1,
    steps=((0, ORANGE), (0.2, GREEN)),
    meaning=Meaning(
        reads="*Saved* as a share of what the teacher alone would have cost. Shares of different "
        "times or cascades can be compared; dollars cannot.",
        act="A share that falls while the mix of requests is the same means more escalations or "
        "more waste: open the Routing dashboard.",
        empty=NO_BASELINE,
    ),
    queries=(Query(f"({saved()}) / (({teacher_alone()}) > 0)", "Share saved"),),
)

FORECAST = Panel(
    id=2,
    title="Thirty days at this pace, against the budget",
    shape=Shape.LINES,
    unit=USD,
    width=12,
    lowest=0,
    dashed="budget",
    runbook=("OverBudget",),
    meaning=Meaning(
        reads="What thirty days cost at the mean pace of the 24 hours before each point, and "
        "dashed the cascade's budget (`budget.usd_per_month`). Nothing stops a cascade at its "
        "budget.",
        act="Above its budget, a cascade needs fewer escalations (a lower objective), a cheaper "
        "teacher or a larger budget. Find what grew in *Where the money goes*.",
        empty=NO_COST,
    ),
    queries=(
        Query(thirty_days(COST, by="cascade"), "{{cascade}}"),
        Query(told("understudy_budget_usd_per_month"), "{{cascade}} budget"),
    ),
)

PACE_BY_CASCADE = Panel(
    id=15,
    title="Spend an hour, by cascade",
    shape=Shape.STACK,
    unit=USD,
    width=12,
    lowest=0,
    runbook=("SpendRunaway",),
    meaning=Meaning(
        reads="Dollars an hour at each moment, one colour a cascade, on top of each other.",
        act="A step that no release explains is a new client or a loop: find the tenant with "
        "`understudy bill --by tenant`.",
        empty=NO_COST,
    ),
    queries=(Query(f"{rate(COST, by='cascade')} * 3600", "{{cascade}}"),),
)

AGAINST_ALONE = Panel(
    id=14,
    title="Paid, and what the teacher alone would cost",
    shape=Shape.LINES,
    unit=USD,
    width=12,
    lowest=0,
    colours={"paid": GREEN, "teacher alone": ORANGE},
    dashed="teacher alone",
    meaning=Meaning(
        reads="Dollars an hour: paid for everything, and dashed the estimate for the teacher alone "
        "on the same requests. The gap is what is saved.",
        act="Where the lines meet, the cascade saves nothing at that load: look at the escalation "
        "rate of the same time.",
        empty=NO_COST,
    ),
    queries=(
        Query(f"{rate(COST)} * 3600", "paid"),
        Query(f"{rate(BASELINE)} * 3600", "teacher alone"),
    ),
)

BY_CASCADE = Panel(
    id=13,
    title="By cascade",
    shape=Shape.TABLE,
    unit=USD,
    width=12,
    meaning=Meaning(
        reads="The time shown, a row for each cascade: what was paid, what the teacher alone would "
        "have cost, the difference, half the width of its 95% interval (where 100 drafts or more "
        "were held out), and the share. `other` stands for models that nobody configured.",
        act="Begin with the cascade that saves least: more of its traffic may belong to a cheaper "
        "teacher, or its student needs another generation.",
        empty=NO_COST,
    ),
    queries=(
        Query(increase(COST, by="cascade"), "Paid"),
        Query(teacher_alone("cascade"), "Teacher alone"),
        Query(saved("cascade"), "Saved"),
        Query(saved_margin("cascade"), "±"),
        Query(
            f"({saved('cascade')}) / (({teacher_alone('cascade')}) > 0)", "Share saved", unit=PART
        ),
    ),
)

KINDS = Panel(
    id=7,
    title="Where the money goes",
    shape=Shape.BARS,
    unit=USD,
    width=8,
    base=BLUE,
    lowest=0,
    meaning=Meaning(
        reads="The time shown, by model and by what for. `served`: words that reached the client. "
        "`wasted`: drafts thrown away. `retry`: calls that failed, so that another was made. "
        "`shadow`: drafts never meant to be served. `audit`: learning, off the request path.",
        act="Much `wasted`: prompts that never pass can go straight to the teacher, by a policy "
        "that judges prompts. Much `retry`: a model server is ill, see Serving.",
        empty=NO_COST,
    ),
    queries=(Query(f"{increase(COST, by='role, kind')} > 0", "{{role}} {{kind}}"),),
)

WASTED = Panel(
    id=10,
    title="Share that served nobody",
    shape=Shape.STACK,
    unit=PART,
    width=8,
    lowest=0,
    colours={"wasted": ORANGE, "retry": RED, "audit": BLUE, "shadow": PURPLE},
    meaning=Meaning(
        reads="How much of each dollar went into anything but words that reached a client, by "
        "kind.",
        act="Above about a third, drafting first does not pay for this traffic: raise "
        "`early_abort` or let the prompt decide. `audit` and `shadow` are set by you, in `audit`.",
        empty=NO_COST,
    ),
    queries=(Query(share_of_all(rate(COST, 'kind!="served"', by="kind"), rate(COST)), "{{kind}}"),),
)

STUDENTS_WORDS = rate(COST, 'role="student"', 'kind="served"')
TEACHERS_WORDS = rate(COST, 'role="teacher"', 'kind="served"')
DRAFTS_WASTED = rate(COST, 'role="student"', 'kind="wasted"')
DRAFTS_SERVED = rate(REQUESTS, 'outcome=~"kept|degraded"')
ESCALATED = rate(REQUESTS, 'outcome="escalated"')

AN_ANSWER = Panel(
    id=12,
    title="What one answer costs",
    shape=Shape.LINES,
    unit=USD,
    width=8,
    lowest=0,
    colours={"kept": GREEN, "escalated": BLUE, "teacher alone": ORANGE},
    dashed="teacher alone",
    meaning=Meaning(
        reads="In the mean. `kept`: what the student's served words cost, for each answer that was "
        "served as a draft. `escalated`: what the teacher's served words cost and the drafts that "
        "were thrown away, for each answer of the teacher, those held out among them; of several "
        "sampled drafts the ones beside the chosen are in it too. Dashed: the estimate for the "
        "teacher alone.",
        act="Where `kept` comes near `teacher alone`, the student is too dear for what it spares. "
        "`escalated` above `teacher alone` is the price of having tried the student first.",
        empty=NO_COST,
    ),
    queries=(
        Query(f"{STUDENTS_WORDS} / ({DRAFTS_SERVED} > 0)", "kept"),
        Query(f"({TEACHERS_WORDS} + {DRAFTS_WASTED}) / ({ESCALATED} > 0)", "escalated"),
        Query(f"{rate(BASELINE)} / ({rate(REQUESTS, ANSWERED)} > 0)", "teacher alone"),
    ),
)

UNKNOWN = Panel(
    id=8,
    title="Calls without a cost",
    shape=Shape.LINES,
    unit="short",
    width=8,
    lowest=0,
    runbook=("CostUnknown",),
    meaning=Meaning(
        reads="Calls that are in no sum of dollars, by what is missing: `usage` (the server did "
        "not say, and nothing could be estimated) or `price`; and answers without a baseline. "
        "While this is not 0, *Spend* is too low.",
        act="`price`: add it to the configuration. `usage`: see which call broke off in the log "
        "(`cost_pico` is null); vLLM tells usage as it goes with `running_usage`.",
        empty="Every call of this time has a cost, and every answer a baseline",
    ),
    queries=(
        Query(
            grown("understudy_cost_unknown_total", by="cascade, role, cause"),
            "{{cascade}} {{role}}: {{cause}}",
        ),
        Query(
            grown("understudy_baseline_unknown_total", by="cascade, cause"),
            "{{cascade}} baseline: {{cause}}",
        ),
    ),
)

ESTIMATED = Panel(
    id=9,
    title="Estimated share of the spend",
    shape=Shape.LINES,
    unit=PART,
    width=8,
    lowest=0,
    highest=1,
    steps=((0.05, YELLOW), (0.2, RED)),
    meaning=Meaning(
        reads="How much of the spend rests on our own count of a stream that was cut, and not on "
        "the server's word.",
        act="A few per cent are clients that leave. More: set `running_usage` where the server "
        "offers it, or ask why streams are cut.",
        empty=NO_COST,
    ),
    queries=(
        Query(
            share(
                rate("understudy_cost_estimated_usd_total", by="cascade"), rate(COST, by="cascade")
            ),
            "{{cascade}}",
        ),
    ),
)

BASES = Panel(
    id=16,
    title="What the estimate rests on",
    shape=Shape.BARS,
    unit=PART,
    width=8,
    base=BLUE,
    lowest=0,
    highest=1,
    meaning=Meaning(
        reads="The teacher-alone estimate by its grounds. `measured`: the teacher itself answered. "
        "`sample`: its length was learnt from kept drafts chosen at random. `escalations`: from "
        "drafts that were not kept, which are no random sample. `prices`: as though the teacher "
        "wrote exactly as much as the student.",
        act="Mostly `prices` or `escalations`: set `audit.holdout` (0.01 will do), and the saving "
        "gets an interval.",
        empty=NO_BASELINE,
    ),
    queries=(
        Query(
            f"{share_of_all(increase(BASELINE, by='basis'), increase(BASELINE))} > 0",
            "{{basis}}",
        ),
    ),
)

IDLE = Panel(
    id=11,
    title="GPUs: idle share of the rent",
    shape=Shape.LINES,
    unit=PART,
    width=12,
    highest=1,
    meaning=Meaning(
        reads="Of the rent of GPUs (`gpu_usd_per_hour`), the share that no call of these gateways "
        "answers for. Below 0: priced by tokens, the `reference` throughput is lower than what the "
        "server does, and calls are billed more than the rent.",
        act="High all day: fewer GPUs, or more traffic on these. High at night: scale down. Below "
        "0: measure the reference again.",
        empty="No model is priced by GPU hours",
    ),
    queries=(
        Query(
            f"({rate(RENT, by='cascade, role')} - {rate(COST, by='cascade, role')}) / "
            f"({rate(RENT, by='cascade, role')} > 0)",
            "{{cascade}} {{role}}",
        ),
    ),
)

CACHED = Panel(
    id=17,
    title="Cached share of the input",
    shape=Shape.LINES,
    unit=PART,
    width=12,
    lowest=0,
    highest=1,
    runbook=("CachedTokensNotReported",),
    meaning=Meaning(
        reads="Of the tokens that a model read, those it had in its cache, which are cheaper where "
        "`cached_input` has a price. A line at 0 can mean that the server does not tell: then it "
        "is named *not told*.",
        act="*not told*: start vLLM with `--enable-prompt-tokens-details`, or cached tokens are "
        "billed in full. A share that fell: prompts no longer begin alike.",
        empty="No tokens were counted yet",
    ),
    queries=(
        Query(
            share(
                rate("understudy_tokens_total", 'type="cached_input"', by="cascade, role"),
                rate("understudy_tokens_total", 'type="input"', by="cascade, role"),
            ),
            "{{cascade}} {{role}}",
        ),
        Query(
            f"{told('understudy_cached_tokens_reported', by='cascade, role')} == 0",
            "{{cascade}} {{role}}, not told",
        ),
    ),
)

BOARD = Board(
    uid="understudy-cost",
    title="Understudy / Cost",
    question="What is spent and on what, what the teacher alone would have cost, and how sure it "
    "is.",
    since="now-24h",
    sections=(
        Section("The bill", (SPEND, THIS_MONTH, LAST_MONTH, SAVED, SAVED_SHARE)),
        Section("Budget and pace", (FORECAST, PACE_BY_CASCADE)),
        Section("What it saves", (AGAINST_ALONE, BY_CASCADE)),
        Section("Where it goes", (KINDS, WASTED, AN_ANSWER)),
        Section("How sure the numbers are", (UNKNOWN, ESTIMATED, BASES)),
        Section("GPUs and caches", (IDLE, CACHED)),
    ),
)
