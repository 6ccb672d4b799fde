"""What every data source shares: the fields of an entry in ``datasets.yaml``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from medbench.datasets.listing import Listing
from medbench.errors import DatasetError


class Source(BaseModel, ABC):
    """One data set of one format; the fields are the keys its entry may have."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: ClassVar[str] = ""
    synthetic: ClassVar[bool] = False
    """Whether the images are generated; said wherever results stand."""

    source: str
    """Name of the format in the registry."""
    title: str = ""
    licence: str = "not stated"
    citation: str = ""
    homepage: str = ""
    notes: tuple[str, ...] = ()
    """What a reader of results must know."""
    image_size: int = Field(default=128, ge=16, le=1024)
    """Side in pixels to which images are brought; the aspect ratio is not kept."""
    channels: Literal["auto", "grey", "colour"] = "auto"
    """``auto`` looks at a sample of the images."""

    _roots: tuple[Path, ...] = PrivateAttr(default=())

    def within(self, *roots: Path) -> Source:
        """The same source, with the folders in which its paths are looked for, in order."""
        self._roots = roots
        return self

    @abstractmethod
    def listing(self) -> Listing:
        """Find the images and their labels; nothing is decoded yet.

        Raises:
            DatasetError: Something is missing or cannot be understood.
        """

    def locate(self, path: str) -> Path:
        """The first of the data folders that has ``path``.

        Raises:
            DatasetError: None has it; the message says where it was looked for and the remedy.
        """
        try:
            wanted = Path(path).expanduser()
        except RuntimeError:  # ~somebody who is not a user here
            wanted = Path(path)
        places = [wanted] if wanted.is_absolute() else [root / wanted for root in self._roots]
        for place in places:
            if place.exists():
                return place.resolve()
        looked = ", ".join(str(place) for place in places) or "nowhere: no data folder is set"
        remedy = f"Get it from {self.homepage} and name" if self.homepage else "Name"
        raise DatasetError(
            f"{path}: not found (looked for {looked}). {remedy} the folder that holds it with "
            "--data-dir or the environment variable MEDBENCH_DATA."
        )


def inside(root: Path, name: str, *, named_in: str) -> Path:
    """A file below ``root`` by a name that came from data.

    Raises:
        DatasetError: The name leads out of the folder, also through a symbolic link.
    """
    try:
        path = (root / name).resolve()
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{named_in}: {name[:60]!r} cannot be the name of a file ({error})."
        ) from None
    if not path.is_relative_to(root.resolve()):
        raise DatasetError(
            f"{named_in}: {name!r} leads out of the data folder {root}. "
            "Copy the file into it and name it relative to it."
        )
    return path


def check_classes(
    labels: list[str], wanted: tuple[str, ...] | None, *, named_in: str
) -> tuple[str, ...]:
    """The class names in order: as wanted, else sorted.

    Raises:
        DatasetError: Fewer than two classes, a wanted class without images, or a label that is
            not among the wanted classes.
    """
    found = sorted(set(labels))
    if wanted is not None:
        if len(set(wanted)) != len(wanted):
            raise DatasetError(f"{named_in}: a class is listed twice in classes: {list(wanted)}.")
        if empty := [name for name in wanted if name not in found]:
            raise DatasetError(
                f"{named_in}: no image of class {', '.join(map(repr, empty))}. "
                f"Classes with images: {', '.join(found) or 'none'}. "
                "Correct or shorten the field classes."
            )
        if unknown := [name for name in found if name not in wanted]:
            raise DatasetError(
                f"{named_in}: images are labelled {', '.join(map(repr, unknown))}, which the field "
                "classes does not list. Add them there, or leave these images out."
            )
        found = list(wanted)
    if len(found) < 2:
        raise DatasetError(
            f"{named_in}: {'only one class' if found else 'no class'} "
            f"({', '.join(found) or 'no images'}); classification needs at least two. "
            "Give each class its own folder or label."
        )
    return tuple(found)
