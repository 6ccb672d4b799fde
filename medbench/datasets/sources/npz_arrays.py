"""Which arrays of an npz archive are images and labels of which part, by what they are called."""

from __future__ import annotations

import re
from dataclasses import dataclass

from medbench.datasets.csv_files import SPLIT_WORDS
from medbench.datasets.sources.archive import Header, NpzArchive
from medbench.errors import DatasetError

_CHANNELS = (1, 3)
_MOST_CHANNELS = 4
"""Red, green, blue and an opacity."""
PARTS = ("train", "val", "test")
_PART_WORDS = SPLIT_WORDS | {"tr": "train", "dev": "val", "te": "test"}
_IMAGE_WORDS = frozenset({"images", "image", "imgs", "img", "x", "data", "pixels"})
_LABEL_WORDS = frozenset({"labels", "label", "y", "target", "targets", "class", "classes"})
_JOINED = re.compile(rf"(x|y)?({'|'.join(sorted(_PART_WORDS, key=len, reverse=True))})(x|y)?")
"""A word as xtrain or trainy, which is two."""


@dataclass(frozen=True, kw_only=True)
class PartArrays:
    """The names of the arrays of one part."""

    part: str
    """``train``, ``val`` or ``test``; "" where the archive is not divided."""
    images: str
    labels: str

    @property
    def called(self) -> str:
        """With what names of its images begin."""
        return self.part or "image"


def parts_of(archive: NpzArchive) -> list[PartArrays]:
    """The parts of an archive: train, perhaps val, and test; or one that is not divided.

    Raises:
        DatasetError: An array is lacking, or two may be the same.
    """
    named: dict[tuple[str, str], str] = {}
    for name in archive.headers:
        if (role := _role(name)) is None:
            continue
        if role in named:
            raise DatasetError(
                f"{archive.path}: both {named[role]} and {name} may be the {role[1]}"
                f"{f' of the part {role[0]}' if role[0] else ''}. Take one of them out."
            )
        named[role] = name
    present = [part for part in PARTS if (part, "images") in named]
    if not present and ("", "images") in named:
        parts = [""]
    else:
        parts = [part for part in PARTS if part != "val" or part in present]
    return [
        PartArrays(
            part=part,
            images=_array(archive, named, part, "images"),
            labels=_array(archive, named, part, "labels"),
        )
        for part in parts
    ]


def label_arrays(archive: NpzArchive) -> list[str]:
    """Names of the arrays that are called as labels."""
    return [name for name in archive.headers if (_role(name) or ("", ""))[1] == "labels"]


def channels_first(images: Header) -> bool:
    """Whether images are (n, channels, height, width), or so of volumes, of 1 or 3 channels."""
    shape = images.shape
    return len(shape) in (4, 5) and shape[1] in _CHANNELS and shape[-1] not in _CHANNELS


def is_volumes(images: Header) -> bool:
    """Whether images are volumes without an axis of channels, (n, depth, height, width).

    Four axes are taken for that where none but the first can be one of channels: with up to four
    values it could hold channels.
    """
    return len(images.shape) == 4 and min(images.shape[1:]) > _MOST_CHANNELS


def image_shape(images: Header) -> tuple[int, int, int]:
    """Slices, height and width of each image; a picture has one slice."""
    shape = images.shape[1:]
    if channels_first(images):
        shape = shape[1:]
    elif len(shape) > 2 and not is_volumes(images):
        shape = shape[:-1]
    depth, height, width = (1, *shape)[-3:]
    return depth, height, width


def told_names(archive: NpzArchive, parts: list[PartArrays]) -> tuple[str, ...]:
    """Notes on arrays that are called otherwise than MedMNIST calls them, or are not used."""
    notes = []
    used = {name for part in parts for name in (part.images, part.labels)}
    usual = {f"{part.part}_{what}" for part in parts for what in ("images", "labels")}
    if used - usual:
        pairs = ", ".join(f"{part.images} with {part.labels}" for part in parts)
        divided = "" if parts[0].part else "; there is no official split"
        notes.append(f"images and labels are the arrays {pairs}{divided}")
    if others := [name for name in archive.headers if name not in used]:
        notes.append(f"arrays that are not used: {', '.join(others)}")
    return tuple(notes)


def _array(archive: NpzArchive, named: dict[tuple[str, str], str], part: str, what: str) -> str:
    if (part, what) in named:
        return named[part, what]
    there = ", ".join(sorted(archive.headers)) or "nothing"
    if what == "labels":
        raise DatasetError(
            f"{archive.path}: has {named[part, 'images']} but no "
            f"{f'{part}_labels' if part else 'labels'}. It holds {there}."
        )
    raise DatasetError(
        f"{archive.path}: has no array {part}_images. It must hold train_images, train_labels, "
        f"test_images and test_labels (or x_train, y_train, ...; or images and labels alone); it "
        f"holds {there}."
    )


def _role(name: str) -> tuple[str, str] | None:
    """Part and kind of an array by its name; None where it is neither images nor labels."""
    words = re.findall("[a-z]+|[0-9]+", re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower())
    split: list[str] = []
    for word in words:
        joined = _JOINED.fullmatch(word)
        split += [each for each in joined.groups() if each] if joined else [word]
    split = [word for word in split if word != "set"]
    part = {_PART_WORDS[word] for word in split if word in _PART_WORDS}
    others = [word for word in split if word not in _PART_WORDS]
    if len(part) > 1 or len(others) != 1:
        return None
    kind = "images" if others[0] in _IMAGE_WORDS else "labels" if others[0] in _LABEL_WORDS else ""
    return (next(iter(part), ""), kind) if kind else None
