"""While a candidate is tried: whose a request is, what it comes to, what is written beside it."""

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.api import shadows
from gateway.wire.chat import Chat
from routing.breaker import Breaker
from routing.rollout_file import policy_version
from routing.tally import ArmTally, ShadowTally, Tallies
from tests.fakes.generations import generation, rollout, state
from tests.fakes.observer import RememberingObserver
from tests.fakes.pair_schema import valid_pair
from tests.fakes.script import ROLE, BreakOff, Step, Until, Words, whole
from tests.fakes.serving import Stage, closed_port_url, server_of, serving, stage, wait_until
from tests.fakes.upstream import SURE, UNSURE, Reply, ScriptedModel, completion, saying

QUIET: dict[str, Any] = {"objective": None, "audit": {"complete_drafts": 0}}
OTHERS: dict[str, dict[str, Any]] = {
    "judged": {"comparator": {"kind": "judge"}},
    "sampled": {"samples": 3},
    "narrow": {"student": {"max_concurrent": 1}},
    "holding": {"audit": {"complete_drafts": 0, "holdout": 0.25}},
    "talking": {"conversation": {"sticky_turns": 1}},
}
HELD_OUT, KEPT = 0.24, 0.26  # what the coin says, with a quarter held out
PRICE_OF_DRAFT = (100 * 0.02 + 10 * 0.06) / 1e6


class Rehearsal:
    """A test's own time on a stage, with a candidate at a server of its own."""

    ids = itertools.count(1)

    def __init__(self, scene: Stage, candidate: ScriptedModel, url: str) -> None:
        self.scene = scene
        self.candidate = candidate
        self.url = url
        self.cascade = "assistant"
        context = scene.gateway.context
        self._before = (context.observer, context.dice, context.epoch)
        self.observer = RememberingObserver(context.observer)
        context.observer = self.observer
        context.dice = lambda: KEPT
        self._pairs = len(scene.pairs())
        for model in (scene.student, scene.teacher, candidate):
            model.requests.clear()
            model.reply = Reply()

    def end(self) -> None:
        """Nothing may be left behind, and no candidate is tried any more."""
        assert self.tallies is not None
        assert sum(self.succession.heartbeat().open.values()) == 0
        self.send_back()
        self.succession.tidy()
        context = self.scene.gateway.context
        context.observer, context.dice, context.epoch = self._before

    def begin(self, *, policy: dict[str, Any] | None = None, **changes: Any) -> None:
        """Try the candidate, as canary for all sessions unless said, from now on."""
        self.generation = generation(2, self.url, cascade=self.cascade, **(policy or {}))
        number = next(self.ids)
        tried = {"id": f"r-{number}", "holdout": 0.25, **changes}
        assert self.succession.take_up(state(number, None, rollout(self.generation, **tried)))

    def begin_in_shadow(self, **changes: Any) -> None:
        """Have the candidate write beside the incumbent, for each request unless said."""
        self.begin(**{"stage": "shadow", "share": 1.0, **changes})

    def send_back(self) -> None:
        """Try no candidate any more."""
        assert self.succession.take_up(state(next(self.ids), None))

    @property
    def succession(self) -> Any:
        return self.scene.gateway.successions[self.cascade]

    def ask(self, **changes: Any) -> httpx.Response:
        return self.scene.ask(**{"model": self.cascade, **changes})

    def flip(self, fallen: float) -> None:
        """What the dice say from now on."""
        self.scene.gateway.context.dice = lambda: fallen

    @property
    def tallies(self) -> Tallies:
        """Once nothing goes on any more."""
        context = self.scene.gateway.context
        wait_until(lambda: not (context.open_requests or context.background))
        tallies: Tallies = self.succession.heartbeat().tallies
        return tallies

    def pairs(self) -> list[dict[str, Any]]:
        return list(map(valid_pair, self.scene.pairs()[self._pairs :]))

    def metric(self, name: str, **labels: str) -> float:
        registry = self.observer.metrics.registry
        return registry.get_sample_value(name, {"cascade": self.cascade} | labels) or 0.0


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, ScriptedModel, str]]:
    """What all of them share: models, a candidate, and a gateway with a cascade of each kind."""
    candidate = ScriptedModel()
    others = {name: {**QUIET, **changes} for name, changes in OTHERS.items()}
    folder = tmp_path_factory.mktemp("trials")
    with serving(candidate) as url, stage(folder, cascade=QUIET, others=others) as scene:
        wait_until(lambda: not scene.gateway.context.background)
        yield scene, candidate, url


