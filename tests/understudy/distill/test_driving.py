"""A candidate's whole way, second by second, on a real Valkey with replicas that only count."""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import redis

from distill.generations import ended
from distill.rollouts import Least, Plan
from gateway.stores.redis_keys import generations_key
from routing.rollout import Action, Arm, Generations
from routing.rollout_file import generations_document
from tests.distill.made_generations import WHY, generation
from tests.fakes.replica import FakeReplica, Hours, Rates
from tests.fakes.serving import closed_port_url
from tests.fakes.valkey import StoreServer
from understudy.distill.driving import BACK, DONE, Errand, Promotion
from understudy.distill.narrating import Narrator
from understudy.distill.registry import Adapter, Registry
from understudy.telling import INTERRUPTED, CommandError

PLAN = Plan(
    shadow_share=0.5, shares=(0.1, 0.5), holdout=0.5, seconds=60.0, least=Least(100, 100, 20)
)


@dataclass
class Scene:
    """One promotion, and who takes part."""

    registry: Registry
    replicas: list[FakeReplica]
    hours: Hours
    promotion: Promotion

    def run(self) -> int:
        self.promotion.begin()
        return self.promotion.finish()

    def state(self) -> Generations:
        state = self.registry.state()
        assert state is not None
        return state

    def actions(self) -> list[Action]:
        return [step.action for step in reversed(self.registry.steps(20))]


Stage = Callable[..., Scene]


@pytest.fixture
def scene(registry: Registry) -> Stage:
    """Two replicas and a candidate that is as good as the incumbent, unless said.

    Which sessions are the candidate's hangs on the rollout's id: it is the same in every run.
    """
    ids = itertools.count(1)

    def make(number: int = 1, plan: Plan = PLAN, lease: float = 60.0, **rates: Any) -> Scene:
        replicas = [
            FakeReplica(registry.client, name, candidate=Rates(**rates))
            for name in ("replica-1", "replica-2")
        ]
        hours = Hours(replicas)
        for replica in replicas:
            replica.beat(hours.now)
        errand = Errand(generation(number), plan, "ada@desk", "a lower bill", lease_seconds=lease)
        promotion = Promotion(
            registry, errand, hours.world, Narrator(is_json=True), id=f"rollout-{next(ids)}"
        )
        return Scene(registry, replicas, hours, promotion)

    return make


def test_a_good_candidate_gets_in_and_every_step_says_who_and_why(
    scene: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    one = scene(deferred=0.15)
    assert one.run() == DONE
    state = one.state()
    assert state.incumbent == generation(1)
    assert (state.previous, state.rollout, state.revision) == (None, None, 4)
    assert one.actions() == [
        Action.SHADOWED, Action.CANARIED, Action.CANARIED, Action.PROMOTED,
    ]  # fmt: skip
    steps = one.registry.steps(9)
    assert {step.who for step in steps} == {"ada@desk"}
    assert steps[-1].why == "a lower bill"
    assert steps[-2].why.startswith("10% of the sessions, after escalation rate ")
    assert "incumbent" in steps[0].why
    assert all(replica.state == state for replica in one.replicas)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in told] == ["step"] * 4 + ["settled"]


def test_the_next_one_has_this_one_behind_it(scene: Stage) -> None:
    assert scene(1).run() == DONE
    assert scene(2).run() == DONE
    again = scene(3)
    assert again.run() == DONE
    assert again.state().previous == generation(2)


def test_what_nobody_can_go_back_to_is_unloaded_and_nothing_else(
    scene: Stage, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2, 3):
        registry.keep_adapter(f"small-g{number}", Adapter((closed_port_url(),), "/adapters"))
    told: dict[tuple[int, ...], list[str]] = {}
    way: tuple[int, ...] = ()
    for number in (1, 2, 1, 3):  # the third is the second's predecessor again, and stays
        assert scene(number).run() == DONE
        way = (*way, number)
        events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        told[way] = [event["told"] for event in events if event["event"] == "retired"]
    assert told.pop((1, 2, 1, 3))[0].startswith("small-g2 stays loaded: http://127.0.0.1:")
    assert set(map(len, told.values())) == {0}


def test_counts_of_an_earlier_share_decide_nothing_later(scene: Stage) -> None:
    """What is reported of the last share has none of the requests of the one before."""
    one = scene()
    assert one.run() == DONE
    seen = one.registry.reported()
    assert seen is not None
    counted = seen["incumbent"]["drafts"] + seen["candidate"]["drafts"]
    alone = sum(replica.tallies.incumbent.drafts for replica in one.replicas) + sum(
        replica.tallies.candidate.drafts for replica in one.replicas
    )
    assert 0 < counted < alone
    assert seen["shadow"]["drafts"] == 0
    assert (seen["stage"], seen["share"], seen["decision"]) == ("canary", 0.5, "go")


