"""The dashboard of learning: pairs on their way, what is learnt, and the generation in force."""

from grafana.boards import Board, Section
from grafana.panels import BLUE, GREEN, ORANGE, RED, Meaning, Panel, Query, Shape
from grafana.queries import (
    PACE,
    everywhere,
    expected_disagreement,
    increase,
    pace,
    rate,
    share,
    together,
    told,
)

MINUTES = 60
NO_PAIRS = "No pair was written: nothing was escalated, or pairs are not kept"
NO_JOURNAL = "No gateway with a journal is scraped"

PAIRS = Panel(
    id=301,
    title="Pairs on their way",
    shape=Shape.LINES,
    unit="cps",
    width=12,
    lowest=0,
    meaning=Meaning(
        reads="Pairs a second that reached the journal (`written`) and the store (`shipped`). The "
        "lines lie on each other; after an outage of the store `shipped` runs above for a while.",
        act="`shipped` stays at 0 while `written` does not: Redis is not to be had, see *Age of "
        "the oldest waiting pair*.",
        empty=NO_PAIRS,
    ),
    queries=(
        Query(rate("understudy_pairs_written_total"), "written"),
        Query(rate("understudy_pairs_shipped_total"), "shipped"),
    ),
)

LOST = Panel(
    id=303,
    title="Pairs lost",
    shape=Shape.BARS,
    unit="short",
    width=6,
    decimals=0,
    lowest=0,
    steps=((1, RED),),
    runbook=("PairsLost", "StoredCompletionsLost", "RedactorFailing"),
    meaning=Meaning(
        reads="Pairs of the time shown that are gone for good, by cause; contents that were not "
        "written because the redactor failed; and completions that clients wanted stored.",
        act="`journal_full`: free the disk or mend Redis. `write_failed`: the disk refuses. "
        "`too_large`: a single pair above the limit. `redactor_failed`: the log has its error.",
        empty="No pair was lost",
    ),
    queries=(
        Query(f"{increase('understudy_pairs_lost_total', by='cause')} > 0", "{{cause}}"),
        Query(
            f"{increase('understudy_pair_contents_dropped_total', by='cause')} > 0",
            "{{cause}} (content)",
        ),
        Query(
            increase("understudy_stored_completions_total", 'fate="lost"') + " > 0",
            "stored completions",
        ),
    ),
)

GONE = Panel(
    id=312,
    title="Pairs gone on purpose",
    shape=Shape.BARS,
    unit="short",
    width=6,
    decimals=0,
    lowest=0,
    base=BLUE,
    meaning=Meaning(
        reads="Pairs of the time shown that left the store by its bounds (`age`, `size`), or "
        "because somebody asked for it (`deleted`).",
        act="`size` or `age` before they were exported: export more often, or raise "
        "`pairs.max_bytes` and `pairs.max_age_days`.",
        empty="No pair went",
    ),
    queries=(
        Query(f"{increase('understudy_pairs_expired_total', by='cause')} > 0", "{{cause}}"),
        Query(f"{increase('understudy_pairs_deleted_total')} > 0", "deleted"),
    ),
)

STORED = Panel(
    id=304,
    title="Pairs in the store, and not exported yet",
    shape=Shape.LINES,
    unit="short",
    width=12,
    lowest=0,
    meaning=Meaning(
        reads="Pairs in each cascade's stream, and those that the export has not read. Without an "
        "export so far there is no second line.",
        act="`not exported` only grows: the export job does not run. Pairs that expire before they "
        "are read are lost to training.",
        empty="No pair is stored, or the store is not to be had",
    ),
    queries=(
        Query(told("understudy_pairs_stored"), "{{cascade}}"),
        Query(told("understudy_pairs_unread"), "{{cascade}} not exported"),
    ),
)

WAITING = f"sum by (instance) ({everywhere('understudy_journal_unshipped_bytes')})"
KEPT = f"sum by (instance) ({everywhere('understudy_journal_kept_bytes')})"

JOURNAL = Panel(
    id=302,
    title="Journal",
    shape=Shape.LINES,
    unit="bytes",
    width=12,
    lowest=0,
    runbook=("JournalGrowing", "JournalFilling"),
    meaning=Meaning(
        reads="Bytes on the gateways' disks: `waiting` for the store, and `kept` until the store "
        "says they are on its disk. One line a replica.",
        act="`waiting` grows: Redis is not to be had or refuses (`store_failed` in the log). "
        "`kept` grows: Redis has no append-only file.",
        empty=NO_JOURNAL,
    ),
    queries=(
        Query(WAITING, "{{instance}} waiting"),
        Query(KEPT, "{{instance}} kept"),
    ),
)

