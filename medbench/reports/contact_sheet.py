"""A sheet of thumbnails that shows which images of a data set are copies of each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from medbench.atomic_files import replacing_file, writing
from medbench.datasets.copies import Copies, label_key
from medbench.datasets.prepared import PreparedDataset
from medbench.reports.sheet_drawing import (
    FAINT,
    INK,
    PAPER,
    THUMBNAIL,
    fit_line,
    load_font,
    thumbnail_of,
)

_IN_A_ROW = 6
"""Thumbnails that stand side by side, and most that a group shows."""
_CELL = 152
"""Side of the space that a thumbnail has, in pixels, as all lengths here."""
_PADDING, _GAP, _MARGIN = 8, 12, 20
_HEADING, _LINE = 24, 17
_LINES = 3
"""Below a thumbnail: class, part and row, relation to the others."""
_TITLE = 74
_HOW_TO_READ = (
    "= : equal pixels.  bits: how many of the 256 of their perceptual hashes differ.  "
    "row: number of the image in the data set, from 0."
)
_PARTS = ("train", "val", "test")
_CARD, _CONFLICT, _ACROSS = "#f2f4f7", "#b3261e", "#9a5b00"


@dataclass(frozen=True, kw_only=True)
class DuplicateGroup:
    """Images that are copies of each other, directly or by way of others."""

    rows: tuple[int, ...]
    """Row numbers, those that show most of what is wrong first."""
    conflict: bool
    """They carry different labels."""
    parts: tuple[str, ...]
    """Parts of the official split they are in; empty where there is none."""
    identical: bool
    """All have the same pixels."""
    distance: int
    """Largest hash distance of a pair in it, in bits of 256; 0 for identical images."""
    joined: bool
    """False for a pair that is not kept together, as too many would be."""


def duplicate_groups(dataset: PreparedDataset) -> list[DuplicateGroup]:
    """The groups of identical and near-identical images, those to look at first in front.

    Different labels come first, then different parts of an official split, then the largest
    distance; pairs that were not joined come last.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    copies = Copies.of(dataset)
    n = int(copies.content.max(initial=-1)) + 1
    edges = (np.ones(len(copies.first), np.int8), (copies.first, copies.second))
    component = connected_components(coo_array(edges, shape=(n, n)), directed=False)[1]
    near = dataset.near_pairs
    joined = near["joined"].to_numpy(bool)
    distance = np.zeros(n, np.int64)
    np.maximum.at(distance, component[copies.first], near.loc[joined, "distance"].to_numpy())
    frame = pd.DataFrame(
        {
            "row": np.arange(len(dataset.table)),
            "group": component[copies.content],
            "content": copies.content,
            "label": label_key(dataset),
            "part": dataset.table["split"].to_numpy(str),
        }
    )
    stopped = near[~joined]
    ends = frame.iloc[stopped[["first", "second"]].to_numpy(np.int64).ravel()]
    frame = pd.concat(
        [
            frame[frame["group"].duplicated(keep=False)],
            ends.assign(group=n + np.repeat(np.arange(len(stopped)), 2)),
        ]
    )
    frame["seen"] = frame.duplicated(["group", "label", "part"])
    frame["copy"] = frame.duplicated(["group", "content"])
    frame = frame.sort_values(["group", "seen", "copy"], kind="stable")
    distance = np.concatenate([distance, stopped["distance"].to_numpy(np.int64)])
    starts = np.flatnonzero(~frame["group"].duplicated().to_numpy())
    columns = [
        np.split(frame[name].to_numpy(), starts[1:])
        for name in ("row", "group", "content", "label", "part")
    ]
    groups = [
        DuplicateGroup(
            rows=tuple(rows.tolist()),
            conflict=len(set(labels.tolist())) > 1,
            parts=tuple(part for part in _PARTS if part in parts.tolist()),
            identical=len(set(contents.tolist())) == 1,
            distance=int(distance[numbers[0]]),
            joined=bool(numbers[0] < n),
        )
        for rows, numbers, contents, labels, parts in zip(*columns, strict=True)
        if len(rows)  # where nothing is alike, the one piece is empty
    ]
    return sorted(groups, key=_order)