@pytest.mark.parametrize(
    ("rates", "why", "steps"),
    [
        ({"failed": 0.9}, "failed requests", 2),
        ({"deferred": 0.9}, "escalation rate", 2),
        ({"different": 0.9}, "disagreement with the teacher", 2),
    ],
)
def test_a_disaster_goes_back_from_the_shadow(
    scene: Stage, rates: dict[str, float], why: str, steps: int
) -> None:
    one = scene(**rates)
    assert one.run() == BACK
    state = one.state()
    assert (state.incumbent, state.rollout, state.revision) == (None, None, steps)
    assert why in state.last.why
    assert state.last.action is Action.ROLLED_BACK
    assert not any(arm is Arm.CANDIDATE for one in one.replicas for _, arm in one.served)


@pytest.mark.parametrize(
    ("rates", "why"),
    [
        (Rates(failed=0.5), "failed requests"),
        (Rates(different=0.9), "disagreement with the teacher"),
        (Rates(deferred=0.9), "escalation rate"),
    ],
)
def test_one_that_degrades_while_it_serves_goes_back_by_itself(
    scene: Stage, rates: Rates, why: str
) -> None:
    one = scene()

    def degrade() -> None:
        for replica in one.replicas:
            replica.candidate = rates

    one.hours.acts[4] = degrade
    assert one.run() == BACK
    assert one.actions() == [Action.SHADOWED, Action.CANARIED, Action.ROLLED_BACK]
    assert why in one.state().last.why


def test_one_that_nobody_can_tell_about_goes_back_when_its_time_is_over(scene: Stage) -> None:
    one = scene(deferred=0.25)
    assert one.run() == BACK
    why = one.state().last.why
    assert why.startswith("undecided after 60 s")
    assert "evidence that escalation rate is at most 5.0% higher" in why


def test_without_traffic_it_goes_back_too(scene: Stage) -> None:
    one = scene()
    for replica in one.replicas:
        replica.requests_a_second = 0
    assert one.run() == BACK
    assert "shadow drafts: 0 of 100" in one.state().last.why


# --- gateways -----------------------------------------------------------------------------------


def test_without_a_live_gateway_nothing_begins(scene: Stage) -> None:
    one = scene()
    one.hours.now += 11.0
    with pytest.raises(CommandError, match=r"no gateway of assistant is alive.* 11 s ago"):
        one.promotion.begin()
    assert one.registry.state() is None
    one.registry.forget(["replica-1", "replica-2"])
    with pytest.raises(CommandError, match="none ever was"):
        one.promotion.begin()


def test_a_gateway_that_refuses_the_candidate_sends_it_back_with_its_reason(scene: Stage) -> None:
    one = scene()
    one.replicas[1].refuses = "policy: hold_tokens: 16 is no checkpoint"
    assert one.run() == BACK
    why = "a gateway refuses it: replica-2: policy: hold_tokens: 16 is no checkpoint"
    assert one.state().last.why == why
    assert one.actions() == [Action.SHADOWED, Action.ROLLED_BACK]


def test_a_gateway_that_begins_to_refuse_later_sends_it_back(scene: Stage) -> None:
    one = scene(deferred=0.24)
    one.hours.acts[20] = lambda: setattr(one.replicas[0], "refuses", "no such model")
    assert one.run() == BACK
    assert "no such model" in one.state().last.why


def test_a_gateway_that_refuses_what_is_in_force_lets_nothing_begin(scene: Stage) -> None:
    one = scene()
    one.replicas[0].refuses = "an old release"
    one.promotion.begin()
    one.hours.wait(1)
    one.hours.now += 120.0
    for replica in one.replicas:
        replica.beat(one.hours.now)
    other = replace(one.promotion, id="other")
    with pytest.raises(CommandError, match="refuses the state that is there already: replica-1"):
        other.begin()


def test_a_gateway_that_takes_nothing_up_sends_it_back(scene: Stage) -> None:
    one = scene()
    stuck = one.replicas[1]
    real = stuck.beat

    def beat(now: float) -> None:
        stuck.state, before = None, stuck.client
        stuck.client = _Blind(before)  # type: ignore[assignment]
        real(now)
        stuck.client = before

    stuck.beat = beat  # type: ignore[method-assign]
    assert one.run() == BACK
    assert "not taken up within 60 s: replica-2" in one.registry.steps(1)[0].why


