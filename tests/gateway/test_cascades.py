import json
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cascades import LoadedCascade, doubts_about, load_cascades, of_generation
from gateway.config_file import ConfigError
from gateway.prices import TokenPriceConfig
from routing.comparators import Question, Score
from routing.money import Price
from routing.policy import UNCALIBRATED_VERSION
from routing.rollout import Generation
from routing.vocabulary import Need, Threshold, WhenDenied
from tests.fakes import generations
from tests.fakes.serving import cascade_document, load_gateway

POLICY = {
    **generations.POLICY,
    "student_version": "student-1",
    "rule": {
        "score": {"signals": ["mean_probability"], "weights": [1.0], "intercept": 0.0},
        "calibration": {"kind": "logistic", "slope": 2.0, "intercept": -1.0},
    },
}

EMBEDDING = {"kind": "embedding", "model": "m", "base_url": "http://e/v1", "at_least": 0.9}


def document(**changes: Any) -> dict[str, Any]:
    return cascade_document("http://student", "http://teacher", **changes)


def no_secret(_: str) -> str | None:
    return None


def load(folder: Path, cascades: Any, **secrets: str) -> tuple[LoadedCascade, ...]:
    path = folder / "c.yaml"
    path.write_text(cascades if isinstance(cascades, str) else yaml.safe_dump(cascades))
    return load_cascades(path, lambda variable: secrets.get(variable))


def problem_of(folder: Path, cascades: Any, **secrets: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, cascades, **secrets)
    return str(caught.value)


def test_the_example_is_valid() -> None:
    (cascade,) = load_cascades(Path(__file__).parents[2] / "understudy.example.yaml", no_secret)
    assert cascade.name == "assistant"


def test_a_full_configuration_is_read(tmp_path: Path) -> None:
    changes = {
        "student": {"api_key_env": "KEY", "cannot": ["vision"]},
        "degraded": "refuse",
        "pairs": {"store": False},
    }
    (loaded,) = load(tmp_path, {"cascades": {"assistant": document(**changes)}}, KEY="s3cret")
    assert loaded.student_key == "s3cret"
    assert loaded.teacher_key is None
    assert loaded.config.student.cannot == {Need.VISION}
    assert loaded.config.degraded is WhenDenied.REFUSE
    assert loaded.policy.version == UNCALIBRATED_VERSION
    assert loaded.policy.threshold == Threshold(0.8)


def test_the_teachers_version_is_its_models_name_unless_said(tmp_path: Path) -> None:
    versions = []
    for changes in ({}, {"version": "2026-11"}):
        gateway = load_gateway(tmp_path, document(teacher=changes))
        versions.append(gateway.context.served["assistant"].source.teacher_version)
    assert versions == ["upstream-teacher", "2026-11"]


def test_a_redactor_is_found_when_the_file_is_read(tmp_path: Path) -> None:
    (loaded,) = load(tmp_path, {"cascades": {"a": document(pairs={"redactor": "pii"})}})
    assert loaded.redactor is not None
    assert loaded.redactor.name == "pii"
    (without,) = load(tmp_path, {"cascades": {"a": document()}})
    assert without.redactor is None


def test_an_unknown_redactor_is_refused_with_the_names_of_those_there_are(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, {"cascades": {"a": document(pairs={"redactor": "pi"})}})
    assert "c.yaml: cascades.a.pairs.redactor: 'pi' is not installed" in problem
    assert "(pii)" in problem


def test_prices_are_whole_pico_dollars(tmp_path: Path) -> None:
    price = {"input": 0.1, "output": 1e-06}
    (loaded,) = load(tmp_path, {"cascades": {"a": document(student={"price": price})}})
    assert isinstance(loaded.config.student.price, TokenPriceConfig)
    assert loaded.config.student.price.price() == Price(100_000, 100_000, 1, 1)
    assert loaded.config.student.price.input == Decimal("0.1")


def test_a_holdout_is_the_share_as_it_is_written(tmp_path: Path) -> None:
    """Each held-out draft stands for 1 / share of them, and a tenth is no binary fraction."""
    shares = []
    for audit in ({}, {"holdout": 0.1}, {"holdout": 1e-05}, {"holdout": 0.5}, {"holdout": 0}):
        served = load_gateway(tmp_path, document(audit=audit)).context.served
        shares.append(served["assistant"].holdout)
    assert shares == [0, Fraction(1, 10), Fraction(1, 100_000), Fraction(1, 2), 0]