def _order(group: DuplicateGroup) -> tuple[bool | int, ...]:
    """What is to be looked at first comes first."""
    one_part = len(group.parts) < 2
    distance = -group.distance
    return (
        not group.joined,
        not group.conflict,
        one_part,
        distance,
        group.identical,
        min(group.rows),
    )


def write_contact_sheet(dataset: PreparedDataset, path: Path, most: int = 24) -> bool:
    """Draw the groups of duplicates of a data set as a PNG.

    Args:
        dataset: Prepared images with their near-identical pairs.
        path: Where the PNG goes; its folder is made.
        most: Most groups that are drawn; the title says how many there are.

    Returns:
        Whether there was anything to draw; if not, nothing is written.

    Raises:
        StoreError: The file cannot be written.
    """
    groups = duplicate_groups(dataset)
    if not groups:
        return False
    with writing(path), replacing_file(path) as temporary:
        _Sheet(dataset, groups, most).drawn().save(temporary, format="PNG", optimize=True)
    return True


class _Sheet:
    """One page: a title, and below it the groups as cards in rows."""

    def __init__(
        self, dataset: PreparedDataset, groups: Sequence[DuplicateGroup], most: int
    ) -> None:
        self._dataset = dataset
        self._groups = groups
        self._shown = groups[:most]
        self._bold, self._title = load_font("bold", 13), load_font("bold", 18)
        self._small = load_font("normal", 12)
        self._class_of = _class_names(dataset)
        near = dataset.near_pairs
        content = Copies.of(dataset).content
        first, second = content[near["first"].to_numpy()], content[near["second"].to_numpy()]
        self._content = content
        self._distance = dict(
            zip(zip(first.tolist(), second.tolist(), strict=True), near["distance"], strict=True)
        )

    def drawn(self) -> Image.Image:
        """The page."""
        # the widest row is of three pairs: three cards and the gaps between them
        width = 2 * _MARGIN + _IN_A_ROW * _CELL + _IN_A_ROW * _PADDING + 2 * _GAP
        rows = list(_in_rows(self._shown))
        card_height = _HEADING + THUMBNAIL + _LINES * _LINE + 2 * _PADDING
        height = 2 * _MARGIN + _TITLE + len(rows) * (card_height + _GAP)
        page = Image.new("RGB", (width, height), PAPER)
        self._pen = ImageDraw.Draw(page)
        self._write_title(width - 2 * _MARGIN)
        for index, row in enumerate(rows):
            left, top = _MARGIN, _MARGIN + _TITLE + index * (card_height + _GAP)
            for group in row:
                columns = min(len(group.rows), _IN_A_ROW)
                card_width = columns * _CELL + 2 * _PADDING
                box = (left, top, left + card_width - 1, top + card_height - 1)
                self._pen.rounded_rectangle(box, radius=6, fill=_CARD)
                self._draw(page, group, left + _PADDING, top + _PADDING, card_width - 2 * _PADDING)
                left += card_width + _GAP
        return page

    def _write_title(self, width: int) -> None:
        joined = sum(group.joined for group in self._groups)
        title = (
            f"{joined:,} group{'' if joined == 1 else 's'} of identical or near-identical images"
        )
        if apart := len(self._groups) - joined:
            title += f", and {apart:,} pair{'' if apart == 1 else 's'} not joined"
        shown = (
            "all shown" if len(self._shown) == len(self._groups) else f"{len(self._shown)} shown"
        )
        self._write(f"{title}; {shown}", _MARGIN, _MARGIN, width, self._title)
        source = self._dataset.source
        about = f"{self._dataset.name}: {source.title}" if source.title else self._dataset.name
        self._write(about, _MARGIN, _MARGIN + 26, width, self._small, FAINT)
        self._write(_HOW_TO_READ, _MARGIN, _MARGIN + 43, width, self._small, FAINT)

    def _draw(
        self, page: Image.Image, group: DuplicateGroup, left: int, top: int, width: int
    ) -> None:
        heading, colour = _heading(group)
        self._write(heading, left + 6, top, width - 6, self._bold, colour)
        for position, row in enumerate(group.rows[:_IN_A_ROW]):
            x = left + position * _CELL + (_CELL - THUMBNAIL) // 2
            thumbnail = thumbnail_of(self._dataset.images[row])
            middle = (THUMBNAIL - thumbnail.width) // 2, (THUMBNAIL - thumbnail.height) // 2
            page.paste(thumbnail, (x + middle[0], top + _HEADING + middle[1]))
            part = str(self._dataset.table["split"].iat[row])
            lines = (
                self._class_of(row),
                f"{part}, row {row}" if part else f"row {row}",
                self._relation(row, group.rows[:position]),
            )
            for number, line in enumerate(lines):
                y = top + _HEADING + THUMBNAIL + 4 + number * _LINE
                self._write(line, x, y, THUMBNAIL, self._small, FAINT if number else INK)

    def _relation(self, row: int, before: Sequence[int]) -> str:
        """How an image is like one that stands to its left."""
        if not before:
            return ""
        bits, nearest = min(
            (self._between(row, other), position) for position, other in enumerate(before)
        )
        name = f"row {before[nearest]}"
        if bits < 0:
            return f"= {name}"
        return f"{bits:.0f} bits to {name}" if np.isfinite(bits) else "like one not shown"

    def _between(self, row: int, other: int) -> float:
        """Bits between two images; below 0 where they are identical, infinite where not alike."""
        one, two = int(self._content[row]), int(self._content[other])
        if one == two:
            return -1.0
        found = self._distance.get((one, two), self._distance.get((two, one)))
        return float("inf") if found is None else float(found)

    def _write(self, text: str, x: int, y: int, width: int, font: Any, colour: str = INK) -> None:
        self._pen.text((x, y), fit_line(text, font, width), font=font, fill=colour)


