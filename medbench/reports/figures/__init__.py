"""Figures of a run: each is computed and drawn once, for the page and for its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from medbench.reports.assessment import Assessment, DatasetAssessment
from medbench.reports.charts import rank_chart
from medbench.reports.drawing import Drawing
from medbench.reports.figures.costs import Costs, costs
from medbench.reports.figures.curves import Curves, curves
from medbench.reports.figures.heatmaps import (
    ClassesFigure,
    ConfusionFigure,
    Decisions,
    decisions,
)
from medbench.reports.figures.models import Drawn, drawn_models, drawn_rows
from medbench.reports.figures.scores import scores
from medbench.reports.figures.searches import optimism, parallel, tuning
from medbench.store import RunLayout, RunResult


class _Writable(Protocol):
    def write_png(self, path: Path) -> None: ...


@dataclass(frozen=True, kw_only=True)
class DatasetFigures:
    """What is drawn of one data set; None for what there is nothing to draw of."""

    models: tuple[Drawn, ...]
    """The real models with a finished cell, in the order of the leaderboard."""
    scores: Drawing | None
    curves: Curves | None
    decisions: tuple[Decisions, ...]
    """By model; empty for a task of several labels an image."""
    confusion: ConfusionFigure | None
    classes: ClassesFigure | None
    """None for two classes."""
    tuning: Drawing | None
    optimism: Drawing | None
    costs: Costs | None
    parallel: Mapping[str, Drawing]
    """Trials over their parameters, by model; the page alone has them."""

    def files(self) -> dict[str, _Writable]:
        """The figures that have a file, by its name without the ending."""
        found: dict[str, _Writable | None] = {"scores": self.scores}
        if self.curves is not None:
            found["roc"] = self.curves.roc
            found["precision-recall"] = self.curves.precision_recall
            found["calibration"] = self.curves.calibration
        found |= {"confusion": self.confusion, "classes": self.classes}
        found |= {"tuning": self.tuning, "optimism": self.optimism}
        if self.costs is not None:
            found |= {"cost": self.costs.pareto, "anytime": self.costs.anytime}
        return {name: figure for name, figure in found.items() if figure is not None}


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of a run."""

    datasets: Mapping[str, DatasetFigures]
    ranks: Drawing | None
    """None for one data set."""
    tested: bool
    """Whether the ranks come with a rank test."""


def figures_of(assessment: Assessment) -> Figures:
    """Compute what is drawn of a run; it is drawn where the page or a file asks for it."""
    ranks = assessment.ranks
    return Figures(
        datasets={d.name: _of_dataset(assessment.run, d) for d in assessment.datasets},
        ranks=rank_chart(ranks) if ranks is not None else None,
        tested=ranks is not None and ranks.test is not None,
    )


def write_figures(figures: Figures, folder: Path) -> list[Path]:
    """Write ``figures/DATASET/NAME.png`` below a folder.

    Names are ``scores``, ``roc``, ``precision-recall``, ``calibration``, ``confusion``,
    ``classes`` (of more than two), ``tuning``, ``optimism``, ``cost`` and ``anytime``. A data set
    without a finished cell has no figures; what cannot be scored, or has no complete trial, is
    left out. Rows stand in the order of the leaderboard; sanity rows are in the figures of scores
    and classes only. Where models are tested for their ranks across data sets,
    ``figures/critical-difference.png`` shows these.

    Args:
        figures: Those of the run.
        folder: Where ``figures`` is created.

    Returns:
        The files that were written, by data set.

    Raises:
        StoreError: A file cannot be written.
    """
    files, written = RunLayout(folder), []
    for name, dataset in figures.datasets.items():
        for kind, figure in dataset.files().items():
            path = files.figure(name, kind)
            figure.write_png(path)
            written.append(path)
    if figures.ranks is not None and figures.tested:
        figures.ranks.write_png(files.critical_difference)
        written.append(files.critical_difference)
    return written


def _of_dataset(run: RunResult, dataset: DatasetAssessment) -> DatasetFigures:
    name, record = dataset.name, dataset.record
    models, rows = drawn_models(run, dataset), drawn_rows(run, dataset)
    decided = decisions(record, models)
    by_class = [one for one in rows if one.row.class_scores] if record["task"] != "binary" else []
    return DatasetFigures(
        models=models,
        scores=scores(name, rows, len(record["classes"])),
        curves=curves(name, record, models),
        decisions=decided,
        confusion=ConfusionFigure(classes=record["classes"], matrices=decided) if decided else None,
        classes=ClassesFigure(classes=record["classes"], rows=by_class) if by_class else None,
        tuning=tuning(name, models),
        optimism=optimism(name, [one for one in models if any(c.tried for c in one.cells)]),
        costs=costs(name, models),
        parallel={one.name: drawn for one in models if (drawn := parallel(name, one)) is not None},
    )
