"""A sheet with a few images of each class of a data set, as it was listed: is it what was meant?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from medbench.atomic_files import replacing_file, writing
from medbench.datasets.decode import Picture, read_slice
from medbench.datasets.listing import Listing
from medbench.datasets.readers import open_image
from medbench.datasets.task import labels_in, membership
from medbench.errors import DatasetError
from medbench.reports.sheet_drawing import (
    FAINT,
    INK,
    PAPER,
    THUMBNAIL,
    fit_line,
    load_font,
    thumbnail_of,
)

_EACH, _MOST_CLASSES = 8, 20
"""Images of a class, and classes, that are shown."""
_GAP, _MARGIN, _LINE = 12, 20, 18
"""Between two images, around all, and of a line of text; in pixels."""
_NOT_READ = "cannot be read"


def write_sample_sheet(name: str, listing: Listing, path: Path) -> None:
    """Draw some images of each class, those that stand evenly apart in the listing, as a PNG.

    Args:
        name: Of the data set.
        listing: Its images, none of them decoded yet.
        path: Where the PNG goes; its folder is made.

    Raises:
        StoreError: The file cannot be written.
    """
    shown = membership(labels_in(listing.table), len(listing.classes))
    classes = list(range(min(len(listing.classes), _MOST_CLASSES)))
    row_height = THUMBNAIL + 2 * _LINE + _GAP
    width = 2 * _MARGIN + _EACH * (THUMBNAIL + _GAP) - _GAP
    page = Image.new("RGB", (width, 2 * _MARGIN + 2 * _LINE + len(classes) * row_height), PAPER)
    pen = ImageDraw.Draw(page)
    bold, small = load_font("bold", 14), load_font("normal", 12)
    left_out = len(listing.classes) - len(classes)
    more = f"; {left_out} more classes are not shown" if left_out else ""
    title = f"{name}: {len(listing.table):,} images{more}"
    pen.text((_MARGIN, _MARGIN), fit_line(title, bold, width - 2 * _MARGIN), font=bold, fill=INK)
    for number, k in enumerate(classes):
        top = _MARGIN + 2 * _LINE + number * row_height
        rows = np.flatnonzero(shown[:, k])
        heading = fit_line(f"{listing.classes[k]}: {len(rows):,}", bold, width - 2 * _MARGIN)
        pen.text((_MARGIN, top), heading, font=bold, fill=INK)
        for place, row in enumerate(_spread(rows.tolist())):
            left = _MARGIN + place * (THUMBNAIL + _GAP)
            picture = _picture(listing, row)
            if picture is None:
                pen.text((left, top + _LINE + THUMBNAIL // 2), _NOT_READ, font=small, fill=FAINT)
            else:
                page.paste(thumbnail_of(picture.pixels), (left, top + _LINE))
    with writing(path), replacing_file(path) as temporary:
        page.save(temporary, format="PNG", optimize=True)


def _spread(rows: Sequence[int]) -> list[int]:
    """Some of the rows, evenly apart."""
    places = np.linspace(0, len(rows) - 1, min(len(rows), _EACH)).astype(int)
    return [rows[place] for place in places]


def _picture(listing: Listing, row: int) -> Picture | None:
    """The image of a row at full size; None where it cannot be read."""
    image = listing.table.iloc[row]
    try:
        opened = open_image(listing.read(row), origin=str(image["origin"]))
        return read_slice(opened, int(image["slice"]))
    except (OSError, DatasetError):
        return None
