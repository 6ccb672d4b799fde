"""The tables of this benchmark: on a terminal and in a page of the documentation."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what benchmarks share
from estimates import ALLOWED

_RATIO, _BEHIND = 1.3, 0.005
"""Wanted of wall time against the script, at most; AUROC below the script's, at most."""
_DEMO, _CNN = 0.5, 0.85
"""Wanted of the demo's wall time against the earlier commit, at most; of the CNN's AUROC there."""
_COMPLETE = 3
"""Complete trials wanted of each family in each fold, at least."""
_PAIRS = ("data set", "ours, s", "script, s", "ratio", "ours", "script", "difference", "met")
_REACH = ("what", "figure", "wanted", "met")

Rows = list[tuple[str, ...]]


def pair_rows(kept: Mapping[str, Any], names: Sequence[str]) -> Rows:
    """A row a data set: medians over the seeds that were taken."""
    rows = []
    for name in names:
        pairs = [found for key, found in kept.items() if key.rpartition(" ")[0] == name]
        if not pairs:
            continue
        ours, other = ([pair[side]["seconds"] for pair in pairs] for side in ("ours", "other"))
        best, theirs = ([pair[side]["auroc"] for pair in pairs] for side in ("ours", "other"))
        ratio = median(ours) / median(other)
        difference = median(a - b for a, b in zip(best, theirs, strict=True))
        rows.append(
            (
                f"{name} ({len(pairs)} seed{'s' * (len(pairs) > 1)})",
                f"{median(ours):.1f}",
                f"{median(other):.1f}",
                f"{ratio:.2f}",
                f"{median(best):.4f}",
                f"{median(theirs):.4f}",
                f"{difference:+.4f}",
                _met(ratio <= _RATIO and difference >= -_BEHIND),
            )
        )
    return rows


def reach_rows(demo: Mapping[str, Any] | None, quick: Mapping[str, Any]) -> Rows:
    """A row a figure of the demo, and of each run under the budget ``quick``."""
    rows = list(_of_demo(demo)) if demo is not None else []
    for name, run in quick.items():
        for family, found in run["families"].items():
            fewest, most = found["complete"]
            said = f"{fewest}" if fewest == most else f"{fewest} to {most}"
            said += f", {found['cut']} cut" * bool(found["cut"])
            said += f", failed: {'; '.join(found['failed'])}" * bool(found["failed"])
            rows.append(
                (
                    f"quick, {name}: complete trials of {family}",
                    said,
                    f">= {_COMPLETE}",
                    _met(fewest >= _COMPLETE),
                )
            )
        if run["seconds"] is not None:
            rows.append(_of_estimate(name, run))
    return rows


def _of_demo(demo: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    yield (
        "demo: wall time against 54e0e62",
        f"{demo['ratio']:.2f} ({median(demo['ours']):.0f} s, {median(demo['other']):.0f} s)",
        f"<= {_DEMO}",
        _met(demo["ratio"] <= _DEMO),
    )
    auroc = demo["details"]["auroc"]["ours"]
    if "cnn" in auroc:
        yield "demo: AUROC of cnn", f"{auroc['cnn']:.3f}", f">= {_CNN}", _met(auroc["cnn"] >= _CNN)
    if "thumbnail" in auroc:
        families = ("hog-svm", "xgboost", "cnn", "inceptionv3", "efficientnet-lite0")
        tuned = {name: auroc[name] for name in families if name in auroc}
        said = ", ".join(f"{name} {value:.3f}" for name, value in tuned.items())
        yield (
            "demo: AUROC of tuned families",
            said,
            f">= {auroc['thumbnail']:.3f} (thumbnail)",
            _met(min(tuned.values()) >= auroc["thumbnail"]),
        )


def _of_estimate(name: str, run: Mapping[str, Any]) -> tuple[str, ...]:
    what, wanted = f"quick, {name}: first estimate against wall time", f"within {ALLOWED}"
    if run["estimate"] is None:
        return what, f"none said ({run['seconds']:.0f} s)", wanted, _met(False)
    factor = run["seconds"] / run["estimate"]
    said = f"{run['estimate']:.0f} s, took {run['seconds']:.0f} s (x {factor:.2f})"
    return what, said, wanted, _met(1 / ALLOWED <= factor <= ALLOWED)


def _met(whether: bool) -> str:
    return "yes" if whether else "no"


def as_text(content: Mapping[str, Any], names: Sequence[str]) -> str:
    """Both tables, the machine and what failed, in Markdown."""
    pairs = pair_rows(content["pairs"], names)
    reach = reach_rows(content["demo"], content["quick"])
    lines: list[str] = []
    for header, rows in ((_PAIRS, pairs), (_REACH, reach)):
        if rows:
            lines += ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
            lines += ["| " + " | ".join(row) + " |" for row in rows] + [""]
    machine = content["machine"]
    lines.append(
        f"{machine['processor']}, {machine['threads']} cores, {machine['system']}, Python "
        f"{machine['python']}; load {machine['load_at_start'][0]:.1f} at the start; commit "
        f"{', '.join(sorted(set(content['commits'].values())))}."
    )
    for name, why in content["failed"].items():
        lines.append(f"- {name} failed: {why}")
    return "\n".join(lines)
