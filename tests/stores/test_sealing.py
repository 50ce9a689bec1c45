"""Content at rest: nothing of it is in clear, keys change, and no message holds one."""

import json
import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from gateway.config_file import ConfigError
from gateway.stores.sealing import BadKey, SealBroken, Sealer, sealer_of
from tests.fakes.pair_schema import valid_pair
from tests.fakes.serving import Stage, stage, wait_until
from tests.fakes.trial import UNSURE
from tests.fakes.upstream import saying
from tests.fakes.valkey import store_server

OLD, NEW, OTHER = (urlsafe_b64encode(bytes([each]) * 32).decode() for each in (1, 251, 7))


def test_what_is_sealed_can_be_opened_and_says_nothing_itself() -> None:
    sealer = Sealer([NEW])
    token = sealer.seal(b'{"a": "secret"}')
    assert sealer.open(token) == b'{"a": "secret"}'
    assert "secret" not in token
    assert sealer.seal(b'{"a": "secret"}') != token


def test_the_first_key_seals_and_each_one_opens() -> None:
    before, between, after = Sealer([OLD]), Sealer([NEW, OLD]), Sealer([NEW])
    assert between.open(before.seal(b"x")) == b"x"
    assert after.open(between.seal(b"x")) == b"x"
    with pytest.raises(SealBroken, match="UNDERSTUDY_PAIRS_KEYS"):
        after.open(before.seal(b"x"))


@pytest.mark.parametrize("end", ["", "A", "\xe9"])
def test_what_was_changed_is_not_opened(end: str) -> None:
    token = Sealer([NEW]).seal(b"x" * 40)
    with pytest.raises(SealBroken):
        Sealer([NEW]).open(token[:50] + end + token[52:])


NO_KEYS = ["", "short", NEW[:-1], NEW + "=", NEW.replace("=", "!"), " " + NEW, "+" + NEW[1:]]


@pytest.mark.parametrize("key", NO_KEYS)
def test_what_is_no_key_is_refused_by_its_place(key: str) -> None:
    with pytest.raises(BadKey, match=r"^key 2 of 2 is no Fernet key$"):
        Sealer([NEW, key])


def test_the_setting_holds_keys_with_commas_between_them() -> None:
    assert sealer_of(None) is None
    sealer = sealer_of(SecretStr(f"{NEW}, {OLD}"))
    assert sealer is not None
    assert sealer.open(Sealer([OLD]).seal(b"x")) == b"x"


@pytest.mark.parametrize("bad", ["hunter2", f"{OLD},", f"{OLD},,{OTHER}", f"{OLD};{OTHER}"])
def test_a_setting_that_holds_none_is_refused_without_telling_it(bad: str) -> None:
    with pytest.raises(ConfigError, match=r"pairs_keys \(UNDERSTUDY_PAIRS_KEYS\): key") as caught:
        sealer_of(SecretStr(bad))
    assert "Fernet.generate_key" in str(caught.value)
    for secret in (OLD, OTHER, "hunter2"):
        assert secret not in str(caught.value)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    with pytest.raises(ConfigError, match=r"UNDERSTUDY_PAIRS_KEYS.*understudy\[encryption\]"):
        sealer_of(SecretStr(NEW))


# --- in a gateway ---

QUESTION = {"messages": [{"role": "user", "content": "Who is Bartholomew?"}]}
SAID = [b"Bartholomew", b"Quixotic", b"Zephyrus", b"QmFydGhvbG9tZXc"]  # the last is base64


@pytest.fixture
def sealing(tmp_path: Path) -> Iterator[Stage]:
    with stage(tmp_path, settings={"pairs_keys": f"{NEW},{OLD}"}) as scene:
        scene.student.reply = saying(["Quixotic ", "man"], UNSURE)
        scene.teacher.reply = saying(["Zephyrus ", "it is"])
        yield scene


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
def test_nothing_of_the_content_is_in_clear_on_disk(
    sealing: Stage, tmp_path: Path, is_stream: bool
) -> None:
    assert "Zephyrus" in sealing.ask(stream=is_stream, **QUESTION).text
    (line,) = sealing.pairs()
    pair = valid_pair(line)
    content: Any = json.loads(Sealer([NEW]).open(pair["sealed"]))
    assert content["request"]["messages"] == QUESTION["messages"]
    assert content["answer"]["choices"][0]["message"]["content"] == "Zephyrus it is"
    stored = files(tmp_path / "state")
    assert any(pair["sealed"].encode() in data for data in stored.values())
    for name, data in stored.items():
        for said in [*SAID, NEW.encode(), OLD.encode()]:
            assert said not in data, name


def test_nothing_of_the_content_is_in_clear_in_the_store(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with store_server(tmp_path / "store") as store:
        settings = {"pairs_keys": NEW, "redis_url": store.url}
        with stage(tmp_path, settings=settings) as scene:
            scene.student.reply = saying(["Quixotic ", "man"], UNSURE)
            scene.teacher.reply = saying(["Zephyrus ", "it is"])
            scene.ask(**QUESTION)
            shipped = "understudy_pairs_shipped_total"
            wait_until(lambda: scene.metric(shipped, cascade="assistant") == 1)
        with store.client() as client:
            ((_, fields),) = client.xrange("understudy:{assistant}:pairs")
        sealed = json.loads(fields[b"pair"])["sealed"]
        assert b"Zephyrus" in Sealer([NEW]).open(sealed)
        store.stop()
        stored = b"".join(files(tmp_path / "store").values())
        assert sealed.encode() in stored
        assert [said for said in SAID if said in stored] == []


def test_without_a_key_the_same_words_are_found(tmp_path: Path) -> None:
    """So that the test above can fail."""
    with stage(tmp_path) as scene:
        scene.student.reply = saying(["Quixotic ", "man"], UNSURE)
        scene.teacher.reply = saying(["Zephyrus ", "it is"])
        scene.ask(**QUESTION)
        stored = b"".join(files(tmp_path / "state").values())
        assert [said in stored for said in SAID[:3]] == [True] * 3
