"""Which family runs in place of a default one whose pretrained weights cannot be had."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from medbench.execution.requirements import why_unusable
from medbench.models.weights import Weights, find_either, find_weights


def settle(
    models: Sequence[str],
    stand_ins: Mapping[str, str],
    begun: Collection[str],
    *,
    weights_dir: Path | None,
    say: Callable[[str], None],
    download: bool,
) -> tuple[list[str], dict[str, Weights]]:
    """Choose between families and their stand-ins, the same for all data sets and starts of a run.

    Args:
        models: Names of families.
        stand_ins: By the name of a family, what runs in its place where its weights cannot be had.
            Both are called as their backbones.
        begun: Families of which the run has cells. One that is begun goes on, whatever can be had
            now, so that a run does not have both.
        weights_dir: As of ``find_weights``.
        say: As of ``find_weights``.
        download: As of ``find_weights``.

    Returns:
        The families that run, and by name the weights of those that were chosen.

    Raises:
        As ``find_weights``.
    """
    settled, found = list(models), {}
    for name, other in stand_ins.items():
        if name not in settled or name in begun or why_unusable(name):
            continue
        if other in begun:
            chosen, weights = other, find_weights(other, weights_dir, say, download=download)
            say(f"{other} goes on in place of {name}, as this run was begun.")
        else:
            chosen, weights = find_either(name, other, weights_dir, say, download=download)
        if chosen == other:
            because = f"in place of {name}, whose weights could not be had"
            weights = replace(weights, note=f"{weights.note}; {because}")
        settled[settled.index(name)] = chosen
        found[chosen] = weights
    return settled, found
