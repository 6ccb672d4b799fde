"""Guesses which images of a BIDS tree are meant, and which column is their label."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medbench.datasets.sources.bids_choice import choose
from medbench.datasets.sources.bids_labels import label_column
from medbench.datasets.sources.bids_tree import BidsTree
from medbench.errors import DatasetError

_FIELDS = ("label", "suffix", "where", "spelling")
"""Fields that a person may name."""


def detect_bids(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """The entry that describes a BIDS tree.

    Args:
        path: Its folder.
        given: Fields that a person names.

    Raises:
        UndecidedError: Several kinds of images, or several columns, may be meant.
        DatasetError: There are no images, no column is the label, or a field is not of such trees.
    """
    if other := [field for field in given if field not in _FIELDS]:
        raise DatasetError(
            f"{path}: is a BIDS tree, and --{other[0]} is not for those. Options for them are "
            f"{', '.join(f'--{field}' for field in _FIELDS)}."
        )
    tree = BidsTree(path)
    suffix = choose(tree, given.get("where", {}), given.get("suffix")).suffix
    label = label_column(tree, given.get("label")).column
    entry = {"source": "bids", "path": str(path), "label": label, "suffix": suffix}
    return entry | {field: given[field] for field in ("where", "spelling") if field in given}
