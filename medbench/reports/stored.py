"""An assessment is computed once: what it found is kept beside the run until anything changes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from medbench.atomic_files import read_json
from medbench.errors import StoreError
from medbench.evaluation.comparisons import Comparison, Difference
from medbench.evaluation.intervals import Interval
from medbench.evaluation.ranks import ModelRank, RanksAcross, RankTest
from medbench.evaluation.resampling import FoldPredictions
from medbench.hashes import hash_of_file
from medbench.reports.assessment import (
    Assessment,
    DatasetAssessment,
    RowKey,
    SanityComparison,
    assess,
    cells_of_datasets,
    cells_of_rows,
    finished_folds,
)
from medbench.reports.budgets import Cut
from medbench.reports.fields import Fields
from medbench.reports.published import BASELINES
from medbench.reports.rows import Row
from medbench.store import CellResult, RunLayout, RunResult, seals
from medbench.versions import code_version

_DAMAGED = (StoreError, AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What reading a stored assessment may end in, when somebody else wrote into it."""


def assessed(run: RunResult) -> Assessment:
    """What ``assess`` finds, read from ``RUN/assessment.json`` if that is of these very results.

    It is written there otherwise; where it cannot be, nothing is kept. What is stored belongs to
    the records and predictions of all cells, the data sets, the code that scores, and the versions
    of the libraries beneath it; a file that belongs to others, or is damaged, is replaced.

    Raises:
        StoreError: As ``assess``.
    """
    key = _key(run)
    path = RunLayout(run.folder).assessment
    with contextlib.suppress(*_DAMAGED):
        stored = read_json(path)
        if seals.holds(stored) and stored["key"] == key:
            return _from_record(run, stored)
    found = assess(run)
    if run.folder.is_dir():
        with contextlib.suppress(StoreError):  # a folder that is only read, or a full disk
            seals.write_record(path, {"key": key, **_as_record(found)})
    return found


# --- the key ------------------------------------------------------------------------------


def _key(run: RunResult) -> str:
    """Hash of everything that an assessment depends on."""
    digest = hashlib.sha256(f"{code_version(__name__)} {hash_of_file(BASELINES)}".encode())
    for name, record in sorted(run.datasets.items()):
        digest.update(_text([name, record]))
    for cell in run.cells:
        digest.update(_text([str(cell.id), cell.status, cell.reason, cell.record]))
        for part in _predictions(cell):
            digest.update(part)
    return digest.hexdigest()


def _text(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, default=str).encode()


def _predictions(cell: CellResult) -> Iterator[bytes]:
    """Names, types and values of the columns of a cell's predictions."""
    if cell.predictions is None:
        return
    for name, column in cell.predictions.items():
        values = np.ascontiguousarray(column.to_numpy())
        if values.dtype.kind not in "biuf":
            values = np.array(values.tolist(), dtype=str)
        yield _text([name, values.dtype.str, values.shape])
        yield values.tobytes()


# --- what is stored -----------------------------------------------------------------------


def _as_record(found: Assessment) -> dict[str, Any]:
    """All that cannot be had from the run's cells without computing it again."""
    return {
        "datasets": {dataset.name: _dataset_record(dataset) for dataset in found.datasets},
        "ranks": _plain(asdict(found.ranks)) if found.ranks else None,
    }


def _dataset_record(dataset: DatasetAssessment) -> dict[str, Any]:
    return {
        "rows": [_row_record(row) for row in dataset.rows],
        "comparison": _plain(asdict(dataset.comparison)) if dataset.comparison else None,
        "sanity_comparisons": [
            {"model": sanity.row.name, "behind": _plain(asdict(sanity.behind))}
            if sanity.behind
            else {"model": sanity.row.name, "behind": None}
            for sanity in dataset.sanity_comparisons
        ],
    }


def _row_record(row: Row) -> dict[str, Any]:
    return {
        "fields": _plain(asdict(row.fields)),
        "interval": _plain(asdict(row.interval)) if row.interval else None,
        "scores": _plain(row.scores),
        "uncalibrated": _plain(row.uncalibrated),
        "costs": _plain(row.costs),
        "class_scores": _plain(row.class_scores),
        "groups_warning": row.groups_warning,
        "not_calibrated": list(row.not_calibrated),
        "cut": asdict(row.cut) if row.cut else None,
    }


def _plain(value: Any) -> Any:
    """The same in what JSON knows; NaN, which it does not know, as null."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value


# --- reading it back ----------------------------------------------------------------------


def _from_record(run: RunResult, stored: Mapping[str, Any]) -> Assessment:
    """The inverse of ``_as_record``, with what the cells of the run hold themselves."""
    cells = cells_of_datasets(run)
    return Assessment(
        run=run,
        datasets=tuple(
            _dataset(run, name, cells[name], record) for name, record in stored["datasets"].items()
        ),
        ranks=_ranks(stored["ranks"]) if stored["ranks"] else None,
    )


def _dataset(
    run: RunResult, name: str, cells: list[CellResult], stored: Mapping[str, Any]
) -> DatasetAssessment:
    record = run.datasets[name]
    cells_of = cells_of_rows(cells)
    rows: dict[RowKey, Row] = {}
    for each in stored["rows"]:
        of = (each["fields"]["model"], each["fields"]["kind"])
        rows[of] = _row(each, finished_folds(cells_of.get(of, []), record))
    return DatasetAssessment(
        name=name,
        record=record,
        audit=run.audits.get(name),
        rows=tuple(rows.values()),
        comparison=_comparison(stored["comparison"]) if stored["comparison"] else None,
        sanity_comparisons=tuple(
            SanityComparison(
                row=rows[sanity["model"], "sanity"],
                behind=_difference(sanity["behind"]) if sanity["behind"] else None,
            )
            for sanity in stored["sanity_comparisons"]
        ),
    )


def _row(stored: Mapping[str, Any], folds: tuple[FoldPredictions, ...]) -> Row:
    return Row(
        fields=Fields(**_numbers(stored["fields"])),
        folds=folds,
        interval=Interval(**stored["interval"]) if stored["interval"] else None,
        scores=_numbers(stored["scores"]),
        uncalibrated=_numbers(stored["uncalibrated"]),
        costs=_numbers(stored["costs"]),
        class_scores={
            score: np.array(values, dtype=np.float64)  # which takes None for NaN
            for score, values in stored["class_scores"].items()
        },
        groups_warning=stored["groups_warning"],
        not_calibrated=tuple(stored["not_calibrated"]),
        cut=Cut(**stored["cut"]) if stored["cut"] else None,
    )


def _difference(stored: Mapping[str, Any]) -> Difference:
    return Difference(**_numbers(stored))


def _numbers(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Values of which none was None when they were stored, so that a null is a NaN."""
    return {name: math.nan if value is None else value for name, value in stored.items()}


def _comparison(stored: Mapping[str, Any]) -> Comparison:
    parts = {
        "differences": tuple(_difference(each) for each in stored["differences"]),
        "tie_group": tuple(stored["tie_group"]),
    }
    return Comparison(**{**stored, **parts})


def _ranks(stored: Mapping[str, Any]) -> RanksAcross:
    test = stored["test"]
    if test:
        test = RankTest(**{**test, "cliques": tuple(tuple(each) for each in test["cliques"])})
    parts = {
        "ranks": tuple(ModelRank(**each) for each in stored["ranks"]),
        "left_out": tuple(stored["left_out"]),
        "test": test,
    }
    return RanksAcross(**{**stored, **parts})
