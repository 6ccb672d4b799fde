"""The table of the explanations benchmark, on a terminal and in a page of the documentation."""

from __future__ import annotations

from collections.abc import Sequence

from measure import Pointed, Size

_HEADER = (
    "data set",
    "model",
    "weights",
    "method",
    "AUROC",
    "images",
    "hits",
    "95% interval",
    "a random point",
    "within reach",
    "weight inside",
    "empty maps",
    "s an image",
)
_BETTER = "Point at the finding more often than a random point would"
_EQUAL = "Cannot be told apart from a random point"
_WORSE = "Point at it less often than a random point would"
_NONE = "Classified no image with a finding as such"


def as_markdown(rows: Sequence[Pointed], size: Size) -> str:
    """What was measured in words, then the table."""
    lines = [
        f"Trained on {size.training_patients} synthetic patients; one image of each of "
        f"{size.test_patients} others tested ({size.image_size} pixels), and of those with a "
        f"finding that were "
        f"classified as such up to {size.explained} explained (networks by occlusion: "
        f"{size.occluded}). Shares in percent.",
        "",
        *_summary(rows),
        "",
        "| " + " | ".join(_HEADER) + " |",
        "|---" * len(_HEADER) + "|",
        *("| " + " | ".join(_row(each)) + " |" for each in rows),
    ]
    return "\n".join(lines)


def _summary(rows: Sequence[Pointed]) -> list[str]:
    """One sentence for each verdict, naming the rows with their hit rates."""
    lines = []
    for verdict in (_BETTER, _EQUAL, _WORSE, _NONE):
        named = "; ".join(_named(each) for each in rows if _verdict(each) == verdict)
        lines.append(f"- {verdict}: {named or 'none'}.")
    return lines


def _verdict(each: Pointed) -> str:
    if not each.images:
        return _NONE
    low, high = each.interval
    if low > each.area:
        return _BETTER
    return _WORSE if high < each.area else _EQUAL


def _named(each: Pointed) -> str:
    weights = f" with {each.weights} weights" if each.weights else ""
    rate = f" {_percent(each.hits / each.images)}" if each.images else ""
    return f"{each.model}{weights} on {each.dataset} by {each.method}{rate}"


def _row(each: Pointed) -> tuple[str, ...]:
    begin = (
        each.dataset,
        each.model,
        each.weights,
        f"{each.method} {each.cells}".strip(),
        f"{each.auroc:.3f}",
        f"{each.images} of {each.with_finding}",
    )
    if not each.images:
        return (*begin, *[""] * (len(_HEADER) - len(begin)))
    low, high = each.interval
    return (
        *begin,
        _percent(each.hits / each.images),
        f"{_percent(low)} to {_percent(high)}",
        _percent(each.area),
        _percent(each.reachable) if each.cells else "",
        _percent(each.inside),
        str(each.empty),
        f"{each.seconds:.2f}",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
