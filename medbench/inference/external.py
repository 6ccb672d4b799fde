"""External validation: the models of a run, as they are, on a data set that they never saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench.cache import cache_folder
from medbench.cores import available_threads
from medbench.datasets.batch import PROPERTIES, Batch
from medbench.datasets.catalog import Catalog
from medbench.datasets.prepared import PreparedDataset, describe, prepare
from medbench.datasets.progress_callback import ProgressCallback, no_progress
from medbench.datasets.task import label_frame
from medbench.errors import ConfigurationError
from medbench.inference.class_map import ClassMap, written_pair
from medbench.inference.model import Model
from medbench.store import RunStore

_CHUNK = 64
"""Images predicted at a time."""


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """The images of the other data set that are of a class the model knows."""

    rows: NDArray[np.int64]
    """Their places in it, shape (n_images,)."""
    labels: NDArray[np.int64]
    """Their labels by the model's classes; see ``LabelledBatch``."""
    left_out: Mapping[str, int]
    """Images of each class that the map does not name."""


def prepare_like(
    model: Model,
    name: str,
    catalog: Catalog,
    *,
    skip_unreadable: bool = False,
    say: ProgressCallback = no_progress,
) -> PreparedDataset:
    """Another data set, in the shape that a model takes; of its two classes in the same order.

    Args:
        model: The model.
        name: The data set.
        catalog: Where its images are.
        skip_unreadable: Leave unreadable images out instead of failing.
        say: Shows how far a long step is.

    Raises:
        ConfigurationError: Other pictures are made of its volumes than the model has learnt from.
        DatasetError: Its images are not here or cannot be read.
        UnknownNameError: There is no such data set.
    """

    def prepared() -> PreparedDataset:
        return prepare(
            name,
            catalog.get(name),
            cache=cache_folder() / "prepared",
            threads=available_threads(),
            skip_unreadable=skip_unreadable,
            image_shape=model.task.image_shape,
            say=say,
        )

    data = prepared()
    if data.task.binary and data.task.classes == model.task.classes[::-1]:
        catalog.decide(name, positive=model.task.positive)  # or its own images would look others
        data = prepared()
    theirs = data.volumes
    if theirs and (ours := model.info.volumes) and not ours.like(theirs):
        raise ConfigurationError(
            f"data set {name!r}: of its files with several slices {theirs.words} is taken, and the "
            f"model has learnt from {ours.words}. Write slices: {ours.slices} in its entry."
        )
    return data


def labelled(model: Model, data: PreparedDataset, class_map: ClassMap) -> Labelled:
    """The labels of a data set in the words of a model.

    Args:
        model: The model.
        data: The other data set.
        class_map: How its classes are called here.

    Raises:
        ConfigurationError: The map names a class that one of them does not have, leaves a class
            of the model without images, or cannot translate from one type of task to the other.
    """
    ours, theirs = model.task.classes, data.task.classes
    for there, here in class_map.items():
        if there not in theirs or here not in ours:
            raise ConfigurationError(
                f"--class-map {written_pair(there, here)}: {data.name} has {', '.join(theirs)}, "
                f"and the model tells {', '.join(ours)}. Write it as THEIRS=OURS."
            )
    if lacking := [name for name in ours if name not in class_map.values()]:
        raise ConfigurationError(
            f"data set {data.name!r}: no class of it is called {', '.join(map(repr, lacking))}, "
            f"which the model tells. Its classes are {', '.join(theirs)}: say which is which, for "
            f"example --class-map {written_pair(theirs[0], ours[0])} "
            f"{written_pair(theirs[-1], ours[-1])}."
        )
    several = data.task.task_type == "multi-label"
    if several != model.info.multi_label:
        raise ConfigurationError(
            f"data set {data.name!r}: is {data.task.task_type}, and the model "
            f"{model.task.task_type}; labels of one type cannot be translated into the other."
        )
    positions = [ours.index(class_map[name]) if name in class_map else -1 for name in theirs]
    if several:
        columns = [theirs.index(there) for there in _inverse(class_map, ours)]
        return Labelled(
            rows=np.arange(len(data.labels)), labels=data.labels[:, columns], left_out={}
        )
    translated = np.array(positions)[data.labels]
    rows = np.flatnonzero(translated >= 0)
    counts = np.bincount(data.labels, minlength=len(theirs))
    left_out = {
        name: int(n) for name, n, to in zip(theirs, counts, positions, strict=True) if to < 0
    }
    return Labelled(rows=rows, labels=translated[rows], left_out=left_out)


