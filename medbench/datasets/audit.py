"""What is wrong with a data set before anything is trained: copies, leaks, imbalance, shortcuts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench.datasets.duplicates import LARGEST_SHARE, LARGEST_SMALL
from medbench.datasets.prepared import PreparedDataset
from medbench.datasets.task import membership

Severity = Literal["serious", "warning", "note"]
Rows = NDArray[np.int64]

SEVERITIES: tuple[Severity, ...] = ("serious", "warning", "note")
"""Worst first."""
UNREADABLE = "unreadable"
"""The check whose images have no rows, because they were left out."""

_RECORDED = 1000
"""Row numbers of a finding that are recorded; more are counted."""
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
_PROPERTIES = {
    "bytes": "the file size",
    "width": "the width",
    "height": "the height",
    "aspect": "the aspect ratio",
    "mode": "the pixel mode",
}
"""In words; all but the last are numbers."""
_PROPERTY_IMAGES = 20
"""Images of a class, and not of it, below which an AUROC of a property is mostly noise."""
_TELLING, _VERY_TELLING = 0.7, 0.9
"""AUROC of a file property alone."""
_LONGEST_NAME = 40
"""Characters of a class's name in a sentence."""
_MOST_CLASSES_NAMED = 5
_ROWS_AT_A_TIME = 1024


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a reader of results, or the owner of the images, must know."""

    check: str
    """What was looked for: a name that stays the same, as ``"label-conflicts"``."""
    severity: Severity
    text: str
    """One sentence with the numbers; no file names."""
    remedy: str
    """One sentence: what to do."""
    images: tuple[int, ...] = ()
    """Row numbers of the images concerned, those of one group side by side; may be empty."""
    numbers: Mapping[str, Any]
    """The numbers of the sentence and those behind it, JSON-ready."""

    def as_record(self) -> dict[str, Any]:
        """JSON-ready; ``images`` holds the first 1,000 row numbers and ``n_images`` their count."""
        return {
            "check": self.check,
            "severity": self.severity,
            "text": self.text,
            "remedy": self.remedy,
            "n_images": len(self.images),
            "images": list(self.images[:_RECORDED]),
            "numbers": dict(self.numbers),
        }


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Everything that was found in one data set."""

    findings: tuple[Finding, ...]
    """The worst first."""
    n_images: int
    n_groups: int
    """Groups (patients, or images that are alike) that a split keeps whole."""

    @property
    def worst(self) -> Severity | None:
        """The severity of the worst finding; None where there is none."""
        return self.findings[0].severity if self.findings else None

    def reaches(self, severity: Severity | None) -> bool:
        """Whether a finding is at least as bad; never, where ``severity`` is None.

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


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Which images of a data set are identical, and which contents are nearly so."""

    content: Rows
    """Number of each image's content, int64, shape (n_images,): equal pixels, equal number."""
    first: Rows
    """Contents that are near-identical to those in ``second``, int64, shape (n_pairs,); pairs at
    which joining stopped are left out."""
    second: Rows

    @classmethod
    def of(cls, dataset: PreparedDataset) -> Copies:
        """Those of a prepared data set."""
        content = pd.factorize(dataset.table["pixel_hash"])[0].astype(np.int64)
        near = dataset.near_pairs[dataset.near_pairs["joined"].to_numpy(bool)]
        first, second = near["first"].to_numpy(np.int64), near["second"].to_numpy(np.int64)
        return cls(content=content, first=content[first], second=content[second])

    def apart(self, key: Rows) -> _Apart:
        """The pairs of identical or near-identical images whose keys differ.

        They are counted, never listed: a thousand copies of one image are half a million pairs.

        Args:
            key: One number an image, int64, shape (n_images,); images with one below 0 are left
                out.
        """
        from scipy.sparse import coo_array

        n_contents = int(self.content.max(initial=-1)) + 1
        counted = key >= 0
        where = (self.content[counted], key[counted])
        shape = (n_contents, int(key.max(initial=0)) + 1)
        counts = coo_array((np.ones(counted.sum(), np.int64), where), shape=shape).tocsr()
        total = np.asarray(counts.sum(axis=1)).ravel()
        alike = np.asarray(counts.multiply(counts).sum(axis=1)).ravel()
        identical = (total**2 - alike) // 2
        crossed = counts[self.first].multiply(counts[self.second])
        near = total[self.first] * total[self.second] - np.asarray(crossed.sum(axis=1)).ravel()
        concerned = identical > 0
        concerned[self.first[near > 0]] = True
        concerned[self.second[near > 0]] = True
        rows: Rows = np.flatnonzero(concerned[self.content] & counted)
        return _Apart(identical=int(identical.sum()), near=int(near.sum()), rows=rows)


