"""What lies in a BIDS tree: images and tables, told by names alone; no image is opened.

Source: Brain Imaging Data Structure 1.11.1, "Common principles" (Filesystem structure).
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from medbench.datasets.findings import how_many
from medbench.datasets.image_names import composed
from medbench.datasets.sources.base import inside, leads_to_folder, unreadable_folder
from medbench.datasets.sources.bids_names import (
    DATATYPE,
    BidsFile,
    image_stem,
    parsed,
    session_label,
    subject_label,
)
from medbench.errors import DatasetError
from medbench.names import as_text
from medbench.opening import IMAGE, read_regular

DESCRIPTION, PARTICIPANTS = "dataset_description.json", "participants.tsv"
_SUBJECT_FOLDER = re.compile(r"sub-.+", re.IGNORECASE)
_ANY = re.compile(".+", re.DOTALL)
_SESSION_FOLDER = re.compile(r"ses-.+", re.IGNORECASE)
_LEFT_ALONE = frozenset({"derivatives", "sourcedata", "code", "stimuli"})
"""Folders that hold no raw images, wherever they lie."""
_LONGEST_POINTER = 1000
"""Bytes of a file that only names what should be in its place."""
_POINTERS = (b"/annex/objects/", b"version https://git-lfs.github.com/spec/")
"""How such a file of git-annex (unlocked) and of Git LFS begins."""


class BidsTree:
    """A BIDS tree as its names tell.

    Attributes:
        root: Its folder.
        subjects: The label of each subject that has a folder, in order of the folders.
        files: All NIfTI files whose name says what they are, in order of the names.
        sessions: All sessions.tsv, each with the label of its subject.
        scans: All scans.tsv, likewise.
        odd: What is not as the specification has it: kinds of it, with how often.
    """

    def __init__(self, root: Path) -> None:
        """Read the names.

        Args:
            root: The folder of the tree.

        Raises:
            DatasetError: It is no folder, has no folders of subjects, two are called alike, or a
                folder cannot be read or is a link.
        """
        self.root = root
        self.subjects: list[str] = []
        self.files: list[BidsFile] = []
        self.sessions: list[tuple[str, Path]] = []
        self.scans: list[tuple[str, Path]] = []
        self.odd: Counter[str] = Counter()
        self._seen: set[str] = set()
        if not root.is_dir():
            raise DatasetError(f"{root}: not a folder. Name the folder of the BIDS tree.")
        for entry in _folders(root, _SUBJECT_FOLDER):
            self._read_subject(entry)
        if not self.subjects:
            raise DatasetError(
                f"{root}: has no folders sub-LABEL, one for each subject, as a BIDS tree has. Name "
                "the folder that has them in the field path."
            )

    def notes(self) -> Iterator[str]:
        """What is not as the specification has it, in words; no subject is named."""
        if not (self.root / DESCRIPTION).exists():
            yield f"the BIDS tree has no {DESCRIPTION}; it is read all the same"
        for what, n in (+self.odd).items():
            noun, _, rest = what.partition(" ")
            yield f"{how_many(n, noun)} {rest}"

    def _read_subject(self, folder: os.DirEntry[str]) -> None:
        subject = subject_label(as_text(folder.name))
        if subject in self._seen:
            raise DatasetError(
                f"{folder.path}: two folders are of the subject {subject!r}. Put them together."
            )
        self._seen.add(subject)
        self.subjects.append(subject)
        known = {"subject": subject}
        self._read_files(folder, known)
        for inner in _folders(folder.path):
            if not _SESSION_FOLDER.fullmatch(inner.name):
                self._read_datatype(inner, known)
                continue
            of_session = known | {"session": session_label(as_text(inner.name))}
            self._read_files(inner, of_session)
            for last in _folders(inner.path):
                self._read_datatype(last, of_session)

    def _read_datatype(self, folder: os.DirEntry[str], known: dict[str, str]) -> None:
        self._read_files(folder, known | {DATATYPE: as_text(folder.name)})
        for _ in _folders(folder.path):
            self.odd[_DEEPER] += 1

    def _read_files(self, folder: os.DirEntry[str], known: dict[str, str]) -> None:
        """Take what lies right in a folder, of which the folders above say what is known."""
        for entry in _entries(folder.path):
            if not (entry.is_file(follow_symlinks=False) or entry.is_symlink()):
                self.odd[_SYSTEM] += not entry.is_dir(follow_symlinks=False)
                continue
            name = composed(as_text(entry.name)).lower()
            if name.endswith("sessions.tsv") and "session" not in known and DATATYPE not in known:
                self.sessions.append((known["subject"], Path(entry.path)))
            elif name.endswith("scans.tsv") and DATATYPE not in known:
                self.scans.append((known["subject"], Path(entry.path)))
            elif stem := image_stem(as_text(entry.name)):
                self._add_image(entry, stem, known)

    def _add_image(self, entry: os.DirEntry[str], stem: str, known: dict[str, str]) -> None:
        found = parsed(stem)
        if found is None:
            self.odd[_NOT_NAMED] += 1
            return
        entities, suffix = found
        if any(entities.get(one, known[one]) != known[one] for one in known):
            self.odd[_ELSEWHERE] += 1
            return
        if not known.keys() - {DATATYPE} <= entities.keys():
            self.odd[_SHORT_NAME] += 1
        if DATATYPE not in known:
            self.odd[_NO_DATATYPE] += 1
        name = Path(entry.path).relative_to(self.root).as_posix()
        self.files.append(
            BidsFile(name=as_text(name), path=entry.path, suffix=suffix, entities=entities | known)
        )


_DEEPER = "folder below those of data types (anat) left alone: a BIDS tree has none there"
_SYSTEM = "file left out: a pipe, a socket or a device"
_NOT_NAMED = "file left out: no name of BIDS, sub-LABEL_KEY-LABEL_SUFFIX.nii.gz"
_ELSEWHERE = "file left out: called by another subject or session than the folders it lies in"
_SHORT_NAME = "file without its subject or session in the name: those of the folders are taken"
_NO_DATATYPE = "file in no folder of a data type (anat), read all the same"


def is_bids(folder: Path) -> bool:
    """Whether a folder is meant as a BIDS tree: it says so, and has folders of subjects.

    Raises:
        DatasetError: It cannot be read, or a folder of a subject is a link.
    """
    if not any(os.path.lexists(folder / name) for name in (DESCRIPTION, PARTICIPANTS)):
        return False
    return any(True for _ in _folders(folder, _SUBJECT_FOLDER))


def content_of(path: str, root: Path) -> str:
    """Where the content of a file is; "" where only a name for it was fetched.

    In a clone of git-annex (DataLad, OpenNeuro) a file without content is a link that leads
    nowhere, or a short text.

    Args:
        path: The file.
        root: The folder of the tree.

    Raises:
        DatasetError: It is a link that leads out of the tree, or to no file.
    """
    if os.path.islink(path):  # noqa: PTH114  half the time, of many files
        if not os.path.exists(path):  # noqa: PTH110
            return ""
        path = str(inside(root, path, named_in=str(root)))
        if not os.path.isfile(path):  # noqa: PTH113
            raise DatasetError(
                f"{path}: a link leads there, and it is no file. Put a file in its place, or "
                "remove the link."
            )
    status = os.stat(path)  # noqa: PTH116
    if stat.S_ISREG(status.st_mode) and status.st_size <= _LONGEST_POINTER:
        return "" if read_regular(path, IMAGE).startswith(_POINTERS) else path
    return path


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, in order of the names, without what is hidden."""
    try:
        with os.scandir(folder) as entries:
            here = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise unreadable_folder(folder, error) from error
    return sorted(here, key=lambda entry: entry.name)


def _folders(folder: str | Path, called: re.Pattern[str] = _ANY) -> Iterator[os.DirEntry[str]]:
    """The folders in a folder that are called so and may hold raw images.

    Raises:
        DatasetError: One is a link, which may lead anywhere.
    """
    for entry in _entries(folder):
        if entry.name.lower() in _LEFT_ALONE or not called.fullmatch(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield entry
        elif entry.is_symlink() and leads_to_folder(entry):
            raise DatasetError(
                f"{entry.path}: this link leads to a folder. Put what it stands for in its place, "
                "or remove it."
            )
