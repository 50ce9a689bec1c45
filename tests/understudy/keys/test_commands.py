"""`understudy keys` as operators run it, on a file and on a real Redis."""

import hashlib
import json
import re
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.key_entries import KeyEntry, load_keys, read_entries
from gateway.keys import KeyLimits, Tenant
from gateway.stores.redis_keys import KEYS_KEY
from tests.architecture.source import ROOT
from tests.fakes.valkey import StoreServer, store_server
from tests.understudy.commands import Command
from understudy.keys.places import KeysFile

KEY = re.compile(r"sk-us-[A-Za-z0-9]{43}")


class KeysCommand(Command):
    name = "keys"

    def __init__(self, capsys: pytest.CaptureFixture[str], *place: str) -> None:
        super().__init__(capsys, None)
        self._place = place

    def status(self, *arguments: str) -> int:
        return super().status(*arguments, *self._place)

    def listed(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.said("list", "--json"))["keys"]
        return found


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KEYS_FILE", "KEYS_IN_REDIS", "REDIS_URL"):
        monkeypatch.delenv(f"UNDERSTUDY_{name}", raising=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


@pytest.fixture
def on_file(capsys: pytest.CaptureFixture[str], path: Path) -> KeysCommand:
    return KeysCommand(capsys, "--keys-file", str(path))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with store_server(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def on_redis(capsys: pytest.CaptureFixture[str], shared: StoreServer) -> KeysCommand:
    with shared.client() as client:
        client.flushall()
    return KeysCommand(capsys, "--keys-in-redis", "--redis-url", shared.url)


@pytest.fixture(params=["on_file", "on_redis"])
def command(request: pytest.FixtureRequest) -> KeysCommand:
    found: KeysCommand = request.getfixturevalue(request.param)
    return found


def test_a_key_is_shown_once_and_its_hash_is_kept(on_file: KeysCommand, path: Path) -> None:
    key = on_file.said("create", "ann").strip()
    assert KEY.fullmatch(key)
    assert "Nobody can show it again" in on_file.error
    assert key not in on_file.error
    assert key not in path.read_text()
    assert load_keys(path).tenant(f"Bearer {key}".encode()) == Tenant("ann", key="ann")
    shown = on_file.said("list") + on_file.said("list", "--json")
    assert key not in shown
    assert hashlib.sha256(key.encode()).hexdigest() not in shown


def test_no_two_keys_are_the_same(on_file: KeysCommand) -> None:
    assert on_file.said("create", "ann") != on_file.said("create", "bob")


def test_all_that_is_said_of_a_key_is_written_down_and_listed(command: KeysCommand) -> None:
    options = (
        "--tenant search --model assistant --model writer --may-pin --may-administer "
        "--dial 0.5 0.9 "
        "--requests-per-minute 60 --tokens-per-minute 90000 --usd-per-day 2.5 "
        "--max-open-requests 8 --expires 2100-01-31 --no-store --no-train --no-escalate"
    )
    made = json.loads(command.said("create", "ann", *options.split(), "--json"))
    key = made.pop("key")
    assert made == {
        "name": "ann",
        "tenant": "search",
        "fingerprint": hashlib.sha256(key.encode()).hexdigest()[:12],
        "models": ["assistant", "writer"],
        "may_pin": True,
        "may_administer": True,
        "dial": [0.5, 0.9],
        "limits": {
            "requests_per_minute": 60,
            "tokens_per_minute": 90000,
            "usd_per_day": 2.5,
            "max_open_requests": 8,
        },
        "expires": "2100-01-31T00:00:00Z",
        "is_expired": False,
        "may_store": False,
        "may_train": False,
        "may_escalate": False,
        "source": made["source"],
    }
    del made["source"]
    assert command.listed() == [made]
    shown = command.said("list")
    for word in ("ann", "search", "writer", made["fingerprint"]):
        assert word in shown


def test_a_key_is_taken_away(command: KeysCommand) -> None:
    for name in ("ann", "bob"):
        command.said("create", name)
    assert json.loads(command.said("revoke", "ann", "--json"))["revoked"] == "ann"
    assert [key["name"] for key in command.listed()] == ["bob"]
    assert "bob is gone" in command.said("revoke", "bob")
    assert "nobody may ask" in command.said("list")


def test_a_name_is_given_once_and_a_strange_one_is_not_taken_away(command: KeysCommand) -> None:
    command.said("create", "ann", "--tenant", "search")
    assert command.status("create", "ann") == 2
    assert "has a key 'ann' already" in command.error
    assert command.status("revoke", "bob") == 2
    assert "has no key 'bob'" in command.error
    assert [key["tenant"] for key in command.listed()] == ["search"]


def test_every_change_in_redis_is_seen_by_who_watches(
    on_redis: KeysCommand, shared: StoreServer
) -> None:
    seen = []
    with shared.client() as client:
        for step in (("create", "ann"), ("create", "bob"), ("revoke", "ann"), ("revoke", "bob")):
            on_redis.said(*step)
            seen.append((int(client.hget(KEYS_KEY, ":revision") or 0), client.hlen(KEYS_KEY)))
        assert on_redis.status("revoke", ":revision") == 2
        client.flushall()
        assert on_redis.status("revoke", "ann") == 2
        assert not client.exists(KEYS_KEY)  # it would say that nobody has a key
    assert seen == [(1, 2), (2, 3), (3, 2), (4, 1)]


def test_a_key_is_taken_away_where_redis_is_full(
    on_redis: KeysCommand, shared: StoreServer
) -> None:
    on_redis.said("create", "ann")
    with shared.client() as client:
        client.config_set("maxmemory", 1)
        try:
            assert on_redis.status("create", "bob") == 2
            on_redis.said("revoke", "ann")
            assert client.hkeys(KEYS_KEY) == [b":revision"]  # nobody has a key
        finally:
            client.config_set("maxmemory", 0)


def test_an_entry_that_nobody_can_read_is_named(on_redis: KeysCommand, shared: StoreServer) -> None:
    with shared.client() as client:
        client.hset(KEYS_KEY, "ann", "{}")
    assert on_redis.status("list") == 2
    assert "ann: name: Field required" in on_redis.error
    assert "understudy keys revoke ann" in on_redis.error
    on_redis.said("revoke", "ann")


def test_a_span_of_time_ends_in_the_future(on_file: KeysCommand, path: Path) -> None:
    for name, text in (("d", "90d"), ("h", "12h"), ("m", "30m")):
        on_file.said("create", name, "--expires", text)
    now = datetime.now(UTC)
    spans = (timedelta(days=90), timedelta(hours=12), timedelta(minutes=30))
    for entry, span in zip(read_entries(path), spans, strict=True):
        assert entry.expires is not None
        assert abs(entry.expires - now - span) < timedelta(minutes=1)


def test_an_expired_key_is_listed_as_one(on_file: KeysCommand) -> None:
    on_file.said("create", "old", "--expires", "2026-01-01")
    assert on_file.listed()[0]["is_expired"]
    assert "expired" in on_file.said("list")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("create", "a b"), "--name: .*that form"),
        (("create", "a", "--dial", "0.9", "0.1"), "the first number must not be above"),
        (("create", "a", "--dial", "0.9", "2"), "--dial: .*in that range"),
        (("create", "a", "--usd-per-day", "0"), "--usd-per-day: .*in that range"),
        (("create", "a", "--expires", "soon"), "--expires: must be a day"),
        (("create", "a", "--model", ""), "--model: .*write something"),
    ],
)
def test_what_cannot_be_said_of_a_key_is_told_and_nothing_is_written(
    on_file: KeysCommand, path: Path, arguments: tuple[str, ...], message: str
) -> None:
    assert on_file.status(*arguments) == 2
    assert re.search(message, on_file.error)
    assert not path.exists()