class _Blind:
    """A client that finds nothing, and can say so."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self.hset = client.hset

    def get(self, _: str) -> None:
        return None


def test_a_gateway_that_dies_is_not_waited_for_and_its_counts_stay(scene: Stage) -> None:
    one = scene(deferred=0.15)
    one.hours.acts[6] = lambda: setattr(one.replicas[1], "is_dead", True)
    assert one.run() == DONE
    assert one.replicas[1].tallies.candidate.drafts > 0


def test_gateways_that_were_gone_for_a_day_are_forgotten(scene: Stage) -> None:
    one = scene()
    ghost = FakeReplica(one.registry.client, "ghost", requests_a_second=0)
    ghost.beat(one.hours.now - 90_000.0)
    assert "ghost" in one.registry.heartbeats()
    one.promotion.begin()
    assert "ghost" not in one.registry.heartbeats()


# --- who watches --------------------------------------------------------------------------------


def test_the_lease_is_renewed_while_somebody_watches(scene: Stage) -> None:
    one = scene(deferred=0.25, lease=6.0)
    leases = []
    for second in range(5, 40):
        one.hours.acts[second] = lambda: leases.append(
            (rollout.until if (rollout := one.state().rollout) else 0.0) - one.hours.now
        )
    assert one.run() == BACK
    assert all(2.0 <= lease <= 6.0 for lease in leases)
    assert len(one.registry.steps(50)) == 4  # renewals are no steps


def test_whoever_is_killed_leaves_a_candidate_that_gets_nothing_any_more(scene: Stage) -> None:
    one = scene(lease=5.0)

    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    one.hours.acts[9] = kill
    with pytest.raises(Killed):
        one.run()
    rollout = one.state().rollout
    assert rollout is not None
    one.hours.wait(30)
    served = [entry for replica in one.replicas for entry in replica.served]
    assert any(arm is Arm.CANDIDATE for _, arm in served)
    assert not any(arm is Arm.CANDIDATE for at, arm in served if at >= rollout.until)


def test_a_dead_rollout_is_ended_by_the_next_one(scene: Stage) -> None:
    first = scene(1, lease=5.0)
    first.promotion.begin()
    early = scene(2)
    early.hours.now = first.hours.now + 4.0
    with pytest.raises(CommandError, match="small-g1 is being tried: shadowed small-g1 by ada"):
        early.promotion.begin()
    late = scene(2)
    late.hours.now = first.hours.now + 6.0
    assert late.run() == DONE
    assert late.actions()[:3] == [Action.SHADOWED, Action.ROLLED_BACK, Action.SHADOWED]
    assert late.registry.steps(9)[-2].why == "nobody watched small-g1 any more"


@pytest.mark.parametrize(
    ("rates", "status", "gone"),
    [({}, DONE, {"small-g1"}), ({"failed": 0.9}, BACK, {"small-g1", "small-g2"})],
)
def test_what_a_dead_rollout_had_loaded_is_unloaded_by_the_next_one(
    scene: Stage,
    registry: Registry,
    capsys: pytest.CaptureFixture[str],
    rates: dict[str, float],
    status: int,
    gone: set[str],
) -> None:
    for version in ("small-g1", "small-g2"):
        registry.keep_adapter(version, Adapter((closed_port_url(),), "/adapters"))
    first = scene(1, lease=5.0)
    first.promotion.begin()
    late = scene(2, **rates)
    late.hours.now = first.hours.now + 6.0
    assert late.run() == status
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = [event["told"] for event in events if event["event"] == "retired"]
    assert {line.partition(" stays loaded: http://127.0.0.1:")[0] for line in told} == gone


def test_whoever_is_asked_to_end_takes_the_candidate_back_first(scene: Stage) -> None:
    one = scene(deferred=0.25)
    one.hours.acts[12] = lambda: setattr(one.hours, "is_asked_to_stop", True)
    assert one.run() == INTERRUPTED
    state = one.state()
    assert (state.rollout, state.incumbent) == (None, None)
    assert state.last.why == "the command was interrupted"
    assert all(replica.state == state for replica in one.replicas)


def test_a_rollback_by_somebody_else_is_respected(
    scene: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    one = scene(deferred=0.25)

    def roll_back() -> None:
        state = one.state()
        from_elsewhere = replace(
            state, revision=state.revision + 1, rollout=None,
            last=WHY.step(Action.ROLLED_BACK, "small-g1"),
        )  # fmt: skip
        one.registry.write_step(state, from_elsewhere)

    one.hours.acts[10] = roll_back
    assert one.run() == BACK
    assert one.state().last.why == WHY.why
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told[-1]["event"] == "overtaken"
    assert "rolled_back small-g1 by ada@desk: the bill is lower" in told[-1]["told"]


def test_whoever_writes_first_has_it(scene: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between what was read and what is written another one begins."""
    one, other = scene(1), scene(2)
    real = Registry.write_step

    def write(self: Registry, before: Generations | None, after: Generations) -> None:
        monkeypatch.setattr(Registry, "write_step", real)
        other.promotion.begin()
        real(self, before, after)

    monkeypatch.setattr(Registry, "write_step", write)
    with pytest.raises(CommandError, match="somebody else has changed the state"):
        one.promotion.begin()
    assert one.state().last.version == "small-g2"


