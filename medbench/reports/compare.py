"""Two runs on the same data, model by model, on the same held-out patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medbench.errors import ProtocolError, StoreError
from medbench.evaluation.comparisons import Difference, paired_difference
from medbench.evaluation.intervals import mean_auroc
from medbench.reports.budgets import cut_of
from medbench.reports.predictions import fold_predictions
from medbench.reports.text import format_interval, format_score, plain, without_paths
from medbench.store import CellResult, RunResult

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, kw_only=True)
class Change:
    """What became of one model on one data set from one run to the other."""

    dataset: str
    model: str
    before: float
    """AUROC in the first run."""
    after: float
    """AUROC in the second."""
    difference: Difference | None
    """Second minus first; None where ``words`` says why it has no interval."""
    words: str
    """What it amounts to."""
    differing: tuple[str, ...]
    """Inputs in which the keys of the two differ, such as ``budget`` or ``source``."""


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """Two runs held against each other."""

    changes: tuple[Change, ...]
    notes: tuple[str, ...]
    """What could not be compared, and why."""


def compare_runs(first: RunResult, second: RunResult) -> RunComparison:
    """Compare the models that two runs have in common, paired on the same images and folds.

    Raises:
        StoreError: The runs share no data set, or a data set that they share has other images,
            labels or groups in one of them.
    """
    shared = [name for name in first.datasets if name in second.datasets]
    if not shared:
        raise StoreError(
            f"{first.folder} and {second.folder} have no data set in common "
            f"({', '.join(first.datasets) or 'none'}; {', '.join(second.datasets) or 'none'})."
        )
    changes: list[Change] = []
    notes = [f"{run.folder.name}: {gap}" for run in (first, second) for gap in run.gaps]
    for name in shared:
        record = first.datasets[name]
        if record["fingerprint"] != second.datasets[name]["fingerprint"]:
            raise StoreError(
                f"data set {name!r} has other images, labels or groups in {second.folder} than in "
                f"{first.folder}, so their scores cannot be paired. Run one of them again."
            )
        one, other = _finished(first, name), _finished(second, name)
        for model in sorted({*one, *other}):
            if model not in one or model not in other:
                where = first.folder if model in one else second.folder
                notes.append(f"{name}: {model} is finished in {where} only")
                continue
            change = _change(name, model, record, one[model], other[model])
            if isinstance(change, str):
                notes.append(change)
            else:
                changes.append(change)
    return RunComparison(changes=tuple(changes), notes=tuple(notes))


def _finished(run: RunResult, dataset: str) -> dict[str, list[CellResult]]:
    """Finished cells of a data set by model, in the order of their splits."""
    found: dict[str, list[CellResult]] = {}
    for cell in run.cells_of(dataset):
        found.setdefault(cell.id.model, []).append(cell)
    return found


def _change(
    dataset: str,
    model: str,
    record: Mapping[str, Any],
    before: Sequence[CellResult],
    after: Sequence[CellResult],
) -> Change | str:
    """How a model changed; a text where its cells do not fit each other."""
    splits = [[cell.id.split for cell in cells] for cells in (before, after)]
    if splits[0] != splits[1] or any(
        not one.predictions["image"].equals(other.predictions["image"])
        for one, other in zip(before, after, strict=True)
        if one.predictions is not None and other.predictions is not None
    ):
        return (
            f"{dataset}: {model} was held against other folds in one of the runs; only equal folds "
            "can be paired (finish both, each run with the same --folds, --seeds and --seed)"
        )
    n_classes = len(record["classes"])
    one, other = ([fold_predictions(cell, record) for cell in cells] for cells in (before, after))
    differing = sorted({part for a, b in zip(before, after, strict=True) for part in parts(a, b)})
    difference, words = None, "identical predictions"
    ended = [named for named, cells in (("first", before), ("second", after)) if cut_of(cells)]
    if ended:
        # how far a budget let a fit come says nothing of the model
        words = f"cut by its budget in the {' and the '.join(ended)}: not compared"
    elif any((a.probabilities != b.probabilities).any() for a, b in zip(one, other, strict=True)):
        try:
            difference = paired_difference(other, one, n_classes, names=("second", "first"))
            words = _words(difference)
        except ProtocolError as error:
            words = str(error)
    return Change(
        dataset=dataset,
        model=model,
        before=mean_auroc(one, n_classes),
        after=mean_auroc(other, n_classes),
        difference=difference,
        words=words,
        differing=tuple(differing),
    )


def parts(one: CellResult, other: CellResult) -> list[str]:
    """Names of the inputs in which the keys of two cells differ."""
    first, second = one.key_parts, other.key_parts
    return [name for name in {**first, **second} if first.get(name) != second.get(name)]


def _words(difference: Difference) -> str:
    return {
        "ahead": "the second is ahead",
        "behind": "the second is behind",
        "neither": "neither is ahead",
    }[difference.standing]


def print_comparison(found: RunComparison, console: Console) -> None:
    """Print a table a data set, within 80 columns, and what could not be compared."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    for dataset in dict.fromkeys(change.dataset for change in found.changes):
        console.print(Text(plain(dataset), style="bold"))
        grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for title in ("model", "first", "second", "second - first (95% CI)", ""):
            grid.add_column(title, overflow="fold")
        changes = [change for change in found.changes if change.dataset == dataset]
        for change in changes:
            one = change.difference
            bounds = "-" if one is None else format_interval(one.difference, one.low, one.high)
            scores = (format_score(change.before), format_score(change.after))
            words = plain(without_paths(change.words))
            row = (plain(change.model), *scores, bounds, words)
            grid.add_row(*(Text(text) for text in row))
        console.print(grid)
        differing = dict.fromkeys(part for change in changes for part in change.differing)
        said = ", ".join(differing) or "nothing: the keys are the same"
        console.print(Text(f"What differs between the runs: {said}."))
        console.print()
    for note in found.notes:
        console.print(Text(plain(without_paths(note)), style="yellow"))
    if found.changes:
        console.print(
            "Differences are paired on the same patients; each interval stands for itself, so with "
            "many models one in twenty may miss 0 by chance.",
        )
