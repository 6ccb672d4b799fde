"""The model that a run leaves for new images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from medbench.datasets.positive import UNKNOWN
from medbench.datasets.task import Task, labels_in
from medbench.datasets.volume_rule import recorded
from medbench.errors import ConfigurationError, StoreError, unknown_name
from medbench.evaluation.calibration import Calibration
from medbench.inference.fold_models import open_fold_models
from medbench.inference.model import Development, Model
from medbench.inference.model_info import FoldInfo, ModelInfo
from medbench.reports.assessment import DatasetAssessment
from medbench.reports.cards import data_card, model_card
from medbench.reports.rows import Row
from medbench.reports.stored import assessed
from medbench.reports.verdicts import STRONG, cut_words, verdicts
from medbench.reports.winner import why, winner
from medbench.store import CellResult, RunResult, RunStore

MODEL_CARD = "model-card.md"
BEST = "best"
"""Stands for the model that inner scores choose."""
_AGAIN = " Give the run's command again."


def load(folder: Path, *, dataset: str | None, model: str) -> Model:
    """The model of a run; see ``medbench.load_model``.

    Raises:
        StoreError: There is no run, or what is wanted of it is damaged.
        ConfigurationError: Data set or model are not in it.
        ModelError: A saved model is gone or was changed.
    """
    store = RunStore(folder)
    run = store.read()
    assessment = assessed(run)
    of = _dataset(assessment.datasets, dataset, run)
    row, chosen = _row(of, model, run)
    cells = run.cells_of(of.name, row.name)
    members = _members(run, cells)
    info = _model_info(run, of, row, chosen, cells, members)
    provenance = RunProvenance(
        store,
        cells,
        members,
        info,
        lambda: {
            MODEL_CARD: model_card(assessment, of, row, chosen),
            store.layout.data_card(of.name).name: data_card(of),
        },
    )
    return Model(info, open_fold_models(info, provenance.folders), provenance)


class RunProvenance:
    """A run folder, as far as one model of it is concerned."""

    def __init__(
        self,
        store: RunStore,
        cells: Sequence[CellResult],
        members: Mapping[str, Sequence[CellResult]],
        info: ModelInfo,
        cards: Callable[[], Mapping[str, str]],
    ) -> None:
        from medbench.features.out_of_distribution import OutOfDistribution

        self._store, self._cells, self._info = store, cells, info
        self.cards = cards
        """Makes the cards of the model and its data set: Markdown by the name of a file."""
        self.folders = {
            family: [
                store.cell(cell.id).whole_model(cell.record.get("model_sha256"))
                for cell in of_family
            ]
            for family, of_family in (members or {info.family: cells}).items()
        }
        """The saved models of each family, one a fold; see ``open_fold_models``."""
        self.ood_path = store.sound_out_of_distribution(info.dataset)
        there = self.ood_path.exists()
        self.out_of_distribution = OutOfDistribution.load(self.ood_path) if there else None

    def development(self) -> list[Development]:
        """See ``Provenance.development``."""
        return [_development(self._store, cell, self._info) for cell in self._cells]


def _dataset(
    datasets: Sequence[DatasetAssessment], wanted: str | None, run: RunResult
) -> DatasetAssessment:
    folder, names = run.folder, [one.name for one in datasets]
    if not names:
        if run.gaps:
            raise StoreError(f"{folder}: no model of it can be used. {' '.join(run.gaps)}{_AGAIN}")
        raise StoreError(f"{folder}: has no finished model yet. Give the run's command again.")
    if wanted is not None and wanted not in names and (damage := _damage(run, wanted)):
        raise StoreError(f"{folder}: data set {wanted!r} cannot be used.{damage}{_AGAIN}")
    if wanted is None and len(names) > 1:
        raise ConfigurationError(
            f"{folder}: has several data sets ({', '.join(names)}). Name one (dataset in Python).",
            options=dict.fromkeys(("--dataset", "--trained-on"), "NAME does it"),
        )
    if wanted is not None and wanted not in names:
        raise unknown_name(f"data set of {folder}", wanted, names)
    return datasets[0 if wanted is None else names.index(wanted)]


def _row(of: DatasetAssessment, model: str, run: RunResult) -> tuple[Row, str]:
    """The row of a model, and how it was chosen."""
    if model == BEST:
        best = winner(of, run)
        if best is None and of.all_cut:
            raise ConfigurationError(
                f"{run.folder}: {cut_words(of.cut_rows)} So no model of {of.name} is the best one; "
                "run again with that.",
                options={"--models": "NAME uses one of them all the same"},
            )
        if best is None:
            raise StoreError(
                f"{run.folder}: no real model is finished on every fold of {of.name}, so there is "
                "no best one. Give the run's command again (failed cells: with --retry "
                "failed), or name one with --models."
            )
        unfinished = [
            row.name
            for row in of.rows
            if row.fields.kind == "model"
            and row.fields.status not in ("ok", "published")
            and row.cut is None
        ]
        said = why(of, run, best)
        if of.cut_rows:
            cut = ", ".join(row.name for row in of.cut_rows)
            said += f" Cut by their budget, and so not considered: {cut}."
        if unfinished:
            said += f" Not finished on every fold, and so not considered: {', '.join(unfinished)}."
        return best, said + _damage(run, of.name)
    rows = {
        row.name: row
        for row in of.rows
        if row.fields.kind in ("model", "sanity") and row.fields.status in ("ok", "partial")
    }
    if model not in rows and (damage := _damage(run, f"{of.name}/{model}")):
        raise StoreError(f"{run.folder}: {model!r} on {of.name} cannot be used.{damage}{_AGAIN}")
    if model not in rows:
        raise unknown_name(f"finished model of {run.folder} on {of.name}", model, [BEST, *rows])
    row = rows[model]
    said = "Named by the user, not chosen by its inner score."
    if row.fields.status == "partial":
        said += " Some of its folds are not finished."
    if row.fields.kind == "sanity":
        said += " A sanity row: it does not look at what an image shows."
    return row, said + _damage(run, of.name)


def _damage(run: RunResult, what: str) -> str:
    """What cannot be read of a data set, or of a model on it, as in ``chests/xgboost``."""
    there = (f"datasets/{what}/", f"cells/{what}/")
    return "".join(f" {gap}" for gap in run.gaps if gap.startswith(there))


def _members(run: RunResult, cells: Sequence[CellResult]) -> dict[str, list[CellResult]]:
    """The cells that those of an ensemble were made of, by family; empty for any other row."""
    found = {cell.id: cell for cell in run.cells}
    members: dict[str, list[CellResult]] = {}
    for cell in cells:
        for family in cell.record.get("members") or ():
            members.setdefault(family, []).append(found[replace(cell.id, model=family)])
    return dict(sorted(members.items()))


def _model_info(
    run: RunResult,
    of: DatasetAssessment,
    row: Row,
    chosen: str,
    cells: Sequence[CellResult],
    members: Mapping[str, Sequence[CellResult]],
) -> ModelInfo:
    record = of.record
    shape = record.get("image_shape")
    if shape is None or any(cell.record.get("params") is None for cell in cells):
        raise StoreError(
            f"{run.folder}: was written by a version that did not record the shape of its images "
            "or the configuration of its models. Run again into a new folder."
        )
    fields = row.fields
    numbers: dict[str, float | None] = {
        "auroc": fields.auroc,
        "auroc_low": fields.auroc_low,
        "auroc_high": fields.auroc_high,
    }
    if record["task"] == "binary":
        numbers |= {name: row.scores.get(name) for name in ("sensitivity", "specificity")}
    known = {
        name: None if value is None or np.isnan(value) else float(value)
        for name, value in numbers.items()
    }
    against = [one.text for one in verdicts(of) if one.topic in STRONG]
    if row.cut is not None:
        against.insert(0, cut_words([row]))
    return ModelInfo(
        family=row.name,
        dataset=of.name,
        title=record["title"],
        task=Task(
            classes=tuple(record["classes"]), image_shape=tuple(shape), task_type=record["task"]
        ),
        synthetic=record["synthetic"],
        why=chosen,
        operating_point=str(run.configuration.get("operating_point", "not recorded")),
        estimate={**known, "n_folds": len(cells)},
        verdicts=tuple(against),
        note=row.fields.note,
        versions=dict(run.environment.get("packages") or {}),
        folds=tuple(_fold(cell) for cell in cells),
        positive_decided=record.get("positive_decided") or UNKNOWN,
        volumes=recorded(record.get("volumes")),
        members={name: tuple(map(_fold, of_family)) for name, of_family in members.items()},
    )


def _fold(cell: CellResult) -> FoldInfo:
    record = cell.record
    return FoldInfo(
        split=cell.id.split,
        params=record["params"],
        calibration=Calibration.from_record(record.get("calibration")),
        threshold=record.get("threshold"),
        sha256=record.get("model_sha256") or "",
        fold=cell.fold,
    )


def _development(store: RunStore, cell: CellResult, info: ModelInfo) -> Development:
    """The development predictions by which a cell's operating point was chosen.

    Raises:
        StoreError: They are not here, as in the reference results.
    """
    images = store.dataset_images(cell.id.dataset)
    part = images[cell.id.split].isin(("development", "validation"))
    labels = labels_in(images[part])
    chosen = [trial for trial in cell.trials if trial["number"] == cell.record["trial"]]
    try:
        if not chosen:
            raise StoreError("the trial that was chosen is not here")
        oof = store.cell(cell.id).oof(chosen[0])
    except StoreError as error:
        raise StoreError(
            f"{store.folder}: the development predictions of {cell.id} are not here or damaged; "
            "another operating point and export need them. Take the whole run folder."
        ) from error
    if len(oof) != len(labels):
        raise StoreError(
            f"{store.folder}: the stored predictions of {cell.id} are not of its development part."
        )
    known = np.isfinite(oof).all(axis=1)
    calibration = Calibration.from_record(cell.record.get("calibration"))
    return Development(
        labels=labels[known],
        probabilities=calibration.apply(oof[known], multi_label=info.multi_label),
    )
