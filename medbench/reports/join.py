"""Several runs as one, so that they can be read as one leaderboard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medbench.errors import StoreError
from medbench.reports.describe import UNEQUAL
from medbench.store import CellId, CellResult, RunResult

_OF_THE_DATA = ("split", "n_folds")
"""Entries of ``dataset.json`` that must be equal for folds to be the same."""
_ModelOf = tuple[str, str]
"""A data set and a model."""


def join_runs(runs: Sequence[RunResult], folder: Path) -> RunResult:
    """Data sets and models of all runs in one result.

    A model that several runs have on one data set is shown once for each of them, as
    ``MODEL (RUN)``; sanity rows with the same predictions are kept once. Settings that differ are
    given with the run that each belongs to, and named in ``configuration["unequal"]``.

    Args:
        runs: At least one; of distinct folders.
        folder: What the result gives as its folder: where a report of it goes.

    Raises:
        StoreError: A folder is given twice, or a data set that runs share has other images,
            labels, groups or folds in one of them, so that its scores cannot stand in one table.
    """
    folders = [run.folder.resolve() for run in runs]
    if twice := [
        run.folder for run, one in zip(runs, folders, strict=True) if folders.count(one) > 1
    ]:
        raise StoreError(f"{twice[0]}: is given twice. Name each run once.")
    if len(runs) == 1:
        return replace(runs[0], folder=folder)
    names = _run_names(runs)
    _check_data(runs)
    unequal: list[str] = []
    configuration = _joined([run.configuration for run in runs], names, unequal)
    if unequal:
        configuration[UNEQUAL] = sorted(unequal)
    return RunResult(
        folder=folder,
        configuration=configuration,
        environment=_joined([run.environment for run in runs], names),
        datasets=_datasets(runs),
        audits={name: audit for run in reversed(runs) for name, audit in run.audits.items()},
        cells=tuple(sorted(_cells(runs, names), key=lambda cell: cell.id)),
        externals=tuple(one for run in runs for one in run.externals),
        images=_images(runs),
        gaps=tuple(
            f"{name}: {gap}" for run, name in zip(runs, names, strict=True) for gap in run.gaps
        ),
        unread=tuple(cell for run in runs for cell in run.unread),
        at_work=any(run.at_work for run in runs),
        hashed=all(run.hashed for run in runs),
    )


def _run_names(runs: Sequence[RunResult]) -> list[str]:
    """The name of each run's folder, with a number where folders share their name."""
    names: list[str] = []
    for run in runs:
        _add_distinct(run.folder.resolve().name, names)
    return names


def _add_distinct(name: str, names: list[str]) -> str:
    """Append a name, with a number if it is taken already; the name as it is now."""
    distinct, number = name, 1
    while distinct in names:
        number += 1
        distinct = f"{name} {number}"
    names.append(distinct)
    return distinct


def _check_data(runs: Sequence[RunResult]) -> None:
    """Make sure that data sets which runs share are the same and were split the same.

    Raises:
        StoreError: One is not.
    """
    first_with: dict[str, RunResult] = {}
    images: dict[tuple[str, str], frozenset[int]] = {}
    for run in runs:
        for name, record in run.datasets.items():
            first = first_with.setdefault(name, run)
            there = first.datasets[name]
            if record["fingerprint"] != there["fingerprint"]:
                raise StoreError(
                    f"data set {name!r} has other images, labels or groups in {run.folder} than in "
                    f"{first.folder}, so their scores cannot stand in one table. Run one of them "
                    "again, or report them one by one."
                )
            if any(record[entry] != there[entry] for entry in _OF_THE_DATA):
                _refuse_split(name, first, run)
        for cell in run.cells:
            if cell.predictions is None:
                continue
            held_out = frozenset(cell.predictions["image"].tolist())
            known = images.setdefault((cell.id.dataset, cell.id.split), held_out)
            if held_out != known:
                _refuse_split(cell.id.dataset, first_with[cell.id.dataset], run)


def _refuse_split(name: str, first: RunResult, run: RunResult) -> None:
    raise StoreError(
        f"data set {name!r} was split differently in {run.folder} than in {first.folder}, so their "
        "models were held against different images. Run one of them again with the same --folds, "
        "--seeds and --seed, or report them one by one."
    )


