"""One gateway for all streaming tests: a cascade for each way to stream, of the same models."""

from collections.abc import Iterator
from typing import Any
from zlib import crc32

import pytest

from routing.vocabulary import Role
from tests.fakes.observer import RememberingObserver
from tests.fakes.serving import Stage, closed_port_url, stage, wait_until
from tests.fakes.trial import Trial

HELD_OUT = {"complete_drafts": 0, "holdout": 0.5}
CASCADES: dict[str, dict[str, Any]] = {
    "continuing": {"streaming": {"handover": "continue"}},
    "restarting": {"streaming": {"handover": "restart"}},
    "restarting-early": {"streaming": {"handover": "restart", "early_abort": True}},
    "thinking": {"streaming": {"release_reasoning": True}},
    "hasty": {"streaming": {"hold_seconds": 0.3, "early_abort": True}},
    "wakeful": {"streaming": {"keepalive_seconds": 1}, "degraded": "refuse"},
    "waking": {"streaming": {"keepalive_seconds": 1, "hold_seconds": 0.3}},
    "stalling": {
        "audit": {"complete_drafts": 0.5},
        "streaming": {"keepalive_seconds": 1},
    },
    "strict": {"degraded": "refuse"},
    "crowded": {"teacher": {"max_concurrent": 1}, "streaming": {"hold_seconds": 0.3}},
    "aborting": {"streaming": {"early_abort": True}},
    "learning": {
        "audit": {"complete_drafts": 0.5},
        "streaming": {"early_abort": True, "hold_seconds": 0.5},
    },
    "holding": {"audit": HELD_OUT},
    "holding-strict": {"audit": HELD_OUT, "degraded": "refuse"},
    "holding-early": {"audit": HELD_OUT, "streaming": {"early_abort": True}},
    "holding-unstored": {"audit": HELD_OUT, "pairs": {"store": False}},
    "holding-continuing": {"audit": HELD_OUT, "streaming": {"handover": "continue"}},
    "holding-thinking": {"audit": HELD_OUT, "streaming": {"release_reasoning": True}},
    "talking": {"streaming": {"handover": "continue"}, "conversation": {"sticky_turns": 1}},
    "talking-again": {"streaming": {"handover": "restart"}, "conversation": {"sticky_turns": 1}},
    "unlearned": {"student": {"cannot": ["tools"]}},
    "unreachable-student": {"student": {"base_url": closed_port_url()}},
    "unreachable-teacher": {"teacher": {"base_url": closed_port_url()}},
}
NOT_COMPLETED = {"audit": {"complete_drafts": 0}}


@pytest.fixture(scope="session")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The stage that all of them share."""
    folder = tmp_path_factory.mktemp("streams")
    others = {name: NOT_COMPLETED | changes for name, changes in CASCADES.items()}
    with stage(folder, cascade=NOT_COMPLETED, others=others) as built:
        wait_until(lambda: not built.gateway.context.background)  # the teacher has been probed
        yield built


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def trial(theatre: Stage, request: pytest.FixtureRequest) -> Iterator[Trial]:
    """A test's own time on it, with the client that blocks and with the one that does not."""
    yield from _trial(theatre, is_async=request.param)


@pytest.fixture
def lone_trial(theatre: Stage, request: pytest.FixtureRequest) -> Iterator[Trial]:
    """The same with one of them, where it is the models that make the difference."""
    yield from _trial(theatre, is_async=bool(crc32(request.node.name.encode()) % 2))


def _trial(theatre: Stage, *, is_async: bool) -> Iterator[Trial]:
    context = theatre.gateway.context
    observer = context.observer = RememberingObserver(context.observer)
    made = Trial(theatre, is_async, observer)
    made.upstream("continuing", Role.TEACHER).can_continue = True
    made.begin()
    try:
        yield made
    finally:
        made.end()
