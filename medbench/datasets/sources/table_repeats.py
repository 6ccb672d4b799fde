"""Rows of a table that name an image again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pandas as pd

from medbench.datasets.listing import KEPT
from medbench.errors import DatasetError, UndecidedError

_SHOWN = 3


def one_row_each(
    rows: pd.DataFrame, *, several: bool, table: str, rank: Mapping[str, int] | None = None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows with one for each image, in their order; and a note where there were more.

    Args:
        rows: ``name`` and ``path`` of each row's file, ``shown`` (the names of its classes, a
            tuple), ``group`` and ``split``; and columns that are kept.
        several: Whether an image may show several classes: then it shows those of all its rows.
        table: The table, for messages.
        rank: Where rows of one image have different labels, the one with the highest rank counts;
            None where a person must say what that means.

    Raises:
        UndecidedError: Rows of one image have different labels, and it may show but one.
        DatasetError: They have different patients or parts of the split, or differ in what is kept.
    """
    again = rows["path"].duplicated(keep=False)
    if not again.any():
        return rows, ()
    of_one = rows[again].groupby("path", sort=False)
    kept = [(c, f"{c.removeprefix(KEPT)!r}") for c in rows.columns if c.startswith(KEPT)]
    for column, what in (("group", "patients"), ("split", "parts of the split"), *kept):
        differ = of_one[column].unique().map(len) > 1
        if differ.any():
            first = rows.loc[rows["path"] == differ.idxmax()]
            raise DatasetError(
                f"{table}: {differ.sum()} files are named in rows with different {what}; first "
                f"{first['name'].iloc[0]!r}: {', '.join(map(repr, first[column].unique()))}. Keep "
                "one of the rows."
            )
    labels = of_one["shown"].agg(_union)
    note = f"{again.sum()} rows name {len(labels)} images, each of which counts once"
    differ = labels.map(len) > 1
    if rank is not None and differ.any():
        highest = max(rank, key=rank.__getitem__)
        labels = labels.map(lambda own: (max(own, key=rank.__getitem__),))
        note += (
            f"; {differ.sum()} of them have different labels in their rows, and are "
            f"{highest!r} where one row is"
            if len(rank) == 2
            else f"; of {differ.sum()} with different labels in their rows the highest counts"
        )
    elif not several and differ.any():
        together = Counter(" and ".join(map(repr, sorted(own))) for own in labels[differ])
        counts = "; ".join(f"{pair} {n}" for pair, n in together.most_common(_SHOWN))
        name = rows.loc[rows["path"] == differ.idxmax(), "name"].iloc[0]
        raise UndecidedError(
            f"{table}: {differ.sum()} files have different labels in several rows ({counts}); "
            f"{name!r} is named in two rows or more. Keep one row of each, if an image has one "
            "label; if one positive row makes an image positive, say so with repeats: positive "
            "(--repeats of datasets add, with --positive of datasets add).",
            field="task",
            choices={"multi-label": "an image shows the classes of all its rows"},
        )
    once = rows.drop_duplicates("path").copy()
    once["shown"] = [
        labels[path] if path in labels.index else own
        for path, own in zip(once["path"], once["shown"], strict=True)
    ]
    return once, (note,)


def _union(shown: pd.Series) -> tuple[str, ...]:
    """All classes that several rows name, each once."""
    return tuple(dict.fromkeys(name for own in shown for name in own))
