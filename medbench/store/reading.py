"""Reads what can be read of a run folder, and names what cannot."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medbench.atomic_files import read_json, read_lines, read_parquet
from medbench.errors import StoreError
from medbench.store import schemas, seals
from medbench.store.layout import CellLayout, RunLayout
from medbench.store.matching import external_fits, record_fits, wrong_beside, wrong_with
from medbench.store.results import CellId, CellResult, ExternalResult

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 5
"""Raised whenever what is written changes so that another version could misread it."""
READABLE = (3, 4, FORMAT)
"""Formats that are read; a run goes on in the newest only."""
_HASHED_SINCE = 5
"""The first format whose records carry hashes."""
_SPLIT_OF_FORMAT_3 = re.compile(r"(by-image-)?(?:official-)?r(\d+)(?:f(\d+))?")


def split_of_format_3(name: str) -> dict[str, Any]:
    """Repeat, fold and by-image of a split, which format 3 holds in its name only."""
    found = _SPLIT_OF_FORMAT_3.fullmatch(name)
    if found is None:  # "official"
        return {"repeat": 0, "fold": None, "by_image": False}
    by_image, repeat, fold = found.groups()
    return {
        "repeat": int(repeat),
        "fold": None if fold is None else int(fold),
        "by_image": by_image is not None,
    }


def is_hashed(format_: int) -> bool:
    """Whether the records of a run of some format carry hashes."""
    return format_ >= _HASHED_SINCE


class Reading:
    """One reading of a run folder."""

    def __init__(self, layout: RunLayout, format_: int = FORMAT) -> None:
        """``format_``: what the run was written in."""
        self._layout = layout
        self._format = format_
        self.hashed = is_hashed(format_)
        """Whether records must carry hashes, by which damage is noticed that can be read."""
        self._images: dict[str, pd.DataFrame | None] = {}
        self.gaps: list[str] = []
        """A sentence for each piece that is damaged or missing."""

    def record(
        self, path: Path, schema: type[schemas.Record], therefore: str, **known: Any
    ) -> dict[str, Any] | None:
        """A JSON object with entries that can be used, or None and a gap.

        Args:
            path: Its file.
            schema: What it must hold.
            therefore: What is not known without it.
            **known: Entries that the file lacks by its format.
        """
        try:
            found = read_json(path)
        except StoreError:
            found = None
        if not isinstance(found, dict):
            self._gap(path, _state(path), therefore)
            return None
        whole = seals.holds(found, required=self.hashed)
        found = {**known, **seals.unsealed(found)}
        if names := schemas.damaged(found, schema):
            self._gap(path, f"damaged (see {', '.join(names)})", therefore)
            return None
        if not whole:
            self._gap(path, "damaged", therefore)
            return None
        return found

    def configuration(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of ``run.json`` that can be used; a gap names the others."""
        lost = schemas.damaged(found, schemas.Configuration)
        if lost:
            what = f"damaged (see {', '.join(lost)})"
            self._gap(self._layout.run, what, "these settings are not stated")
        return {name: value for name, value in found.items() if name not in lost}

    def nothing_of_the_run(self) -> None:
        """Name ``run.json`` as damaged, which leaves its settings unknown."""
        therefore = "its settings are not stated and images are not shown"
        self._gap(self._layout.run, "damaged", therefore)

    def images(self, run: Mapping[str, Any]) -> bool | None:
        """What ``run.json`` says of showing images; where that is damaged, not to."""
        if "images" in schemas.damaged(run, schemas.Run):
            self._gap(self._layout.run, "damaged (see images)", "images are not shown")
            return False
        return run.get("images")

    def datasets(self) -> dict[str, dict[str, Any]]:
        """``dataset.json`` of every data set that has one or has cells."""
        names = [dataset.name for dataset in self._layout.described_datasets()]
        n_cells = Counter(cell.id.dataset for cell in self._layout.finished_cells())
        found = {}
        for name in sorted({*names, *n_cells}):
            n = n_cells[name]
            lost = f" with its {n} cell{'s' * (n > 1)}" if n else ""
            path = self._layout.dataset(name).record
            record = self.record(path, schemas.Dataset, f"data set {name} is left out{lost}")
            if record is not None:
                found[name] = record
                self._images[name] = self._parts(name, record)
        return found

    def _parts(self, name: str, record: Mapping[str, Any]) -> pd.DataFrame | None:
        """``images.parquet`` of a data set; None where it is not there, or a gap names it."""
        path = self._layout.dataset(name).images
        if not path.exists() and not self.hashed:  # left out of a copy
            return None
        unknown = f"nobody can say whether cells of {name} are of its images"
        return self._table(path, record, unknown)

    def audits(self, datasets: Iterable[str]) -> dict[str, dict[str, Any]]:
        """``audit.json`` of the data sets."""
        found = {}
        for name in datasets:
            path = self._layout.dataset(name).audit
            therefore = f"what the audit of {name} found is not shown"
            record = self.record(path, schemas.AuditReport, therefore)
            if record is not None:
                found[name] = record
        return found

    def cell(self, cell: CellLayout, dataset: Mapping[str, Any] | None) -> CellResult | None:
        """A finished cell, or None and a gap.

        Args:
            cell: Its files.
            dataset: ``dataset.json``; None leaves out whether the predictions are of its classes.
        """
        left_out = _left_out(cell.id)
        known = split_of_format_3(cell.id.split) if self._format == 3 else {}
        record = self.record(cell.record, schemas.Cell, left_out, **known)
        if record is None:
            return None
        predictions = None
        if record["status"] == "ok":
            predictions = self._table(cell.predictions, record, left_out)
            if predictions is None:
                return None
            if dataset is not None and not self._fit(cell, record, predictions, dataset):
                return None
        unknown = f"it is not known from what inputs cell {cell.id} was made"
        key = self.record(cell.key, schemas.Key, unknown)
        not_shown = f"the search of cell {cell.id} is not shown"
        return CellResult(
            id=cell.id,
            status=record["status"],
            reason=record.get("reason") or "",
            record=record,
            predictions=predictions,
            repeat=record["repeat"],
            fold=record.get("fold"),
            by_image=record["by_image"],
            trials=self._trials(cell.trials, record.get("n_trials") or 0, not_shown),
            key_parts={} if key is None else key["parts"],
        )

    def unfinished(self, cell: CellLayout) -> CellResult | None:
        """A cell that the machine ended, or None and a gap."""
        unknown = f"it is not known why cell {cell.id} is not finished"
        record = self.record(cell.unfinished, schemas.Unfinished, unknown)
        if record is None:
            return None
        return CellResult(
            id=cell.id,
            status="unfinished",
            reason=record["reason"],
            record=record,
            predictions=None,
            repeat=record["repeat"],
            fold=record.get("fold"),
            by_image=record["by_image"],
        )

    def without_orphans(self, cells: Iterable[CellResult]) -> Iterator[CellResult]:
        """Cells but for ensembles of which a member is not here as it was, which are gaps."""
        cells = list(cells)
        models = {(c.id, c.record.get("model_sha256")) for c in cells if c.status == "ok"}
        for cell in cells:
            members = cell.record.get("members") or {}
            weights = cell.record.get("params") or {}
            wanted = {(replace(cell.id, model=name), sha256) for name, sha256 in members.items()}
            if not members or (wanted <= models and members.keys() == weights.keys()):
                yield cell
            else:
                where = self._layout.cell(cell.id).record
                self._gap(where, "made of models that are no longer here", _left_out(cell.id))

    def externals(
        self, datasets: Mapping[str, Mapping[str, Any]], cells: Iterable[CellResult]
    ) -> Iterator[ExternalResult]:
        """External validations, as far as they can be read and their models are still here."""
        models = {(c.id.dataset, c.id.model, c.record.get("model_sha256")) for c in cells}
        for one in self._layout.externals():
            dataset, model, other = one.names
            left_out = f"the validation of {model} on {other} is left out"
            record = self.record(one.record, schemas.External, left_out)
            if record is None or dataset not in datasets:
                continue
            predictions = self._table(one.predictions, record, left_out)
            if predictions is None:
                continue
            if not {(dataset, model, sha256) for sha256 in record["models_sha256"]} <= models:
                self._gap(one.record, "of models that are no longer here", left_out)
                continue
            if external_fits(record, predictions, datasets[dataset]):
                named = {"dataset": dataset, "model": model, "other": other}
                known = seals.without_hashes({**record, **named})
                yield ExternalResult(record=known, predictions=predictions)
            else:
                self._gap(one.record, f"not of the classes of {dataset}", left_out)

    def _fit(
        self,
        cell: CellLayout,
        record: Mapping[str, Any],
        predictions: pd.DataFrame,
        dataset: Mapping[str, Any],
    ) -> bool:
        """Whether a cell is of its data set and its split; else there is a gap."""
        name, split, images = cell.id.dataset, cell.id.split, self._images.get(cell.id.dataset)
        path, wrong = cell.predictions, wrong_with(predictions, dataset, name)
        if not wrong and images is not None:
            wrong = wrong_beside(predictions, images, split)
        if not wrong and not record_fits(record, dataset):
            path, wrong = cell.record, f"not of the classes of {name}"
        if wrong:
            self._gap(path, wrong, _left_out(cell.id))
        return not wrong

    def _table(self, path: Path, record: Mapping[str, Any], therefore: str) -> pd.DataFrame | None:
        """A table that a record stands for, or None and a gap."""
        try:
            if seals.is_same(record, path.name, path):
                return read_parquet(path)
        except StoreError:
            pass
        self._gap(path, _state(path), therefore)
        return None

    def _trials(self, path: Path, wanted: int, therefore: str) -> tuple[dict[str, Any], ...]:
        """The trials of a cell; none and a gap where one of ``wanted`` is damaged or gone."""
        what = "damaged"
        try:
            trials = read_lines(path)
            if schemas.are_trials(trials) and _hold(trials, required=self.hashed):
                if len(trials) >= wanted:
                    return tuple(map(seals.unsealed, trials))
                what = f"{len(trials)} of {wanted} trials are there"
        except StoreError:
            pass
        self._gap(path, what, therefore)
        return ()

    def _gap(self, path: Path, what: str, therefore: str) -> None:
        where = path.relative_to(self._layout.folder).as_posix()
        self.gaps.append(f"{where}: {what}, so {therefore}.")


def _left_out(cell: CellId) -> str:
    return f"cell {cell} is left out"


def _hold(records: list[dict[str, Any]], *, required: bool) -> bool:
    return all(seals.holds(record, required=required) for record in records)


def _state(path: Path) -> str:
    return "damaged" if path.exists() else "missing"