OLDEST = Panel(
    id=305,
    title="Age of the oldest waiting pair",
    shape=Shape.LINES,
    unit="s",
    width=8,
    lowest=0,
    steps=((5 * MINUTES, RED),),
    runbook=("JournalGrowing", "LedgerWaiting"),
    meaning=Meaning(
        reads="How long the oldest pair has waited for the store, and the oldest sums of the "
        "ledger for the journal, at the worst replica. Near 0 all is well.",
        act="Above five minutes: Redis is not to be had, or refuses. Nothing is lost while the "
        "journal has room.",
        empty=NO_JOURNAL,
    ),
    queries=(
        Query(f"max({everywhere('understudy_journal_oldest_unshipped_seconds')})", "oldest pair"),
        Query(
            f"max({everywhere('understudy_ledger_waiting_seconds')})", "oldest sums of the ledger"
        ),
    ),
)

HEALTH = Panel(
    id=306,
    title="Journal and store",
    shape=Shape.STATES,
    unit="short",
    width=8,
    base=RED,
    steps=((1, GREEN),),
    states={"0": ("no", RED), "1": ("yes", GREEN)},
    runbook=("JournalWithoutRoom", "StoreEvicts", "StoreNotDurable"),
    meaning=Meaning(
        reads="Green is good. `has room`: every replica can write pairs. `on disk`: the store says "
        "so of the last pair; red also before the first one. `evicts nothing`: it does not throw "
        "pairs away.",
        act="`has room`: free the disk. `on disk`: give Redis `appendonly yes`. `evicts nothing`: "
        "set `maxmemory-policy noeviction`.",
        empty=NO_JOURNAL,
    ),
    queries=(
        Query(f"min({everywhere('understudy_journal_has_room')})", "has room"),
        Query(f"min({everywhere('understudy_store_durable')})", "on disk"),
        Query(f"1 - max({everywhere('understudy_store_evicts')})", "evicts nothing"),
    ),
)

TROUBLE = Panel(
    id=313,
    title="Store refused, journal damaged",
    shape=Shape.LINES,
    unit="short",
    width=8,
    lowest=0,
    runbook=("JournalDamaged",),
    meaning=Meaning(
        reads="Failed attempts to write to the store (each is tried again), and ranges of the "
        "journal that cannot be read, within each interval. `torn` is the end that a crash "
        "leaves: no loss.",
        act="`damaged`: the bytes are in `STATE_DIR/damaged/`; suspect the disk.",
        empty=NO_JOURNAL,
    ),
    queries=(
        Query(
            f"sum(increase({everywhere('understudy_store_errors_total')}[{PACE}]))", "store refused"
        ),
        Query(
            f"sum by (kind) (increase({everywhere('understudy_journal_damaged_total')}[{PACE}]))",
            "journal {{kind}}",
        ),
    ),
)

LEDGER = Panel(
    id=315,
    title="Ledger on its way",
    shape=Shape.LINES,
    unit="cps",
    width=12,
    lowest=0,
    meaning=Meaning(
        reads="Records of the ledger a second that reached the journal (`written`) and Redis "
        "(`shipped`). `understudy bill` reads what was shipped.",
        act="`shipped` behind: the bill of today is too low until it has caught up; nothing is "
        "counted twice.",
        empty="No gateway with a ledger is scraped",
    ),
    queries=(
        Query(
            f"sum(rate({everywhere('understudy_ledger_records_written_total')}[{PACE}]))", "written"
        ),
        Query(
            f"sum(rate({everywhere('understudy_ledger_records_shipped_total')}[{PACE}]))", "shipped"
        ),
    ),
)

DRAFTS = Panel(
    id=307,
    title="Drafts finished off the path",
    shape=Shape.STACK,
    unit="cps",
    width=12,
    lowest=0,
    meaning=Meaning(
        reads="Abandoned drafts that were finished to learn from (`audit.complete_drafts`, and "
        "those of the holdout), a second: `completed`, `failed`.",
        act="Many `failed`: the student has no room beside its traffic. Only whole drafts tell how "
        "long the student would have been, and can be a rejected answer.",
        empty="No draft was finished off the path: see audit.complete_drafts",
    ),
    queries=(Query(rate("understudy_drafts_completed_total", by="outcome"), "{{outcome}}"),),
)

