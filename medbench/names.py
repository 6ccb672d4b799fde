r"""Names of files as text that can be written, compared and shown.

A name is bytes to Linux, and need not be UTF-8; it may hold line breaks, commands for a terminal
and marks that turn the direction of writing. As data, an undecodable byte is ``\xff`` and nothing
else changes; where a name is shown, so is everything that is no letter to look at.
"""

from __future__ import annotations

import re
import unicodedata

_BYTE, _LAST_BYTE = 0xDC80, 0xDCFF
"""What Python has in place of a byte that cannot be decoded."""
_NO_TEXT = re.compile("[\ud800-\udfff]")
_AS_AN_ESCAPE = re.compile(r"\\(?=x(?:5c|[89a-f][0-9a-f]))")
_ESCAPE = re.compile(r"\\x(5c|[89a-f][0-9a-f])")
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of Unicode: controls, formats, halves of characters, and breaks."""
_JOINERS = "\u200c\u200d"
"""Formats that some scripts cannot be written without."""


def as_text(name: str) -> str:
    r"""A name that every file of text can hold: a byte that is no UTF-8 becomes ``\xff``.

    Two names stay two, since a back slash before what looks so becomes ``\x5c``;
    ``real_name`` gives back the name.
    """
    if name.isascii() and "\\" not in name:
        return name
    return _NO_TEXT.sub(_escaped, _AS_AN_ESCAPE.sub(r"\\x5c", name))


def real_name(text: str) -> str:
    """What ``as_text`` was given."""
    return _ESCAPE.sub(_unescaped, text) if "\\x" in text else text


def harmless(text: str, *, lines: bool = False) -> str:
    r"""A name or message in which nothing but letters to look at is left: ``\x1b``, ``\u202e``.

    Args:
        text: May hold names as the system gives them, or as ``as_text`` does.
        lines: Whether line breaks and tabs are the text's own, and stay.
    """
    if text.isascii() and text.isprintable():
        return text
    kept = _JOINERS + ("\n\t" if lines else "")
    return "".join(
        c if c in kept or unicodedata.category(c) not in _UNSEEN else _escape(ord(c)) for c in text
    )


def _escape(code: int) -> str:
    if _BYTE <= code <= _LAST_BYTE:
        return f"\\x{code & 0xFF:02x}"
    if code < 0x80:
        return {9: "\\t", 10: "\\n", 13: "\\r"}.get(code, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _escaped(match: re.Match[str]) -> str:
    return _escape(ord(match[0]))


def _unescaped(match: re.Match[str]) -> str:
    code = int(match[1], 16)
    return chr(code) if code < 0x80 else chr(_BYTE - 0x80 + code)
