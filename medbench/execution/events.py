"""What an executor tells of the cells it works on, in the order in which it happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.execution.limits import Overrun
from medbench.store import CellId, schemas


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened in a cell.

    Files that it names can be read until the next event is asked for.
    """

    cell: CellId
    """In which cell."""


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """The work on a cell begins."""


@dataclass(frozen=True, kw_only=True)
class TrialEnded(Event):
    """A trial of the search is finished, well or not."""

    record: Mapping[str, Any]
    """JSON-ready; see ``medbench.tuning.tuner.Trial``."""
    oof: Path | None
    """``.npy`` file of its inner out-of-fold probabilities, float64, shape (n_development,
    n_classes), NaN where an image was in no validation fold that was reached; None where no fold
    was done."""
    checkpoint: Path | None
    """Folder of its fitted folds, where a later trial may train on; None where none are kept."""


@dataclass(frozen=True, kw_only=True)
class RefitBegan(Event):
    """The search is over; the model is fitted, unless it is the fit of a trial, and saved."""


@dataclass(frozen=True, kw_only=True)
class Fitted(Event):
    """The model is fitted and saved, and everything about it is frozen."""

    record: Mapping[str, Any]
    """JSON-ready: ``params``, ``calibration``, ``threshold``, ``seconds``, ...; see
    ``medbench.store.schemas.Fitted``."""


@dataclass(frozen=True, kw_only=True)
class Outcome(Event):
    """The last event of a cell: what its attempt gave, or why it gave nothing."""

    reason: str = ""
    """Why the attempt failed; empty where it did not."""
    fault: bool = False
    """Whether the machine ended the attempt, not the family: the cell stays unfinished and gets no
    row."""
    overrun: Overrun | None = None
    """The limit for which the attempt was ended; None for any other end."""
    record: Mapping[str, Any] | None = None
    """JSON-ready: that of ``Fitted``, with what the prediction cost; None where it failed."""
    model: Path | None = None
    """Folder of the fitted model; None where it failed."""
    probabilities: NDArray[np.float64] | None = None
    """Of the held-out images, float64, from 0 to 1, shape (n_held_out, n_classes); None where it
    failed."""
    log: bytes = b""
    """What libraries printed meanwhile, as they wrote it."""


PREDICTED = "predicted"
"""Name of an attempt's last message."""
_BY_NAME = {each.__name__: each for each in (TrialEnded, RefitBegan, Fitted)}
"""What an attempt tells while it works."""


class NoMessageError(Exception):
    """What was told is no message of an attempt: something else has told it."""


def as_message(event: Event) -> dict[str, Any]:
    """An event of an attempt, JSON-ready, without the cell, which the listener knows."""
    values = {field.name: getattr(event, field.name) for field in fields(event)}
    del values["cell"]
    plain = {name: str(v) if isinstance(v, Path) else v for name, v in values.items()}
    return {"event": type(event).__name__, **plain}


def from_message(cell: CellId, message: Mapping[str, Any]) -> Event:
    """The inverse of ``as_message``.

    Raises:
        NoMessageError: It is no such message.
    """
    values = dict(message)
    kind = _BY_NAME.get(values.pop("event", None))
    if kind is None or values.keys() != {field.name for field in fields(kind)} - {"cell"}:
        raise NoMessageError("no message of an attempt")
    if "record" in values:
        _check(values["record"], schemas.Trial if kind is TrialEnded else schemas.Fitted)
    for name in ("oof", "checkpoint"):
        if values.get(name) is not None:
            values[name] = Path(values[name])
    event: Event = kind(cell=cell, **values)
    return event


def predicted(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the prediction cost, from the last message of an attempt.

    Raises:
        NoMessageError: It is no such message.
    """
    if message.keys() != {"event", "record"} or message["event"] != PREDICTED:
        raise NoMessageError("no message of a prediction")
    record: Mapping[str, Any] = message["record"]
    _check(record, schemas.Predicted)
    return record


def _check(record: object, schema: type[schemas.Record]) -> None:
    if not isinstance(record, dict) or schemas.damaged(record, schema):
        raise NoMessageError(f"no record as {schema.__name__} has it")
