"""A log of pairs that has room, and takes them, only where a test says so."""

from gateway.ports import StreamKind


class ScriptedLog:
    """``records`` holds what it took.  To have room is no promise: a disk can fill meanwhile."""

    def __init__(self, *, has_room: bool = True, is_taking: bool = True) -> None:
        self.has_room = has_room
        self.is_taking = is_taking
        self.records: list[bytes] = []
        self.lost = 0

    def append(self, cascade: str, record: bytes, *, kind: StreamKind = StreamKind.PAIRS) -> bool:
        """Take a record, or lose it."""
        if self.is_taking:
            self.records.append(b'{"cascade":"%s","pair":%s}' % (cascade.encode(), record))
        else:
            self.lost += 1
        return self.is_taking