def _in_rows(groups: Sequence[DuplicateGroup]) -> Iterator[list[DuplicateGroup]]:
    """Groups in their order, in rows of at most six thumbnails."""
    row: list[DuplicateGroup] = []
    taken = 0
    for group in groups:
        columns = min(len(group.rows), _IN_A_ROW)
        if row and taken + columns > _IN_A_ROW:
            yield row
            row, taken = [], 0
        row.append(group)
        taken += columns
    if row:
        yield row


def _heading(group: DuplicateGroup) -> tuple[str, str]:
    """What is to be seen in a group, the worst first, and its colour."""
    said = []
    if group.conflict:
        said.append("different labels")
    if len(group.parts) > 1:
        said.append(f"in {' and '.join(group.parts)}")
    if not group.joined:
        said.append("not joined")
    elif not said:
        near = f"up to {group.distance} bits apart" if group.distance else "near-identical"
        said.append("identical" if group.identical else near)
    if len(group.rows) > _IN_A_ROW:
        said.append(f"{len(group.rows):,} images, {_IN_A_ROW} shown")
    text = ", ".join(said)
    colour = _CONFLICT if group.conflict else _ACROSS if len(group.parts) > 1 else INK
    return text[0].upper() + text[1:], colour


def _class_names(dataset: PreparedDataset) -> Callable[[int], str]:
    """A function from an image's row to the names of its classes."""
    labels, classes = dataset.labels, dataset.task.classes

    def of(row: int) -> str:
        if labels.ndim == 1:
            return str(classes[labels[row]])
        return " + ".join(classes[k] for k in np.flatnonzero(labels[row])) or "no label"

    return of