def test_conversations_are_remembered_where_turns_are_to_stick(tmp_path: Path) -> None:
    found = []
    for conversation in ({}, {"idle_seconds": 60}, {"sticky_turns": 2, "idle_seconds": 60}):
        gateway = load_gateway(tmp_path, document(conversation=conversation))
        found.append(gateway.context.served["assistant"].is_remembering)
    assert found == [False, False, True]


@pytest.mark.parametrize("holdout", [-0.01, 0.51, "0.1", float("nan")])
def test_a_holdout_is_no_more_than_a_half(tmp_path: Path, holdout: object) -> None:
    changes = {"audit": {"holdout": holdout}}
    problem = problem_of(tmp_path, {"cascades": {"assistant": document(**changes)}})
    assert "cascades.assistant.audit.holdout" in problem


@pytest.mark.parametrize(
    ("changes", "path", "fix"),
    [
        ({"studnet": {}}, "cascades.assistant.studnet", "spelling"),
        ({"student": {"temperature": 1}}, "cascades.assistant.student.temperature", "remove it"),
        ({"student": {"base_url": "student:8000"}}, "student.base_url", "http://"),
        ({"student": {"base_url": "http://"}}, "student.base_url", "host"),
        ({"student": {"base_url": "http://ho st/v1"}}, "student.base_url", "host"),
        ({"student": {"base_url": "http://b\xfccher.example"}}, "student.base_url", "ASCII"),
        ({"student": {"base_url": "http://h..example/v1"}}, "student.base_url", "label"),
        ({"student": {"base_url": "http://me:pw@h/v1"}}, "student.base_url", "api_key_env"),
        ({"student": {"base_url": "http://me@h/v1"}}, "student.base_url", "api_key_env"),
        ({"student": {"base_url": "http://:pw@h/v1"}}, "student.base_url", "api_key_env"),
        ({"student": {"base_url": "http://h:0/v1"}}, "student.base_url", "port 0"),
        ({"student": {"base_url": "http://h:99999/v1"}}, "student.base_url", "ort"),
        ({"student": {"price": {"input": 1}}}, "student.price.output", "add it"),
        ({"student": {"price": {"input": -1, "output": 1}}}, "student.price.input", "at least 0"),
        ({"student": {"price": {"input": 1e-7, "output": 1}}}, "student.price.input", "decimals"),
        (
            {"student": {"price": {"input": float("nan"), "output": 1}}},
            "student.price.input",
            "finite",
        ),
        ({"student": {"max_concurrent": 0}}, "student.max_concurrent", "greater"),
        ({"student": {"timeout_seconds": 0}}, "student.timeout_seconds", "greater"),
        ({"student": {"cannot": ["fly"]}}, "student.cannot", "vision"),
        ({"objective": {"kind": "magic", "at_least": 1}}, "objective", "confidence"),
        ({"objective": {"kind": "spend", "at_least": 1}}, "objective.at_least", "remove it"),
        ({"objective": {"kind": "confidence", "at_least": 1.1}}, "objective.at_least", "less than"),
        ({"degraded": "maybe"}, "degraded", "serve"),
        ({"stored": {"enabled": "yes"}}, "cascades.assistant.stored.enabled", "true or false"),
        ({"stored": {"enabled": True, "max_bytes": 5}}, "stored.max_bytes", "greater"),
        ({"stored": {"max_age_days": 0}}, "stored.max_age_days", "greater"),
        ({"teacher": {"api_key_env": "NO_SUCH"}}, "teacher.api_key_env", "set it"),
        ({"policy": "nowhere.json"}, "policy", "mend the path"),
        ({"comparator": {"kind": "taste"}}, "cascades.assistant.comparator:", "'judge'"),
        ({"comparator": {}}, "cascades.assistant.comparator:", "add kind"),
        ({"comparator": {"kind": "label", "labels": ["a"]}}, "comparator.labels", "at least 2"),
        ({"comparator": {"kind": "label", "labels": ["a", "A."]}}, "comparator.labels", "remove"),
        ({"comparator": {"kind": "label", "labels": ["a", " "]}}, "comparator.labels", "letter"),
        ({"comparator": {"kind": "json", "at_least": 0}}, "comparator.at_least", "greater"),
        ({"comparator": {"kind": "judge", "model": "m"}}, "comparator.model", "remove it"),
        ({"comparator": {"kind": "number", "tolerance": -1}}, "comparator.tolerance", "greater"),
        ({"comparator": {"kind": "embedding", "model": "m"}}, "comparator.base_url", "add it"),
        ({"comparator": EMBEDDING | {"base_url": "h"}}, "comparator.base_url", "http://"),
        ({"comparator": EMBEDDING | {"api_key_env": "NO"}}, "comparator.api_key_env", "set it"),
        ({"policy": 5}, "policy", "path in quotes"),
        ({"streaming": None}, "assistant.streaming: is empty", "or remove the line"),
        ({"streaming": "16"}, "assistant.streaming: must hold keys", "further to the right"),
        ({"streaming": {"hold_tokens": "16"}}, "streaming.hold_tokens", "without quotes"),
        ({"streaming": {"hold_tokens": True}}, "streaming.hold_tokens", "whole number"),
        ({"streaming": {"hold_tokens": 17}}, "streaming.hold_tokens", "choose one"),
        ({"streaming": {"hold_seconds": "10"}}, "streaming.hold_seconds", "without quotes"),
        ({"streaming": {"hold_seconds": 0}}, "streaming.hold_seconds", "in that range"),
        ({"conversation": {"sticky_turns": -1}}, "conversation.sticky_turns", "in that range"),
        ({"conversation": {"sticky_turns": 1001}}, "conversation.sticky_turns", "in that range"),
        ({"conversation": {"sticky_turns": "1"}}, "conversation.sticky_turns", "without quotes"),
        ({"conversation": {"idle_seconds": 0}}, "conversation.idle_seconds", "in that range"),
        ({"conversation": {"idle_seconds": 86401}}, "conversation.idle_seconds", "in that range"),
        ({"streaming": {"early_abort": "yes"}}, "streaming.early_abort", "true or false"),
        ({"streaming": {"handover": None}}, "streaming.handover: is empty", "its value"),
        ({"streaming": {"handover": "maybe"}}, "streaming.handover", "choose one of these"),
        ({"pairs": {"store": 1}}, "pairs.store", "true or false"),
        ({"student": {"max_concurrent": "4"}}, "student.max_concurrent", "without quotes"),
        ({"student": {"cannot": "vision"}}, "student.cannot", "[vision]"),
        ({"student": {"version": 1}}, "student.version", "in quotes"),
        ({"student": {"model": ""}}, "student.model", "write something"),
        ({"student": {"extra_body": [1]}}, "student.extra_body", "further to the right"),
        ({"student": {"price": {"input": "x", "output": 1}}}, "price.input", "number alone"),
        ({"student": {"base_url": None}}, "student.base_url: is empty", "its value"),
        ({"student": {"base_url": []}}, "student.base_url:", "add one"),
        ({"student": {"base_url": 5}}, "student.base_url:", "quotes"),
        ({"student": {"base_url": ["http://h/v1", "h:8000"]}}, "student.base_url.1:", "http://"),
        ({"student": {"base_url": ["http://h/v1", "http://h/v1/"]}}, "student.base_url:", "twice"),
        ({"student": {"base_url": ["http://h/v1"] * 65}}, "student.base_url:", "remove some"),
        ({"student": {"base_url": "http://h:x/v1"}}, "student.base_url", "its port a number"),
        ({"student": {"base_url": "http://h/v1?v=1"}}, "student.base_url", "'?'"),
        ({"student": {"base_url": "http://h/v1?"}}, "student.base_url", "'?'"),
        ({"student": {"base_url": "http://h/v1#x"}}, "student.base_url", "'#'"),
        (
            {"student": {"base_url": "http://h/v1/chat/completions/"}},
            "student.base_url",
            "before /chat/completions",
        ),
    ],
)
def test_an_error_names_the_path_and_the_fix(
    tmp_path: Path, changes: dict[str, Any], path: str, fix: str
) -> None:
    message = problem_of(tmp_path, {"cascades": {"assistant": document(**changes)}})
    assert str(tmp_path / "c.yaml") in message
    assert path in message
    assert fix in message


