"""New images, from files, bytes or arrays, in the shape that a model takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.cores import available_threads
from medbench.datasets.batch import PROPERTIES, Batch
from medbench.datasets.decode import read_slice
from medbench.datasets.read_image import file_content
from medbench.datasets.readers import Content, OpenedImage, open_image
from medbench.datasets.task import Task
from medbench.datasets.volume_rule import VolumeRule, one_volume
from medbench.errors import DatasetError

_WHITE = 255
_COLOUR_WARNING = "a colour picture, and the model has seen grey ones only"
_MASK_WARNING = "a picture of a few grey values only, as masks are, and perhaps no image at all"


@dataclass(frozen=True, kw_only=True)
class NewImage:
    """One image as a model sees it."""

    name: str
    """What the user calls it: the path given, or its number in a list or an array."""
    pixels: NDArray[np.uint8]
    """uint8, shape (height, width, channels) of the model's task."""
    properties: tuple[int, int, str, int]
    """Of the file: width and height in pixels, mode, and size in bytes; see ``PROPERTIES``."""
    shown: str = ""
    """Which slice or plane of its file it is, in words; "" where the file has one only."""
    warnings: tuple[str, ...] = ()
    """What makes it doubtful that the model can judge it, a phrase each."""


def new_image(
    source: Any,
    task: Task,
    *,
    name: str = "",
    slice_number: int | None = None,
    volume_number: int | None = None,
    volumes: VolumeRule | None = None,
) -> NewImage:
    """Read and resize one image.

    Args:
        source: As in ``new_images``.
        task: As in ``new_images``.
        name: As in ``new_images``.
        slice_number: As in ``new_images``.
        volume_number: As in ``new_images``.
        volumes: As in ``new_images``.

    Raises:
        DatasetError: As ``new_images``; a ``SliceError`` where several pictures are made of it.
    """
    opened, numbers = _opened(source, task, name, slice_number, volume_number, volumes)
    return _new_image(opened, task, numbers[0] if len(numbers) == 1 else None)


def new_images(
    source: Any,
    task: Task,
    *,
    name: str = "",
    slice_number: int | None = None,
    volume_number: int | None = None,
    volumes: VolumeRule | None = None,
) -> list[NewImage]:
    """Read and resize what is made of a file: of most files a single picture.

    Args:
        source: A path, the bytes of a file (PNG, JPEG, TIFF, DICOM, NIfTI and what else
            ``medbench.datasets.readers`` has), a Pillow image, or an array of shape (height,
            width) or (height, width, channels), of a volume (slices, height, width, channels).
        task: Whose shape it is brought to.
        name: What it is called in messages; a path is called by itself.
        slice_number: Which slice of a volume (or picture that ``volumes`` makes of it), counted
            from 1; None for all that are made, and for a file of one slice.
        volume_number: Which volume of a file that holds several, counted from 1; None for that of
            ``volumes``, and for other files.
        volumes: How pictures are made of files with several slices; None where a slice of such a
            file must be chosen.

    Raises:
        DatasetError: It cannot be read, or a model that is not square or has other than 1 or 3
            channels cannot be given it; the message names it and the remedy.
    """
    opened, numbers = _opened(source, task, name, slice_number, volume_number, volumes)
    return [_new_image(opened, task, number) for number in numbers]


def _opened(
    source: Any,
    task: Task,
    name: str,
    slice_number: int | None,
    volume_number: int | None,
    volumes: VolumeRule | None,
) -> tuple[OpenedImage, Sequence[int | None]]:
    """The file, and the numbers of what is taken of it; None where that is not decided."""
    if isinstance(source, str | Path):
        name, source = name or str(source), file_content(source)
    name = name or "image"
    height, width, channels = task.image_shape
    if height != width or channels not in (1, 3):
        raise DatasetError(f"{name}: a model of {height} x {width} pixels cannot be given files.")
    content: Content = source if isinstance(source, bytes) else _grey_levels(np.asarray(source))
    opened = open_image(content, origin=name)
    if isinstance(content, bytes) and not opened.sliced:
        slice_number = None  # among volumes it has nothing to choose from
    if volumes is None:
        return one_volume(opened, volume_number), [slice_number]
    made = volumes.numbers(opened.header.n_slices) if slice_number is None else [slice_number]
    return volumes.of(opened, volume=volume_number), made


