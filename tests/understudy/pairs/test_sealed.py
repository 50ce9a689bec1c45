import json
import sys

import pytest
from cryptography.fernet import Fernet

from distill.pairs import read_pair
from gateway.stores.sealing import SealBroken
from tests.fakes.pairs import encoded, pair
from understudy.pairs.sealed import Seals, opener_for
from understudy.telling import CommandError

CONTENT = json.dumps(pair(1)["content"]).encode()


def sealed(token: str) -> bytes:
    return encoded(pair(1, content=None, sealed=token))


def test_what_is_not_sealed_needs_no_key() -> None:
    assert Seals().content_of(read_pair(encoded(pair(1)))) is not None
    dropped = read_pair(encoded(pair(1, content=None, dropped="redactor_failed")))
    assert Seals().content_of(dropped) is None


def test_without_keys_the_variable_is_named() -> None:
    with pytest.raises(CommandError, match="UNDERSTUDY_PAIRS_KEYS"):
        opener_for(None)


def test_without_the_library_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    with pytest.raises(CommandError, match=r"understudy\[encryption\]"):
        opener_for(Fernet.generate_key().decode())


def test_what_opens_to_no_content_is_broken() -> None:
    with pytest.raises(SealBroken):
        Seals(lambda _: b"{}").opened("token")


def test_every_key_opens_and_no_other_does(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new, other = (Fernet.generate_key().decode() for _ in range(3))
    monkeypatch.setenv("UNDERSTUDY_PAIRS_KEYS", f"{new}, {old}")
    for key in (old, new):
        token = Fernet(key).encrypt(CONTENT).decode()
        content = Seals().content_of(read_pair(sealed(token)))
        assert content is not None
        assert json.loads(bytes(content.request)) == pair(1)["content"]["request"]
    with pytest.raises(SealBroken):
        Seals().opened(Fernet(other).encrypt(CONTENT).decode())
    monkeypatch.setenv("UNDERSTUDY_PAIRS_KEYS", "no key at all")
    with pytest.raises(CommandError, match="no Fernet key"):
        Seals().opened("token")
