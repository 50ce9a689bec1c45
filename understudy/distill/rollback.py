"""``understudy distill rollback``: end what is being tried, or go back to who served before."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from distill.generations import NoStep, Reason, ended, exchanged, told, version_of
from distill.progress import duration
from gateway.cascades import LoadedCascade
from routing.rollout import Action, Generation, Generations
from understudy.distill.adapters import Servers
from understudy.distill.answering import answers, with_student
from understudy.distill.narrating import Narrator
from understudy.distill.people import configured, unhurried, whoami
from understudy.distill.registry import LostRace, Place, Registry, opened
from understudy.distill.retiring import UNSETTLED, settle
from understudy.telling import CommandError, perform

UNFINISHED = 1


def rollback(
    *,
    place: Place | None = None,
    config: Annotated[Path | None, Parameter(env_var="UNDERSTUDY_CONFIG")] = None,
    who: str | None = None,
    why: str | None = None,
    force: Annotated[bool, Parameter(negative=())] = False,
    again: Annotated[bool, Parameter(negative=())] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """End the rollout that is running; without one, incumbent and previous change places.

    Waits until all gateways that are alive have taken it up.  Ends with status 0 where they have,
    1 where some have not yet, 2 where nothing is changed: there is nothing to go back to, its
    server does not answer, or the last step was a rollback already.

    Parameters
    ----------
    config
        The YAML file with the cascades: to ask the previous generation's server before.
    who
        Who does it, for the registry; the user and host, unless said.
    why
        Why, for the registry.
    force
        Go back although the previous generation's server does not answer, or cannot be asked.
    again
        Change places although the last step was a rollback already.
    as_json
        Print a JSON object a line for each step.
    """
    narrator = Narrator(as_json)
    place = place or Place()

    def work() -> int:
        loaded = None if config is None else configured(config, place)
        cascade = place.cascade if loaded is None else loaded.name
        world = unhurried()
        with opened(Place(place.redis_url, cascade)) as registry:
            state = registry.basis(world.clock())
            reason = Reason(who or whoami(), world.clock(), why or "somebody asked for it")
            if state is not None and state.rollout is not None:
                gone = [state.rollout.candidate.version]
                after = ended(state, reason)
            else:
                gone = []
                after = _exchanged(state, reason, is_again=again)
                if not force:
                    _check_served(registry, loaded, after.incumbent)
            try:
                registry.write_step(state, after)
            except LostRace as error:
                raise CommandError(f"{error}: look with `understudy distill status`") from None
            narrator.step(after)
            key = None if loaded is None else loaded.student_key
            notes = settle(registry, after, gone, key, world)
        for kind, line in notes:
            narrator.note(kind, line)
        return UNFINISHED if any(kind == UNSETTLED for kind, _ in notes) else 0

    return perform("roll back", work)


def _exchanged(state: Generations | None, reason: Reason, *, is_again: bool) -> Generations:
    """Incumbent and previous in each other's place.

    Raises CommandError, also where somebody, or the promotion by itself, was faster: whoever means
    to end a rollout would change the incumbent.
    """
    try:
        after = exchanged(state, reason)
    except NoStep as error:
        raise CommandError(f"there is nothing to go back to: {error}") from None
    if state is not None and state.last.action is Action.ROLLED_BACK and not is_again:
        raise CommandError(
            f"the last step was one already, {duration(max(0.0, reason.at - state.last.at))} ago: "
            f"{told(state.last)}: to go from {version_of(state.incumbent)} to "
            f"{version_of(state.previous)} all the same say --again"
        )
    return after


def _check_served(
    registry: Registry, loaded: LoadedCascade | None, generation: Generation | None
) -> None:
    """See that who is gone back to answers, and have its adapter loaded where that is what lacks.

    Raises CommandError.
    """
    version = version_of(generation)
    if loaded is None:
        raise CommandError(
            f"nobody can ask whether {version} is still served: say --config, or --force to go "
            "back all the same"
        )
    asked = loaded if generation is None else with_student(loaded, generation)
    failure = answers(asked)
    adapter = registry.adapter(version)
    if failure is not None and adapter is not None:
        Servers(adapter.base_urls, loaded.student_key).load(version, adapter.path)
        failure = answers(asked)
    if failure is not None:
        places = " or ".join(asked.config.student.base_urls)
        raise CommandError(
            f"{version} at {places} does not answer: {failure}: start it, "
            "or say --force to go back all the same; then the teacher answers until it is there"
        )