def _datasets(runs: Sequence[RunResult]) -> dict[str, Mapping[str, Any]]:
    """The description of each data set by the first run that has it."""
    found: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        for name, record in run.datasets.items():
            before = found.get(name)
            # a run with --inflation has folds by image that another need not have
            by_image_folds = max(
                one.get("n_folds_by_image") or 0 for one in (record, before or record)
            )
            found[name] = {**(before or record), "n_folds_by_image": by_image_folds}
    return found


def _images(runs: Sequence[RunResult]) -> bool | None:
    """Whether all runs show images: what one of them does not show is not shown."""
    said = {run.images for run in runs}
    return said.pop() if len(said) == 1 else False if False in said else None


def _cells(runs: Sequence[RunResult], names: Sequence[str]) -> Iterator[CellResult]:
    """All cells; those of a model that several runs have carry the name of their run."""
    shared, same = _shared(runs), _same_sanity_rows(runs)
    taken = [model for run in runs for model in {cell.id.model for cell in run.cells}]
    kept: dict[CellId, CellResult] = {}
    for run, name in zip(runs, names, strict=True):
        renamed: dict[str, str] = {}
        for cell in run.cells:
            one = (cell.id.dataset, cell.id.model)
            if one in same:
                before = kept.get(cell.id)
                if before is None or before.status != "ok":
                    kept[cell.id] = cell
            elif one in shared:
                model = cell.id.model
                if model not in renamed:
                    renamed[model] = _add_distinct(f"{model} ({name})", taken)
                yield replace(cell, id=replace(cell.id, model=renamed[model]))
            else:
                yield cell
    yield from kept.values()


def _shared(runs: Sequence[RunResult]) -> set[_ModelOf]:
    """Models that more than one run has, by data set, split by image or not."""
    counts = Counter(
        row
        for run in runs
        for row in {(cell.id.dataset, cell.id.model, cell.by_image) for cell in run.cells}
    )
    return {(dataset, model) for (dataset, model, _), n in counts.items() if n > 1}


def _same_sanity_rows(runs: Sequence[RunResult]) -> set[_ModelOf]:
    """Sanity rows whose predictions are the same wherever several runs have them."""
    first: dict[CellId, CellResult] = {}
    sanity: set[_ModelOf] = set()
    others: set[_ModelOf] = set()
    for run in runs:
        for cell in run.cells:
            one = (cell.id.dataset, cell.id.model)
            (sanity if cell.record.get("sanity") else others).add(one)
            if cell.predictions is None:
                continue
            before = first.setdefault(cell.id, cell)
            if not _same_predictions(before, cell):
                others.add(one)
    return sanity - others


def _same_predictions(one: CellResult, other: CellResult) -> bool:
    assert one.predictions is not None and other.predictions is not None
    return bool(one.predictions.equals(other.predictions))


def _joined(
    values: Sequence[Mapping[str, Any]], names: Sequence[str], unequal: list[str] | None = None
) -> dict[str, Any]:
    """Entries that are the same in all, and in words those that are not.

    Args:
        values: An object of each run.
        names: The names of the runs.
        unequal: Takes the names of the entries that differ.
    """
    joined: dict[str, Any] = {}
    for entry in dict.fromkeys(entry for value in values for entry in value):
        each: list[Any] = [value.get(entry) for value in values]
        if all(one == each[0] for one in each):
            joined[entry] = each[0]
        elif all(one is None or isinstance(one, Mapping) for one in each):
            joined[entry] = _joined([one or {} for one in each], names)
        else:
            joined[entry] = _in_words(each, names)
            if unequal is not None:
                unequal.append(entry)
    return joined


def _in_words(each: Sequence[Any], names: Sequence[str]) -> str:
    """Values that differ, each with the runs that have it."""
    runs_of: dict[str, list[str]] = {}
    for value, name in zip(each, names, strict=True):
        runs_of.setdefault("none" if value is None else str(value), []).append(name)
    words = [f"{value} ({', '.join(runs)})" for value, runs in runs_of.items()]
    return f"{', '.join(words[:-1])} and {words[-1]}, so not equal" if len(words) > 1 else words[0]
