"""``python benchmarks/ablation/augmentation.py``: do augmented images help the features?

The defaults of ``hog-svm`` and ``xgboost`` learn from the images alone, or from the augmented
ones that the package makes of each as well, and predict the image alone, or the mean over it and
these of it; of brain slices also with the mirror image as the only augmented one. Of ``xgboost``
the energies that ``hog-svm`` sees are tried beside its own features, without augmentation and with
it. AUROC of three grouped folds; the rounds of a booster are those with the lowest loss in the
other folds. Of drawn images each draw is another seed; of others it divides all of them anew.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from images import drawn, real
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from medbench.datasets.sources.phantoms import PhantomSource
from medbench.datasets.splits import group_folds
from medbench.datasets.task import Task
from medbench.features.augmentation import N_AUGMENTATIONS, augmentations
from medbench.features.extractor import Extractor
from medbench.features.hog import HogPyramid
from medbench.models.space import SearchSpace
from medbench.models.xgboost import _ALWAYS, _BOOSTER_PARAMETERS, _OPTIONAL, XGBoost

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what benchmarks share
from markers import write_between_markers

_PHANTOMS = {"mr": range(20, 23), "chest": range(12, 15)}
"""Seeds that no other choice has seen."""
_SETS, _DRAWS, _FOLDS = ("brain-mri", "nih-pneumonia", "covid-or-pneumonia"), 3, 3
_HEADS = ("mr", "brain-mri")
"""Of these the mirror image might be another patient."""
_MOST_ROUNDS, _PATIENCE = 300, 25
_WAYS = {
    "as it is": ("none", "none"),
    "training": ("light", "none"),
    "prediction": ("none", "light"),
    "both": ("light", "light"),
    "mirrored, both": ("mirror", "mirror"),
}
"""Augmented images that a model learns from, and those that it predicts besides each image."""

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Floats = NDArray[np.floating]
Versions = Mapping[str, Floats]
"""Features of all versions of all images, shape (n_versions, n_images, n_features), by name."""


def main() -> None:
    """Measure, print, and write the table where a page is named."""
    parser = argparse.ArgumentParser(prog="python benchmarks/ablation/augmentation.py")
    parser.add_argument("--data-dir", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write between its markers")
    options = parser.parse_args()
    base, *others = (*_WAYS, "energies", "energies, both")
    rows = [f"| images | draws | family | {base} | {' | '.join(others)} |"]
    rows.append("|---" * (len(others) + 4) + "|")
    for name, draws in _measured(options.data_dir):
        for family, scores_of in (("hog-svm", _machines), ("xgboost", _boosters)):
            began = time.perf_counter()
            scores = [scores_of(*draw) for draw in draws]
            cells = [f"{fmean(one[base] for one in scores):.3f}"]
            for way in others:
                gains = [one[way] - one[base] for one in scores if way in one]
                cells.append(_gain(gains) if gains else "")
            rows.append(f"| {name} | {len(draws)} | {family} | {' | '.join(cells)} |")
            seconds = time.perf_counter() - began
            print(f"{rows[-1]} {seconds:.0f} s", file=sys.stderr, flush=True)
    print("\n".join(rows))
    if options.page is not None:
        write_between_markers(options.page, "augmentation", "\n".join(rows))


def _gain(gains: list[float]) -> str:
    return f"{fmean(gains):+.3f} ± {stdev(gains) / len(gains) ** 0.5:.3f}"


def _measured(data_dir: Path) -> Iterator[tuple[str, list[tuple[Versions, Labels, Labels, int]]]]:
    """By data set, draws of features, labels, groups, and a seed for the folds."""
    for modality, seeds in _PHANTOMS.items():
        draws = [drawn(PhantomSource(modality=modality, seed=seed)) for seed in seeds]
        name = f"phantoms, {modality}, seeds {seeds[0]} to {seeds[-1]}"
        mirrored = modality in _HEADS
        yield name, [(_features(_versions(i, mirrored=mirrored)), y, g, 0) for i, y, g in draws]
    for name in _SETS:
        images, labels, groups = real(name, data_dir)
        features = _features(_versions(images, mirrored=name in _HEADS))
        yield name, [(features, labels, groups, seed) for seed in range(_DRAWS)]


def _versions(images: Images, *, mirrored: bool) -> Images:
    """The images, their augmented ones, then, where wanted, the mirror images, as uint8."""
    augmented = [each.augment(images) for each in augmentations(HogPyramid())]
    return np.stack([images, *augmented, *([images[:, :, ::-1]] if mirrored else [])])


def _chosen(kind: str, n_versions: int) -> list[int]:
    """Numbers of the versions of an image: itself, and its augmented ones of a kind."""
    of_kind = {
        "none": range(0),
        "light": range(1, 1 + N_AUGMENTATIONS),
        "mirror": range(1 + N_AUGMENTATIONS, n_versions),
    }
    return [0, *of_kind[kind]]


def _ways(n_versions: int) -> Iterator[tuple[str, list[int], list[int]]]:
    """Each way with the versions to learn from and those to predict."""
    for way, (learnt, predicted) in _WAYS.items():
        if learnt != "mirror" or n_versions > 1 + N_AUGMENTATIONS:
            yield way, _chosen(learnt, n_versions), _chosen(predicted, n_versions)


def _features(versions: Images) -> Versions:
    """Of all versions of all images: energies, and what a booster saw by default before."""
    own = [_ALWAYS, *(_OPTIONAL[name] for name in ("lbp", "glcm", "gabor", "pixels"))]

    def described(extractor: Extractor) -> Floats:
        rows = extractor(versions.reshape(-1, *versions.shape[2:]))
        return rows.reshape(*versions.shape[:2], -1)

    return {
        "energies": described(HogPyramid()),
        "own": np.concatenate([described(each) for each in own], axis=2),
    }


def _booster_defaults() -> Mapping[str, Any]:
    space = SearchSpace()
    XGBoost().search_space(space, Task(classes=("a", "b"), image_shape=(64, 64, 1)))
    return space.defaults()


def _machines(of: Versions, labels: Labels, groups: Labels, seed: int) -> dict[str, float]:
    """AUROC of the default support vector machine by each way, mean of the folds."""
    features = of["energies"]
    folds = group_folds(labels, groups, folds=_FOLDS, seed=seed)
    fitted: dict[int, list[list[Floats]]] = {}
    scores: dict[str, float] = {}
    for way, learnt, predicted in _ways(len(features)):
        if len(learnt) not in fitted:
            fitted[len(learnt)] = []
            for train, held_out in folds:
                model = make_pipeline(
                    StandardScaler(),
                    SVC(C=10, gamma=0.1 / features.shape[2], class_weight="balanced"),
                )
                x = np.concatenate(features[np.ix_(learnt, train)])
                model.fit(x, np.tile(labels[train], len(learnt)))
                fitted[len(learnt)].append(
                    [model.decision_function(one[held_out]) for one in features]
                )
        scores[way] = _score(fitted[len(learnt)], folds, labels, predicted)
    return scores


def _boosters(of: Versions, labels: Labels, groups: Labels, seed: int) -> dict[str, float]:
    """AUROC of the default booster by each way, mean of the folds."""
    features, energies = of["own"], np.concatenate([of["own"], of["energies"]], axis=2)
    defaults = _booster_defaults()
    settings = {name: defaults[name] for name in _BOOSTER_PARAMETERS}
    folds = group_folds(labels, groups, folds=_FOLDS, seed=seed)
    fitted: dict[int, list[list[Floats]]] = {}
    scores: dict[str, float] = {}
    for way, learnt, predicted in _ways(1 + N_AUGMENTATIONS):
        if len(learnt) not in fitted:
            fitted[len(learnt)] = _boosted(settings, folds, labels, features, learnt)
        scores[way] = _score(fitted[len(learnt)], folds, labels, predicted)
    for way, kind in (("energies", "none"), ("energies, both", "light")):
        chosen = _chosen(kind, len(energies))
        said = _boosted(settings, folds, labels, energies, chosen)
        scores[way] = _score(said, folds, labels, chosen)
    return scores


def _score(
    said: list[list[Floats]],
    folds: list[tuple[Labels, Labels]],
    labels: Labels,
    versions: list[int],
) -> float:
    """AUROC, mean of the folds, of the mean over some versions of what was said of them."""
    return fmean(
        roc_auc_score(labels[held_out], np.mean([of_fold[one] for one in versions], axis=0))
        for of_fold, (_, held_out) in zip(said, folds, strict=True)
    )


def _boosted(
    settings: Mapping[str, float],
    folds: list[tuple[Labels, Labels]],
    labels: Labels,
    features: Floats,
    learnt: list[int],
) -> list[list[Floats]]:
    """What a booster says of each version of the images of each fold."""
    import xgboost

    boosters = []
    for train, held_out in folds:
        y, truth = np.tile(labels[train], len(learnt)), labels[held_out]
        x = np.concatenate(features[np.ix_(learnt, train)])
        matrix = xgboost.DMatrix(x, y, weight=len(y) / (2 * np.bincount(y)[y]))
        watched = xgboost.DMatrix(
            features[0][held_out], truth, weight=1 / np.bincount(truth)[truth]
        )
        boosters.append(
            xgboost.train(
                {**settings, "objective": "binary:logistic", "tree_method": "hist", "nthread": 1},
                matrix,
                num_boost_round=_MOST_ROUNDS,
                evals=[(watched, "watched")],
                early_stopping_rounds=_PATIENCE,
                verbose_eval=False,
            )
        )
    best = [booster.best_iteration for booster in boosters]
    said = []
    for number, (booster, (_, held_out)) in enumerate(zip(boosters, folds, strict=True)):
        rounds = 1 + round(fmean(best[:number] + best[number + 1 :]))
        many = (0, min(rounds, booster.num_boosted_rounds()))
        said.append(
            [
                booster.predict(xgboost.DMatrix(one[held_out]), iteration_range=many)
                for one in features
            ]
        )
    return said


if __name__ == "__main__":
    main()
