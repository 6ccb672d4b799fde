"""``medbench.load_run``: a run in the hand, to read its scores and to use its models."""

from __future__ import annotations

import functools
import io
import os
import webbrowser
from collections.abc import Collection, Iterable, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from medbench.errors import StoreError
from medbench.inference.load import load_model
from medbench.inference.model import Model
from medbench.reports.assessment import Assessment
from medbench.reports.stored import assessed
from medbench.reports.text import plain
from medbench.running.call import call
from medbench.running.options import (
    EvaluateOptions,
    ExportOptions,
    ReportOptions,
    ReproduceOptions,
    checked,
)
from medbench.running.values import path as path_given
from medbench.running.writing import write_formats
from medbench.store import CellId, RunLayout, RunStore

if TYPE_CHECKING:
    import pandas as pd

    from medbench.reports.external import External
    from medbench.running.export import Export
    from medbench.running.reproduce import Reproduction

_Path = str | os.PathLike[str]
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

    @functools.cached_property
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
        format: Literal["html", "md", "latex", "csv", "json"] = "html",
        out: _Path | None = None,
        images: bool | None = None,
        open: bool = False,
        **unknown: Any,
    ) -> Path:
        """Write the page, or a table, from what is stored; nothing is trained.

        This is ``python -m medbench report``.

        Args:
            format: ``"html"`` for the page, ``"md"``, ``"latex"``, ``"csv"`` or ``"json"``.
            out: A folder; that of the run by default.
            images: Whether the page shows images of patients; where None, as the run has it, else
                of data sets whose licence lets them be passed on.
            open: Whether to show the file in your browser.
            **unknown: No other name is taken: the ``ConfigurationError`` proposes the closest one.

        Returns:
            The file that was written.

        Raises:
            ConfigurationError: There is no such format, or another value cannot be.
            StoreError: As ``assessment``, or the file cannot be written.
            MachineError: This process is a fork of one that had imported MedBench.
        """
        return call(self._report, ReportOptions, locals())

    def _report(self, options: ReportOptions) -> Path:
        """As ``report``."""
        (file,) = write_formats(
            self.assessment,
            options.out or self.folder,
            [options.format],
            options.images,
            [self.folder],
        )
        if options.open:
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

    def evaluate_on(
        self,
        datasets: str | Iterable[str] = (),
        *,
        data: _Path | None = None,
        class_map: Mapping[str, str] | None = None,
        models: str | Iterable[str] = "best",
        trained_on: str | None = None,
        data_dir: _Path | None = None,
        datasets_file: _Path | None = None,
        plugin: _Path | Iterable[_Path] = (),
        skip_unreadable: bool = False,
        **unknown: Any,
    ) -> list[External]:
        """Apply models of this run, as they are, to other data sets: external validation.

        This is ``python -m medbench evaluate``. Nothing is fitted; calibration and operating point
        stay frozen. The predictions are kept in the run, whose tables and page are written again.

        Args:
            datasets: Names of registered data sets; one or several.
            data: A folder with one sub-folder of images per class, or a BIDS tree.
            class_map: Class of the other data set -> class of the model; what is not in it is left
                out. Where None, the names say it, or a person at the terminal.
            models: Names of model families, ``"best"`` by inner scores; one or several.
            trained_on: The data set of the run whose models are meant, where it has several.
            data_dir: Folder with the images of registered data sets, in which they are looked for
                before that of the environment variable ``MEDBENCH_DATA``.
            datasets_file: A YAML file of more data sets.
            plugin: Python files that register models, sources or readers; one or several.
            skip_unreadable: Leave unreadable images out, instead of stopping.
            **unknown: No other name is taken: the ``ConfigurationError`` proposes the closest one.

        Returns:
            One for each model and other data set: ``auroc`` with its interval, ``scores`` by name,
            and ``internal``, its row on its own data set.

        Raises:
            ConfigurationError: No data set is named, a name is unknown, or classes do not fit.
            PluginError: A plugin cannot be loaded.
            DatasetError: The images of a data set cannot be used as they are.
            StoreError: As ``assessment``, or the run folder cannot be written.
            ModelError: A model file was changed.
            MachineError: This process is a fork of one that had imported MedBench.
        """
        arguments = {**locals()}
        from medbench.running.evaluate import evaluate

        self.__dict__.pop("assessment", None)  # which is another then
        return call(functools.partial(evaluate, self.folder), EvaluateOptions, arguments)

    def export(
        self,
        *,
        dataset: str | None = None,
        model: str = "best",
        format: Literal["onnx", "keras", "skops", "xgboost"] | None = None,
        out: _Path | None = None,
        data: _Path | None = None,
        data_dir: _Path | None = None,
        datasets_file: _Path | None = None,
        plugin: _Path | Iterable[_Path] = (),
        **unknown: Any,
    ) -> Export:
        """Write a model into a folder that can be passed on, checked on held-out images.

        This is ``python -m medbench export``; ``medbench.load_model`` opens the folder.

        Args:
            dataset: Of which data set, where the run has several.
            model: Name of a model family; ``"best"`` by inner scores.
            format: Of networks ``"onnx"`` (the default where it is installed) or ``"keras"``; of
                ``hog-svm`` and the sanity rows ``"skops"``, of ``xgboost`` ``"xgboost"``.
            out: A new or empty folder; ``results/exported/MODEL-DATASET`` by default.
            data: The folder of images, if the run was given one.
            data_dir: Folder with the images of registered data sets, in which they are looked for
                before that of the environment variable ``MEDBENCH_DATA``.
            datasets_file: A YAML file of more data sets.
            plugin: Python files that register models, sources or readers; one or several.
            **unknown: No other name is taken: the ``ConfigurationError`` proposes the closest one.

        Returns:
            Where it is, and how far its probabilities are from those of the original.

        Raises:
            ConfigurationError: A name is unknown, or the family has no such format.
            PluginError: A plugin cannot be loaded.
            DatasetError: The held-out images are not here.
            StoreError: As ``assessment``, its images are others now, or the folder is in use or
                cannot be written.
            ModelError: A model file was changed, or the exported model does not say the same.
            MachineError: This process is a fork of one that had imported MedBench.
        """
        arguments = {**locals()}
        from medbench.running.export import export

        return call(functools.partial(export, self.folder), ExportOptions, arguments)

    def reproduce(
        self,
        *,
        datasets: str | Iterable[str] | None = None,
        models: str | Iterable[str] | None = None,
        data: _Path | None = None,
        jobs: int = 1,
        threads: int | None = None,
        cell_time: str | float | None = None,
        cell_memory: str | int | None = None,
        out: _Path | None = None,
        weights_dir: _Path | None = None,
        data_dir: _Path | None = None,
        datasets_file: _Path | None = None,
        plugin: _Path | Iterable[_Path] = (),
        **unknown: Any,
    ) -> Reproduction:
        """Run finished cells again, and see whether they give the same predictions.

        This is ``python -m medbench reproduce``.

        Args:
            datasets: Only these data sets of the run; one or several.
            models: Only these model families; one or several. ``"onnx:PATH"`` names one by the
                ONNX file that it starts from, which is needed to learn again.
            data: The folder of images, if the run was given one.
            jobs: Number of cells that run at a time.
            threads: Number of threads of each cell; as in the run by default.
            cell_time: Wall seconds, or a text as ``"30m"``, after which a cell is ended; by default
                a number that follows from the budget.
            cell_memory: Bytes, or a text as ``"4GB"``, above which a cell is ended (Linux only); by
                default a share of the machine's memory.
            out: A folder where the new run is kept; nowhere by default.
            weights_dir: Folder with pretrained weights, in place of that of the environment
                variable ``MEDBENCH_WEIGHTS``.
            data_dir: Folder with the images of registered data sets, in which they are looked for
                before that of the environment variable ``MEDBENCH_DATA``.
            datasets_file: A YAML file of more data sets.
            plugin: Python files that register models, sources, readers or tuners; one or several.
            **unknown: No other name is taken: the ``ConfigurationError`` proposes the closest one.

        Returns:
            Whether all is the ``same``; else which ``inputs`` differ, so that nothing was run, or
            why ``cells`` gave other predictions.

        Raises:
            ConfigurationError: A value cannot be, a data set of the run is not registered, the file
                of a backbone is not given, or ``out`` is the run itself.
            ModelError: The file of a backbone cannot be used.
            PluginError: A plugin cannot be loaded.
            DatasetError: The images of a data set cannot be used as they are.
            StoreError: The run is damaged or has no such cell, its images cannot be read or are
                divided otherwise now, or ``out`` is in use or cannot be written.
            MachineError: There is no disk or memory, or this process is a fork of one that had
                imported MedBench.
        """
        arguments = {**locals()}
        from medbench.running.reproduce import reproduce

        return call(functools.partial(reproduce, self.folder), ReproduceOptions, arguments)

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


def load_run(path: _Path) -> Run:
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
