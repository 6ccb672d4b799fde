"""What a run shows: scored rows, who can be told from whom, and what the sanity rows say of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from medbench.errors import ProtocolError, StoreError
from medbench.evaluation.comparisons import Comparison, Difference, compare_with_leader
from medbench.evaluation.ranks import RanksAcross, rank_across
from medbench.reports.predictions import by_image
from medbench.reports.published import published_rows
from medbench.reports.rows import COLUMNS, NUMBERS, Kind, Row, make_row
from medbench.store import CellResult, RunResult

MAJORITY = "majority"
"""The model that always predicts the class frequencies; skill is measured from it."""
SHORTCUT_BOUND = 0.6
"""A sanity row whose interval lies above this shows that labels can be had without the content."""
_KINDS: tuple[Kind, ...] = ("model", "sanity", "split by image", "published")
_STATUSES = ("ok", "partial", "failed", "skipped", "published")


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A sanity row held against the leader."""

    row: Row
    behind: Difference | None
    """How far it lies behind the leader, taken alone; None where there is none to compare with."""

    @property
    def above_bound(self) -> bool:
        """Whether its interval lies above ``SHORTCUT_BOUND``."""
        low: float = self.row.fields["auroc_low"]
        return low > SHORTCUT_BOUND

    @property
    def like_leader(self) -> bool:
        """Whether the leader cannot be told from it."""
        return self.behind is not None and self.behind.low <= 0

    @property
    def alarming(self) -> bool:
        """Whether it makes the data set a shortcut risk."""
        return self.above_bound or self.like_leader


@dataclass(frozen=True, kw_only=True)
class DatasetAssessment:
    """One data set of a run."""

    name: str
    record: Mapping[str, Any]
    """Its ``dataset.json``."""
    audit: Mapping[str, Any] | None
    """Its ``audit.json``."""
    rows: tuple[Row, ...]
    """In the order of the leaderboard."""
    comparison: Comparison | None
    """Of the real models; None where none is finished."""
    probes: tuple[Probe, ...]
    """The finished sanity rows but for the majority class, highest AUROC first."""

    @property
    def leader(self) -> Row | None:
        """The real model of the highest AUROC."""
        if self.comparison is None:
            return None
        return self.row(self.comparison.leader)

    def row(self, model: str, kind: Kind = "model") -> Row | None:
        """The complete row of a model."""
        for row in self.rows:
            if row.name == model and row.fields["kind"] == kind and row.complete:
                return row
        return None


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """A run, assessed once; tables, words and figures only read it."""

    run: RunResult
    datasets: tuple[DatasetAssessment, ...]
    ranks: RanksAcross | None
    """None for one data set, or where no model is complete on all of them."""

    @property
    def table(self) -> pd.DataFrame:
        """One row per data set and model, with the columns ``COLUMNS``.

        Models come first, finished ones by falling AUROC; then those of which only some folds are
        finished (``partial``: their scores are over the finished folds and are compared with
        nothing), failed and skipped ones; then sanity rows, rows split by image, and what others
        have published of the official split (see ``medbench.reports.published``). Scores run from
        0 to 1, ``seconds`` is the sum over folds, ``size_mb`` the mean size of a fitted model in
        10**6 bytes; what is not known is NaN. Names are as stored: escape them before showing them.
        """
        rows = [row.fields for dataset in self.datasets for row in dataset.rows]
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        return table.astype(dict.fromkeys(NUMBERS, "float64") | {"n_trials": "int64"})


def assess(run: RunResult) -> Assessment:
    """Score, compare and rank everything in a run.

    Raises:
        StoreError: The run does not describe a data set that it has cells of.
    """
    cells: dict[str, list[CellResult]] = {}
    for cell in run.cells:
        cells.setdefault(cell.id.dataset, []).append(cell)
    datasets = tuple(_assess_dataset(run, name, cells[name]) for name in sorted(cells))
    return Assessment(run=run, datasets=datasets, ranks=_ranks(datasets))


