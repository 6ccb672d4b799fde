"""What others have published of a data set, to stand beside ours and never to be ranked with it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from medbench.reports.fields import Fields
from medbench.reports.rows import positive_class
from medbench.reports.text import format_score

PUBLISHED: Final = "published"
"""The status of such rows."""
HOW_TO_READ_PUBLISHED = (
    "Rows marked published are what others report for the official test part of the set, fitted "
    "their way and with their budget; they have no interval here and are compared with nothing."
)

_CITATION = "J. Yang et al. 2023"
"""J. Yang et al. (2023), "MedMNIST v2", Scientific Data 10(41), doi:10.1038/s41597-022-01721-8:
seven official baselines, AUROC as the unweighted mean over the classes."""
_OFFICIAL = "official"
BASELINES = Path(__file__).with_name("medmnist_v2.csv")
"""The file of what is published."""


@dataclass(frozen=True, kw_only=True)
class PublishedResult:
    """One method on the official test part of one set, as its authors report it."""

    method: str
    auroc: float
    """0 to 1, to three decimals."""
    accuracy: float
    """0 to 1, of several labels an image over all labels; at .5 where there is a threshold."""


def published_rows(dataset: str, record: Mapping[str, Any]) -> list[Fields]:
    """Rows of the leaderboard for what is published of a data set, best first.

    There are none unless the run used the official split, on which the results were made.

    Args:
        dataset: Name of the data set in the run.
        record: Its ``dataset.json``.

    Returns:
        Their fields, of which the number of trials is 0: it is not comparable with ours.
    """
    if not str(record["split"]).startswith(_OFFICIAL):
        return []
    return [
        Fields(
            dataset=dataset,
            model=result.method,
            status=PUBLISHED,
            kind="published",
            auroc=result.auroc,
            n_trials=0,
            folds="",
            positive=positive_class(record),
            note=f"published; accuracy {format_score(result.accuracy)}; {origin(record)}",
        )
        for result in _results().get(record.get("published", ""), ())
    ]


def origin(record: Mapping[str, Any]) -> str:
    """Who published what is known of a data set, and whether our file is theirs."""
    return _CITATION + "; our file is not the official one" * (not record.get("official_file"))


@cache
def _results() -> Mapping[str, tuple[PublishedResult, ...]]:
    """All published results by name of the set."""
    found: dict[str, list[PublishedResult]] = {}
    with BASELINES.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["dataset"], []).append(
                PublishedResult(
                    method=row["method"], auroc=float(row["auc"]), accuracy=float(row["acc"])
                )
            )
    return {
        name: tuple(sorted(results, key=lambda result: (-result.auroc, result.method)))
        for name, results in found.items()
    }
