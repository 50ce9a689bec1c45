from typing import Any

import pyarrow.parquet as pq
import pytest

from distill.pairs import read_pair
from tests.fakes.pairs import DAY, NOON, encoded, pair
from understudy.pairs import parts
from understudy.pairs.parts import SCHEMA, Buffer, cascade_of, part_paths
from understudy.pairs.places import Place


def buffer_of(*records: dict[str, Any], size: int = 10) -> Buffer:
    buffer = Buffer()
    for number, record in enumerate(records):
        buffer.add(read_pair(encoded(record)), f"{number}-0", size)
    return buffer


def test_a_part_holds_whole_records_of_one_day(place: Place) -> None:
    early, late = pair(1), pair(2, time=NOON + DAY)
    written = buffer_of(early, late).write(place, "assistant", "x")
    assert written == [
        "parts/cascade=assistant/date=2026-09-21/part-x.parquet",
        "parts/cascade=assistant/date=2026-09-22/part-x.parquet",
    ]
    assert part_paths(place) == written
    assert [cascade_of(path) for path in written] == ["assistant", "assistant"]
    (row,) = pq.ParquetFile(place.path(written[0])).read().to_pylist()
    assert row["id"] == early["id"]
    assert row["signals"] == '{"min_margin":0.1}'
    assert row["tenant_may_train"] is True
    assert row["prompt_hash"].startswith("p1:")


def test_folders_of_parts_can_be_read_as_one_table(place: Place) -> None:
    buffer_of(pair(1), pair(2, time=NOON + DAY)).write(place, "assistant", "x")
    table = pq.read_table(place.path("parts"))
    assert set(table.column("cascade").to_pylist()) == {"assistant"}
    assert len(set(table.column("date").to_pylist())) == 2
    assert set(SCHEMA.names) < set(table.column_names)


def test_the_hash_of_a_sealed_prompt_is_not_told(place: Place) -> None:
    buffer = buffer_of(pair(1, content=None, sealed="token"))
    (path,) = buffer.write(place, "assistant", "x")
    (row,) = pq.ParquetFile(place.path(path)).read().to_pylist()
    assert (row["prompt_hash"], row["request"], row["sealed"]) == (None, None, "token")


def test_a_part_is_full_at_its_limit_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_ROWS", 3)
    assert not buffer_of(pair(1), pair(2)).is_full
    assert buffer_of(pair(1), pair(2), pair(3)).is_full


def test_a_part_is_full_at_its_limit_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 20)
    assert not buffer_of(pair(1), size=19).is_full
    assert buffer_of(pair(1), pair(2)).is_full
