import json
import math
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import routing
from routing.calibration import Logistic, PiecewiseLinear, Uncalibrated
from routing.errors import CalibrationError, PolicyError
from routing.model import Average, Linear, Score, Tree, Trees
from routing.model_file import MAX_TREES
from routing.policy import (
    Checkpoint,
    Policy,
    PromptRule,
    Rule,
    StreamedRules,
    uncalibrated_streamed,
)
from routing.policy_file import (
    SCHEMA_VERSION,
    origin_from_document,
    policy_document,
    policy_from_document,
)
from routing.prompt import Prompt, PromptModel, Surface, Terms
from routing.signals import SIGNAL_NAMES
from routing.vocabulary import Threshold
from tests.routing.policies import ORIGIN, POLICIES

ABSENT = object()
LARGEST = math.nextafter(math.inf, 0.0)
TOO_LONG = 10**400  # JSON has no largest number, floats do
NO_NUMBERS: list[object] = [
    *(None, "0.5", True, [0.5], {}, math.nan, math.inf, -math.inf),
    TOO_LONG,
]

DOCUMENT = """
{
  "schema_version": 2,
  "cascade": "assistant",
  "student_version": "small-2026-11-q4",
  "sampling": null,
  "rule": {
    "score": {
      "signals": ["min_margin", "mean_probability"],
      "weights": [2, 0.5],
      "intercept": -0.25
    },
    "calibration": {"kind": "logistic", "slope": 3, "intercept": -1.5}
  },
  "threshold": 0.75,
  "target": {"kind": "quality", "value": 0.05, "with_probability": 0.95},
  "bound": 0.048,
  "n": 1200,
  "date": "2026-11-30",
  "data_sha256": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
}
"""
PIECEWISE: dict[str, object] = {
    "kind": "piecewise_linear",
    "scores": [0, 0.5],
    "confidences": [0.25, 1],
}


def document(**changes: object) -> dict[str, object]:
    """The valid document with parts replaced or taken away."""
    return changed(DOCUMENT, **changes)


def changed(text: str, **changes: object) -> dict[str, object]:
    """What the text says with parts replaced, or taken away where the new value is ABSENT.

    ``rule__score`` reaches into ``rule``.
    """
    whole: dict[str, object] = json.loads(text)
    for path, value in changes.items():
        *parents, last = path.split("__")
        inner = whole
        for parent in parents:
            child = inner[parent]
            assert isinstance(child, dict)
            inner = child
        if value is ABSENT:
            del inner[last]
        else:
            inner[last] = value
    return whole


def read(parsed: object) -> Policy:
    return policy_from_document(
        parsed, version="3f2a", cascade="assistant", student_version="small-2026-11-q4"
    )


def complaint(parsed: object) -> str:
    with pytest.raises(PolicyError) as caught:
        read(parsed)
    return str(caught.value)


def begins_with(message: str, path: str) -> bool:
    return message.startswith((f"{path}: ", f"{path} "))


def shown(value: object) -> str:
    """The value as a test's name has it."""
    return "absent" if value is ABSENT else "10**400" if value == TOO_LONG else repr(value)[:40]


# --- the file ---


def test_valid_document_becomes_the_policy_it_describes() -> None:
    assert read(document()) == Policy(
        version="3f2a",
        whole=Rule(
            Score(("min_margin", "mean_probability"), (2.0, 0.5), intercept=-0.25),
            Logistic(slope=3.0, intercept=-1.5),
            Threshold(0.75),
        ),
        is_calibrated=True,
    )


def test_piecewise_linear_calibration_is_read() -> None:
    policy = read(document(rule__calibration=PIECEWISE))
    calibration = policy.whole.calibration
    assert calibration == PiecewiseLinear(scores=(0.0, 0.5), confidences=(0.25, 1.0))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("threshold", 0),
        ("threshold", 1),
        ("bound", None),
        ("bound", 0),
        ("bound", LARGEST),
        ("bound", -LARGEST),
        ("n", 1),
        ("rule__score__signals", sorted(SIGNAL_NAMES)[:2]),
        ("rule__score__weights", [0, -1.5]),
        ("rule__score__weights", [LARGEST, 0]),
        ("rule__score__intercept", 0),
        ("rule__calibration__slope", 0),
        ("date", "2028-02-29"),
        ("date", "2026-12-31"),
        ("date", "2026-01-01"),
    ],
)
def test_values_at_the_edge_of_what_is_allowed_are_read(path: str, value: object) -> None:
    read(document(**{path: value}))


