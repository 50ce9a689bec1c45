"""``understudy distill curate``: leave out what teaches nothing, and find the kinds of prompts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.table import Table

from distill import cluster_file, likeness, vectors
from distill.cluster_file import Clusters
from distill.clusters import DEFAULT_MOST
from distill.curated_card import CuratedFormat, curated_card
from distill.curating import Screened, balance, screen
from distill.dataset import HOLDOUT, TRAIN, DataError, Example, in_reading_order
from distill.failures import DEFAULT_FAILING_FROM
from distill.kinds import Kinds, Vectoriser, asked_in, clusters_of, evidence_of
from distill.likeness import DEFAULT_THRESHOLD, LEAST_THRESHOLD
from distill.rows import Format
from distill.vectors import Words, text_of
from evaluation.errors import EvaluationError
from evaluation.records import read_records
from understudy.distill.embedding import Embedder
from understudy.distill.files import (
    DataSet,
    Part,
    file_name,
    forget_card,
    read_data_set,
    write_card,
    write_content,
    write_lines,
    written,
)
from understudy.distill.structures import is_as_asked
from understudy.telling import CommandError, perform

MOST_CLUSTERS = 64


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Rules:
    """What is left out.

    Parameters
    ----------
    near
        Prompts at least so alike are near duplicates: the Jaccard similarity of their runs of five
        characters, of the last message and of what was said before it.
    most_per_cluster
        At most so many rows of each kind of prompt.
    most_clusters
        At most so many kinds of prompts.
    failing_from
        A kind is failing where the student fails on more than this share of it, with 95%.
    seed
        Of whatever is drawn.
    """

    near: Annotated[float, Parameter(validator=Number(gte=LEAST_THRESHOLD, lte=1))] = (
        DEFAULT_THRESHOLD
    )
    most_per_cluster: Annotated[int | None, Parameter(validator=Number(gte=1))] = None
    most_clusters: Annotated[int, Parameter(validator=Number(gte=1, lte=MOST_CLUSTERS))] = (
        DEFAULT_MOST
    )
    failing_from: Annotated[float, Parameter(validator=Number(gte=0, lt=1))] = DEFAULT_FAILING_FROM
    seed: int = 0


def curate(
    *,
    data: Path,
    out: Path,
    records: Path | None = None,
    rules: Rules | None = None,
    embedder: Embedder | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Make a data set without duplicates and broken answers, and say where the student fails.

    Nothing of the holdout, or near it, stays in what is trained on; the holdout is copied as it is.

    Parameters
    ----------
    data
        The folder of a data set: sft and dpo files, and card.json.
    out
        Another folder: the curated data set, clusters.json and clusters.md.
    records
        Evaluation records, which say how often the student fails on what.
    as_json
        Print the card and the clusters as JSON.
    """

    def work() -> int:
        source = read_data_set(data)
        if out.resolve() == data.resolve():
            raise CommandError("--out: name another folder than --data, whose rows it leaves out")
        curation = _Curation(source, rules or Rules(), embedder or Embedder())
        try:
            card, clusters = curation.write(out, records)
        except (DataError, EvaluationError) as error:
            raise CommandError(str(error)) from None
        if as_json:
            print(json.dumps({"card": card, "clusters": clusters.document()}))
        else:
            _show(card, clusters, out)
        return 0

    return perform("curate", work)


@dataclass(frozen=True, slots=True)
class _Chosen:
    part: Part
    screened: Screened
    balanced: Screened


