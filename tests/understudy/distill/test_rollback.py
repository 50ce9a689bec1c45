"""Going back, and looking: real gateways, a real Valkey, scripted students."""

import json
import subprocess
import sys
import time

import pytest

from distill.generations import begun, promoted
from distill.replicas import Heartbeats
from routing.rollout import Action, Generation, Generations
from tests.distill.made_generations import WHY, generation, rollout
from tests.fakes.replica import FakeReplica
from tests.fakes.serving import closed_port_url, wait_until
from tests.understudy.distill.proposal import Proposal
from tests.understudy.distill.running import Distill
from tests.understudy.distill.streets import G1, PATHS, Street
from understudy.distill.registry import Adapter, Registry


def serving(registry: Registry, *numbers: int, url: str) -> Generations:
    """The state after these generations were promoted, one after the other."""
    state = registry.state()
    for number in numbers:
        tried = begun(state, rollout(generation(number, url)), WHY)
        registry.write_step(state, tried)
        state = promoted(tried, WHY)
        registry.write_step(tried, state)
    assert state is not None
    return state


def trying(registry: Registry, candidate: Generation, until: float) -> Generations:
    state = begun(registry.state(), rollout(candidate, until=until), WHY)
    registry.write_step(registry.state(), state)
    return state


def test_a_rollout_is_ended_and_its_adapter_unloaded_once_all_have_taken_that_up(
    command: Distill, here: Street, registry: Registry
) -> None:
    here.student.loaded[G1] = PATHS[G1]
    registry.keep_adapter(G1, Adapter((here.student_url,), PATHS[G1]))
    trying(registry, generation(1, here.student_url), time.time() + 600)
    wait_until(lambda: is_in_force(registry, 1))
    assert command.rollback(here, "--who", "bob", "--why", "it is late") == 0, command.error
    (step,) = command.told("step")
    assert (step["action"], step["version"], step["who"], step["why"]) == (
        "rolled_back", G1, "bob", "it is late",
    )  # fmt: skip
    assert command.told("settled") == [{"event": "settled", "told": "taken up by all gateways: 2"}]
    assert command.told("retired") == [{"event": "retired", "told": f"{G1} is unloaded"}]
    assert here.student.unloaded == [G1]
    assert is_in_force(registry, 2)


def is_in_force(registry: Registry, revision: int) -> bool:
    found = registry.heartbeats().values()
    return bool(found) and all(one.revision == revision for one in found)


def test_a_dead_rollout_is_told_as_such_and_cleaned_up(
    command: Distill, here: Street, registry: Registry
) -> None:
    trying(registry, generation(1, here.student_url), time.time() - 1)
    told = " ".join(command.said("status").split())
    assert "Dead: shadow, share 0.1. Nobody watches it any more" in told
    assert "understudy distill rollback" in told
    rolled = json.loads(command.said("status", "--json"))["rollout"]
    assert (rolled["is_watched"], rolled["candidate"]["version"]) == (False, G1)
    assert command.status("rollback", "--cascade", "assistant") == 0, command.error
    assert json.loads(command.said("status", "--json"))["rollout"] is None


