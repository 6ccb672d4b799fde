"""Reads what can be read of a run folder, and names what cannot."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medbench.errors import StoreError
from medbench.files import read_json, read_lines, read_parquet
from medbench.store import schemas
from medbench.store.layout import CellLayout, RunLayout
from medbench.store.matching import external_fits, predictions_fit, record_fits
from medbench.store.results import CellResult, ExternalResult

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 4
"""Raised whenever what is written changes so that another version could misread it."""
READABLE = (3, FORMAT)
"""Formats that are read; a run goes on in the newest only."""
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


class Reading:
    """One reading of a run folder."""

    def __init__(self, layout: RunLayout, format_: int = FORMAT) -> None:
        """``format_``: what the run was written in."""
        self._layout = layout
        self._format = format_
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
        found = {**known, **found}
        if names := schemas.damaged(found, schema):
            self._gap(path, f"damaged (see {', '.join(names)})", therefore)
            return None
        return found

    def configuration(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of ``run.json`` that can be used; a gap names the others."""
        lost = schemas.damaged(found, schemas.Configuration)
        if lost:
            what = f"damaged (see {', '.join(lost)})"
            self._gap(self._layout.run, what, "these settings are not stated")
        return {name: value for name, value in found.items() if name not in lost}

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
        return found

    def audits(self, datasets: Iterable[str]) -> dict[str, dict[str, Any]]:
        """``audit.json`` of the data sets."""
        found = {}
        for name in datasets:
            path = self._layout.dataset(name).audit
            therefore = f"what the audit of {name} found is not shown"
            record = self.record(path, schemas.Audit, therefore)
            if record is not None:
                found[name] = record
        return found

    def cell(self, cell: CellLayout, dataset: Mapping[str, Any] | None) -> CellResult | None:
        """A finished cell, or None and a gap.

        Args:
            cell: Its files.
            dataset: ``dataset.json``; None leaves out whether the predictions are of its classes.
        """
        left_out = f"cell {cell.id} is left out"
        known = split_of_format_3(cell.id.split) if self._format == 3 else {}
        record = self.record(cell.record, schemas.Cell, left_out, **known)
        if record is None:
            return None
        predictions = None
        if record["status"] == "ok":
            predictions = self._predictions(cell.predictions, left_out)
            if predictions is None:
                return None
            other = None
            if dataset is not None and not predictions_fit(predictions, dataset):
                other = cell.predictions
            elif dataset is not None and not record_fits(record, dataset):
                other = cell.record
            if other is not None:
                self._gap(other, f"not of the classes of {cell.id.dataset}", left_out)
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
            predictions = self._predictions(one.predictions, left_out)
            if predictions is None:
                continue
            if not {(dataset, model, sha256) for sha256 in record["models_sha256"]} <= models:
                self._gap(one.record, "of models that are no longer here", left_out)
                continue
            if external_fits(record, predictions, datasets[dataset]):
                named = {"dataset": dataset, "model": model, "other": other}
                yield ExternalResult(record={**record, **named}, predictions=predictions)
            else:
                self._gap(one.record, f"not of the classes of {dataset}", left_out)

    def _predictions(self, path: Path, therefore: str) -> pd.DataFrame | None:
        try:
            return read_parquet(path)
        except StoreError:
            self._gap(path, _state(path), therefore)
            return None

    def _trials(self, path: Path, wanted: int, therefore: str) -> tuple[dict[str, Any], ...]:
        """The trials of a cell; none and a gap where one of ``wanted`` is damaged or gone."""
        what = "damaged"
        try:
            trials = read_lines(path)
            if schemas.are_trials(trials):
                if len(trials) >= wanted:
                    return tuple(trials)
                what = f"{len(trials)} of {wanted} trials are there"
        except StoreError:
            pass
        self._gap(path, what, therefore)
        return ()

    def _gap(self, path: Path, what: str, therefore: str) -> None:
        where = path.relative_to(self._layout.folder).as_posix()
        self.gaps.append(f"{where}: {what}, so {therefore}.")


def _state(path: Path) -> str:
    return "damaged" if path.exists() else "missing"
