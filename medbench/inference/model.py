"""A model that classifies new images: the mean of the fold models of the winner of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.batch import Batch
from medbench.datasets.findings import quoted
from medbench.datasets.positive import BY_NAME, WRITTEN
from medbench.datasets.task import Task
from medbench.errors import ConfigurationError, DatasetError
from medbench.evaluation.metrics import Threshold, decide
from medbench.evaluation.operating_point import OperatingPoint
from medbench.inference.fold_models import FoldModels
from medbench.inference.images import (
    NewImage,
    as_sources,
    batch_of,
    is_prepared,
    prepared_batch,
    read_images,
)
from medbench.inference.model_info import RESEARCH_ONLY, FoldInfo, ModelInfo
from medbench.inference.prediction import Prediction, Predictions, unlike
from medbench.reports.text import format_score

if TYPE_CHECKING:
    from medbench.features.out_of_distribution import OutOfDistribution
    from medbench.inference.explanation import Explanation

_FILES_AT_ONCE = 64
"""Images read and classified at a time: what a long list needs of memory, and what an
interruption costs."""
_ARRAYS_AT_ONCE = 256
"""The same of images that are in memory already."""


@dataclass(frozen=True, kw_only=True)
class Development:
    """Out-of-fold predictions of the development part of one fold: where its points come from."""

    labels: NDArray[np.int64]
    """Class index of each image, shape (n_images,); of a multi-label task 0 or 1 for each class,
    shape (n_images, n_classes)."""
    probabilities: NDArray[np.float64]
    """Calibrated, from 0 to 1, shape (n_images, n_classes)."""


class Provenance(Protocol):
    """Where a model was read from, and what else is kept of it there."""

    out_of_distribution: OutOfDistribution | None
    """Tells images unlike those of development; None where nothing is kept to tell them by."""

    def development(self) -> Sequence[Development]:
        """Development predictions of each fold, in the order of ``ModelInfo.folds``.

        Raises:
            StoreError: They are not here.
        """
        ...


class Model:
    """Classifies images, in scikit-learn's words.

    Its probabilities are the mean over the fold models of their calibrated probabilities. Its
    operating point is the mean of theirs: an image is called positive where the fold models lie,
    on average, above the thresholds that were frozen for them.
    """

    def __init__(self, info: ModelInfo, fold_models: FoldModels, provenance: Provenance) -> None:
        """Put one together; ``load_model`` does this for a user.

        Args:
            info: What is known of it.
            fold_models: Its fitted models, in the order of ``info.folds``.
            provenance: Where it was read from.
        """
        self.info = info
        """What is known of it: where it comes from, its scores, its configuration."""
        self.fold_models = fold_models
        """Its fitted models, one a fold."""
        self.provenance = provenance
        """Where it was read from."""

    @property
    def task(self) -> Task:
        """What it tells: its classes and the shape of its images."""
        return self.info.task

    @property
    def classes_(self) -> NDArray[np.str_]:
        """Class names, str, shape (n_classes,), in the order of the columns of ``predict_proba``.

        In a binary task the last one is the positive class.
        """
        return np.array(self.task.classes)

    @property
    def threshold(self) -> Threshold:
        """The operating point: what a probability, from 0 to 1, must reach for its class.

        One number of a binary task, a list with one number a class of a multi-label task; None of
        several exclusive classes, of which the most probable is decided, and where it was not
        recorded. See ``medbench.evaluation.metrics.decide``.
        """
        thresholds = [fold.threshold for fold in self.info.folds]
        if any(one is None for one in thresholds):
            return None
        mean = np.mean(np.array(thresholds, np.float64), axis=0)
        return float(mean) if mean.ndim == 0 else mean.tolist()

    def predict_proba(self, images: Any) -> NDArray[np.float64]:
        """Probabilities, float64, from 0 to 1, shape (n_images, n_classes).

        Rows sum to one; of a multi-label task each column is the probability that the class is
        present. They are calibrated where there were enough patients; ``info.calibration_words``
        says where not.

        Args:
            images: Paths, arrays or Pillow images, one or many; or an array of many, shape
                (n, height, width) or (n, height, width, channels). Whole numbers from 0 to 255
                are grey levels, and others from 0 to 1 shares of white; values beyond are
                stretched from the image's lowest to its highest. What has not the shape of
                ``task.image_shape`` is resized. Colour has three channels, in the order RGB.

        Raises:
            DatasetError: One cannot be read, or the model makes several pictures of it; a
                ``SliceError`` where it has several slices, and the model has seen none such.
            ModelError: A fold model gave values that are not probabilities.
        """
        if is_prepared(images, self.task):
            parts = [
                self._mean(prepared_batch(images[begin : begin + _ARRAYS_AT_ONCE]))
                for begin in range(0, len(images), _ARRAYS_AT_ONCE)
            ]
        else:
            chunks = self._read(as_sources(images))
            parts = [self._mean(batch_of(_each_one(_sound(chunk)))) for _, chunk in chunks]
        return np.concatenate(parts) if parts else np.empty((0, len(self.task.classes)))

    def predict(self, images: Any) -> NDArray[Any]:
        """The class decided for each image at the operating point, str, shape (n_images,).

        Of a multi-label task 0 or 1 for each class, int64, shape (n_images, n_classes), as
        scikit-learn has it.

        Args:
            images: As in ``predict_proba``.

        Raises:
            DatasetError: As in ``predict_proba``.
            ModelError: As in ``predict_proba``.
        """
        decided = decide(self.predict_proba(images), self.threshold)
        return decided if self.info.multi_label else self.classes_[decided]

    def classify(
        self,
        images: Any,
        *,
        slice_number: int | None = None,
        volume_number: int | None = None,
        keep_going: bool = False,
    ) -> Predictions:
        """All that is said of each image: probabilities, spread, decision, warnings.

        Args:
            images: As in ``predict_proba``.
            slice_number: Which slice of volumes (or picture that is made of them, see
                ``info.volumes``), counted from 1; None for those that are made as in development,
                and for files of one slice.
            volume_number: Which volume of files that hold several, counted from 1; None for that
                of development, and for other files.
            keep_going: Give an image that cannot be read a row that says why.

        Returns:
            One ``Prediction`` a picture, in the order of the images: where ``info.volumes`` makes
            several of a volume, as many follow each other.

        Raises:
            DatasetError: One cannot be read, unless ``keep_going``.
            ModelError: A fold model gave values that are not probabilities.
        """
        found = self.classified(
            images, slice_number=slice_number, volume_number=volume_number, keep_going=keep_going
        )
        return Predictions(self.info, list(found))

    def classified(
        self,
        images: Any,
        *,
        slice_number: int | None = None,
        volume_number: int | None = None,
        keep_going: bool = False,
    ) -> Iterator[Prediction]:
        """As ``classify``, one after the other as they are done.

        Args:
            images: As in ``predict_proba``.
            slice_number: As in ``classify``.
            volume_number: As in ``classify``.
            keep_going: As in ``classify``.

        Raises:
            DatasetError: An image cannot be read, unless ``keep_going``; raised when it is reached.
            ModelError: As in ``classify``.
        """
        found = self.classified_images(
            images, slice_number=slice_number, volume_number=volume_number, keep_going=keep_going
        )
        return (prediction for _, prediction in found)

    def classified_images(
        self,
        images: Any,
        *,
        slice_number: int | None = None,
        volume_number: int | None = None,
        keep_going: bool = False,
    ) -> Iterator[tuple[NewImage | None, Prediction]]:
        """As ``classified``, each beside the image that was read; None where it was not.

        Args:
            images: As in ``predict_proba``.
            slice_number: As in ``classify``.
            volume_number: As in ``classify``.
            keep_going: As in ``classify``.

        Raises:
            DatasetError: As in ``classified``.
            ModelError: As in ``classified``.
        """
        for sources, read in self._read(as_sources(images), slice_number, volume_number):
            if not keep_going:
                _sound(read)
            sound = [image for of_one in read if isinstance(of_one, list) for image in of_one]
            predictions = iter(self.classify_read(sound) if sound else [])
            for source, of_one in zip(sources, read, strict=True):
                if isinstance(of_one, list):
                    yield from ((image, next(predictions)) for image in of_one)
                else:
                    yield None, Prediction(image=_called(source), error=str(of_one), cause=of_one)

    def classify_read(self, images: Sequence[NewImage]) -> list[Prediction]:
        """What is said of images that are read already, one ``Prediction`` an image.

        Args:
            images: As ``medbench.inference.images.new_image`` gives them, at least one.

        Raises:
            ModelError: A fold model gave values that are not probabilities.
        """
        batch = batch_of(images)
        by_fold = self.fold_models.probabilities(batch)
        mean = by_fold.mean(axis=0)
        low, high = by_fold.min(axis=0), by_fold.max(axis=0)
        decided = decide(mean, self.threshold)
        ood: list[float | None] = [None] * len(images)
        if self.provenance.out_of_distribution is not None:
            ood = self.provenance.out_of_distribution.score(batch.images).tolist()
        return [
            Prediction(
                image=image.name,
                shown=image.shown,
                probabilities=tuple(mean[i].tolist()),
                low=tuple(low[i].tolist()),
                high=tuple(high[i].tolist()),
                decision=self._names(decided[i]),
                positive=self.task.positive,
                ood_score=ood[i],
                warnings=(*image.warnings, *unlike(ood[i])),
            )
            for i, image in enumerate(images)
        ]

    def explain(
        self,
        image: Any,
        *,
        class_name: str | None = None,
        slice_number: int | None = None,
        volume_number: int | None = None,
    ) -> Explanation:
        """Which parts of an image speak for a class.

        Networks are explained by Grad-CAM, all other models by occlusion.

        Args:
            image: One image, as in ``predict_proba``.
            class_name: Name of the class; None for the decided one (of several labels the most
                probable one).
            slice_number: As in ``classify``; where several pictures are made of a volume, one must
                be chosen.
            volume_number: As in ``classify``.

        Returns:
            A heat map over the image, which a notebook shows as a picture.

        Raises:
            ConfigurationError: There is no such class, or not exactly one image is given.
            DatasetError: The image cannot be read.
            ModelError: A fold model gave values that are not probabilities, or no finite gradient.

        Source: Selvaraju et al. (2017), "Grad-CAM: visual explanations from deep networks via
        gradient-based localization", ICCV; Zeiler & Fergus (2014), "Visualizing and understanding
        convolutional networks", ECCV, for occlusion.
        """
        from medbench.inference.images import new_image

        sources = as_sources(image)
        if len(sources) != 1:
            raise ConfigurationError(f"explain takes one image at a time, not {len(sources)}.")
        (source,) = sources
        image = new_image(
            source,
            self.task,
            slice_number=slice_number,
            volume_number=volume_number,
            volumes=self.info.volumes,
        )
        return self.explain_read(image, class_name)

    def explain_read(
        self,
        image: NewImage,
        class_name: str | None = None,
        *,
        prediction: Prediction | None = None,
    ) -> Explanation:
        """Which parts of an image that is read already speak for a class; see ``explain``.

        Args:
            image: The image.
            class_name: As in ``explain``.
            prediction: What was said of it; None if that is not known yet.

        Raises:
            ConfigurationError: There is no such class.
            ModelError: A fold model gave values that are not probabilities.
        """
        from medbench.inference.explanation import explain

        if prediction is None:
            (prediction,) = self.classify_read([image])
        return explain(self.fold_models, self.info, image, prediction, class_name)

    def at(self, point: OperatingPoint, *, positive: str = "") -> Model:
        """The same model with another operating point, found on its development predictions.

        Args:
            point: What is wanted.
            positive: The positive of two classes, which the point is about; it must be that of
                the model. Empty will do, unless the model's was only guessed.

        Returns:
            A new model with the same fitted models. This one stays as it is.

        Raises:
            ConfigurationError: A task of several exclusive classes has no point, or it is not
                clear of which class it would be.
            StoreError: The development predictions are not here.
            ProtocolError: The development predictions have one class only.

        Source: see ``OperatingPoint.threshold``.
        """
        if self.task.task_type not in ("binary", "multi-label"):
            raise ConfigurationError(
                f"an operating point ({point}) is for two classes or several labels an image; this "
                f"model tells {len(self.task.classes)} exclusive classes and decides for the most "
                "probable."
            )
        decided = self._decided(point, positive)
        parts = self.provenance.development()
        folds = [
            replace(
                fold,
                threshold=point.thresholds(part.labels, part.probabilities, self.task.task_type),
            )
            for fold, part in zip(self.info.folds, parts, strict=True)
        ]
        rates = "" if self.info.multi_label else _rates(folds, parts)
        estimate = {**self.info.estimate, "sensitivity": None, "specificity": None}
        info = replace(
            self.info,
            folds=tuple(folds),
            operating_point=str(point) if self.info.multi_label else f"{point}, {rates}",
            estimate=estimate,
            positive_decided=decided,
        )
        return Model(info, self.fold_models, self.provenance)

    def _decided(self, point: OperatingPoint, positive: str) -> str:
        """How it is known which class an operating point is about.

        Raises:
            ConfigurationError: It is another class than the model's, or nobody knows.
        """
        info, ours = self.info, self.task.positive
        sure = info.positive_decided in (WRITTEN, BY_NAME) or point.at_least is None
        if positive == ours or (sure and not positive):
            return WRITTEN if positive else info.positive_decided
        other = "specificity" if point.rule == "sensitivity" else "sensitivity"
        instead = f"give --{other} {point.at_least:g} instead" if point.at_least else ""
        told = f"The positive class of this model is {quoted(ours)} ({info.positive_decided})"
        if not ours:
            raise ConfigurationError(
                f"--positive {positive}: this model tells several labels an image, and each has a "
                "point of its own. Leave --positive out."
            )
        if not positive:
            raise ConfigurationError(
                f"--{point}: which class is that about? {told}. If it is to be found, say "
                f"--positive with its name too; if the other one is, {instead}, or run again "
                "with --positive."
            )
        raise ConfigurationError(
            f"--positive {positive}: {told}. To find the other class "
            f"{f'{instead}, or ' * bool(instead)}run again with --positive."
        )

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        """For notebooks."""
        from html import escape

        first, *others = self._lines()
        return f"<p><b>{escape(first)}</b></p>" + "".join(f"<p>{escape(o)}</p>" for o in others)

    def _lines(self) -> list[str]:
        return [*describe(self.info), RESEARCH_ONLY]

    def _read(
        self,
        sources: Sequence[Any],
        slice_number: int | None = None,
        volume_number: int | None = None,
    ) -> Iterator[tuple[Sequence[Any], list[list[NewImage] | DatasetError]]]:
        """The sources, some at a time, beside what was read of them."""
        for begin in range(0, len(sources), _FILES_AT_ONCE):
            some = sources[begin : begin + _FILES_AT_ONCE]
            read = read_images(
                some,
                self.task,
                slice_number=slice_number,
                volume_number=volume_number,
                volumes=self.info.volumes,
            )
            yield some, list(read)

    def _mean(self, batch: Batch) -> NDArray[np.float64]:
        mean: NDArray[np.float64] = self.fold_models.probabilities(batch).mean(axis=0)
        return mean

    def _names(self, decided: Any) -> tuple[str, ...]:
        if self.info.multi_label:
            return tuple(self.task.classes[k] for k in np.flatnonzero(decided))
        return (self.task.classes[int(decided)],)


def describe(info: ModelInfo) -> list[str]:
    """What a user is told of a model before its predictions, a sentence or two each."""
    n = len(info.folds)
    name = f"{info.family} of {', '.join(info.members)}" if info.members else info.family
    of = "models of other seeds" if info.official else "fold models"
    mean = f"the mean of {n} {of}" if n > 1 else "one fitted model"
    decided = info.task.task_type not in ("multi-class", "ordinal")
    point = f" Operating point: {info.operating_point}." if decided else ""
    positive = f" {info.positive_words}." if info.positive_words else ""
    synthetic = " It has seen synthetic images only." if info.synthetic else ""
    return [
        f"{name} on {info.title} ({info.dataset}): {mean}. {info.why}",
        f"{info.estimate_words}{point}{positive}{synthetic}",
        *(
            [f"Of a file with several slices it sees {info.volumes.words}, as in development."]
            if info.volumes
            else []
        ),
        *([f"Probabilities: {info.calibration_words}."] if info.calibration_words else []),
        *info.verdicts,
    ]


def _rates(folds: Sequence[FoldInfo], parts: Sequence[Development]) -> str:
    """What thresholds gave on the very images on which they were found, in words."""
    sensitivity, specificity = [], []
    for fold, part in zip(folds, parts, strict=True):
        positive = decide(part.probabilities, fold.threshold) == 1
        sensitivity.append(positive[part.labels == 1].mean())
        specificity.append(1 - positive[part.labels == 0].mean())
    return (
        f"with sensitivity {format_score(float(np.mean(sensitivity)))} and specificity "
        f"{format_score(float(np.mean(specificity)))} of the single models on the very development "
        "images that chose it"
    )


def _sound(read: Sequence[list[NewImage] | DatasetError]) -> list[list[NewImage]]:
    for of_one in read:
        if isinstance(of_one, DatasetError):
            raise of_one
    return [of_one for of_one in read if isinstance(of_one, list)]


def _each_one(read: Sequence[list[NewImage]]) -> list[NewImage]:
    """The pictures, of which there must be one of each file: each is a row for the caller."""
    for first, *others in read:
        if others:
            raise DatasetError(
                f"{first.name}: {len(others) + 1} pictures are made of it, and there is a row for "
                "one. Use classify, which gives each a row, or give one as an array."
            )
    return [first for (first,) in read]


def _called(source: Any) -> str:
    return str(source) if isinstance(source, str | Path) else "image"
