"""Policies of every shape, for properties."""

from typing import Any

from hypothesis import strategies as st

from routing.calibration import Calibration, Logistic, PiecewiseLinear, Uncalibrated
from routing.model import LEAF, Average, Learnt, Linear, Score, Tree, Trees
from routing.policy import Checkpoint, Policy, PromptRule, Rule, StreamedRules
from routing.policy_file import Basis, Origin, Target
from routing.promise import head_start_of
from routing.prompt import SURFACE_NAMES, PromptModel, Surface, Terms
from routing.sampling import MAX_SAMPLES, is_greedy
from routing.signals import EVIDENCE_NAMES, SIGNAL_NAMES
from routing.vocabulary import Threshold

NUMBERS = st.floats(-100.0, 100.0)
SHARES = st.floats(0.0, 1.0)
GROUPS = st.sampled_from(["math", "law:eu", "x-1"])


@st.composite
def feature_names(draw: st.DrawFn) -> tuple[str, ...]:
    some = draw(st.lists(st.sampled_from(sorted(SIGNAL_NAMES)), max_size=4))
    more = draw(st.lists(st.sampled_from(["label=yes", "label=no", "group=math"]), max_size=2))
    return tuple(dict.fromkeys([draw(st.sampled_from(sorted(EVIDENCE_NAMES))), *some, *more]))


@st.composite
def linears(draw: st.DrawFn) -> Linear:
    names = draw(feature_names())
    n = len(names)
    weights = draw(st.lists(NUMBERS, min_size=n, max_size=n))
    defaults = draw(st.lists(SHARES, min_size=n, max_size=n))
    return Linear(names, tuple(weights), tuple(defaults), draw(NUMBERS), draw(st.booleans()))


@st.composite
def forests(draw: st.DrawFn) -> Trees:
    names = draw(feature_names())
    stumps = st.builds(
        lambda feature, threshold, missing, low, high: Tree(
            (feature, 0, 0), (threshold, 0.0, 0.0), (1, LEAF, LEAF), (2, LEAF, LEAF),
            (missing, False, False), (0.0, low, high),
        ),
        st.integers(0, len(names) - 1), SHARES, st.booleans(), NUMBERS, NUMBERS,
    )  # fmt: skip
    return Trees(names, tuple(draw(st.lists(stumps, min_size=1, max_size=3))), draw(NUMBERS))


LEARNT: st.SearchStrategy[Learnt] = st.one_of(
    linears(),
    forests(),
    st.lists(st.one_of(linears(), forests()), min_size=1, max_size=2).map(
        lambda models: Average(tuple(models))
    ),
)
SCORES = st.builds(
    lambda name, weight, intercept: Score((name,), (weight,), intercept),
    st.sampled_from(sorted(EVIDENCE_NAMES)),
    NUMBERS,
    NUMBERS,
)
CALIBRATIONS: st.SearchStrategy[Calibration] = st.one_of(
    st.just(Uncalibrated()),
    st.builds(Logistic, st.floats(0.0, 100.0), NUMBERS),
    st.builds(
        lambda pairs: PiecewiseLinear(
            tuple(sorted(score for score, _ in pairs)), tuple(sorted(share for _, share in pairs))
        ),
        st.lists(
            st.tuples(NUMBERS, SHARES), min_size=1, max_size=4, unique_by=lambda pair: pair[0]
        ),
    ),
)


@st.composite
def rules(draw: st.DrawFn, *, aborts: bool = False) -> Rule:
    threshold = draw(SHARES)
    return Rule(
        score=draw(st.one_of(SCORES, LEARNT)),
        calibration=draw(CALIBRATIONS),
        threshold=Threshold(threshold),
        abort_below=Threshold(draw(SHARES) * threshold if aborts else 0.0),
        by_group=draw(st.dictionaries(GROUPS, CALIBRATIONS, max_size=2)),
        gain=draw(st.none() | LEARNT),
    )


@st.composite
def prompt_models(draw: st.DrawFn) -> PromptModel:
    places = draw(st.lists(st.integers(0, 63), unique=True, max_size=5))
    n, width = len(places), len(SURFACE_NAMES)
    few = st.lists(NUMBERS, min_size=n, max_size=n).map(tuple)
    nine = st.lists(NUMBERS, min_size=width, max_size=width).map(tuple)
    scales = st.lists(st.floats(0.01, 10.0), min_size=width, max_size=width).map(tuple)
    return PromptModel(
        terms=Terms(64, tuple(places), draw(few), draw(few)),
        surface=draw(st.none() | st.builds(Surface, nine, scales, nine)),
        groups=draw(st.dictionaries(GROUPS, NUMBERS, max_size=2)),
        intercept=draw(NUMBERS),
    )


def _policy(**parts: Any) -> Policy:
    """Several drafts wherever a rule reads how far they agree, and then no greedy ones."""
    samples = parts.pop("samples")
    if parts["whole"].is_agreement_read:
        samples = max(samples, 2)
    if samples > 1 and is_greedy(parts["sampling"] or {}):
        parts["sampling"] = None
    return Policy("3f2a", samples=samples, **parts)


POLICIES = st.builds(
    _policy,
    samples=st.integers(1, MAX_SAMPLES),
    whole=rules(),
    streamed=st.builds(
        lambda tokens, each, end, arguments: StreamedRules(
            tuple(Checkpoint(count, each) for count in sorted(tokens)), end, arguments
        ),
        st.sets(st.integers(1, 64), min_size=1, max_size=3),
        rules(aborts=True),
        rules(aborts=True),
        rules(),
    ),
    prompt=st.none() | st.builds(PromptRule, prompt_models(), NUMBERS),
    sampling=st.none()
    | st.just({})
    | st.just({"temperature": 0.0})
    | st.just({"temperature": 0.7, "logit_bias": {"7": -100}}),
)

BASIS = Basis(Target("quality", 0.05, 0.95), None, 900)
ORIGIN = Origin(
    cascade="assistant",
    student_version="small-2026-11-q4",
    basis=Basis(Target("quality", 0.05, 0.95), 0.048, 1200),
    date="2026-11-30",
    data_sha256="0123456789abcdef" * 4,
    streamed=BASIS,
    evidence={"observed": [0.5, None], "kept_share": 0.7},
    head_start=head_start_of([0.2, 0.9], [(0.95, 0.0), (0.95, 0.1), (0.5, 1.0), (0.1, 0.0)]),
)
