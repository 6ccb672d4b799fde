"""Numbers and names as text that is safe where it is shown."""

from __future__ import annotations

import math
import re
import unicodedata

from medbench.byte_sizes import format_bytes
from medbench.names import harmless

LONGEST_REASON = 500
"""Characters of a reason that a reader is shown; the record has all of it."""
_NAME = r"""[^\s\\/:*?"'<>|,;()\[\]{}]+"""
_ROOT = r"(?P<root>[A-Za-z]:[\\/]+|\\\\+|/+)"
_PATH = re.compile(
    r"(?P<url>\b(?!file:)[A-Za-z][\w+.-]+://\S*)|"  # left as it is
    rf"(?:\bfile://|(?<![\w.~…\\/])){_ROOT}"  # neither and/or nor ./relative nor ~/of-home
    # a folder's name may have blanks in it, since another separator follows
    rf"(?P<parts>(?:{_NAME}(?:[ ]{_NAME}){{0,3}}[\\/]+)*(?:{_NAME})?)"
)
_QUOTED = re.compile(rf"""(?<=["']){_ROOT}(?P<parts>[^"'\n]*[^"'\n\\/ ][^"'\n]*)(?=["'])""")
"""Within quotes the last name may have blanks in it too."""
_HOMES = ("home", "users")
"""Folders whose folders are named after people."""

_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\char34}",
    "`": r"\textasciigrave{}",
    **{special: f"\\{special}" for special in "{}$&#%_"},
}
_TEX_LETTERS = frozenset("ßæøåÆØÅœŒłŁđĐıþÞðÐ¡¿«»§©®°±µ·×÷½¼¾¹²³£–—‘’“”„…†‡•™")
"""Beyond accented Latin letters, what pdfLaTeX prints without further packages."""
_STEPS_OF_BUDGETS = ((10, 1), (60, 5), (120, 10), (600, 60), (3600, 300), (math.inf, 3600))
"""Below so many seconds a budget is a multiple of so many."""
_LAST_ACCENTED = "\u017f"


def plain(text: str) -> str:
    """One line without control characters (a name could carry terminal commands)."""
    return " ".join("".join(c if c.isprintable() else _unseen(c) for c in text).split())


def brief(reason: str) -> str:
    """As ``plain``, and no longer than a reader can use."""
    text = plain(reason)
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} ..."


def _unseen(character: str) -> str:
    """A byte of a name that is no UTF-8 as an escape, anything else that is not seen as a blank."""
    return harmless(character) if "\udc80" <= character <= "\udcff" else " "


def one_line(text: str) -> str:
    """One line that may leave the machine: see ``plain`` and ``without_paths``.

    The texts for Markdown, CSV and LaTeX below begin with it, so that none of them lets a path out.
    """
    return plain(without_paths(text))


def markdown_text(text: str) -> str:
    """A name or note that Markdown shows as it is, in a table cell too."""
    text = one_line(text).replace("\\", "\\\\").replace("&", "&amp;")
    text = text.replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([|`\[\]*])", r"\\\1", text)


def csv_text(text: str) -> str:
    """A name or note that no spreadsheet takes for a formula.

    A tab or a carriage return before a formula is gone with the other control characters.
    """
    return no_formula(one_line(text))


def no_formula(text: str) -> str:
    """A text that no spreadsheet takes for a formula, otherwise as it is."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def latex_text(text: str) -> str:
    r"""A name or note that LaTeX prints as it is.

    What pdfLaTeX has no glyph for becomes ``\\medbenchchar{character}{U+1234}``, a macro of
    ``medbench.reports.latex`` that takes the character where the engine knows Unicode.
    """
    shown = "".join(
        _TEX.get(c) or (c if _printable_by_tex(c) else _unicode(c)) for c in one_line(text)
    )
    # a row that begins with [ or * would be read as an option of the line break before it, and
    # neighbouring hyphens as one dash
    shown = re.sub(r"(?<=-)(?=-)", "{}", shown)
    return f"{{{shown[0]}}}{shown[1:]}" if shown.startswith(("[", "*")) else shown


def _printable_by_tex(character: str) -> bool:
    if character.isascii() or character in _TEX_LETTERS:
        return True
    base = unicodedata.normalize("NFD", character)[0]
    return character <= _LAST_ACCENTED and base.isascii() and base.isalpha()


def _unicode(character: str) -> str:
    return f"\\medbenchchar{{{character}}}{{U+{ord(character):04X}}}"


def without_paths(text: str) -> str:
    """A text in which every absolute path is its last name after an ellipsis, ``…/weights.h5``.

    Reports travel, and a path tells how somebody's machine is laid out and often who they are; so
    of a home folder itself nothing is left. Web addresses and relative paths stay as they are.
    """
    return _PATH.sub(_last_name, _QUOTED.sub(_last_name, text))


def _last_name(match: re.Match[str]) -> str:
    found = match.groupdict()
    if found.get("url"):
        return match[0]
    names = [name for name in re.split(r"[\\/]+", found["parts"]) if name]
    if not names:
        return match[0]
    before, after = match.string[: match.start()][-1:], match.string[match.end() :][:1]
    if len(names) == 1 and before + after in ("[]", "<>"):
        return match[0]  # the end of some markup
    is_home = len(names) == 2 and names[0].lower() in _HOMES
    return "…" if is_home else f"…/{names[-1]}"


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


def format_number(value: float | None, unit: str = "") -> str:
    """A number with three digits that count, as ``4.73 ms`` or ``2,010``; a dash for none or NaN.

    Args:
        value: It.
        unit: What follows it, with the blank before.
    """
    if value is None or math.isnan(value):
        return "-"
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}{unit}" if abs(rounded) >= 1000 else f"{rounded:.3g}{unit}"


def time_option(seconds: float, *, exact: bool = False) -> str:
    """Seconds as ``--time`` takes them: ``45s``, ``5m``, ``1h``, ``0.5s``.

    Args:
        seconds: More than 0.
        exact: These very seconds; else rounded up to a budget that a person would write.
    """
    if not exact:
        step = next(step for below, step in _STEPS_OF_BUDGETS if seconds < below)
        seconds = math.ceil(seconds / step) * step
    for unit, name in ((3600, "h"), (60, "m")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds / unit:.0f}{name}"
    return f"{seconds:g}s"


def format_megabytes(megabytes: float) -> str:
    """A size as ``850 B``, ``12.0 kB``, ``3.1 MB`` or ``1.2 GB``; a dash for NaN."""
    if math.isnan(megabytes):
        return "-"
    return format_bytes(megabytes * 1e6)
