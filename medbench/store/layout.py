"""Where everything lies in a run folder; nothing else joins these names.

    RUN/
      run.json                       format, configuration, whether images are shown
      environment.json               versions, machine, commit
      datasets/NAME/dataset.json     classes, counts, fingerprint, licence, citation
      datasets/NAME/images.parquet   label, group, split and what is kept of every image (no file
                                     names)
      datasets/NAME/out-of-distribution.npz  by what images unlike its own are told
      datasets/NAME/audit.json       what is wrong with it, in words and numbers
      datasets/NAME/pictures/        thumbnails for the page, where images may be shown
      external/DATASET/MODEL/OTHER/  a model on another data set: external.json, predictions
      cells/DATASET/MODEL/SPLIT/
        key.json                     what it was made from: decides whether it is used again
        trials.jsonl                 one line a finished trial
        oof/0007.npy                 its inner out-of-fold probabilities
        checkpoints/0007/            how far a trial is that is not finished; gone at the end
        model/                       the fitted classifier; an ensemble has those of its members
        predictions.parquet          held-out probabilities, labels, groups
        cell.json                    written last: a cell that has one is finished
        unfinished.json              why the machine ended it; gone when it is started again
        cell.log                     what the process printed
      chunks/                        large files of the models, each chunk once; see ``chunks``
      .lock .holder.json             who is at work here, as long as somebody is

and what is made from these again at any time:

      assessment.json                scores, intervals, comparisons
      leaderboard.csv .json .md .tex, scores.csv, classes.csv, report.html
      cards/                         a card of each data set and of the model to use on it
      figures/critical-difference.png, figures/NAME/scores.png ...
      figures/NAME/duplicates.png    images that are copies, where images may be shown
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medbench.atomic_files import folder_name
from medbench.store.results import CellId

_KEY = "key.json"
_PREDICTIONS = "predictions.parquet"
_RECORD_OF_A_CELL = "cell.json"
_UNFINISHED = "unfinished.json"


@dataclass(frozen=True)
class RunLayout:
    """The files of a run, or of a report on runs that goes into a folder of its own."""

    folder: Path

    @property
    def run(self) -> Path:
        """Format, configuration, and whether images are shown."""
        return self.folder / "run.json"

    @property
    def environment(self) -> Path:
        """Versions, machine, commit."""
        return self.folder / "environment.json"

    @property
    def lock(self) -> Path:
        """Held by the process that writes."""
        return self.folder / ".lock"

    @property
    def holder(self) -> Path:
        """Who that process is."""
        return self.folder / ".holder.json"

    @property
    def chunks(self) -> Path:
        """The folder of the chunks that large files of models consist of."""
        return self.folder / "chunks"

    @property
    def datasets(self) -> Path:
        """The folder of what is recorded of data sets."""
        return self.folder / "datasets"

    @property
    def cells(self) -> Path:
        """The folder of the cells."""
        return self.folder / "cells"

    def dataset(self, name: str) -> DatasetLayout:
        """The files of a data set."""
        return DatasetLayout(self.datasets / name)

    def described_datasets(self) -> Iterator[DatasetLayout]:
        """Every data set that has a description, by name."""
        for path in sorted(self.datasets.glob("*/dataset.json")):
            yield DatasetLayout(path.parent)

    def cell(self, cell: CellId) -> CellLayout:
        """The files of a cell."""
        return CellLayout(self.cells / cell.dataset / cell.model / cell.split)

    def begun_cells(self) -> Iterator[CellLayout]:
        """Every cell that was begun, by data set, model and split."""
        for path in sorted(self.cells.glob(f"*/*/*/{_KEY}")):
            yield CellLayout(path.parent)

    def finished_cells(self, dataset: str = "*", split: str = "*") -> Iterator[CellLayout]:
        """Every cell that is finished, by data set, model and split; or those of one of them."""
        for path in sorted(self.cells.glob(f"{dataset}/*/{split}/{_RECORD_OF_A_CELL}")):
            yield CellLayout(path.parent)

    def unfinished_cells(self) -> Iterator[CellLayout]:
        """Every cell that the machine ended, by data set, model and split."""
        for path in sorted(self.cells.glob(f"*/*/*/{_UNFINISHED}")):
            if not path.with_name(_RECORD_OF_A_CELL).exists():
                yield CellLayout(path.parent)

    def external(self, dataset: str, model: str, other: str) -> ExternalLayout:
        """The files of a model's validation on another data set."""
        return ExternalLayout(self.folder / "external" / dataset / model / other)

    def externals(self) -> Iterator[ExternalLayout]:
        """Every external validation, by data set, model and other data set."""
        for path in sorted(self.folder.glob("external/*/*/*/external.json")):
            yield ExternalLayout(path.parent)

    def models(self) -> Iterator[Path]:
        """The folder of every fitted classifier."""
        yield from self.cells.glob("*/*/*/model")

    # --- what is made again at any time ------------------------------------------------------

    @property
    def assessment(self) -> Path:
        """Scores, intervals and comparisons."""
        return self.folder / "assessment.json"

    @property
    def page(self) -> Path:
        """The page that people read."""
        return self.folder / "report.html"

    def table(self, name: str, kind: str) -> Path:
        """A table such as ``"leaderboard"``, as ``"csv"``, ``"json"``, ``"md"`` or ``"tex"``."""
        return self.folder / f"{name}.{kind}"

    def data_card(self, dataset: str) -> Path:
        """The card of a data set."""
        return self.folder / "cards" / f"dataset-{folder_name(dataset)}.md"

    def model_card(self, dataset: str) -> Path:
        """The card of the model to use on a data set."""
        return self.folder / "cards" / f"model-{folder_name(dataset)}.md"

    def figure(self, dataset: str, kind: str) -> Path:
        """A figure of a data set, such as ``"roc"``."""
        return self.folder / "figures" / folder_name(dataset) / f"{kind}.png"

    def copies(self, dataset: str) -> Path:
        """The sheet of images of a data set that are copies of each other."""
        return self.figure(dataset, "duplicates")

    @property
    def critical_difference(self) -> Path:
        """The figure of ranks across data sets."""
        return self.folder / "figures" / "critical-difference.png"

    def pictures(self) -> Iterator[Path]:
        """Folders and files of images of patients; the page may show them too."""
        yield from self.folder.glob("datasets/*/pictures")
        yield from self.folder.glob("figures/*/duplicates.png")


