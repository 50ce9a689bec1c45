"""The dashboard of decisions: how often the teacher is asked, why, and does confidence hold."""

from grafana.boards import Board, Section
from grafana.panels import GREEN, ORANGE, RED, YELLOW, Meaning, Panel, Query, Shape
from grafana.queries import (
    ANSWERED,
    PACE,
    SHOWN,
    expected_disagreement,
    increase,
    mean,
    pace,
    rate,
    seen,
    share,
    share_of_all,
    together,
    told,
)

PART = "percentunit"
DAYS = 86400

REQUESTS = "understudy_requests_total"
CONFIDENCE = "understudy_confidence"
NO_REQUESTS = "No answered requests in this time"
NO_DRAFTS = "No draft was judged in this time"

ESCALATION_RATE = Panel(
    id=101,
    title="Escalation rate",
    shape=Shape.LINES,
    unit=PART,
    width=12,
    lowest=0,
    dashed="expected",
    runbook=("EscalationRateOff", "EscalationRateMoved"),
    meaning=Meaning(
        reads="The share of answered requests that the teacher had to answer, and dashed what the "
        "policy would defer by its evidence. It drives the bill: a teacher's answer costs many "
        "times a student's.",
        act="A rise without a release: prompts have changed, or the student is ill (*Why drafts "
        "were not enough*). A fall to 0: the teacher is not to be had, or confidence says yes to "
        "all; see *Deferrals denied*.",
        empty=NO_REQUESTS,
    ),
    queries=(
        Query(
            share(
                rate("understudy_escalations_total", 'reason!="holdout"', by="cascade"),
                rate(REQUESTS, ANSWERED, by="cascade"),
            ),
            "{{cascade}}",
        ),
        Query(f"1 - {told('understudy_policy_kept_share')}", "{{cascade}} expected"),
    ),
)

REASONS = Panel(
    id=102,
    title="Why drafts were not enough",
    shape=Shape.STACK,
    unit=PART,
    width=12,
    lowest=0,
    meaning=Meaning(
        reads="Deferrals as a share of answered requests, by reason. `low_confidence` is the "
        "policy's own no; `late_doubt` comes when half an answer is out; `no_signal`: no "
        "log-probabilities.",
        act="`student_failed`: see Serving. `no_signal`: the student's server gives no "
        "log-probabilities, ask `understudy doctor`. `invalid_structure`: the student is weak at "
        "JSON or tools; say `cannot: [tools]`. `student_cannot` is free of charge.",
        empty="No deferral in this time",
    ),
    queries=(
        Query(
            share_of_all(seen("understudy_deferrals_total", by="reason"), rate(REQUESTS, ANSWERED)),
            "{{reason}}",
        ),
    ),
)

DENIED = Panel(
    id=105,
    title="Deferrals denied",
    shape=Shape.STACK,
    unit=PART,
    width=12,
    lowest=0,
    runbook=("DegradedShareHigh", "LimitsAway"),
    meaning=Meaning(
        reads="Drafts that were not enough and were served all the same, marked "
        "`x-understudy-degraded`, as a share of answered requests, by why the teacher was not to "
        "be had. The quality promise does not cover these.",
        act="`teacher_failed`: see *Left alone* in Serving. `teacher_busy`: give the teacher more "
        "room (`max_concurrent`) or more GPUs. `not_allowed` is the tenant's agreement, and "
        "`budget_spent` its limit, unless the log says `limits_away`. `journal_full`: free the "
        "disk.",
        empty="No draft was served degraded in this time",
    ),
    queries=(
        Query(
            share_of_all(
                seen("understudy_degraded_total", by="degraded"), rate(REQUESTS, ANSWERED)
            ),
            "{{degraded}}",
        ),
    ),
)

DENIED_SHARE = Panel(
    id=114,
    title="Share of deferrals denied",
    shape=Shape.LINES,
    unit=PART,
    width=12,
    lowest=0,
    highest=1,
    steps=((0.05, YELLOW), (0.25, RED)),
    meaning=Meaning(
        reads="Of all deferrals, those that nobody answered better.",
        act="Above a few per cent clients get answers that the policy would not have served: find "
        "the cause beside this, before a client does.",
        empty="No deferral in this time",
    ),
    queries=(
        Query(
            share(
                rate("understudy_degraded_total", by="cascade"),
                rate("understudy_deferrals_total", by="cascade"),
            ),
            "{{cascade}}",
        ),
    ),
)


