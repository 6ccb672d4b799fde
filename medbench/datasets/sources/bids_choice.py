"""Which images of a BIDS tree are taken: by entities, and by the suffix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medbench.datasets.findings import enumerated, how_many
from medbench.datasets.sources.bids_names import DATATYPE, KEY_OF_NAME, BidsFile, entity_name
from medbench.datasets.sources.bids_tree import BidsTree
from medbench.datasets.spellings import spelling
from medbench.errors import DatasetError, UndecidedError

_NO_PICTURES = frozenset({"mask", "defacemask", "dseg", "probseg"})
"""Suffixes of masks, in lower case: taken only where a person names them."""
_NAMED = 10
"""Labels in a message; more are counted."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The images that are taken."""

    suffix: str
    files: list[BidsFile]
    notes: tuple[str, ...]


def choose(
    tree: BidsTree, where: Mapping[str, str | tuple[str, ...]], suffix: str | None
) -> Chosen:
    """The images that the fields ``where`` and ``suffix`` of an entry keep.

    Args:
        tree: The tree.
        where: Labels by the name of the entity; "" is that of files without it.
        suffix: The suffix; None where nobody said.

    Raises:
        UndecidedError: Nobody said the suffix, and there are several.
        DatasetError: There are no such images.
    """
    if not tree.files:
        odd = "; ".join(tree.notes()) or "nothing"
        raise DatasetError(
            f"{tree.root}: no images: no file in its folders of subjects is called as NIfTI images "
            f"are in BIDS (sub-LABEL_SUFFIX.nii.gz). What was found: {odd}."
        )
    files: Sequence[BidsFile] = tree.files
    for name, wanted in where.items():
        files = _kept(tree, files, name, (wanted,) if isinstance(wanted, str) else wanted)
    by_suffix: dict[str, list[BidsFile]] = {}
    for file in files:
        by_suffix.setdefault(file.suffix.lower(), []).append(file)
    called = {lower: _commonest(own) for lower, own in by_suffix.items()}
    notes = []
    if suffix is None:
        lower = _only_one(tree, by_suffix, called)
        notes.append(f"the images are those with the suffix {called[lower]}, the only one")
    else:
        lower = suffix.lower()
    if lower not in by_suffix:
        raise DatasetError(
            f"{tree.root}: no image has the suffix {suffix!r}. Suffixes there: "
            f"{', '.join(called.values())}. Name one of them in the field suffix (--suffix of "
            "datasets add)."
        )
    taken = by_suffix[lower]
    if others := Counter(file.suffix for file in taken if file.suffix != called[lower]):
        each = ", ".join(f"{n} {other}" for other, n in others.items())
        notes.append(f"suffixes written in another case are taken for {called[lower]}: {each}")
    notes += _varying(taken)
    return Chosen(suffix=called[lower], files=taken, notes=tuple(notes))


def _kept(
    tree: BidsTree, files: Sequence[BidsFile], name: str, wanted: Sequence[str]
) -> list[BidsFile]:
    """The files whose entity has one of these labels.

    Raises:
        DatasetError: None has, or the entity is not called so.
    """
    there = {entity for file in tree.files for entity in file.entities}
    if name not in there:
        full = entity_name(name)
        hint = f" {name!r} is how names of files have it: write {full}." * (full in there)
        raise DatasetError(
            f"{tree.root}: no name of a file has the entity {name!r} of the field where.{hint} "
            f"Entities there: {', '.join(sorted(there))}."
        )
    before = f"{KEY_OF_NAME.get(name, name)}-"
    labels = Counter(file.entities.get(name, "") for file in files)
    kept: set[str] = set()
    for text in wanted:
        label = text.removeprefix(before)
        close = [one for one in labels if spelling(one) == spelling(label)]
        exact = label in labels
        if not exact and len(close) != 1:
            some = ", ".join(repr(one) for one in sorted(labels)[:_NAMED])
            more = f" and {len(labels) - _NAMED} more" * (len(labels) > _NAMED)
            raise DatasetError(
                f"{tree.root}: no file has {name} {text!r}, which the field where asks for. Labels "
                f"there: {some}{more}."
            )
        kept.add(label if exact else close[0])
    return [file for file in files if file.entities.get(name, "") in kept]


def _commonest(files: Sequence[BidsFile]) -> str:
    return Counter(file.suffix for file in files).most_common(1)[0][0]


def _only_one(
    tree: BidsTree, by_suffix: Mapping[str, Sequence[BidsFile]], called: Mapping[str, str]
) -> str:
    """The only suffix, in lower case.

    Raises:
        UndecidedError: There are several.
    """
    likely = [lower for lower in by_suffix if lower not in _NO_PICTURES] or list(by_suffix)
    if len(likely) == 1:
        return likely[0]
    choices = {}
    for lower in likely:
        own = by_suffix[lower]
        folders = enumerated(sorted({file.entities.get(DATATYPE, "no folder") for file in own}))
        subjects = how_many(len({file.subject for file in own}), "subject")
        choices[called[lower]] = f"{how_many(len(own), 'file')} of {subjects} in {folders}"
    raise UndecidedError(
        f"{tree.root}: its images are of several kinds, which the end of their names tells.",
        field="suffix",
        choices=choices,
    )


def _varying(files: Sequence[BidsFile]) -> list[str]:
    """A note where a session of a subject has several images: what tells them apart."""
    of_session: dict[tuple[str, str], list[BidsFile]] = {}
    for file in files:
        of_session.setdefault((file.subject, file.session), []).append(file)
    several = [own for own in of_session.values() if len(own) > 1]
    if not several:
        return []
    labels: dict[str, Counter[str]] = {}
    for own in several:
        for name in sorted({name for file in own for name in file.entities}):
            if len({file.entities.get(name, "") for file in own}) > 1:
                labels.setdefault(name, Counter()).update(f.entities.get(name, "") for f in own)
    told = []
    for name, found in labels.items():
        each = [f"{label or 'none'} {n}" for label, n in found.most_common(_NAMED)]
        told.append(f"{name} ({', '.join(each)})")
    by = f", told apart by {enumerated(told)}" if told else " (.nii and .nii.gz of one name)"
    return [
        f"{how_many(len(several), 'session')} of a subject with several images{by}: all are taken "
        "(the field where keeps some)"
    ]
