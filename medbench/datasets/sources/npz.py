"""An archive of arrays as MedMNIST has it: {train,val,test}_{images,labels}, split officially."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench.counts import check_images
from medbench.datasets.image_size import side_of_archive
from medbench.datasets.listing import Listing
from medbench.datasets.sources.archive import Header, ImageReader, NpzArchive
from medbench.datasets.sources.base import Source
from medbench.datasets.sources.files import file_signature
from medbench.datasets.sources.npz_arrays import (
    PartArrays,
    channels_first,
    image_shape,
    is_volumes,
    label_arrays,
    parts_of,
    told_names,
)
from medbench.datasets.sources.npz_labels import is_one_hot, read_labels
from medbench.datasets.sources.words import Text
from medbench.datasets.task import label_frame
from medbench.datasets.volume_rule import SliceRule, VolumeRule
from medbench.errors import DatasetError

_WHITE = 255
_LISTED = 3
"""Images named in an error; more are counted."""


class NpzSource(Source):
    """uint8 images (n, h, w), (n, h, w, 1 or 3) or (n, 1 or 3, h, w), with labels; or volumes.

    Volumes are (n, d, h, w), (n, d, h, w, 1 or 3) or (n, 1 or 3, d, h, w): d slices each, of which
    ``slices`` says what is taken. Where none of the axes behind the first has 4 values or fewer,
    four axes are those of volumes, and it is said.

    Labels are whole numbers (n,) or (n, 1), names of classes likewise, or one-hot (n, classes);
    with ``task: multi-label`` 0 or 1 for each class, (n, classes). The arrays may also be called
    x_train, y_train and so on, or images and labels alone, which is no official split.
    """

    source: str = "npz"
    path: str
    """The archive, below a data folder or absolute."""
    classes: tuple[Text, ...] | None = None
    """Class names in the order of the labels; default the numbers or names themselves."""
    slices: SliceRule = 1
    """What is taken of a volume; see ``FileSource``."""
    task: Literal["multi-class", "ordinal", "multi-label"] = "multi-class"  # type: ignore[assignment]

    def list_images(self, found: Mapping[str, Path]) -> Listing:
        """Every image, train before val before test; pixels are read one image at a time."""
        path = found["path"]
        self.check_file(path)
        archive = NpzArchive(path)
        parts = parts_of(archive)
        for part in parts:
            _check_part(archive, part)
        sizes = [archive.headers[part.images].shape[0] for part in parts]
        check_images(sum(sizes), str(path))
        labels, classes, notes = read_labels(
            path,
            {part.labels: archive.array(part.labels) for part in parts},
            parts=[part.called for part in parts],
            task=self.task,
            classes=self.classes,
        )
        headers = [archive.headers[part.images] for part in parts]
        numbered = [(part, i) for part, n in zip(parts, sizes, strict=True) for i in range(n)]
        rule = VolumeRule(slices=self.slices)
        taken = [
            numbers
            for header, n in zip(headers, sizes, strict=True)
            for numbers in [rule.numbers(image_shape(header)[0])] * n
        ]
        image = np.repeat(np.arange(len(taken)), [len(numbers) for numbers in taken])
        names = pd.DataFrame({"origin": [f"{p.called}/{i}" for p, i in numbered]})
        table = pd.concat([names, label_frame(labels)], axis=1)
        table = table.assign(group="", split=[part.part for part, _ in numbered])
        table = table.iloc[image].reset_index(drop=True)
        table.insert(1, "slice", np.array([n for numbers in taken for n in numbers], np.int64))
        by_name = {part.images: header for part, header in zip(parts, headers, strict=True)}
        reader = ImageReader(
            archive,
            list(by_name),
            channels_first=[name for name, header in by_name.items() if channels_first(header)],
            volumes=[name for name, header in by_name.items() if is_volumes(header)],
        )
        _, height, width = image_shape(headers[0])
        has_volumes = any(image_shape(header)[0] > 1 for header in headers)
        return Listing(
            classes=classes,
            table=table,
            read=lambda row: reader(int(image[row])),
            signature=file_signature([path]),
            task_type=self.task,
            image_size=side_of_archive(height * rule.rows, width * rule.rows),
            volumes=rule if has_volumes else None,
            notes=(*told_names(archive, parts), *notes, *_told_axes(headers, rule)),
        )

    def check_file(self, path: Path) -> None:
        """Make sure that the file is sound before anything is taken out of it.

        Raises:
            DatasetError: It is damaged.
        """
        NpzArchive(path).check_content()


def _told_axes(headers: Sequence[Header], rule: VolumeRule) -> Iterator[str]:
    """Notes on what the axes of images are taken for, where they are not MedMNIST's of pictures."""
    for header in headers:
        depth, height, width = image_shape(header)
        shape = header.shape
        if depth > 1:
            yield (
                f"images of shape {shape} are read as volumes of {depth} slices of {height} x "
                f"{width} pixels, along the first axis of each: {rule.words} of each taken (field "
                "slices)"
            )
            return
        if channels_first(header):
            yield f"images of shape {shape} are read as (n, channels, height, width)"
            return


