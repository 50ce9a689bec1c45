"""The format of a journal's segments, as pure functions over bytes.

A segment is a header and then frames, one for each record.  All numbers are little-endian:

    header   name (16 bytes), version (2), seconds since 1970 (8, a float), CRC-32 of these (4)
    frame    magic (4 bytes), length of the payload (4), CRC-32 of length and payload (4), payload
    payload  kind of stream (1 byte), length of the cascade's name (1), the name, the record

The magic holds bytes that no UTF-8 text has, so no record can hold a frame.  Whoever meets damage
looks for the next magic whose checksum holds.  A record of nothing but blanks was deleted.

A reader leaves a directory with a later version than its own alone.  A further kind of stream is a
later version too: readers of this one would take its records for damage.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.ports import StreamKind

VERSION: Final = 2
MAGIC: Final = b"\xf9\xff\xfe\xfb"
# A record has a request, two answers of at most 64 MiB each and a little more; sealed, that is in
# base64.  So requests of up to 64 MiB fit: 3 × 64 × 4/3 = 256 MiB.
MAX_PAYLOAD_BYTES: Final = 256 * 2**20

_FIRST: Final = MAGIC[:1]
_NAME: Final = b"\xffUnderstudy.seg\n"
_HEADER = struct.Struct("<16sHd")
_FRAME = struct.Struct("<4sII")
_CHECKSUM = struct.Struct("<I")
_LENGTH = struct.Struct("<I")
HEADER_BYTES: Final = _HEADER.size + _CHECKSUM.size
FRAME_BYTES: Final = _FRAME.size

_CODES: Final = {
    StreamKind.PAIRS: b"p",
    StreamKind.AUDITS: b"a",
    StreamKind.LEDGER: b"l",
    StreamKind.STORED: b"s",
}
_KINDS: Final = {code[0]: kind for kind, code in _CODES.items()}


@dataclass(frozen=True, slots=True)
class Header:
    """The beginning of a segment; ``created`` counts seconds from 1970."""

    version: int
    created: float


@dataclass(frozen=True, slots=True)
class Frame:
    """One record, and where in the segment its frame begins and ends."""

    offset: int
    end: int
    kind: StreamKind
    cascade: str
    record: bytes

    @property
    def is_blank(self) -> bool:
        """Whether the record was deleted."""
        return not self.record.strip(b" ")


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes of a segment that hold no readable frame, the last one excluded."""

    offset: int
    end: int


@dataclass(frozen=True, slots=True)
class Window:
    """What a part of a segment holds.  ``end`` is where to read on, ``wants`` how many bytes."""

    frames: Sequence[Frame]
    skipped: Sequence[Range]
    end: int
    wants: int


class TooLarge(ValueError):
    """A record is larger than any that the gateway can have to write."""


def encode_header(created: float) -> bytes:
    """The beginning of a segment that is created now."""
    head = _HEADER.pack(_NAME, VERSION, created)
    return head + _CHECKSUM.pack(zlib.crc32(head))


def decode_header(data: bytes) -> Header | None:
    """What the first ``HEADER_BYTES`` of a segment say; None where they are damaged."""
    if len(data) < HEADER_BYTES:
        return None
    name, version, created = _HEADER.unpack_from(data)
    (checksum,) = _CHECKSUM.unpack_from(data, _HEADER.size)
    if name != _NAME or checksum != zlib.crc32(data[: _HEADER.size]):
        return None
    return Header(version, created)


def encode_frame(kind: StreamKind, cascade: str, record: bytes) -> tuple[bytes, bytes]:
    """A frame in two parts, of which the second is the record: it need not be copied.

    Raises TooLarge.  A record that is no UTF-8 and holds the magic is made UTF-8.
    """
    if _FIRST in record and MAGIC in record:  # one byte is found much faster than four
        record = record.decode("utf-8", "replace").encode()
    name = cascade.encode()
    beginning = b"%s%c%s" % (_CODES[kind], len(name), name)
    size = len(beginning) + len(record)
    if size > MAX_PAYLOAD_BYTES:
        raise TooLarge(f"a record of {len(record)} bytes, where {MAX_PAYLOAD_BYTES} are the most")
    length = _LENGTH.pack(size)
    checksum = zlib.crc32(record, zlib.crc32(beginning, zlib.crc32(length)))
    return _FRAME.pack(MAGIC, size, checksum) + beginning, record


def blank(frame: Frame) -> bytes:
    """The same frame without its record: as many bytes, and nothing to read in them."""
    head, spaces = encode_frame(frame.kind, frame.cascade, b" " * len(frame.record))
    return head + spaces


def scan(data: bytes, base: int, segment_end: int) -> Window:
    """Find all frames in ``data``, which begins at offset ``base`` of a segment.

    What is whole but not readable is skipped and told.  A frame that goes on behind ``data`` is
    left for the next window, which begins with it; one that would go on behind ``segment_end`` is
    none.
    """
    frames: list[Frame] = []
    skipped: list[Range] = []
    at, damaged_from, wants = 0, -1, 0
    while at < len(data):
        found = _frame_at(data, at, base, segment_end)
        if isinstance(found, int) and found > 0:
            wants = found
            break
        if isinstance(found, Frame):
            if damaged_from >= 0:
                skipped.append(Range(base + damaged_from, base + at))
                damaged_from = -1
            frames.append(found)
            at = found.end - base
            continue
        if damaged_from < 0:
            damaged_from = at
        at = _next_magic(data, at + 1)
    if damaged_from >= 0:
        skipped.append(Range(base + damaged_from, base + at))
    return Window(frames, skipped, base + at, wants)


def _frame_at(data: bytes, at: int, base: int, segment_end: int) -> Frame | int:
    """The frame there; how many bytes it has, where ``data`` has less of them; 0 where is none."""
    if not MAGIC.startswith(data[at : at + len(MAGIC)]):
        return 0
    if len(data) - at < FRAME_BYTES:
        return FRAME_BYTES if base + at + FRAME_BYTES <= segment_end else 0
    size: int
    _, size, checksum = _FRAME.unpack_from(data, at)
    start, end = at + FRAME_BYTES, at + FRAME_BYTES + size
    if size > MAX_PAYLOAD_BYTES or base + end > segment_end:
        return 0
    if end > len(data):
        return end - at
    payload = data[start:end]
    if zlib.crc32(payload, zlib.crc32(_LENGTH.pack(size))) != checksum or size < 2:
        return 0
    kind, name_end = _KINDS.get(payload[0]), 2 + payload[1]
    if kind is None or name_end > size:
        return 0
    cascade = payload[2:name_end].decode("utf-8", "replace")
    return Frame(base + at, base + end, kind, cascade, payload[name_end:])


def _next_magic(data: bytes, at: int) -> int:
    """Where the next frame may begin; the end of ``data`` where none does."""
    found = data.find(MAGIC, at)
    if found >= 0:
        return found
    for tail in range(max(at, len(data) - len(MAGIC) + 1), len(data)):
        if MAGIC.startswith(data[tail:]):
            return tail
    return len(data)
