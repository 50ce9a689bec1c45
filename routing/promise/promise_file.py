"""The document that holds a promise: read with every doubt, written as it is read."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TypeVar

from routing.document import count, flag, items, mapping, named, number, numbers
from routing.errors import PolicyError
from routing.promise.bets import STAKES, Wealth
from routing.promise.clusters import Cluster, Clusters, Item
from routing.promise.detector import Detector
from routing.promise.epoch import Counts, Epoch
from routing.promise.grid import Grid, check_grid
from routing.promise.state import MOST_ALARMS, MOST_GATHERED, Alarm, State
from routing.promise.terms import Terms
from routing.promise.watch import Watch

KIND = "quality"
SCHEMA_VERSION = 1
MOST_NUMBER = 2**53
_Value = TypeVar("_Value")
_STATE = frozenset({
    "kind", "schema_version", "terms", "revision", "number", "attempt", "epoch", "merits", "watch",
    "seen", "alarms", "alarm_count", "judged", "audited_pico", "audit",
})  # fmt: skip
_EPOCH = frozenset({
    "thresholds", "shares", "delta", "wealth", "counts", "flow", "judged", "graded", "kept_graded",
    "best", "first_at", "is_released", "clusters", "full",
})  # fmt: skip
_COUNTS = frozenset({"weights", "losses", "labels"})
_WATCH = frozenset({"kept", "level", "baseline", "deferred", "extra", "window"})
_DETECTOR = frozenset({"reference", "steps", "each", "highest"})
_ALARM = frozenset({"at", "which", "epoch", "threshold"})


def is_same(document: object, terms: Terms) -> bool:
    """Whether a document is of the same promise: the evidence in it is for these terms, too."""
    return isinstance(document, Mapping) and document.get("terms") == _terms(terms)


def _terms(terms: Terms) -> dict[str, object]:
    return {"alpha": terms.alpha, "delta": terms.delta, "subject": terms.subject}


def promise_document(state: State) -> dict[str, object]:
    """The state as JSON has it."""
    epoch, watch = state.epoch, state.watch
    return {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "terms": _terms(state.terms),
        "revision": state.revision,
        "number": state.number,
        "attempt": state.attempt,
        "epoch": None if epoch is None else _epoch(epoch),
        "merits": list(state.merits),
        "watch": None if watch is None else _watch(watch),
        "seen": {replica: list(last) for replica, last in state.seen.items()},
        "alarms": [asdict(alarm) for alarm in state.alarms],
        "alarm_count": state.alarm_count,
        "judged": state.judged,
        "audited_pico": state.audited_pico,
        "audit": state.audit,
    }


def state_from_document(document: object, terms: Terms) -> State:
    """Read the state.  Raises PolicyError, which names the path, where any of it is no use."""
    fields = mapping(document, "promise", _STATE)
    if (fields["kind"], fields["schema_version"]) != (KIND, SCHEMA_VERSION):
        raise PolicyError(
            f"schema_version: must be {SCHEMA_VERSION} of kind {KIND}: it was written by another "
            "release, or for another objective"
        )
    epoch = None if fields["epoch"] is None else _read_epoch(fields["epoch"])
    watch = fields["watch"]
    if watch is not None and epoch is None:
        raise PolicyError("watch: there is nothing to watch without an epoch")
    alarms = items(fields["alarms"], "alarms", most=MOST_ALARMS)
    return State(
        terms=terms,
        revision=_whole(fields["revision"], "revision"),
        number=_whole(fields["number"], "number"),
        attempt=count(fields["attempt"], "attempt", most=MOST_NUMBER),
        epoch=epoch,
        merits=numbers(items(fields["merits"], "merits", most=MOST_GATHERED), "merits", within=1.0),
        watch=None if epoch is None or watch is None else _read_watch(watch, len(epoch.wealth)),
        seen={
            replica: _read_seen(last, f"seen.{replica}")
            for replica, last in named(fields["seen"], "seen").items()
        },
        alarms=tuple(_read_alarm(one, f"alarms[{place}]") for place, one in enumerate(alarms)),
        alarm_count=count(
            fields["alarm_count"], "alarm_count", least=len(alarms), most=MOST_NUMBER
        ),
        judged=_whole(fields["judged"], "judged"),
        audited_pico=count(fields["audited_pico"], "audited_pico", least=0),
        audit=number(fields["audit"], "audit", within=1.0),
    )


def _epoch(epoch: Epoch) -> dict[str, object]:
    return {
        "thresholds": list(epoch.grid.thresholds),
        "shares": list(epoch.grid.shares),
        "delta": epoch.delta,
        "wealth": [list(row) for row in epoch.wealth],
        "counts": _counts(epoch.counts),
        "flow": list(epoch.flow),
        "judged": epoch.judged,
        "graded": epoch.graded,
        "kept_graded": epoch.kept_graded,
        "best": list(epoch.best),
        "first_at": epoch.first_at,
        "is_released": epoch.is_released,
        "clusters": {
            name: [one.last, one.turns, one.least, *map(_item, one.items)]
            for name, one in epoch.clusters.items()
        },
        "full": {
            name: [one.full_at, one.is_over]
            for name, one in epoch.clusters.items()
            if one.full_at is not None
        },
    }


def _item(item: Item) -> list[object]:
    return [item.place, item.loss, item.value, item.is_kept, item.is_answered]


def _counts(counts: Counts) -> dict[str, object]:
    return {key: list(getattr(counts, key)) for key in ("weights", "losses", "labels")}


def _read_epoch(document: object) -> Epoch:
    fields = mapping(document, "epoch", _EPOCH)
    grid = Grid(*(numbers(fields[key], f"epoch.{key}", 1.0) for key in ("thresholds", "shares")))
    check_grid(grid, "epoch")
    levels = len(grid.thresholds)
    first_at = fields["first_at"]
    return Epoch(
        grid=grid,
        delta=_positive(fields["delta"], "epoch.delta"),
        wealth=_read_wealth(fields["wealth"], levels),
        counts=_read_counts(fields["counts"], "epoch.counts", levels),
        flow=_amounts(fields["flow"], "epoch.flow", levels + 1),
        judged=_whole(fields["judged"], "epoch.judged"),
        graded=_whole(fields["graded"], "epoch.graded"),
        kept_graded=_whole(fields["kept_graded"], "epoch.kept_graded"),
        best=_amounts(fields["best"], "epoch.best", levels),
        first_at=None if first_at is None else _whole(first_at, "epoch.first_at"),
        is_released=flag(fields["is_released"], "epoch.is_released"),
        clusters=_read_clusters(fields, levels),
    )


def _read_clusters(fields: Mapping[str, object], levels: int) -> Clusters:
    found = {
        name: _read_cluster(one, f"epoch.clusters.{name}", levels)
        for name, one in named(fields["clusters"], "epoch.clusters").items()
    }
    for name, one in named(fields["full"], "epoch.full").items():
        path = f"epoch.full.{name}"
        if name not in found:
            raise PolicyError(f"{path}: there is no such conversation in epoch.clusters")
        full_at, is_over = _of_length(items(one, path), 2, path)
        found[name] = replace(
            found[name], full_at=number(full_at, path), is_over=flag(is_over, path)
        )
    return found


def _read_wealth(document: object, levels: int) -> Wealth:
    rows = _of_length(items(document, "epoch.wealth"), levels, "epoch.wealth")
    return tuple(
        numbers(row, f"epoch.wealth[{place}]", exactly=len(STAKES))
        for place, row in enumerate(rows)
    )


def _read_counts(document: object, path: str, levels: int) -> Counts:
    fields = mapping(document, path, _COUNTS)
    labels = items(fields["labels"], f"{path}.labels")
    return Counts(
        weights=_amounts(fields["weights"], f"{path}.weights", levels + 1),
        losses=_amounts(fields["losses"], f"{path}.losses", levels + 1),
        labels=tuple(
            _whole(one, f"{path}.labels")
            for one in _of_length(labels, levels + 1, f"{path}.labels")
        ),
    )


def _read_cluster(document: object, path: str, levels: int) -> Cluster:
    fields = items(document, path)
    if len(fields) < 3:
        raise PolicyError(f"{path}: must say when it was last seen, its turns and its least")
    last, turns, least, *graded = fields
    return Cluster(
        last=number(last, path),
        turns=_whole(turns, path),
        least=_positive(least, path),
        items=tuple(_read_item(one, path, levels) for one in graded),
    )


def _read_item(document: object, path: str, levels: int) -> Item:
    place, loss, value, is_kept, is_answered = _of_length(items(document, path), 5, path)
    return Item(
        count(place, path, least=0, most=levels),
        number(loss, path, within=1.0),
        number(value, path),
        flag(is_kept, path),
        flag(is_answered, path),
    )


def _watch(watch: Watch) -> dict[str, object]:
    return {
        "kept": asdict(watch.kept),
        "level": watch.level,
        "baseline": None if watch.baseline is None else _counts(watch.baseline),
        "deferred": None if watch.deferred is None else asdict(watch.deferred),
        "extra": watch.extra,
        "window": watch.window,
    }


def _read_watch(document: object, levels: int) -> Watch:
    fields = mapping(document, "watch", _WATCH)
    baseline, deferred = fields["baseline"], fields["deferred"]
    return Watch(
        kept=_read_detector(fields["kept"], "watch.kept"),
        level=count(fields["level"], "watch.level", least=0, most=levels - 1),
        baseline=None if baseline is None else _read_counts(baseline, "watch.baseline", levels),
        deferred=None if deferred is None else _read_detector(deferred, "watch.deferred"),
        extra=number(fields["extra"], "watch.extra"),
        window=_whole(fields["window"], "watch.window"),
    )


def _read_detector(document: object, path: str) -> Detector:
    fields = mapping(document, path, _DETECTOR)
    steps = numbers(fields["steps"], f"{path}.steps", within=1.0)
    if not steps:
        raise PolicyError(f"{path}.steps: must be at least one")
    return Detector(
        reference=_positive(fields["reference"], f"{path}.reference", most=0.99),
        steps=steps,
        each=_amounts(fields["each"], f"{path}.each", len(steps)),
        highest=number(fields["highest"], f"{path}.highest"),
    )


def _read_alarm(document: object, path: str) -> Alarm:
    fields = mapping(document, path, _ALARM)
    which = fields["which"]
    if which not in ("kept", "deferred"):
        raise PolicyError(f"{path}.which: must be kept or deferred, got {which!r}")
    return Alarm(
        at=number(fields["at"], f"{path}.at"),
        which=str(which),
        epoch=_whole(fields["epoch"], f"{path}.epoch"),
        threshold=number(fields["threshold"], f"{path}.threshold", within=1.0),
    )


def _read_seen(document: object, path: str) -> tuple[int, float]:
    sequence, at = _of_length(items(document, path), 2, path)
    return _whole(sequence, path), number(at, path)


def _whole(value: object, path: str) -> int:
    return count(value, path, least=0, most=MOST_NUMBER)


def _positive(value: object, path: str, most: float = 1.0) -> float:
    found = number(value, path, within=most)
    if found <= 0.0:
        raise PolicyError(f"{path}: must be above 0, got {found!r}")
    return found


def _amounts(values: object, path: str, exactly: int) -> tuple[float, ...]:
    found = numbers(values, path, exactly=exactly)
    if min(found) < 0.0:
        raise PolicyError(f"{path}: must not be negative, got {min(found)!r}")
    return found


def _of_length(values: Sequence[_Value], length: int, path: str) -> Sequence[_Value]:
    if len(values) != length:
        raise PolicyError(f"{path}: must have {length} entries, got {len(values)}")
    return values