@pytest.fixture
def one(theatre: tuple[Stage, ScriptedModel, str]) -> Iterator[Rehearsal]:
    made = Rehearsal(*theatre)
    yield made
    made.end()


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_session_of_the_candidates_gets_its_student_and_its_policy(
    one: Rehearsal, is_stream: bool
) -> None:
    one.begin()
    response = one.ask(stream=is_stream)
    assert response.headers["x-understudy-policy"] == policy_version(one.generation["policy"])
    assert response.headers["x-understudy-served-by"] == "student"
    assert [request["model"] for request in one.candidate.requests] == ["model-g2"]
    assert one.scene.student.requests == []
    assert one.tallies == Tallies(ArmTally(), ArmTally(drafts=1), ShadowTally())
    drafts = {"arm": "candidate", "outcome": "kept"}
    assert one.metric("understudy_rollout_drafts_total", **drafts) == 1


def served_by_candidate(one: Rehearsal, sessions: int) -> set[int]:
    """Which of so many sessions are the candidate's."""
    found = set()
    for number in range(sessions):
        before = len(one.candidate.requests)
        body = one.scene.question | {"model": one.cascade}
        headers = {"x-understudy-session": f"s-{number}"}
        one.scene.client.post("/v1/chat/completions", json=body, headers=headers)
        if len(one.candidate.requests) > before:
            found.add(number)
    return found


def test_a_session_stays_where_it_is_while_the_share_grows(one: Rehearsal) -> None:
    one.begin(id="r-nested", share=0.3, holdout=0.0)
    first = served_by_candidate(one, 40)
    assert first == served_by_candidate(one, 40)
    one.begin(id="r-nested", share=0.6, holdout=0.0)
    second = served_by_candidate(one, 40)
    assert set() < first < second < set(range(40))
    tallies = one.tallies
    assert tallies.candidate.drafts == 2 * len(first) + len(second)
    assert tallies.incumbent.drafts == 3 * 40 - tallies.candidate.drafts


def test_once_nobody_watches_the_candidate_serves_nobody(one: Rehearsal) -> None:
    now = 1000.0
    one.scene.gateway.context.epoch = lambda: now
    one.begin(until=1000.5)
    one.ask()
    now = 1000.5
    one.flip(HELD_OUT)  # nor is anything held out for its sake
    response = one.ask()
    assert len(one.candidate.requests) == len(one.scene.student.requests) == 1
    assert response.headers["x-understudy-reason"] == "confident"
    assert one.tallies.candidate.drafts == 1
    assert one.tallies.incumbent.drafts == 0


@pytest.mark.parametrize("is_candidates", [False, True])
@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(("taught", "different"), [("paris", 0), ("Lyon.", 1)])
def test_a_held_out_draft_meets_the_teachers_answer(
    one: Rehearsal, is_candidates: bool, is_stream: bool, taught: str, different: int
) -> None:
    one.begin(share=float(is_candidates))
    one.scene.student.reply = one.candidate.reply = saying(["Par", "is", "."])
    one.scene.teacher.reply = saying([taught])
    one.flip(HELD_OUT)
    response = one.ask(stream=is_stream)
    assert response.headers["x-understudy-reason"] == "holdout"
    tally = ArmTally(drafts=1, held_out=1, different=different)
    arms = (ArmTally(), tally) if is_candidates else (tally, ArmTally())
    assert one.tallies == Tallies(*arms, ShadowTally())
    (pair,) = one.pairs()
    version = "student-g2" if is_candidates else "student-1"
    assert (pair["student_version"], pair["propensity"]) == (version, 0.25)
    policy = policy_version(one.generation["policy"]) if is_candidates else "uncalibrated"
    assert pair["policy_version"] == policy
    compared = {
        "arm": "candidate" if is_candidates else "incumbent",
        "against": "teacher",
        "outcome": "different" if different else "same",
    }
    assert one.metric("understudy_rollout_comparisons_total", **compared) == 1


def test_the_propensity_is_that_of_the_time_at_which_the_coin_was_thrown(one: Rehearsal) -> None:
    one.cascade = "holding"  # with a quarter
    one.begin(share=0.0, holdout=0.5)
    one.flip(0.4)

    def meanwhile(_: Any) -> Reply:
        """The rollout ends while the teacher answers."""
        one.send_back()
        return saying(["Lyon."])

    one.scene.teacher.reply = meanwhile
    assert one.ask().headers["x-understudy-reason"] == "holdout"
    assert one.ask().headers["x-understudy-reason"] == "confident"
    (pair,) = one.pairs()
    assert pair["propensity"] == 0.5
    assert one.tallies.incumbent == ArmTally(drafts=1, held_out=1, different=1)
    one.flip(HELD_OUT)
    one.scene.teacher.reply = Reply()
    assert one.ask().headers["x-understudy-reason"] == "holdout"
    assert one.pairs()[1]["propensity"] == 0.25


