"""What every data source shares: the fields of an entry, and its way to a listing.

A data set is *fetched* where it has a download (``Source.download``), *located* in the data
folders (``Source.locate``) and *listed* (``Source.list_images``). A source of a new format says
how to list, a new download how to fetch; where things lie is found here alone.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from medbench.cache import cache_folder
from medbench.datasets.download import Download
from medbench.datasets.image_size import SIDE_OF_UNKNOWN
from medbench.datasets.listing import Listing
from medbench.datasets.places import OpenNeuroPlace, Place, place_of
from medbench.datasets.positive import with_positive
from medbench.datasets.sources.words import Text
from medbench.datasets.unpacked import archive_in, named_by_archive, notes_of, opened
from medbench.errors import ConfigurationError, DatasetError, UndecidedError
from medbench.names import as_text

_SHOWN = 10
"""Names of a folder that an error shows."""


class Source(BaseModel, ABC):
    """One data set of one format; the fields are the keys its entry may have.

    A field that the entry must not have, or a value that cannot be, raises pydantic's
    ``ValidationError``; the catalog says in its place where it stands.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: ClassVar[str] = ""
    """Name of the format in the registry, which sets it."""
    synthetic: ClassVar[bool] = False
    """Whether the images are generated; said wherever results stand."""
    official_file: ClassVar[bool] = False
    """Whether what is read is known to be the published file, by its sum."""

    source: str
    """Name of the format in the registry."""
    title: str = ""
    """What the data set is, in words; empty for its name."""
    licence: str = "not stated"
    """Under which licence the images are."""
    redistributable: bool = False
    """Whether the licence lets images be passed on, and so be shown on a page that can be."""
    citation: str = ""
    """The publication to cite; empty where there is none."""
    homepage: str = ""
    """Address of the page about the data set; empty where there is none."""
    notes: tuple[str, ...] = ()
    """What a reader of results must know, a sentence each."""
    image_size: int | None = Field(default=None, ge=16, le=1024)
    """Height and width in pixels to which images are brought; the aspect ratio is not kept. None
    stands for the archive's own, or what suits the files (``medbench.datasets.image_size``)."""
    channels: Literal["auto", "grey", "colour"] = "auto"
    """Whether images are prepared in grey or in RGB; ``auto`` looks at a sample of them."""
    task: Literal["multi-class", "ordinal"] = "multi-class"
    """``ordinal`` where the classes stand in rising order, else ``multi-class``."""
    collection: str = ""
    """Where the images were gathered; sets of one collection count once across data sets. The
    name of the data set where nothing is said."""
    caution_above: float | None = Field(default=0.97, gt=0.5, le=1)
    """A test AUROC above this share carries a caution; null (None) where such scores are normal."""
    positive: Text = ""
    """The positive of two classes, the one to be found: that of sensitivity and prevalence. Where
    nothing is said it is the last one of ``classes``, else what the names propose."""
    prevalence: float | None = Field(default=None, gt=0, lt=1)
    """Share of positives (between 0 and 1) where a binary classifier would be used, for its
    predictive values; None stands for that of the held-out images."""
    fetch_only: tuple[str, ...] = ()
    """Patterns of the files that are fetched of a place that has them singly (``openneuro:``), as
    ``sub-*/anat/*_T1w.nii.gz``; default all."""
    published: str = ""
    """The set of published results that stands beside ours where the official split is used."""

    _roots: tuple[Path, ...] = PrivateAttr(default=())
    _entry: str = PrivateAttr(default="")
    """Name in the catalog, for messages that say what to type."""

    def within(self, *roots: Path) -> Source:
        """The same source, with the folders in which its paths are looked for, in order.

        Args:
            roots: The data folders.
        """
        self._roots = roots
        return self

    def variants(self, name: str) -> dict[str, Source]:
        """The data sets that an entry stands for, by name; nearly always the one.

        Args:
            name: Name of the entry.
        """
        self._entry = name
        return {name: self}

    # --- fetch: where its files can be had --------------------------------------------------

    @property
    def download(self) -> Download | None:
        """What is downloaded where its paths name no place; None where a person gets the files."""
        return None

    @property
    def to_fetch(self) -> Download | None:
        """What ``datasets fetch`` downloads; None where a person must get the files."""
        place = self.place
        return self.download if place is None else place.download

    @property
    def place(self) -> Place | None:
        """Where it is published, as its paths name it; None where they are paths only."""
        return next((p for path in self.paths().values() if (p := self._place(path))), None)

    def _place(self, path: str) -> Place | None:
        place = place_of(path)
        if isinstance(place, OpenNeuroPlace):
            return replace(place, only=self.fetch_only)
        return place

    def place_name(self) -> str:
        """How a path names that place, with the version that is here; empty where there is none."""
        place = self.place
        found = None if place is None else self._whole(place)
        return "" if place is None else place.name if found is None else place.pinned(found)

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        try:
            places = [place_of(path) for path in self.paths().values()]
        except ConfigurationError as error:
            raise ValueError(str(error).removesuffix(".")) from None
        if len(names := {place.name for place in places if place is not None}) > 1:
            raise ValueError(
                f"its paths name several places, {' and '.join(sorted(names))}: name files of one "
                "data set, with the same version"
            )
        if self.fetch_only and not any(isinstance(place, OpenNeuroPlace) for place in places):
            raise ValueError("fetch_only is for paths that name a place with openneuro:")
        return self

    # --- locate: where its files are --------------------------------------------------------

    def paths(self) -> dict[str, str]:
        """The files and folders that its fields name, by field; empty where none is needed.

        Below a data folder, or absolute. What is downloaded lies at the path of the download. A
        path may lead through an archive, as ``films.zip/labels.csv``.
        """
        path = self.download.path if self.download is not None else getattr(self, "path", None)
        return {} if path is None else {"path": path}

    def is_here(self) -> bool:
        """Whether all its files can be found; always where there are none."""
        return all(self._find(path) is not None for path in self.paths().values())

    def reads(self) -> list[Path]:
        """The files and folders that hold the images and labels, as far as they are here."""
        found = [here for path in self.paths().values() if (here := self._find(path)) is not None]
        return [*self._archives(), *map(opened, found)]

    def locate(self) -> dict[str, Path]:
        """Where each of ``paths`` is read: where it lies, or where an archive was unpacked.

        Raises:
            DatasetError: As ``here``, or an archive cannot be unpacked.
        """
        return {field: opened(path) for field, path in self.here().items()}

    def here(self) -> dict[str, Path]:
        """Where each of ``paths`` lies, perhaps in an archive: in the first folder that has it.

        Raises:
            DatasetError: None has it; the message says where it was looked for and the remedy.
        """
        found: dict[str, Path] = {}
        for field, path in self.paths().items():
            here = self._find(path)
            if here is None:
                self._check_inside(field, path)
                looked = ", ".join(str(each) for each in self._candidates(path))
                remedy = self._remedy(field, path)
                looked = f" (looked for {looked})" if looked else ""
                raise DatasetError(f"{path}: not found{looked}. {remedy}")
            found[field] = here
        return found

    def _find(self, path: str) -> Path | None:
        """``path`` in the first of the data folders that has it, or an archive in it, or None."""
        found = (each for each in self._candidates(path) if each.exists() or archive_in(each))
        return next((each.resolve() for each in found), None)

    def _archives(self) -> set[Path]:
        """The archives in which its files are."""
        found = filter(None, map(self._find, self.paths().values()))
        return set(filter(None, map(archive_in, found)))

    def _candidates(self, path: str) -> list[Path]:
        """Where ``path`` may be: in the data folders, and last where MedBench itself puts it."""
        if (place := self._place(path)) is not None:
            whole = self._whole(place)
            return [] if whole is None else [inside(whole, place.inside, named_in=path)]
        try:
            wanted = Path(path).expanduser()
        except RuntimeError:  # ~somebody who is not a user here
            wanted = Path(path)
        if wanted.is_absolute():
            return [wanted]
        return [root / wanted for root in self._folders()]

    def _folders(self) -> list[Path]:
        return [*self._roots, cache_folder() / "data"]

    def _whole(self, place: Place) -> Path | None:
        """Where all of a place lies here, or None."""
        return next((each for each in place.candidates(self._folders()) if each.exists()), None)

    def _check_inside(self, field: str, path: str) -> None:
        """Say where a data set is here and lacks what a path names.

        Raises:
            DatasetError: It is so.
        """
        place = self._place(path)
        whole = None if place is None else self._whole(place)
        if place is None or whole is None or not whole.is_dir():
            return
        there = sorted(as_text(each.name) for each in whole.iterdir())[:_SHOWN]
        raise DatasetError(
            f"{path}: {place.name} is here ({whole}), but there is no {place.inside!r} in it. It "
            f"holds {', '.join(there)}. Correct the field {field} of its entry."
        )

    def _remedy(self, field: str, path: str) -> str:
        """What a person does to have the files, as whole sentences."""
        place = place_of(path)
        download = self.to_fetch
        named = self._entry if place is None or self.fetch_only else place.name
        if download is not None and named:
            by_hand = (
                "get that file by hand and put it there"
                if place is None
                else f"get it by hand and name where it lies in place of {place.name}"
            )
            return (
                f"Fetch it with python -m medbench datasets fetch {named}, or run with "
                f"--download ({download.size} from {download.address}); or {by_hand}."
            )
        if self._candidates(path) == [Path(path).expanduser()]:
            return f"Put it there, or correct the field {field} of its entry."
        name = f"Get it from {self.homepage} and name" if self.homepage else "Name"
        return (
            f"{name} the folder that holds it with --data-dir or the environment variable "
            "MEDBENCH_DATA."
        )

    # --- list: what is in them --------------------------------------------------------------

    def listing(self, *, positive_for: str = "") -> Listing:
        """Locate the files and list the images and their labels; no pixel is decoded yet.

        Args:
            positive_for: What depends on the positive one of two classes, in words; empty where
                nothing does, so that a guess will do.

        Returns:
            What ``list_images`` gives, with the positive one of two classes last.

        Raises:
            UndecidedError: A person must say what something means.
            DatasetError: Something is missing or cannot be understood.
        """
        try:
            with named_by_archive():
                listing = with_positive(
                    self.list_images(self.locate()),
                    self.positive,
                    written=self.orders_classes,
                    needed_for=positive_for,
                )
                of_archives = [note for one in self._archives() for note in notes_of(one)]
        except UndecidedError as error:
            error.dataset = self._entry
            raise
        notes = [*of_archives, *listing.notes]
        place, pinned = self.place, self.place_name()
        if place is not None and pinned != place.name:
            notes.append(
                f"its entry names no version of {place.name}: {pinned} is taken, the highest here"
            )
        return replace(listing, notes=tuple(notes))

    def side(self, listing: Listing) -> int:
        """Height and width in pixels to which the images of its listing are brought."""
        return self.image_size or listing.image_size or SIDE_OF_UNKNOWN

    @property
    def orders_classes(self) -> bool:
        """Whether somebody put its classes into order, so that the last of two is the positive."""
        return getattr(self, "classes", None) is not None

    @abstractmethod
    def list_images(self, found: Mapping[str, Path]) -> Listing:
        """List the images and their labels.

        Args:
            found: What ``paths`` names, located, by field.

        Returns:
            A row for each image, and how each is read.

        Raises:
            DatasetError: Something is missing or cannot be understood.
        """