@pytest.mark.parametrize("parsed", [None, [], "policy", 1, [["schema_version", 1]]])
def test_document_that_is_no_object_is_refused(parsed: object) -> None:
    assert begins_with(complaint(parsed), "policy")


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("policy", "schema_version"),
        ("policy", "cascade"),
        ("policy", "student_version"),
        ("policy", "rule"),
        ("policy", "sampling"),
        ("rule", "calibration"),
        ("policy", "threshold"),
        ("policy", "target"),
        ("policy", "bound"),
        ("policy", "n"),
        ("policy", "date"),
        ("policy", "data_sha256"),
        ("target", "kind"),
        ("target", "value"),
        ("target", "with_probability"),
        ("rule.score", "signals"),
        ("rule.score", "weights"),
        ("rule.score", "intercept"),
        ("rule.calibration", "slope"),
        ("rule.calibration", "intercept"),
    ],
)
def test_missing_key_is_named(path: str, key: str) -> None:
    where = key if path == "policy" else f"{path.replace('.', '__')}__{key}"
    assert complaint(document(**{where: ABSENT})) == f"{path}: lacks {key}"


@pytest.mark.parametrize("key", ["scores", "confidences"])
def test_missing_key_of_a_piecewise_linear_calibration_is_named(key: str) -> None:
    less = {name: value for name, value in PIECEWISE.items() if name != key}
    assert complaint(document(rule__calibration=less)) == f"rule.calibration: lacks {key}"


def test_all_missing_keys_are_named_at_once_and_in_order() -> None:
    assert complaint(document(n=ABSENT, bound=ABSENT)) == "policy: lacks bound, n"


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("policy", "comment"),
        ("target", "target__comment"),
        ("rule.score", "rule__score__comment"),
        ("rule.calibration", "rule__calibration__comment"),
        ("rule.calibration", "rule__calibration__scores"),
    ],
)
def test_key_too_many_is_named(path: str, key: str) -> None:
    name = key.rpartition("__")[2]
    assert complaint(document(**{key: 1})) == f"{path}: has unknown keys: {name}"


def test_keys_that_are_no_text_are_refused_like_any_other() -> None:
    parsed: dict[object, object] = {"also": 1, 7: 1}
    assert complaint(parsed | document()) == "policy: has unknown keys: 7, also"


