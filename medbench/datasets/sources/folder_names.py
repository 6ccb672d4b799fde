"""Names of folders, compared: what one is called as, and whether several hold the same."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from medbench.datasets.csv_files import SPLIT_WORDS
from medbench.datasets.excel_files import EXCEL_SUFFIXES
from medbench.datasets.findings import how_many
from medbench.datasets.image_names import composed, words_in
from medbench.datasets.parquet_files import PARQUET_SUFFIXES
from medbench.datasets.sources.image_files import Folder
from medbench.errors import DatasetError
from medbench.names import as_text

_FILLERS = frozenset({"set", "sets", "data", "dataset", "images", "image", "imgs", "img", "split",
                      "folder", "samples", "cases"})  # fmt: skip
_UNLABELLED = frozenset({"unlabeled", "unlabelled", "unannotated"})
_SHORT_PARTS = {"tr": "train", "ts": "test"}
"""As in imagesTr."""
FOLDS = re.compile(r"(?:fold|kfold|cv|part|batch|chunk|shard|subset|site|cent(?:er|re)|hospital)s?")
PATIENTS = re.compile(r"(?:patient|pat|subject|subj|sub|case|person|participant|pid|p)s?")
_VERSION = (
    r"(?:copy|copies|aug|augm|augment|augmented|augmentations?|duplicates?|original|orig|resized|"
    r"cropped|flipped|rotated|enhanced|preprocessed|processed)"
)
_VERSION_OF = re.compile(
    rf"(?:{_VERSION}(?: of)?[\W_]+)?(.+?)(?:[\W_]+{_VERSION}[\W_]*\d*\W*|\s*\(\d+\))?",
    re.IGNORECASE,
)
"""A folder called as a copy or version of another one: no_augmented, yes - Copy (2)."""
_ORDINAL = re.compile(r"^\d{1,3}[\W_]+(?=\D+$)")
"""The number before the name of a class: 01_TUMOR."""
_PARTS = frozenset({"part", "fold", "batch", "chunk", "shard", "images", "image", "imgs", "img"})
"""A word of folders that differ in their number only: HAM10000_images_part_1, images_001."""
_LEAST_NUMBERS = 5
"""So many folders with numbers of three digits in their names are patients or scans."""
_NAMED = 4
"""Folders named in a sentence; more are counted."""

_TABLES = (".csv", ".tsv", *PARQUET_SUFFIXES, *EXCEL_SUFFIXES)
"""Files beside images that may have their labels."""


def innermost(folder: Folder) -> Folder:
    """The first folder from here on that does not merely hold a single one that holds more."""
    while len(filled := folder.filled) == 1 and filled[0].filled and not folder.images:
        folder = filled[0]
    return folder


def part_of_split(name: str) -> str:
    """Which part of a split a folder is called, "" where none."""
    words = words_in(name)
    meant = [word for word in words if word not in _FILLERS]
    if len(meant) != 1:
        return ""
    (word,) = meant
    if len(words) > 1 and word in _SHORT_PARTS:
        return _SHORT_PARTS[word]
    return SPLIT_WORDS.get(word) or SPLIT_WORDS.get(word.removesuffix("set"), "")


def is_unlabelled(name: str) -> bool:
    """Whether a folder is called as those of images without labels are."""
    return bool(_UNLABELLED & set(words_in(name)))


def repeats(inner: Folder, folder: Folder) -> bool:
    """Whether all files in a folder are also beside it, under the same names and of the same size.

    Args:
        inner: The folder.
        folder: The one in which it lies.
    """
    beside = {one.last: one for one in folder.filled if one is not inner}
    if not (
        inner.images.keys() <= folder.images.keys()
        and all(one.last in beside for one in inner.filled)
    ):
        return False
    pairs = [(path, folder.images[name]) for name, path in inner.images.items()]
    for one in inner.filled:
        others = beside[one.last].paths_below()
        pairs += [(path, others.get(name, "")) for name, path in one.paths_below().items()]
    return all(other and _size(path) == _size(other) for path, other in pairs)


def _size(path: str) -> int:
    return os.stat(path).st_size  # noqa: PTH116  half the time, of many files


def same_folders(folders: Sequence[Folder]) -> list[str]:
    """The names of folders that lie in several of these, if what matters lies in them; in order.

    A single one in all of them tells nothing, nor does one called ``images``.
    """
    names: dict[str, str] = {}
    holding, n_images = Counter[str](), Counter[str]()
    for folder in folders:
        for inner in innermost(folder).filled:
            key = composed(inner.last).casefold()
            names.setdefault(key, inner.last)
            holding[key] += 1
            n_images[key] += inner.n_images
    shared = sorted(key for key, count in holding.items() if count > 1)
    in_shared = sum(n_images[key] for key in shared)
    telling = len(holding) > 1 and any(set(words_in(key)) - _FILLERS for key in shared)
    return [names[key] for key in shared] if telling and 2 * in_shared >= n_images.total() else []


def same_files(folders: Sequence[Folder], *, of_same_size: bool) -> bool:
    """Whether most files of the first folder are in the second too, under the same names."""
    first, second = (folder.paths_below() for folder in folders[:2])
    both = first.keys() & second.keys()
    if of_same_size:
        both = {name for name in both if _size(first[name]) == _size(second[name])}
    return 2 * len(both) > min(len(first), len(second))


def is_numbered(name: str, pattern: re.Pattern[str]) -> bool:
    """Whether a folder is called as the pattern says and a number: fold_3, patient01, P7."""
    match = re.fullmatch(r"([a-z]+)[\W_]*(\d+|[a-z])", name.lower())
    return match is not None and pattern.fullmatch(match[1]) is not None


def called_as(names: Sequence[str]) -> str:
    """What folders are called as that are no classes, all of them; "" where not so."""
    for pattern, what in ((PATIENTS, "patients"), (FOLDS, "parts of one set")):
        if len(names) > 1 and all(is_numbered(name, pattern) for name in names):
            return what
    but_numbers = {re.sub(r"\d+$", "", name) for name in names}
    if len(names) > 1 and len(but_numbers) == 1 and _PARTS & set(words_in(names[0])):
        return "parts of one set"
    numbers = len(names) >= _LEAST_NUMBERS and all(re.search(r"\d{3}", name) for name in names)
    return "patients or scans" if numbers else ""


def is_code(name: str) -> bool:
    """Whether a folder is called by a number, as patients and scans are: Brats18_HGG_7."""
    return bool(re.search(r"\d", _ORDINAL.sub("", name)))


def refuse_versions(counts: Mapping[str, int], named: Collection[str], *, named_in: str) -> None:
    """Refuse classes that are called as copies or versions of one, unless a person named them.

    Args:
        counts: Images of each class.
        named: The classes that a person named.
        named_in: Where they are, for the message.

    Raises:
        DatasetError: There are such; both are named, with their counts.
    """
    called: dict[str, str] = {}
    for label in counts:
        match = _VERSION_OF.fullmatch(label)
        base = match[1].casefold() if match else label
        other = called.setdefault(base, label)
        if other != label and not {label, other} <= set(named):
            both = " and ".join(f"{n!r} ({how_many(counts[n], 'image')})" for n in (other, label))
            raise DatasetError(
                f"{named_in}: of the class folders {both} one is called as a copy or another "
                f"version of the other. Leave it out with the field exclude: '{label}/*' "
                "(--exclude of datasets add); if they are two classes, say so with the field "
                'folders: "classes" (--folders of datasets add).'
            )


def listed(names: Iterable[str]) -> str:
    """Names in a sentence, each once; the first few."""
    names = list(dict.fromkeys(names))
    some = ", ".join(names[:_NAMED])
    return some if len(names) <= _NAMED else f"{some} and {len(names) - _NAMED} more"


def tables_in(root: Path) -> str:
    """A sentence on tables beside the images, which may have the labels; "" without any."""
    found = (one for one in root.iterdir() if one.suffix.lower() in _TABLES)
    names = sorted(as_text(one.name) for one in found)
    if not names:
        return ""
    return (
        f" If the labels are in {' or '.join(names[:_NAMED])}, name that file instead of the "
        f"folder: python -m medbench datasets add NAME {root / names[0]}"
    )
