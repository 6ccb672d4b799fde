"""Whether heat maps point at the finding, on synthetic images in which its place is known."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from medbench import registry
from medbench.datasets.batch import Batch, LabelledBatch
from medbench.datasets.sources.phantoms import CLASSES, PhantomSource
from medbench.datasets.splits import group_folds
from medbench.datasets.task import Task
from medbench.evaluation.metrics import auroc
from medbench.features.feature_cache import FeatureCache
from medbench.inference.occlusion import occlusion
from medbench.models.contract import Classifier, Context, Progress
from medbench.models.grad_cam import grad_cam, map_shape
from medbench.models.space import SearchSpace
from medbench.models.weights import Weights, find_weights

IMAGES_A_PATIENT = 3
VALIDATION_FOLDS = 5
"""One of them tells networks and boosters when to stop."""
SEED = 0
FINDING = 1
Z = 1.959964
"""Standard errors on each side of a 95% interval."""
NO_WEIGHTS = Weights(path=None, sha256=None, note="random weights")

PEAK = 1 - 1e-6
"""From here on a value is as high as the highest, which is 1."""

Modality = Literal["mr", "chest"]


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is drawn, learnt from and explained."""

    training_patients: int
    test_patients: int
    explained: int
    """Most images whose heat map is made, for each model, method and data set."""
    occluded: int
    """The same for networks by occlusion, which takes them seconds."""
    image_size: int
    last_step: int | None
    """Most epochs or rounds; None leaves it to the family."""


@dataclass(frozen=True, kw_only=True)
class Pointed:
    """How often the heat maps of one model hit the finding of one data set."""

    dataset: str
    model: str
    weights: str
    """What a pretrained network starts from; empty for others."""
    method: str
    cells: str
    """Height and width of the map that Grad-CAM reads; empty for occlusion."""
    auroc: float
    """On the test patients, one image each."""
    with_finding: int
    """Test images with a finding."""
    images: int
    """Those of them that were classified as such and explained; each of another patient."""
    hits: int
    """Maps whose highest value lies in the finding; of equally high pixels at least half."""
    empty: int
    """Maps that are 0 everywhere, which count as misses."""
    area: float
    """Mean share of the image that the finding takes: the hit rate of a random point."""
    reachable: float
    """Share of the findings that hold the middle of some cell, where such a map can peak."""
    inside: float
    """Mean share of a map's weight that lies in the finding; empty maps left out."""
    seconds: float
    """To explain one image."""

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95% interval of the hit rate; the images are of different patients."""
        return wilson(self.hits, self.images)


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95% interval of a share; from 0 to 1 if there is nothing.

    Source: Wilson (1927), "Probable inference", JASA 22.
    """
    if n == 0:
        return 0.0, 1.0
    share, extra = hits / n, Z**2 / n
    middle = (share + extra / 2) / (1 + extra)
    half = Z * np.sqrt(share * (1 - share) / n + extra / (4 * n)) / (1 + extra)
    return max(float(middle - half), 0.0), min(float(middle + half), 1.0)


@dataclass(frozen=True, kw_only=True)
class Phantoms:
    """Synthetic patients: some to learn from, and one image each of others."""

    name: str
    task: Task
    train: LabelledBatch
    validation: LabelledBatch
    test: LabelledBatch
    masks: np.ndarray
    """Where the finding of each test image is, bool, shape (n_images, height, width)."""


@functools.lru_cache(maxsize=1)
def phantoms(modality: Modality, size: Size) -> Phantoms:
    """Draw one data set; no patient is on both sides."""
    patients = size.training_patients + size.test_patients
    source = PhantomSource(
        modality=modality,
        patients=patients,
        images_per_patient=IMAGES_A_PATIENT,
        image_size=size.image_size,
        seed=SEED,
    )
    labels = source.listing().table["label"].to_numpy(np.int64)
    begin = size.training_patients * IMAGES_A_PATIENT
    development = _batch(source, labels, np.arange(begin))
    inner, outer = group_folds(
        development.labels, development.groups, folds=VALIDATION_FOLDS, seed=SEED
    )[0]
    # One image a patient, so that hits are independent of each other.
    shown = np.arange(begin, patients * IMAGES_A_PATIENT, IMAGES_A_PATIENT)
    test = _batch(source, labels, shown)
    return Phantoms(
        name=f"phantoms-{modality}",
        task=Task(classes=CLASSES[modality], image_shape=test.images.shape[1:]),
        train=development.take(inner),
        validation=development.take(outer),
        test=test,
        masks=np.stack([source.lesion_mask(int(i)) for i in shown]),
    )


def _batch(source: PhantomSource, labels: np.ndarray, rows: np.ndarray) -> LabelledBatch:
    return LabelledBatch(
        images=np.stack([source.draw(int(i)) for i in rows])[..., None],
        properties=pd.DataFrame(index=range(len(rows))),
        labels=labels[rows],
        groups=rows // IMAGES_A_PATIENT,
    )


