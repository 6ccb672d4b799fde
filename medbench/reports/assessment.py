"""What a run shows: scored rows, who can be told from whom, and what the sanity rows say of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from medbench.errors import ProtocolError, StoreError
from medbench.evaluation.comparisons import (
    Comparison,
    Difference,
    Standing,
    compare_resampled,
)
from medbench.evaluation.intervals import mean_auroc
from medbench.evaluation.ranks import RanksAcross, rank_across
from medbench.evaluation.resampling import FoldPredictions, Resampled, resample
from medbench.reports.fields import COLUMNS, COUNTS, NUMBERS, SCORELESS, RowType, Status
from medbench.reports.predictions import fold_predictions
from medbench.reports.published import published_rows
from medbench.reports.rows import Row, make_row, with_names
from medbench.store import CellResult, RunResult

MAJORITY = "majority"
"""The model that always predicts the class frequencies; skill is measured from it."""
SHORTCUT_BOUND = 0.6
"""A sanity row whose interval lies above this shows that labels can be had without the content."""
RowKey = tuple[str, RowType]
"""Whose row it is: a model may have one row of each type."""
_ROW_TYPES: tuple[RowType, ...] = ("model", "sanity", "split by image", "published")
_STATUSES: tuple[Status, ...] = ("ok", "partial", *SCORELESS, "published")


@dataclass(frozen=True, kw_only=True)
class SanityComparison:
    """A sanity row held against the leader."""

    row: Row
    """The sanity row."""
    behind: Difference | None
    """How far it lies behind the leader, taken alone: below 0 where it is ahead; None where there
    is none to compare with."""

    @property
    def above_bound(self) -> bool:
        """Whether its interval lies above ``SHORTCUT_BOUND``."""
        return self.row.fields.auroc_low > SHORTCUT_BOUND

    @property
    def leader_is(self) -> Standing | None:
        """Where the leader stands to it; None where they were not compared."""
        return None if self.behind is None else self.behind.standing

    @property
    def alarming(self) -> bool:
        """Whether it makes the data set a shortcut risk."""
        return self.above_bound or self.leader_is in ("behind", "neither")


@dataclass(frozen=True, kw_only=True)
class DatasetAssessment:
    """One data set of a run."""

    name: str
    """Name of the data set."""
    record: Mapping[str, Any]
    """Its ``dataset.json``: title, classes, numbers of images and groups, split, ..."""
    audit: Mapping[str, Any] | None
    """Its ``audit.json``; None where there is none."""
    rows: tuple[Row, ...]
    """In the order of the leaderboard."""
    comparison: Comparison | None
    """The leader against the other real models; None where none is finished."""
    sanity_comparisons: tuple[SanityComparison, ...]
    """The finished sanity rows but for the majority class, highest AUROC first."""

    @property
    def ahead_of_sanity(self) -> bool:
        """Whether the leader was held against every sanity row and is ahead of each."""
        return all(sanity.leader_is == "ahead" for sanity in self.sanity_comparisons)

    @property
    def leader(self) -> Row | None:
        """The real model of the highest AUROC; None where none is finished on every fold."""
        if self.comparison is None:
            return None
        return self.row(self.comparison.leader)

    @property
    def cut_rows(self) -> tuple[Row, ...]:
        """The real models that the budget cut in a fold."""
        return tuple(r for r in self.rows if r.fields.kind == "model" and r.cut is not None)

    @property
    def all_cut(self) -> bool:
        """Whether the budget cut every real model that has a score, so that none can be named."""
        scored = [r for r in self.rows if r.fields.kind == "model" and r.folds]
        return bool(scored) and all(row.cut is not None for row in scored)

    def row(self, model: str, kind: RowType = "model") -> Row | None:
        """The complete row of a model, which the budget did not cut; None where there is none.

        Args:
            model: Name of the model.
            kind: Type of the row: a model may have one of each.
        """
        for row in self.rows:
            if row.name == model and row.fields.kind == kind and row.complete:
                return row
        return None


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """A run, assessed once; tables, words and figures only read it."""

    run: RunResult
    """What its folder holds."""
    datasets: tuple[DatasetAssessment, ...]
    """One a data set, by name."""
    ranks: RanksAcross | None
    """Models ranked across data sets; None for one data set, or where no model is complete on all
    of them."""

    @property
    def table(self) -> pd.DataFrame:
        """One row per data set and model, with the columns ``COLUMNS``.

        Models come first, finished ones by falling AUROC, with those that the budget cut below the
        others; then those of which only some folds are finished (``partial``: their scores are over
        the finished folds and are compared with nothing), unfinished ones (the machine ended them,
        as the note says), failed and skipped ones; then sanity rows, rows split by image, and what
        others have published of the official split (see ``medbench.reports.published``). Scores
        run from 0 to 1, ``seconds`` is the sum over folds, ``size_mb`` the mean size of a fitted
        model in 10**6 bytes; what is not known is NaN. Names are as stored: escape them before
        showing them.
        """
        rows = [asdict(row.fields) for dataset in self.datasets for row in dataset.rows]
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        counts = dict.fromkeys(COUNTS, "Int64")
        return table.astype(dict.fromkeys(NUMBERS, "float64") | {"n_trials": "int64"} | counts)


def assess(run: RunResult) -> Assessment:
    """Score, compare and rank everything in a run.

    Args:
        run: What its folder holds.

    Returns:
        The scores, intervals, comparisons and ranks; nothing is written.

    Raises:
        StoreError: The run does not describe a data set that it has cells of.
    """
    cells = cells_of_datasets(run)
    datasets = tuple(_assess_dataset(run, name, cells[name]) for name in sorted(cells))
    return Assessment(run=run, datasets=datasets, ranks=_ranks(datasets))


def cells_of_datasets(run: RunResult) -> dict[str, list[CellResult]]:
    """The cells of each data set.

    Raises:
        StoreError: The run does not describe a data set that it has cells of.
    """
    cells: dict[str, list[CellResult]] = {}
    for cell in run.cells:
        cells.setdefault(cell.id.dataset, []).append(cell)
    for name in sorted(cells):
        if name not in run.datasets:
            raise StoreError(
                f"{run.folder}: has cells of data set {name!r} but no dataset.json of it."
            )
    return cells


def cells_of_rows(cells: Sequence[CellResult]) -> dict[RowKey, list[CellResult]]:
    """The cells that each row of a data set is made from."""
    of_row: dict[RowKey, list[CellResult]] = {}
    for cell in cells:
        kind: RowType = "sanity" if cell.record.get("sanity") else "model"
        if cell.by_image:
            kind = "split by image"
        of_row.setdefault((cell.id.model, kind), []).append(cell)
    return of_row


def finished_folds(
    cells: Sequence[CellResult], record: Mapping[str, Any]
) -> tuple[FoldPredictions, ...]:
    """Calibrated held-out predictions of the finished ones of some cells."""
    return tuple(fold_predictions(cell, record) for cell in cells if cell.status == "ok")


def _assess_dataset(run: RunResult, name: str, cells: Sequence[CellResult]) -> DatasetAssessment:
    record = run.datasets[name]
    of_row = cells_of_rows(cells)
    folds = {of: finished_folds(its, record) for of, its in of_row.items()}
    resampled = _resample_rows(folds, len(record["classes"]))
    rows = _rows(name, record, of_row, folds, resampled)
    known = {of: one for of, one in resampled.items() if isinstance(one, Resampled)}
    models = [row for row in rows if row.fields.kind == "model" and row.complete]
    comparison = None
    if models:
        found = compare_resampled({row.name: known[row.name, "model"] for row in models})
        comparison = replace(
            found,
            reason=with_names(found.reason, record),
            warning=with_names(found.warning, record),
        )
    leader = known[comparison.leader, "model"] if comparison is not None else None
    sanity_comparisons = tuple(
        SanityComparison(row=row, behind=_behind(leader, known[row.name, "sanity"]))
        for row in rows
        if row.fields.kind == "sanity" and row.complete and row.name != MAJORITY
    )
    if comparison is not None:
        rows = [_with_standing(row, comparison) for row in rows]
    return DatasetAssessment(
        name=name,
        record=record,
        audit=run.audits.get(name),
        rows=tuple(rows),
        comparison=comparison,
        sanity_comparisons=sanity_comparisons,
    )


def _resample_rows(
    folds: Mapping[RowKey, Sequence[FoldPredictions]], n_classes: int
) -> dict[RowKey, Resampled | ProtocolError]:
    """What resampling makes of each row, or why it cannot; rows on the same folds share draws."""
    together: dict[tuple[Any, ...], dict[RowKey, Sequence[FoldPredictions]]] = {}
    for of, its in folds.items():
        if its:
            same = tuple((f.labels.tobytes(), f.groups.tobytes(), f.repeat) for f in its)
            together.setdefault(same, {})[of] = its
    found: dict[RowKey, Resampled | ProtocolError] = {}
    for rows in together.values():
        try:
            found |= resample(rows, n_classes)
        except ProtocolError:  # a row that cannot be scored must not take the others along
            whole = {}
            for of, its in rows.items():
                try:
                    mean_auroc(its, n_classes)
                    whole[of] = its
                except ProtocolError as error:
                    found[of] = error
            if whole:
                found |= resample(whole, n_classes)
    return found


def _rows(
    name: str,
    record: Mapping[str, Any],
    of_row: Mapping[RowKey, Sequence[CellResult]],
    folds: Mapping[RowKey, Sequence[FoldPredictions]],
    resampled: Mapping[RowKey, Resampled | ProtocolError],
) -> list[Row]:
    """All rows of a data set in their order, with their skill over the majority class."""
    n_by_image = record.get("n_folds_by_image", 0)
    wanted = {kind: int(record["n_folds"]) for kind in _ROW_TYPES} | {"split by image": n_by_image}
    for (_, kind), found in of_row.items():
        wanted[kind] = max(wanted[kind], len(found))
    rows = [
        make_row(found, record, wanted[of[1]], of[1], folds[of], resampled.get(of))
        for of, found in of_row.items()
    ]
    floor = next((r.fields.auroc for r in rows if r.name == MAJORITY and r.complete), math.nan)
    rows = [
        replace(row, fields=replace(row.fields, above_majority=row.fields.auroc - floor))
        if row.complete and row.fields.kind != "split by image"
        else row
        for row in rows
    ]
    rows += [
        Row(fields=fields, scores={}, uncalibrated={}, costs={}, class_scores={})
        for fields in published_rows(name, record)
    ]
    return sorted(rows, key=_order)


def _order(row: Row) -> tuple[Any, ...]:
    fields = row.fields
    auroc = 0.0 if math.isnan(fields.auroc) else fields.auroc
    status = _STATUSES.index(fields.status)
    # a cut row may score high by luck, but it stands in no order with the others
    cut = row.cut is not None
    return _ROW_TYPES.index(fields.kind), status, cut, -auroc, fields.model


def _behind(leader: Resampled | None, row: Resampled) -> Difference | None:
    """How far a row lies behind the leader."""
    if leader is None:
        return None
    # names that cannot clash, should somebody call a model as a sanity row is called
    compared = compare_resampled({"leader": leader, "row": row}, leader="leader")
    return compared.differences[0] if compared.differences else None


def _with_standing(row: Row, comparison: Comparison) -> Row:
    """A row that says how it stands to the leader."""
    if row.fields.kind != "model" or not row.complete:
        return row
    fields = row.fields
    if row.name == comparison.leader:
        fields = replace(fields, standing="leader")
    for each in comparison.differences:
        if each.rival == row.name:
            fields = replace(
                fields,
                standing="behind" if each.separated else "tied",
                behind_leader=each.difference,
                behind_leader_low=each.corrected_low,
                behind_leader_high=each.corrected_high,
                p_holm=each.p_holm,
            )
    return replace(row, fields=fields)


def _ranks(datasets: Sequence[DatasetAssessment]) -> RanksAcross | None:
    if len(datasets) < 2:
        return None
    scores = {
        dataset.name: {
            row.name: row.fields.auroc
            for row in dataset.rows
            if row.fields.kind == "model" and row.complete
        }
        for dataset in datasets
    }
    sources = {d.name: str(d.record.get("collection") or d.name) for d in datasets}
    try:
        return rank_across(scores, sources)
    except ProtocolError:  # no model is complete on all of them
        return None