@pytest.mark.parametrize(
    "student",
    [
        {"base_url": "http://me:s3cret@h/v1"},
        {"base_url": "http://me:s3c/ret@h/v1"},
        {"base_url": "http://me:s3c@ret@h/v1"},
        {"base_url": "me:s3cret@h/v1"},
        {"base_url": "http://h/v1?key=s3cret"},
        {"base_url": "http://h/v1#s3cret"},
        {"base_url": "http://h/v1", "api_key": "s3cret"},
        {"base_url": "http://h/v1", "api_key_env": "sk-s3cret"},
    ],
)
def test_no_error_tells_a_password_or_a_key(tmp_path: Path, student: dict[str, Any]) -> None:
    message = problem_of(tmp_path, {"cascades": {"assistant": document(student=student)}})
    for part in ("s3c", "ret", "me:"):
        assert part not in message.replace(str(tmp_path), "")


def test_a_list_without_a_valid_entry_is_not_told_to_be_short_of_one(tmp_path: Path) -> None:
    changes = {"student": {"base_url": ["h:8000"]}}
    message = problem_of(tmp_path, {"cascades": {"assistant": document(**changes)}})
    assert "student.base_url.0" in message
    assert "add one" not in message


def test_an_error_in_yaml_names_the_place_and_not_the_line_itself(tmp_path: Path) -> None:
    message = problem_of(tmp_path, "cascades:\n  a: {api_key: s3cret\n b: 2")
    assert "line 3, column 3" in message
    assert "s3cret" not in message