def guess_task(path: Path) -> dict[str, str]:
    """The field task of an archive, where its labels say it: several in at least one image.

    Raises:
        DatasetError: The archive is damaged.
    """
    archive = NpzArchive(path)
    wide = [name for name in label_arrays(archive) if archive.headers[name].shape[1:] > (1,)]
    one_hot = all(is_one_hot(archive.array(name)) for name in wide)
    return {} if one_hot else {"task": "multi-label"}


def _check_part(archive: NpzArchive, part: PartArrays) -> None:
    """Refuse a part whose arrays are not what they must be.

    Raises:
        DatasetError: An array is of another kind or length, or holds other pixels.
    """
    path, name = archive.path, part.images
    pixels, labels = archive.headers[name], archive.headers[part.labels]
    _check_shape(path, name, pixels)
    if not pixels.shape[0] and part.part != "val":
        raise DatasetError(f"{path}: {name} is empty.")
    n_labels = labels.shape[0] if labels.shape else 1
    if pixels.shape[0] != n_labels:
        raise DatasetError(
            f"{path}: {pixels.shape[0]} {name} but {n_labels} {part.labels}. "
            "Give each image its labels."
        )
    if pixels.dtype != np.uint8:
        raise DatasetError(
            f"{path}: {name} is {pixels.dtype}; it must be uint8, 0 (black) to 255 "
            f"(white). {_how_to_convert(name, part.called, archive.array(name))}"
        )
    if pixels.fortran:
        raise DatasetError(
            f"{path}: {name} lies in Fortran order, so images cannot be read one by one. "
            f"Save it as np.ascontiguousarray({name})."
        )


def _check_shape(path: Path, name: str, pixels: Header) -> None:
    """Refuse what are no images and no volumes of one or three channels.

    Raises:
        DatasetError: They are none.
    """
    shape = pixels.shape
    if 0 in shape[1:]:
        raise DatasetError(f"{path}: {name} is {pixels.dtype} {shape}, images without pixels.")
    channels = len(shape) in (4, 5) and (shape[-1] in (1, 3) or channels_first(pixels))
    if len(shape) == 3 or channels or is_volumes(pixels):
        return
    what = f"{path}: {name} is {pixels.dtype} {shape}; it must be uint8, (n, height, width) or (n, "
    what += "height, width, 3), and of volumes (n, depth, height, width, 1)."
    if len(shape) == 5:
        what += " Save one channel of each volume."
    elif len(shape) == 4:
        what += " Save one channel of each, or three (red, green, blue)."
    elif len(shape) == 2:
        what += " Give each image its height and width with reshape."
    raise DatasetError(what)


def _how_to_convert(name: str, part: str, pixels: NDArray[Any]) -> str:
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
    scaled = f"({name} * 255).round()" if high <= 1 else f"{name}.round()"
    whole = high > 1 and bool((each == np.rint(each)).all())
    array = f"{name}" if whole else scaled
    because = "All pixels are whole numbers from 0 to 255" if whole else f"Pixels go up to {high:g}"
    return f"{because}: save {array}.astype('uint8')."
