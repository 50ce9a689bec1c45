"""The doctor against a real vLLM: of one that does all nothing must be mended.

The server of these tests lacks one flag, --enable-prompt-tokens-details.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.serving import STUDENT_PRICE
from tests.understudy.doctor.examining import amiss, examined, patient
from understudy.doctor.findings import State, Subject
from understudy.doctor.report import Whose

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

WAIT_SECONDS = 120
CACHED = {
    (Whose.STUDENT, Subject.CACHED): State.HINT,
    (Whose.TEACHER, Subject.CACHED): State.HINT,
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, CACHED),
        (
            {"price": {**STUDENT_PRICE, "cached_input": 0.01}},
            CACHED | {(Whose.TEACHER, Subject.CACHED): State.PROBLEM},
        ),
        ({"model": "adapter-that-is-gone"}, {(Whose.TEACHER, Subject.SERVER): State.PROBLEM}),
        ({"running_usage": True}, CACHED),
    ],
)
def test_what_a_real_server_lacks_is_the_one_thing_that_is_said(
    tmp_path: Path,
    vllm_url: str,
    vllm_model: str,
    changes: dict[str, Any],
    expected: dict[tuple[Whose, Subject], State],
) -> None:
    asked = patient(
        tmp_path,
        vllm_url,
        student={"model": vllm_model},
        teacher={"model": vllm_model, **changes},
    )
    found = amiss(examined(asked, seconds=WAIT_SECONDS))
    if (Whose.TEACHER, Subject.SERVER) in expected:
        expected = {**expected, (Whose.STUDENT, Subject.CACHED): State.HINT}
    assert {each: finding.state for each, finding in found.items()} == expected, found
