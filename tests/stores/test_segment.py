import itertools
import zlib
from collections.abc import Iterator

import pytest

from gateway.ports import StreamKind
from gateway.stores import segment
from gateway.stores.segment import (
    FRAME_BYTES,
    HEADER_BYTES,
    MAGIC,
    MAX_PAYLOAD_BYTES,
    VERSION,
    Frame,
    Range,
    TooLarge,
    blank,
    decode_header,
    encode_frame,
    encode_header,
    scan,
)

RECORDS = [
    (StreamKind.PAIRS, "assistant", b'{"id":"1"}'),
    (StreamKind.AUDITS, "a", b"{}"),
    (StreamKind.PAIRS, "b.c-d", '{"text":"\N{GREEK SMALL LETTER BETA}"}'.encode()),
    (StreamKind.PAIRS, "assistant", b'{"id":"4","x":"yyyyyyyyyyyy"}'),
]
Content = tuple[StreamKind, str, bytes]


def framed(*records: Content) -> bytes:
    return b"".join(b"".join(encode_frame(*record)) for record in records)


SAMPLE = encode_header(1.5) + framed(*RECORDS)


def read(data: bytes, size: int = 2**20) -> tuple[list[Frame], list[Range]]:
    """A whole segment, in windows of ``size`` bytes, as the journal reads it."""
    frames: list[Frame] = []
    skipped: list[Range] = []
    at = 0
    if decode_header(data[:HEADER_BYTES]) is not None:
        at = HEADER_BYTES
    wants = 0
    while at < len(data):
        window = scan(data[at : at + max(size, wants)], at, len(data))
        assert window.end > at or window.wants > max(size, wants), "reading makes no progress"
        frames += window.frames
        skipped += window.skipped
        at, wants = window.end, window.wants
    return frames, skipped


def contents(frames: list[Frame]) -> list[Content]:
    return [(frame.kind, frame.cascade, frame.record) for frame in frames]


def is_in_order(some: list[Content], whole: list[Content]) -> bool:
    """Whether ``some`` can be had from ``whole`` by leaving out."""
    remaining = iter(whole)
    return all(each in remaining for each in some)


def covered(frames: list[Frame], skipped: list[Range], begin: int) -> list[tuple[int, int]]:
    """All ranges of a segment that reading it told of, in order."""
    told = [(frame.offset, frame.end) for frame in frames]
    told += [(damaged.offset, damaged.end) for damaged in skipped]
    return sorted(told) or [(begin, begin)]


@pytest.mark.parametrize("size", [1, 7, 12, 64, 2**20])
def test_records_come_back_whatever_the_window(size: int) -> None:
    frames, skipped = read(SAMPLE, size)
    assert contents(frames) == RECORDS
    assert skipped == []
    assert frames[0].offset == HEADER_BYTES
    assert frames[-1].end == len(SAMPLE)


