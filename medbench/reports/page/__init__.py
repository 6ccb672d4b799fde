"""The page of a run: one HTML file that needs no network, no server and no explanation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import medbench
from medbench.atomic_files import write_text
from medbench.evaluation.scores import METRICS
from medbench.reports.assessment import Assessment, DatasetAssessment
from medbench.reports.budgets import steps_words, trials_words
from medbench.reports.describe import describe_settings, how_to_read, positive_words
from medbench.reports.drawing import COLOURS
from medbench.reports.external import External, compared, external_auroc, externals
from medbench.reports.fields import CUT, SCORELESS
from medbench.reports.figures import DatasetFigures, Figures, figures_of
from medbench.reports.page.across import across
from medbench.reports.page.answer import TRUST, Answer, answer
from medbench.reports.page.interval_bar import interval_bar
from medbench.reports.page.method import method
from medbench.reports.page.pictures import Pictures, copies_sheet, may_be_shown, read_pictures
from medbench.reports.page.results import SHOWN_AT_FIRST, Results, results
from medbench.reports.page.tuning import Tuning, tuning
from medbench.reports.rows import PROBABILITY_SCORES
from medbench.reports.text import (
    format_interval,
    format_megabytes,
    format_number,
    format_score,
    format_seconds,
    plain,
    without_paths,
)
from medbench.reports.verdicts import none_to_use, verdicts
from medbench.store import RunLayout

if TYPE_CHECKING:
    import jinja2

_STANDINGS = (
    "leader",
    "tied",
    "behind",
    CUT,
    "model",
    "partial",
    *SCORELESS,
    "sanity",
    "split by image",
    "published",
)
"""How a row stands, in the order in which the table sorts them."""


@dataclass(frozen=True, kw_only=True)
class _Section:
    """One data set on the page."""

    dataset: DatasetAssessment
    anchor: str
    """Where links to it go: safe in an address."""
    answer: Answer
    verdicts: tuple[str, ...]
    figures: DatasetFigures
    results: Results
    tuning: Tuning | None
    externals: tuple[External, ...]
    """Its models on other data sets."""
    scale_from: float
    """Where the scale of the interval bars begins."""
    pictures: Pictures | None
    copies: str
    """``data:`` address of the sheet of identical and near-identical images; may be empty."""
    why_no_pictures: str


def write_page(
    assessment: Assessment,
    folder: Path,
    *,
    figures: Figures | None = None,
    images: bool | None = None,
    pictures_in: Sequence[Path] = (),
) -> Path:
    """Write ``report.html``.

    Args:
        assessment: The run, assessed.
        folder: Where the page goes.
        figures: Its figures, where they have been computed; those that were written are not drawn
            again.
        pictures_in: Run folders that may hold thumbnails; that of the run where none is given.
        images: Whether images are shown, whatever was chosen for the run. Where nothing was, those
            of data sets whose licence lets them be passed on are, so that the page can be too.

    Returns:
        The page.

    Raises:
        StoreError: The folder cannot be written.
    """
    path = RunLayout(folder).page
    write_text(path, page(assessment, figures=figures, images=images, pictures_in=pictures_in))
    return path


def page(
    assessment: Assessment,
    *,
    figures: Figures | None = None,
    images: bool | None = None,
    pictures_in: Sequence[Path] = (),
) -> str:
    """The page as text; arguments as of ``write_page``."""
    run = assessment.run
    images = run.images if images is None else images
    figures = figures or figures_of(assessment)
    folders = tuple(pictures_in) or (run.folder,)
    sections = [
        _section(assessment, dataset, figures.datasets[dataset.name], number, images, folders)
        for number, dataset in enumerate(assessment.datasets)
    ]
    return (
        _templates()
        .get_template("page.html.j2")
        .render(
            run=run,
            run_name=run.folder.resolve().name,
            sections=sections,
            across=across(assessment, figures),
            method=method(assessment),
            status=_status(assessment),
            by_name={section.dataset.name: section for section in sections},
            any_cut=any(row.cut for d in assessment.datasets for row in d.rows),
            how_to_read=how_to_read(assessment),
            settings=describe_settings(run.configuration),
            families=sorted({row.name for d in assessment.datasets for row in d.rows}),
            version=medbench.__version__,
        )
    )


def _section(
    assessment: Assessment,
    dataset: DatasetAssessment,
    figures: DatasetFigures,
    number: int,
    images: bool | None,
    folders: Sequence[Path],
) -> _Section:
    pictures, why = _pictures(assessment, dataset, images, folders)
    known = [
        value
        for row in dataset.rows
        for value in (row.fields.auroc_low, row.fields.auroc)
        if not math.isnan(value)
    ]
    return _Section(
        dataset=dataset,
        anchor=f"data-{number}",
        answer=answer(dataset, assessment.run),
        verdicts=tuple(one.text for one in verdicts(dataset)),
        figures=figures,
        results=results(dataset.record, figures),
        tuning=tuning(str(dataset.record["title"]), figures),
        externals=tuple(externals(assessment.run, dataset)),
        scale_from=min(0.4, *known) if known else 0.4,
        pictures=pictures,
        copies=_copies(dataset, images, folders),
        why_no_pictures=why,
    )


def _pictures(
    assessment: Assessment,
    dataset: DatasetAssessment,
    images: bool | None,
    folders: Sequence[Path],
) -> tuple[Pictures | None, str]:
    """The pictures of a data set, or why there are none."""
    if not may_be_shown(dataset.record, images):
        if images is False:
            return None, "Images are left out (--no-images of run or report)."
        known = "is not known to" if "redistributable" not in dataset.record else "does not"
        return None, (
            f"Images are left out: the licence of this set {known} let them be passed on. report "
            "--images shows them, on a page for your own eyes."
        )
    for folder in folders:
        found = read_pictures(assessment.run, dataset, folder)
        if found is not None:
            return found, ""
    return None, (
        "No thumbnails are in the run folder. The run's command, given again with --images, puts "
        "them there and trains nothing again."
    )


def _copies(dataset: DatasetAssessment, images: bool | None, folders: Sequence[Path]) -> str:
    """The sheet of copies of a data set, where images may be shown and there is one."""
    if not may_be_shown(dataset.record, images):
        return ""
    sheets = (RunLayout(folder).copies(dataset.name) for folder in folders)
    return next(filter(None, map(copies_sheet, sheets)), "")


def _status(assessment: Assessment) -> list[str]:
    """What keeps the page from being the whole story: cut models, unfinished runs, gaps."""
    run = assessment.run
    said = list(filter(None, map(none_to_use, assessment.datasets)))
    if run.unfinished:
        said.append(f"Partial. {run.unfinished} What follows is over what is there.")
    said += [f"Not shown: {gap}" for gap in run.gaps]
    return said


@cache
def _templates() -> jinja2.Environment:
    """The templates, which escape everything that is not said to be markup."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("medbench.reports.page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "score": format_score,
        "seconds": format_seconds,
        "megabytes": format_megabytes,
        "one_line": lambda text: without_paths(plain(str(text))),
        "trials": trials_words,
        "steps": steps_words,
        "sortable": _sortable,
        "number": format_number,
    }
    environment.globals |= {
        "COLOURS": COLOURS,
        "METRICS": METRICS,
        "PROBABILITY_SCORES": PROBABILITY_SCORES,
        "SCORELESS": SCORELESS,
        "SHOWN_AT_FIRST": SHOWN_AT_FIRST,
        "STANDINGS": _STANDINGS,
        "TRUST": TRUST,
        "compared": compared,
        "external_auroc": external_auroc,
        "interval": format_interval,
        "interval_bar": interval_bar,
        "positive_words": positive_words,
    }
    return environment


def _sortable(value: float) -> str:
    """A number as a table sorts it; what is not known comes last and is empty."""
    return "" if value is None or math.isnan(value) else f"{value:.6g}"