OBSERVATIONS = Panel(
    id=308,
    title="Observations behind the teacher-alone estimate",
    shape=Shape.BARS,
    unit="short",
    width=8,
    decimals=0,
    lowest=0,
    base=ORANGE,
    steps=((20, GREEN),),
    meaning=Meaning(
        reads="Requests of the time shown of which both models' lengths are known: `sample` from "
        "kept drafts chosen at random, `escalations` from drafts that were not kept.",
        act="Fewer than 20 of `sample`: the estimate rests on escalations, which are harder "
        "requests. Raise `audit.holdout`.",
        empty="Nothing was observed: no holdout, and no whole draft beside a teacher's answer",
    ),
    queries=(
        Query(
            increase("understudy_baseline_observations_total", by="cascade, basis"),
            "{{cascade}} {{basis}}",
        ),
    ),
)

KEPT_DRAFTS = pace("understudy_requests_total", 'outcome="kept"')
HELD_OUT_DRAFTS = pace("understudy_escalations_total", 'reason="holdout"')
HELD_OUT = rate("understudy_escalations_total", 'reason="holdout"', by="cascade")

HOLDOUT = Panel(
    id=314,
    title="Holdout",
    shape=Shape.LINES,
    unit="percentunit",
    width=8,
    lowest=0,
    meaning=Meaning(
        reads="Drafts that were good enough and that a coin gave to the teacher all the same, as a "
        "share of those good enough. They measure what is saved, and cost the teacher's price.",
        act="Far below `audit.holdout`: the teacher has no room, or tenants may not escalate. "
        "docs/savings.md says how many are needed.",
        empty="No draft was good enough in this time",
    ),
    queries=(Query(share(HELD_OUT, together(KEPT_DRAFTS, HELD_OUT_DRAFTS)), "{{cascade}}"),),
)

RATIO = Panel(
    id=309,
    title="Teacher's length against the student's",
    shape=Shape.LINES,
    unit="short",
    width=8,
    decimals=2,
    dashed="low|high",
    meaning=Meaning(
        reads="Output tokens that the teacher writes where the student writes one, with its 95% "
        "interval dashed. At 1 both write as much.",
        act="Far above 1: the student is terser, and the saving is larger than prices alone say. "
        "A wide interval: more holdout, or more time.",
        empty="Not learnt yet: no holdout, and no whole draft beside a teacher's answer",
    ),
    queries=tuple(
        Query(
            told("understudy_teacher_ratio", 'part="output"', f'bound="{bound}"', how="avg"),
            f"{{{{cascade}}}} {bound}".replace(" estimate", ""),
        )
        for bound in ("low", "estimate", "high")
    ),
)

GENERATION = Panel(
    id=310,
    title="Generation in force",
    shape=Shape.TABLE,
    unit="short",
    width=12,
    runbook=(
        "RolledBack",
        "RolloutUnwatched",
        "GenerationsRefused",
        "GenerationsDiffer",
        "RegistryAway",
    ),
    meaning=Meaning(
        reads="Each cascade's student version (its generation) with the policy that is bound to "
        "it, and how many replicas run it.",
        act="Within seconds of a promotion or a rollback all replicas have the same version. "
        "Another one still there: those replicas refuse the state, or do not reach Redis. "
        "`understudy distill status` says which.",
        empty="No gateway is scraped",
    ),
    queries=(
        Query(
            told("understudy_policy_info", by="cascade, student_version, version", how="count"),
            "Replicas",
        ),
    ),
)

BOUND = Panel(
    id=311,
    title="Disagreement bound of the generation",
    shape=Shape.LINES,
    unit="percentunit",
    width=12,
    lowest=0,
    dashed="certified",
    meaning=Meaning(
        reads="Dashed: the bound on disagreement among kept answers that the policy in force was "
        "certified with. Beside it what it expects of today's traffic. A better generation keeps "
        "more at the same bound.",
        act="Expected above certified: see Routing. A new generation with a worse bound should not "
        "have been promoted.",
        empty="No kept draft, and no policy with a target of disagreement",
    ),
    queries=(
        Query(told("understudy_policy_disagreement_bound"), "{{cascade}} certified"),
        Query(expected_disagreement(), "{{cascade}} expected"),
    ),
)

BOARD = Board(
    uid="understudy-flywheel",
    title="Understudy / Flywheel",
    question="Are pairs kept and shipped, what is learnt from them, and which generation serves.",
    since="now-24h",
    sections=(
        Section("Pairs", (PAIRS, LOST, GONE)),
        Section("Store and journal", (STORED, JOURNAL)),
        Section("Do they reach the store", (OLDEST, HEALTH, TROUBLE)),
        Section("Off the path", (LEDGER, DRAFTS)),
        Section("What is learnt about the teacher", (OBSERVATIONS, HOLDOUT, RATIO)),
        Section("Generations", (GENERATION, BOUND)),
    ),
)