def inside(root: Path, name: str, *, named_in: str) -> Path:
    """A file below ``root`` by a name that came from data.

    Raises:
        DatasetError: The name leads out of the folder, also through a symbolic link.
    """
    try:
        path = (root / name).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # the last of links in a circle
        raise DatasetError(
            f"{named_in}: {name[:60]!r} cannot be the name of a file ({error})."
        ) from None
    if not path.is_relative_to(root.resolve()):
        raise DatasetError(
            f"{named_in}: {name!r} leads out of the data folder {root}. "
            "Copy the file into it and name it relative to it."
        )
    return path


def leads_to_file(entry: os.DirEntry[str]) -> bool:
    """Whether something in a folder is a file, or a link to one; links in a circle are none."""
    return Path(entry.path).is_file() if entry.is_symlink() else entry.is_file()


def leads_to_folder(entry: os.DirEntry[str]) -> bool:
    """Whether something in a folder is one, or a link to one; links in a circle are none."""
    return Path(entry.path).is_dir() if entry.is_symlink() else entry.is_dir()


def unreadable_folder(folder: Path | str, error: OSError) -> DatasetError:
    """The error for a folder whose names cannot be listed."""
    return DatasetError(
        f"{folder}: this folder cannot be read ({error.strerror}). "
        "Mend its permissions or take it away."
    )


def check_order(task: str, classes: object | None) -> None:
    """Refuse ordinal classes that nobody put into order.

    Raises:
        ValueError: The catalog adds where.
    """
    if task == "ordinal" and classes is None:
        raise ValueError(
            'task "ordinal" needs the field classes, which lists the classes in rising order'
        )


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