@dataclass(frozen=True)
class DatasetLayout:
    """The files of a data set."""

    folder: Path

    @property
    def name(self) -> str:
        """The data set's."""
        return self.folder.name

    @property
    def record(self) -> Path:
        """Its description."""
        return self.folder / "dataset.json"

    @property
    def images(self) -> Path:
        """Label, group and part of every image."""
        return self.folder / "images.parquet"

    @property
    def audit(self) -> Path:
        """What its audit found."""
        return self.folder / "audit.json"

    @property
    def out_of_distribution(self) -> Path:
        """By what images unlike its own are told; need not be there."""
        return self.folder / "out-of-distribution.npz"

    @property
    def pictures(self) -> Path:
        """The folder of its thumbnails."""
        return self.folder / "pictures"

    @property
    def samples(self) -> Path:
        """Which thumbnails show which class."""
        return self.pictures / "pictures.json"

    def thumbnail(self, row: int) -> Path:
        """The thumbnail of an image, by its number in the data set."""
        return self.pictures / f"{row}.webp"


@dataclass(frozen=True)
class CellLayout:
    """The files of a cell."""

    folder: Path

    @property
    def id(self) -> CellId:
        """The cell's name."""
        dataset, model, split = self.folder.parts[-3:]
        return CellId(dataset=dataset, model=model, split=split)

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.folder.parents[3]

    @property
    def record(self) -> Path:
        """What became of it; written last."""
        return self.folder / _RECORD_OF_A_CELL

    @property
    def unfinished(self) -> Path:
        """Why the machine ended it."""
        return self.folder / _UNFINISHED

    @property
    def key(self) -> Path:
        """What it was made from."""
        return self.folder / _KEY

    @property
    def trials(self) -> Path:
        """A line for each finished trial."""
        return self.folder / "trials.jsonl"

    def oof(self, number: int) -> Path:
        """Inner out-of-fold probabilities of a trial."""
        return self.folder / "oof" / f"{number:04d}.npy"

    @property
    def checkpoints(self) -> Path:
        """The folder of what unfinished trials have reached."""
        return self.folder / "checkpoints"

    def checkpoint(self, number: int) -> Path:
        """What an unfinished trial has reached."""
        return self.checkpoints / f"{number:04d}"

    @property
    def model(self) -> Path:
        """The folder of the fitted classifier."""
        return self.folder / "model"

    @property
    def predictions(self) -> Path:
        """Of the held-out images."""
        return self.folder / _PREDICTIONS

    @property
    def log(self) -> Path:
        """What its process printed."""
        return self.folder / "cell.log"


@dataclass(frozen=True)
class ExternalLayout:
    """The files of an external validation."""

    folder: Path

    @property
    def names(self) -> tuple[str, str, str]:
        """Data set, model and other data set."""
        dataset, model, other = self.folder.parts[-3:]
        return dataset, model, other

    @property
    def record(self) -> Path:
        """What was validated on what."""
        return self.folder / "external.json"

    @property
    def predictions(self) -> Path:
        """Of the other data set's images."""
        return self.folder / _PREDICTIONS