def pointing(
    data: Phantoms, name: str, weights_dir: Path | None, size: Size, threads: int
) -> list[Pointed]:
    """Fit a family with its defaults, and see where its heat maps point.

    Returns:
        One record a method: occlusion, and for a network Grad-CAM before it.
    """
    family = registry.models.get(name)()
    space = SearchSpace()
    family.search_space(space, data.task)
    weights = None
    if family.weights is not None:
        weights = NO_WEIGHTS
        if weights_dir is not None:
            weights = find_weights(family.weights, weights_dir, lambda _: None, download=False)
    context = Context(
        seed=SEED, threads=threads, features=FeatureCache(None, threads=threads), weights=weights
    )
    model = family.build(space.defaults(), data.task, context)
    progress = Progress()
    progress.last_step = size.last_step
    model.fit(data.train, data.validation, progress)
    probabilities = model.predict_proba(data.test)
    wanted = data.test.labels == FINDING
    found = np.flatnonzero(wanted & (probabilities[:, FINDING] >= 0.5))
    shared = {
        "dataset": data.name,
        "model": name,
        "weights": "" if weights is None else ("random" if weights.path is None else "given"),
        "auroc": auroc(data.test.labels, probabilities, len(data.task.classes)),
        "with_finding": int(wanted.sum()),
    }
    if "keras" not in family.requires:
        return [_pointed(data, found[: size.explained], _occluding(model, context), None, shared)]
    with tempfile.TemporaryDirectory() as folder:
        # From its file, as an explanation reads it.
        model.save(Path(folder))
        model.load(Path(folder))
        network = model.network()

    def by_gradients(images: np.ndarray) -> np.ndarray:
        return grad_cam(network, images, np.full(len(images), FINDING))

    return [
        _pointed(data, found[: size.explained], by_gradients, map_shape(network), shared),
        _pointed(data, found[: size.occluded], _occluding(model, context), None, shared),
    ]


def _pointed(
    data: Phantoms,
    rows: np.ndarray,
    explain: Callable[[np.ndarray], np.ndarray],
    cells: tuple[int, int] | None,
    shared: Mapping[str, Any],
) -> Pointed:
    """Explain some test images, and compare the maps with the findings."""
    images, masks = data.test.images[rows], data.masks[rows]
    begun = time.perf_counter()
    maps = explain(images)
    seconds = (time.perf_counter() - begun) / max(len(images), 1)
    pairs = list(zip(maps, masks, strict=True))
    return Pointed(
        **shared,
        method="occlusion" if cells is None else "Grad-CAM",
        cells="" if cells is None else f"{cells[0]} x {cells[1]}",
        images=len(images),
        hits=sum(_hits(heat, mask) for heat, mask in pairs),
        empty=sum(not heat.any() for heat in maps),
        area=_mean(masks.mean(axis=(1, 2))),
        reachable=1.0 if cells is None else _mean(_reached(masks, cells)),
        inside=_mean([heat[mask].sum() / heat.sum() for heat, mask in pairs if heat.any()]),
        seconds=seconds,
    )


def _occluding(model: Classifier, context: Context) -> Callable[[np.ndarray], np.ndarray]:
    """Explains images by what a classifier predicts where parts of them are covered."""

    def predict(occluded: np.ndarray) -> np.ndarray:
        context.features.forget()  # no occluded image is seen twice
        properties = pd.DataFrame(index=range(len(occluded)))
        probabilities: np.ndarray = model.predict_proba(
            Batch(images=occluded, properties=properties)
        )
        return probabilities

    def explain(images: np.ndarray) -> np.ndarray:
        maps = [occlusion(predict, image, FINDING) for image in images]
        return np.stack(maps) if maps else np.empty(images.shape[:3], np.float32)

    return explain


def _hits(heat: np.ndarray, mask: np.ndarray) -> bool:
    """Whether a map peaks in the finding; a map without heat points nowhere.

    An enlarged map has its highest value at a few pixels around the middle of a cell.
    """
    return bool(heat.any() and mask[heat >= PEAK].mean() >= 0.5)


def _reached(masks: np.ndarray, cells: tuple[int, int]) -> np.ndarray:
    """Whether each finding holds a pixel at the middle of some cell."""
    rows, columns = (
        np.unique(np.concatenate([np.floor(middles), np.ceil(middles)]).astype(np.int64))
        for middles in (
            (np.arange(n) + 0.5) * (side / n) - 0.5
            for n, side in zip(cells, masks.shape[1:], strict=True)
        )
    )
    return np.asarray(masks[:, rows[:, None], columns].any(axis=(1, 2)))


def _mean(values: Sequence[float] | np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else 0.0
