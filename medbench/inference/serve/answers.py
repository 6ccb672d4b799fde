"""What the page is told of an upload: the prediction, the heat map, or why there is none."""

from __future__ import annotations

import base64
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.batch import Batch
from medbench.errors import MedBenchError, SliceError
from medbench.inference.explanation import Explanation
from medbench.inference.fold_models import FoldModels
from medbench.inference.images import NewImage, new_image
from medbench.inference.model import Model
from medbench.inference.model_info import RESEARCH_ONLY
from medbench.inference.prediction import as_record
from medbench.inference.serve.prediction_queue import GivenUp


class _UntilGivenUp:
    """Fold models that stop between two batches when nobody wants the answer any more."""

    def __init__(self, fold_models: FoldModels, given_up: threading.Event) -> None:
        self._fold_models = fold_models
        self._given_up = given_up

    def probabilities(self, batch: Batch) -> NDArray[np.float64]:
        if self._given_up.is_set():
            raise GivenUp
        return self._fold_models.probabilities(batch)

    def networks(self) -> Sequence[Any] | None:
        return self._fold_models.networks()


def classified(model: Model, image: NewImage, given_up: threading.Event) -> dict[str, Any]:
    """The prediction of an image and what must be known with it, JSON-ready.

    Raises:
        ModelError: A model broke its contract.
        GivenUp: Nobody wants the answer any more.
    """
    model = _until_given_up(model, given_up)
    (prediction,) = model.classify_read([image])
    return {
        **as_record(prediction, model.info),
        "operating_point": {"rule": model.info.operating_point, "thresholds": _thresholds(model)},
        "model": model.info.family,
        "dataset": model.info.dataset,
        "verdicts": list(model.info.verdicts),
        "purpose": RESEARCH_ONLY,
    }


def explained(model: Model, image: NewImage, given_up: threading.Event) -> dict[str, Any]:
    """The heat map of an image as a picture in a ``data:`` address, JSON-ready.

    Raises:
        ModelError, GivenUp: As ``classified``.
    """
    model = _until_given_up(model, given_up)
    explanation = model.explain_read(image)
    picture = base64.b64encode(explanation.picture()).decode()
    return {
        "image": image.name,
        "class": explanation.class_name,
        "method": explanation.method,
        "picture": f"data:image/png;base64,{picture}",
        "purpose": RESEARCH_ONLY,
    }


def refused(name: str, error: MedBenchError) -> dict[str, Any]:
    """Why there is no answer, in words for the page; with ``slices`` where it wants one chosen."""
    answer: dict[str, Any] = {"image": name}
    message = str(error)
    if isinstance(error, SliceError):
        answer["slices"] = error.n_slices
        message = f"{error.what}: say which, from 1 to {error.n_slices}."
    if message.startswith(f"{name}: "):  # the page shows the name above
        message = message.removeprefix(f"{name}: ")
        message = message[:1].upper() + message[1:]
    return {**answer, "error": message}


def warm_up(model: Model) -> None:
    """Classify a blank image and draw a picture, so that the first upload is no slower than others.

    Whatever the libraries write when they are first used (compiled code, lists of fonts), they
    write now, while there is no upload.

    Raises:
        ModelError: The model does not predict.
    """
    blank = np.zeros(model.task.image_shape, np.uint8)
    image = new_image(blank[..., 0] if blank.shape[-1] == 1 else blank, model.task, name="blank")
    (prediction,) = model.classify_read([image])
    model.fold_models.networks()  # what heat maps need may be loaded only when it is asked for
    Explanation(
        image=image.pixels,
        heat=np.zeros(blank.shape[:2], np.float32),
        class_name=model.task.classes[0],
        probability=prediction.probabilities[0],
        method="occlusion",
        prediction=prediction,
    ).picture()


def _until_given_up(model: Model, given_up: threading.Event) -> Model:
    return Model(model.info, _UntilGivenUp(model.fold_models, given_up), model.provenance)


def _thresholds(model: Model) -> dict[str, float]:
    """From which probability each class is decided; of exclusive classes there is at most one."""
    threshold, classes = model.threshold, model.task.classes
    if threshold is None:
        return {}
    if isinstance(threshold, Sequence):
        return dict(zip(classes, threshold, strict=True))
    return {classes[-1]: threshold}
