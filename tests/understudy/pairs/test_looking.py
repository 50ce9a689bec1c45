"""Looking at the log and deleting from it, as operators do."""

import json
from pathlib import Path
from typing import Any

import pytest

from distill.deletions import Deletion
from tests.fakes.pair_log import fill
from tests.fakes.pairs import DAY, NOON, audit, pair, pair_of_version_one
from tests.fakes.serving import free_port
from tests.understudy.commands import Command
from understudy.pairs import delete, stats, tail
from understudy.pairs.delete import NOT_WANTED
from understudy.pairs.store import Log
from understudy.telling import CANNOT


def test_stats_count_everything_there_is(command: Command, log: Log) -> None:
    no_tenant = {"tenant_may_train": False, "teacher_outputs_may_train": True}
    fill(
        log,
        [
            pair(1, tenant="team"),
            pair(2, tenant="team", reason="no_signal", time=NOON + DAY, consent=no_tenant),
            pair(3, content=None, sealed="token", draft_complete=False),
            pair(4, content=None, dropped="redactor_failed"),
            pair_of_version_one(5, may_train=False),
            b"nonsense",
        ],
    )
    log.client.xgroup_create(log.key("pairs"), "export", id="0")
    log.delete(Deletion(NOON, tenant="gone"))
    told = json.loads(command.said("stats", "--json"))
    assert {name: told[name] for name in ("pairs", "unreadable", "sealed", "dropped")} == {
        "pairs": 5,
        "unreadable": 1,
        "sealed": 1,
        "dropped": 1,
    }
    assert told["complete_drafts"] == 4
    assert told["by_reason"] == {"low_confidence": 4, "no_signal": 1}
    assert told["by_tenant"] == {"(none)": 3, "team": 2}
    assert told["by_day"] == {"2026-09-21": 4, "2026-09-22": 1}
    assert told["by_consent"] == {"may_train": 3, "no_tenant": 1, "no_teacher_licence": 1}
    assert (told["oldest"], told["newest"]) == (NOON + 1, NOON + DAY)
    assert told["memory_bytes"] > 0
    (group,) = told["groups"]
    assert (group["name"], group["pending"], group["lag"]) == ("export", 0, 6)
    assert told["deletions"] == 1


def test_tail_shows_what_is_no_text(command: Command, log: Log) -> None:
    fill(log, [b"\xff", pair(1)])
    first, second = command.said("tail", "--no-follow", "--json").splitlines()
    assert first == "\\xff"
    assert json.loads(second)["id"] == f"{1:032x}"


def test_memory_counts_a_long_pair_among_short_ones(command: Command, log: Log) -> None:
    short = [pair(number) for number in range(200)]
    fill(log, [*short[:100], pair(500, request={"messages": ["x" * 2**21]}), *short[100:]])
    assert json.loads(command.said("stats", "--json"))["memory_bytes"] > 2**21


def test_stats_can_be_read_by_people(command: Command, log: Log) -> None:
    fill(log, [pair(1, tenant="[red]team")])
    log.client.xgroup_create(log.key("pairs"), "export", id="0")
    shown = command.said("stats")
    for words in ("low_confidence", "[red]team", "2026-09-21 14:13:21 UTC", "export"):
        assert words in shown


def test_stats_stay_small_however_many_tenants_there_are(
    command: Command, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "MOST_VALUES", 3)
    fill(log, [pair(number, tenant=f"t{number % 5}") for number in range(20)])
    told = json.loads(command.said("stats", "--json"))["by_tenant"]
    assert told == {"(others)": 8, "t0": 4, "t1": 4, "t2": 4}


