"""Content is redacted first and sealed then, and dropped where it cannot be redacted."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.aside import LARGE_BODY_BYTES
from gateway.redaction import Redactor
from gateway.safekeeping import Kept, Safekeeping
from gateway.telemetry.log import new_log
from tests.fakes.pair_schema import valid_pair
from tests.fakes.serving import PLAIN_HTTP, Stage, stage
from tests.fakes.trial import UNSURE, words
from tests.fakes.upstream import saying

CONTENT = b'{"released":"Ann"}'


def hide(text: str) -> str:
    return text.replace("Ann", "[NAME]")


def failing(text: str) -> str:
    raise ValueError(text)


class Reverser:
    """Seals by reversing."""

    def seal(self, content: bytes) -> str:
        return content.decode()[::-1]


def test_content_is_kept_as_it_is_unless_told() -> None:
    assert Safekeeping().keep(CONTENT) == Kept(content=CONTENT)


def test_content_is_redacted_before_it_is_sealed() -> None:
    kept = Safekeeping(Redactor("mine", hide), Reverser()).keep(CONTENT)
    assert kept == Kept(sealed='{"released":"[NAME]"}'[::-1], redactor="mine")


@pytest.mark.parametrize("sealer", [None, Reverser()])
def test_content_that_cannot_be_redacted_is_dropped(sealer: Reverser | None) -> None:
    kept = Safekeeping(Redactor("mine", failing), sealer).keep(CONTENT)
    assert kept == Kept(dropped="redactor_failed", redactor="mine", failure="ValueError")


# --- in a gateway ---


@contextmanager
def redacting(folder: Path, redact: Callable[[str], Any]) -> Iterator[tuple[Stage, Path]]:
    """A stage with an unsure student and this redactor, and the file of its log."""
    with stage(folder) as scene, (folder / "log").open("wb") as log:
        scene.student.reply = saying(["Ann ", "Oak"], UNSURE)
        scene.teacher.reply = saying(["Ann ", "Elm"])
        context = scene.gateway.context
        context.observer.log = new_log("info", log)
        served = context.served["assistant"]
        keeping = Safekeeping(Redactor("mine", redact))
        context.served = {"assistant": replace(served, safekeeping=keeping)}
        yield scene, folder / "log"


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
def test_a_redacted_pair_holds_nothing_of_what_was_hidden(tmp_path: Path, is_stream: bool) -> None:
    with redacting(tmp_path, hide) as (scene, _):
        response = scene.ask(stream=is_stream, messages=[{"role": "user", "content": "Is it Ann?"}])
        assert "Ann" in response.text
        (line,) = scene.pairs()
        assert b"Ann" not in line
        pair = valid_pair(line)
        assert pair["redactor"] == "mine"
        content = pair["content"]
        assert content["request"]["messages"] == [{"role": "user", "content": "Is it [NAME]?"}]
        assert content["draft"]["choices"][0]["message"]["content"] == "[NAME] Oak"
        assert content["answer"]["choices"][0]["message"]["content"] == "[NAME] Elm"
        assert "logprobs" not in content["draft"]["choices"][0]


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("redact", [failing, lambda _: None], ids=["raises", "returns nothing"])
def test_where_the_redactor_fails_the_count_is_kept_and_the_content_is_not(
    tmp_path: Path, redact: Callable[[str], Any], is_stream: bool
) -> None:
    with redacting(tmp_path, redact) as (scene, log):
        response = scene.ask(stream=is_stream)
        assert response.status_code == 200
        assert response.headers["x-understudy-served-by"] == "teacher"
        (line,) = scene.pairs()
        assert b"Ann" not in line
        assert b"France" not in line
        pair = valid_pair(line)
        assert pair["dropped"] == "redactor_failed"
        assert pair["request_id"] == response.headers["x-request-id"]
        assert len(pair["legs"]) == 2
        labels = {"cascade": "assistant", "cause": "redactor_failed"}
        assert scene.metric("understudy_pair_contents_dropped_total", **labels) == 1
        assert scene.metric("understudy_pairs_written_total", cascade="assistant") == 1
        told = [json.loads(each) for each in log.read_bytes().splitlines()]
        (dropped,) = [each for each in told if each["event"] == "content_dropped"]
        assert dropped["pair_id"] == pair["id"]
        assert dropped["redactor"] == "mine"
        assert b"Ann" not in log.read_bytes()
        assert b"France" not in log.read_bytes()


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
def test_others_are_answered_while_much_is_redacted(tmp_path: Path, is_stream: bool) -> None:
    urls: list[str] = []

    def asking(text: str) -> str:
        if len(text) > LARGE_BODY_BYTES:
            large = {"model": "nobody", "messages": [{"role": "user", "content": text}]}
            with httpx.Client(base_url=urls[0], trust_env=False, verify=PLAIN_HTTP) as client:
                assert client.post("/v1/chat/completions", json=large).status_code == 404
        return hide(text)

    with redacting(tmp_path, asking) as (scene, _):
        urls.append(scene.url)
        said = [{"role": "user", "content": "Ann " * LARGE_BODY_BYTES}]
        assert scene.ask(messages=said, stream=is_stream).status_code == 200
        pair = valid_pair(scene.pairs()[0])
        assert pair["dropped"] is None
        assert pair["content"]["request"]["messages"][0]["content"].startswith("[NAME] [NAME]")


def test_a_slow_redactor_costs_the_content_and_not_the_answer(tmp_path: Path) -> None:
    now = [0.0]

    def slow(text: str) -> str:
        now[0] += 0.4
        return text

    with redacting(tmp_path, slow) as (scene, _):
        context = scene.gateway.context
        keeping = Safekeeping(Redactor("mine", slow, clock=lambda: now[0]))
        served = context.served["assistant"]
        context.served = {"assistant": replace(served, safekeeping=keeping)}
        scene.teacher.reply = saying(words(3, "t"))
        assert scene.ask().headers["x-understudy-served-by"] == "teacher"
        assert valid_pair(scene.pairs()[0])["dropped"] == "redactor_failed"