def _inverse(class_map: ClassMap, ours: tuple[str, ...]) -> list[str]:
    """The class of the other set that stands for each of the model's; of labels it must be one.

    Raises:
        ConfigurationError: Several labels would have to be joined into one.
    """
    if len(set(class_map.values())) < len(class_map):
        raise ConfigurationError(
            "--class-map: joins several labels into one, which is not possible where an image may "
            "have any number of them."
        )
    there = {here: there for there, here in class_map.items()}
    return [there[name] for name in ours]


def evaluate(
    model: Model,
    data: PreparedDataset,
    class_map: ClassMap,
    store: RunStore,
    *,
    done: Callable[[int], None] = lambda images: None,
) -> dict[str, Any]:
    """Predict another data set and keep the predictions in the run; nothing is fitted.

    Calibration and operating point stay as they were frozen.

    Args:
        model: The model of the run.
        data: The other data set; see ``prepare_like``.
        class_map: Its classes in the words of the model.
        store: The run.
        done: Told how many images are done.

    Returns:
        What was recorded; see ``medbench.store.ExternalResult``.

    Raises:
        ConfigurationError: The class map does not fit.
        StoreError: The run folder cannot be written.
    """
    internal = store.dataset_record(model.info.dataset) or {}
    if data.fingerprint == internal.get("fingerprint"):
        raise ConfigurationError(
            f"data set {data.name!r}: holds the very images that the model was developed on, of "
            "which it knows the labels. Its held-out score is in the leaderboard."
        )
    known = labelled(model, data, class_map)
    by_fold, ood = _predicted(model, data, known.rows, done)
    groups = data.table["group"].to_numpy(np.int64)[known.rows]
    n_folds, _, n_classes = by_fold.shape
    mean = by_fold.mean(axis=0)
    predictions = pd.concat(
        [
            pd.DataFrame({"image": known.rows, "group": groups}),
            label_frame(known.labels),
            pd.DataFrame({f"p{k}": mean[:, k] for k in range(n_classes)}),
            pd.DataFrame(
                {f"f{i}p{k}": by_fold[i, :, k] for i in range(n_folds) for k in range(n_classes)}
            ),
        ],
        axis=1,
    )
    info, about = model.info, describe(data)
    record = {
        "dataset": info.dataset,
        "model": info.family,
        "other": data.name,
        "title": about["title"],
        "synthetic": about["synthetic"],
        "licence": about["licence"],
        "citation": about["citation"],
        "fingerprint": data.fingerprint,
        "models_sha256": [fold.sha256 for fold in info.folds],
        "same_collection": about["collection"] == internal.get("collection"),
        "class_map": dict(class_map),
        "left_out": dict(known.left_out),
        "n_images": len(known.rows),
        "n_groups": len(np.unique(groups)),
        "n_folds": n_folds,
        "operating_point": info.operating_point,
        "threshold": model.threshold,
        "unlike": None if ood is None else float(np.mean(ood > 1)),
    }
    store.write_external(record, predictions)
    return record


def _predicted(
    model: Model, data: PreparedDataset, rows: NDArray[np.int64], done: Callable[[int], None]
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Probabilities by each fold model, shape (n_folds, n_images, n_classes), and unlikeness."""
    parts, scores = [], []
    detector = model.provenance.out_of_distribution
    for begin in range(0, len(rows), _CHUNK):
        some = rows[begin : begin + _CHUNK]
        properties = data.table.loc[some, list(PROPERTIES)].reset_index(drop=True)
        batch = Batch(images=np.ascontiguousarray(data.images[some]), properties=properties)
        parts.append(model.fold_models.probabilities(batch))
        if detector is not None:
            scores.append(detector.score(batch.images))
        done(begin + len(some))
    return np.concatenate(parts, axis=1), np.concatenate(scores) if scores else None
