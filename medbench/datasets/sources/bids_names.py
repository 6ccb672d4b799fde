"""Names of files in a BIDS tree: entities, and the suffix that says what kind of image it is.

Source: Brain Imaging Data Structure 1.11.1, "Common principles" (Entities, Filenames) and the
appendix "Entities"; https://bids-specification.readthedocs.io.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from medbench.datasets.spellings import spelling

DATATYPE = "datatype"
"""What the folder of a file is called by the specification, as ``anat``."""
_NAME_OF_KEY = {
    "acq": "acquisition", "ce": "ceagent", "den": "density", "desc": "description",
    "dir": "direction", "hemi": "hemisphere", "inv": "inversion", "mod": "modality",
    "mt": "mtransfer", "nuc": "nucleus", "proc": "processing", "rec": "reconstruction",
    "res": "resolution", "seg": "segmentation", "ses": "session", "sub": "subject",
    "tpl": "template", "trc": "tracer", "voi": "volume",
}  # fmt: skip
"""Entities whose key in names of files is not their name; of the others (run, task) it is."""
KEY_OF_NAME = {name: key for key, name in _NAME_OF_KEY.items()}
"""How an entity is written in names of files, where that is not its name."""
_ENTITY = re.compile(r"([A-Za-z]+)-([A-Za-z0-9+]+)")
_SUFFIX = re.compile(r"[A-Za-z0-9]+")
_IMAGE = re.compile(r"([^.]+)\.nii(?:\.gz)?", re.IGNORECASE)
"""A NIfTI file; a surface of CIFTI has another dot in its name (``x_bold.dtseries.nii``)."""
_SUBJECT = re.compile(r"sub(?:j|ject)?-", re.IGNORECASE)
_SESSION = re.compile(r"ses(?:sion)?-", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class BidsFile:
    """An image of a BIDS tree."""

    name: str
    """Relative to the tree, with '/', as ``medbench.names.as_text`` gives it."""
    path: str
    """Where it is."""
    suffix: str
    """The end of its name, which says what it is: ``T1w``."""
    entities: dict[str, str]
    """What its name and folders say of it, by the entity's name: ``subject``, ``run``; and
    ``datatype``."""

    @property
    def subject(self) -> str:
        """The label of its subject, without ``sub-``."""
        return self.entities["subject"]

    @property
    def session(self) -> str:
        """The label of its session, without ``ses-``; "" where there is none."""
        return self.entities.get("session", "")


def image_stem(name: str) -> str:
    """The name of a NIfTI file without its extension; "" of any other file."""
    match = _IMAGE.fullmatch(name)
    return match[1] if match else ""


def parsed(stem: str) -> tuple[dict[str, str], str] | None:
    """The entities and the suffix of a file's name.

    Args:
        stem: The name without its extension, as ``sub-01_run-1_T1w``.

    Returns:
        Labels by the entity's name, and the suffix; None where it is no name of BIDS.
    """
    *pairs, suffix = stem.split("_")
    entities: dict[str, str] = {}
    for pair in pairs:
        match = _ENTITY.fullmatch(pair)
        if match is None or (name := entity_name(match[1])) in entities:
            return None
        entities[name] = match[2]
    return (entities, suffix) if _SUFFIX.fullmatch(suffix) else None


def entity_name(key: str) -> str:
    """The name of an entity by its key in names of files: ``acquisition`` of ``acq``."""
    return _NAME_OF_KEY.get(key.lower(), key.lower())


def subject_label(text: str) -> str:
    """The label of a subject, with or without ``sub-`` before it."""
    return _SUBJECT.sub("", text.strip(), count=1)


def session_label(text: str) -> str:
    """The label of a session, with or without ``ses-`` before it."""
    return _SESSION.sub("", text.strip(), count=1)


def known_label(known: Iterable[str]) -> Callable[[str], str]:
    """Finds the known label that another one means: itself, or the only one of its spelling.

    So 1 means 01, and s1 means S1, where there are no two of them. What means none gives "".

    Args:
        known: The labels, without ``sub-`` or ``ses-``.
    """
    labels = set(known)
    spelled: dict[Hashable, list[str]] = {}
    for label in labels:
        spelled.setdefault(spelling(label), []).append(label)

    def find(label: str) -> str:
        close = [label] if label in labels else spelled.get(spelling(label), [])
        return close[0] if len(close) == 1 else ""

    return find