DEFECTS: list[tuple[str, object, str]] = [
    # where, what stands there, path that the message begins with
    ("schema_version", SCHEMA_VERSION - 1, "schema_version"),
    ("schema_version", SCHEMA_VERSION + 1, "schema_version"),
    ("schema_version", "2", "schema_version"),
    ("schema_version", None, "schema_version"),
    ("schema_version", True, "schema_version"),
    ("cascade", "Assistant", "cascade"),
    ("cascade", "", "cascade"),
    ("cascade", None, "cascade"),
    ("student_version", "small-2026-11-q5", "student_version"),
    ("student_version", None, "student_version"),
    ("threshold", math.nextafter(0.0, -1.0), "threshold"),
    ("threshold", math.nextafter(1.0, 2.0), "threshold"),
    *(("threshold", value, "threshold") for value in NO_NUMBERS),
    ("target", None, "target"),
    ("target", [], "target"),
    ("target__kind", None, "target.kind"),
    ("target__kind", 1, "target.kind"),
    *(("target__value", value, "target.value") for value in NO_NUMBERS),
    *(("target__with_probability", value, "target.with_probability") for value in NO_NUMBERS),
    *(("bound", value, "bound") for value in NO_NUMBERS if value is not None),
    ("n", 0, "n"),
    ("n", -1, "n"),
    ("n", True, "n"),
    ("n", 1200.0, "n"),
    ("n", "1200", "n"),
    ("n", None, "n"),
    ("date", None, "date"),
    ("date", 20261130, "date"),
    ("date", "yesterday", "date"),
    ("date", "2026-1-30", "date"),
    ("date", "2026-11-30T00:00:00Z", "date"),
    ("date", "2026-11-30\n", "date"),
    ("date", " 2026-11-30", "date"),
    ("date", "2026-00-30", "date"),
    ("date", "2026-13-30", "date"),
    ("date", "2026-11-00", "date"),
    ("date", "2026-11-32", "date"),
    ("date", "\u0662\u0660\u0662\u0666-11-30", "date"),
    ("data_sha256", None, "data_sha256"),
    ("data_sha256", "", "data_sha256"),
    ("data_sha256", "0" * 63, "data_sha256"),
    ("data_sha256", "0" * 65, "data_sha256"),
    ("data_sha256", "A" * 64, "data_sha256"),
    ("data_sha256", "g" * 64, "data_sha256"),
    ("data_sha256", "0" * 64 + "\n", "data_sha256"),
    ("rule__score", None, "rule.score"),
    ("rule__score", [], "rule.score"),
    ("rule__score__signals", [], "rule.score.signals"),
    ("rule__score__signals", None, "rule.score.signals"),
    ("rule__score__signals", "min_margin", "rule.score.signals"),
    ("rule__score__signals", {"min_margin": 1}, "rule.score.signals"),
    ("rule__score__signals", ["min_margin", "mood"], "rule.score.signals[1]"),
    ("rule__score__signals", ["MIN_MARGIN", "mean_probability"], "rule.score.signals[0]"),
    ("rule__score__signals", ["min_margin", 1], "rule.score.signals[1]"),
    ("rule__score__signals", [["min_margin"], "min_margin"], "rule.score.signals[0]"),
    ("rule__score__signals", ["min_margin", "min_margin"], "rule.score.signals"),
    ("rule__score__weights", [2], "rule.score.weights"),
    ("rule__score__weights", [2, 0.5, 1], "rule.score.weights"),
    ("rule__score__weights", [], "rule.score.weights"),
    ("rule__score__weights", 2, "rule.score.weights"),
    ("rule__score__weights", "25", "rule.score.weights"),
    ("rule__score__weights", {"min_margin": 2}, "rule.score.weights"),
    *(("rule__score__weights", [2, value], "rule.score.weights[1]") for value in NO_NUMBERS),
    *(("rule__score__intercept", value, "rule.score.intercept") for value in NO_NUMBERS),
    ("rule__calibration", None, "rule.calibration"),
    ("rule__calibration", "logistic", "rule.calibration"),
    ("rule__calibration", [], "rule.calibration"),
    ("rule__calibration__kind", ABSENT, "rule.calibration.kind"),
    ("rule__calibration__kind", None, "rule.calibration.kind"),
    ("rule__calibration__kind", "isotonic", "rule.calibration.kind"),
    ("rule__calibration__kind", ["logistic"], "rule.calibration.kind"),
    ("rule__calibration__kind", "piecewise_linear", "rule.calibration"),
    ("rule__calibration__slope", -0.5, "rule.calibration.slope"),
    *(("rule__calibration__slope", value, "rule.calibration.slope") for value in NO_NUMBERS),
    *(
        ("rule__calibration__intercept", value, "rule.calibration.intercept")
        for value in NO_NUMBERS
    ),
]


@pytest.mark.parametrize(("where", "value", "path"), DEFECTS, ids=shown)
def test_single_defect_is_refused_by_its_path(where: str, value: object, path: str) -> None:
    assert begins_with(complaint(document(**{where: value})), path)


PIECEWISE_DEFECTS: list[tuple[str, object, str]] = [
    ("scores", [], "rule.calibration"),
    ("scores", [0], "rule.calibration"),
    ("scores", 0, "rule.calibration.scores"),
    ("scores", "01", "rule.calibration.scores"),
    ("scores", [0.5, 0], "rule.calibration.scores"),
    ("scores", [0.5, 0.5], "rule.calibration.scores"),
    *(("scores", [0, value], "rule.calibration.scores[1]") for value in NO_NUMBERS),
    ("confidences", [0.25], "rule.calibration"),
    ("confidences", None, "rule.calibration.confidences"),
    ("confidences", [1, 0.25], "rule.calibration.confidences"),
    ("confidences", [-0.1, 1], "rule.calibration.confidences"),
    ("confidences", [0.25, 1.1], "rule.calibration.confidences"),
    *(("confidences", [0.25, value], "rule.calibration.confidences[1]") for value in NO_NUMBERS),
    ("slope", 1, "rule.calibration"),
]


@pytest.mark.parametrize(("key", "value", "path"), PIECEWISE_DEFECTS, ids=shown)
def test_single_defect_of_a_piecewise_linear_calibration_is_refused_by_its_path(
    key: str, value: object, path: str
) -> None:
    parsed = document(rule__calibration={**PIECEWISE, key: value})
    assert begins_with(complaint(parsed), path)


@pytest.mark.parametrize("value", [Decimal("0.5"), 1j])
def test_numbers_that_json_does_not_have_are_refused(value: object) -> None:
    assert begins_with(complaint(document(threshold=value)), "threshold")


