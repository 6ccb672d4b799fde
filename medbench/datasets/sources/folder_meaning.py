"""What the folders of a data set mean: classes, parts of a split, patients, versions, copies.

Only names are looked at, and sizes of files where names are the same. The names of sub-folders are
compared across the folders above them: where they are the same, the folders above are no classes,
and where names do not tell what they are, a person must.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medbench.datasets.findings import how_many
from medbench.datasets.image_names import composed
from medbench.datasets.sources.folder_names import (
    FOLDS,
    PATIENTS,
    called_as,
    innermost,
    is_code,
    is_numbered,
    is_unlabelled,
    listed,
    part_of_split,
    refuse_versions,
    repeats,
    same_files,
    same_folders,
    tables_in,
)
from medbench.datasets.sources.image_files import Folder
from medbench.datasets.sources.labelled_folders import (
    Labelled,
    as_classes,
    as_codes,
    as_parts,
    as_paths,
    as_patients,
    as_split_in_names,
    refuse_other_classes,
)
from medbench.datasets.spellings import refuse_spellings
from medbench.errors import DatasetError, UndecidedError

MODES = {
    "classes": "these folders are the classes",
    "parts": "they are parts of one set (folds, sites); the folders in them are the classes",
    "patients": "each is a patient; the folders in them are the classes",
    "paths": "each folder in each of them is a class of its own",
}
FIELD = "folders"
_MOST_CHOICES = 12


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What the folders of a data set mean."""

    parts: tuple[Labelled, ...]
    notes: tuple[str, ...] = ()
    """What a person must know of it."""


def meaning(whole: Folder, *, decided: str = "", classes: Collection[str] = ()) -> Meaning:
    """What the folders in a data set's folder mean.

    Args:
        whole: The data set's folder.
        decided: What a person says of it: a mode, a folder that is to be used alone
            (``"original/"``), or both (``"original/classes"``).
        classes: Classes that a person named, in composed Unicode.

    Raises:
        UndecidedError: It cannot be told by names; the field is ``folders``.
        DatasetError: There are no class folders, or what was decided does not fit them.
    """
    inner, _, mode = decided.rpartition("/")
    if mode and mode not in MODES:
        raise DatasetError(
            f"{whole.path}: field {FIELD}: {decided!r} is none of {', '.join(MODES)}, nor a "
            "folder in it, which ends with '/'."
        )
    folder = whole
    for name in filter(None, inner.split("/")):
        if name not in folder.folders:
            raise DatasetError(
                f"{folder.path}: field {FIELD}: has no folder {name!r} with images. Folders "
                f"there: {listed(one.last for one in folder.filled)}."
            )
        folder = folder.folders[name]
    found = _Reader(f"{inner}/" if inner else "", mode, frozenset(classes)).read(folder)
    counts = Counter[str]()
    for part in found.parts:
        counts[part.label] += part.folder.n_images
    refuse_spellings(counts, classes, named_in=f"{whole.path}: the class folders")
    if not mode:
        refuse_versions(counts, classes, named_in=whole.path)
    return found