LONG = [f"w{number} " for number in range(20)]


@pytest.mark.parametrize(
    ("ending", "tally"),
    [
        (whole(["end"])[1:], ArmTally(drafts=1, held_out=1)),
        ([BreakOff()], ArmTally(failed=0, drafts=1, unknown=1)),
    ],
    ids=["whole", "broken off"],
)
def test_a_held_out_stream_is_compared_once_its_draft_is_whole(
    one: Rehearsal, ending: list[Step], tally: ArmTally
) -> None:
    goes_on = threading.Event()
    one.begin(share=0.0)
    one.scene.student.reply = Reply(steps=[ROLE, Words(LONG), Until(goes_on), *ending])
    one.scene.teacher.reply = saying([*LONG, "end"])
    one.flip(HELD_OUT)
    assert one.ask(stream=True).headers["x-understudy-reason"] == "holdout"
    wait_until(lambda: not one.scene.gateway.context.open_requests)
    heartbeat = one.succession.heartbeat()
    assert heartbeat.tallies.incumbent == ArmTally(drafts=1)
    assert heartbeat.open["student-1"] == 1  # it is not to be closed yet
    goes_on.set()
    assert one.tallies.incumbent == tally


@pytest.mark.parametrize(
    ("cascade", "choices"),
    [("judged", 1), ("assistant", 2)],
    ids=["a comparator that would have to ask", "several choices"],
)
def test_what_cannot_be_compared_here_is_unknown(
    one: Rehearsal, cascade: str, choices: int
) -> None:
    one.cascade = cascade
    one.begin(share=0.0)
    for model, said in ((one.scene.student, "Paris."), (one.scene.teacher, "Lyon.")):
        body = completion(said)
        body["choices"] *= choices
        model.reply = Reply(body=body)
    one.flip(HELD_OUT)
    assert one.ask(n=choices).headers["x-understudy-reason"] == "holdout"
    assert one.tallies.incumbent == ArmTally(drafts=1, unknown=1)


def too_long() -> Reply:
    said = {"error": {"message": "maximum context length is 5", "code": "context_length_exceeded"}}
    return Reply(body=said, status=400)


def busy() -> Reply:
    return Reply(body={"error": {"message": "later"}}, status=429)


OUTCOMES: dict[str, tuple[Callable[[], Reply], dict[str, Any], ArmTally]] = {
    "kept": (Reply, {}, ArmTally(drafts=1)),
    "not sure": (lambda: saying(["Paris."], UNSURE), {}, ArmTally(drafts=1, deferred=1)),
    "not JSON": (
        Reply,
        {"response_format": {"type": "json_object"}},
        ArmTally(drafts=1, deferred=1),
    ),
    "too long for it": (too_long, {}, ArmTally(drafts=1, deferred=1)),
    "an error": (lambda: Reply(status=500), {}, ArmTally(failed=1)),
    "no such model": (lambda: Reply(status=404), {}, ArmTally(failed=1)),
    "no completion": (lambda: Reply(body=b"hello"), {}, ArmTally(failed=1)),
    "busy": (busy, {}, ArmTally()),
    "the client's mistake": (
        lambda: Reply(body={"error": {"message": "no such field"}}, status=400),
        {},
        ArmTally(),
    ),
}


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(("reply", "request_", "tally"), OUTCOMES.values(), ids=OUTCOMES)
def test_each_request_counts_as_what_its_student_made_of_it(
    one: Rehearsal,
    reply: Callable[[], Reply],
    request_: dict[str, Any],
    tally: ArmTally,
    is_stream: bool,
) -> None:
    one.begin()
    one.candidate.reply = reply()
    one.ask(stream=is_stream, **request_)
    assert one.tallies.candidate == tally
    assert one.tallies.incumbent == ArmTally()


def test_a_student_that_is_left_alone_has_failed_and_one_without_room_has_not(
    one: Rehearsal,
) -> None:
    one.cascade, one.url = "narrow", closed_port_url()
    one.begin()
    for _ in range(6):  # five failures open the breaker
        assert one.ask().headers["x-understudy-reason"] == "student_failed"
    assert one.tallies.candidate == ArmTally(failed=6)
    assert one.metric("understudy_breaker_open", role="student") == 0
    trial = one.scene.gateway.context.served["narrow"].trial
    assert trial is not None
    chat = server_of(trial.candidate.cascade.student)
    chat.breaker, chat.open_calls = Breaker(), 1
    assert one.ask().headers["x-understudy-reason"] == "student_failed"
    assert one.tallies.candidate == ArmTally(failed=6)


