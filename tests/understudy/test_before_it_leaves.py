"""What is to outlive the process is in the journal when the answer's last byte is written."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gateway.app import create_app
from gateway.ports import StreamKind
from tests.fakes.journals import all_records
from tests.fakes.serving import stage
from tests.fakes.trial import SURE, UNSURE, words
from tests.fakes.upstream import saying
from tests.understudy.test_replying import Writes
from tests.understudy.test_web_server import connected

ENDS = {True: b"data: [DONE]\n\n", False: b'"usage"'}


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("others", [0, 2])
@pytest.mark.parametrize(
    ("evidence", "expected"),
    [(SURE, {StreamKind.STORED: 1}), (UNSURE, {StreamKind.STORED: 1, StreamKind.PAIRS: 1})],
)
async def test_all_is_written_before_the_answer(
    tmp_path: Path, evidence: Any, expected: dict[StreamKind, int], others: int, is_stream: bool
) -> None:
    with stage(tmp_path, cascade={"stored": {"enabled": True}}) as scene:
        scene.student.reply = saying(words(3, "s"), evidence)
        scene.teacher.reply = saying(words(3, "t"))
        found: list[Counter[StreamKind]] = []
        state_dir = tmp_path / "state"

        class Looking(Writes):
            def write(self, data: bytes) -> None:
                if ENDS[is_stream] in data:
                    found.append(Counter(frame.kind for frame in all_records(state_dir)))
                super().write(data)

        async with connected(create_app(scene.gateway)) as (_, connection, writer, reader):
            connection.transport = Looking(connection.transport)  # type: ignore[assignment]
            connection.turn.exchanges += others
            body = json.dumps(scene.question | {"store": True, "stream": is_stream}).encode()
            head = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-type: application/json\r\n"
            writer.write(head + b"content-length: %d\r\n\r\n%b" % (len(body), body))
            assert (await reader.readuntil(ENDS[is_stream])).startswith(b"HTTP/1.1 200 ")
            connection.turn.exchanges -= others
        assert found == [expected]