def test_stats_go_page_by_page(command: Command, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.pairs.store.PAGE_ENTRIES", 3)
    for count in (2, 3, 4):
        log.client.delete(log.key("pairs"))
        fill(log, [pair(number) for number in range(count)])
        assert json.loads(command.said("stats", "--json"))["pairs"] == count


def test_audits_are_a_stream_of_their_own(command: Command, log: Log) -> None:
    fill(log, [pair(1), pair(2)])
    fill(log, [audit(3), audit(4, loss=1, score=0.2), audit(5, score=None, loss=1)], "audits")
    assert json.loads(command.said("stats", "--json"))["pairs"] == 2
    assert json.loads(command.said("stats", "--json", "--stream", "audits"))["pairs"] == 3
    shown = command.said("tail", "--no-follow", "--stream", "audits").splitlines()
    for line, number, outcome in zip(shown, (3, 4, 5), ("agrees", "differs", "no"), strict=True):
        assert f"{number:032x}" in line
        assert f"audited, {outcome}" in line
    told = json.loads(command.said("show", f"{4:032x}", "--stream", "audits"))
    assert (told["kind"], told["loss"], told["known_with"]) == ("audit", 1, 0.02)
    assert "kind" not in json.loads(command.said("show", f"{1:032x}"))


def test_stats_tell_how_often_kept_drafts_differ(command: Command, log: Log) -> None:
    """Each audit stands for as many as it was improbable; what was degraded was not kept."""
    fill(log, [audit(0, propensity=1.0, known="owed")], "audits")
    assert (
        json.loads(command.said("stats", "--json", "--stream", "audits"))["kept_differing"] is None
    )
    assert "unknown" in command.said("stats", "--stream", "audits")
    fill(
        log,
        [
            audit(1, propensity=0.5),
            audit(2, propensity=0.25, loss=1, score=0.0),
            audit(3, propensity=0.5, loss=1, score=None),
            audit(4, propensity=1.0, known="owed", loss=1, score=0.0),
        ],
        "audits",
    )
    told = json.loads(command.said("stats", "--json", "--stream", "audits"))
    assert (told["kept_audited"], told["kept_failed"]) == (3, 1)
    assert told["kept_differing"] == pytest.approx((4 + 2) / (2 + 4 + 2))
    assert "75.00%" in command.said("stats", "--stream", "audits")


def test_tail_shows_the_last_pairs_in_their_order(command: Command, log: Log) -> None:
    fill(log, [pair(number) for number in range(20)])
    shown = command.said("tail", "--no-follow", "--lines", "3").splitlines()
    assert [line.split("  ")[1] for line in shown] == [f"{number:032x}" for number in (17, 18, 19)]
    assert command.said("tail", "--no-follow", "--lines", "0") == ""
    records = command.said("tail", "--no-follow", "--lines", "1", "--json")
    assert json.loads(records) == pair(19)


def test_tail_tells_what_is_special(command: Command, log: Log) -> None:
    splice = {"handover": "restart", "after_tokens": 3, "after_characters": 9}
    fill(
        log,
        [
            pair(1, splice=splice, confidence=None),
            pair(2, content=None, sealed="token", completes="0" * 32),
            pair(3, content=None, dropped="redactor_failed"),
            b"nonsense",
        ],
    )
    shown = command.said("tail", "--no-follow")
    for words in ("spliced (restart)", "confidence unknown", "sealed", "completes 0000", "dropped"):
        assert words in shown
    assert "is no pair" in shown


def test_tail_goes_on_with_what_comes(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "BLOCK_MILLISECONDS", 1)
    fill(log, [pair(1)])
    entries = tail.entries_of(log, "pairs", 0, is_followed=True)
    reads: list[str] = []
    read = log.client.xread

    def counted(*arguments: Any, **options: Any) -> Any:
        reads.append("read")
        if len(reads) == 3:
            fill(log, [pair(2), pair(3)])
        return read(*arguments, **options)

    monkeypatch.setattr(log.client, "xread", counted)
    shown = [str(tail.line_of(next(entries))) for _ in range(2)]
    assert [line.split("  ")[1] for line in shown] == [f"{number:032x}" for number in (2, 3)]


@pytest.mark.parametrize("name", [f"{7:032x}", "req-7"])
def test_show_finds_a_pair_by_its_id_or_its_requests(command: Command, log: Log, name: str) -> None:
    fill(log, [pair(number) for number in range(10)] + [pair(7)])
    shown = json.loads(command.said("show", name))
    assert shown == {**pair(7), "written_version": 2}


def test_show_tells_all_pairs_of_a_request(command: Command, log: Log) -> None:
    fill(log, [pair(1), pair(2, request_id="req-1", completes=f"{1:032x}")])
    assert command.said("show", "req-1").count('"request_id"') == 2


def test_show_of_what_is_not_there_or_sealed_says_so(
    command: Command, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNDERSTUDY_PAIRS_KEYS", raising=False)
    fill(log, [pair(1, content=None, sealed="token")])
    assert command.status("show", "nothing") == CANNOT
    assert "no pair, and no request, with the id 'nothing'" in command.error
    assert command.status("show", "req-1") == CANNOT
    assert "set UNDERSTUDY_PAIRS_KEYS" in command.error


def test_delete_takes_out_what_it_says_and_writes_it_down(command: Command, log: Log) -> None:
    fill(log, [pair(1), pair(2, request_id="req-1"), pair(3, tenant="team"), b"nonsense"])
    fill(log, [pair(4, request_id="req-1")], stream="audits")
    shown = command.said("delete", "--request-id", "req-1", "--yes")
    assert "pairs: 2 removed" in shown
    assert "audits: 1 removed" in shown
    assert "pairs: 1 removed" in command.said("delete", "--tenant", "team", "--yes")
    assert log.client.xlen(log.key("pairs")) == 1
    assert [deletion for _, deletion in log.deletions()][0].request_id == "req-1"  # noqa: RUF015
    assert [deletion.tenant for _, deletion in log.deletions()] == [None, "team"]


def test_delete_takes_out_many_at_a_time(
    command: Command, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delete, "PAGE_ENTRIES", 3)
    fill(log, [pair(number, tenant="team") for number in range(7)])
    assert "pairs: 7 removed" in command.said("delete", "--tenant", "team", "--yes")


def test_a_tenants_later_pairs_stay(command: Command, log: Log) -> None:
    fill(log, [pair(1, tenant="team"), pair(2, tenant="team", time=4_000_000_000.0)])
    assert "pairs: 1 removed" in command.said("delete", "--tenant", "team", "--yes")


def test_the_wish_is_written_down_before_the_stream_is_searched(
    command: Command, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that what a gateway ships meanwhile is seen by one of the two."""
    fill(log, [pair(1)])

    def broken(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("understudy.pairs.delete.remove", broken)
    assert command.status("delete", "--request-id", "req-1", "--yes") == CANNOT
    assert len(list(log.deletions())) == 1


def test_delete_works_for_a_cascade_that_has_shipped_nothing_yet(
    command: Command, log: Log
) -> None:
    command.said("delete", "--tenant", "team", "--yes", "--cascade", "new-one")
    assert [deletion.tenant for _, deletion in Log(log.client, "new-one").deletions()] == ["team"]
    assert command.status("delete", "--tenant", "t", "--yes", "--cascade", "No Name") == CANNOT


@pytest.mark.parametrize(("answer", "left"), [("y", 0), ("n", 1), ("", 1)])
def test_delete_asks_first(
    command: Command, log: Log, monkeypatch: pytest.MonkeyPatch, answer: str, left: int
) -> None:
    fill(log, [pair(1)])
    monkeypatch.setattr("builtins.input", lambda _: answer)
    assert command.status("delete", "--request-id", "req-1") == (NOT_WANTED if left else 0)
    assert log.client.xlen(log.key("pairs")) == left
    assert len(list(log.deletions())) == 1 - left


def test_delete_without_anybody_to_ask_needs_yes(
    command: Command, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(_: str) -> str:
        raise EOFError

    fill(log, [pair(1)])
    monkeypatch.setattr("builtins.input", nobody)
    assert command.status("delete", "--request-id", "req-1") == CANNOT
    assert "say --yes" in command.error
    assert command.status("delete", "--yes") == CANNOT
    assert command.status("delete", "--yes", "--tenant", "t", "--request-id", "r") == CANNOT


@pytest.mark.parametrize(
    "arguments",
    [
        ("stats",),
        ("tail",),
        ("show", "x"),
        ("delete", "--tenant", "t", "--yes", "--cascade", "assistant"),
    ],
)
def test_redis_that_is_away_is_said_so_without_its_password(
    arguments: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away = Command(capsys, f"redis://:secret-word@127.0.0.1:{free_port()}/0")
    told = [str(tmp_path) if each == "OUT" else each for each in arguments]
    assert away.status(*told) == CANNOT
    assert "Connection refused" in away.error
    assert "secret-word" not in away.error


@pytest.mark.parametrize(
    ("url", "words"), [(None, "set UNDERSTUDY_REDIS_URL"), ("http://x", "--redis-url")]
)
def test_a_redis_that_is_not_named_well_is_refused(
    url: str | None,
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("UNDERSTUDY_REDIS_URL", raising=False)
    unnamed = Command(capsys, url)
    assert unnamed.status("stats") == CANNOT
    assert words in unnamed.error


def test_a_cascade_must_be_chosen_among_several(command: Command, log: Log) -> None:
    assert command.status("stats") == CANNOT
    assert "has no pairs" in command.error
    fill(log, [pair(1)])
    fill(Log(log.client, "other"), [pair(1), pair(2)])
    log.client.set("understudy:{third}:pairs-of-shoes", "no stream")
    assert command.status("stats") == CANNOT
    assert "several cascades, assistant, other: choose one" in command.error
    assert json.loads(command.said("stats", "--json", "--cascade", "other"))["pairs"] == 2
    assert command.status("stats", "--cascade", "third") == CANNOT
    assert "no pairs of 'third', but of assistant, other" in command.error