@pytest.mark.parametrize(
    ("weights", "intercept"),
    [([1e308, 1e308], 0), ([-1e308, -1e308], 0), ([1e308, 0], 1e308), ([-1e308, 0], -1e308)],
)
def test_weights_whose_sum_can_overflow_are_refused(weights: list[float], intercept: float) -> None:
    parsed = document(rule__score__weights=weights, rule__score__intercept=intercept)
    assert begins_with(complaint(parsed), "rule.score.weights")


def test_policy_of_another_cascade_or_student_says_both_names_and_the_way_out() -> None:
    for key, ours in (("cascade", "assistant"), ("student_version", "small-2026-11-q4")):
        message = complaint(document(**{key: "theirs"}))
        assert "'theirs'" in message
        assert repr(ours) in message
        assert (
            "`understudy calibrate RECORDS --cascade assistant --student-version "
            "small-2026-11-q4 --target quality=0.99 --out policy.json`"
        ) in message
        assert "remove `policy` to run uncalibrated" in message


def test_policy_of_another_schema_says_what_to_run_whatever_else_is_wrong() -> None:
    for parsed in ({"schema_version": 1}, document(schema_version=1, cascade="theirs")):
        message = complaint(parsed)
        assert message.startswith("schema_version: this gateway reads 2, the file has 1: ")
        assert "`understudy calibrate RECORDS --cascade assistant --student-version " in message


# --- the part of the file about streams ---

PREFIX = """
{
  "tokens": 8,
  "rule": {
    "score": {"signals": ["low_probability"], "weights": [1], "intercept": 0},
    "calibration": {"kind": "logistic", "slope": 4, "intercept": -2}
  },
  "threshold": 0.75,
  "abort_below": 0.5
}
"""
PREFIX_RULE = Rule(
    Score(("low_probability",), (1.0,)), Logistic(4.0, -2.0), Threshold(0.75), Threshold(0.5)
)


def streaming(**changes: object) -> dict[str, object]:
    """The valid document with rules for streams, and parts of these replaced or taken away."""
    streamed: dict[str, object] = {
        "checkpoints": prefix(),
        "end": changed(PREFIX, tokens=ABSENT, threshold=1),
        "arguments": changed(PREFIX, tokens=ABSENT, abort_below=ABSENT),
        "target": {"kind": "quality", "value": 0.05, "with_probability": 0.95},
        "bound": None,
        "n": 900,
    }
    inner = {f"streamed__{path}": value for path, value in changes.items()}
    return document(streamed=streamed, **inner)


def prefix(**changes: object) -> list[object]:
    """Two checkpoints, with parts of the second replaced or taken away."""
    return [json.loads(PREFIX), changed(PREFIX, **{"tokens": 16, **changes})]


def test_rules_for_streams_are_read() -> None:
    policy = read(streaming())
    assert policy.streamed == StreamedRules(
        checkpoints=(Checkpoint(8, PREFIX_RULE), Checkpoint(16, PREFIX_RULE)),
        end=replace(PREFIX_RULE, threshold=Threshold(1.0)),
        arguments=replace(PREFIX_RULE, abort_below=Threshold(0.0)),
        is_calibrated=True,
    )
    assert replace(policy, streamed=uncalibrated_streamed()) == read(document())


def test_file_shown_in_the_readme_is_read() -> None:
    page = (Path(routing.__file__).parent / "README.md").read_text(encoding="utf-8")
    (shown_file,) = re.findall(r"^```json\n(.+?)^```", page, re.DOTALL | re.MULTILINE)
    assert read(json.loads(shown_file)).streamed.is_calibrated


def test_file_that_says_nothing_of_streams_leaves_them_to_the_default() -> None:
    assert read(document()).streamed == uncalibrated_streamed()


