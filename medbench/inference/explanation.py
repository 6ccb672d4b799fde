"""Which parts of an image speak for a class: one kind of picture, however a model works."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medbench.atomic_files import folder_name
from medbench.datasets.batch import Batch
from medbench.errors import ConfigurationError, unknown_name
from medbench.inference.fold_models import FoldModels
from medbench.inference.images import NewImage, batch_of
from medbench.inference.model_info import RESEARCH_ONLY, ModelInfo
from medbench.inference.prediction import Prediction
from medbench.reports.text import format_score

if TYPE_CHECKING:
    from medbench.inference.model import Model

_PICTURE = ".png"
_OTHER_PICTURES = (".jpg", ".jpeg", ".gif", ".svg", ".pdf", ".tif", ".tiff", ".webp")


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
            title=f"{_name_of(said)}: {said.decided}",
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


def _name_of(said: Prediction) -> str:
    """File and slice; no folders, as it may be passed on."""
    return ", ".join(filter(None, (Path(said.image).name, said.shown)))


def check_path(path: Path, n_images: int) -> None:
    """Refuse a path for pictures of explanations before anything is loaded.

    Args:
        path: A PNG file, or of several images a folder.
        n_images: How many images are explained.

    Raises:
        ConfigurationError: It is neither, or a file for several images.
    """
    suffix = path.suffix.lower()
    if suffix in _OTHER_PICTURES:
        raise ConfigurationError(f"--explain {path}: pictures are PNG. Name a .png file.")
    is_file = suffix == _PICTURE
    if n_images > 1 and is_file:
        raise ConfigurationError(
            f"--explain {path}: is one picture, and there are {n_images} images. Name a folder."
        )
    if (is_file and path.is_dir()) or (not is_file and path.is_file()):
        raise ConfigurationError(f"--explain {path}: name a .png file, or a folder.")


def explained(
    model: Model,
    files: Sequence[str],
    path: Path,
    *,
    slice_number: int | None = None,
    volume_number: int | None = None,
    keep_going: bool = False,
) -> Iterator[Prediction]:
    """What a model says of files, one after the other, with a picture written of each.

    Args:
        model: The model.
        files: The images.
        path: A PNG file, or a folder of PNG files; see ``check_path``.
        slice_number: As of ``Model.classify``.
        volume_number: As of ``Model.classify``.
        keep_going: As of ``Model.classify``; what cannot be read has no picture.

    Raises:
        DatasetError: One cannot be read, unless ``keep_going``.
        StoreError: A picture cannot be written.
        ConfigurationError: The path is one picture, and several are made of a file.
    """
    found = model.classified_images(
        files, slice_number=slice_number, volume_number=volume_number, keep_going=keep_going
    )
    for number, (image, prediction) in enumerate(found, start=1):
        if image is not None:
            explanation = model.explain_read(image, prediction=prediction)
            if path.suffix.lower() == _PICTURE:
                if number > 1:
                    raise ConfigurationError(
                        f"--explain {path}: is one picture, and several are made of {files[0]}. "
                        "Name a folder, or choose one with --slice."
                    )
                explanation.save(path)
            else:
                digits = len(str(len(files)))
                name = folder_name(Path(prediction.image).stem)
                explanation.save(path / f"{number:0{digits}d}-{name}{_PICTURE}")
        yield prediction
