"""The dashboard of objectives: what was asked, what holds for it, and what audits see."""

from itertools import starmap

from grafana.boards import Board, Section
from grafana.panels import BLUE, GREEN, ORANGE, RED, YELLOW, Meaning, Panel, Query, Shape
from grafana.queries import ANSWERED, increase, rate, seen, selector, share, told

PART = "percentunit"
USD = "currencyUSD"
# Rate and spend are held over an hour.  Audits are rare, so it takes longer to see a share of them.
HOUR = "1h"
HOURS = "6h"

REQUESTS = "understudy_requests_total"
AUDITS = "understudy_audits_total"
COST = "understudy_cost_usd_total"
TARGET = "understudy_objective_target"

NO_OBJECTIVE = "No cascade is held to an objective that steers itself"

# In this order the lowest of what replicas say is the one that promises least.
STATES = ("gathering", "holding", "released", "steering")


def _target(kind: str) -> str:
    return told(TARGET, f'kind="{kind}"')


def _of_hour(counter: str, *matchers: str) -> str:
    return increase(counter, *matchers, by="cascade", window=HOUR)


def _only_with(promql: str, gauge: str) -> str:
    """Of the cascades alone that have such a gauge."""
    return f"{promql} and on (cascade) {gauge}"


def _numbered(number: int, state: str) -> str:
    """This number where a cascade is in this state."""
    matcher = f'state="{state}"'
    return f"{number} * {selector('understudy_objective_state', matcher)}"


STATE = Panel(
    id=401,
    title="How it stands",
    shape=Shape.STATES,
    unit="short",
    width=12,
    states={
        "0": ("gathering", YELLOW),
        "1": ("holding", ORANGE),
        "2": ("released", GREEN),
        "3": ("steering", BLUE),
    },
    runbook=("PromiseNotReleased",),
    meaning=Meaning(
        reads="A bar for each cascade. Of quality: `gathering` the first merits, to make levels of "
        "them, `holding` everything back until enough is proven, `released`, drafts are kept under "
        "the promise. Rate and spend are `steering`.",
        act="While a promise is earned all is escalated, at the teacher's price. `missing` of "
        "`GET /admin/cascades/{name}` says what it lacks, and how much of it.",
        empty=NO_OBJECTIVE,
    ),
    queries=(
        Query(
            f"min by (cascade) ({' or '.join(starmap(_numbered, enumerate(STATES)))})",
            "{{cascade}}",
        ),
    ),
)

STEERED = _only_with(f"{told('understudy_threshold')} < Inf", told("understudy_objective_revision"))

THRESHOLD = Panel(
    id=402,
    title="Threshold in force",
    shape=Shape.LINES,
    unit=PART,
    width=12,
    lowest=0,
    highest=1,
    meaning=Meaning(
        reads="The least merit with which a whole draft is kept, as the controller has it. There "
        "is no line while everything is escalated. Rate and spend move it all the time, quality in "
        "steps.",
        act="Nothing: it is not for you to set. `line` of `GET /admin/cascades/{name}` says by "
        "which rule and numbers it stands where it is.",
        empty="Everything is escalated, or no cascade is held to an objective that steers itself",
    ),
    queries=(Query(STEERED, "{{cascade}}"),),
)

PROMISE = Panel(
    id=403,
    title="Disagreement: promised, and seen by audits",
    shape=Shape.LINES,
    unit=PART,
    width=12,
    lowest=0,
    dashed="promised",
    meaning=Meaning(
        reads="Dashed: the share of kept drafts that may differ from the teacher's answers, at "
        "most, and `certified` beside it once that is proven. `audits`: of the audits of six hours "
        "those that differed or failed.",
        act="Do not alert on `audits`: the promise is about the true share, and six hours of "
        "audits are few. Where it lies above the dashes for days without an alarm, look at what "
        "differs: `understudy pairs tail --stream audits`.",
        empty="No cascade is held to an objective of quality, and none is audited",
    ),
    queries=(
        Query(_target("quality"), "{{cascade}} promised"),
        Query(told("understudy_objective_bound"), "{{cascade}} certified"),
        Query(
            share(
                increase(AUDITS, 'outcome!="agree"', by="cascade", window=HOURS),
                increase(AUDITS, by="cascade", window=HOURS),
            ),
            "{{cascade}} audits",
        ),
    ),
)

KEPT = Panel(
    id=404,
    title="Kept share of what is certified",
    shape=Shape.LINES,
    unit=PART,
    width=12,
    lowest=0,
    highest=1,
    meaning=Meaning(
        reads="The share of judged drafts that the certified threshold keeps. It grows in steps of "
        "two per cent of the traffic, as more is proven.",
        act="Low for days: the student differs often where it is less sure. A better student, a "
        "policy fitted on today's records (`understudy pairs records`), or a weaker promise.",
        empty="No promise is released",
    ),
    queries=(Query(told("understudy_objective_kept_share"), "{{cascade}}"),),
)

