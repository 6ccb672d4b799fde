"""Every error a user can meet; each message names the file, field or option and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

_LISTED = 20
"""Valid names or unreadable images shown in an error; more are counted."""


class MedBenchError(Exception):
    """Base of all errors that are the input's fault; the command line prints only the message."""


class ConfigurationError(MedBenchError):
    """An option, a suite or ``datasets.yaml`` says something that cannot be done."""


class UnknownNameError(ConfigurationError):
    """A name that is not registered."""


class PluginError(MedBenchError):
    """A plugin file cannot be loaded or claims a name that is taken."""


class DatasetError(MedBenchError):
    """The images or the table of a data set cannot be used as they are."""


class SliceError(DatasetError):
    """A volume that is to be classified needs one of its slices to be chosen."""

    def __init__(self, what: str, n_slices: int, origin: str) -> None:
        self.what = what
        """What is the matter, without the remedy, which is another one on a page."""
        self.n_slices = n_slices
        """How many slices there are to choose from, at least one."""
        option = "leave --slice out" if n_slices == 1 else f"give --slice N, from 1 to {n_slices}"
        super().__init__(f"{origin}: {what}: {option} (slice_number in Python).")


class UndecidedError(DatasetError):
    """What the files of a data set mean can be told by a person only.

    At a terminal the command line asks; elsewhere the message says what to write where.
    """

    def __init__(self, message: str, *, field: str, choices: Mapping[str, str]) -> None:
        """Put the message together.

        Args:
            message: What is unclear, with the files or names that make it so, as whole sentences.
            field: The field of the data set's entry that decides it, which is an option of
                ``datasets add`` too.
            choices: Each value that the field may get, and what it means in words.
        """
        self.question = message
        """What is unclear."""
        self.field = field
        """The field that decides it."""
        self.choices = dict(choices)
        """What may be chosen, and what that means."""
        self.dataset = ""
        """Name of the data set in the catalog, as far as it has one."""
        which = "; ".join(f"{value} ({meaning})" for value, meaning in choices.items())
        super().__init__(
            f"{message} Say which: the field {field} of its entry, or --{field} of "
            f"python -m medbench datasets add, is one of {which}."
        )


class UnreadableError(DatasetError):
    """Images of a data set cannot be read, and nobody asked to leave them out."""

    def __init__(self, name: str, unreadable: Sequence[str], n_images: int) -> None:
        """Put the message together.

        Args:
            name: The data set.
            unreadable: Why each of the images cannot be read; it names the image.
            n_images: How many images there are, with these.
        """
        self.unreadable = tuple(unreadable)
        """Why each of the images cannot be read."""
        n = len(self.unreadable)
        shown = "\n  ".join(self.unreadable[:_LISTED])
        more = f"\n  and {n - _LISTED} more" if n > _LISTED else ""
        how_many = f"none of the {n_images}" if n == n_images else f"{n} of {n_images}"
        skip = "" if n == n_images else ", or give --skip-unreadable to go on without them"
        super().__init__(
            f"data set {name!r}: {how_many} images can{'' if n == n_images else 'not'} be read:\n"
            f"  {shown}{more}\nReplace or remove them{skip}."
        )


class ProtocolError(MedBenchError):
    """The evaluation protocol cannot be followed on this data."""


class StoreError(MedBenchError):
    """A run folder cannot be written, or was written by something else."""


class ModelError(MedBenchError):
    """A model family broke its contract."""


def unknown_name(noun: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for a name nobody registered, with the close ones first.

    Args:
        noun: What was looked for, for example ``"model family"``.
        name: The name received.
        known: All valid names.
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
    listing = ", ".join(known[:_LISTED]) or "none"
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return UnknownNameError(f"{name!r} is not a {noun}.{hint} Known: {listing}{more}.")