def _confidence_heat(id: int, verdict: str, reads: str, act: str) -> Panel:
    return Panel(
        id=id,
        title=f"Confidence in drafts: {verdict}",
        shape=Shape.HEAT,
        unit="short",
        width=12,
        meaning=Meaning(reads=reads, act=act, empty=NO_DRAFTS),
        queries=(
            Query(
                increase(
                    f"{CONFIDENCE}_bucket",
                    f'verdict="{verdict}"',
                    by="le",
                    window=PACE,
                ),
                "{{le}}",
            ),
        ),
    )


KEPT_HEAT = _confidence_heat(
    103,
    "keep",
    "Drafts that were served, by their confidence (upwards) and time; the darker the more. They "
    "lie above the threshold.",
    "A cloud that hangs just above the threshold is brittle: a small change of prompts tips it. "
    "Fit the policy again with records of today.",
)
DEFERRED_HEAT = _confidence_heat(
    108,
    "defer",
    "Drafts that were not enough, by their confidence (upwards) and time. Invalid structure and "
    "late doubt can stand high.",
    "Many just below the threshold: a slightly lower objective saves much. Many near 0: the prompt "
    "could tell, and the draft be spared.",
)

MEAN_CONFIDENCE = Panel(
    id=115,
    title="Mean confidence by verdict",
    shape=Shape.LINES,
    unit=PART,
    width=8,
    lowest=0,
    highest=1,
    meaning=Meaning(
        reads="The mean of the confidence in drafts that were kept, and in those that were not.",
        act="Lines that come together: confidence no longer tells good drafts from bad ones. Fit "
        "the policy again.",
        empty=NO_DRAFTS,
    ),
    queries=(
        Query(mean(CONFIDENCE, 'verdict="keep"'), "{{cascade}} keep"),
        Query(mean(CONFIDENCE, 'verdict="defer"'), "{{cascade}} defer"),
    ),
)

DRIFT = Panel(
    id=113,
    title="Drift of confidence",
    shape=Shape.LINES,
    unit=PART,
    width=8,
    meaning=Meaning(
        reads="The mean confidence in all drafts at each moment, less its mean over as long a time "
        "before it as is shown. At 0 nothing has moved. Show seven days or more to see a slow "
        "drift.",
        act="Beyond about 0.05 for hours, prompts or student are not those that the policy was "
        "fitted on: collect records and calibrate again.",
        empty=NO_DRAFTS,
    ),
    queries=(Query(f"{mean(CONFIDENCE)} - {mean(CONFIDENCE, window=SHOWN)}", "{{cascade}}"),),
)

DISAGREEMENT = Panel(
    id=104,
    title="Expected disagreement among kept, and the promise",
    shape=Shape.LINES,
    unit=PART,
    width=8,
    lowest=0,
    dashed="promised",
    runbook=("QualityBoundBreached",),
    meaning=Meaning(
        reads="One less the mean confidence in kept drafts: what the policy itself expects to be "
        "wrong. Dashed: the bound that was certified when it was fitted (only policies with a "
        "target of disagreement have one). Cascades without a fitted policy are left out. No "
        "answer is checked for this: it is as good as the calibration.",
        act="Above its bound: prompts have moved to where the student is weaker. Raise the "
        "objective now, calibrate again with records of today.",
        empty="No draft was kept by a fitted policy in this time",
    ),
    queries=(
        Query(expected_disagreement(), "{{cascade}} expected"),
        Query(told("understudy_policy_disagreement_bound"), "{{cascade}} promised"),
    ),
)

# What the policy decided by its own words; a draft that was kept and held out was kept by it.
BY_ITSELF = "low_confidence|no_signal|invalid_structure|prompt_says_so|late_doubt"
KEPT = together(
    pace(REQUESTS, 'outcome="kept"'), pace("understudy_escalations_total", 'reason="holdout"')
)
JUDGED = together(
    pace(REQUESTS, 'outcome="kept"'),
    pace("understudy_escalations_total", 'reason="holdout"'),
    pace("understudy_deferrals_total", f'reason=~"{BY_ITSELF}"'),
)

KEPT_SHARE = Panel(
    id=107,
    title="Kept share, and what the policy expected",
    shape=Shape.LINES,
    unit=PART,
    width=12,
    lowest=0,
    highest=1,
    dashed="expected",
    meaning=Meaning(
        reads="Of the drafts that the policy judged, those it kept (those that chance held out "
        "among them), and dashed what it kept of the records it was certified on. Drafts that "
        "could not be had are left out.",
        act="Far from the dashes the traffic is not what the policy knows: its promise is about "
        "other requests. Calibrate again.",
        empty=NO_REQUESTS,
    ),
    queries=(
        Query(share(KEPT, JUDGED), "{{cascade}}"),
        Query(told("understudy_policy_kept_share"), "{{cascade}} expected"),
    ),
)

