"""Numbers and names as text that is safe where it is shown."""

from __future__ import annotations

import math
import re


def plain(text: str) -> str:
    """One line without control characters (a name could carry terminal commands)."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def markdown_text(text: str) -> str:
    """A name or note that Markdown shows as it is, in a table cell too."""
    text = plain(text).replace("\\", "\\\\").replace("&", "&amp;")
    text = text.replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([|`\[\]*])", r"\\\1", text)


def csv_text(text: str) -> str:
    """A name or note that no spreadsheet takes for a formula."""
    text = plain(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def format_score(value: float) -> str:
    """A score from -1 to 1 as ``.912``; a dash for NaN."""
    if math.isnan(value):
        return "-"
    text = f"{round(value, 3) + 0.0:.3f}"  # adding zero turns -0.0 into 0.0
    return text.replace("0.", ".", 1) if abs(value) < 0.9995 else text


def format_interval(estimate: float, low: float, high: float) -> str:
    """An estimate with its bounds as ``.912 (.881 to .940)``; without bounds the estimate."""
    if math.isnan(low) or math.isnan(high):
        return format_score(estimate)
    return f"{format_score(estimate)} ({format_score(low)} to {format_score(high)})"


def format_seconds(seconds: float) -> str:
    """A duration as ``4.2s``, ``42s``, ``1m 12s`` or ``2h 03m``; a dash for NaN."""
    if math.isnan(seconds):
        return "-"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    minutes = round(seconds / 60)
    return f"{minutes // 60}h {minutes % 60:02d}m"


def format_megabytes(megabytes: float) -> str:
    """A size as ``850 B``, ``12.0 kB``, ``3.1 MB`` or ``1.2 GB``; a dash for NaN."""
    if math.isnan(megabytes):
        return "-"
    for unit, in_megabytes in (("GB", 1e3), ("MB", 1.0), ("kB", 1e-3)):
        if megabytes >= in_megabytes:
            return f"{megabytes / in_megabytes:.1f} {unit}"
    return f"{megabytes * 1e6:.0f} B"
