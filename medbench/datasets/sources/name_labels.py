"""Labels that stand in the names of files, as in ``covid_12.png``: a pattern says where."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from medbench.datasets.csv_files import SPLIT_WORDS, group_name
from medbench.datasets.image_names import composed
from medbench.datasets.spellings import counted
from medbench.errors import DatasetError

_GROUPS = ("label", "group", "patient", "split")
_REPEATED_TWICE = re.compile(r"[*+}]\)[*+{]")
"""A repetition of one, as ``(a+)+``, which may take for ever on a name that does not fit."""
_SHOWN = 5
_MOST_CLASSES = 20
_SHAPES = (
    r"(?P<label>[A-Za-z _-]*[A-Za-z])[^A-Za-z]*\d.*",
    r".*\d[^A-Za-z0-9]+(?P<label>[A-Za-z]+)\.\w+",
    r".*\d[^A-Za-z0-9]+(?P<label>[A-Za-z]+)[^A-Za-z]*\d.*",
    r".*\d_(?P<label>[01])\.\w+",
)
"""Where labels stand: NORMAL-1.png, 1_benign.png, person1_virus_2.png, CHNCXR_0001_0.png."""


class NameLabels(BaseModel):
    """How the name of a file says its label, and perhaps more."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    pattern: str = Field(max_length=300)
    """Regular expression (https://docs.python.org/3/library/re.html) that fits the whole name of
    each file; where it has a '/', the name with its folders, relative to ``path``. The group
    ``(?P<label>...)`` is the label; ``group`` or ``patient`` and ``split`` may be there too."""

    @field_validator("pattern")
    @classmethod
    def _is_sound(cls, pattern: str) -> str:
        try:
            named = set(re.compile(pattern).groupindex)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"{pattern!r} is no regular expression ({error})") from None
        if "label" not in named:
            raise ValueError(f"{pattern!r} has no group (?P<label>...), which is the class")
        if unknown := sorted(named - set(_GROUPS)):
            raise ValueError(
                f"{pattern!r} has a group called {unknown[0]}; the names are {', '.join(_GROUPS)}. "
                "Write (?:...) for a group without a name"
            )
        if {"group", "patient"} <= named:
            raise ValueError("group and patient are two names of one thing; keep one of them")
        if _REPEATED_TWICE.search(pattern):
            raise ValueError(
                f"{pattern!r} repeats what is repeated already, as (a+)+, which may never end. "
                "Repeat one of the two only"
            )
        return pattern

    @property
    def says_group(self) -> bool:
        """Whether it says of which patient a file is."""
        return not {"group", "patient"}.isdisjoint(re.compile(self.pattern).groupindex)


@dataclass(frozen=True, kw_only=True)
class NamedSo:
    """What the name of a file says."""

    label: str
    split: str = ""
    """"train", "val" or "test"; "" where nothing is said."""
    group: str = ""
    """The patient; "" where nothing is said."""


def said_by_names(names: Sequence[str], labels: NameLabels, root: Path) -> list[NamedSo]:
    """What the names of files say, by a pattern that fits each of them.

    Args:
        names: Of the files, relative to ``root``.
        labels: The pattern.
        root: The folder of the data set, for messages.

    Raises:
        DatasetError: A name does not fit, or says another part of a split than there is.
    """
    pattern = re.compile(labels.pattern)
    fits = [pattern.fullmatch(_matched(name, labels.pattern)) for name in names]
    if missed := [name for name, match in zip(names, fits, strict=True) if not match]:
        listed = ", ".join(map(repr, missed[:_SHOWN]))
        raise DatasetError(
            f"{root}: {len(missed)} of {len(names)} files are not called as the field labels has "
            f"it (pattern {labels.pattern!r}): {listed}{', ...' * (len(missed) > _SHOWN)}. Correct "
            "the pattern (--pattern of datasets add), which must fit the whole name with its "
            "extension, or leave these files out with the field exclude (--exclude of "
            "datasets add)."
        )
    return [_said(m.groupdict(), name, root) for name, m in zip(names, fits, strict=True) if m]


def proposed_pattern(names: Sequence[str]) -> str:
    """A sentence that names a pattern, where the names of files obviously say classes; else "".

    They do where all names have one shape, with a few different words in one place, each in
    several names.
    """
    tops = {name.partition("/")[0] for name in names}
    in_parts = len(tops) > 1 and all(
        top.lower() in SPLIT_WORDS and name.count("/") == 1
        for name in names
        for top in [name.partition("/")[0]]
    )
    before = f"(?P<split>{'|'.join(sorted(tops))})/" if in_parts else ""
    last = [name.rpartition("/")[2] for name in names]
    for shape in _SHAPES:
        counts = _counts(shape, last)
        if 2 <= len(counts) <= _MOST_CLASSES and min(counts.values()) > 1:
            return (
                f" The names of the files seem to say the classes ({counted(counts)}). If so, give "
                "python -m medbench datasets add NAME FOLDER --pattern "
                f"'{before}{shape}'"
            )
    return ""


def _counts(shape: str, names: Iterable[str]) -> Counter[str]:
    """How often each label is in the names; nothing where one does not have the shape."""
    counts: Counter[str] = Counter()
    for name in names:
        match = re.fullmatch(shape, name)
        if match is None:
            return Counter()
        counts[match["label"]] += 1
    return counts


def _matched(name: str, pattern: str) -> str:
    return composed(name if "/" in pattern else name.rpartition("/")[2])


def _said(groups: dict[str, str | None], name: str, root: Path) -> NamedSo:
    """What the groups of a pattern say.

    Raises:
        DatasetError: There is no label, or no such part of a split.
    """
    label, split = (groups.get("label") or "").strip(), groups.get("split")
    if not label:
        raise DatasetError(
            f"{root}: in the name {name!r} the group label of the field labels is empty. Correct "
            "the pattern (--pattern of datasets add)."
        )
    if split is not None and split.lower() not in SPLIT_WORDS:
        raise DatasetError(
            f"{root}: the name {name!r} says {split!r} for the group split of the field labels; it "
            "must be train, val or test. Correct the pattern (--pattern of datasets add)."
        )
    return NamedSo(
        label=label,
        split=SPLIT_WORDS[split.lower()] if split is not None else "",
        group=group_name(groups.get("group") or groups.get("patient") or ""),
    )