def _new_image(opened: OpenedImage, task: Task, number: int | None) -> NewImage:
    """A picture of a file that was opened, as a model sees it."""
    height, _, channels = task.image_shape
    picture = read_slice(opened, number)
    warnings = picture.warnings
    if picture.mask_like:
        warnings += (_MASK_WARNING,)
    if channels == 1 and picture.is_coloured(height):
        warnings += (_COLOUR_WARNING,)
    return NewImage(
        name=opened.origin,
        pixels=picture.resized(height, 1 if channels == 1 else 3),
        properties=(picture.width, picture.height, picture.mode, picture.n_bytes),
        shown=picture.shown,
        warnings=warnings,
    )


def _grey_levels(values: NDArray[Any]) -> NDArray[Any]:
    """Grey levels as uint8, whatever type carries them: a caller's own scale is kept."""
    if values.dtype == np.uint8 or values.dtype.kind not in "iuf" or not values.size:
        return values
    low, high = values.min(), values.max()
    if not low >= 0:  # also NaN
        return values
    if values.dtype.kind == "f" and high <= 1:
        levels: NDArray[np.uint8] = np.rint(values * _WHITE).astype(np.uint8)
        return levels
    if high <= _WHITE and (values == np.rint(values)).all():
        return values.astype(np.uint8)
    return values


def read_images(
    sources: Iterable[Any],
    task: Task,
    *,
    slice_number: int | None = None,
    volume_number: int | None = None,
    volumes: VolumeRule | None = None,
) -> Iterator[list[NewImage] | DatasetError]:
    """Read files on all cores, in order; of one that cannot be read, the error is given.

    Args:
        sources: Each as in ``new_images``.
        task: Whose shape they are brought to.
        slice_number: As in ``new_images``.
        volume_number: As in ``new_images``.
        volumes: As in ``new_images``.
    """

    def read(numbered: tuple[int, Any]) -> list[NewImage] | DatasetError:
        number, source = numbered
        name = "" if isinstance(source, str | Path) else f"image {number}"
        try:
            return new_images(source, task, name=name, slice_number=slice_number, volumes=volumes)
        except DatasetError as error:
            return error
        except MemoryError:
            called = name or source
            return DatasetError(f"{called}: there is not enough memory for it. Shrink or crop it.")

    with ThreadPoolExecutor(available_threads()) as pool:
        yield from pool.map(read, enumerate(sources, start=1))


def as_sources(images: Any) -> Sequence[Any]:
    """What a caller of the Python interface gave, as a sequence of single images.

    Args:
        images: One image or a sequence of them, each as in ``new_image``; or an array of many,
            shape (n, height, width) or (n, height, width, channels).
    """
    if isinstance(images, str | bytes | Path) or hasattr(images, "getbands"):  # Pillow's images
        return [images]
    if isinstance(images, np.ndarray):
        single = images.ndim == 2 or (images.ndim == 3 and images.shape[-1] in (1, 3))
        return list(images[None] if single else images)
    return list(images)


def is_prepared(images: Any, task: Task) -> bool:
    """Whether an array has the type and shape that models take, so that nothing is to be done."""
    return (
        isinstance(images, np.ndarray)
        and images.dtype == np.uint8
        and images.shape[1:] == task.image_shape
    )


def prepared_batch(images: NDArray[np.uint8]) -> Batch:
    """A batch of arrays, whose file properties are their own."""
    import pandas as pd

    n, height, width = images.shape[:3]
    properties = {
        "width": np.full(n, width),
        "height": np.full(n, height),
        "mode": ["uint8"] * n,
        "bytes": np.full(n, images[0].nbytes if n else 0),
    }
    return Batch(images=images, properties=pd.DataFrame(properties))


def batch_of(images: Sequence[NewImage]) -> Batch:
    """Images as models take them."""
    import pandas as pd

    return Batch(
        images=np.stack([image.pixels for image in images]),
        properties=pd.DataFrame([i.properties for i in images], columns=list(PROPERTIES)),
    )
