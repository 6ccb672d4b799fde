"""What a run is once it is in memory: its data sets, its cells and their predictions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd

_QUOTED_PATH = re.compile(r"""(?P<q>["'])[^"']*[\\/][^"']*(?P=q)""")

FinalStatus = Literal["ok", "failed", "skipped"]
"""How a cell is finished."""
Status = Literal[FinalStatus, "unfinished"]
"""The same, and that the machine ended it, not its family: it is gone on with."""


@dataclass(frozen=True, kw_only=True, order=True)
class CellId:
    """One data set x one model x one outer split."""

    dataset: str
    """Name of the data set."""
    model: str
    """Name of the model family."""
    split: str
    """Name of the split, such as ``"official"`` or ``"r0f3"``; ``CellResult`` says what it is."""

    def __str__(self) -> str:
        return f"{self.dataset} x {self.model} x {self.split}"


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What is known of a cell that is finished, or that the machine has ended."""

    id: CellId
    """Which cell it is."""
    status: Status
    """``ok``, ``failed`` or ``skipped``; ``unfinished`` where the machine ended it."""
    reason: str
    """Why it failed, was skipped or is unfinished; empty where it is ok."""
    record: Mapping[str, Any]
    """``cell.json``; ``unfinished.json`` of one that the machine ended."""
    predictions: pd.DataFrame | None
    """One row a held-out image: ``image`` (index in the data set), ``group``, ``label`` (int64;
    of a multi-label task ``label0``, ``label1``, ...) and the float64 probabilities ``p0`` ...
    ``pK`` of the classes, as the model gave them (not calibrated); None where it is not ok."""
    repeat: int = 0
    """Which seed of the run its split belongs to, from 0."""
    fold: int | None = None
    """Its number among the folds of that repeat, from 0; None of an official split."""
    by_image: bool = False
    """Whether its split divides single images, whatever their patient."""
    trials: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    """Every finished trial, in order: number, params, state, score, fold_scores, seconds, ..."""
    key_parts: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What its key covers, by name."""

    @property
    def tried(self) -> tuple[Mapping[str, Any], ...]:
        """The trials of configurations: all but those that fit one on its other inner folds."""
        return tuple(trial for trial in self.trials if trial.get("stage") != "finish")


@dataclass(frozen=True, kw_only=True)
class ExternalResult:
    """What a model of the run said of a data set that it was not developed on."""

    record: Mapping[str, Any]
    """``external.json``: ``dataset`` and ``model``, ``other`` (the data set), ``class_map``
    (its classes in the model's words), ``threshold`` (the frozen operating point), counts."""
    predictions: pd.DataFrame
    """As ``CellResult.predictions``: of the mean of the fold models calibrated ``p0`` ... ``pK``,
    of each of them ``f0p0`` ..."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """Everything that reports read: a run folder in memory, without models and images."""

    folder: Path
    """The run folder."""
    configuration: Mapping[str, Any]
    """The settings that the run was begun with, by name, as ``run.json`` has them."""
    environment: Mapping[str, Any]
    """Versions, machine and commit of the latest start, as ``environment.json`` has them; empty
    where that cannot be read."""
    datasets: Mapping[str, Mapping[str, Any]]
    """``dataset.json`` by name: title, classes, n_images, n_groups, class_counts, split, ..."""
    audits: Mapping[str, Mapping[str, Any]]
    """``audit.json`` by name; see ``medbench.datasets.audit.AuditReport.as_record``."""
    cells: tuple[CellResult, ...]
    """Finished cells (also failed and skipped ones) and those that the machine ended, by data set,
    model and split."""
    externals: tuple[ExternalResult, ...] = ()
    """External validations, by data set, model and other data set."""
    images: bool | None = None
    """Whether images of patients are shown: in any case, never, or (None) where the licence of
    their data set lets them be passed on."""
    gaps: tuple[str, ...] = ()
    """A sentence for each piece that is damaged or missing: its path within the run folder, and
    what is left out of this result therefore."""
    unread: tuple[CellId, ...] = ()
    """Finished cells that are left out, because they or their data set could not be read."""
    at_work: bool = False
    """Whether another process held the folder while it was read."""
    hashed: bool = True
    """Whether its records carry hashes: if not, damage that can still be read is not noticed."""

    def cells_of(
        self,
        dataset: str,
        model: str | None = None,
        *,
        by_image: bool = False,
        status: Status | None = "ok",
    ) -> tuple[CellResult, ...]:
        """Cells of a data set, in their order.

        Args:
            dataset: Name of the data set.
            model: Name of the model; None for all of them.
            by_image: Whether cells of splits that divide single images are meant. They are never
                mixed with those of other splits.
            status: How they ended; None for whatever.
        """
        return tuple(
            cell
            for cell in self.cells
            if cell.id.dataset == dataset
            and model in (None, cell.id.model)
            and cell.by_image == by_image
            and status in (None, cell.status)
        )

    @property
    def ended_by_machine(self) -> tuple[CellResult, ...]:
        """The cells that a fault of the machine ended; each has its reason."""
        return tuple(cell for cell in self.cells if cell.status == "unfinished")

    @property
    def unfinished(self) -> str:
        """A sentence on what is still to come; empty where every fold of every model is there.

        Failed and skipped cells are there. Models of which no cell has begun are unknown.
        """
        ended = self.ended_by_machine
        n_finished = len(self.cells) - len(ended)
        wanted = 0
        for dataset, _, by_image in {
            (cell.id.dataset, cell.id.model, cell.by_image) for cell in self.cells
        }:
            record = self.datasets.get(dataset, {})
            wanted += record.get("n_folds_by_image" if by_image else "n_folds") or 0
        begun = {cell.dataset for cell in (*self.unread, *(one.id for one in self.cells))}
        waiting = sorted(set(self.datasets) - begun)
        found = []
        if not n_finished and self.unread:
            found.append("none of its finished cells could be read")
        elif not n_finished:
            found.append("no cell of it is finished yet")
        else:
            if n_finished < wanted:
                found.append(f"{n_finished} of {wanted} cells are finished")
            if waiting:
                found.append(f"no cell of {', '.join(waiting)} is finished yet")
        if self.unread and self.hashed:
            found.append("the command of the run, given again, mends what is damaged")
        if ended:
            found.append(ended_words([cell.reason for cell in ended]))
        if self.at_work:
            found.append("another process is at work in its folder")
        return f"This run is not finished: {'; '.join(found)}." if found else ""

    @property
    def partial(self) -> bool:
        """Whether anything is still to come; ``unfinished`` says what."""
        return bool(self.unfinished)


def ended_words(reasons: Sequence[str]) -> str:
    """How many cells the machine ended and why, in a part of a sentence.

    Args:
        reasons: One a cell, at least one.
    """
    alike: dict[str, list[str]] = {}
    for reason in reasons:  # the same disk is full, whatever the file
        alike.setdefault(_QUOTED_PATH.sub("", reason), []).append(reason)
    why = max(alike.values(), key=len)[0]
    n, others = len(reasons), len(alike) - 1
    more = f", and {others} other reason{'s' * (others > 1)}" if others else ""
    cells = "1 cell was" if n == 1 else f"{n} cells were"
    return f"{cells} left unfinished by trouble of the machine, not of a model ({why}{more})"
