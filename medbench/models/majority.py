"""The constant class: what a model that looks at nothing achieves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.atomic_files import read_json
from medbench.datasets.batch import Batch, LabelledBatch
from medbench.datasets.task import Task, membership
from medbench.errors import ModelError
from medbench.models.contract import Classifier, Context, ModelFamily, Progress
from medbench.models.space import SearchSpace

_FILE = "frequencies.json"


class Majority(ModelFamily):
    """Every image gets the class frequencies of the training part; no parameters.

    Its row is the floor of every table: AUROC .5, accuracy of the largest class.
    """

    sanity = True
    multi_label = True

    def search_space(self, space: SearchSpace, task: Task) -> None:
        """There is nothing to choose."""

    def build(self, params: Mapping[str, Any], task: Task, context: Context) -> Classifier:
        """An unfitted classifier."""
        return _Frequencies(len(task.classes))


class _Frequencies(Classifier):
    """Class frequencies, float64, shape (n_classes,)."""

    def __init__(self, n_classes: int) -> None:
        self._n_classes = n_classes
        self._frequencies: NDArray[np.float64] | None = None

    def fit(
        self, train: LabelledBatch, validation: LabelledBatch | None, progress: Progress
    ) -> None:
        """Count the classes."""
        self._frequencies = membership(train.labels, self._n_classes).mean(axis=0)

    def predict_proba(self, batch: Batch) -> NDArray[np.float64]:
        """The same row for every image, float64, shape (n_images, n_classes)."""
        if self._frequencies is None:
            raise ModelError("majority: fit or load the classifier before predicting.")
        return np.tile(self._frequencies, (len(batch), 1))

    def save(self, folder: Path) -> None:
        """Write the frequencies as JSON."""
        if self._frequencies is None:
            raise ModelError("majority: fit the classifier before saving it.")
        (folder / _FILE).write_text(json.dumps(self._frequencies.tolist()))

    def load(self, folder: Path) -> None:
        """Read what ``save`` wrote."""
        self._frequencies = np.array(read_json(folder / _FILE), dtype=np.float64)
