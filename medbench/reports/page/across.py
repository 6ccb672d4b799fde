"""What the page shows across models and data sets: ranks, score against cost."""

from __future__ import annotations

from dataclasses import dataclass

from medbench.reports.assessment import Assessment
from medbench.reports.drawing import Drawing
from medbench.reports.figures import Figures
from medbench.reports.figures.costs import Costs
from medbench.reports.verdicts import across_verdict


@dataclass(frozen=True, kw_only=True)
class DatasetCosts:
    """One data set's figures of score against cost."""

    name: str
    title: str
    costs: Costs


@dataclass(frozen=True, kw_only=True)
class Across:
    """The section across data sets."""

    ranks: Drawing | None
    tested: bool
    """Whether a rank test was made."""
    verdict: str
    costs: tuple[DatasetCosts, ...]


def across(assessment: Assessment, figures: Figures) -> Across:
    """Gather it.

    Args:
        assessment: The run, assessed.
        figures: Its figures.
    """
    found = [(dataset, figures.datasets[dataset.name].costs) for dataset in assessment.datasets]
    return Across(
        ranks=figures.ranks,
        tested=figures.tested,
        verdict=across_verdict(assessment.ranks) if assessment.ranks else "",
        costs=tuple(
            DatasetCosts(name=dataset.name, title=str(dataset.record["title"]), costs=costs)
            for dataset, costs in found
            if costs is not None
        ),
    )
