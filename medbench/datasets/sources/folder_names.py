"""Names of folders, compared: what one is called as, and whether several hold the same."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from medbench.datasets.csv_files import SPLIT_WORDS
from medbench.datasets.image_names import composed, words_in
from medbench.datasets.sources.image_files import Folder

_FILLERS = frozenset({"set", "sets", "data", "dataset", "images", "image", "imgs", "img", "split",
                      "folder", "samples", "cases"})  # fmt: skip
_UNLABELLED = frozenset({"unlabeled", "unlabelled", "unannotated"})
_SHORT_PARTS = {"tr": "train", "ts": "test"}
"""As in imagesTr."""
FOLDS = re.compile(r"(?:fold|kfold|cv|part|batch|chunk|shard|subset|site|cent(?:er|re)|hospital)s?")
PATIENTS = re.compile(r"(?:patient|pat|subject|subj|sub|case|person|participant|pid|p)s?")
_NAMED = 4
"""Folders named in a sentence; more are counted."""


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
    pairs = [(place, folder.images[name]) for name, place in inner.images.items()]
    for one in inner.filled:
        others = beside[one.last].places_below()
        pairs += [(place, others.get(name, "")) for name, place in one.places_below().items()]
    return all(other and _size(place) == _size(other) for place, other in pairs)


def _size(place: str) -> int:
    return os.stat(place).st_size  # noqa: PTH116  half the time, of many files


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
    first, second = (folder.places_below() for folder in folders[:2])
    both = first.keys() & second.keys()
    if of_same_size:
        both = {name for name in both if _size(first[name]) == _size(second[name])}
    return 2 * len(both) > min(len(first), len(second))


def is_numbered(name: str, pattern: re.Pattern[str]) -> bool:
    """Whether a folder is called as the pattern says and a number: fold_3, patient01, P7."""
    match = re.fullmatch(r"([a-z]+)[\W_]*(\d+|[a-z])", name.lower())
    return match is not None and pattern.fullmatch(match[1]) is not None


def listed(names: Iterable[str]) -> str:
    """Names in a sentence, each once; the first few."""
    names = list(dict.fromkeys(names))
    some = ", ".join(names[:_NAMED])
    return some if len(names) <= _NAMED else f"{some} and {len(names) - _NAMED} more"
