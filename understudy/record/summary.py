"""What the records of a file come to, as they are added one by one."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class _Mean:
    total: float = 0.0
    count: int = 0

    def add(self, value: Any) -> None:
        if isinstance(value, bool | int | float):
            self.total += float(value)
            self.count += 1

    @property
    def value(self) -> float | None:
        return self.total / self.count if self.count else None


@dataclass(slots=True)
class Summary:
    """Counts and means over all records of a file, and what failed in this run."""

    records: int = 0
    written: int = 0
    left_over: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    is_spent_known: bool = True
    spent_pico: int = 0
    without_evidence: int = 0
    ok_by: Counter[str] = field(default_factory=Counter)
    assumed_teachers: int = 0
    _student: _Mean = field(default_factory=_Mean)
    _teacher: _Mean = field(default_factory=_Mean)
    _student_usd: _Mean = field(default_factory=_Mean)
    _teacher_usd: _Mean = field(default_factory=_Mean)
    _again: _Mean = field(default_factory=_Mean)

    def add(self, record: Mapping[str, Any]) -> None:
        """Take a record into account."""
        student, teacher = record.get("student") or {}, record.get("teacher") or {}
        self.records += 1
        self.ok_by[str(record.get("ok_by"))] += 1
        self.assumed_teachers += teacher.get("ok_by") == "assumed"
        self.without_evidence += not student.get("token_logprobs")
        self._student.add(student.get("ok"))
        self._teacher.add(teacher.get("ok"))
        self._student_usd.add(student.get("cost_usd"))
        self._teacher_usd.add(teacher.get("cost_usd"))
        self._again.add((teacher.get("again") or {}).get("agrees"))

    def spend(self, pico: int | None) -> None:
        """Add to what this run cost; None where that is unknown."""
        self.is_spent_known &= pico is not None
        self.spent_pico += pico or 0

    @property
    def asked_again(self) -> int:
        """Of how many records the teacher was asked twice."""
        return self._again.count

    def document(self) -> dict[str, Any]:
        """All of it, for ``--json``.  What nobody knows is null."""
        agreement = self._again.value
        return {
            "records": self.records,
            "written": self.written,
            "left_over": self.left_over,
            "failed": dict(sorted(self.failed.items())),
            "without_evidence": self.without_evidence,
            "ok_by": dict(sorted(self.ok_by.items())),
            "assumed_teachers": self.assumed_teachers,
            "student_quality": self._student.value,
            "teacher_quality": self._teacher.value,
            "student_usd": self._student_usd.total if self._student_usd.count else None,
            "teacher_usd": self._teacher_usd.total if self._teacher_usd.count else None,
            "spent_usd": self.spent_pico / 10**12 if self.is_spent_known else None,
            "self_agreement": None
            if agreement is None
            else {
                "records": self._again.count,
                "agreement": agreement,
                "disagreement": 1 - agreement,
            },
        }
