"""The redactor `pii`: what it finds by its form, and what it leaves alone."""

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.redaction import find_redactor
from tests.fakes.pair_schema import valid_pair
from tests.fakes.serving import stage
from tests.fakes.upstream import UNSURE, Reply, completion

pytest.importorskip("datafog_core", reason="the extra `redact` is not installed: pii is not tested")

from datafog_core import scan_and_transform

from gateway.pii import PIECE_CHARACTERS


def redact(text: str) -> str:
    return find_redactor("pii").redact(text)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Write to john.doe@example.com.", "Write to [EMAIL]."),
        ("Call (555) 223-4567 or +49 170 1234567!", "Call [PHONE] or [PHONE]!"),
        ("SSN 123-45-6789", "SSN [SSN]"),
        ("Card 4111-1111-1111-1111", "Card [CREDIT_CARD]"),
        ("from 10.1.2.3", "from [IP_ADDRESS]"),
        ("IBAN DE89370400440532013000", "IBAN [DE_IBAN]"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcDEF123456789_-xyz", "[JWT]"),
        ('{"mail": "a.b@c.org"}', '{"mail": "[EMAIL]"}'),
        ("Привет a.b@c.org 你好", "Привет [EMAIL] 你好"),
    ],
)
def test_what_has_a_form_is_found(text: str, redacted: str) -> None:
    assert redact(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Ann Oak lives in Paris.",
        "2026-11-27, 12345 and 3.1415926535",
        "x = [1, 2, 3]  # v1.2.3",
        "call_abc123",
    ],
)
def test_what_has_none_is_left_alone(text: str) -> None:
    assert redact(text) == text


def test_it_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert redact("a.b@c.org") == "[EMAIL]"


@pytest.mark.parametrize(
    "piece", ["1", "a", "a@", "a@a.", "1-", " ", "Tax ID ", "eyJ", "+1 ", "192.", "(555) "]
)
def test_no_text_makes_it_slow(piece: str) -> None:
    """Its time grows with the text's length alone: 100 kB take milliseconds, not minutes."""
    started = time.process_time()
    redact(piece * (100_000 // len(piece)))
    assert time.process_time() - started < 2.0


def test_a_long_text_is_scanned_in_pieces_and_nothing_is_missed_between_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scanned: list[int] = []

    def noting(text: str, *, config: Any) -> Any:
        scanned.append(len(text))
        return scan_and_transform(text, config=config)

    monkeypatch.setattr("gateway.pii.scan_and_transform", noting)
    said = "Write to john.doe@example.com. Then call +49 170 1234567! Or Ann does? Yes.\n"
    kept = "Write to [EMAIL]. Then call [PHONE]! Or Ann does? Yes.\n"
    count = 5 * PIECE_CHARACTERS // len(said)
    assert redact(said * count) == kept * count
    assert len(scanned) > 4
    assert max(scanned) <= PIECE_CHARACTERS


def test_a_long_text_without_sentences_is_scanned_at_once() -> None:
    said = "a.b@c.org 1.2.3.4. 5 " * PIECE_CHARACTERS
    assert redact(said) == "[EMAIL] [IP_ADDRESS]. 5 " * PIECE_CHARACTERS


def test_a_cascade_that_names_it_keeps_no_mail_address(tmp_path: Path) -> None:
    with stage(tmp_path, cascade={"pairs": {"redactor": "pii"}}) as scene:
        scene.student.reply = Reply(body=completion("Ask a.b@c.org", UNSURE))
        scene.teacher.reply = Reply(body=completion("Write to a.b@c.org."))
        asked = [{"role": "user", "content": "Who is a.b@c.org?"}]
        assert "a.b@c.org" in scene.ask(messages=asked).text
        assert scene.teacher.requests[0]["messages"] == asked
        (line,) = scene.pairs()
        assert b"a.b@c.org" not in line
        pair = valid_pair(line)
        assert pair["redactor"] == "pii"
        assert pair["content"]["request"]["messages"][0]["content"] == "Who is [EMAIL]?"