@dataclass(frozen=True, kw_only=True)
class _Apart:
    identical: int
    """Pairs with equal pixels."""
    near: int
    rows: Rows
    """Images in these pairs."""

    @property
    def pairs(self) -> int:
        return self.identical + self.near

    @property
    def numbers(self) -> dict[str, int]:
        return {"pairs": self.pairs, "identical": self.identical, "near": self.near}


def audit(dataset: PreparedDataset) -> Audit:
    """Look for everything in a data set that would make its results untrustworthy.

    Nothing is trained, and of the pixels only those are read that can show a constant image; a
    hundred thousand small images take seconds.

    Args:
        dataset: Decoded images with their table and near-identical pairs.

    Source: the checks follow Roberts et al. (2021), "Common pitfalls and recommendations for using
    machine learning to detect and prognosticate for COVID-19", Nature Machine Intelligence 3, and
    the CLAIM check list, Mongan et al. (2020), Radiology: AI 2(2).
    """
    copies = Copies.of(dataset)
    found = chain(
        _unreadable(dataset),
        _copies(dataset, copies),
        _across_parts(dataset, copies),
        _patients(dataset, copies),
        _balance(dataset),
        _file_properties(dataset),
        _constant(dataset),
    )
    findings = sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))
    return Audit(
        findings=tuple(findings),
        n_images=len(dataset.table),
        n_groups=int(dataset.table["group"].nunique()),
    )


def label_key(dataset: PreparedDataset) -> Rows:
    """One number an image for all of its labels, int64, shape (n_images,)."""
    labels = dataset.labels
    if labels.ndim == 1:
        return labels
    frame = pd.DataFrame(labels)
    return np.asarray(frame.groupby(list(frame.columns), sort=False).ngroup(), dtype=np.int64)


def _unreadable(dataset: PreparedDataset) -> Iterator[Finding]:
    n, all_of_them = len(dataset.unreadable), len(dataset.unreadable) + len(dataset.table)
    if n:
        yield Finding(
            check=UNREADABLE,
            severity="serious" if n / all_of_them > _MANY_UNREADABLE else "warning",
            text=f"{n:,} of {_count(all_of_them, 'file')} cannot be read and "
            f"{'is' if n == 1 else 'are'} left out.",
            remedy="Copy them again from their source, or remove them.",
            numbers={"unreadable": n, "files": all_of_them},
        )