def test_a_hold_that_outlasts_the_student_is_doubted(tmp_path: Path) -> None:
    def doubts(hold: float, timeout: float) -> list[str]:
        changes = {"streaming": {"hold_seconds": hold}, "student": {"timeout_seconds": timeout}}
        (loaded,) = load(tmp_path, {"cascades": {"a": document(**changes)}})
        return doubts_about(loaded)

    (doubt,) = doubts(20, 20)
    assert "streaming.hold_seconds" in doubt
    assert "below" in doubt
    assert doubts(19.9, 20) == []


@pytest.mark.parametrize("key", ["s3cret\n", "s3 cret", "\u201cs3cret\u201d", "s3cret\x00", "\xe9"])
def test_a_key_that_no_header_can_hold_is_refused_without_being_told(
    tmp_path: Path, key: str
) -> None:
    changes = {"student": {"api_key_env": "KEY"}}
    message = problem_of(tmp_path, {"cascades": {"assistant": document(**changes)}}, KEY=key)
    assert "student.api_key_env" in message
    assert "write the key alone" in message
    assert key.strip() not in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("cascades: {}", "at least 1"),
        ("", "the file: is empty"),
        ("a: \x01", "remove them"),
        ("cascades:", "cascades: is empty"),
        ("cascades: [", "not valid YAML"),
        ("cascades:\n  a: {}\n  a: {}\n", "line 3: 'a' stands there twice"),
        ("\tx", "not valid YAML"),
        ("? [a, b]\n: 1", "a key must be a word"),
        ("[" * 1000, "nested too deeply"),
        ("cascades: {1: {}}", "quotes"),
        ("cascades: {Assistant: {}}", "pattern"),
        ("cascades: {a: {}}\nother: 1", "other"),
        ("schema_version: 2\ncascades: {}", "schema_version: this release reads 1, got 2: run"),
        ("schema_version: '1'\ncascades: {}", "write a whole number, without quotes"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    assert message in problem_of(tmp_path, content)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"cascades: \xe9")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_cascades(tmp_path / "c.yaml", no_secret)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read: No such file"):
        load_cascades(tmp_path / "nowhere.yaml", no_secret)


def test_all_cascades_tell_their_problems_at_once(tmp_path: Path) -> None:
    broken = document(policy="nowhere.json")
    message = problem_of(tmp_path, {"cascades": {"a": broken, "b": broken}})
    assert "cascades.a.policy" in message
    assert "cascades.b.policy" in message


