"""An archive of arrays as MedMNIST has it: {train,val,test}_{images,labels}, split officially."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench.datasets.listing import Listing
from medbench.datasets.sources.archive import ImageReader, NpzArchive
from medbench.datasets.sources.base import Source
from medbench.datasets.sources.files import file_signature
from medbench.datasets.task import label_frame
from medbench.errors import DatasetError

PARTS = ("train", "val", "test")
_LARGEST_LABEL = 1_000_000
_WHITE = 255
_LISTED = 3
"""Images named in an error; more are counted."""


class NpzSource(Source):
    """uint8 images (n, h, w) or (n, h, w, 3) and whole-number labels (n,) or (n, 1).

    With ``task: multi-label`` the labels are 0 or 1 for each class, (n, classes).
    """

    source: str = "npz"
    path: str
    classes: tuple[str, ...] | None = None
    """Class names in the order of the labels; default the numbers themselves."""
    task: Literal["multi-class", "ordinal", "multi-label"] = "multi-class"  # type: ignore[assignment]

    def list_images(self, found: Mapping[str, Path]) -> Listing:
        """Every image, train before val before test; pixels are read one image at a time."""
        path = found["path"]
        self.check_file(path)
        archive = NpzArchive(path)
        parts = [part for part in PARTS if part != "val" or "val_images" in archive.headers]
        for part in parts:
            _check_part(archive, part)
        read = [self._labels(archive, part) for part in parts]
        widths = {labels.shape[1:] for labels in read}
        if len(widths) > 1:
            raise DatasetError(f"{path}: the labels of its parts have different widths.")
        labels = np.concatenate(read)
        classes = self._classes(path, labels)
        origins = [
            f"{part}/{i}" for part, own in zip(parts, read, strict=True) for i in range(len(own))
        ]
        names = pd.DataFrame({"origin": origins, "slice": 1})
        table = pd.concat([names, label_frame(labels)], axis=1)
        return Listing(
            classes=classes,
            table=table.assign(group="", split=[origin.split("/")[0] for origin in origins]),
            read=ImageReader(archive, [f"{part}_images" for part in parts]),
            signature=file_signature([path]),
            kind=self.task,
        )

    def check_file(self, path: Path) -> None:
        """Make sure that the file is sound before anything is taken out of it.

        Raises:
            DatasetError: It is damaged.
        """
        NpzArchive(path).check_content()

    def _labels(self, archive: NpzArchive, part: str) -> NDArray[np.int64]:
        """Labels of a part; see ``LabelledBatch``."""
        name = f"{part}_labels"
        labels: NDArray[Any] = archive.array(name)
        several = labels.ndim == 2 and labels.shape[1] > 1
        if labels.ndim not in (1, 2) or labels.shape[1:] == (0,):
            raise DatasetError(
                f"{archive.path}: {name} has shape {labels.shape}. One label an image is needed, "
                "(n,) or (n, 1), or with task: multi-label 0 or 1 for each class, (n, classes)."
            )
        if several and self.task != "multi-label":
            raise DatasetError(
                f"{archive.path}: {name} has shape {labels.shape}, several labels an image, but "
                f"the task is {self.task}. Write task: multi-label, or give one label an image, "
                "(n,) or (n, 1)."
            )
        if not several and self.task == "multi-label":
            raise DatasetError(
                f"{archive.path}: {name} has shape {labels.shape}, one label an image, but the "
                "task is multi-label. Leave the field task away, or give 0 or 1 for each class, "
                "(n, classes)."
            )
        if several:
            if len(wrong := np.argwhere((labels != 0) & (labels != 1))):
                image, column = wrong[0]
                raise DatasetError(
                    f"{archive.path}: {name} holds values other than 0 and 1, first "
                    f"{labels[image, column]} for image {part}/{image}, class {column}. "
                    "A multi-label array says for each class whether the image shows it."
                )
            return labels.astype(np.int64)
        return _class_indices(archive.path, part, labels.reshape(len(labels)), self.classes)

    def _classes(self, path: Path, labels: NDArray[np.int64]) -> tuple[str, ...]:
        if labels.ndim == 2:
            n_classes = labels.shape[1]
            if self.classes is not None and len(self.classes) != n_classes:
                raise DatasetError(
                    f"{path}: its labels have {n_classes} columns, but the field classes lists "
                    f"{len(self.classes)}. Name one class a column."
                )
        else:
            present = np.unique(labels)
            if self.classes is None and len(present) != labels.max() + 1:
                lacking = next(i for i in range(labels.max()) if i not in set(present.tolist()))
                raise DatasetError(
                    f"{path}: labels go up to {labels.max()}, but no image has label {lacking}. "
                    "Number the classes from 0 on without gaps."
                )
            if len(present) < 2:
                raise DatasetError(f"{path}: only one class (label {present[0]}); two are needed.")
            n_classes = len(present)
        return self.classes or tuple(str(i) for i in range(n_classes))


def _check_part(archive: NpzArchive, part: str) -> None:
    """Refuse a part whose arrays are not what they must be.

    Raises:
        DatasetError: An array is lacking, of another kind or length, or holds other pixels.
    """
    path, headers = archive.path, archive.headers
    if f"{part}_images" not in headers:
        raise DatasetError(
            f"{path}: has no array {part}_images. It must hold train_images, train_labels, "
            f"test_images and test_labels; it holds {', '.join(sorted(headers))}."
        )
    if f"{part}_labels" not in headers:
        raise DatasetError(f"{path}: has {part}_images but no {part}_labels.")
    pixels, labels = headers[f"{part}_images"], headers[f"{part}_labels"]
    if not (len(pixels.shape) == 3 or (len(pixels.shape) == 4 and pixels.shape[-1] in (1, 3))):
        raise DatasetError(
            f"{path}: {part}_images is {pixels.dtype} {pixels.shape}; "
            "it must be uint8, (n, height, width) or (n, height, width, 3)."
        )
    if not pixels.shape[0] and part != "val":
        raise DatasetError(f"{path}: {part}_images is empty.")
    n_labels = labels.shape[0] if labels.shape else 1
    if pixels.shape[0] != n_labels:
        raise DatasetError(
            f"{path}: {pixels.shape[0]} {part}_images but {n_labels} {part}_labels. "
            "Give each image its labels."
        )
    if pixels.dtype != np.uint8:
        raise DatasetError(
            f"{path}: {part}_images is {pixels.dtype}; it must be uint8, 0 (black) to 255 "
            f"(white). {_how_to_convert(part, archive.array(f'{part}_images'))}"
        )
    if pixels.fortran:
        raise DatasetError(
            f"{path}: {part}_images lies in Fortran order, so images cannot be read one by one. "
            f"Save it as np.ascontiguousarray({part}_images)."
        )


def _how_to_convert(part: str, pixels: NDArray[Any]) -> str:
    """What stands between an array and uint8, with the first images that have it."""
    if pixels.dtype.kind not in "iufb" or not pixels.size:
        return "Convert it."
    each = pixels.reshape(len(pixels), -1)

    def images(wrong: NDArray[np.bool_]) -> str:
        found = np.flatnonzero(wrong)
        named = ", ".join(f"{part}/{i}" for i in found[:_LISTED])
        return f"{len(found)} images ({named}{', ...' if len(found) > _LISTED else ''})"

    if (bad := ~np.isfinite(each).all(axis=1)).any():
        return f"{images(bad)} have pixels that are NaN or infinite. Replace or remove them first."
    low, high = each.min(), each.max()
    if low < 0:
        return (
            f"{images(each.min(axis=1) < 0)} have negative pixels (lowest {low:g}). Map a window "
            "of the values to 0..255 first, for example Hounsfield units of -160..240."
        )
    if high > _WHITE:
        return (
            f"{images(each.max(axis=1) > _WHITE)} have pixels above 255 (highest {high:g}). Map "
            "a window of the values to 0..255 first."
        )
    scaled = f"({part}_images * 255).round()" if high <= 1 else f"{part}_images.round()"
    whole = high > 1 and bool((each == np.rint(each)).all())
    array = f"{part}_images" if whole else scaled
    because = "All pixels are whole numbers from 0 to 255" if whole else f"Pixels go up to {high:g}"
    return f"{because}: save {array}.astype('uint8')."


def _class_indices(
    path: Path, part: str, labels: NDArray[Any], classes: tuple[str, ...] | None
) -> NDArray[np.int64]:
    """One label an image as class indices.

    Raises:
        DatasetError: One is no whole number, or outside the classes.
    """
    whole = np.issubdtype(labels.dtype, np.integer)
    if not whole or (len(labels) and not 0 <= labels.min() <= labels.max() <= _LARGEST_LABEL):
        raise DatasetError(f"{path}: {part}_labels must be whole numbers from 0 on.")
    if classes is not None and len(wrong := np.flatnonzero(labels >= len(classes))):
        raise DatasetError(
            f"{path}: label {labels[wrong[0]]} of image {part}/{wrong[0]} is outside the "
            f"{len(classes)} classes that the field classes lists. Name every class there, or "
            "mend the label."
        )
    return labels.astype(np.int64)