SUSPICION = Panel(
    id=405,
    title="Suspicion of a regression, in powers of ten",
    shape=Shape.LINES,
    unit="short",
    width=16,
    lowest=0,
    steps=((2, ORANGE),),
    meaning=Meaning(
        reads="The statistic of the test on audited drafts. From 2 on ten times as many drafts are "
        "audited, until it falls or alarms: at 5.6 with 2% of the requests audited, more with "
        "more. It wanders up and down by chance.",
        act="A steady climb: the student has got worse, or its traffic. Nothing to do before the "
        "alarm, which takes everything back by itself; see whether a student was let in.",
        empty="No promise is watched",
    ),
    queries=(
        Query(f"log10(clamp_min({told('understudy_objective_statistic')}, 1))", "{{cascade}}"),
    ),
)

REGRESSIONS = Panel(
    id=406,
    title="Regressions found",
    shape=Shape.NUMBER,
    unit="short",
    width=8,
    decimals=0,
    steps=((1, RED),),
    runbook=("RegressionFound",),
    meaning=Meaning(
        reads="How often the student was found to differ more than was promised, since this "
        "promise began: with this student, policy and objective. A false alarm comes once in ten "
        "million requests.",
        act="All is escalated at once, and the promise is earned again. Find out what changed, "
        "before that happens again.",
        empty="No cascade is held to an objective of quality",
    ),
    queries=(Query(told("understudy_objective_alarms"), "{{cascade}}"),),
)

ESCALATIONS = "understudy_escalations_total"
TO_STEER = 'reason!="pinned"'
ASKED = _target("escalation_rate")

RATE = Panel(
    id=407,
    title="Escalation rate, over an hour",
    shape=Shape.LINES,
    unit=PART,
    width=6,
    lowest=0,
    dashed="target",
    meaning=Meaning(
        reads="The teacher's answers of the hour before each point, those of drafts held out among "
        "them, as a share of all answers, and dashed the share that they are to be.",
        act="Below it: too few drafts can be bettered. Above it for hours: more is forced than the "
        "target allows; *Why drafts were not enough* in Routing says by what. Pinned requests "
        "count here, and not for the controller.",
        empty="No cascade is held to an escalation rate",
    ),
    queries=(
        Query(
            _only_with(share(_of_hour(ESCALATIONS, TO_STEER), _of_hour(REQUESTS, ANSWERED)), ASKED),
            "{{cascade}}",
        ),
        Query(ASKED, "{{cascade}} target"),
    ),
)

TO_SPEND = _target("spend")

SPEND = Panel(
    id=408,
    title="Spend, over an hour",
    shape=Shape.LINES,
    unit=USD,
    width=6,
    lowest=0,
    dashed="target|cap",
    runbook=("SpendAboveTarget",),
    meaning=Meaning(
        reads="What the cascade cost in the hour before each point, shadows left out, and dashed "
        "what it is to cost and what no hour may cost beyond.",
        act="Below the target: there is too little traffic to spend it. Above it for hours: "
        "drafts, audits or forced escalations alone take more, see *Where the money goes* in Cost.",
        empty="No cascade is held to a spend",
    ),
    queries=(
        Query(_only_with(_of_hour(COST, 'kind!="shadow"'), TO_SPEND), "{{cascade}}"),
        Query(TO_SPEND, "{{cascade}} target"),
        Query(told("understudy_objective_cap_usd"), "{{cascade}} cap"),
    ),
)

DENIED = Panel(
    id=409,
    title="Sent back for want of money",
    shape=Shape.LINES,
    unit=PART,
    width=6,
    lowest=0,
    steps=((0.01, YELLOW), (0.05, RED)),
    runbook=("CapDenying",),
    meaning=Meaning(
        reads="Of the answers of cascades with a hard cap, drafts that were not enough and were "
        "served all the same, `budget_spent`: by the cap, or because a key may spend no more "
        "today.",
        act="Now and then the cap does its work. For longer the target is too near to it, or "
        "costs are estimated too low; each replica has a part of the cap, and a new one begins "
        "with nothing.",
        empty="No cascade has a hard cap",
    ),
    queries=(
        Query(
            _only_with(
                share(
                    rate("understudy_degraded_total", 'degraded="budget_spent"', by="cascade"),
                    rate(REQUESTS, ANSWERED, by="cascade"),
                ),
                told("understudy_objective_cap_usd"),
            ),
            "{{cascade}}",
        ),
    ),
)

PRESSURE = Panel(
    id=416,
    title="Pressure on the teacher",
    shape=Shape.LINES,
    unit=PART,
    width=6,
    lowest=0,
    highest=1,
    meaning=Meaning(
        reads="How hard the teacher is pressed, by the queues and caches of its servers "
        "(`teacher.queue`) and calls that had no room, and the part in use of its fullest cache. "
        "Under pressure the threshold of a rate or spend gives way.",
        act="High for long: more GPUs, or a lower target. A quality objective does not give way: "
        "what its teacher has no room for is served degraded.",
        empty="No cascade has `teacher.queue`",
    ),
    queries=(
        Query(told("understudy_teacher_pressure"), "{{cascade}} pressure"),
        Query(told("understudy_teacher_cache_usage"), "{{cascade}} cache"),
    ),
)

