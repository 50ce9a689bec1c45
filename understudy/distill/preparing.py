"""What comes before anybody gets anything of a candidate: the gate, its adapter, a smoke test."""

import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress

from redis.exceptions import RedisError

from distill.gate import Check, is_open
from distill.generations import named_by
from distill.replicas import clocks_off
from distill.smoke import examples_of
from gateway.cascades import LoadedCascade
from understudy.distill.adapters import Servers
from understudy.distill.answering import with_student
from understudy.distill.narrating import Narrator
from understudy.distill.options import Smoke
from understudy.distill.proposing import Proposed, records_of
from understudy.distill.registry import Registry
from understudy.distill.students import NotTheSame, smoke_test
from understudy.telling import CommandError

# A replica speaks once a second, or a little less often: so far apart it is listened to twice.
LISTEN_SECONDS = 2.0


def check_clocks(registry: Registry) -> None:
    """See that the gateways' clocks are this one's, as far as can be heard.

    A replica that is behind would not be waited for, and one that is ahead would leave a candidate
    that is still watched.  Raises CommandError.
    """
    earlier = registry.heartbeats()
    time.sleep(LISTEN_SECONDS)
    if found := clocks_off(earlier, registry.heartbeats(), time.time()):
        raise CommandError(
            f"clocks disagree with this one: {', '.join(found)}: set them by NTP, those of the "
            "gateways and this machine's"
        )


def is_let_past(checks: Sequence[Check], narrator: Narrator) -> bool:
    """Tell what was checked; whether all of it is well."""
    for each in checks:
        narrator.check(each.name, each.why, is_passed=each.passed)
    return is_open(checks)


def load(proposed: Proposed, registry: Registry, key: str | None, undo: ExitStack) -> None:
    """Have the candidate's adapter loaded, where it has one, and unloaded again by ``undo``.

    One that was there before, and not loaded from here, is somebody else's: another cascade may be
    served by it, so that nobody here unloads it, now or later.  Raises CommandError.
    """
    adapter = proposed.adapter
    if adapter is None:
        return
    servers = Servers(adapter.base_urls, key)

    def unload() -> None:
        with suppress(CommandError, RedisError):
            if proposed.version in named_by(registry.state()):  # somebody else was faster with it
                return
            servers.unload(proposed.version)
            registry.drop_adapter(proposed.version)

    is_kept = registry.adapter(proposed.version) is not None
    is_new = servers.load(proposed.version, adapter.path)
    if is_new and not is_kept:
        undo.callback(unload)
    if is_new or is_kept:
        registry.keep_adapter(proposed.version, adapter)


def is_the_same(
    proposed: Proposed, loaded: LoadedCascade, smoke: Smoke, narrator: Narrator
) -> bool:
    """Ask the candidate's server what was recorded; whether it says the same.

    Raises CommandError where there is nothing to ask.
    """
    tried = with_student(loaded, proposed.generation())
    examples = examples_of(records_of(proposed.records), smoke.smoke_records)
    if not examples:
        raise CommandError(
            f"--records: {proposed.records} holds no request with its answer's log-probabilities: "
            "make records with `understudy record`"
        )
    try:
        told = smoke_test(tried, examples, smoke.tolerance)
    except NotTheSame as found:
        narrator.check("smoke test", str(found), is_passed=False)
        return False
    narrator.check("smoke test", told, is_passed=True)
    return True