def _assess_dataset(run: RunResult, name: str, cells: Sequence[CellResult]) -> DatasetAssessment:
    if name not in run.datasets:
        raise StoreError(f"{run.folder}: has cells of data set {name!r} but no dataset.json of it.")
    record = run.datasets[name]
    rows = _rows(name, record, cells)
    models = {row.name: row for row in rows if row.fields["kind"] == "model" and row.complete}
    comparison = _compare(models, len(record["classes"])) if models else None
    leader = models[comparison.leader] if comparison is not None else None
    probes = tuple(
        Probe(row=row, behind=_behind(leader, row, len(record["classes"])))
        for row in rows
        if row.fields["kind"] == "sanity" and row.complete and row.name != MAJORITY
    )
    if comparison is not None:
        rows = [_with_standing(row, comparison) for row in rows]
    return DatasetAssessment(
        name=name,
        record=record,
        audit=run.audits.get(name),
        rows=tuple(rows),
        comparison=comparison,
        probes=probes,
    )


def _rows(name: str, record: Mapping[str, Any], cells: Sequence[CellResult]) -> list[Row]:
    """All rows of a data set in their order, with their skill over the majority class."""
    of_row: dict[tuple[str, Kind], list[CellResult]] = {}
    for cell in cells:
        kind: Kind = "sanity" if cell.record.get("sanity") else "model"
        if by_image(cell.id.split):
            kind = "split by image"
        of_row.setdefault((cell.id.model, kind), []).append(cell)
    n_by_image = record.get("n_folds_by_image", 0)
    wanted = {kind: int(record["n_folds"]) for kind in _KINDS} | {"split by image": n_by_image}
    for (_, kind), found in of_row.items():
        wanted[kind] = max(wanted[kind], len(found))
    rows = [make_row(found, record, wanted[kind], kind) for (_, kind), found in of_row.items()]
    floor = next((r.fields["auroc"] for r in rows if r.name == MAJORITY and r.complete), math.nan)
    for row in rows:
        if row.complete and row.fields["kind"] != "split by image":
            row.fields["above_majority"] = row.fields["auroc"] - floor
    rows += [
        Row(
            fields={**dict.fromkeys(COLUMNS, math.nan), "standing": "", **fields},
            scores={},
            uncalibrated={},
            costs={},
            class_scores={},
        )
        for fields in published_rows(name, record)
    ]
    return sorted(rows, key=_order)


def _order(row: Row) -> tuple[Any, ...]:
    fields = row.fields
    auroc = 0.0 if math.isnan(fields["auroc"]) else fields["auroc"]
    status = _STATUSES.index(fields["status"])
    return _KINDS.index(fields["kind"]), status, -auroc, fields["model"]


def _compare(models: Mapping[str, Row], n_classes: int) -> Comparison:
    return compare_with_leader(
        {name: row.folds for name, row in models.items()},
        n_classes,
        drawn={name: row.drawn for name, row in models.items() if row.drawn is not None},
    )


def _behind(leader: Row | None, row: Row, n_classes: int) -> Difference | None:
    """How far a row lies behind the leader."""
    if leader is None:
        return None
    # names that cannot clash, should somebody call a model as a sanity row is called
    pair = {"leader": leader, "row": row}
    compared = compare_with_leader(
        {name: one.folds for name, one in pair.items()},
        n_classes,
        leader="leader",
        drawn={name: one.drawn for name, one in pair.items() if one.drawn is not None},
    )
    return compared.differences[0] if compared.differences else None


def _with_standing(row: Row, comparison: Comparison) -> Row:
    """A row that says how it stands to the leader."""
    if row.fields["kind"] != "model" or not row.complete:
        return row
    fields = dict(row.fields)
    if row.name == comparison.leader:
        fields["standing"] = "leader"
    for each in comparison.differences:
        if each.rival == row.name:
            fields["standing"] = "behind" if each.separated else "tied"
            fields["behind_leader"] = each.difference
            fields["behind_leader_low"] = each.corrected_low
            fields["behind_leader_high"] = each.corrected_high
            fields["p_holm"] = each.p_holm
    return replace(row, fields=fields)


def _ranks(datasets: Sequence[DatasetAssessment]) -> RanksAcross | None:
    if len(datasets) < 2:
        return None
    scores = {
        dataset.name: {
            row.name: row.fields["auroc"]
            for row in dataset.rows
            if row.fields["kind"] == "model" and row.complete
        }
        for dataset in datasets
    }
    sources = {d.name: str(d.record.get("collection") or d.name) for d in datasets}
    try:
        return rank_across(scores, sources)
    except ProtocolError:  # no model is complete on all of them
        return None