def test_nobodys_session_is_asked_for_but_where_a_candidate_serves(
    one: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def session_of(chat: Chat, _: str | None) -> str:
        asked.append(chat.model)
        return "s"

    monkeypatch.setattr("gateway.api.arms.session_of", session_of)
    assert one.ask().status_code == 200
    one.begin_in_shadow(share=0.0)
    assert one.ask().status_code == 200
    assert asked == []
    assert one.tallies == Tallies(ArmTally(drafts=1), ArmTally(), ShadowTally())
    one.begin()
    assert one.ask().status_code == 200
    assert asked == ["assistant"]


# --- in the shadow ---


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(("said", "changed"), [("PARIS", 0), ("Lyon.", 1)])
def test_what_both_keep_is_compared_and_nobody_gets_the_candidates(
    one: Rehearsal, is_stream: bool, said: str, changed: int
) -> None:
    one.begin_in_shadow()
    one.scene.student.reply = saying(["Par", "is", "."])
    one.candidate.reply = saying([said])
    response = one.ask(stream=is_stream)
    assert "Par" in response.text
    assert response.headers["x-understudy-policy"] == "uncalibrated"
    shadow = ShadowTally(
        drafts=1, kept=1, incumbent_kept=1, both_kept=1, both_compared=1, changed=changed
    )
    assert one.tallies == Tallies(ArmTally(drafts=1), ArmTally(), shadow)
    assert one.pairs() == []


def test_it_meets_the_teacher_where_the_incumbent_was_not_sure(one: Rehearsal) -> None:
    one.begin_in_shadow()
    one.scene.student.reply = saying(["Rome."], UNSURE)
    one.candidate.reply = saying(["Paris."])
    one.scene.teacher.reply = saying(["Paris"])
    assert one.ask().headers["x-understudy-served-by"] == "teacher"
    shadow = ShadowTally(drafts=1, kept=1, compared=1)
    assert one.tallies == Tallies(ArmTally(drafts=1, deferred=1), ArmTally(), shadow)
    (pair,) = one.pairs()
    assert pair["student_version"] == "student-1"
    assert len(pair["legs"]) == 2


def test_what_the_candidate_would_not_keep_is_compared_with_nothing(one: Rehearsal) -> None:
    one.begin_in_shadow()
    one.candidate.reply = saying(["Lyon."], UNSURE)
    one.ask()
    assert one.tallies.shadow == ShadowTally(drafts=1, incumbent_kept=1)


def test_it_is_billed_as_shadow_and_no_part_of_what_the_client_pays(one: Rehearsal) -> None:
    one.begin_in_shadow()
    paid = one.ask().headers["x-understudy-cost-usd"]
    assert float(paid) == pytest.approx(PRICE_OF_DRAFT)
    assert one.tallies.shadow.drafts == 1
    costs = {"served": PRICE_OF_DRAFT, "shadow": PRICE_OF_DRAFT, "wasted": 0.0, "audit": 0.0}
    for kind, cost in costs.items():
        labels = {"role": "student", "kind": kind}
        assert one.metric("understudy_cost_usd_total", **labels) == pytest.approx(cost)
    assert len(one.observer.settled_facts[0].legs) == 1
    assert one.observer.completed_facts == []  # it is no abandoned draft


@pytest.mark.parametrize(
    ("reply", "tally"),
    [
        (Reply(status=500), ShadowTally(failed=1)),
        (busy(), ShadowTally(skipped=1)),
        (Reply(body={"error": {"message": "no such field"}}, status=400), ShadowTally()),
    ],
    ids=["an error", "busy", "refused"],
)
def test_what_the_candidate_does_not_write_costs_no_request(
    one: Rehearsal, reply: Reply, tally: ShadowTally
) -> None:
    one.begin_in_shadow()
    one.candidate.reply = reply
    assert one.ask().headers["x-understudy-served-by"] == "student"
    assert one.tallies == Tallies(ArmTally(drafts=1), ArmTally(), tally)


@pytest.mark.parametrize(("fallen", "drafts"), [(0.49, 1), (0.5, 0)])
def test_a_share_of_the_requests_is_drafted(one: Rehearsal, fallen: float, drafts: int) -> None:
    one.begin_in_shadow(share=0.5)
    one.flip(fallen)
    one.ask()
    assert one.tallies.shadow.drafts == len(one.candidate.requests) == drafts


def test_no_request_waits_for_it_and_there_are_only_so_many_at_a_time(
    one: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadows, "MOST_SHADOWS", 2)
    one.begin_in_shadow()
    one.candidate.reply = Reply(delay_seconds=0.5)
    for _ in range(3):
        assert one.ask().elapsed.total_seconds() < 0.4
    assert one.succession.heartbeat().open["student-g2"] == 2
    assert one.succession.heartbeat().tallies.shadow.skipped == 1
    assert one.tallies.shadow == ShadowTally(
        drafts=2, kept=2, incumbent_kept=2, both_kept=2, both_compared=2, skipped=1
    )


def test_it_ends_with_the_process_and_what_it_took_is_billed(tmp_path: Path) -> None:
    candidate = ScriptedModel()
    with serving(candidate) as url:
        with stage(tmp_path, cascade=QUIET) as scene:
            one = Rehearsal(scene, candidate, url)
            candidate.reply = Reply(delay_seconds=30)
            one.begin_in_shadow()
            scene.ask()
            wait_until(lambda: candidate.requests)
        wait_until(lambda: candidate.disconnects)
        assert one.metric("understudy_cost_unknown_total", role="student", cause="usage") == 1


@pytest.mark.parametrize("next_", ["none", "another rollout", "the end of the process"])
def test_what_was_tried_when_a_request_came_is_asked_only_while_it_is(
    one: Rehearsal, next_: str
) -> None:
    context = one.scene.gateway.context
    one.begin_in_shadow()

    def meanwhile(_: Any) -> Reply:
        if next_ == "none":
            one.send_back()
        elif next_ == "another rollout":
            one.begin_in_shadow()
        else:
            context.is_draining = True
        return Reply()

    one.scene.student.reply = meanwhile
    try:
        one.ask()
        assert one.tallies.shadow == ShadowTally()
        assert one.candidate.requests == []
    finally:
        context.is_draining = False


def test_a_policy_may_say_of_the_prompt_alone_that_no_draft_is_worth_it(one: Rehearsal) -> None:
    one.begin_in_shadow(policy={"sampling": {"temperature": 0.0}})
    one.ask(temperature=1.0)
    assert one.tallies.shadow == ShadowTally(drafts=1, incumbent_kept=1)
    assert one.candidate.requests == []


def test_who_wants_nothing_stored_is_drafted_for_all_the_same(one: Rehearsal) -> None:
    one.begin_in_shadow()
    one.scene.student.reply = saying(["Rome."], UNSURE)
    one.ask(store=False)
    assert one.tallies.shadow.drafts == 1
    assert one.pairs() == []


def test_of_several_drafts_the_one_that_speaks_for_them_is_judged(one: Rehearsal) -> None:
    one.cascade = "sampled"
    body = completion("Paris.", SURE)
    body["choices"] = [{**body["choices"][0], "index": place} for place in range(3)]
    one.scene.student.reply = one.candidate.reply = Reply(body=body)
    one.begin_in_shadow(policy={"samples": 3})
    one.ask(temperature=0.7)
    assert one.tallies.shadow.both_compared == 1
    assert [request["n"] for request in one.candidate.requests] == [3]


def test_turn_that_stays_with_the_teacher_is_no_draft_of_either_student(one: Rehearsal) -> None:
    one.cascade = "talking"
    one.begin()
    one.candidate.reply = Reply(body=completion("Rome?", UNSURE))
    reasons = [
        one.ask(prompt_cache_key="k").headers["x-understudy-reason"] for _ in ("first", "second")
    ]
    assert reasons == ["low_confidence", "sticky"]
    assert one.tallies == Tallies(ArmTally(), ArmTally(drafts=1, deferred=1), ShadowTally())


def test_candidate_in_the_shadow_knows_of_earlier_turns_though_the_incumbent_does_not_ask(
    one: Rehearsal,
) -> None:
    signals = ["mean_probability", "earlier_kept"]
    score = {"signals": signals, "weights": [0.5, 0.5], "intercept": 0.0}
    calibration = {"kind": "logistic", "slope": 10.0, "intercept": -5.0}
    one.begin_in_shadow(policy={"rule": {"score": score, "calibration": calibration}})
    kept = []
    for _ in ("first", "second"):
        assert one.ask(prompt_cache_key="past").headers["x-understudy-served-by"] == "student"
        kept.append(one.tallies.shadow.kept)
    assert kept == [0, 1]  # of a first turn nothing is known, and silence defers