@pytest.mark.parametrize("abort_below", [0, 0.75])
def test_bound_of_aborting_at_its_edges_is_read(abort_below: float) -> None:
    read(streaming(end__threshold=0.75, end__abort_below=abort_below))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"end": ABSENT}, "streamed: lacks end"),
        ({"arguments": ABSENT}, "streamed: lacks arguments"),
        ({"checkpoints": ABSENT}, "streamed: lacks checkpoints"),
        ({"n": ABSENT, "bound": ABSENT}, "streamed: lacks bound, n"),
        ({"target": ABSENT}, "streamed: lacks target"),
        ({"threshold": 1}, "streamed: has unknown keys: threshold"),
        ({"end__abort_below": ABSENT}, "streamed.end: lacks abort_below"),
        ({"end__tokens": 64}, "streamed.end: has unknown keys: tokens"),
        ({"arguments__rule": ABSENT}, "streamed.arguments: lacks rule"),
        # Arguments are judged once they are complete: there is nothing to abort.
        ({"arguments__abort_below": 0}, "streamed.arguments: has unknown keys: abort_below"),
        ({"target__kind": ABSENT}, "streamed.target: lacks kind"),
        ({"checkpoints": prefix(tokens=ABSENT)}, "streamed.checkpoints[1]: lacks tokens"),
        (
            {"checkpoints": prefix(rule__calibration={"kind": "logistic", "slope": 1})},
            "streamed.checkpoints[1].rule.calibration: lacks intercept",
        ),
    ],
)
def test_keys_missing_or_too_many_in_rules_for_streams_are_named(
    changes: dict[str, object], message: str
) -> None:
    assert complaint(streaming(**changes)) == message


STREAMED_DEFECTS: list[tuple[str, object, str]] = [
    ("n", 0, "n"),
    ("bound", "none", "bound"),
    ("target__kind", 1, "target.kind"),
    ("target__value", None, "target.value"),
    ("end", [], "end"),
    ("end__threshold", 1.5, "end.threshold"),
    ("end__abort_below", None, "end.abort_below"),
    ("end__abort_below", -0.5, "end.abort_below"),
    ("end__rule__score", 1, "end.rule.score"),
    ("end__rule__score__signals", ["mood"], "end.rule.score.signals[0]"),
    ("end__rule__calibration__slope", -1, "end.rule.calibration.slope"),
    ("arguments", None, "arguments"),
    ("arguments__rule__calibration__kind", "isotonic", "arguments.rule.calibration.kind"),
    ("checkpoints", None, "checkpoints"),
    ("checkpoints", {"8": {}}, "checkpoints"),
    ("checkpoints", [], "checkpoints"),
    ("checkpoints", [None], "checkpoints[0]"),
    *(("checkpoints", prefix(tokens=each), "checkpoints") for each in (1, 7, 8)),
    *(("checkpoints", prefix(tokens=each), "checkpoints[1].tokens") for each in (0, 8.5, True)),
    ("checkpoints", prefix(abort_below=0.8), "checkpoints[1].abort_below"),
    ("checkpoints", prefix(threshold="high"), "checkpoints[1].threshold"),
]


@pytest.mark.parametrize(("where", "value", "path"), STREAMED_DEFECTS, ids=shown)
def test_single_defect_in_rules_for_streams_is_refused_by_its_path(
    where: str, value: object, path: str
) -> None:
    assert begins_with(complaint(streaming(**{where: value})), f"streamed.{path}")


def test_calibration_of_a_streams_rule_that_is_none_is_called_so() -> None:
    with pytest.raises(CalibrationError):
        read(streaming(end__rule__calibration__slope=-1))


# --- whatever stands there ---


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    ),
    st.sampled_from(sorted([*json.loads(DOCUMENT), "streamed"])),
)
def test_whatever_stands_in_the_file_is_read_or_refused_with_a_policy_error(
    value: object, key: str
) -> None:
    try:
        read(document(**{key: value}))
    except PolicyError:
        return
    assert key in {"threshold", "bound", "n", "sampling"}


# --- models ---

LINEAR: dict[str, object] = {
    "kind": "linear",
    "features": ["min_margin", "label=yes", "group=math"],
    "weights": [1, 0.5, 0.25],
    "defaults": [0.5, 0, 0],
    "intercept": 0.125,
    "scale": "log_odds",
}
TREE: dict[str, object] = {
    "feature": [1, 0, 0],
    "threshold": [0.5, 0, 0],
    "left": [1, -1, -1],
    "right": [2, -1, -1],
    "missing_left": [True, False, False],
    "value": [0, 0.25, -0.25],
}
TREES: dict[str, object] = {
    "kind": "trees",
    "features": ["finished", "min_margin"],
    "base": 0.5,
    "trees": [TREE],
}
LEARNT_LINEAR = Linear(
    ("min_margin", "label=yes", "group=math"),
    (1.0, 0.5, 0.25),
    (0.5, 0.0, 0.0),
    0.125,
    is_logit=True,
)
LEARNT_TREES = Trees(
    ("finished", "min_margin"),
    (
        Tree(
            (1, 0, 0),
            (0.5, 0.0, 0.0),
            (1, -1, -1),
            (2, -1, -1),
            (True, False, False),
            (0.0, 0.25, -0.25),
        ),
    ),
    0.5,
)


