"""The image files below a folder, found in one pass over names; no file is opened."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from medbench.cache import cache_folder
from medbench.datasets.image_names import (
    EXCLUDED,
    LINKS,
    MASKS,
    SYSTEM,
    LeftOut,
    any_derived,
    composed,
    derived_from_others,
    mask_folders,
    stem_of,
    why_left_out,
)
from medbench.datasets.readers import image_suffixes
from medbench.datasets.sources.base import (
    inside,
    leads_to_file,
    leads_to_folder,
    unreadable_folder,
)
from medbench.errors import DatasetError
from medbench.names import as_text

_BEGUN = frozenset({".lock", ".holder.json"})
"""All that lies in the folder of a run that has only begun."""
_OWN = (
    frozenset({"run.json", "cells"}),
    frozenset({"run.json", "environment.json"}),
    frozenset({"assessment.json", "report.html"}),
    frozenset({"audit.json", "audit.md"}),
    frozenset({"model.json", "development.parquet"}),
)
"""What lies together in a run, a report on several, an audit and an exported model."""
_CACHE_ENTRY, _RESULTS = "sha256.json", "results"


class Folder:
    """A folder with the images that lie right in it and the folders that hold more.

    Attributes:
        name: Its name relative to the data set, with '/', as ``medbench.names.as_text`` gives it;
            "" of the data set's own folder.
        path: Where it is.
        of_masks: Whether it is called as folders of masks are, or lies in one that is.
        images: Where each image is that lies right in it, by the name of its file.
        folders: The folders in it, by their names without what is above, in their order; without
            those that are left out for their name.
        n_images: Images in it, at any depth.
        left_out: What is left out in it, at any depth.
        own: Whether it is MedBench's own output, or holds some.
    """

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.path = path
        self.of_masks = False
        self.images: dict[str, str] = {}
        self.folders: dict[str, Folder] = {}
        self.n_images = 0
        self.left_out = LeftOut()
        self.own = False

    @property
    def last(self) -> str:
        """Its name without what is above."""
        return self.name.rpartition("/")[2]

    def name_of(self, name: str) -> str:
        """The name relative to the data set of something that lies right in it."""
        return f"{self.name}/{name}" if self.name else name

    @property
    def filled(self) -> list[Folder]:
        """The folders in it that hold images."""
        return [folder for folder in self.folders.values() if folder.n_images]

    def walk(self) -> Iterator[Folder]:
        """This folder and all below it, each before those in it."""
        pending = [self]
        while pending:
            folder = pending.pop()
            yield folder
            pending += reversed(folder.folders.values())

    def files(self) -> list[tuple[str, str]]:
        """Name relative to the data set, and path, of all its images, in order of the names."""
        found = []
        for folder in self.walk():
            above = folder.name_of("")
            found += [(above + name, path) for name, path in folder.images.items()]
        return sorted(found)

    def paths_below(self) -> dict[str, str]:
        """Where all its images are, by their names relative to itself."""
        cut = len(self.name_of(""))
        return {name[cut:]: path for name, path in self.files()}


def image_folder(
    root: Path,
    *,
    only: Collection[str] | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    follow: bool = False,
) -> Folder:
    """Everything below a folder that may be an image by its name.

    Args:
        root: The folder.
        only: Names of the folders right in it, in composed Unicode, that are looked at whatever
            they are called; all where it is None.
        include: Patterns of relative names that are images whatever they are called.
        exclude: Patterns of relative names that are none.
        follow: Whether links to files may lead anywhere, and links to folders are counted instead
            of refused: where a person named the folder, and no data set is made of it.

    Raises:
        DatasetError: A folder cannot be read, or a link leads to a folder, nowhere or out of
            ``root``; nothing is passed over in silence.
    """
    scan = _Scan(root.resolve(), only, include, exclude, follow)
    whole = Folder("", str(root.resolve()))
    found = [whole]
    for folder in found:  # grows as it goes, so that a folder comes before those in it
        found += scan.read(folder)
    scan.leave_out_derived(found)
    for folder in reversed(found):
        folder.n_images = len(folder.images) + sum(f.n_images for f in folder.folders.values())
        for inner in folder.folders.values():
            folder.left_out.update(inner.left_out)
            folder.own |= inner.own
        if folder.last == _RESULTS and not folder.n_images and not folder.left_out.counts:
            folder.own = True  # of a run that did not begin
    return whole


class _Scan:
    """Reads one folder after the other, by the rule of what an image is."""

    def __init__(
        self,
        root: Path,
        only: Collection[str] | None,
        include: Sequence[str],
        exclude: Sequence[str],
        follow: bool,
    ) -> None:
        self._root = root
        self._only = only
        self._include, self._exclude = include, exclude
        self._follow = follow
        self._suffixes = frozenset(image_suffixes())
        self._cache = str(cache_folder())

    def read(self, folder: Folder) -> list[Folder]:
        """Fill in what lies right in a folder; returns the folders in it that are to be read."""
        try:
            with os.scandir(folder.path) as entries:
                here = list(entries)
        except OSError as error:
            raise unreadable_folder(folder.path, error) from error
        if folder.name and (folder.path == self._cache or _is_own(here)):
            folder.own = True
            return []
        only = None if folder.name else self._only
        plain = not (self._include or self._exclude or folder.of_masks)
        for entry in here:
            name = as_text(entry.name)
            if plain and self._is_picture(name) and entry.is_file(follow_symlinks=False):
                folder.images[name] = entry.path  # nearly all; the rest is for the others
                continue
            wanted = only is None or composed(name) in only
            if entry.is_dir(follow_symlinks=False):
                if wanted:
                    self._add_folder(folder, entry, by_name=only is None)
            elif wanted or not leads_to_folder(entry):
                self._add_file(folder, entry)
        folder.folders = dict(sorted(folder.folders.items()))
        of_masks = mask_folders(folder.folders) if only is None else ()
        for name, inner in folder.folders.items():
            inner.of_masks = folder.of_masks or name in of_masks
        return list(folder.folders.values())

    def _add_folder(self, folder: Folder, entry: os.DirEntry[str], *, by_name: bool) -> None:
        why = why_left_out(entry.name, folder=True) if by_name else ""
        if why:
            folder.left_out.add(why, as_text(entry.name))
        else:
            name = as_text(entry.name)
            folder.folders[name] = Folder(folder.name_of(name), entry.path)

    def _add_file(self, folder: Folder, entry: os.DirEntry[str]) -> None:
        why = self._why_left_out(folder, entry)
        name = as_text(entry.name)
        if not why and (path := self._path_of(entry)):
            folder.images[name] = path
        else:
            folder.left_out.add(why or LINKS, name)

    def _why_left_out(self, folder: Folder, entry: os.DirEntry[str]) -> str:
        """The kind of what is no image; "" of what may be one."""
        if not entry.is_file(follow_symlinks=False) and not entry.is_symlink():
            return SYSTEM  # a pipe or a socket, which nobody may open
        if self._include or self._exclude:
            name = folder.name_of(as_text(entry.name))
            if self._included(name):
                return ""
            if any(fnmatch.fnmatch(name, pattern) for pattern in self._exclude):
                return EXCLUDED
        why = "" if self._is_picture(entry.name) else why_left_out(entry.name)
        return why or (MASKS if folder.of_masks else "")

    def _is_picture(self, name: str) -> bool:
        """Whether a file is called as images are."""
        return name[0] != "." and name[name.rfind(".") :].lower() in self._suffixes

    def _included(self, name: str) -> bool:
        return any(fnmatch.fnmatch(name, pattern) for pattern in self._include)

    def _path_of(self, entry: os.DirEntry[str]) -> str:
        """Where a file is; "" where a link leads to none and that is no error."""
        if not entry.is_symlink():
            return entry.path
        if leads_to_file(entry):
            return (
                entry.path
                if self._follow
                else str(inside(self._root, entry.path, named_in=str(self._root)))
            )
        if self._follow:
            return ""
        there = "to something that is no file" if os.path.exists(entry.path) else "nowhere"  # noqa: PTH110
        where = "to a folder" if leads_to_folder(entry) else there
        raise DatasetError(
            f"{entry.path}: this link leads {where}. Put what it stands for in its place, "
            "or remove it."
        )

    def leave_out_derived(self, folders: Iterable[Folder]) -> None:
        """Take masks and thumbnails from the images, which their names tell beside others."""
        suspects = [folder for folder in folders if any_derived(folder.images)]
        if not suspects:
            return
        stems = {stem_of(name) for folder in folders for name in folder.images}
        for folder in suspects:
            for name, kind in derived_from_others(folder.images, stems).items():
                if not self._included(folder.name_of(name)):
                    del folder.images[name]
                    folder.left_out.add(kind, name)


def _is_own(here: Sequence[os.DirEntry[str]]) -> bool:
    """Whether what lies in a folder is what MedBench writes."""
    names = {entry.name for entry in here}
    if any(together <= names for together in _OWN) or (names and names <= _BEGUN):
        return True
    return _CACHE_ENTRY in names and not any(n.lower().endswith(image_suffixes()) for n in names)
