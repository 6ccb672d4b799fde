"""``medbench.run``: tune models on data sets under one equal budget and write a leaderboard."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from medbench.errors import MachineError, MedBenchError
from medbench.faults import is_fault, reason_of
from medbench.running.ask import asking
from medbench.running.call import call
from medbench.running.options import RunOptions
from medbench.running.wanted import wanted_of

if TYPE_CHECKING:
    from medbench.running.load import Run

_Path = str | os.PathLike[str]
_Words = str | Iterable[str]
_Seconds = str | float


def run(
    *,
    suite: _Path | None = None,
    data: _Path | None = None,
    datasets: _Words | None = None,
    models: _Words | None = None,
    no_sanity: bool = False,
    inflation: _Words = (),
    budget: str | None = None,
    trials: int | None = None,
    time: _Seconds | None = None,
    total_time: _Seconds | None = None,
    folds: int | None = None,
    seeds: int | None = None,
    seed: int | None = None,
    strict_split: bool = False,
    sensitivity: float | None = None,
    specificity: float | None = None,
    positive: str | None = None,
    tuner: str | None = None,
    jobs: int = 1,
    threads: int | None = None,
    executor: str | None = None,
    cell_time: _Seconds | None = None,
    cell_memory: str | int | None = None,
    retry: Literal["failed"] | None = None,
    dry_run: bool = False,
    out: _Path | None = None,
    data_dir: _Path | None = None,
    datasets_file: _Path | None = None,
    download: bool = False,
    weights_dir: _Path | None = None,
    plugin: _Path | Iterable[_Path] = (),
    images: bool | None = None,
    skip_unreadable: bool = False,
    fail_on_audit: bool | Literal["serious", "warning"] | None = None,
    **unknown: Any,
) -> Run:
    """Tune models on data sets under one equal budget, and write a leaderboard.

    This is ``python -m medbench run``, with its names, defaults and errors: ``--data-dir D`` is
    ``data_dir="D"``. An option that is None was not given. It prints what the command prints, in a
    notebook too. Each cell (data set x model x split) has a process of its own, which is no copy of
    this one: scripts need no main guard, and a kernel is not forked. After Ctrl-C, and after any
    error, what is finished stays in the run folder, and the same call goes on with it. A cell that
    fails is a row of the leaderboard and no error; see ``Run.failed``.

    Args:
        suite: A suite by name, or its YAML file; ``"demo"`` where no data set is named.
        data: A folder with one sub-folder of images per class, or a BIDS tree.
        datasets: Names of registered data sets; one or several.
        models: Names of model families, one or several, or ``"all"``; ``"onnx:PATH"`` is a backbone
            in an ONNX file (``docs/backbones.md``). None stands for those of the suite (else the
            core ones, with ``efficientnet-lite0`` in place of ``inceptionv3`` where only its
            weights can be had) and those of ``plugin``. Of two or more that are no sanity rows the
            row ``ensemble`` is made too.
        no_sanity: Leave out the sanity rows, but for those that ``models`` names.
        inflation: Models that also run with images split one by one, to show what copies and
            patients on both sides of a split would add.
        budget: What the search of each cell may use: ``"smoke"``, ``"quick"`` (the default),
            ``"standard"`` or ``"thorough"``; see ``medbench.tuning.budget.BUDGETS``.
        trials: Most configurations that a cell may try, at least 1, instead of ``budget``.
        time: Most wall seconds of a cell's search, above 0, as ``90`` or ``"2m"``, instead of
            ``budget``.
        total_time: Wall seconds of the whole run, as ``time``, divided over its cells.
        folds: Outer folds where there is no official split, at least 2; 5 by default.
        seeds: How often folds are drawn, or with how many seeds an official split runs, at least
            1; 1 by default.
        seed: Base seed, a whole number from 0; 0 by default.
        strict_split: Leave training images out whose patient is also in the official test part.
        sensitivity: Ask for an operating point of at least this sensitivity on development data,
            above 0 and up to 1; by default that of the highest Youden index.
        specificity: The same for the specificity; give one of them.
        positive: Name of the positive one of two classes, where one data set is named.
        tuner: ``"optuna"``, ``"keras-tuner"`` or ``"hyperband"``, for every family.
        jobs: Number of cells that run at a time.
        threads: Number of threads of each cell; all cores, divided by ``jobs``, by default.
        executor: ``"local"``, a process for each cell, or ``"inline"``: in this process, without a
            firewall, for debugging.
        cell_time: Wall seconds, as ``time``, after which a cell is ended; by default a number
            that follows from the budget.
        cell_memory: Bytes, or a text as ``"4GB"``, above which a cell is ended (Linux only); by
            default a share of the machine's memory.
        retry: ``"failed"`` to run cells again that failed; None to keep them as they are.
        dry_run: Print the plan and an estimate, and train nothing.
        out: The run folder; ``results/`` and the name of the suite or data sets by default.
        data_dir: Folder with the images of registered data sets, in which they are looked for
            before that of the environment variable ``MEDBENCH_DATA``.
        datasets_file: A YAML file of more data sets.
        download: Fetch data sets that are not here.
        weights_dir: Folder with pretrained weights, in place of that of the environment variable
            ``MEDBENCH_WEIGHTS``.
        plugin: Python files that register models, sources, readers or tuners; one or several.
        images: Whether the page and the run folder show images of patients; where None, as before
            in this run, else of data sets whose licence lets them be passed on.
        skip_unreadable: Leave unreadable images out, instead of stopping.
        fail_on_audit: ``"serious"`` (or True) to stop where the audit has a serious finding,
            ``"warning"`` where it has a warning or worse; None to go on.
        **unknown: No other name is taken: the ``ConfigurationError`` proposes the closest one.

    Returns:
        The run, as ``medbench.load_run`` gives it. With ``dry_run``, as far as it is there.

    Raises:
        ConfigurationError: A name or a value cannot be, or two contradict each other. The message
            is that of the command line, where ``data_dir`` is called ``--data-dir``.
        ModelError: The file of a backbone cannot be used.
        PluginError: A plugin cannot be loaded.
        DatasetError: The images of a data set cannot be used as they are; an ``UndecidedError``
            where only a person can tell what they mean, and nobody can be asked.
        AuditError: ``fail_on_audit`` has stopped it; nothing was trained or written.
        ProtocolError: The data cannot be split or the operating point not be reached as asked.
        StoreError: The run folder is in use, was begun with other settings, or cannot be written.
        MachineError: There is no disk or memory, or this process is a fork of one that had
            imported MedBench.
        OSError: The operating system refuses something else, such as a file of the cache.
    """
    return call(_run, RunOptions, locals())


def _run(options: RunOptions) -> Run:
    """As ``run``."""
    wanted = wanted_of(options)  # before all that training needs is imported
    try:
        from medbench.running.carry_out import carry_out

        # What is unclear of a data set is asked when nothing is shown any more, and all begins
        # again.
        return asking(wanted.catalog, lambda: carry_out(options, wanted))
    except Exception as error:
        if isinstance(error, MedBenchError | OSError) or not is_fault(error):
            raise  # told as it is, or a fault of ours
        raise MachineError(
            f"{reason_of(error)}. What is finished is kept: give the same command again when there "
            "is room for it.",
            options={"--jobs": "lets fewer cells run at a time"},
        ) from error