def learnt(model: object, **more: object) -> dict[str, object]:
    """The valid document with a model in place of the score."""
    calibration = {"kind": "uncalibrated"}
    return document(rule={"model": model, "calibration": calibration, **more})


def test_models_calibrations_by_group_and_gain_are_read() -> None:
    average = {"kind": "average", "models": [LINEAR, TREES]}
    by_group = {"math": PIECEWISE}
    assert read(learnt(average, by_group=by_group, gain=TREES)).whole == Rule(
        Average((LEARNT_LINEAR, LEARNT_TREES)),
        Uncalibrated(),
        Threshold(0.75),
        by_group={"math": PiecewiseLinear((0.0, 0.5), (0.25, 1.0))},
        gain=LEARNT_TREES,
    )


def linear(**changes: object) -> dict[str, object]:
    return learnt({**LINEAR, **changes})


def one_tree(**changes: object) -> dict[str, object]:
    return learnt({**TREES, "trees": [{**TREE, **changes}]})


BAD_MODELS: list[tuple[dict[str, object], str]] = [
    (learnt(None), "rule.model: "),
    (learnt([]), "rule.model: "),
    (learnt({}), "rule.model.kind: "),
    (learnt({**LINEAR, "kind": "forest"}), "rule.model.kind: "),
    (learnt({"kind": "linear"}), "rule.model: lacks defaults, features, intercept, scale, weights"),
    (linear(comment=1), "rule.model: has unknown keys: comment"),
    (linear(scale="cubic"), "rule.model.scale: "),
    (linear(scale=None), "rule.model.scale: "),
    (linear(features=[]), "rule.model.features: "),
    (linear(features="min_margin"), "rule.model.features: "),
    (linear(features=["min_margin", "mood", "label=no"]), "rule.model.features[1]: "),
    (linear(features=["min_margin", 7, "label=no"]), "rule.model.features[1]: "),
    (linear(features=["min_margin", "label=No.", "label=a"]), "rule.model.features[1]: write"),
    (linear(features=["min_margin"] * 3), "rule.model.features: "),
    (linear(features=["label=a", "label=b", "finished"]), "rule: must read a signal"),
    (linear(weights=[1, 2]), "rule.model.weights: "),
    (linear(weights=[1, 2, math.nan]), "rule.model.weights[2]: "),
    (linear(weights=[1e308, 1e308, 0]), "rule.model: can add up"),
    (linear(defaults=[1]), "rule.model.defaults: "),
    (linear(intercept="0"), "rule.model.intercept: "),
    (learnt({**TREES, "trees": []}), "rule.model.trees: "),
    (learnt({**TREES, "trees": [TREE] * (MAX_TREES + 1)}), "rule.model.trees: must have at most"),
    (learnt({**TREES, "trees": [None]}), "rule.model.trees[0]: "),
    (learnt({**TREES, "base": math.inf}), "rule.model.base: "),
    (one_tree(feature=[2, 0, 0]), "rule.model.trees[0].feature[0]: "),
    (one_tree(feature=[-1, 0, 0]), "rule.model.trees[0].feature[0]: "),
    (one_tree(left=[1.0, -1, -1]), "rule.model.trees[0].left[0]: "),
    (one_tree(left=[-2, -1, -1]), "rule.model.trees[0].left[0]: "),
    (one_tree(right=[1, -1, -1]), "rule.model.trees[0]: left and right"),
    (one_tree(threshold=[math.inf, 0, 0]), "rule.model.trees[0].threshold[0]: "),
    (one_tree(value=[0, 0]), "rule.model.trees[0]: its arrays"),
    (one_tree(value=[0, 1e308, -1e308]), ""),
    (one_tree(missing_left=[1, False, False]), "rule.model.trees[0].missing_left[0]: "),
    (one_tree(missing_left=None), "rule.model.trees[0].missing_left: "),
    (learnt({"kind": "average", "models": []}), "rule.model.models: "),
    (learnt({"kind": "average", "models": [LINEAR] * 17}), "rule.model.models: must have at most"),
    (
        learnt({"kind": "average", "models": [{"kind": "average", "models": [LINEAR]}]}),
        "rule.model.models[0].kind: ",
    ),
    (
        learnt({"kind": "average", "models": [{**LINEAR, "weights": [1e307, 0, 0]}] * 2}),
        "rule.model: can add up",
    ),
    (learnt(LINEAR, score={}), "rule: needs one of score and model"),
    (document(rule={"calibration": {"kind": "uncalibrated"}}), "rule: needs one of"),
    (learnt(LINEAR, gain={"signals": []}), "rule.gain.kind: "),
    (learnt(LINEAR, by_group=[]), "rule.by_group: "),
    (learnt(LINEAR, by_group={"a b": PIECEWISE}), "rule.by_group: "),
    (learnt(LINEAR, by_group={7: PIECEWISE}), "rule.by_group: "),
    (learnt(LINEAR, by_group={"math": {"kind": "logistic"}}), "rule.by_group.math: lacks"),
    (
        learnt(LINEAR, by_group={"math": {"kind": "logistic", "slope": -1, "intercept": 0}}),
        "rule.by_group.math.slope must",
    ),
    (document(rule__calibration={"kind": "uncalibrated", "slope": 1}), "rule.calibration: has"),
]