class _Reader:
    """Reads the folders in one folder, and collects what must be said of them."""

    def __init__(self, prefix: str, mode: str, classes: frozenset[str]) -> None:
        self._prefix = prefix
        """What stands before a choice: the folder that a person chose already."""
        self._mode = mode
        self._classes = classes
        self._notes: list[str] = []
        self._by_code = False
        """Whether folders in the classes of another part of a split are called by numbers."""

    def read(self, folder: Folder) -> Meaning:
        """What the folders in ``folder`` mean."""
        if self._classes and self._classes <= {composed(name) for name in folder.folders}:
            tops = [f for f in folder.folders.values() if composed(f.last) in self._classes]
            self._refuse_empty(tops)
            parts = self._split_within(folder, tops) or as_classes(tops)
        else:
            self._leave_out_repeats(folder)
            parts = self._parts(self._unwrapped(folder))
        return Meaning(parts=tuple(parts), notes=tuple(self._notes))

    def _parts(self, folder: Folder) -> Sequence[Labelled]:
        if folder.images:
            self._say(f"{_images(len(folder.images))} in no class folder: left out")
        official = self._official(folder.filled)
        if official is None and not self._mode:
            official = as_split_in_names(folder.filled)
            if official:
                self._say("official split by the names of the class folders, as train_ and test_")
        if official is not None:
            return official
        tops = self._without_another_version(folder)
        return self._split_within(folder, tops) or self._classes_in(folder, tops)

    def _classes_in(
        self, folder: Folder, tops: Sequence[Folder], *, alone: bool = True
    ) -> Sequence[Labelled]:
        """The classes where no folder right here is a part of an official split.

        Args:
            folder: Where the folders lie.
            tops: The folders.
            alone: Whether one of them may be used alone.
        """
        mode = self._mode or self._told_by_names(folder, tops, alone=alone)
        if mode in ("parts", "patients", "paths"):
            pooled = (
                as_paths(tops) if mode == "paths" else as_parts(tops, patients=mode == "patients")
            )
            loose = sum(t.n_images for t in tops) - sum(p.folder.n_images for p in pooled)
            if loose:
                self._say(f"{_images(loose)} in none of the class folders: left out")
            return pooled
        self._refuse_empty(folder.folders.values())
        parts = [top for top in tops if part_of_split(top.last)]
        if parts and len(parts) == len(tops):
            raise DatasetError(
                f"{folder.path}: its folders are called {listed(t.last for t in tops)}, which "
                "are parts of a split, not classes, and there are no class folders in them. Put "
                "the images into a folder for each class, or write a table (CSV) with the columns "
                "file, label and split for datasets add."
            )
        parts = [top for top in tops if top in parts or is_unlabelled(top.last)]
        for top in parts:
            self._say(
                f"{top.last}/ is called as no class is (it has no class folders either): "
                f"{_images(top.n_images)} left out"
            )
        tops = [top for top in tops if top not in parts]
        if not self._mode:
            self._refuse_numbered(folder, tops)
        if by_patient := as_patients(tops):
            n = len({part.group for part in by_patient})
            self._say(f"the {n} folders in the class folders are taken for patients")
            if deeper := same_folders([part.folder for part in by_patient]):
                self._say(
                    f"the folders in those of patients ({listed(deeper)}) are not told apart; if "
                    f'they are the classes, use one folder alone (field {FIELD}: "{tops[0].name}/")'
                )
            return by_patient
        if not self._mode and (by_code := as_codes(tops, few=self._by_code)):
            self._by_code = True
            self._say(
                f"the {len(by_code)} folders in the class folders are called by numbers, as "
                f'patients or scans are: each is one group (not so with {FIELD}: "classes")'
            )
            return by_code
        self._show_deeper(tops)
        return as_classes(tops)

    # --- what is no class --------------------------------------------------------------------

    def _unwrapped(self, folder: Folder) -> Folder:
        """The folder in which several lie, where others are only wrapped around it."""
        if any(
            not (one.n_images or one.own) and one.left_out.traces_only
            for one in folder.folders.values()
        ):
            return folder  # of two classes one may be empty
        inner = innermost(folder)
        if inner is not folder:
            self._say(f"all images lie in the folder {inner.name}/")
        return inner

    def _leave_out_repeats(self, whole: Folder) -> None:
        """Take folders away of which every file is also beside them, under the same name."""
        for folder in whole.walk():
            for inner in folder.filled:
                if repeats(inner, folder):
                    del folder.folders[inner.last]
                    n = inner.n_images
                    self._say(f"{inner.name}/ repeats what lies beside it: {_images(n)} left out")
        for folder in reversed(list(whole.walk())):
            folder.n_images = len(folder.images) + sum(f.n_images for f in folder.filled)

    def _without_another_version(self, folder: Folder) -> list[Folder]:
        """The folders, without one that holds others of the names of those beside it.

        Raises:
            UndecidedError: There is one, and it may be that it alone is meant.
        """
        tops = folder.filled
        for top in tops:
            inner = {one.last for one in innermost(top).filled}
            beside = {one.last for one in tops if one is not top}
            if len(inner) < 2 or not inner <= beside or all(map(part_of_split, inner)):
                continue
            if self._mode != "classes":
                raise self._undecided(
                    f"{folder.path}: the folder {top.last}/ holds folders of the same names as "
                    f"those beside it ({listed(sorted(inner))}), with other files.",
                    {"classes": f"the folders beside it are the classes, without {top.last}/"},
                    [top],
                )
            self._say(f"{top.last}/ is another version: {_images(top.n_images)} left out")
            tops = [one for one in tops if one is not top]
        return tops

    def _refuse_empty(self, folders: Iterable[Folder]) -> None:
        for folder in folders:
            if folder.n_images or folder.own:
                continue
            if folder.left_out.traces_only or composed(folder.last) in self._classes:
                raise DatasetError(
                    f"{folder.path}: this class folder has no images. "
                    "Fill it, remove it, or list the classes to use in the field classes."
                )
            self._say(f"{folder.last}/ holds no images ({folder.left_out}): no class")

    # --- parts of a split --------------------------------------------------------------------

    def _official(self, tops: Sequence[Folder]) -> Sequence[Labelled] | None:
        """The parts of an official split, where folders right here are called so; else None."""
        named = {top.name: part_of_split(top.last) for top in tops}
        labelled = [top for top in tops if named[top.name] and top.filled]
        others = [top for top in tops if not named[top.name]]
        if not labelled:
            return None
        if len({named[top.name] for top in labelled}) < 2:
            inner = {one.last for top in labelled for one in innermost(top).filled}
            if inner <= {top.last for top in others} or any(
                same_folders([top, *labelled]) for top in others
            ):
                return None
        labelled.sort(key=lambda top: named[top.name] != "train")
        found = {top.name: self._classes_of_part(top) for top in labelled}
        trained = [top for top in labelled if named[top.name] == "train"] or labelled
        classes = {part.label for top in trained for part in found[top.name]}
        refuse_other_classes(found, classes, wanted=self._classes)
        parts: list[Labelled] = []
        for top in tops:
            of_top = found.get(top.name, ())
            if classes & {part.label for part in of_top}:
                split = named[top.name]
                parts += [replace(part, split=split) for part in of_top]
            else:
                why = "has no class folders" if named[top.name] else "lies beside the split"
                self._say(f"{top.last}/ {why}: {_images(top.n_images)} left out")
        counts = Counter[str]()
        for part in parts:
            counts[part.split] += part.folder.n_images
        said = ", ".join(f"{name} {counts[name]}" for name in ("train", "val", "test"))
        if counts["train"] and counts["test"]:
            self._say(f"official split by the names of folders: {said}")
            return parts
        self._say(f"no official split, which needs folders for train and test ({said})")
        return [replace(part, split="") for part in parts]

    def _classes_of_part(self, part: Folder) -> Sequence[Labelled]:
        inner = innermost(part)
        return self._classes_in(inner, inner.filled, alone=False)

    def _split_within(self, folder: Folder, tops: Sequence[Folder]) -> Sequence[Labelled] | None:
        """The parts of a split that lie within each class folder; None where there are none.

        Raises:
            UndecidedError: Within each of these parts are classes, so that each folder here is
                a split of its own, as folds are.
        """
        within = [{one.last for one in top.filled if part_of_split(one.last)} for top in tops]
        if self._mode not in ("", "classes") or len(tops) < 2 or not all(within):
            return None
        if len({part_of_split(name) for names in within for name in names}) < 2:
            return None
        deeper = [part for top in tops for part in top.filled if part_of_split(part.last)]
        if not self._mode and same_folders(deeper):
            raise self._undecided(
                f"{folder.path}: each of {listed(t.last for t in tops)} holds "
                f"{listed(sorted(within[0]))} with the same class folders in them: each is a "
                "split of its own, as folds are, and only one of them can be used.",
                {},
                tops[:_MOST_CHOICES],
            )
        parts = []
        for top in tops:
            if top.images:
                self._say(f"{top.name}/: {_images(len(top.images))} in no part of it: left out")
            for one in top.filled:
                if part := part_of_split(one.last):
                    parts.append(Labelled(folder=one, label=composed(top.last), split=part))
                else:
                    n = _images(one.n_images)
                    self._say(f"{one.name}/ lies beside the parts of a split: {n} left out")
        if {"train", "test"} <= {part.split for part in parts}:
            self._say("official split by the names of the folders in each class folder")
            return parts
        return [replace(part, split="") for part in parts]

    # --- the same folders in each ------------------------------------------------------------

    def _told_by_names(self, folder: Folder, tops: Sequence[Folder], *, alone: bool) -> str:
        """Whether the folders are classes, or what else where the same ones lie in each.

        Raises:
            UndecidedError: The same ones lie in each, and names do not tell what that means.
        """
        shared = same_folders(tops)
        if not shared:
            if alone:
                self._refuse_two_levels(folder, tops)
            return "classes"
        among = [top for top in tops if top.filled]
        if any(all(is_numbered(name, p) for name in shared) for p in (FOLDS, PATIENTS)):
            return "classes"
        copies = same_files(among, of_same_size=True)
        says = f"{listed(t.last for t in among)} hold the same folders ({listed(shared)})"
        for pattern, mode in ((FOLDS, "parts"), (PATIENTS, "patients")):
            if not copies and all(is_numbered(top.last, pattern) for top in among):
                what = "parts of one set" if mode == "parts" else "patients"
                they = listed(t.last for t in among) if mode == "parts" else f"{len(among)} folders"
                self._say(
                    f"{they} hold the same folders ({listed(shared)}): taken for {what}, and these "
                    "for the classes"
                )
                return mode
        named_alike = same_files(among, of_same_size=False)
        alike = ", and files of the same names in them, as copies or versions have" * named_alike
        raise self._undecided(
            f"{folder.path}: {says}{alike}: they may be parts of one set, patients, versions of "
            "the same images, or classes. If some hold no images of their own, as masks, leave "
            "them out with the field exclude (--exclude of datasets add).",
            MODES,
            among if alone and len(among) <= _MOST_CHOICES else (),
        )

    def _refuse_numbered(self, folder: Folder, tops: Sequence[Folder]) -> None:
        """Refuse folders of patients or parts as classes.

        Raises:
            UndecidedError: All are called so, and there are no class folders in them.
        """
        if what := called_as([top.last for top in tops]):
            raise self._undecided(
                f"{folder.path}: its folders are called {listed(t.last for t in tops)}, as {what} "
                "are, and there are no class folders in them. If these are no classes, write a "
                "table (CSV) with the columns file, label and group for datasets add."
                f"{tables_in(Path(folder.path))}",
                {"classes": MODES["classes"]},
                [],
            )

    def _refuse_two_levels(self, folder: Folder, tops: Sequence[Folder]) -> None:
        """Refuse class folders beside one in which others with names lie, or parts of a split.

        Raises:
            UndecidedError: It may be that one, both levels or the upper one that has the classes.
        """
        inner = {top.last: [one.last for one in innermost(top).filled] for top in tops}
        deep = {
            name: names
            for name, names in inner.items()
            if len(names) > 1 and not any(map(is_code, names))
        }
        of_parts = {name: names for name, names in deep.items() if any(map(part_of_split, names))}
        if not of_parts and (not deep or all(inner.values())):
            return
        (name, names), *_ = (of_parts or deep).items()
        others = listed(other for other in inner if other != name)
        raise self._undecided(
            f"{folder.path}: the folder {name} holds folders ({listed(names)}), but what lies "
            f"beside it ({others}) does not, so that it is not clear which are the classes.",
            {mode: MODES[mode] for mode in ("classes", "paths")},
            [top for top in tops if top.last in deep],
        )

    def _show_deeper(self, tops: Sequence[Folder]) -> None:
        """Say that there are folders in the class folders, which may be the classes meant."""
        deeper = [one for top in tops for one in innermost(top).filled]
        if deeper and len(deeper) > len([top for top in tops if top.filled]):
            self._say(
                f"the classes are {listed(t.last for t in tops)}; the {len(deeper)} folders in "
                f"them ({_named(deeper)}) are not told apart (field "
                f'{FIELD}: "parts" or "paths" makes them the classes)'
            )

    # --- words -------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)

    def _undecided(
        self, message: str, modes: Mapping[str, str], alone: Sequence[Folder]
    ) -> UndecidedError:
        """The question what folders are: one of the modes, or one of them alone is meant."""
        choices = {f"{self._prefix}{mode}": means for mode, means in modes.items()}
        choices |= {f"{top.name}/": "only what is in this folder" for top in alone}
        return UndecidedError(message, field=FIELD, choices=choices)


def _images(n: int) -> str:
    return how_many(n, "image")


def _named(folders: Sequence[Folder]) -> str:
    """Folders by name, but not those of patients, who are named in no run."""
    return listed("a number" if is_code(one.last) else one.last for one in folders)