@dataclass(frozen=True, slots=True)
class _Curation:
    source: DataSet
    rules: Rules
    embedder: Embedder

    def write(self, out: Path, records: Path | None) -> tuple[dict[str, Any], Clusters]:
        """Make the data set in a folder; its card and clusters.  Raises what ``curate`` tells."""
        rules, source = self.rules, self.source
        name = self.embedder.name or vectors.NAME
        asked = None if records is None else asked_in(read_records(records))
        if asked is not None and not asked:
            raise DataError(f"{records}: no record says what was asked")
        screened = [
            screen(part.train, source.holdout, rules.near, is_as_asked) for part in source.parts
        ]
        kinds = self._kinds(screened)
        chosen = [
            _Chosen(part, each, self._balanced(each.kept, kinds))
            for part, each in zip(source.parts, screened, strict=True)
        ]
        clusters = self._clusters(kinds, chosen, asked, name)
        forget_card(out)
        formats = [self._written(out, each) for each in chosen]
        card = curated_card(
            source.card,
            datetime.now(UTC).isoformat(timespec="seconds"),
            self._told(name, records),
            formats,
        )
        with written(out / cluster_file.READABLE_NAME) as file:
            file.write(clusters.readable().encode())
        with written(out / cluster_file.NAME) as file:
            file.write(clusters.encoded())
        write_card(out, card)
        return card, clusters

    def _kinds(self, screened: Sequence[Screened]) -> Kinds | None:
        """Of the first format that has rows: SFT's has those of DPO too."""
        base = next((each.kept for each in screened if each.kept), ())
        if not base:
            return None
        return Kinds.found(base, self._vectoriser(base), self.rules.seed, self.rules.most_clusters)

    def _vectoriser(self, base: Sequence[Example]) -> Vectoriser:
        if self.embedder.name is not None:
            return self.embedder.vectors
        return Words.fitted([text_of(example.prompt) for example in base], self.rules.seed).of

    def _balanced(self, kept: Sequence[Example], kinds: Kinds | None) -> Screened:
        labels = [] if kinds is None else [int(label) for label in kinds.labels(kept)]
        return balance(kept, labels, self.rules.most_per_cluster, self.rules.seed)

    def _clusters(
        self, kinds: Kinds | None, chosen: Sequence[_Chosen], asked: Any, name: str
    ) -> Clusters:
        rules = self.rules
        made_with = {"vectors": name, "seed": rules.seed, "data": self.source.sha256}
        sft, dpo = (self.source.part(form) for form in (Format.SFT, Format.DPO))
        evidence = evidence_of(
            asked, sft.train if sft else (), dpo.train if dpo else (), rules.failing_from
        )
        if kinds is None:
            return Clusters((), rules.failing_from, evidence.source, None, made_with)
        base = next(each for each in chosen if each.screened.kept)
        return clusters_of(kinds, base.part.train, base.balanced.kept, evidence, made_with)

    def _written(self, out: Path, chosen: _Chosen) -> CuratedFormat:
        form, files = chosen.part.form, []
        if chosen.balanced.kept:
            lines = [example.line for example in in_reading_order(chosen.balanced.kept)]
            files.append(write_lines(out / file_name(form, TRAIN), lines))
        if chosen.part.holdout_bytes is not None:
            held = out / file_name(form, HOLDOUT)
            files.append(write_content(held, chosen.part.holdout_bytes, len(chosen.part.holdout)))
        return CuratedFormat(form.value, chosen.screened, chosen.balanced, files)

    def _told(self, name: str, records: Path | None) -> dict[str, Any]:
        rules = self.rules
        return {
            "of": self.source.sha256,
            "near": rules.near,
            "shingle": likeness.SHINGLE,
            "most_per_cluster": rules.most_per_cluster,
            "vectors": name,
            "records": None if records is None else records.name,
            "seed": rules.seed,
        }


def _show(card: dict[str, Any], clusters: Clusters, out: Path) -> None:
    console = Console()
    table = Table("format", "step", "in", "out", "left out")
    for form, made in card["formats"].items():
        for step in made["steps"]:
            left_out = ", ".join(f"{cause} {count:,}" for cause, count in step["left_out"].items())
            table.add_row(form, step["step"], f"{step['in']:,}", f"{step['out']:,}", left_out)
    console.print(table)
    kinds = Table("cluster", "telling words", "rows", "failures", "failing")
    for each in clusters.clusters:
        rate = each.failures
        told = (
            "unknown" if rate is None else f"{rate.value:.0%} ({rate.low:.0%} to {rate.high:.0%})"
        )
        failing = {None: "unknown", True: "yes", False: "no"}[each.is_failing]
        kinds.add_row(str(each.id), each.name, f"{each.rows:,}", told, failing)
    console.print(kinds)
    console.print(f"Written to {out}.", highlight=False, markup=False, soft_wrap=True)
