"""``python benchmarks/ablation/cnn.py``: do averaged weights, smooth labels or mixup help ``cnn``?

The default network is trained as ever, with label smoothing, and with mixup; of the training as
ever moving averages of the weights and the mean of the last three epochs are looked at as well.
One of three grouped folds is held out: AUROC of the state that early stopping chooses by it, and of
the last one. Of drawn images each draw is another seed; of others it divides all of them anew.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from images import drawn, real
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from medbench.datasets.sources.phantoms import PhantomSource
from medbench.datasets.splits import group_folds
from medbench.datasets.task import Task
from medbench.models import keras_backend, keras_support
from medbench.models.cnn import _STEPS, Cnn, batch_size, build_network
from medbench.models.keras_reuse import SharedNetwork
from medbench.models.space import SearchSpace

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what benchmarks share
from markers import write_between_markers

_PHANTOMS, _SETS, _DRAWS, _FOLDS = ("mr", "chest"), ("brain-mri", "nih-pneumonia"), 4, 3
_FIRST_SEED = 20
_DECAYS = {"EMA .9": 0.9, "EMA .97": 0.97}
"""Of moving averages, a step; an epoch has 32 to 64 steps."""
_LAST = 3
"""Epochs that are averaged, each as it ended."""
_SMOOTHING, _MIXUP = 0.1, 0.2
_BASE, _EPOCHS = "as it is", f"mean of {_LAST} epochs"
_WAYS = (*_DECAYS, _EPOCHS, "label smoothing", "mixup")

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Floats = NDArray[np.floating]
Curves = Mapping[str, Sequence[float]]
"""By way, AUROC after each epoch."""


def main() -> None:
    """Measure, print, and write the table where a page is named."""
    parser = argparse.ArgumentParser(prog="python benchmarks/ablation/cnn.py")
    parser.add_argument("--data-dir", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write between its markers")
    options = parser.parse_args()
    keras_backend.prepare(1)
    rows = [f"| images | draws | epoch | {_BASE} | {' | '.join(_WAYS)} |"]
    rows.append("|---" * (len(_WAYS) + 4) + "|")
    for name, draws in _measured(options.data_dir):
        curves = [_draw(*draw) for draw in draws]
        for epoch, chosen in (("best", max), ("last", lambda curve: curve[-1])):
            scores = [
                {way: fmean(chosen(curve) for curve in of_folds) for way, of_folds in one.items()}
                for one in curves
            ]
            cells = [f"{fmean(one[_BASE] for one in scores):.3f}"]
            for way in _WAYS:
                gains = [one[way] - one[_BASE] for one in scores]
                cells.append(f"{fmean(gains):+.3f} ± {stdev(gains) / len(gains) ** 0.5:.3f}")
            rows.append(f"| {name} | {len(draws)} | {epoch} | {' | '.join(cells)} |")
            print(rows[-1], file=sys.stderr, flush=True)
    print("\n".join(rows))
    if options.page is not None:
        write_between_markers(options.page, "cnn", "\n".join(rows))


def _measured(data_dir: Path) -> Iterator[tuple[str, list[tuple[Images, Labels, Labels, int]]]]:
    """By data set, draws of images, labels, groups, and a seed of folds and networks."""
    for modality in _PHANTOMS:
        draws = []
        for seed in range(_FIRST_SEED, _FIRST_SEED + _DRAWS):
            source = PhantomSource(modality=modality, seed=seed)
            draws.append((*drawn(source), seed))
        yield f"phantoms, {modality}", draws
    for name in _SETS:
        images, labels, groups = real(name, data_dir)
        yield name, [(images, labels, groups, seed) for seed in range(_DRAWS)]


def _draw(images: Images, labels: Labels, groups: Labels, seed: int) -> dict[str, list[Any]]:
    """By way, the curve of each fold."""
    space, task = SearchSpace(), Task(classes=("a", "b"), image_shape=images.shape[1:])
    Cnn().search_space(space, task)
    params = space.defaults()
    shared = _network(params, task)
    found = defaultdict(list)
    for train, held_out in group_folds(labels, groups, folds=_FOLDS, seed=seed)[:1]:
        learnt = images[train], np.eye(2, dtype=np.float32)[labels[train]]
        training = keras_support.Training(
            max_steps=params["epochs"],
            batch_size=batch_size(params["batch_size"], len(train)),
            learning_rate=params["learning_rate"],
            schedule="cosine",
            patience=params["epochs"],
            seed=seed,
            steps=_STEPS,
        )
        weights = keras_support.balanced_weights(labels[train])
        others = images[held_out], labels[held_out]
        for way in (_BASE, "label smoothing", "mixup"):
            curves = _trained(shared, way, learnt, weights, others, training)
            for name, curve in curves.items():
                found[name].append(curve)
    last = {way: round(fmean(curve[-1] for curve in found[way]), 3) for way in found}
    print(seed, last, file=sys.stderr, flush=True)
    return found


def _network(params: Mapping[str, Any], task: Task) -> SharedNetwork:
    from keras import optimizers

    keras_support.start(0)
    model = build_network(params, task)
    keras_support.compile_model(model, optimizers.Adam(), task)
    model.compile(
        optimizer=model.optimizer, loss="categorical_crossentropy", jit_compile=model.jit_compile
    )
    return SharedNetwork(model)


def _trained(
    shared: SharedNetwork,
    way: str,
    learnt: tuple[Images, Floats],
    weights: Floats,
    others: tuple[Images, Labels],
    training: keras_support.Training,
) -> Curves:
    """Train as ``keras_support.train`` does, in one of three ways; of the first averages too."""
    model, (images, truth) = shared.model, learnt
    if way == "label smoothing":
        truth = truth * (1 - _SMOOTHING) + _SMOOTHING / truth.shape[1]
    shared.start(training.seed)
    averages = dict.fromkeys(_DECAYS, _state(model)) if way == _BASE else {}
    ended: list[list[Floats]] = []
    curves: dict[str, list[float]] = defaultdict(list)
    for step in range(1, training.max_steps + 1):
        random = np.random.default_rng([training.seed, step])
        batches = _batches(len(images), training, random)
        keras_support._reseed(model, random)
        for number, chosen in enumerate(batches):
            model.optimizer.learning_rate = training.rate(step - 1 + number / len(batches))
            x, y, weight = images[chosen], truth[chosen], weights[chosen]
            if way == "mixup":
                x, y, weight = _mixed(x, y, weight, random)
            model.train_on_batch(x, y, sample_weight=weight)
            if averages:
                now = _state(model)
                done = (step - 1) * len(batches) + number + 1
                for name, decay in _DECAYS.items():
                    # Of few steps a plain mean: the untrained network should not count for long.
                    keep = min(decay, done / (done + 10))
                    averages[name] = [
                        keep * before + (1 - keep) * one
                        for before, one in zip(averages[name], now, strict=True)
                    ]
        curves[way].append(_auroc(model, *others))
        if averages:
            now = _state(model)
            ended = [*ended, now][-_LAST:]
            for name, state in (*averages.items(), (_EPOCHS, _mean(ended))):
                _set(model, state)
                curves[name].append(_auroc(model, *others))
            _set(model, now)
    return curves


def _batches(n: int, training: keras_support.Training, random: np.random.Generator) -> Labels:
    batch = min(training.batch_size, n)
    size = training.n_batches(n) * batch
    passes = [random.permutation(n) for _ in range(-(-size // n))]
    return np.concatenate(passes)[:size].reshape(-1, batch)


def _mixed(
    images: Images, truth: Floats, weights: Floats, random: np.random.Generator
) -> tuple[Images, Floats, Floats]:
    """Each image mixed with another of its batch (Zhang et al. 2018, "mixup", ICLR)."""
    order, share = random.permutation(len(images)), random.beta(_MIXUP, _MIXUP, len(images))
    share = share.astype(np.float32)

    def mix(one: Floats) -> Floats:
        of_one = share.reshape(-1, *[1] * (one.ndim - 1))
        return of_one * one + (1 - of_one) * one[order]

    return np.rint(mix(images)).astype(np.uint8), mix(truth), mix(weights)


def _averaged(model: Any) -> list[Any]:
    """Weights and the statistics of batch normalisation, without the state of random numbers."""
    return [one for one in model.variables if one.name != keras_support._SEED_STATE]


def _state(model: Any) -> list[Floats]:
    return [np.array(one) for one in _averaged(model)]


def _set(model: Any, state: Sequence[Floats]) -> None:
    for variable, value in zip(_averaged(model), state, strict=True):
        variable.assign(value)


def _mean(states: Sequence[Sequence[Floats]]) -> list[Floats]:
    return [np.mean(of_one, axis=0) for of_one in zip(*states, strict=True)]


def _auroc(model: Any, images: Images, labels: Labels) -> float:
    said = keras_support.predict(model, images.__getitem__, len(images), multi_label=False)
    return float(roc_auc_score(labels, said[:, 1]))


if __name__ == "__main__":
    main()