AUDITED = Panel(
    id=410,
    title="Audits by what they found",
    shape=Shape.STACK,
    unit="cps",
    width=8,
    lowest=0,
    colours={"agree": GREEN, "differ": ORANGE, "failed": RED},
    runbook=("AuditsFailing",),
    meaning=Meaning(
        reads="Audits a second: the teacher would have said the same (`agree`), something else "
        "(`differ`), or could not be had (`failed`), which counts against the promise like a "
        "difference.",
        act="`failed`: the log's `failures`, and *Left alone* in Serving; a teacher that does not "
        "take `audit.priority` fails at every one. Look at what differs: "
        "`understudy pairs tail --stream audits`.",
        empty="No draft was audited in this time",
    ),
    queries=(Query(seen(AUDITS, by="outcome"), "{{outcome}}"),),
)

SKIPPED = Panel(
    id=411,
    title="Drawn, and not audited",
    shape=Shape.STACK,
    unit="cps",
    width=8,
    lowest=0,
    meaning=Meaning(
        reads="Kept drafts that a coin chose and that were not audited, a second, by cause. Each "
        "was known before the teacher was asked, so that nothing is biased by them; there are "
        "fewer audits.",
        act="`budget_spent`: raise `audit.usd_per_hour`. `no_room`, `left_alone`: the teacher. "
        "`no_consent`, `not_allowed`: these requests are outside the promise.",
        empty="No draft was drawn and left out in this time",
    ),
    queries=(Query(seen("understudy_audits_skipped_total", by="cause"), "{{cause}}"),),
)

AUDIT_COST = Panel(
    id=412,
    title="Cost of audits, an hour",
    shape=Shape.LINES,
    unit=USD,
    width=8,
    lowest=0,
    meaning=Meaning(
        reads="What was paid as `audit` in the hour before each point: audits, and drafts that "
        "were finished to learn from.",
        act="It is about `audit.share` of what the teacher alone would cost, ten times that while "
        "a regression is suspected. `audit.usd_per_hour` bounds it, in each replica.",
        empty="Nothing was paid for audits",
    ),
    queries=(Query(_of_hour(COST, 'kind="audit"'), "{{cascade}}"),),
)

STICKY = Panel(
    id=413,
    title="Turns that stayed with the teacher",
    shape=Shape.LINES,
    unit=PART,
    width=8,
    lowest=0,
    meaning=Meaning(
        reads="Of the answered turns of conversations, those that were the teacher's because it "
        "had answered an earlier one (`conversation.sticky_turns`).",
        act="Each is a full answer of the teacher. Too many: fewer `sticky_turns`, or a policy "
        "that reads `earlier_kept` in their place.",
        empty="No turn of a conversation that is remembered was answered in this time",
    ),
    queries=(
        Query(
            share(
                rate("understudy_conversation_sticky_turns_total", by="cascade"),
                rate("understudy_conversation_turns_total", by="cascade"),
            ),
            "{{cascade}}",
        ),
    ),
)

CONTROLLER = Panel(
    id=414,
    title="Replicas that steer",
    shape=Shape.NUMBER,
    unit="short",
    width=6,
    decimals=0,
    base=RED,
    steps=((1, GREEN),),
    runbook=("NoController",),
    meaning=Meaning(
        reads="How many replicas have the lease of each cascade: one. Two are seen for a moment "
        "when it changes hands, and while one of them does not reach Redis.",
        act="0 for minutes: no replica takes the lease, and what holds follows nothing any more. "
        "`jq 'select(.event == \"controller\")'` says who had it.",
        empty=NO_OBJECTIVE,
    ),
    queries=(Query(told("understudy_objective_controller", how="sum"), "{{cascade}}"),),
)

AGE = Panel(
    id=415,
    title="Age of what holds, by replica",
    shape=Shape.LINES,
    unit="s",
    width=10,
    lowest=0,
    steps=((300, RED),),
    runbook=("ObjectiveStale",),
    meaning=Meaning(
        reads="How long ago each replica last heard what holds, of the cascade that waits longest: "
        "a second or two.",
        act="A line that climbs: that replica does not reach Redis, or all where they climb "
        "together. What held goes on holding there, and hears of no regression.",
        empty=NO_OBJECTIVE,
    ),
    queries=(Query(told("understudy_objective_age_seconds", by="instance"), "{{instance}}"),),
)

BOARD = Board(
    uid="understudy-objectives",
    title="Understudy / Objectives",
    question="Does what was asked hold: quality, rate or spend; and what do audits see.",
    since="now-24h",
    sections=(
        Section("What holds", (STATE, THRESHOLD)),
        Section("Quality", (PROMISE, KEPT, SUSPICION, REGRESSIONS)),
        Section("Rate and spend", (RATE, SPEND, DENIED, PRESSURE)),
        Section("Audits", (AUDITED, SKIPPED, AUDIT_COST)),
        Section("Conversations, and who steers", (STICKY, CONTROLLER, AGE)),
    ),
)
