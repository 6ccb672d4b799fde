"""Which parts of an image speak for a class: one kind of picture, however a model works."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.batch import Batch
from medbench.errors import unknown_name
from medbench.inference.fold_models import FoldModels
from medbench.inference.images import NewImage, batch_of
from medbench.inference.model_info import RESEARCH_ONLY, ModelInfo
from medbench.inference.prediction import Prediction
from medbench.reports.text import format_score


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A heat map over an image; a picture in a notebook."""

    image: NDArray[np.uint8]
    """As the model sees it, uint8, shape (height, width, channels)."""
    heat: NDArray[np.float32]
    """How much each place speaks for the class, float32, from 0 to 1, shape (height, width)."""
    class_name: str
    """Name of the class it speaks for."""
    probability: float
    """Probability of that class, from 0 to 1, the mean over the fold models."""
    method: str
    """``"Grad-CAM"`` or ``"occlusion"``."""
    prediction: Prediction
    """What is said of the image."""

    def picture(self) -> bytes:
        """The image beside its heat map: the bytes of a PNG file."""
        from medbench.inference.pictures import explanation_picture

        said = self.prediction
        picture: bytes = explanation_picture(
            self.image,
            self.heat,
            title=f"{Path(said.image).name}: {said.decided}",  # it may be passed on: no folders
            subtitle=(
                f"what speaks for {self.class_name}, probability "
                f"{format_score(self.probability)} ({self.method}). {RESEARCH_ONLY}"
            ),
        )
        return picture

    def save(self, path: str | Path) -> None:
        """Write the picture, a PNG file.

        Args:
            path: The file; an old one is replaced.

        Raises:
            StoreError: It cannot be written.
        """
        from medbench.atomic_files import write_bytes

        write_bytes(Path(path), self.picture())

    def _repr_png_(self) -> bytes:
        return self.picture()


def explain(
    fold_models: FoldModels,
    info: ModelInfo,
    image: NewImage,
    prediction: Prediction,
    class_name: str | None = None,
) -> Explanation:
    """Explain one image: networks by Grad-CAM, everything else by occlusion.

    Args:
        fold_models: The fitted models.
        info: What is known of them.
        image: The image.
        prediction: What is said of it.
        class_name: The class; that of the decision (of several labels the most probable one)
            where none is named.

    Raises:
        UnknownNameError: There is no such class.
        ModelError: A fold model gave values that are not probabilities, or no finite gradient.

    Source: see ``medbench.models.grad_cam.grad_cam`` and
    ``medbench.inference.occlusion.occlusion``.
    """
    classes = info.task.classes
    if class_name is None:
        likeliest = classes[int(np.argmax(prediction.probabilities))]
        class_name = likeliest if info.multi_label else prediction.decision[0]
    if class_name not in classes:
        raise unknown_name("class of this model", class_name, classes)
    k = classes.index(class_name)
    networks = fold_models.networks()
    if networks is not None:
        from medbench.models.grad_cam import grad_cam

        of_class = np.array([k])
        maps = [grad_cam(network, image.pixels[None], of_class)[0] for network in networks]
        heat, method = np.mean(maps, axis=0), "Grad-CAM"
    else:
        from medbench.inference.occlusion import occlusion

        def predict(images: NDArray[np.uint8]) -> NDArray[np.float64]:
            properties = batch_of([image] * len(images)).properties  # an occluded file is the same
            batch = Batch(images=images, properties=properties)
            mean: NDArray[np.float64] = fold_models.probabilities(batch).mean(axis=0)
            return mean

        heat, method = occlusion(predict, image.pixels, k), "occlusion"
    highest = heat.max()
    return Explanation(
        image=image.pixels,
        heat=(heat / highest if highest > 0 else heat).astype(np.float32),
        class_name=class_name,
        probability=prediction.probabilities[k],
        method=method,
        prediction=prediction,
    )
