"""Sanity rows: what can be had without looking at what an image shows."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.atomic_files import read_json
from medbench.datasets.batch import Batch, LabelledBatch
from medbench.datasets.task import Task
from medbench.errors import ModelError
from medbench.features.border import Border
from medbench.features.extractor import Extractor
from medbench.features.intensity import Intensity
from medbench.features.pixels import Pixels
from medbench.models.contract import (
    Classifier,
    Context,
    ModelFamily,
    Progress,
    complete_probabilities,
)
from medbench.models.persistence import load_sklearn, save_sklearn
from medbench.models.space import SearchSpace

_TREES = 100
_MOST_LEAVES = 128
"""Keeps a saved forest at a few megabytes, however many images it has seen."""
_FEWEST_IMAGES_A_LEAF = 5
"""With one, trees on a few numbers learn their noise: on nih-pneumonia file-properties had .71,
although the size of the file alone orders the classes with .82; with five it has .75, and the
other sanity families are the same within .02 on five sets."""
_MOST_IMAGES_A_TREE = 5_000
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F", "uint8", "uint16")
"""Pillow modes and dtypes that have a column of their own; all others share one."""
_MODEL_FILE = "forest.skops"
_STATE_FILE = "state.json"


class SanityFamily(ModelFamily):
    """A random forest, without anything to tune, on what a sanity row may see of an image.

    Source: Breiman (2001), "Random forests", Machine Learning 45; that such models solve medical
    sets: Maguolo & Nanni (2021), "A critic evaluation of methods for COVID-19 automatic detection
    from X-ray images", Information Fusion 76.
    """

    sanity = True
    export_formats = ("skops",)
    reference = "Breiman (2001), Random forests, Machine Learning 45"

    def search_space(self, space: SearchSpace, task: Task) -> None:
        """There is nothing to choose."""

    def build(self, params: Mapping[str, Any], task: Task, context: Context) -> Classifier:
        """An unfitted classifier."""
        return _Forest(self, len(task.classes), context)

    @abstractmethod
    def see(self, batch: Batch, context: Context) -> NDArray[np.floating[Any]]:
        """What the family sees of each image, shape (n_images, n_features)."""


class FileProperties(SanityFamily):
    """Original width, height, aspect, mode and size of the file; no pixels."""

    def see(self, batch: Batch, context: Context) -> NDArray[np.float64]:
        """Shape (n_images, 5 + number of modes)."""
        properties = batch.properties
        width, height, size = (
            properties[name].to_numpy(np.float64) for name in ("width", "height", "bytes")
        )
        modes = np.array([mode == properties["mode"].to_numpy(str) for mode in _MODES])
        numbers = [width, height, width / height, size, size / (width * height)]
        return np.column_stack([*numbers, *modes])


class FeatureSanityFamily(SanityFamily):
    """On the prepared pixels, by one of the cached extractors."""

    extractor: Extractor

    def see(self, batch: Batch, context: Context) -> NDArray[np.float32]:
        """Shape (n_images, n_features)."""
        return context.features.get(self.extractor, batch)


class IntensityStatistics(FeatureSanityFamily):
    """Histogram and moments of the brightness; nothing of where in the image it is."""

    extractor = Intensity()


class OuterBorder(FeatureSanityFamily):
    """The outer tenth of the image only: markers, collimation, padding, framing."""

    extractor = Border()


class Thumbnail(FeatureSanityFamily):
    """The image at 8 x 8 pixels, too small to show most findings."""

    extractor = Pixels(side=8)


class _Forest(Classifier):
    """The forest of a sanity family, and the classes it has seen."""

    def __init__(self, family: SanityFamily, n_classes: int, context: Context) -> None:
        self._family = family
        self._n_classes = n_classes
        self._context = context
        self._present: list[int] = []
        self._forest: Any = None

    def fit(
        self, train: LabelledBatch, validation: LabelledBatch | None, progress: Progress
    ) -> None:
        """Grow the trees; ``validation`` is not used."""
        from sklearn.ensemble import RandomForestClassifier

        self._present = np.unique(train.labels).tolist()
        self._forest = RandomForestClassifier(
            _TREES,
            max_leaf_nodes=_MOST_LEAVES,
            min_samples_leaf=_FEWEST_IMAGES_A_LEAF,
            max_samples=min(1.0, _MOST_IMAGES_A_TREE / len(train)),
            n_jobs=self._context.threads,
            random_state=self._context.seed,
        )
        self._forest.fit(self._family.see(train, self._context), train.labels)
        self._forest.set_params(n_jobs=1)  # sums over threads differ in their last bits

    def predict_proba(self, batch: Batch) -> NDArray[np.float64]:
        """Mean over the trees, float64, shape (n_images, n_classes)."""
        if self._forest is None:
            raise ModelError(f"{self._family.name}: fit or load the classifier before predicting.")
        probabilities = self._forest.predict_proba(self._family.see(batch, self._context))
        return complete_probabilities(probabilities, self._present, self._n_classes)

    def save(self, folder: Path) -> None:
        """Write the forest as a skops file, and the classes it knows as JSON."""
        if self._forest is None:
            raise ModelError(f"{self._family.name}: fit the classifier before saving it.")
        (folder / _STATE_FILE).write_text(json.dumps({"present": self._present}))
        save_sklearn(self._forest, folder / _MODEL_FILE)

    def load(self, folder: Path) -> None:
        """Read what ``save`` wrote."""
        self._present = read_json(folder / _STATE_FILE)["present"]
        self._forest = load_sklearn(folder / _MODEL_FILE)