def mutations() -> Iterator[tuple[bytes, str]]:
    for length in range(len(SAMPLE)):
        yield SAMPLE[:length], f"cut to {length}"
    for bit in range(len(SAMPLE) * 8):
        damaged = bytearray(SAMPLE)
        damaged[bit // 8] ^= 1 << bit % 8
        yield bytes(damaged), f"bit {bit}"


@pytest.mark.parametrize("size", [12, 2**20])
def test_no_truncation_and_no_flipped_bit_invents_a_record_or_hides_what_it_cost(
    size: int,
) -> None:
    for data, what in mutations():
        frames, skipped = read(data, size)
        assert is_in_order(contents(frames), RECORDS), what
        assert len(frames) >= len(RECORDS) - 1 or len(data) < len(SAMPLE), what
        # Every byte behind the header is in a record or told to be skipped, and none in both.
        begin = HEADER_BYTES if decode_header(data[:HEADER_BYTES]) is not None else 0
        told = covered(frames, skipped, begin)
        assert told[0][0] == begin, what
        assert told[-1][1] == max(len(data), begin), what
        assert all(one[1] == other[0] for one, other in itertools.pairwise(told)), what
        if len(frames) < len(RECORDS) and len(data) == len(SAMPLE):
            assert skipped, what


def test_a_damaged_header_costs_no_record() -> None:
    for bit in range(HEADER_BYTES * 8):
        damaged = bytearray(SAMPLE)
        damaged[bit // 8] ^= 1 << bit % 8
        assert decode_header(bytes(damaged)) is None
        frames, skipped = read(bytes(damaged))
        assert contents(frames) == RECORDS
        assert skipped == [Range(0, HEADER_BYTES)]


def test_the_header_says_version_and_time() -> None:
    header = decode_header(SAMPLE)
    assert header is not None
    assert (header.version, header.created) == (VERSION, 1.5)


def test_a_version_of_the_format_has_the_kinds_of_streams_that_its_readers_know() -> None:
    """Whoever adds one raises the version: older readers would take its records for damage."""
    assert (VERSION, set(StreamKind)) == (2, {"pairs", "audits", "ledger", "stored"})


def test_junk_between_frames_is_skipped_and_told() -> None:
    one, two = framed(RECORDS[0]), framed(RECORDS[1])
    data = one + b"junk" + MAGIC + b"more junk" + two + MAGIC[:2]
    window = scan(data, 100, 100 + len(data))
    assert contents(list(window.frames)) == RECORDS[:2]
    junk = len(one) + len(b"junkmore junk") + len(MAGIC)
    assert window.skipped == [
        Range(100 + len(one), 100 + junk),
        Range(100 + len(data) - 2, 100 + len(data)),
    ]


def test_a_length_beyond_the_segment_is_no_reason_to_read_on() -> None:
    frame = bytearray(framed(RECORDS[0]))
    frame[4:8] = (MAX_PAYLOAD_BYTES).to_bytes(4, "little")
    data = bytes(frame) + framed(RECORDS[1])
    window = scan(data, 0, len(data))
    assert contents(list(window.frames)) == RECORDS[1:2]
    assert window.wants == 0


@pytest.mark.parametrize(
    ("size", "wants"), [(MAX_PAYLOAD_BYTES, True), (MAX_PAYLOAD_BYTES + 1, False)]
)
def test_the_largest_length_is_read_and_no_larger_one(size: int, wants: bool) -> None:
    data = MAGIC + size.to_bytes(4, "little") + b"0000" + b"x" * 10
    window = scan(data, 0, 2**40)
    assert window.wants == (size + FRAME_BYTES if wants else 0)
    assert (window.end == 0) == wants


def test_the_largest_record_is_written_and_no_larger_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "MAX_PAYLOAD_BYTES", 100)
    encode_frame(StreamKind.PAIRS, "a", b"x" * 97)
    with pytest.raises(TooLarge):
        encode_frame(StreamKind.PAIRS, "a", b"x" * 98)


@pytest.mark.parametrize("payload", [b"", b"p", b"?\x01a{}", b"p\xffa{}"])
def test_a_payload_that_makes_no_sense_is_skipped(payload: bytes) -> None:
    length = len(payload).to_bytes(4, "little")
    frame = MAGIC + length + zlib.crc32(length + payload).to_bytes(4, "little") + payload
    window = scan(frame, 0, len(frame))
    assert window.frames == []
    assert window.skipped == [Range(0, len(frame))]


def test_no_record_can_hold_a_frame() -> None:
    inner = framed(RECORDS[0])
    data = framed((StreamKind.PAIRS, "a", b'{"x":"' + inner + b'"}'))
    (frame,) = scan(data, 0, len(data)).frames
    assert MAGIC not in frame.record
    cut = data[5:]
    assert scan(cut, 0, len(cut)).frames == []


def test_a_blanked_frame_is_as_long_and_says_nothing() -> None:
    frames, _ = read(SAMPLE)
    data = bytearray(SAMPLE)
    data[frames[2].offset : frames[2].end] = blank(frames[2])
    after, skipped = read(bytes(data))
    assert skipped == []
    assert [frame.is_blank for frame in after] == [False, False, True, False]
    assert (after[2].kind, after[2].cascade) == RECORDS[2][:2]
