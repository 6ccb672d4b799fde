"""Names of the files in a zip archive, in which program and language they may have been written.

A zip archive says of each name whether it is UTF-8. Where it is not, it should be in code page 437,
and in fact is in that of whoever packed it: macOS writes UTF-8 all the same, Windows the code page
of its language.
"""

from __future__ import annotations

import struct
import unicodedata
import zlib
from collections.abc import Sequence
from zipfile import ZipInfo

_IS_UTF8 = 0x800
"""The bit of a file's flags that says so."""
_UNICODE_PATH = 0x7075
"""Extra field with the name in UTF-8, as Info-ZIP and WinRAR write it (APPNOTE 4.6.9)."""
_STANDARD = "cp437"
"""What ``zipfile`` takes for the encoding, and another character for each byte."""
_OTHERS = (
    (_STANDARD, ("LATIN",)),
    ("cp850", ("LATIN",)),
    ("cp866", ("CYRILLIC",)),
    ("cp932", ("HIRAGANA", "KATAKANA", "CJK", "FULLWIDTH", "IDEOGRAPHIC")),
    ("cp949", ("HANGUL",)),
    ("gbk", ("CJK", "FULLWIDTH", "IDEOGRAPHIC")),
)
"""Code pages, and how Unicode's names of the characters that languages have in them begin."""


def real_names(members: Sequence[ZipInfo]) -> tuple[list[str], tuple[str, ...]]:
    """The names of the members as they were meant; and a note where that is a guess.

    Names stay as different as they are: all that are guessed are taken for one encoding.

    Args:
        members: Of one archive.
    """
    names = [member.orig_filename for member in members]
    unsure = []
    for row, member in enumerate(members):
        if not member.flag_bits & _IS_UTF8 and not names[row].isascii():
            if stated := _stated(member):
                names[row] = stated
            else:
                unsure.append(row)
    raw = [names[row].encode(_STANDARD) for row in unsure]
    encoding = _encoding_of(raw)
    for row, name in zip(unsure, raw, strict=True):
        names[row] = name.decode(encoding)
    if not unsure or encoding == "utf-8":
        return names, ()
    return names, (
        f"{len(unsure)} names in the archive are not in Unicode and are read as {encoding}, the "
        f"first is {names[unsure[0]]!r}; if that is wrong, unpack it yourself and name the folder",
    )


def _stated(member: ZipInfo) -> str:
    """The name in the extra field; "" where there is none, or of another name."""
    extra, raw = member.extra, member.orig_filename.encode(_STANDARD)
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == _UNICODE_PATH and field[:5] == b"\x01" + zlib.crc32(raw).to_bytes(4, "little"):
            try:
                return field[5:].decode()
            except UnicodeDecodeError:
                return ""
    return ""


def _encoding_of(names: Sequence[bytes]) -> str:
    """The first encoding in which all names are letters of one language."""
    for encoding, scripts in (("utf-8", ("",)), *_OTHERS):
        try:
            text = "".join(name.decode(encoding) for name in names)
        except UnicodeDecodeError:
            continue
        others = {character for character in text if not character.isascii()}
        if all(unicodedata.name(one, "?").startswith(scripts) for one in others):
            return encoding
    return _STANDARD
