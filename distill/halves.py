"""Two halves of the questions, the same in every run and for every student.

One may be fitted on, and the other is measured: what a policy was fitted on says nothing of how
good it is.  A question's own hash decides, so that all records of it are in one half.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from evaluation.features import has_prompt, prompt_in
from evaluation.records import Record, records_and_lines


def is_to_fit(record: Record) -> bool:
    """Whether the record is in the half to fit on."""
    name = prompt_in(record).text if has_prompt(record) else record.id
    return hashlib.blake2b(name.encode(), digest_size=1).digest()[0] % 2 == 0


def is_to_measure(record: Record) -> bool:
    """Whether the record is in the other half."""
    return not is_to_fit(record)


def write_half(records: Path, out: Path) -> None:
    """Write the half to fit on of a file of records, as its lines stand there."""
    with out.open("wb") as file:
        file.writelines(_half(records))


def sha256_of_half(records: Path) -> str:
    """What ``write_half`` would write, as a policy names what it was fitted on."""
    digest = hashlib.sha256()
    for line in _half(records):
        digest.update(line)
    return digest.hexdigest()


def _half(records: Path) -> Iterator[bytes]:
    for record, line in records_and_lines(records):
        if is_to_fit(record):
            yield line.strip() + b"\n"
