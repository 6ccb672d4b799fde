"""Mean ranks on a line, with bars over models that a rank test cannot tell apart."""

from __future__ import annotations

from typing import Any

from medbench.evaluation.ranks import RanksAcross
from medbench.reports.drawing import panels_of, shown

_INK = "0.2"


def draw_critical_difference(ranks: RanksAcross) -> Any:
    """A figure of mean ranks, best on the left; bars join models that are not separated.

    Args:
        ranks: Ranks across data sets, with a test.

    Source: Demsar (2006), "Statistical comparisons of classifiers over multiple data sets",
    JMLR 7, figure 1.
    """
    assert ranks.test is not None, "there is no diagram without a test"
    models, cliques = ranks.ranks, ranks.test.cliques
    height = 0.6 + 0.14 * len(cliques) + 0.16 * len(models)
    figure, (axes,) = panels_of(1, 1, 6.6, height)
    place = {rank.model: rank.mean_rank for rank in models}
    for number, clique in enumerate(cliques):
        ends = [place[clique[0]], place[clique[-1]]]
        axes.plot(ends, [-0.6 - 0.5 * number] * 2, color=_INK, linewidth=4, solid_capstyle="round")
    below = -1.0 - 0.5 * len(cliques)
    half = (len(models) + 1) // 2
    for number, rank in enumerate(models):
        left = number < half
        depth = below - 0.7 * (number if left else len(models) - 1 - number)
        edge = 0.6 if left else len(models) + 0.4
        axes.plot([rank.mean_rank] * 2 + [edge], [0, depth, depth], color=_INK, linewidth=1)
        text = f"{shown(rank.model)} {rank.mean_rank:.2f}"
        axes.text(edge, depth, f" {text} ", ha="right" if left else "left", va="center", size=9)
    critical = ranks.test.critical_difference
    axes.plot([1, min(1 + critical, len(models))], [0.9, 0.9], color=_INK, linewidth=2)
    axes.text(1, 1.1, f"critical difference {critical:.2f}", size=9)
    axes.axhline(0, color=_INK, linewidth=1)
    for rank_number in range(1, len(models) + 1):
        axes.plot([rank_number] * 2, [0, 0.2], color=_INK, linewidth=1)
        axes.text(rank_number, 0.25, str(rank_number), ha="center", size=9)
    axes.set_xlim(0.5, len(models) + 0.5)
    axes.set_ylim(below - 0.7 * half, 1.6)
    axes.axis("off")
    return figure
