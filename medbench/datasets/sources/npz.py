"""An archive of arrays as MedMNIST has it: {train,val,test}_{images,labels}, split officially."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench.datasets.listing import Listing
from medbench.datasets.sources.base import Source
from medbench.datasets.sources.folder import file_signature
from medbench.errors import DatasetError

_LARGEST_LABEL = 1_000_000
_DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


class NpzSource(Source):
    """uint8 images (n, h, w) or (n, h, w, 3) and whole-number labels (n,) or (n, 1)."""

    source: str = "npz"
    path: str
    classes: tuple[str, ...] | None = None
    """Class names in the order of the labels; default the numbers themselves."""

    def listing(self) -> Listing:
        """Every image, train before val before test."""
        path = self.locate(self.path)
        arrays = load_npz(path)
        images: list[NDArray[np.uint8]] = []
        labels: list[NDArray[np.int64]] = []
        origins: list[str] = []
        splits: list[str] = []
        for part in ("train", "val", "test"):
            if f"{part}_images" not in arrays:
                if part == "val":
                    continue
                raise DatasetError(
                    f"{path}: has no array {part}_images. It must hold train_images, train_labels, "
                    f"test_images and test_labels; it holds {', '.join(sorted(arrays))}."
                )
            pixels, indices = self._part(path, arrays, part)
            images += list(pixels)
            labels.append(indices)
            origins += [f"{part}/{i}" for i in range(len(indices))]
            splits += [part] * len(indices)
        label = np.concatenate(labels)
        classes = self._classes(path, label)
        table = pd.DataFrame({"origin": origins, "label": label, "group": "", "split": splits})
        return Listing(
            classes=classes,
            table=table,
            read=images.__getitem__,
            signature=file_signature([path]),
        )

    def _part(
        self, path: Path, arrays: dict[str, NDArray[np.generic]], part: str
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        pixels = arrays[f"{part}_images"]
        if f"{part}_labels" not in arrays:
            raise DatasetError(f"{path}: has {part}_images but no {part}_labels.")
        labels = arrays[f"{part}_labels"]
        if pixels.dtype != np.uint8 or not (
            pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[-1] in (1, 3))
        ):
            raise DatasetError(
                f"{path}: {part}_images is {pixels.dtype} {pixels.shape}; "
                "it must be uint8, (n, height, width) or (n, height, width, 3)."
            )
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.ndim != 1:
            raise DatasetError(
                f"{path}: {part}_labels has shape {labels.shape}; one label an image is needed, "
                "(n,) or (n, 1). Several labels an image are not supported yet."
            )
        if len(labels) != len(pixels):
            raise DatasetError(
                f"{path}: {len(pixels)} {part}_images but {len(labels)} {part}_labels."
            )
        whole = np.issubdtype(labels.dtype, np.integer)
        if not whole or (len(labels) and not 0 <= labels.min() <= labels.max() <= _LARGEST_LABEL):
            raise DatasetError(f"{path}: {part}_labels must be whole numbers from 0 on.")
        if not len(labels) and part != "val":
            raise DatasetError(f"{path}: {part}_images is empty.")
        return pixels, labels.astype(np.int64)  # type: ignore[return-value]

    def _classes(self, path: Path, labels: NDArray[np.int64]) -> tuple[str, ...]:
        present = np.unique(labels)
        if self.classes is None and len(present) != labels.max() + 1:
            lacking = next(i for i in range(labels.max()) if i not in set(present.tolist()))
            raise DatasetError(
                f"{path}: labels go up to {labels.max()}, but no image has label {lacking}. "
                "Number the classes from 0 on without gaps."
            )
        n_classes = len(self.classes) if self.classes else len(present)
        if labels.max() >= n_classes:
            raise DatasetError(
                f"{path}: label {labels.max()} is outside the {n_classes} classes that the field "
                "classes lists. Name every class there."
            )
        if len(present) < 2:
            raise DatasetError(f"{path}: only one class (label {present[0]}); two are needed.")
        return self.classes or tuple(str(i) for i in range(n_classes))


def load_npz(path: Path) -> dict[str, NDArray[np.generic]]:
    """All arrays of an archive, without ever unpickling.

    Raises:
        DatasetError: It is damaged, or holds Python objects.
    """
    remedy = "cannot be read as an npz archive of plain arrays"
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DatasetError(f"{path}: {remedy}; it is a single array (.npy).")
        with archive:
            return {key: archive[key] for key in archive.files}
    except _DAMAGED as error:
        # NumPy's own words advise to unpickle what it does not know; they are not passed on.
        raise DatasetError(
            f"{path}: {remedy} ({type(error).__name__}): it is damaged, something else, or holds "
            "Python objects. Get it again."
        ) from error
