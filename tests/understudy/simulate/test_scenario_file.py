from pathlib import Path
from typing import Any

import pytest
import yaml

from evaluation.scenarios import scenario as told
from gateway.config_file import ConfigError
from tests.architecture.source import ROOT
from understudy.simulate.scenario_file import read_scenario

EXAMPLES = sorted((ROOT / "docs" / "scenarios").glob("*.yaml"))

PRICES = {
    "student": {"price": {"input": 0.02, "output": 0.06}},
    "teacher": {"price": {"input": 0.6, "output": 2.4}},
}


def document(**changes: Any) -> dict[str, Any]:
    return {
        "cascade": {"objective": {"kind": "confidence", "at_least": 0.9}, **PRICES},
        "population": {"kinds": {"usual": {"disagreement": 0.3, "auroc": 0.85}}},
        "traffic": {"per_second": 5.0, "minutes": 10},
    } | changes


def read(folder: Path, **changes: Any) -> told.Scenario:
    path = folder / "made.yaml"
    path.write_text(yaml.safe_dump(document(**changes)))
    return read_scenario(path)


def cascade(objective: dict[str, Any]) -> dict[str, Any]:
    return {"objective": objective, **PRICES}


@pytest.mark.parametrize(
    ("objective", "is_read_as"),
    [
        ({"kind": "confidence", "at_least": 0.8}, told.Fixed(0.8)),
        ({"kind": "escalation_rate", "at_most": 0.15}, told.EscalationRate(0.15)),
        (
            {"kind": "spend", "usd_per_hour": 12, "cap_usd_per_hour": 15},
            told.Spend(12.0, 15.0),
        ),
        (
            {"kind": "quality", "disagreement_at_most": 0.05, "with_probability": 0.95},
            told.Quality(0.05, 0.95, 0.8, 6000),
        ),
    ],
)
def test_objectives_are_read_in_the_gateways_words(
    tmp_path: Path, objective: dict[str, Any], is_read_as: told.Objective
) -> None:
    assert read(tmp_path, cascade=cascade(objective)).cascade.objective == is_read_as


def test_times_and_prices_are_converted_once(tmp_path: Path) -> None:
    events = [
        {"kind": "student_regression", "at_minute": 2, "points": 10, "where": "everywhere"},
        {"kind": "teacher_outage", "at_minute": 2.5, "minutes": 1.5},
        {"kind": "replica_killed", "at_minute": 4, "replica": 0},
        {"kind": "teacher_slowdown", "at_minute": 5, "minutes": 1, "times": 3},
        {"kind": "comparator_noise", "at_minute": 6, "says_same": 0.1},
        {"kind": "store_gone", "at_minute": 7, "minutes": 1},
        {"kind": "topic_drift", "at_minute": 8, "shares": {"usual": 1}},
    ]
    found = read(tmp_path, events=events)
    assert found.cascade.teacher_price == (600_000, 2_400_000)
    assert found.traffic.seconds == 600
    assert found.events == (
        told.StudentRegression(120, 10.0, among_kept=False),
        told.TeacherOutage(150, 90),
        told.ReplicaKilled(240, 0, None),
        told.TeacherSlowdown(300, 60, 3.0),
        told.ComparatorNoise(360, 0.0, 0.1),
        told.StoreGone(420, 60),
        told.TopicDrift(480, {"usual": 1.0}),
    )


def test_records_and_their_policy_lie_beside_the_file(tmp_path: Path) -> None:
    found = read(tmp_path, population={"records": "r.jsonl", "policy": "p.json"})
    assert found.population == told.Recorded(tmp_path / "r.jsonl", tmp_path / "p.json")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trafic": {}}, "made.yaml: trafic: Extra inputs are not permitted: remove it, or mend"),
        (
            {"cascade": cascade({"kind": "confidence", "at_least": "0.8"})},
            "cascade.objective.at_least: Input should be a valid number, got '0.8': write",
        ),
        (
            {"cascade": cascade({"kind": "speed"})},
            "cascade.objective: Input tag 'speed' found using 'kind' does not match",
        ),
        (
            {"cascade": cascade({"kind": "spend", "usd_per_hour": 5, "cap_usd_per_hour": 5.5})},
            "cascade.objective: cap_usd_per_hour must be at least 1.2 times usd_per_hour",
        ),
        (
            {
                "cascade": cascade(
                    {
                        "kind": "quality",
                        "disagreement_at_most": 0.05,
                        "with_probability": 0.95,
                        "release": 0.7,
                    }
                )
            },
            "cascade.objective.release: must be one of [0.8, 0.9], got 0.7: choose one of these",
        ),
        ({"population": {}}, "population: name either kinds or records: add one, or remove"),
        (
            {"population": {"kinds": {"a": {"disagreement": 0.1, "auroc": 0.8, "share": 0.0}}}},
            "kinds: none has a share above 0: raise one",
        ),
        (
            {"population": {"kinds": {"a": {"disagreement": 0.1, "auroc": 0.8}}, "policy": "p"}},
            "policy judges records, and there are none: remove it",
        ),
        (
            {"traffic": {"per_second": 50_000.0, "minutes": 1000}},
            "traffic: these are more than a billion requests",
        ),
        (
            {"traffic": {"per_second": 1.0, "minutes": 100, "burst_minutes": 90}},
            "traffic: burst_minutes exceeds burst_every_minutes",
        ),
        (
            {"events": [{"kind": "store_gone", "at_minute": 10, "minutes": 1}]},
            "events.0.at_minute: traffic ends at 10, got 10: choose it before that",
        ),
        (
            {"events": [{"kind": "replica_killed", "at_minute": 1, "replica": 1}]},
            "events.0.replica: there are 1, counted from 0, got 1: choose one of them",
        ),
        (
            {"events": [{"kind": "topic_drift", "at_minute": 1, "shares": {"other": 0.5}}]},
            "events.0.shares: no kind is named 'other': name one of usual",
        ),
        (
            {
                "events": [
                    {"kind": "topic_drift", "at_minute": 1, "shares": {"usual": 0.9, "b": 0.2}}
                ]
            },
            "events.0: shares must come to at most 1: lower one",
        ),
        (
            {"events": [{"kind": "teacher_slowdown", "at_minute": 1, "minutes": 1, "times": 1}]},
            "events.0.times: Input should be greater than 1, got 1: choose one in that range",
        ),
        ({"schema_version": 2}, "schema_version: this release reads 1, got 2: write it anew"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_what_to_do(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, **changes)
    assert words in str(caught.value)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_valid_and_expects_something(path: Path) -> None:
    assert read_scenario(path).expect


def test_the_examples_are_there() -> None:
    assert [path.stem for path in EXAMPLES] == [
        "quality-outage", "quality-regression", "quality-steady", "rate-burst", "spend-day-cycle",
        "teacher-limit", "teacher-outage", "three-replicas", "topic-drift",
    ]  # fmt: skip