@pytest.mark.parametrize(("parsed", "beginning"), BAD_MODELS, ids=shown)
def test_single_defect_of_a_model_is_refused_by_its_path(
    parsed: dict[str, object], beginning: str
) -> None:
    if beginning:
        assert complaint(parsed).startswith(beginning)
    else:
        read(parsed)


# --- the prompt and the sampling ---

PROMPT_MODEL = """
{
  "model": {
    "terms": {"buckets": 64, "places": [3, 63], "idf": [1.5, 2], "weights": [0.5, -1]},
    "surface": {
      "means": [0, 0, 0, 0, 0, 0, 0, 0, 0],
      "scales": [1, 1, 1, 1, 1, 1, 1, 1, 2],
      "weights": [0, 0, 0, 0, 0, 0, 0, 0, 1]
    },
    "groups": {"math": 0.25},
    "intercept": 0.5
  },
  "margin": 0.125
}
"""


def prompting(**changes: object) -> dict[str, object]:
    return document(prompt=changed(PROMPT_MODEL, **changes))


def test_prompt_model_is_read() -> None:
    zeros = (0.0,) * 8
    assert read(prompting()).prompt == PromptRule(
        PromptModel(
            Terms(64, (3, 63), (1.5, 2.0), (0.5, -1.0)),
            Surface((*zeros, 0.0), (*(1.0,) * 8, 2.0), (*zeros, 1.0)),
            {"math": 0.25},
            0.5,
        ),
        0.125,
    )
    bare = read(prompting(model__surface=None)).prompt
    assert bare is not None
    assert bare.model.surface is None
    assert read(document(prompt=None)).prompt is None


PROMPT_DEFECTS: list[tuple[str, object, str]] = [
    ("margin", math.nan, "prompt.margin"),
    ("margin", ABSENT, "prompt: lacks margin"),
    ("model", None, "prompt.model"),
    ("model__intercept", 1e10, "prompt.model.intercept"),
    ("model__groups", [], "prompt.model.groups"),
    ("model__groups", {"a b": 1}, "prompt.model.groups"),
    ("model__groups", {"math": "1"}, "prompt.model.groups.math"),
    ("model__terms__buckets", 0, "prompt.model.terms.buckets"),
    ("model__terms__buckets", 2**24 + 1, "prompt.model.terms.buckets"),
    ("model__terms__places", [3, 64], "prompt.model.terms.places[1]"),
    ("model__terms__places", [3, -1], "prompt.model.terms.places[1]"),
    ("model__terms__places", [3, 3], "prompt.model.terms.places"),
    ("model__terms__places", [3], "prompt.model.terms"),
    ("model__terms__idf", [1, 1e10], "prompt.model.terms.idf[1]"),
    ("model__terms__weights", [1, -1e10], "prompt.model.terms.weights[1]"),
    ("model__surface__means", [0], "prompt.model.surface"),
    ("model__surface__scales", [0] * 9, "prompt.model.surface.scales"),
    ("model__surface__weights", ABSENT, "prompt.model.surface: lacks weights"),
]


@pytest.mark.parametrize(("where", "value", "path"), PROMPT_DEFECTS, ids=shown)
def test_single_defect_of_a_prompt_model_is_refused_by_its_path(
    where: str, value: object, path: str
) -> None:
    assert complaint(prompting(**{where: value})).startswith(path)


