"""Every error a user can meet; each message names the file, field or option and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

_LISTED = 20
"""Valid names or reasons shown in an error; more are counted."""
_NAMED = 3
"""Images named that share a reason."""


class MedBenchError(Exception):
    """Base of all errors that are the input's fault; the command line prints only the message."""

    def __init__(self, message: str = "", *, options: Mapping[str, str] | None = None) -> None:
        """Say what is wrong.

        Args:
            message: What is the matter, and a remedy that exists wherever it may be raised.
            options: Options of the command line that are a remedy too, as ``{"--out": "names
                another folder"}``: a verb adds those that it has.
        """
        super().__init__(message)
        self.options = dict(options or {})
        """Options of the command line that are a remedy too, each with what it does."""


class ConfigurationError(MedBenchError):
    """An option, an argument, a suite or ``datasets.yaml`` says something that cannot be done."""


class UnknownNameError(ConfigurationError):
    """A name that is not registered or not there; the message has the close ones."""


class PluginError(MedBenchError):
    """A plugin cannot be loaded or used, or claims a name that is taken."""


class FeaturesTooDearError(MedBenchError):
    """Features of which all would cost more than a search may spend on features."""


class DatasetError(MedBenchError):
    """The images or the table of a data set cannot be used as they are."""


class SliceError(DatasetError):
    """A volume that is to be classified needs one of its slices to be chosen."""

    def __init__(self, what: str, n_slices: int, origin: str) -> None:
        """Put the message together; the arguments are the attributes."""
        self.what = what
        """What is the matter, without the remedy."""
        self.n_slices = n_slices
        """How many slices there are to choose from, at least one."""
        self.origin = origin
        """Name of the image."""
        super().__init__(self.in_words("slice_number"))

    def in_words(self, choice: str) -> str:
        """The message for those who choose a slice in another way.

        Args:
            choice: What a slice is chosen with, as ``"--slice N"``.
        """
        if self.n_slices == 1:
            return f"{self.origin}: {self.what}: leave {choice.split()[0]} out."
        return f"{self.origin}: {self.what}: give {choice}, from 1 to {self.n_slices}."


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
        """What is unclear, as whole sentences."""
        self.field = field
        """The field of the data set's entry that decides it."""
        self.choices = dict(choices)
        """Each value that the field may get, and what it means in words."""
        self.dataset = ""
        """Name of the data set in the catalog; empty where it has none."""
        which = "; ".join(f"{value} ({meaning})" for value, meaning in choices.items())
        super().__init__(
            f"{message} Say which: the field {field} of its entry, or --{field} of "
            f"python -m medbench datasets add, is one of {which}."
        )


class UnreadableError(DatasetError):
    """Images of a data set cannot be read, and are not to be left out, or must not be."""

    def __init__(
        self, name: str, unreadable: Sequence[str], n_images: int, *, lost: str = ""
    ) -> None:
        """Put the message together.

        Args:
            name: The data set.
            unreadable: Why each of the images cannot be read: its name, ``": "`` and the reason.
            n_images: How many images there are, with these.
            lost: Of what no image is left without them: "image", "image of class 'a'"; empty
                where it is possible to go on without them.
        """
        self.unreadable = tuple(unreadable)
        """Why each of the images cannot be read: its name, ``": "`` and the reason."""
        n, reasons = len(self.unreadable), grouped(self.unreadable)
        shown = "\n  ".join(reasons[:_LISTED])
        more = f"\n  and {len(reasons) - _LISTED} other reasons" if len(reasons) > _LISTED else ""
        which = (
            f"none of the {n} images can" if n == n_images else f"{n} of {n_images} images cannot"
        )
        do = f"Mend them: no {lost} is left without them." if lost else "Mend or remove them."
        super().__init__(
            f"data set {name!r}: {which} be read:\n  {shown}{more}\n{do}",
            options=None if lost else {"--skip-unreadable": "goes on without them"},
        )


def grouped(unreadable: Sequence[str]) -> list[str]:
    """Why images cannot be read, each reason once, the commonest first.

    Args:
        unreadable: For each image its name, ``": "`` and the reason.

    Returns:
        A line for each reason, with the image that has it, or the first three and their number.
    """
    named: dict[str, list[str]] = {}
    for one in unreadable:
        name, _, reason = one.partition(": ")
        named.setdefault(reason, []).append(name)
    return [
        f"{names[0]}: {reason}"
        if len(names) == 1
        else f"{len(names)} images ({', '.join(names[:_NAMED])}"
        f"{', ...' if len(names) > _NAMED else ''}): {reason}"
        for reason, names in sorted(named.items(), key=lambda pair: -len(pair[1]))
    ]


class AuditError(MedBenchError):
    """An audit has found what ``fail_on_audit`` says is fatal."""


class ProtocolError(MedBenchError):
    """The evaluation protocol cannot be followed on this data: too few patients, for example."""


class StoreError(MedBenchError):
    """A run folder or another result cannot be read or written, or somebody else wrote it."""


class MachineError(MedBenchError):
    """No disk, no memory, a place that cannot be read or written: trouble of the machine."""


class ModelError(MedBenchError):
    """A model family broke its contract, or a file of a model is not what it should be."""


class CacheWarning(UserWarning):
    """The cache cannot be written, so things go on without it."""


def unknown_name(noun: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """The error for a name nobody registered, with the close ones first.

    Args:
        noun: What was looked for, for example ``"model family"``.
        name: The name received; what is no text has no close ones.
        known: All valid names.
    """
    known = sorted(known)
    typed = name if isinstance(name, str) else ""
    close = difflib.get_close_matches(typed, known, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
    listing = ", ".join(known[:_LISTED]) or "none"
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return UnknownNameError(f"{name!r} is not a {noun}.{hint} Known: {listing}{more}.")
