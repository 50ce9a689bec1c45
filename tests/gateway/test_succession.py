"""What a gateway makes of a state: all of it comes into force at once, or nothing does."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.app import Gateway
from gateway.errors import UpstreamTimeout
from gateway.succession import MOST_TOLD_CHARACTERS, Succession
from gateway.telemetry.log import new_log
from gateway.upstream.openai import OpenAIModel
from routing.rollout_file import policy_version
from routing.vocabulary import Role
from tests.fakes.generations import generation, rollout, state
from tests.fakes.serving import cascade_document, load_gateway, server_of

URL = "http://other"
ONE, TWO = generation(1, URL), generation(2, URL)
CASCADE = {"cascade": "assistant"}


class Scene:
    """A gateway that serves nobody, and what it says."""

    def __init__(self, folder: Path, **cascade: Any) -> None:
        cascade = {"objective": None} | cascade
        document = cascade_document("http://student", "http://teacher", **cascade)
        self.gateway: Gateway = load_gateway(folder, document)
        self.succession: Succession = self.gateway.successions["assistant"]
        self.written = io.BytesIO()
        self.gateway.context.observer.log = new_log("info", self.written)

    @property
    def served(self) -> Any:
        return self.gateway.context.served["assistant"]

    @property
    def student(self) -> OpenAIModel:
        return server_of(self.served.cascade.student)

    def metric(self, name: str, **labels: str) -> float | None:
        registry = self.gateway.context.observer.metrics.registry
        return registry.get_sample_value(name, CASCADE | labels)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.written.getvalue().splitlines()]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def version_of(one: dict[str, Any]) -> str:
    return policy_version(one["policy"])


def test_a_generation_comes_with_its_student_and_its_policy(scene: Scene) -> None:
    before = scene.served
    assert scene.succession.take_up(state(3, ONE))
    after = scene.served
    assert after.source.student_version == after.standing.version == "student-g1"
    assert after.cascade.policy.version == version_of(ONE)
    assert after.cascade.policy.threshold.value == 0.7
    assert after.cascade.teacher is before.cascade.teacher
    assert after.cascade.student.price == before.cascade.student.price
    assert after.learner is not before.learner
    assert scene.succession.revision == 3
    assert before.source.student_version == "student-1"  # whoever has it keeps it


def test_the_same_state_is_taken_up_once(scene: Scene) -> None:
    assert scene.succession.take_up(state(3, ONE))
    after = scene.served
    assert not scene.succession.take_up(state(3, ONE))
    assert scene.served is after


def test_a_threshold_that_the_operator_chose_holds_for_every_generation(tmp_path: Path) -> None:
    scene = Scene(tmp_path, objective={"kind": "confidence", "at_least": 0.9})
    scene.succession.take_up(state(1, ONE))
    assert scene.served.cascade.policy.threshold.value == 0.9
    assert scene.metric("understudy_policy_disagreement_bound") is None


def candidate_with(**policy: Any) -> bytes:
    return state(4, ONE, rollout(generation(2, URL, **policy)))


UNUSABLE = {
    "another student": (candidate_with(student_version="student-g1"), "student-g1"),
    "another cascade": (candidate_with(cascade="other"), "cascade: the policy was fitted for"),
    "no rule": (candidate_with(rule={}), "policy: rule: lacks calibration"),
    "other drafts": (candidate_with(samples=3), "samples: the policy is for drafts chosen from 3"),
    "no server": (state(4, ONE | {"base_url": "ftp://x"}), "base_url: must start with http://"),
    "no student": (state(4, ONE | {"model": ""}), "incumbent.model: must be a text"),
    "another release": (b'{"schema_version": 9}', "schema_version: must be 1"),
    "no number of metrics": (state(10**400, ONE), "revision: must be at most"),
    "no JSON": (b"{", "Expecting"),
    "no text": (b"\xff", "utf-8"),
    "too deep": (b"[" * 100_000, "recursion"),
}


@pytest.mark.parametrize(("document", "why"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_state_that_is_no_use_is_refused_whole_and_the_one_in_force_stays(
    scene: Scene, document: bytes, why: str
) -> None:
    scene.succession.take_up(state(3, ONE))
    before = scene.served
    assert scene.metric("understudy_generations_refused") == 0
    for _ in range(2):  # it is told once
        assert not scene.succession.take_up(document)
    assert scene.served is before
    heartbeat = scene.succession.heartbeat()
    assert heartbeat.revision == 3
    assert heartbeat.refused is not None
    assert why in heartbeat.refused
    assert len(heartbeat.refused) <= MOST_TOLD_CHARACTERS
    assert scene.metric("understudy_generations_refused") == 1
    (line,) = [each for each in scene.lines() if each["event"] == "generations_refused"]
    assert (line["level"], line["cascade"], line["why"]) == (
        "error",
        "assistant",
        heartbeat.refused,
    )
    assert scene.succession.take_up(state(5, TWO))
    assert scene.succession.heartbeat().refused is None
    assert scene.metric("understudy_generations_refused") == 0


def test_a_policy_that_promises_streams_of_another_window_is_refused(tmp_path: Path) -> None:
    scene = Scene(tmp_path, streaming={"hold_tokens": 32})
    rule = ONE["policy"]["rule"]
    bounded = {"rule": rule, "threshold": 0.7, "abort_below": 0.1}
    streamed = {
        "checkpoints": [{"tokens": 16, **bounded}, {"tokens": 32, **bounded}],
        "end": bounded,
        "arguments": {"rule": rule, "threshold": 0.9},
        "hold_tokens": 16,
        **{name: ONE["policy"][name] for name in ("target", "bound", "n")},
    }
    assert not scene.succession.take_up(state(1, generation(1, URL, streamed=streamed)))
    refused = scene.succession.heartbeat().refused
    assert refused is not None
    assert refused.startswith("streaming.hold_tokens: the policy's promise for streams is for 16")
    assert scene.served.source.student_version == "student-1"


def test_a_state_may_go_back_and_that_is_told(scene: Scene) -> None:
    scene.succession.take_up(state(9, TWO))
    assert scene.succession.take_up(state(4, ONE))
    assert scene.succession.revision == 4
    taken = [each for each in scene.lines() if each["event"] == "generations"]
    assert [each["level"] for each in taken] == ["info", "warning"]
    assert "went back" in taken[1]["message"]


def test_what_is_taken_up_is_told_with_who_did_it_and_why(scene: Scene) -> None:
    tried = rollout(TWO, share=0.25)
    scene.succession.take_up(state(3, ONE, tried, action="canaried", version="student-g2"))
    (line,) = scene.lines()
    told = ("action", "version", "revision", "who", "why", "incumbent", "candidate", "share")
    assert [line[name] for name in told] == [
        "canaried", "student-g2", 3, "ann", "well", "student-g1", "student-g2", 0.25,
    ]  # fmt: skip
    assert scene.metric("understudy_rollout_share", stage="canary") == 0.25
    assert scene.metric("understudy_rollout_share", stage="shadow") == 0
    assert scene.metric("understudy_rollout_steps_total", action="canaried") == 1
    assert scene.metric("understudy_generations_revision") == 3
    assert scene.metric("understudy_generation_number") == 1


def test_a_rollout_that_is_only_renewed_is_no_step(scene: Scene) -> None:
    step = {"action": "canaried"}
    scene.succession.take_up(state(3, ONE, rollout(TWO), **step))
    candidate = scene.served.trial.candidate
    assert scene.succession.take_up(state(3, ONE, rollout(TWO, until=4e9 + 1), **step))
    assert scene.served.trial.rollout.until == 4e9 + 1
    assert scene.served.trial.candidate is candidate
    assert len(scene.lines()) == 1
    assert scene.metric("understudy_rollout_steps_total", action="canaried") == 1


def test_what_was_in_force_before_the_process_is_no_step_of_its_own(scene: Scene) -> None:
    scene.succession.take_up(state(3, ONE), is_news=False)
    assert scene.metric("understudy_rollout_steps_total", action="promoted") == 0


def test_a_rollout_that_nobody_watches_any_more_has_no_share(scene: Scene) -> None:
    scene.succession.take_up(state(3, ONE, rollout(TWO, until=5.0)))
    assert scene.metric("understudy_rollout_share", stage="canary") == 0


def test_a_rollout_that_nobody_watches_any_more_is_told_once_and_so_is_its_return(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [4.0]
    monkeypatch.setattr(scene.gateway.context, "epoch", lambda: now[0])

    def told() -> list[str]:
        scene.succession.tidy()
        events = [line["event"] for line in scene.lines()]
        return [event for event in events if event.startswith("rollout")]

    scene.succession.take_up(state(3, ONE, rollout(TWO, until=5.0)))
    assert told() == []
    now[0] = 5.0
    assert told() == told() == ["rollout_unwatched"]
    scene.succession.take_up(state(3, ONE, rollout(TWO, until=9.0)))
    assert told() == told() == ["rollout_unwatched", "rollout_watched"]
    now[0] = 9.0
    assert told()[2:] == ["rollout_unwatched"]
    scene.succession.take_up(state(4, ONE))
    assert len(told()) == 3


def test_another_rollout_is_no_return_of_one_that_nobody_watched(scene: Scene) -> None:
    scene.succession.take_up(state(3, ONE, rollout(TWO, until=5.0)))
    scene.succession.tidy()
    scene.succession.take_up(state(5, ONE, rollout(TWO, id="another")))
    scene.succession.tidy()
    events = [line["event"] for line in scene.lines()]
    assert events.count("rollout_unwatched") == 1
    assert "rollout_watched" not in events


def test_a_candidate_that_is_promoted_is_the_student_that_was_tried(scene: Scene) -> None:
    scene.succession.take_up(state(3, ONE, rollout(TWO)))
    tried = scene.served.trial.candidate
    assert (tried.standing.is_incumbent, scene.served.standing.is_incumbent) == (False, True)
    scene.succession.take_up(state(4, TWO))
    assert scene.served.cascade.student is tried.cascade.student
    assert scene.served.learner is tried.learner
    assert scene.served.standing.is_incumbent
    assert scene.served.trial is None


def test_another_policy_for_the_same_student_leaves_its_connections(scene: Scene) -> None:
    scene.succession.take_up(state(3, ONE))
    before = scene.served
    refitted = generation(1, URL, threshold=0.9)
    scene.succession.take_up(state(4, ONE, rollout(refitted)))
    tried = scene.served.trial.candidate
    assert tried.cascade.student is before.cascade.student
    assert tried.cascade.policy.threshold.value == 0.9
    assert scene.served.cascade.policy.threshold.value == 0.7
    scene.succession.take_up(state(5, refitted))
    assert scene.served.cascade.policy.threshold.value == 0.9
    assert scene.succession.heartbeat().open == {"student-g1": 0}
    assert len(scene.succession.students) == 1


def test_a_generation_may_be_the_configuration_s_own_student_with_a_policy(scene: Scene) -> None:
    before = scene.served
    own = generation(1, URL, student_version="student-1")
    own |= {"version": "student-1", "base_url": "http://student/v1", "model": "upstream-student"}
    scene.succession.take_up(state(1, own))
    assert scene.served.cascade.student is before.cascade.student
    assert scene.served.cascade.policy.version == version_of(own)


def test_a_student_that_is_left_is_closed_once_nothing_is_under_way_with_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[OpenAIModel] = []
    monkeypatch.setattr(OpenAIModel, "close", lambda model: closed.append(model))
    first, standing = scene.student, scene.served.standing
    standing.open_requests += 2
    scene.succession.take_up(state(3, ONE))
    for _ in range(2):
        scene.succession.tidy()
        assert closed == []
        assert scene.succession.heartbeat().open["student-1"] > 0
        standing.open_requests -= 1
    assert first in scene.gateway.models
    scene.succession.tidy()
    assert closed == [first]
    assert scene.succession.heartbeat().open == {"student-g1": 0}
    assert first not in scene.gateway.models


def test_a_student_that_comes_back_meanwhile_is_not_closed(scene: Scene) -> None:
    first = scene.served
    first.standing.open_requests += 1
    scene.succession.take_up(state(3, ONE))
    scene.succession.take_up(state(4, None))
    assert scene.served.cascade.student is first.cascade.student
    assert scene.served.learner is first.learner
    first.standing.open_requests -= 1
    scene.succession.tidy()
    assert scene.student in scene.gateway.models


def test_a_rollback_to_the_first_student_builds_it_anew(scene: Scene) -> None:
    first = scene.served
    scene.succession.take_up(state(3, ONE))
    scene.succession.tidy()
    scene.succession.take_up(state(4, None))
    assert scene.served.source.student_version == "student-1"
    assert scene.served.cascade.policy is first.cascade.policy
    assert scene.served.cascade.student is not first.cascade.student


def test_what_the_metrics_show_is_the_incumbent(scene: Scene) -> None:
    shown = {"version": "uncalibrated", "student_version": "student-1"}
    assert scene.metric("understudy_policy_info", **shown) == 1
    scene.succession.take_up(state(3, ONE, rollout(TWO)))
    assert scene.metric("understudy_policy_info", **shown) is None
    shown = {"version": version_of(ONE), "student_version": "student-g1"}
    assert scene.metric("understudy_policy_info", **shown) == 1
    assert scene.metric("understudy_policy_calibrated") == 1
    scene.student.open_calls = 3
    assert scene.metric("understudy_upstream_open_calls", role="student") == 3
    learners = scene.gateway.context.observer.metrics.baseline
    assert learners._ratios.learners == {"assistant": scene.served.learner}


def test_a_breaker_of_a_student_that_is_no_incumbent_is_told_and_not_shown(scene: Scene) -> None:
    scene.succession.take_up(state(3, ONE, rollout(TWO)))
    candidate = server_of(scene.served.trial.candidate.cascade.student)
    candidate.breaker.opened_at = 1.0
    candidate._on_breaker(UpstreamTimeout("not in time"))
    is_open = {"name": "understudy_breaker_open", "role": "student"}
    assert scene.metric(**is_open) == 0
    line = scene.lines()[-1]
    assert (line["event"], line["student_version"]) == ("breaker", "student-g2")
    scene.succession.take_up(state(4, TWO))
    assert scene.metric(**is_open) == 1  # it is the incumbent's now
    candidate.breaker.opened_at = None
    candidate._on_breaker(None)
    assert scene.metric(**is_open) == 0
    assert "student_version" not in scene.lines()[-1]


def test_counts_go_on_while_a_rollout_does_and_begin_with_the_next(scene: Scene) -> None:
    assert scene.succession.heartbeat().rollout is None
    scene.succession.take_up(state(3, ONE, rollout(TWO, share=0.05)))
    tallies = scene.served.trial.tallies
    tallies.candidate.drafts = 5
    scene.succession.take_up(state(4, ONE, rollout(TWO, share=0.25)))
    assert scene.served.trial.tallies is tallies
    scene.succession.take_up(state(5, ONE))
    assert scene.succession.heartbeat().rollout == "r-1"  # it can still be read
    assert scene.succession.heartbeat().tallies.candidate.drafts == 5
    assert scene.succession.has_tried
    scene.succession.take_up(state(6, ONE, rollout(TWO, id="r-2")))
    assert scene.succession.heartbeat().rollout == "r-2"
    assert scene.succession.heartbeat().tallies.candidate.drafts == 0


@pytest.mark.parametrize(("share", "expected"), [(0.1, 0.25), (0.4, 0.4)])
def test_the_larger_of_two_shares_is_held_out(
    tmp_path: Path, share: float, expected: float
) -> None:
    scene = Scene(tmp_path, audit={"holdout": 0.25})
    scene.succession.take_up(state(3, ONE, rollout(TWO, holdout=share)))
    assert float(scene.served.trial.holdout) == expected


RENT = {"price": {"gpu_usd_per_hour": 3600, "gpus": 1}}


def test_the_rent_of_every_server_counts_while_a_student_is_there(tmp_path: Path) -> None:
    now = [0.0]
    scene = Scene(tmp_path, student=RENT)
    workshop = scene.succession._workshop
    workshop.rents._clock = lambda: now[0]
    rent = {"name": "understudy_gpu_rent_usd_total", "role": "student"}

    def rents_of(seconds: float) -> float:
        before = scene.metric(**rent)
        now[0] += seconds
        after = scene.metric(**rent)
        assert before is not None
        assert after is not None
        return after - before

    now[0] = 1e6
    scene.succession.take_up(state(1))  # its meters have met this clock
    assert rents_of(10) == pytest.approx(10)
    scene.succession.take_up(state(2, None, rollout(ONE)))
    assert rents_of(10) == pytest.approx(20)
    same_server = ONE | {"base_url": "http://student/v1"}
    scene.succession.take_up(state(3, None, rollout(same_server)))
    assert rents_of(10) == pytest.approx(10)
    scene.succession.take_up(state(4, ONE))
    assert rents_of(10) == pytest.approx(10)


def test_a_server_that_is_rented_at_other_terms_already_is_refused(tmp_path: Path) -> None:
    teacher = {"price": {"gpu_usd_per_hour": 8, "gpus": 8}}
    scene = Scene(tmp_path, student=RENT, teacher=teacher)
    assert not scene.succession.take_up(state(1, generation(1, "http://teacher")))
    refused = scene.succession.heartbeat().refused
    assert refused is not None
    assert "rents http://teacher/v1 at other terms" in refused


def test_the_teacher_stays_and_all_models_are_known(scene: Scene) -> None:
    first = list(scene.gateway.models)
    scene.served.standing.open_requests += 1
    scene.succession.take_up(state(3, ONE, rollout(TWO)))
    candidate = server_of(scene.served.trial.candidate.cascade.student)
    assert set(scene.gateway.models) == {scene.student, candidate, *first}
    assert [model.role for model in scene.succession.students] == [Role.STUDENT] * 3
