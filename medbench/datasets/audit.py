"""What is wrong with a data set before anything is trained: copies, leaks, imbalance, shortcuts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench.datasets.copies import Copies, DifferingPairs, Rows, label_key
from medbench.datasets.doubtful_reading import doubtful_reading
from medbench.datasets.duplicates import LARGEST_SHARE, LARGEST_SMALL
from medbench.datasets.file_properties import file_properties
from medbench.datasets.findings import SEVERITIES, Finding, Severity, enumerated, how_many, quoted
from medbench.datasets.header_findings import header_findings
from medbench.datasets.mask_findings import mask_findings
from medbench.datasets.prepared import PreparedDataset
from medbench.datasets.small_parts import small_parts
from medbench.datasets.splits import FEWEST_FOR_FOLDS
from medbench.datasets.task import membership

UNREADABLE = "unreadable"
"""The check whose images have no rows, because they were left out."""

_PAIRS_OF_PARTS = (("train", "test"), ("val", "test"), ("train", "val"))
_MANY_COPIES = 0.05
"""Share of the images above which copies are more than a curiosity."""
_MANY_UNREADABLE = 0.05
"""Share of the files above which those left out may change what the set shows."""
_MANY_CONSTANT = 0.01
_UNBALANCED, _VERY_UNBALANCED = 3, 10
"""Images of the commonest class to one of the rarest."""
_FEW, _TOO_FEW = 10, 5
"""Images or groups of a class below which its scores say little, or nothing."""
_REFUSED = (
    f"; with fewer than {FEWEST_FOR_FOLDS} groups a class cannot be learnt, tuned on and tested, "
    "so run refuses the set"
)
_MOST_CLASSES_NAMED = 5
_BLOCK_BYTES = 8 << 20
"""Prepared pixels read at a time."""


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """Everything that was found in one data set."""

    findings: tuple[Finding, ...]
    """The worst first; empty where nothing was found."""
    n_images: int
    """Number of images that could be read."""
    n_groups: int
    """Groups (patients, or images that are alike) that a split keeps whole."""

    @property
    def worst(self) -> Severity | None:
        """The severity of the worst finding; None where there is none."""
        return self.findings[0].severity if self.findings else None

    def reaches(self, severity: Severity | None) -> bool:
        """Whether a finding is at least as bad as a severity.

        Args:
            severity: ``"serious"``, ``"warning"`` or ``"note"``; None, which is never reached.

        Raises:
            ValueError: There is no such severity.
        """
        if severity is None:
            return False
        worse = SEVERITIES[: SEVERITIES.index(severity) + 1]
        return self.worst in worse

    def as_record(self) -> dict[str, Any]:
        """JSON-ready, without names of files or patients: images are row numbers."""
        return {
            "n_images": self.n_images,
            "n_groups": self.n_groups,
            "worst": self.worst,
            "findings": [finding.as_record() for finding in self.findings],
        }


def audit(dataset: PreparedDataset) -> AuditReport:
    """Look for everything in a data set that would make its results untrustworthy.

    Nothing is trained, and of the pixels only those are read that can show a constant image; a
    hundred thousand small images take seconds.

    Args:
        dataset: Decoded images with their table and near-identical pairs.

    Returns:
        The findings, the worst first.

    Source: the checks follow Roberts et al. (2021), "Common pitfalls and recommendations for using
    machine learning to detect and prognosticate for COVID-19", Nature Machine Intelligence 3, and
    Mongan et al. (2020), "Checklist for artificial intelligence in medical imaging (CLAIM)",
    Radiology: AI 2(2).
    """
    copies = Copies.of(dataset)
    found = chain(
        _unreadable(dataset),
        doubtful_reading(dataset),
        _copies(dataset, copies),
        _across_parts(dataset, copies),
        _patients(dataset, copies),
        _balance(dataset),
        small_parts(dataset),
        file_properties(dataset),
        header_findings(dataset),
        _constant(dataset),
        mask_findings(dataset),
    )
    findings = sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))
    return AuditReport(
        findings=tuple(findings),
        n_images=len(dataset.table),
        n_groups=int(dataset.table["group"].nunique()),
    )


def _unreadable(dataset: PreparedDataset) -> Iterator[Finding]:
    n, all_of_them = len(dataset.unreadable), len(dataset.unreadable) + len(dataset.table)
    if n:
        yield Finding(
            check=UNREADABLE,
            severity="serious" if n / all_of_them > _MANY_UNREADABLE else "warning",
            text=f"{n:,} of {how_many(all_of_them, 'file')} cannot be read and "
            f"{'is' if n == 1 else 'are'} left out.",
            remedy="Copy them again from their source, or remove them.",
            numbers={"unreadable": n, "files": all_of_them},
        )


def _copies(dataset: PreparedDataset, copies: Copies) -> Iterator[Finding]:
    conflicts = copies.differing(label_key(dataset))
    if conflicts.pairs:
        carry = "carries" if conflicts.pairs == 1 else "carry"
        yield Finding(
            check="label-conflicts",
            severity="serious",
            text=f"{_alike(conflicts)} {carry} different labels.",
            remedy="Look at each pair, and correct or remove the image whose label is wrong.",
            images=_in_groups(dataset, conflicts.rows),
            numbers=conflicts.numbers,
        )
    sizes = np.bincount(copies.content)
    copied = sizes > 1
    n_images, surplus = int(sizes[copied].sum()), int((sizes[copied] - 1).sum())
    if surplus:
        yield Finding(
            check="exact-duplicates",
            severity=_of_share(surplus, len(dataset.table)),
            text=f"{how_many(int(copied.sum()), 'group')} of identical images "
            f"{'holds' if copied.sum() == 1 else 'hold'} {n_images:,} images, {surplus:,} of them "
            "surplus.",
            remedy="Folds keep identical images on one side; remove the surplus ones, which count "
            "some cases twice.",
            images=_in_groups(dataset, np.flatnonzero(copied[copies.content])),
            numbers={"groups": int(copied.sum()), "images": n_images, "surplus": surplus},
        )
    yield from _near(dataset, copies)


def _near(dataset: PreparedDataset, copies: Copies) -> Iterator[Finding]:
    near = dataset.near_pairs
    joined = near["joined"].to_numpy(bool)
    if joined.any():
        alike = np.isin(copies.content, np.union1d(copies.first, copies.second))
        distances = near.loc[joined, "distance"]
        low, high = int(distances.min()), int(distances.max())
        yield Finding(
            check="near-duplicates",
            severity=_of_share(int(alike.sum()), len(dataset.table)),
            text=f"{how_many(int(joined.sum()), 'pair')} of near-identical images (hash distance "
            f"{low if low == high else f'{low} to {high}'} of 256 bits), "
            f"{alike.sum():,} images with all their copies.",
            remedy="Folds keep them on one side; if one is a processed copy of the other, remove "
            "one of them.",
            images=_in_groups(dataset, np.flatnonzero(alike)),
            numbers={
                "pairs": int(joined.sum()),
                "images": int(alike.sum()),
                "lowest_distance": low,
                "highest_distance": high,
            },
        )
    if not joined.all():
        yield _stopped(dataset, copies, near[~joined])


def _stopped(dataset: PreparedDataset, copies: Copies, pairs: pd.DataFrame) -> Finding:
    """Pairs that were not joined, since then their component would be too large to be true."""
    ends = pairs[["first", "second"]].to_numpy(np.int64)
    rows = np.flatnonzero(np.isin(copies.content, copies.content[np.unique(ends)]))
    n_contents = int(copies.content.max()) + 1
    largest = max(int(LARGEST_SHARE * n_contents), LARGEST_SMALL)
    conflicts = int(np.diff(label_key(dataset)[ends]).astype(bool).sum())
    some = f" ({conflicts:,} of them with different labels)" if conflicts else ""
    return Finding(
        check="joining-stopped",
        severity="warning",
        text=f"{how_many(len(pairs), 'pair')} of near-identical images{some} would form a "
        f"component of more than {largest:,} images, 1% of the set or ten, and are not joined: the "
        "images may all look alike, or be one scan without an id.",
        remedy="Look at these pairs; if they show one patient, name the patients in a column of "
        "groups.",
        images=_in_groups(dataset, rows),
        numbers={
            "pairs": len(pairs),
            "images": len(rows),
            "different_labels": conflicts,
            "largest_joined": largest,
        },
    )


def _across_parts(dataset: PreparedDataset, copies: Copies) -> Iterator[Finding]:
    """What is on both sides of an official split, which is kept as it is."""
    part = dataset.table["split"].to_numpy(str)
    patient = dataset.table["patient"].to_numpy(np.int64)
    for earlier, later in _PAIRS_OF_PARTS:
        severity: Severity = "serious" if later == "test" else "warning"
        side = np.where(part == earlier, 0, np.where(part == later, 1, -1)).astype(np.int64)
        crossing = copies.differing(side)
        if crossing.pairs:
            have = "has" if crossing.pairs == 1 else "have"
            yield Finding(
                check="duplicates-across-parts",
                severity=severity,
                text=f"{_alike(crossing)} {have} one image in {earlier} and the other in {later}.",
                remedy=f"Remove these images from {earlier}, or run with --strict-split, which "
                "leaves them out.",
                images=_in_groups(dataset, crossing.rows),
                numbers={"parts": [earlier, later], **crossing.numbers},
            )
        named = patient >= 0
        both = np.intersect1d(patient[named & (side == 0)], patient[named & (side == 1)])
        if len(both):
            concerned = np.isin(patient, both) & (side >= 0)
            yield Finding(
                check="patients-across-parts",
                severity=severity,
                text=f"{how_many(len(both), 'patient')} {'has' if len(both) == 1 else 'have'} "
                f"images in both {earlier} and {later} ({(concerned & (side == 0)).sum():,} and "
                f"{(concerned & (side == 1)).sum():,}).",
                remedy=f"Remove these patients from {earlier}, or run with --strict-split, "
                "which leaves them out.",
                images=_in_groups(dataset, np.flatnonzero(concerned)),
                numbers={
                    "parts": [earlier, later],
                    "patients": len(both),
                    "images": int(concerned.sum()),
                },
            )


def _patients(dataset: PreparedDataset, copies: Copies) -> Iterator[Finding]:
    patient = dataset.table["patient"].to_numpy(np.int64)
    named = patient >= 0
    if not named.any():
        yield Finding(
            check="no-patients",
            severity="note",
            text="No patients are named: images of one patient may be on both sides of a split; "
            "only (near-)identical ones are kept together.",
            remedy="Name the patient, lesion or scan of each image in a column of groups, if it is "
            "known.",
            numbers={},
        )
        return
    joins = copies.differing(patient)
    if joins.pairs:
        join = "joins" if joins.pairs == 1 else "join"
        yield Finding(
            check="joins-across-patients",
            severity="warning",
            text=f"{_alike(joins)} {join} images of different patients "
            f"({how_many(len(np.unique(patient[joins.rows])), 'patient')}).",
            remedy="Look at them: one person may have two ids, or an image may be filed under the "
            "wrong one; folds treat the joined patients as one.",
            images=_in_groups(dataset, joins.rows),
            numbers={**joins.numbers, "patients": len(np.unique(patient[joins.rows]))},
        )
    pairs = pd.DataFrame({"patient": patient[named], "label": label_key(dataset)[named]})
    n_labels = pairs.drop_duplicates()["patient"].value_counts()
    several = n_labels.index[n_labels > 1].to_numpy(np.int64)
    if len(several):
        have = "has" if len(several) == 1 else "have"
        yield Finding(
            check="patients-under-several-labels",
            severity="note",
            text=f"{how_many(len(several), 'patient')} {have} images under more than one label.",
            remedy="Nothing, if these are follow-up images or both sides of a body; else correct "
            "the labels.",
            images=_in_groups(dataset, np.flatnonzero(np.isin(patient, several))),
            numbers={"patients": len(several)},
        )


def _balance(dataset: PreparedDataset) -> Iterator[Finding]:
    classes, labels = dataset.task.classes, dataset.labels
    shown = membership(labels, len(classes))
    counts = shown.sum(axis=0)
    if labels.ndim == 2:  # each label is a task of its own: images with and without it
        counts = np.stack([counts, len(labels) - counts])
        ratios = counts.max(axis=0) / np.maximum(counts.min(axis=0), 1)
        k = int(ratios.argmax())
        ratio, text = float(ratios[k]), f"{quoted(classes[k])} is in {counts[0, k]:,} of "
        text = f"The labels are unbalanced: {text}{how_many(len(labels), 'image')}"
    else:
        most, least = int(counts.argmax()), int(counts.argmin())
        ratio = float(counts[most] / max(counts[least], 1))
        text = (
            f"The classes are unbalanced: {quoted(classes[most])} has "
            f"{how_many(counts[most], 'image')} and {quoted(classes[least])} {counts[least]:,}"
        )
    if ratio >= _UNBALANCED:
        yield Finding(
            check="class-balance",
            severity="warning" if ratio >= _VERY_UNBALANCED else "note",
            text=f"{text} (1:{ratio:.3g}).",
            remedy="Judge by AUROC, average precision and balanced accuracy; accuracy misleads "
            "here.",
            numbers={"ratio": round(ratio, 3), "counts": shown.sum(axis=0).tolist()},
        )
    yield from _few(dataset, shown)


def _few(dataset: PreparedDataset, shown: NDArray[np.bool_]) -> Iterator[Finding]:
    """Classes of too few images or groups."""
    names = [quoted(name) for name in dataset.task.classes]
    if dataset.labels.ndim == 2:
        names += [f"without {name}" for name in names]
        shown = np.concatenate([shown, ~shown], axis=1)
    groups = pd.factorize(dataset.table["group"])[0]
    n_images = shown.sum(axis=0)
    n_groups = np.array([np.count_nonzero(np.bincount(groups[s])) for s in shown.T])
    few = [int(k) for k in np.argsort(n_groups, kind="stable") if n_groups[k] < _FEW]
    if not few:
        return
    listed = [
        f"{names[k]} ({how_many(n_images[k], 'image')} of {how_many(n_groups[k], 'group')})"
        for k in few[:_MOST_CLASSES_NAMED]
    ]
    if more := len(few) - len(listed):
        listed.append(f"{more:,} more")
    refused = not (dataset.table["split"] != "").any() and n_groups[few[0]] < FEWEST_FOR_FOLDS
    yield Finding(
        check="few-images",
        severity="serious" if n_groups[few[0]] < _TOO_FEW else "warning",
        text=f"Fewer than {_FEW} independent images (groups) show {enumerated(listed)}.",
        remedy="Add images of other patients, join the class with another, or leave it out; its "
        f"scores mean little{_REFUSED if refused else ''}.",
        numbers={
            "classes": [
                {"name": names[k], "images": int(n_images[k]), "groups": int(n_groups[k])}
                for k in few
            ]
        },
    )


def _constant(dataset: PreparedDataset) -> Iterator[Finding]:
    images, n = dataset.images, len(dataset.images)
    at_a_time = max(1, _BLOCK_BYTES // math.prod(images.shape[1:]))
    middle = images.shape[1] // 2
    rows: list[int] = []
    for start in range(0, n, at_a_time):
        part = images[start : start + at_a_time]
        line = part[:, middle]  # settles nearly all of them
        candidates = np.flatnonzero((line == line[:, :1]).all(axis=(1, 2)))
        whole = part[candidates]
        constant = candidates[(whole == whole[:, :1, :1]).all(axis=(1, 2, 3))]
        rows += (constant + start).tolist()
    if rows:
        yield Finding(
            check="constant-images",
            severity="serious" if len(rows) / n > _MANY_CONSTANT else "warning",
            text=f"{how_many(len(rows), 'image')} {'shows' if len(rows) == 1 else 'show'} nothing: "
            "all pixels are equal.",
            remedy="Remove them, or find out what went wrong when they were exported.",
            images=_in_groups(dataset, np.array(rows)),
            numbers={"images": len(rows)},
        )


def _of_share(count: int, of: int) -> Severity:
    return "warning" if count / of > _MANY_COPIES else "note"


def _in_groups(dataset: PreparedDataset, rows: Rows) -> tuple[int, ...]:
    """Row numbers with those of one group side by side, groups in order of appearance."""
    group = dataset.table["group"].to_numpy(np.int64)[rows]
    order = np.argsort(pd.factorize(group)[0], kind="stable")
    return tuple(rows[order].tolist())


def _alike(pairs: DifferingPairs) -> str:
    """The beginning of a sentence on pairs, with what kind they are."""
    if pairs.near == 0:
        return f"{how_many(pairs.pairs, 'pair')} of identical images"
    if pairs.identical == 0:
        return f"{how_many(pairs.pairs, 'pair')} of near-identical images"
    return (
        f"{how_many(pairs.pairs, 'pair')} of identical ({pairs.identical:,}) or near-identical "
        f"({pairs.near:,}) images"
    )
