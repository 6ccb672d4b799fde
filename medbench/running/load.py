"""``medbench.load_run``: a run in the hand, to read its scores and to use its models."""

from __future__ import annotations

import io
import os
import webbrowser
from collections.abc import Collection
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from medbench.errors import StoreError
from medbench.inference.load import load_model
from medbench.inference.model import Model
from medbench.reports.assessment import Assessment
from medbench.reports.stored import assessed
from medbench.reports.text import plain
from medbench.running.options import FORMATS, checked
from medbench.running.values import flag, one_of
from medbench.running.values import path as path_given
from medbench.running.writing import write_formats
from medbench.store import CellId, RunLayout, RunStore

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = 100
"""Width of the leaderboard in a notebook, in characters."""
_PRE = '<pre style="white-space: pre; overflow-x: auto; line-height: normal">{code}</pre>'
_NOT_RUN = "was not run: the run was stopped before it"


class Run:
    """A run: what its folder holds, read once.

    ``medbench.run`` and ``medbench.load_run`` give it. In a notebook it shows its leaderboard and
    what is said of it, with a link to the page.
    """

    def __init__(
        self,
        folder: Path,
        assessment: Assessment | None = None,
        *,
        cells: Collection[CellId] | None = None,
    ) -> None:
        """Nothing is read before it is wanted.

        Args:
            folder: The run folder.
            assessment: What it holds, if that is known.
            cells: Those that it is about for ``failed``; None for all that are there.
        """
        self.folder = folder
        """The run folder, a ``pathlib.Path``."""
        self._cells = cells
        if assessment is not None:
            self.assessment = assessment

    @cached_property
    def assessment(self) -> Assessment:
        """All that is known of the run: cells, data sets, scores, intervals, comparisons.

        Raises:
            StoreError: There is no run in the folder, or it is damaged.
        """
        return assessed(RunStore(self.folder).read())

    def leaderboard(self) -> pd.DataFrame:
        """The leaderboard as a table, a new one with each call.

        Returns:
            One row per data set and model: the best AUROC first, sanity rows below. There is no
            rank: ``standing`` says ``leader``, ``tied`` (cannot be told from the leader) or
            ``behind``, and ``status`` whether a model ``failed``. Among the columns (``RUN/
            leaderboard.csv`` has the same): ``dataset``, ``model``, ``status``, ``auroc``,
            ``auroc_low``, ``auroc_high`` (a 95% interval) and ``balanced_accuracy``, float64 from
            0 to 1; ``seconds`` (wall seconds, sum over the folds); ``size_mb`` (10**6 bytes, mean
            of the fitted models); ``note``. What is not known is NaN.

        Raises:
            StoreError: As ``assessment``.
        """
        return self.assessment.table

    @property
    def failed(self) -> dict[str, str]:
        """Why cells failed or are not finished; empty where all went well.

        The keys are names of cells, as ``"chests x xgboost x r0f3"`` (data set, model, split).
        After ``medbench.run`` these are cells of that call, else all of the run. A call with
        ``retry="failed"`` runs those again that failed; the same call goes on with the others.

        Raises:
            StoreError: As ``assessment``.
        """
        if self._cells is not None and not self._cells:
            return {}
        found = {cell.id: cell for cell in self.assessment.run.cells}
        wanted = found if self._cells is None else self._cells
        return {
            str(cell): plain(found[cell].reason) if cell in found else _NOT_RUN
            for cell in wanted
            if cell not in found or found[cell].status in ("failed", "unfinished")
        }

    def report(
        self,
        *,
        format: str = "html",
        out: str | os.PathLike[str] | None = None,
        images: bool | None = None,
        open: bool = False,
    ) -> Path:
        """Write the page, or a table, from what is stored; nothing is trained.

        This is ``python -m medbench report``.

        Args:
            format: ``"html"`` for the page, ``"md"``, ``"latex"``, ``"csv"`` or ``"json"``.
            out: A folder; that of the run by default.
            images: Whether the page shows images of patients; where None, as the run has it, else
                of data sets whose licence lets them be passed on.
            open: Whether to show the file in your browser.

        Returns:
            The file that was written.

        Raises:
            ConfigurationError: There is no such format, or another value cannot be.
            StoreError: As ``assessment``, or the file cannot be written.
        """
        name = checked("--format", one_of(FORMATS), format)
        folder = self.folder if out is None else checked("--out", path_given, out)
        shown = None if images is None else checked("--images", flag, images)
        (file,) = write_formats(self.assessment, folder, [name], shown, [self.folder])
        if checked("--open", flag, open):
            webbrowser.open(file.resolve().as_uri())
        return file

    def best_model(self, dataset: str | None = None) -> Model:
        """The model to use on new images: chosen by inner scores, never by held-out ones.

        Args:
            dataset: Name of the data set; may be None where the run has only one.

        Returns:
            The fitted models of all folds, which predict as one; see ``medbench.load_model``, by
            which other models than the best are had.

        Raises:
            StoreError: There is no run in the folder, it is damaged, or no model of it is
                finished.
            ConfigurationError: The data set is not in it, the budget cut every model, or what the
                model needs is not installed.
            ModelError: A model file was changed or is not there.
        """
        return load_model(self.folder, dataset=dataset)

    def __repr__(self) -> str:
        return f"<medbench.Run {str(self.folder)!r}>"

    def __str__(self) -> str:
        """The leaderboard as the command line prints it; errors as ``assessment``."""
        return self._drawn(as_html=False)

    def _repr_html_(self) -> str:
        """For notebooks: the leaderboard with its verdicts, and a link to the page."""
        try:
            shown = self._drawn(as_html=True)
        except StoreError as error:  # of a dry run, before there is anything
            return f"<p>{escape(plain(str(error)))}</p>"
        page = RunLayout(self.folder).page
        if page.exists():
            shown += (
                f'<p>Page: <a href="{_address(page)}" target="_blank">{escape(str(page))}</a></p>'
            )
        return shown

    def _drawn(self, *, as_html: bool) -> str:
        from rich.console import Console

        from medbench.reports.terminal import print_leaderboard

        console = Console(
            file=io.StringIO(), width=_COLUMNS, record=True, force_jupyter=False, highlight=False
        )
        print_leaderboard(self.assessment, console)
        if as_html:
            return console.export_html(code_format=_PRE, inline_styles=True)
        return console.export_text().rstrip("\n")


def load_run(path: str | os.PathLike[str]) -> Run:
    """A run that is there, whole or not: its leaderboard, its page and its models.

    Args:
        path: The run folder, as ``"results/demo"``.

    Returns:
        The run. Its folder was read once; nothing is trained.

    Raises:
        ConfigurationError: ``path`` is no path.
        StoreError: There is no run, or it is damaged.
    """
    run = Run(checked("RUN", path_given, path))
    _ = run.assessment  # read now, so that what is wrong with it is told now
    return run


def _address(page: Path) -> str:
    """Of a page, for a link: from where the notebook is, if it was named so."""
    return page.as_uri() if page.is_absolute() else quote(page.as_posix())