def test_a_policy_file_is_found_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps(POLICY))
    cascades = {"cascades": {"assistant": document(policy="p.json", objective=None)}}
    (loaded,) = load(tmp_path, cascades)
    assert loaded.policy.is_calibrated
    assert loaded.policy.threshold == Threshold(0.7)
    assert len(loaded.policy.version) == 12
    cascades["cascades"]["assistant"]["objective"] = {"kind": "confidence", "at_least": 0.9}
    assert load(tmp_path, cascades)[0].policy.threshold == Threshold(0.9)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps(POLICY | {"student_version": "student-0"}), "fitted for 'student-0'"),
        (json.dumps(POLICY | {"cascade": "other"}), "fitted for 'other'"),
        (json.dumps(POLICY | {"cascade": "other"}), "`understudy calibrate RECORDS --cascade assi"),
        (json.dumps(POLICY | {"student_version": "student-0"}), "`understudy calibrate RECORDS"),
        (json.dumps(POLICY | {"schema_version": 1}), "`understudy calibrate RECORDS"),
        ("{", "not valid JSON"),
        ("\x00", "not valid JSON"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused_at_start(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "p.json").write_text(content)
    assert message in problem_of(tmp_path, {"cascades": {"assistant": document(policy="p.json")}})


def test_whoever_wants_to_hear_of_a_policy_that_does_not_fit_gets_the_default(
    tmp_path: Path,
) -> None:
    (tmp_path / "p.json").write_text(json.dumps(POLICY | {"student_version": "student-2"}))
    (tmp_path / "c.yaml").write_text(
        yaml.safe_dump({"cascades": {"bad": document(policy="p.json"), "good": document()}})
    )
    heard: dict[str, str] = {}
    bad, good = load_cascades(tmp_path / "c.yaml", no_secret, heard.__setitem__)
    assert heard.keys() == {"bad"}
    assert "policy: " in heard["bad"]
    assert bad.policy.version == good.policy.version == UNCALIBRATED_VERSION


@pytest.mark.parametrize(
    ("comparator", "version", "at_least"),
    [
        (None, "normalised-1", 1.0),
        ({"kind": "exact"}, "exact-1", 1.0),
        ({"kind": "normalised"}, "normalised-1", 1.0),
        ({"kind": "number", "tolerance": 0.3}, "number-1(0.3,0,.)", 1.0),
        ({"kind": "label", "labels": ["yes", "no"]}, "label-1(yes,no)", 1.0),
        ({"kind": "json", "at_least": 0.9}, "json-1", 0.9),
        (EMBEDDING | {"api_key_env": "KEY"}, "embedding-1(m)", 0.9),
        ({"kind": "judge"}, "judge-1", 0.5),
    ],
)
def test_each_kind_of_comparator_is_made(
    tmp_path: Path, comparator: dict[str, Any] | None, version: str, at_least: float
) -> None:
    changes = {} if comparator is None else {"comparator": comparator}
    (loaded,) = load(tmp_path, {"cascades": {"a": document(**changes)}}, KEY="s3cret")
    made = loaded.config.comparator.comparator()
    assert (made.version, made.at_least) == (version, at_least)
    assert (loaded.embedder_key == "s3cret") is ("api_key_env" in (comparator or {}))


def test_a_tolerance_means_the_digits_that_were_written(tmp_path: Path) -> None:
    comparator = {"kind": "number", "tolerance": 0.3}
    (loaded,) = load(tmp_path, {"cascades": {"a": document(comparator=comparator)}})
    assert loaded.config.comparator.comparator().begin(Question(), "1.0", "1.3") == Score(1.0)


# --- several drafts of one answer ---

AGREEING = POLICY | {
    "rule": {
        "score": {"signals": ["agreement"], "weights": [1.0], "intercept": 0.0},
        "calibration": {"kind": "logistic", "slope": 2.0, "intercept": -1.0},
    },
    "samples": 3,
}


def test_samples_are_one_unless_said_and_have_a_limit(tmp_path: Path) -> None:
    (loaded,) = load(tmp_path, {"cascades": {"assistant": document()}})
    assert loaded.config.samples == 1
    for samples in (2, 8):
        (loaded,) = load(tmp_path, {"cascades": {"assistant": document(samples=samples)}})
        assert loaded.config.samples == samples
    for wrong in (0, 9, "3", 2.0):
        said = problem_of(tmp_path, {"cascades": {"assistant": document(samples=wrong)}})
        assert "cascades.assistant.samples" in said


def test_a_policy_is_for_as_many_drafts_as_its_cascade_asks_for(tmp_path: Path) -> None:
    (tmp_path / "three.json").write_text(json.dumps(AGREEING))
    (tmp_path / "one.json").write_text(json.dumps(POLICY))
    cascade = document(policy="three.json", samples=3)
    (loaded,) = load(tmp_path, {"cascades": {"assistant": cascade}})
    assert loaded.policy.samples == 3
    for policy, samples, fitted in (("three.json", 1, 3), ("three.json", 2, 3), ("one.json", 3, 1)):
        cascade = document(policy=policy, samples=samples)
        said = problem_of(tmp_path, {"cascades": {"assistant": cascade}})
        assert f"assistant.samples: the policy is for drafts chosen from {fitted}, got " in said
        assert "understudy record --cascade assistant" in said
        assert "understudy calibrate RECORDS --cascade assistant" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"comparator": {"kind": "judge"}}, "comparator judge would have to ask"),
        ({"comparator": EMBEDDING}, "comparator embedding would have to ask"),
        ({"student": {"extra_body": {"temperature": 0}}}, "3 drafts are one"),
        ({"student": {"extra_body": {"top_k": 1}}}, "3 drafts are one"),
        ({"streaming": {"early_abort": True}}, "remove streaming.early_abort"),
    ],
)
def test_drafts_that_cannot_be_compared_or_cannot_differ_are_refused(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    load(tmp_path, {"cascades": {"assistant": document(**changes)}})
    whole = {"cascades": {"assistant": document(samples=3, **changes)}}
    assert said in problem_of(tmp_path, whole)


def test_a_generation_at_one_of_the_own_servers_is_at_all_of_them(tmp_path: Path) -> None:
    own = ["http://a/v1", "http://b/v1/"]
    cascades = {"assistant": document(student={"base_url": own})}
    (loaded,) = load(tmp_path, {"cascades": cascades})
    assert loaded.config.student.base_urls == tuple(own)
    here = Generation(**generations.generation(1, "http://b", cascade="assistant"))
    served = of_generation(loaded, here).config.student
    assert (served.base_urls, served.model) == (tuple(own), "model-g1")
    elsewhere = replace(here, base_url="http://c/v1")
    assert of_generation(loaded, elsewhere).config.student.base_urls == ("http://c/v1",)


@pytest.mark.parametrize(
    ("audit", "objective", "share"),
    [
        ({}, None, 0.0),
        ({}, "confidence", 0.0),
        ({}, "quality", 0.02),
        ({"share": 0.0}, "quality", 0.0),
        ({"share": 0.5}, None, 0.5),
    ],
)
def test_audits_are_off_unless_asked_for_or_promised_by(
    tmp_path: Path, audit: dict[str, Any], objective: str | None, share: float
) -> None:
    (loaded,) = load(tmp_path, {"cascades": {"a": document(audit=audit)}})
    assert loaded.config.audit.share_under(objective) == share


@pytest.mark.parametrize(
    ("audit", "problem"),
    [
        ({"share": 1.1}, "audit.share"),
        ({"usd_per_hour": "1.5"}, "audit.usd_per_hour"),
        ({"usd_per_hour": -1}, "audit.usd_per_hour"),
        ({"priority": 1.5}, "audit.priority"),
        ({"priority": -1}, "audit.priority"),
        ({"catch_up": 1}, "audit.catch_up"),
    ],
)
def test_what_audits_cannot_be_like_is_named(
    tmp_path: Path, audit: dict[str, Any], problem: str
) -> None:
    assert problem in problem_of(tmp_path, {"cascades": {"a": document(audit=audit)}})


def test_a_bound_on_audits_needs_a_price(tmp_path: Path) -> None:
    unpriced = document(audit={"usd_per_hour": 1.5}, teacher={"price": None})
    assert "without teacher.price" in problem_of(tmp_path, {"cascades": {"a": unpriced}})
    free = document(audit={"usd_per_hour": 0}, teacher={"price": None})
    assert load(tmp_path, {"cascades": {"a": free}})


def test_audits_that_may_record_nothing_are_doubted(tmp_path: Path) -> None:
    changes = {"audit": {"share": 0.02}, "pairs": {"store": False}}
    (loaded,) = load(tmp_path, {"cascades": {"a": document(**changes)}})
    assert [doubt.partition(":")[0] for doubt in doubts_about(loaded)] == ["audit.share"]