@pytest.mark.parametrize(
    ("said", "read_as"),
    [
        (None, None),
        ({}, {}),
        ({"temperature": 0, "top_p": 0.9}, {"temperature": 0}),
        ({"temperature": 0.5, "logit_bias": {"7": -100}},) * 2,
        ({"temperature": None}, {}),
    ],
)
def test_sampling_is_read_as_far_as_it_makes_a_difference(said: object, read_as: object) -> None:
    assert read(document(sampling=said)).sampling == read_as


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ([], "sampling: "),
        ({"seed": 3}, "sampling: has unknown keys: seed"),
        ({"temperature": "0"}, "sampling.temperature: "),
        ({"logit_bias": 3}, "sampling.logit_bias: "),
        ({"logit_bias": {"7": None}}, "sampling.logit_bias.7: "),
    ],
)
def test_sampling_that_is_none_is_refused(said: object, path: str) -> None:
    assert complaint(document(sampling=said)).startswith(path)


def test_samples_are_one_unless_said() -> None:
    assert read(document()).samples == 1
    assert read(document(samples=3)).samples == 3
    agreeing = {"signals": ["agreement"], "weights": [1], "intercept": 0}
    assert read(document(samples=8, rule__score=agreeing)).samples == 8
    assert complaint(document(rule__score=agreeing)).startswith("samples: ")


@pytest.mark.parametrize("said", [0, 9, True, 2.0, "3", None])
def test_samples_that_cannot_be_asked_for_are_refused(said: object) -> None:
    assert complaint(document(samples=said)).startswith("samples: must be ")


# --- a head start ---

HEAD_START = {"thresholds": [0.9, 0.5], "losses": [[[0, 30], [16, 1]], [[4, 2]]], "below": 7}


def test_head_start_is_for_those_who_hold_the_promise_and_no_part_of_the_policy() -> None:
    parsed = document(head_start=HEAD_START)
    assert read(parsed) == read(document())
    found = origin_from_document(parsed).head_start
    assert found is not None
    assert (found.records, found.below) == (40, 7)
    assert origin_from_document(document()).head_start is None


@pytest.mark.parametrize(
    ("path", "value"), [("thresholds", [1.5, 0.5]), ("losses", [[]]), ("below", -1)]
)
def test_head_start_that_is_damaged_is_refused_by_its_path(path: str, value: object) -> None:
    damaged = {**HEAD_START, path: value}
    assert complaint(document(head_start=damaged)).startswith(f"head_start.{path}: ")
    assert complaint(document(head_start=None)).startswith("head_start: must be an object")


# --- writing ---


@given(POLICIES)
def test_policy_that_is_written_is_read_again_as_it_was(policy: Policy) -> None:
    written = json.loads(json.dumps(policy_document(policy, ORIGIN), allow_nan=False))
    assert read(written) == policy
    assert origin_from_document(written) == ORIGIN
    assert policy_document(read(written), origin_from_document(written)) == written


def test_document_that_is_read_is_written_again_as_it_was() -> None:
    page = (Path(routing.__file__).parent / "README.md").read_text(encoding="utf-8")
    (shown_file,) = re.findall(r"^```json\n(.+?)^```", page, re.DOTALL | re.MULTILINE)
    parsed = json.loads(shown_file)
    written = policy_document(read(parsed), origin_from_document(parsed))
    assert written == {key: value for key, value in parsed.items() if key != "evidence"}


def test_policy_without_rules_for_streams_is_written_without_them() -> None:
    policy = read(document())
    origin = origin_from_document(document())
    assert "streamed" not in policy_document(policy, origin)
    assert policy_document(policy, origin) == document()
    for rules, basis in ((policy, ORIGIN), (read(streaming()), origin)):
        with pytest.raises(PolicyError, match=r"^streamed: "):
            policy_document(rules, basis)


@given(POLICIES, st.data())
def test_policy_says_something_finite_of_any_signals(policy: Policy, data: st.DataObject) -> None:
    shares = st.floats(0.0, 1.0)
    names = st.sampled_from(sorted(SIGNAL_NAMES))
    signals = data.draw(st.dictionaries(names, shares))
    rule, group = policy.whole, data.draw(st.none() | st.text())
    features = rule.features(signals, data.draw(st.text()), group)
    opinion = rule.opinion(features, group)
    assert (opinion and opinion.merit) == rule.merit(features, group)
    assert (opinion and opinion.confidence) == rule.confidence(features, group)
    bar = policy.bar(policy.promised(Prompt(data.draw(st.text()), group)))
    assert (bar is None) is (policy.prompt is None)