def test_who_and_why_left_empty_are_said_all_the_same(
    command: Distill, quiet: Street, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.distill.settling.TAKE_UP_SECONDS", 0.1)
    trying(registry, generation(1, quiet.student_url), time.time() + 600)
    assert command.status("rollback", "--cascade", "assistant", "--why", "", "--who", "") == 1
    (step,) = registry.steps(1)
    assert step.why == "somebody asked for it"
    assert step.who


def test_the_one_before_is_gone_back_to_and_returned_to(
    command: Distill, here: Street, registry: Registry
) -> None:
    here.student.loaded |= PATHS
    serving(registry, 1, 2, url=here.student_url)
    assert command.rollback(here) == 0, command.error
    assert command.rollback(here, "--again") == 0, command.error
    assert [step.version for step in registry.steps(2)] == [G1, "small-g2"]
    state = registry.state()
    assert state is not None
    assert state.incumbent == generation(2, here.student_url)


def test_whoever_comes_second_does_not_undo_it(
    command: Distill, quiet: Street, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two people are paged, or the promotion has ended by itself while somebody typed."""
    monkeypatch.setattr("understudy.distill.settling.TAKE_UP_SECONDS", 0.1)
    serving(registry, 1, 2, url=quiet.student_url)
    last = serving(registry, 3, url=quiet.student_url)
    quiet.student.loaded["small-g2"] = "/adapters/g2"
    assert command.rollback(quiet, "--who", "ada") == 1  # no gateway is there to follow
    state = registry.state()
    assert state is not None
    assert command.rollback(quiet, "--who", "bob") == 2
    assert registry.state() == state
    for words in ("0 s ago: rolled_back small-g3 by ada", "small-g2 to small-g3", "say --again"):
        assert words in command.error
    assert state.incumbent == last.previous


def test_an_adapter_that_its_server_has_lost_is_loaded_again(
    command: Distill, here: Street, registry: Registry
) -> None:
    """As after a restart of vLLM, which knows nothing of what was loaded while it ran."""
    here.student.loaded["small-g2"] = PATHS["small-g2"]
    serving(registry, 1, 2, url=here.student_url)
    registry.keep_adapter(G1, Adapter((here.student_url,), PATHS[G1]))
    assert command.rollback(here) == 0, command.error
    assert here.student.loaded == PATHS


@pytest.mark.parametrize("is_forced", [False, True])
def test_one_whose_server_is_gone_is_gone_back_to_by_force_alone(
    command: Distill, here: Street, registry: Registry, is_forced: bool
) -> None:
    serving(registry, 1, url=closed_port_url() + "/v1")
    serving(registry, 2, url=here.student_url)
    assert command.rollback(here, *(["--force"] if is_forced else [])) == (0 if is_forced else 2)
    state = registry.state()
    assert state is not None
    assert (state.last.action is Action.ROLLED_BACK) is is_forced
    if not is_forced:
        assert "does not answer" in command.error
        assert "--force" in command.error


def test_without_the_configuration_nobody_can_ask_the_server(
    command: Distill, here: Street, registry: Registry
) -> None:
    serving(registry, 1, url=here.student_url)
    assert command.status("rollback") == 2
    assert "say --config, or --force" in command.error
    assert command.status("rollback", "--force") == 0, command.error


def test_a_gateway_that_does_not_follow_is_told(
    command: Distill, quiet: Street, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.distill.settling.TAKE_UP_SECONDS", 0.1)
    serving(registry, 1, url=quiet.student_url)
    FakeReplica(registry.client, "stuck", requests_a_second=0).beat(time.time())
    assert command.rollback(quiet) == 1
    (told,) = command.told("unsettled")
    assert told["told"].startswith("stuck: not taken up within 0.1 s")


def test_without_any_gateway_the_step_is_taken_and_that_is_told(
    command: Distill, quiet: Street, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.distill.settling.TAKE_UP_SECONDS", 0.1)
    serving(registry, 1, url=quiet.student_url)
    assert command.rollback(quiet) == 1
    assert "no replica is alive" in command.told("unsettled")[0]["told"]
    assert registry.state() is not None


def test_there_is_nothing_to_go_back_to_at_first(command: Distill, quiet: Street) -> None:
    assert command.rollback(quiet) == 2
    assert "only the configuration's own student has ever served" in command.error


def test_requests_under_way_keep_an_adapter_loaded(
    command: Distill, quiet: Street, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.distill.settling.DRAIN_SECONDS", 0.1)
    quiet.student.loaded[G1] = PATHS[G1]
    registry.keep_adapter(G1, Adapter((quiet.student_url,), PATHS[G1]))
    trying(registry, generation(1, quiet.student_url), time.time() + 600)
    busy = FakeReplica(registry.client, "busy", requests_a_second=0, open={G1: 3})

    def alive(_: Heartbeats, now: float) -> Heartbeats:
        busy.beat(now)
        return registry.heartbeats()

    monkeypatch.setattr("understudy.distill.settling.alive", alive)
    assert command.rollback(quiet) == 0, command.error
    (told,) = command.told("retired")
    assert "small-g1 stays loaded: 3 requests are under way" in told["told"]
    assert "POST" in told["told"]
    assert quiet.student.loaded == {G1: PATHS[G1]}


def test_an_adapter_is_unloaded_once_the_last_request_under_way_is_over(
    command: Distill, quiet: Street, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.distill.settling.POLL_SECONDS", 0.01)
    quiet.student.loaded[G1] = PATHS[G1]
    registry.keep_adapter(G1, Adapter((quiet.student_url,), PATHS[G1]))
    trying(registry, generation(1, quiet.student_url), time.time() + 600)
    busy = FakeReplica(registry.client, "busy", requests_a_second=0, open={G1: 3})
    loaded: list[bool] = []

    def alive(_: Heartbeats, now: float) -> Heartbeats:
        loaded.append(G1 in quiet.student.loaded)
        if len(loaded) == 5:
            busy.open.clear()
        busy.beat(now)
        return registry.heartbeats()

    monkeypatch.setattr("understudy.distill.settling.alive", alive)
    assert command.rollback(quiet) == 0, command.error
    assert loaded == [True] * 5
    assert quiet.student.unloaded == [G1]


# --- status -------------------------------------------------------------------------------------


def test_status_of_a_cascade_that_never_had_a_candidate(command: Distill, quiet: Street) -> None:
    told = json.loads(command.said("status", "--cascade", "assistant", "--json"))
    assert told["incumbent"] == {"number": 0, "version": "configuration"}
    assert (told["revision"], told["rollout"], told["steps"]) == (0, None, [])
    assert "configuration" in command.said("status", "--cascade", "assistant")


def test_status_shows_gateways_steps_and_the_evidence(
    command: Distill, quiet: Street, registry: Registry
) -> None:
    serving(registry, 1, url=quiet.student_url)
    trying(registry, generation(2, quiet.student_url), time.time() + 60)
    FakeReplica(registry.client, "gateway-a", requests_a_second=0, open={G1: 7}).beat(time.time())
    FakeReplica(registry.client, "gateway-b", requests_a_second=0).beat(time.time() - 99)
    finding = {
        "watched": "escalation rate", "told": "escalation rate 12.0% of 250", "harm": -3.0,
        "harm_needed": 5.3, "no_harm": 1.5, "no_harm_needed": 3.0,
    }  # fmt: skip
    seen = {
        "rollout": "r1",
        "at": time.time(),
        "findings": [finding],
        "missing": ["shadow drafts: 7 of 200"],
    }
    registry.report(seen)
    told = json.loads(command.said("status", "--json"))
    assert (told["rollout"]["is_watched"], told["rollout"]["seen"]) == (True, seen)
    assert told["replicas"]["gateway-a"]["open"] == {G1: 7}
    assert [one["alive"] for one in told["replicas"].values()] == [True, False]
    assert [step["action"] for step in told["steps"]] == ["shadowed", "promoted", "shadowed"]
    shown = command.said("status", "--steps", "1")
    for words in ("small-g2", "gateway-a", "gone", "0.0 of 5.3", "1.5 of 3.0", "7 of 200", "ada"):
        assert words in shown
    registry.report(seen | {"rollout": "another"})
    assert json.loads(command.said("status", "--json"))["rollout"]["seen"] is None


def test_a_state_that_is_lost_is_told_with_the_way_back(
    command: Distill, here: Street, proposal: Proposal, registry: Registry
) -> None:
    """Redis came back empty: gateways go on, and nothing is built on what they are not at."""
    here.student.loaded |= PATHS
    state = serving(registry, 1, url=here.student_url)
    wait_until(lambda: is_in_force(registry, state.revision))
    registry.client.delete("understudy:{assistant}:generations", "understudy:{assistant}:registry")
    told = json.loads(command.said("status", "--json"))
    assert (told["incumbent"], told["previous"]) == (None, None)
    for words in ("gateways go on with revision 2", "STATE_DIR/generations-assistant.json"):
        assert words in told["lost"]
    shown = command.said("status")
    assert told["lost"] in shown
    assert "configuration \u2502" not in shown
    for act in (command.rollback(here), command.promote(here, proposal)):
        assert act == 2
    assert "Redis has lost the state" in command.error
    (saved, _) = here.config.parent.glob("gateway-*/state/generations-assistant.json")
    registry.client.set("understudy:{assistant}:generations", saved.read_bytes())
    assert json.loads(command.said("status", "--json"))["lost"] is None
    assert command.rollback(here) == 0, command.error


def test_of_a_dead_rollout_nothing_is_waited_for(
    command: Distill, quiet: Street, registry: Registry
) -> None:
    trying(registry, generation(1, quiet.student_url), time.time() - 1)
    missing = "shadow drafts: 7 of 200"
    registry.report({"rollout": "r1", "at": time.time(), "findings": [], "missing": [missing]})
    assert missing not in command.said("status")


def test_a_state_that_nobody_can_read_is_told(
    command: Distill, quiet: Street, registry: Registry
) -> None:
    registry.client.set("understudy:{assistant}:generations", "{}")
    assert command.status("status") == 2
    assert "understudy:{assistant}:generations, cannot be read" in command.error


@pytest.mark.parametrize("command", ["rollback", "status"])
def test_a_gateway_s_own_image_can_do_it(command: str) -> None:
    """It has the core, and none of what measures or trains."""
    without = "import sys; sys.modules.update(dict.fromkeys(['numpy', 'pyarrow', 'scipy']))"
    program = f"{without}; import understudy.distill.{command}"
    ran = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert ran.returncode == 0, ran.stderr.decode()
