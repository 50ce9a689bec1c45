"""Who hears what becomes of pairs, and remembers it."""

from dataclasses import dataclass, field

from gateway.ports import Damage, Fate, StreamKind, Trouble


@dataclass
class RememberingEvents:
    """Fits PairEvents."""

    written: list[str] = field(default_factory=list)
    shipped: list[str] = field(default_factory=list)
    lost: list[tuple[str | None, str]] = field(default_factory=list)
    expired: list[tuple[str, str, int]] = field(default_factory=list)
    deleted: list[tuple[str, int]] = field(default_factory=list)
    counted: list[tuple[str, int | None, int | None]] = field(default_factory=list)
    damaged: list[Damage] = field(default_factory=list)
    adopted: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    failed_cascades: list[str | None] = field(default_factory=list)
    failed_records: list[StreamKind | None] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    durability: list[bool] = field(default_factory=list)
    is_evicting: bool | None = None
    ends: int = 0
    postings_written: int = 0
    postings_shipped: int = 0
    completions: list[tuple[str, Fate, str | None, int]] = field(default_factory=list)

    @property
    def is_durable(self) -> bool | None:
        return self.durability[-1] if self.durability else None

    def pair_written(self, cascade: str) -> None:
        self.written.append(cascade)

    def pair_shipped(self, cascade: str) -> None:
        self.shipped.append(cascade)

    def posting_written(self) -> None:
        self.postings_written += 1

    def posting_shipped(self) -> None:
        self.postings_shipped += 1

    def completions_became(
        self, cascade: str, fate: Fate, cause: str | None = None, count: int = 1
    ) -> None:
        self.completions.append((cascade, fate, cause, count))

    def pair_lost(self, cascade: str | None, cause: str, trouble: Trouble) -> None:
        self.lost.append((cascade, cause))
        self.troubles.append(trouble)

    def pairs_expired(self, cascade: str, cause: str, count: int) -> None:
        self.expired.append((cascade, cause, count))

    def pairs_deleted(self, cascade: str, count: int) -> None:
        self.deleted.append((cascade, count))

    def pairs_counted(self, cascade: str, stored: int | None, unread: int | None) -> None:
        self.counted.append((cascade, stored, unread))

    def journal_damaged(self, damage: Damage) -> None:
        self.damaged.append(damage)

    def journal_failed(self, trouble: Trouble) -> None:
        self.troubles.append(trouble)

    def journal_adopted(self, place: str, unshipped_bytes: int) -> None:
        self.adopted.append(place)

    def store_changed(self, *, is_durable: bool) -> None:
        self.durability.append(is_durable)

    def store_seen(self, *, is_evicting: bool) -> None:
        self.is_evicting = is_evicting

    def store_failed(
        self,
        error: str,
        trouble: Trouble,
        cascade: str | None = None,
        records: StreamKind | None = None,
    ) -> None:
        self.failures.append(error)
        self.failed_cascades.append(cascade)
        self.failed_records.append(records)
        self.troubles.append(trouble)

    def shipping_ended(self) -> None:
        self.ends += 1