def _copies(dataset: PreparedDataset, copies: Copies) -> Iterator[Finding]:
    conflicts = copies.apart(label_key(dataset))
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
            text=f"{_count(int(copied.sum()), 'group')} of identical images "
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
            text=f"{_count(int(joined.sum()), 'pair')} of near-identical images (hash distance "
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
        text=f"{_count(len(pairs), 'pair')} of near-identical images{some} would form a component "
        f"of more than {largest:,} images, 1% of the set or ten, and are not joined: the images "
        "may all look alike, or be one scan without an id.",
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
        crossing = copies.apart(side)
        if crossing.pairs:
            have = "has" if crossing.pairs == 1 else "have"
            yield Finding(
                check="duplicates-across-parts",
                severity=severity,
                text=f"{_alike(crossing)} {have} one image in {earlier} and the other in {later}.",
                remedy=f"Remove these images from {earlier}, or give --strict-split, which leaves "
                "them out.",
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
                text=f"{_count(len(both), 'patient')} {'has' if len(both) == 1 else 'have'} images "
                f"in both {earlier} and {later} ({(concerned & (side == 0)).sum():,} and "
                f"{(concerned & (side == 1)).sum():,}).",
                remedy=f"Remove these patients from {earlier}, or give --strict-split, which "
                "leaves them out.",
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
    joins = copies.apart(patient)
    if joins.pairs:
        join = "joins" if joins.pairs == 1 else "join"
        yield Finding(
            check="joins-across-patients",
            severity="warning",
            text=f"{_alike(joins)} {join} images of different patients "
            f"({_count(len(np.unique(patient[joins.rows])), 'patient')}).",
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
            text=f"{_count(len(several), 'patient')} {have} images under more than one label.",
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
        ratio, text = float(ratios[k]), f"{_named(classes[k])} is in {counts[0, k]:,} of "
        text = f"The labels are unbalanced: {text}{_count(len(labels), 'image')}"
    else:
        most, least = int(counts.argmax()), int(counts.argmin())
        ratio = float(counts[most] / max(counts[least], 1))
        text = (
            f"The classes are unbalanced: {_named(classes[most])} has "
            f"{_count(counts[most], 'image')} and {_named(classes[least])} {counts[least]:,}"
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
    names = [_named(name) for name in dataset.task.classes]
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
        f"{names[k]} ({_count(n_images[k], 'image')} of {_count(n_groups[k], 'group')})"
        for k in few[:_MOST_CLASSES_NAMED]
    ]
    if more := len(few) - len(listed):
        listed.append(f"{more:,} more")
    yield Finding(
        check="few-images",
        severity="serious" if n_groups[few[0]] < _TOO_FEW else "warning",
        text=f"Fewer than {_FEW} independent images (groups) show {_listed(listed)}.",
        remedy="Add images of other patients, join the class with another, or leave it out; its "
        "scores mean little.",
        numbers={
            "classes": [
                {"name": names[k], "images": int(n_images[k]), "groups": int(n_groups[k])}
                for k in few
            ]
        },
    )


def _file_properties(dataset: PreparedDataset) -> Iterator[Finding]:
    """Labels that can be told without looking at the picture."""
    classes, table = dataset.task.classes, dataset.table
    shown = membership(dataset.labels, len(classes))
    n_in = shown.sum(axis=0)
    enough = (n_in >= _PROPERTY_IMAGES) & (len(shown) - n_in >= _PROPERTY_IMAGES)
    if not enough.any():
        return
    table = table.assign(aspect=table["width"] / table["height"])
    values = {
        name: _auroc_of_each(table[name].to_numpy(np.float64), shown)
        for name in _PROPERTIES
        if name != "mode" and table[name].nunique() > 1
    }
    strengths = dict(values)
    if table["mode"].nunique() > 1:
        values["mode"] = _cramers_v_of_each(pd.factorize(table["mode"])[0], shown)
        strengths["mode"] = (1 + values["mode"]) / 2  # in a balanced fourfold table V = 2 AUROC - 1
    best = {name: int(np.where(enough, s, 0).argmax()) for name, s in strengths.items()}
    telling = [name for name in strengths if strengths[name][best[name]] >= _TELLING]
    telling.sort(key=lambda name: -strengths[name][best[name]])
    if not telling:
        return

    def score(name: str) -> str:
        value = f"{values[name][best[name]]:.2f}".removeprefix("0")
        return f"Cramér's V {value}" if name == "mode" else f"AUROC {value}"

    first, others = telling[0], [f"{_PROPERTIES[name]} ({score(name)})" for name in telling[1:]]
    text = (
        f"Labels follow the file, not only the picture: {_PROPERTIES[first]} alone tells "
        f"{_from_the_rest(dataset, best[first])} with {score(first)}"
    )
    strongest = strengths[first][best[first]]
    yield Finding(
        check="file-properties",
        severity="serious" if strongest >= _VERY_TELLING else "warning",
        text=f"{text}; also {_listed(others)}." if others else f"{text}.",
        remedy="The classes may come from different sources or devices: compare every model with "
        "the rows that see no anatomy, or take all classes from one source.",
        numbers={
            "classes": list(classes),
            **{
                name: [
                    round(float(v), 4) if ok else None
                    for v, ok in zip(of_each, enough, strict=True)
                ]
                for name, of_each in values.items()
            },
        },
    )


def _auroc_of_each(values: NDArray[np.float64], shown: NDArray[np.bool_]) -> NDArray[np.float64]:
    """AUROC, whichever way round, with which a property tells each class from the rest.

    Args:
        values: The property, shape (n_images,).
        shown: Which classes each image shows, shape (n_images, n_classes).

    Returns:
        float64, shape (n_classes,), from .5 to 1; .5 where a side has no image.

    Source: Mann & Whitney (1947), Annals of Mathematical Statistics 18(1): the AUROC from the sum
    of mid-ranks, which costs one sort for all classes.
    """
    from scipy.stats import rankdata

    n_in = shown.sum(axis=0).astype(np.float64)
    n_out = len(shown) - n_in
    sums = rankdata(values) @ shown
    pairs = np.maximum(n_in * n_out, 1)
    auroc = np.where(n_in * n_out > 0, (sums - n_in * (n_in + 1) / 2) / pairs, 0.5)
    either_way: NDArray[np.float64] = np.maximum(auroc, 1 - auroc)
    return either_way


def _cramers_v_of_each(codes: Rows, shown: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Cramér's V between a category and each class against the rest.

    Args:
        codes: The category, int, shape (n_images,), at least two of them.
        shown: Which classes each image shows, shape (n_images, n_classes).

    Returns:
        float64, shape (n_classes,), from 0 to 1; 0 where a side has no image.

    Source: Cramér (1946), "Mathematical Methods of Statistics", chapter 21.
    """
    n = len(codes)
    of_category = np.bincount(codes).astype(np.float64)
    of_class = shown.sum(axis=0).astype(np.float64)
    both = np.stack([np.bincount(codes[s], minlength=len(of_category)) for s in shown.T], axis=1)
    expected = of_category[:, None] * of_class / n
    # a category's deviation is the same in the class and outside it, with the sign changed
    outside = of_category[:, None] - expected
    with np.errstate(divide="ignore", invalid="ignore"):
        chi2 = ((both - expected) ** 2 * (1 / expected + 1 / outside)).sum(axis=0)
    v: NDArray[np.float64] = np.sqrt(np.nan_to_num(chi2 / n, posinf=0))
    return v


def _from_the_rest(dataset: PreparedDataset, k: int) -> str:
    """Words for a class and what it is told from."""
    names = [_named(name) for name in dataset.task.classes]
    if dataset.labels.ndim == 2:
        return f"images with {names[k]} from those without"
    return f"{names[k]} from {names[1 - k] if len(names) == 2 else 'the rest'}"


def _constant(dataset: PreparedDataset) -> Iterator[Finding]:
    images, n = dataset.images, len(dataset.images)
    middle = images.shape[1] // 2
    rows: list[int] = []
    for start in range(0, n, _ROWS_AT_A_TIME):
        part = images[start : start + _ROWS_AT_A_TIME]
        line = part[:, middle]  # settles nearly all of them
        candidates = np.flatnonzero((line == line[:, :1]).all(axis=(1, 2)))
        whole = part[candidates]
        constant = candidates[(whole == whole[:, :1, :1]).all(axis=(1, 2, 3))]
        rows += (constant + start).tolist()
    if rows:
        yield Finding(
            check="constant-images",
            severity="serious" if len(rows) / n > _MANY_CONSTANT else "warning",
            text=f"{_count(len(rows), 'image')} {'shows' if len(rows) == 1 else 'show'} nothing: "
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


def _alike(apart: _Apart) -> str:
    """The beginning of a sentence on pairs, with what kind they are."""
    if apart.near == 0:
        return f"{_count(apart.pairs, 'pair')} of identical images"
    if apart.identical == 0:
        return f"{_count(apart.pairs, 'pair')} of near-identical images"
    return (
        f"{_count(apart.pairs, 'pair')} of identical ({apart.identical:,}) or near-identical "
        f"({apart.near:,}) images"
    )


def _named(name: str) -> str:
    """A class's name in quotes, without control characters and not too long."""
    cut = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
    return repr(cut)


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _listed(items: Sequence[str]) -> str:
    """Items as ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(items[:-1]), items[-1]]))