def test_a_rollback_between_looking_and_stepping_is_respected(
    scene: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = scene(deferred=0.15)
    one.promotion.begin()
    real = Registry.write_step

    def write(self: Registry, before: Generations | None, after: Generations) -> None:
        assert before is not None
        monkeypatch.setattr(Registry, "write_step", real)
        real(self, before, ended(before, WHY))
        real(self, before, after)

    monkeypatch.setattr(Registry, "write_step", write)
    assert one.promotion.finish() == BACK
    assert one.state().last == WHY.step(Action.ROLLED_BACK, "small-g1")


def test_a_state_that_is_gone_is_not_written_again(
    scene: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    one = scene(deferred=0.25)

    def lose() -> None:
        one.registry.client.delete(generations_key("assistant"))

    one.hours.acts[10] = lose
    assert one.run() == BACK
    assert one.registry.state() is None
    assert "is gone from Redis" in capsys.readouterr().out


# --- Redis --------------------------------------------------------------------------------------


def test_redis_may_go_away_and_come_back(
    scene: Stage, server: StoreServer, capsys: pytest.CaptureFixture[str]
) -> None:
    one = scene(deferred=0.15)

    def away() -> None:
        server.stop()
        for replica in one.replicas:
            replica.is_dead = True

    def back() -> None:
        server.start()
        for replica in one.replicas:
            replica.is_dead = False

    one.hours.acts = {5: away, 9: back}
    assert one.run() == DONE
    assert one.state().incumbent == generation(1)
    events = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert events.count("away") == events.count("back") == 1


def test_whoever_asks_again_while_redis_is_away_has_to_wait_for_the_way_back(
    scene: Stage, server: StoreServer
) -> None:
    one = scene(deferred=0.25)

    def away() -> None:
        server.stop()
        for replica in one.replicas:
            replica.is_dead = True

    def ask() -> None:
        one.hours.is_asked_to_stop = True

    def back() -> None:
        server.start()
        for replica in one.replicas:
            replica.is_dead = False

    one.hours.acts = {8: away, 10: ask, 12: ask, 14: back}
    assert one.run() == INTERRUPTED
    assert one.state().last.why == "the command was interrupted"


def test_a_step_whose_answer_was_lost_is_not_taken_twice(
    scene: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = scene(deferred=0.15)
    real, lost = Registry.write_step, []

    def write(self: Registry, before: Generations | None, after: Generations) -> None:
        real(self, before, after)
        if after.last.action is not Action.SHADOWED and after.revision not in lost:
            lost.append(after.revision)
            raise redis.ConnectionError("gone before it answered")

    monkeypatch.setattr(Registry, "write_step", write)
    assert one.run() == DONE
    assert lost == [2, 3, 4]
    assert len(one.registry.steps(20)) == 4


def test_the_report_says_what_is_waited_for(scene: Stage) -> None:
    one = scene(deferred=0.25)
    assert one.run() == BACK
    seen = one.registry.reported()
    assert seen is not None
    assert (seen["decision"], seen["rollout"]) == ("back", one.promotion.id)
    (errors, escalations, disagreement) = seen["findings"]
    assert escalations["watched"] == "escalation rate"
    assert escalations["no_harm"] < escalations["no_harm_needed"]
    assert errors["no_harm"] >= errors["no_harm_needed"]
    assert disagreement["candidate"]["of"] > 0


def test_state_and_its_document_agree(scene: Stage) -> None:
    one = scene()
    one.promotion.begin()
    found = one.registry.client.get(generations_key("assistant"))
    assert isinstance(found, bytes)
    assert json.loads(found) == generations_document(one.state())
