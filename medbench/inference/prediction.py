"""What is said of a new image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from medbench.errors import DatasetError
from medbench.evaluation.metrics import Threshold
from medbench.inference.model_info import RESEARCH_ONLY, ModelInfo

_UNLIKE = "unlike the images of development (out-of-distribution score {score:.2f})"
WHAT_UNLIKE_MEANS = (
    "About 1 in 100 images like those of development (more where few patients were) have an "
    "out-of-distribution score above 1. What probabilities mean for images unlike them is unknown."
)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One image, classified; or why it was not."""

    image: str
    """What the user calls it: the path that was given, or its number, as ``image 1``."""
    shown: str = ""
    """Which slice or plane of its file it is, in words; "" where the file has one only."""
    probabilities: tuple[float, ...] = ()
    """One a class, from 0 to 1, in the order of ``Task.classes``: the mean over the fold models,
    calibrated as each of them is. Empty where there is an ``error``, as are the next three."""
    low: tuple[float, ...] = ()
    """The lowest probability of a fold model, one a class."""
    high: tuple[float, ...] = ()
    """The highest probability of a fold model, one a class."""
    decision: tuple[str, ...] = ()
    """Name of the class decided at the operating point; of a multi-label task all that are, or
    none."""
    positive: str = ""
    """The positive one of two classes, which the operating point is about; else empty."""
    ood_score: float | None = None
    """How unlike the development images it is, from 0; above 1 it is flagged. None where unknown.
    See ``medbench.features.out_of_distribution``."""
    warnings: tuple[str, ...] = ()
    """What makes the classification doubtful, a phrase each."""
    error: str = ""
    """Why there is no classification; empty where there is one."""
    cause: DatasetError | None = None
    """What was raised, of which ``error`` is the message; None where nothing was."""

    @property
    def decided(self) -> str:
        """The decision in words: names of classes, ``none``, or empty where there is an error."""
        return ", ".join(self.decision) or ("" if self.error else "none")


def unlike(score: float | None) -> tuple[str, ...]:
    """The warning that an image is out of distribution, if it is."""
    return () if score is None or score <= 1 else (_UNLIKE.format(score=score),)


class Predictions(Sequence[Prediction]):
    """Several images classified by one model, in their order; a table in a notebook."""

    def __init__(self, info: ModelInfo, predictions: Sequence[Prediction]) -> None:
        """Keep them.

        Args:
            info: What is known of the model.
            predictions: One an image.
        """
        self.info = info
        """What is known of the model that classified them."""
        self._predictions = tuple(predictions)

    def __len__(self) -> int:
        return len(self._predictions)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> Predictions: ...
    def __getitem__(self, index: int | slice) -> Prediction | Predictions:
        if isinstance(index, slice):
            return Predictions(self.info, self._predictions[index])
        return self._predictions[index]

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self._predictions)

    def to_frame(self) -> Any:
        """A ``pandas.DataFrame``, one row an image; columns as in the CSV format of ``predict``.

        They are ``image``, ``shown`` where the model was developed on volumes, ``decision``, of a
        binary task ``positive class``; for each class ``probability of NAME``, ``lowest of NAME``
        and ``highest of NAME`` (from 0 to 1); ``ood_score``, ``warnings`` and ``error``. What is
        not known is None or NaN.
        """
        import pandas as pd

        rows = [as_row(one, self.info) for one in self]
        return pd.DataFrame(rows, columns=columns(self.info))

    def __repr__(self) -> str:
        return f"{self.to_frame().to_string(index=False)}\n{RESEARCH_ONLY}"

    def _repr_html_(self) -> str:
        """For notebooks: what speaks against the model, the table, and what it is not for."""
        from html import escape

        said = "".join(f"<p><b>{escape(text)}</b></p>" for text in self.info.verdicts)
        table = self.to_frame().to_html(index=False, float_format="{:.3f}".format, escape=True)
        return f"{said}{table}<p>{escape(RESEARCH_ONLY)}</p>"


def columns(info: ModelInfo) -> list[str]:
    """Columns of ``as_row``: the image, the decision, then three for each class, then the rest.

    Of two classes the positive one stands behind the decision; of a model of volumes what of the
    image is shown stands before it.
    """
    classes = info.task.classes
    return [
        "image",
        *(["shown"] if info.volumes else []),
        "decision",
        *(["positive class"] if info.task.positive else []),
        *(f"probability of {name}" for name in classes),
        *(f"lowest of {name}" for name in classes),
        *(f"highest of {name}" for name in classes),
        "ood_score",
        "warnings",
        "error",
    ]


def as_row(prediction: Prediction, info: ModelInfo) -> list[Any]:
    """A prediction as a row of a table; what is not known is None."""
    unknown = [None] * len(info.task.classes)
    return [
        prediction.image,
        *([prediction.shown] if info.volumes else []),
        prediction.decided,
        *([info.task.positive] if info.task.positive else []),
        *(prediction.probabilities or unknown),
        *(prediction.low or unknown),
        *(prediction.high or unknown),
        prediction.ood_score,
        "; ".join(prediction.warnings),
        prediction.error,
    ]


def as_record(prediction: Prediction, info: ModelInfo) -> dict[str, Any]:
    """A prediction for JSON: probabilities by class name."""
    if prediction.error:
        return {"image": prediction.image, "error": prediction.error}
    decided: Any = list(prediction.decision) if info.multi_label else prediction.decision[0]
    spread = zip(prediction.low, prediction.high, strict=True)
    return {
        "image": prediction.image,
        **({"shown": prediction.shown} if prediction.shown else {}),
        "decision": decided,
        **({"positive": info.task.positive} if info.task.positive else {}),
        "probabilities": dict(zip(info.task.classes, prediction.probabilities, strict=True)),
        "spread_over_folds": dict(zip(info.task.classes, map(list, spread), strict=True)),
        "ood_score": prediction.ood_score,
        "warnings": list(prediction.warnings),
    }


def about_model(info: ModelInfo, threshold: Threshold) -> dict[str, Any]:
    """What the reader of predictions must know of the model, for JSON."""
    return {
        "model": info.family,
        "dataset": info.dataset,
        "classes": list(info.task.classes),
        "positive": info.task.positive or None,
        "positive_decided": info.positive_decided if info.task.positive else None,
        "why": info.why,
        "volumes": info.volumes.words if info.volumes else None,
        "not_calibrated": info.calibration_words or None,
        "estimate": {**info.estimate, "words": info.estimate_words},
        "operating_point": {"rule": info.operating_point, "threshold": threshold},
        "verdicts": list(info.verdicts),
        "purpose": RESEARCH_ONLY,
    }
