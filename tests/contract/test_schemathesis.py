"""Requests that schemathesis makes of the document: right ones are taken and wrong ones refused.

No answer is a 5xx, and each is as the document describes it: status, headers, body.  A seed makes
the same requests in every run.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.openapi.refusals import ANY
from tests.contract.documented import DOCUMENT, whole_gateway
from tests.fakes.serving import Stage

schemathesis = pytest.importorskip(
    "schemathesis", reason="schemathesis is not installed: the document is held by examples alone"
)
from schemathesis.config import SchemathesisConfig  # noqa: E402  # where it is installed
from schemathesis.engine import events, from_schema  # noqa: E402

REQUESTS_IN_FULL = 20_000
# It takes a while to see through a path's schema: without --full these have to do.
USUAL = "^/v1/(chat/completions|completions|responses|messages|embeddings)$"
# Whole numbers with a point, and names that differ from ours in case alone.
BEYOND_A_SCHEMA = re.compile(r"got float|must be written '")
# The parameter that Anthropic's form of an error names in its message.
NAMED = re.compile(r"(?:Invalid )?'?([a-z_]*)")


@dataclass
class Found:
    """How many requests there were in each phase, and what was wrong, a text for each kind."""

    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    faults: dict[tuple[str, str, str], str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with whole_gateway(tmp_path_factory.mktemp("schemathesis")) as built:
        yield built


@schemathesis.check  # type: ignore[untyped-decorator]  # it takes any function
def right_requests_are_taken(_: Any, response: Any, case: Any) -> None:
    """A request that fits its schema is refused for what the operation lists, if at all.

    An id may be of nothing, a name of a model that is not there, a version one that was replaced.
    """
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if response.status_code in (200, 404, 412):
        return
    error = json.loads(response.content)["error"]
    named = NAMED.match(error["message"])
    param = error["param"] if "param" in error else named and named[1]
    root = re.split(r"[.\[]", param)[0] if param else None
    listed = {each["param"] for each in case.operation.definition.raw.get("x-refusals", ())}
    is_listed = response.status_code == 400 and not listed.isdisjoint({root, ANY})
    assert is_listed or BEYOND_A_SCHEMA.search(error["message"]), (response.status_code, error)


def run(scene: Stage, *, examples: int, paths: str = ".*", is_full: bool = False) -> Found:
    """Have it make its requests: at random; ``is_full``: of every example and of every edge too."""
    generation = {
        "max-examples": examples,
        "deterministic": True,
        "no-shrink": True,
        "database": "none",
        # A header or query parameter that nobody knows is nobody's fault.
        "allow-extra-parameters": False,
    }
    config = SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "continue-on-failure": True,
            "generation": generation,
            "checks": {"positive_data_acceptance": {"enabled": False}},
            "phases": {
                "examples": {"enabled": is_full},
                "coverage": {"enabled": is_full},
                "stateful": {"enabled": False},
            },
        }
    )
    document = json.loads(json.dumps(DOCUMENT))
    schema = schemathesis.openapi.from_dict(document, config=config)
    schema.config.update(base_url=scene.url)
    schema = schema.include(path_regex=paths)
    found = Found()
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError):
            found.faults[event.label, "error", ""] = str(event.value)
        elif isinstance(event, events.FatalError):
            raise event.exception
        elif isinstance(event, events.ScenarioFinished):
            collect(event, found)
    return found


def collect(event: Any, found: Found) -> None:
    """Take in what one operation answered in one phase."""
    made = event.recorder.interactions
    found.requests[event.phase.value] += len(made)
    found.statuses.update(each.response.status_code for each in made.values() if each.response)
    for case_id, checks in event.recorder.checks.items():
        for check in checks:
            if check.failure_info is None:
                continue
            failure, asked = check.failure_info.failure, made[case_id]
            kind = (event.label, check.name, failure.message[:80])
            found.faults.setdefault(
                kind,
                f"{failure.message}\n{asked.request.method} {asked.request.uri} "
                f"{asked.request.headers} {asked.request.body!r}\n"
                f"{asked.response and (asked.response.status_code, asked.response.content)}",
            )


def judge(found: Found) -> None:
    assert not found.faults, "\n\n".join(f"{kind}: {text}" for kind, text in found.faults.items())
    assert not [status for status in found.statuses if status >= 500]
    assert {200, 400} <= found.statuses.keys()


def test_requests_made_of_the_document_are_answered_as_it_says(scene: Stage) -> None:
    judge(run(scene, examples=3, paths=USUAL))


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_so_are_twenty_thousand(scene: Stage) -> None:
    found = run(scene, examples=700, is_full=True)
    judge(found)
    assert found.requests.total() >= REQUESTS_IN_FULL, found.requests
