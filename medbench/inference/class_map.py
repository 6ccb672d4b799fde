"""The classes of another data set in the words of a model, as they are written and compared."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

from medbench.datasets.image_names import composed
from medbench.errors import ConfigurationError

ClassMap = Mapping[str, str]
"""Class of the other data set -> class of the model; what is not in it is left out."""
_ESCAPED = re.compile(r"\\([=\\-])")
_SIGN = re.compile(r"(?<!\\)=")


def same_names(ours: Sequence[str], theirs: Sequence[str]) -> ClassMap | None:
    """The class map of two data sets that call their classes alike, or None."""
    known = {composed(name): name for name in ours}
    if known.keys() != set(map(composed, theirs)):
        return None
    return {name: known[composed(name)] for name in theirs}


def written_pair(there: str, here: str) -> str:
    """What a person types for a pair behind ``--class-map``."""
    names = (re.sub(r"^-|=", lambda sign: rf"\{sign[0]}", name) for name in (there, here))
    return shlex.quote("=".join(names))


def read_map(pairs: Iterable[str], *, ours: Sequence[str], theirs: Sequence[str]) -> ClassMap:
    r"""What a person typed: ``THEIRS=OURS``, with ``\=`` for an = within a name.

    An = within a name needs no such mark where only one reading names two classes; ``\-`` may
    begin a name that begins with a dash. Names are the same however accents are composed.

    Args:
        pairs: As typed.
        ours: Classes of the model.
        theirs: Classes of the other data set.

    Raises:
        ConfigurationError: A pair is none, can be read in two ways, or names a class again.
    """
    here_by_name = {composed(name): name for name in ours}
    there_by_name = {composed(name): name for name in theirs}
    found: dict[str, str] = {}
    for pair in pairs:
        readings = [
            (_plain(pair[: sign.start()]), _plain(pair[sign.end() :]))
            for sign in _SIGN.finditer(pair)
        ]
        known = [(t, h) for t, h in readings if t in there_by_name and h in here_by_name]
        if len(known) > 1:
            raise ConfigurationError(
                f"--class-map {pair}: can be read in two ways. Write {written_pair(*known[0])} or "
                f"{written_pair(*known[1])}."
            )
        readings = known or [(t, h) for t, h in readings if t and h]
        if not readings:
            raise ConfigurationError(
                rf"--class-map {pair}: write THEIRS=OURS, with \= for an = within a name, for "
                f"example {written_pair(theirs[0], ours[0])}."
            )
        there, here = readings[0]
        there = there_by_name.get(there, there)
        if there in found:
            raise ConfigurationError(f"--class-map: {there!r} is translated twice.")
        found[there] = here_by_name.get(here, here)
    return found


def _plain(text: str) -> str:
    return composed(_ESCAPED.sub(r"\1", text))
