"""The hog-svm search against the same estimator in scikit-learn with HOG as its first step.

Both sides are fresh processes, imports included, on the same images, configurations and folds.
Ours is the search itself (tuner, pruning, feature cache, which begins empty). The other side is
given the configurations that the search tried and the folds that it reached, and fits

    CalibratedClassifierCV(Pipeline(HOG, StandardScaler, [PCA], SVC), ensemble=False, cv=grouped)

which is how scikit-learn gives the probabilities that a cell needs: without cache every fit and
every prediction extracts its histograms again. As a second opinion the bare pipeline, which gives
margins and no probabilities, is timed once.

Both sides must give equal AUROC. A machine that does not converge ends after a fixed number of
iterations, from where rounding decides: such folds are counted and may differ.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

from harness import BenchmarkError, Record, Settings, answer, ask, in_turns, write_phantoms

_TOLERANCE = 1e-6
_SEED = 0
_INNER_FOLDS = 3


def measure(settings: Settings) -> list[Record]:
    """CPU seconds of both sides."""
    folder = settings.folder("hog-svm")
    patients, size, trials = (12, 32, 3) if settings.quick else (40, 128, 30)
    classes = write_phantoms(folder / "development", patients, size)
    request = {
        "development": str(folder / "development"),
        "classes": classes,
        "trials": trials,
        "tried": str(folder / "tried.json"),
    }

    def ours() -> float:
        return ask("hog_svm.py", {**request, "side": "ours"}, threads=1)[0].cpu

    def other() -> float:
        cost, found = ask("hog_svm.py", {**request, "side": "calibrated"}, threads=1)
        _check(found)
        compared.update(found)
        return cost.cpu

    compared: dict[str, Any] = {}
    costs = in_turns(ours, other, settings.repeats)
    bare, without_probabilities = ask("hog_svm.py", {**request, "side": "bare"}, threads=1)
    _check(without_probabilities)
    return [
        Record(
            name="hog-svm",
            ours_is=f"search of {trials} trials, features cached",
            other_is="scikit-learn: HOG in the calibrated pipeline",
            unit="CPU s",
            wanted=5.0,
            sense="at least",
            details={
                "images": 3 * patients,
                "pixels": size,
                **compared,
                "uncalibrated pipeline, CPU s": bare.cpu,
                "uncalibrated pipeline, folds with other AUROC": without_probabilities["differing"],
            },
            **costs,
        )
    ]


def _check(found: dict[str, Any]) -> None:
    if found["unexplained"]:
        raise BenchmarkError(
            f"hog-svm: {found['unexplained']} of {found['folds']} folds have another AUROC than "
            f"in scikit-learn although every machine converged (by up to {found['largest']:.2g})."
        )


def _problem(request: dict[str, Any]) -> tuple[Any, Any, Any]:
    from medbench.datasets.splits import group_folds
    from medbench.datasets.task import Task
    from medbench.execution.parts import read_development

    development, _ = read_development(Path(request["development"]))
    task = Task(classes=tuple(request["classes"]), image_shape=development.image_shape)
    folds = group_folds(development.labels, development.groups, folds=_INNER_FOLDS, seed=_SEED)
    return task, development, folds


def _ours(request: dict[str, Any]) -> dict[str, Any]:
    """Search, and leave what was tried and what it scored for the other side."""
    import tempfile

    import numpy as np

    from medbench.features.feature_cache import FeatureCache
    from medbench.models.hog_svm import HogSvm
    from medbench.models.space import SearchSpace
    from medbench.tuning.budget import Budget, Clock
    from medbench.tuning.inner_validation import InnerValidation
    from medbench.tuning.optuna_tuner import OptunaTuner
    from medbench.tuning.search import Search

    task, development, folds = _problem(request)
    space = SearchSpace()
    HogSvm().search_space(space, task)
    with tempfile.TemporaryDirectory() as scratch:
        features = FeatureCache(Path(scratch) / "features")
        inner = InnerValidation(
            family=HogSvm(),
            task=task,
            development=development,
            folds=folds,
            refit_on=np.arange(len(development)),
            features=features,
            weights=None,
            seed=_SEED,
            threads=1,
            checkpoints=Path(scratch) / "checkpoints",
        )
        search = Search(
            inner,
            OptunaTuner(space, seed=_SEED, trials=request["trials"], max_steps=None),
            Budget(trials=request["trials"], seconds=None),
            Clock(features),
            finished=(),
        )
        for _ in search.run():
            pass
    tried = [
        {"number": t.number, "params": dict(t.params), "scores": list(t.fold_scores)}
        for t in search.finished
    ]
    Path(request["tried"]).write_text(json.dumps(tried))
    return {}


def _scikit_learn(request: dict[str, Any], *, calibrated: bool) -> dict[str, Any]:
    """Fit what was tried; how many folds were scored otherwise, and of these how many are odd."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import roc_auc_score

    from medbench.seeds import derive_seed

    task, development, folds = _problem(request)
    tried = json.loads(Path(request["tried"]).read_text())
    found: dict[str, Any] = {"folds": 0, "differing": 0, "unexplained": 0, "largest": 0.0}
    for trial in tried:
        for fold, expected in enumerate(trial["scores"]):
            train, held = (development.take(part) for part in folds[fold])
            seed = derive_seed(_SEED, "trial", trial["number"], "fold", fold)
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always", ConvergenceWarning)
                scores = _scores(task, trial["params"], train, held, seed, calibrated=calibrated)
            apart = abs(roc_auc_score(held.labels, scores) - expected)
            stopped = any(issubclass(w.category, ConvergenceWarning) for w in said)
            found["folds"] += 1
            found["differing"] += bool(apart > _TOLERANCE)
            found["unexplained"] += bool(apart > _TOLERANCE and not stopped)
            found["largest"] = max(found["largest"], float(apart))
    return found


