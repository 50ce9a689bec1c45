"""``understudy pairs records``: what was learnt live, as records that policies are fitted on.

Kept drafts that were audited and drafts that the teacher answered in place of are a sample of all
requests that were judged, each with its weight; neither is one alone.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console

from distill.deletions import Deletions
from distill.pairs import Audit, NoPair, Pair
from gateway.stores.sealing import SealBroken
from understudy.line_file import LineFile, LineFileError
from understudy.pairs.as_records import Comparison, LeftOut, record_of
from understudy.pairs.manners import comparator_of
from understudy.pairs.sealed import Seals
from understudy.pairs.store import Log, Source, StreamName, opened, read_of
from understudy.telling import CommandError, perform

HOLDOUT = "holdout"
STREAMS: tuple[StreamName, ...] = ("audits", "pairs")  # whether there are audits is known first


def records(
    out: Path,
    *,
    source: Source | None = None,
    config: Path | None = None,
    student_version: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Write audits and escalations as evaluation records, for evaluate and calibrate.

    Those that are in the file already stay, and new ones are added.

    Parameters
    ----------
    out
        A file of JSON lines, readable for you alone.
    config
        The YAML file with the cascades, whose comparator says whether a draft and the teacher's
        answer are the same.
    student_version
        Only drafts of this student: a policy is for one.
    as_json
        Print what was written as JSON.
    """

    def work() -> int:
        with opened(source or Source()) as log:
            comparator = comparator_of(config, log.cascade)
            comparison = Comparison(comparator, Seals(), student_version)
            try:
                with closing(LineFile(out)) as file:
                    told = write(log, file, comparison)
            except LineFileError as error:
                raise CommandError(str(error)) from None
        print(json.dumps(told)) if as_json else _show(out, told)
        return 0

    return perform("make records", work)


def write(log: Log, file: LineFile, comparison: Comparison) -> dict[str, Any]:
    """Add what is new, and tell how many there are of each kind.  Raises CommandError."""
    known = {str(line["id"]) for line in file.lines()}
    deletions = Deletions()
    deletions.add(deletion for _, deletion in log.deletions())
    written: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    has_audits = False
    for stream in STREAMS:
        for pair in _read(log, stream, left_out):
            has_audits |= isinstance(pair, Audit)
            if pair.id in known:
                continue
            try:
                if deletions.concern(pair.request_id, pair.tenant, pair.time):
                    raise LeftOut("deleted")
                if pair.reason == HOLDOUT and has_audits:
                    raise LeftOut("held_out")  # the audits stand for the same drafts
                file.append(record_of(pair, comparison))
            except LeftOut as why:
                left_out[str(why)] += 1
            except SealBroken:
                left_out["seal_broken"] += 1
            else:
                known.add(pair.id)
                written[stream] += 1
    return {"written": dict(written), "left_out": dict(left_out), "records": len(known)}


def _read(log: Log, stream: StreamName, left_out: Counter[str]) -> Iterator[Pair]:
    for entry in log.entries(stream):
        try:
            yield read_of(stream, entry.pair or b"")
        except NoPair:
            left_out["unreadable"] += 1


def _show(out: Path, told: Mapping[str, Any]) -> None:
    written = told["written"]
    lines = [f"{out}: {told['records']:,} records"]
    lines += [f"new, {stream}: {written.get(stream, 0):,}" for stream in STREAMS]
    lines += [f"left out, {cause}: {count:,}" for cause, count in told["left_out"].items()]
    for line in lines:
        Console().print(line, highlight=False, soft_wrap=True)