THRESHOLD = Panel(
    id=109,
    title="Threshold",
    shape=Shape.LINES,
    unit=PART,
    width=12,
    lowest=0,
    highest=1,
    meaning=Meaning(
        reads="The least merit with which a whole draft is kept. It moves with a new policy or a "
        "changed objective; objectives that steer themselves move it all the time, and there is no "
        "line where nothing is kept.",
        act="A step that nobody made: compare *Policies in force*; replicas may have started from "
        "different files. Of cascades that are steered see Objectives.",
        empty="No gateway tells a threshold",
    ),
    queries=(Query(told("understudy_threshold"), "{{cascade}}"),),
)

POLICIES = Panel(
    id=110,
    title="Policies in force",
    shape=Shape.TABLE,
    unit="short",
    width=12,
    runbook=("PolicyUncalibrated",),
    meaning=Meaning(
        reads="Policy and student version of each cascade, and how many replicas say so.",
        act="Two rows for a cascade that last longer than a roll-out: replicas disagree; start the "
        "older ones again.",
        empty="No gateway is scraped",
    ),
    queries=(
        Query(
            told("understudy_policy_info", by="cascade, version, student_version", how="count"),
            "Replicas",
        ),
    ),
)

POLICY_AGE = Panel(
    id=106,
    title="Age of the policy",
    shape=Shape.NUMBER,
    unit="s",
    width=6,
    steps=((30 * DAYS, YELLOW), (90 * DAYS, RED)),
    runbook=("PolicyStale",),
    meaning=Meaning(
        reads="How long ago each cascade's policy was fitted.",
        act="A policy is about the requests it was fitted on. After a month look at *Kept share* "
        "and *Drift*; calibrate again where they moved.",
        empty="No fitted policy: cascades run on the uncalibrated default",
    ),
    queries=(
        Query(
            f"time() - {told('understudy_policy_fitted_timestamp_seconds', how='min')}",
            "{{cascade}}",
        ),
    ),
)

CALIBRATED = Panel(
    id=111,
    title="Policy fitted",
    shape=Shape.NUMBER,
    unit="short",
    width=6,
    base=ORANGE,
    steps=((1, GREEN),),
    states={"0": ("uncalibrated", ORANGE), "1": ("fitted", GREEN)},
    runbook=("PolicyUncalibrated",),
    meaning=Meaning(
        reads="Whether confidence is a probability (*fitted*) or only an order (*uncalibrated*).",
        act="Uncalibrated: fit a policy with `understudy calibrate`. Until then nothing is "
        "promised about kept answers.",
        empty="No gateway is scraped",
    ),
    queries=(Query(told("understudy_policy_calibrated", how="min"), "{{cascade}}"),),
)

LATE_DOUBTS = Panel(
    id=112,
    title="Doubts about answers that were half out",
    shape=Shape.STACK,
    unit=PART,
    width=24,
    height=6,
    lowest=0,
    meaning=Meaning(
        reads="Streams that fell into doubt after their first words had gone out, as a share of "
        "answered requests, by what became of them: `never` (went on, marked), `continue` or "
        "`restart` (the teacher took over).",
        act="More than a few per cent: hold back more (`streaming.hold_tokens`). Many `never`: "
        "consider `handover: continue`.",
        empty="No stream fell into doubt in this time",
    ),
    queries=(
        Query(
            share_of_all(
                seen("understudy_late_doubts_total", by="handover"), rate(REQUESTS, ANSWERED)
            ),
            "{{handover}}",
        ),
    ),
)

BOARD = Board(
    uid="understudy-routing",
    title="Understudy / Routing",
    question="How often is the teacher asked and why, and does the policy still know its traffic.",
    since="now-6h",
    sections=(
        Section("How often, and why", (ESCALATION_RATE, REASONS)),
        Section("What could not be had", (DENIED, DENIED_SHARE)),
        Section("Confidence", (KEPT_HEAT, DEFERRED_HEAT)),
        Section("Does it still hold", (DISAGREEMENT, DRIFT, MEAN_CONFIDENCE)),
        Section("Against the policy", (KEPT_SHARE, THRESHOLD)),
        Section("Policies", (POLICIES, POLICY_AGE, CALIBRATED)),
        Section("Streams", (LATE_DOUBTS,)),
    ),
)