def _scores(
    task: Any, params: dict[str, Any], train: Any, held: Any, seed: int, *, calibrated: bool
) -> Any:
    """Scores of the second class for held images, by scikit-learn and, of blocks, scikit-image."""
    import numpy as np
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer

    from medbench.features.feature_cache import FeatureCache
    from medbench.models.contract import Context
    from medbench.models.hog_svm import HogSvm, _logistic, calibration_splits

    settings = {name: params[name] for name in ("side", "cells", "orientations")}
    histograms = _hog if params["normalisation"] == "block" else _pyramid
    context = Context(seed=seed, threads=1, features=FeatureCache(None))
    # Augmentation, scaler, components and machine with the settings of hog-svm, unfitted.
    ours = HogSvm().build(params, task, context)
    n_features = histograms(train.images[:1], **settings).shape[1]
    augmentations = ours._augmentations[: ours._affordable(len(train), n_features)]

    def versions(images: Any) -> list[Any]:
        return [images, *(each.augment(images) for each in augmentations)]

    images = np.concatenate(versions(train.images))
    labels, groups = (np.tile(of, 1 + len(augmentations)) for of in (train.labels, train.groups))
    splits = calibration_splits(labels, groups, seed=seed)
    steps = ours._pipeline(n_features, min(len(inner) for inner, _ in splits)).steps
    pipeline = Pipeline([("hog", FunctionTransformer(histograms, kw_args=settings)), *steps])
    if not calibrated:
        machine = pipeline.fit(images, labels)
        return np.mean([machine.decision_function(one) for one in versions(held.images)], axis=0)
    model = CalibratedClassifierCV(pipeline, method="sigmoid", ensemble=False, cv=splits)
    fitted = model.fit(images, labels).calibrated_classifiers_[0]
    if any(sigmoid.a_ > 0 for sigmoid in fitted.calibrators):  # as hog-svm: else it turns the order
        said = [_logistic(fitted.estimator.decision_function(one)) for one in versions(held.images)]
    else:
        said = [model.predict_proba(one) for one in versions(held.images)]
    return np.mean(said, axis=0)[:, 1]


def _pyramid(images: Any, **settings: int) -> Any:
    """Gradients that are not normalised, which scikit-image does not give, by our own extractor."""
    import numpy as np

    from medbench.features.hog import HogPyramid

    return HogPyramid(**settings)(np.asarray(images))


def _hog(images: Any, *, side: int, cells: int, orientations: int) -> Any:
    """The features of ``medbench.features.hog`` by ``skimage.feature.hog``, float32."""
    import numpy as np
    from skimage.feature import hog

    from medbench.features.grey import reduced_grey

    planes = reduced_grey(images, side)
    cell = max(4, min(planes.shape[1:]) // cells)
    rows = [
        hog(
            plane,
            orientations=orientations,
            pixels_per_cell=(cell, cell),
            cells_per_block=(2, 2),
            block_norm="L2-Hys",
        )
        for plane in planes
    ]
    return np.asarray(rows, dtype=np.float32)


def main() -> None:
    """Do what one side does."""
    request = json.load(sys.stdin)
    if request["side"] == "ours":
        answer(_ours(request))
    else:
        answer(_scikit_learn(request, calibrated=request["side"] == "calibrated"))


if __name__ == "__main__":
    main()