def test_a_file_that_is_not_valid_is_left_alone(on_file: KeysCommand, path: Path) -> None:
    path.write_text("keys: [")
    for step in (("create", "ann"), ("revoke", "ann"), ("list",)):
        assert on_file.status(*step) == 2
        assert "not valid YAML" in on_file.error
    assert path.read_text() == "keys: ["


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (("&x {name: a, sha256: A}", "{<<: *x, name: b, sha256: B}"), "not be valid"),
        (  # a line's end to YAML, and to nobody else
            ("{name: c, sha256: C}", "{name: a, sha256: A}\u2028- {name: b, sha256: B}"),
            "would say something else",
        ),
    ],
)
def test_a_file_that_would_not_say_what_is_wanted_is_left_alone(
    on_file: KeysCommand, path: Path, lines: tuple[str, ...], why: str
) -> None:
    text = "keys:\n" + "".join(f"- {line}\n" for line in lines)
    for name in "ABC":
        text = text.replace(
            f"sha256: {name}", "sha256: " + hashlib.sha256(name.encode()).hexdigest()
        )
    path.write_text(text)
    assert on_file.status("revoke", "a") == 2
    assert why in on_file.error
    assert "change it by hand" in on_file.error
    assert path.read_text() == text


def test_a_file_keeps_its_line_ends_its_rights_and_the_link_to_it(
    on_file: KeysCommand, path: Path, tmp_path: Path
) -> None:
    real = tmp_path / "real.yaml"
    real.write_bytes(b"# ours\r\nkeys: []\r\n")
    real.chmod(0o640)
    path.symlink_to(real)
    on_file.said("create", "ann")
    assert path.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert real.read_bytes().count(b"\r\n") == real.read_bytes().count(b"\n") == 4
    assert on_file.listed()[0]["name"] == "ann"


def test_who_does_not_say_where_the_keys_are_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = KeysCommand(capsys)
    assert nowhere.status("list") == 2
    assert "--keys-file FILE (UNDERSTUDY_KEYS_FILE), or --keys-in-redis" in nowhere.error
    assert nowhere.status("list", "--keys-in-redis") == 2
    assert "needs --redis-url" in nowhere.error


def test_limits_are_those_that_the_gateway_reads(on_file: KeysCommand, path: Path) -> None:
    on_file.said("create", "ann", "--usd-per-day", "0.1", "--max-open-requests", "3")
    (tenant,) = load_keys(path).tenants.values()
    assert tenant.limits == KeyLimits(usd_per_day=10**11, max_open_requests=3)


def test_the_rights_that_the_page_names_are_enough(
    capsys: pytest.CaptureFixture[str], on_redis: KeysCommand, shared: StoreServer
) -> None:
    page = (ROOT / "docs/keys.md").read_text()
    (rights,) = re.findall(r"`understudy keys` also `([^`]+)`", page)
    (reading,) = re.findall(r"Gateways need `([^`]+)` on it", page)
    with shared.client() as client:
        words = f"{reading} {rights}".split()
        client.acl_setuser("maker", True, passwords="+x", keys=[KEYS_KEY], commands=words)
    url = shared.url.replace("redis://", "redis://maker:x@")
    maker = KeysCommand(capsys, "--keys-in-redis", "--redis-url", url)
    maker.said("create", "ann")
    assert maker.listed()[0]["name"] == "ann"
    maker.said("revoke", "ann")


def test_commands_at_the_same_time_do_not_undo_each_other(path: Path) -> None:
    def make(number: int) -> None:
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        KeysFile(path).add(KeyEntry(name=f"key-{number}", sha256=digest))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(40)))
    assert len(read_entries(path)) == 40
