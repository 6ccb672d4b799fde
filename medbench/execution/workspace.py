"""Where an attempt at a cell works: made on the machine that does the work."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.atomic_files import save_npy
from medbench.cache import cache_folder
from medbench.models.weights import Weights

_EARLIER, _EARLIER_OOF = "earlier.json", "earlier.npy"


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Folders, threads and files of one attempt."""

    folder: str
    """The attempt's own, in which it may write."""
    development: str
    """Folder with the development part; see ``medbench.execution.parts``."""
    features: str | None
    """Folder of the feature cache; None keeps features in memory only."""
    threads: int
    """Number of threads that it may use."""
    plugins: tuple[str, ...] = ()
    """Python files to import."""
    weights_path: str | None = None
    """File of the pretrained weights; None for random ones, or a family without any."""
    weights_sha256: str | None = None
    """SHA-256 of that file; None where there is none."""
    weights_note: str | None = None
    """See ``Weights``; None for a family without any."""
    closed: tuple[str, ...] | None = None
    """What the attempt must not look into (see ``medbench.execution.firewall``); None where its
    process does other things too, so that no firewall can stand around it."""

    def as_message(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Workspace:
        """What ``as_message`` gave, also after JSON, which has no tuples."""
        closed = message["closed"]
        return cls(
            **{
                **message,
                "plugins": tuple(message["plugins"]),
                "closed": None if closed is None else tuple(closed),
            }
        )

    @property
    def weights(self) -> Weights | None:
        """The pretrained weights, or the statement that there are none."""
        if self.weights_note is None:
            return None
        path = Path(self.weights_path) if self.weights_path else None
        return Weights(path=path, sha256=self.weights_sha256, note=self.weights_note)

    @property
    def model(self) -> Path:
        """Where the attempt saves its fitted model."""
        return Path(self.folder) / "model"

    @property
    def oof(self) -> Path:
        """Where it writes inner out-of-fold probabilities."""
        return Path(self.folder) / "oof"

    @property
    def checkpoints(self) -> Path:
        """Where the fitted folds of trials wait that a later trial may train on."""
        return Path(self.folder) / "checkpoints"

    def open_paths(self) -> list[str]:
        """What the attempt reads by itself, which may lie beside what is closed."""
        paths = [self.folder, self.development, *self.plugins]
        paths += [str(Path(plugin).parent / "__pycache__") for plugin in self.plugins]
        paths += [str(cache_folder() / part) for part in ("networks", "jax")]
        return paths + [path for path in (self.features, self.weights_path) if path is not None]

    # --- a search that was interrupted ----------------------------------------------------

    def write_earlier(
        self, trials: Sequence[Mapping[str, Any]], best_oof: NDArray[np.float64] | None
    ) -> None:
        """Put down the finished trials of an earlier attempt, which this one goes on from.

        Args:
            trials: Their records, in order.
            best_oof: Out-of-fold probabilities of the best one, if there is one.
        """
        (Path(self.folder) / _EARLIER).write_text(json.dumps({"trials": list(trials)}))
        if best_oof is not None:
            save_npy(Path(self.folder) / _EARLIER_OOF, best_oof)

    def earlier(self) -> tuple[list[dict[str, Any]], NDArray[np.float64] | None]:
        """What ``write_earlier`` put down; no trials where nothing was."""
        path, oof = Path(self.folder) / _EARLIER, Path(self.folder) / _EARLIER_OOF
        trials = json.loads(path.read_text())["trials"] if path.exists() else []
        return trials, np.load(oof, allow_pickle=False) if oof.exists() else None
