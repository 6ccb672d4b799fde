"""Images on the page: a few of each class, and where the chosen model was most surely wrong.

They are cut out of the prepared data set while it is there, right after a run, and kept in the run
folder as thumbnails, so that the page can be made again without the data.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medbench.atomic_files import read_json, write_bytes, writing
from medbench.errors import StoreError
from medbench.opening import PICTURE, open_regular, read_regular
from medbench.reports.assessment import DatasetAssessment
from medbench.reports.predictions import fold_predictions
from medbench.reports.winner import winner
from medbench.store import RunLayout, RunResult, seals

SAMPLES_OF_A_CLASS = 4
MOST_CLASSES = 12
"""Classes of which samples are shown; of more, the first ones."""
MOST_WRONG = 8
_SIDE = 112
"""Longest side of a thumbnail in pixels."""
_QUALITY = 70
_SHEET_WIDTH = 960
_MOST_SHEET_BYTES = 150_000


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One thumbnail."""

    uri: str
    """``data:`` address of a WebP image."""
    caption: str
    """As stored: escape it."""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Those of one data set."""

    samples: tuple[Picture, ...]
    wrong: tuple[Picture, ...]


def may_be_shown(record: Mapping[str, Any], images: bool | None) -> bool:
    """Whether images of a data set go onto the page and their pictures into a run folder.

    Args:
        record: ``dataset.json``.
        images: What was said; None leaves it to the licence, as far as that is known.
    """
    return record.get("redistributable") is True if images is None else images


def wanted_rows(run: RunResult, dataset: DatasetAssessment, labels: NDArray[np.int64]) -> list[int]:
    """Row numbers of the images that the page shows of a data set, each once."""
    samples = [row for _, row in _samples(dataset, labels)]
    return list(dict.fromkeys([*samples, *(one.row for one in most_wrong(run, dataset))]))


def keep_pictures(
    run: RunResult, dataset: DatasetAssessment, images: Any, labels: NDArray[np.int64]
) -> None:
    """Write the thumbnails that the page needs into the run folder; others that are there go.

    Args:
        run: The run; thumbnails go below its folder.
        dataset: The data set, assessed.
        images: uint8, shape (n_images, height, width, channels), read as they are needed.
        labels: Labels of all images; see ``LabelledBatch``.

    Raises:
        StoreError: The folder cannot be written.
    """
    files = RunLayout(run.folder).dataset(dataset.name)
    wanted = {files.thumbnail(row): row for row in wanted_rows(run, dataset, labels)}
    before = _record(files.samples) or {}
    for path, row in wanted.items():
        if not path.exists() or not seals.is_same(before, path.name, path):
            write_bytes(path, _thumbnail(np.asarray(images[row])))
    samples = [[k, row] for k, row in _samples(dataset, labels)]
    shown = {path.name: path for path in wanted}
    seals.write_record(files.samples, {"samples": samples}, shown)
    for path in files.pictures.iterdir():
        if path not in wanted and path != files.samples:
            with writing(path):
                path.unlink()


def read_pictures(run: RunResult, dataset: DatasetAssessment, folder: Path) -> Pictures | None:
    """What ``keep_pictures`` left in a run folder; None where there is nothing."""
    kept = RunLayout(folder).dataset(dataset.name)
    if not kept.samples.is_file():
        return None
    record = _record(kept.samples)
    if record is None:
        return None  # damaged: the page says that there are no pictures

    def sound(row: int) -> Path | None:
        path = kept.thumbnail(row)
        return path if path.is_file() and seals.is_same(record, path.name, path) else None

    classes = dataset.record["classes"]
    try:
        samples = [(int(k), sound(int(row))) for k, row in record["samples"]]
        shown = [_picture(path, str(classes[k])) for k, path in samples if path is not None]
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return None
    wrong = [(sound(one.row), one.caption(classes)) for one in most_wrong(run, dataset)]
    known = tuple(_picture(path, caption) for path, caption in wrong if path is not None)
    return Pictures(samples=tuple(shown), wrong=known)


def _record(path: Path) -> dict[str, Any] | None:
    """Which thumbnails show which class; None where that is damaged."""
    try:
        found = read_json(path)
    except StoreError:
        return None
    return found if isinstance(found, dict) and seals.holds(found, required=False) else None


def copies_sheet(path: Path) -> str:
    """The picture of copies (see ``medbench.reports.contact_sheet``) as a ``data:`` address."""
    try:
        with open_regular(path, PICTURE) as file, Image.open(file) as sheet:
            sheet.load()
            picture = sheet.convert("RGB")
    except OSError:
        return ""
    if picture.width > _SHEET_WIDTH:
        picture = picture.resize(
            (_SHEET_WIDTH, max(1, round(picture.height * _SHEET_WIDTH / picture.width)))
        )
    for quality in (_QUALITY, 40, 20):
        content = _webp(picture, quality)
        if len(content) <= _MOST_SHEET_BYTES:
            return _uri(content)
    return ""


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """A held-out image that a model was sure of, wrongly."""

    row: int
    true: int
    decided: int
    """The most probable class, wherever the operating point lies."""
    probability: float

    def caption(self, classes: Sequence[Any]) -> str:
        """What it is and what the model took it for."""
        return (
            f"is {classes[self.true]}, but {classes[self.decided]} "
            f"with a probability of {self.probability:.2f}"
        )


def most_wrong(run: RunResult, dataset: DatasetAssessment) -> list[Wrong]:
    """Held-out images of the chosen model by falling probability of a wrong class.

    Of repeats only the first is looked at; of several labels an image there are none.
    """
    best = winner(dataset, run)
    if best is None or dataset.record["task"] == "multi-label":
        return []
    found: list[Wrong] = []
    seen: set[int] = set()
    for cell in run.cells_of(dataset.name, best.name):
        if cell.predictions is None or cell.repeat:
            continue
        fold = fold_predictions(cell, dataset.record)
        rows = cell.predictions["image"].to_numpy(np.int64)
        others = fold.probabilities.copy()
        others[np.arange(len(rows)), fold.labels] = -1
        decided = others.argmax(axis=1)
        sure = others.max(axis=1)
        wrong = sure > fold.probabilities[np.arange(len(rows)), fold.labels]
        for i in np.flatnonzero(wrong):
            if int(rows[i]) not in seen:
                seen.add(int(rows[i]))
                found.append(
                    Wrong(
                        row=int(rows[i]),
                        true=int(fold.labels[i]),
                        decided=int(decided[i]),
                        probability=float(sure[i]),
                    )
                )
    found.sort(key=lambda one: (-one.probability, one.row))
    return found[:MOST_WRONG]


def _samples(dataset: DatasetAssessment, labels: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Class and row number of images spread evenly over each class."""
    found = []
    for k in range(min(len(dataset.record["classes"]), MOST_CLASSES)):
        rows = np.flatnonzero(labels == k if labels.ndim == 1 else labels[:, k] == 1)
        positions = np.unique(np.linspace(0, len(rows) - 1, SAMPLES_OF_A_CLASS).astype(int))
        found += [(k, int(row)) for row in rows[positions]] if len(rows) else []
    return found


def _thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    image = Image.fromarray(
        np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    )
    factor = _SIDE / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    kind = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS
    return _webp(image.resize(size, kind).convert("RGB"), _QUALITY)


def _webp(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", quality=quality)
    return buffer.getvalue()


def _picture(path: Path, caption: str) -> Picture:
    return Picture(uri=_uri(read_regular(path, PICTURE)), caption=caption)


def _uri(content: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(content).decode()}"
