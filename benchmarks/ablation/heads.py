"""``python benchmarks/ablation/heads.py``: what should follow a frozen embedding?

Every way to classify by the embeddings of a backbone has its own numbers (pooling, penalty)
searched among the same few by the mean AUROC of three grouped inner folds, and is then scored on an
outer fold that neither saw. Of drawn images each draw is another seed (never 0, which the demo
draws), of others it divides all of them anew; a draw counts once, with the mean of its three outer
folds. Of a set with an official split its training part alone is used.

Embeddings and scores are kept in the folder ``--scratch``, and what lies there is not measured
again; so a stopped measurement goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.linalg import solve_triangular
from scipy.special import softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

from medbench.backbones import BACKBONES
from medbench.datasets.catalog import load_catalog
from medbench.datasets.sources.phantoms import PhantomSource
from medbench.datasets.splits import group_folds
from medbench.execution.plan import Settings, Setup, plan_datasets
from medbench.features.embeddings import POOLINGS, Embedding
from medbench.models.weights import find_weights
from medbench.tuning.budget import Budget

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what benchmarks share
from markers import write_between_markers

_FOLDS = 3
_PENALTIES = (0.3, 1.2, 5.0, 20.0, 80.0)
"""C where images have a mean square length of 1; divided by the number of columns it is that of
``LinearHead``, so of MobileNet's averages these are 1e-4 to .03."""
_DRAWS = 3
_REAL = ("brain-mri", "nih-pneumonia", "covid-or-pneumonia", "covid-cxr")
_MEDMNIST, _MEDMNIST_IMAGES = "pneumoniamnist-reassembled", 300
_FIVE = "phantoms, five grades"
_PHANTOMS = {"phantoms, mr": "mr", "phantoms, chest": "chest", _FIVE: "mr"}
_SETS = (*_PHANTOMS, *_REAL, _MEDMNIST)
_BACKBONES = ("mobilenet", "inceptionv3", "squeezenet")
_WHAT = ("set", "draw", "backbone", "way")

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Head = Callable[[Floats, Floats, Labels, float], Floats]


@dataclass(frozen=True, kw_only=True)
class Images:
    """One draw of a data set."""

    name: str
    draw: int
    source: str
    """Names the images themselves, which draws of a real set share."""
    pixels: NDArray[np.uint8]
    labels: Labels
    groups: Labels


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to classify; ``_DEPTHS`` and ``_HEADS`` say what the names mean."""

    depths: str = "joint"
    head: str = "logistic"
    flips: str = "none"
    side: int | None = None
    """The backbone sees the images at so many pixels; None: at their own."""
    backbones: Sequence[str] = ("mobilenet",)
    sets: Sequence[str] = _SETS
    draws: int = _DRAWS

    @property
    def key(self) -> str:
        """Names what is measured, in the scratch folder."""
        return "/".join((self.depths, self.head, self.flips, str(self.side)))

    @property
    def title(self) -> str:
        """What it changes from what was done before."""
        changed = {
            _DEPTH_TITLES[self.depths]: self.depths != "joint",
            self.head: self.head != "logistic",
            _FLIP_TITLES[self.flips]: self.flips != "none",
            f"seen at {self.side} px": self.side is not None,
        }
        return ", ".join(what for what, differs in changed.items() if differs) or "before"


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Embeddings of one draw; ``blocks`` are the columns of each depth and pooling."""

    rows: NDArray[np.float32]
    mirrored: NDArray[np.float32] | None
    blocks: Mapping[tuple[str, str], slice]
    kernels: dict[Any, Any] = field(default_factory=dict)


# What a linear model sees: weights of the squared columns of each depth.


def _joint(columns: Floats) -> Iterator[Floats]:
    yield np.ones_like(columns)


def _equal(columns: Floats) -> Iterator[Floats]:
    yield 1 / columns


def _tilt(columns: Floats) -> Iterator[Floats]:
    """Shallow depths first, equal, or deep depths first, by the inner folds."""
    place = np.linspace(-1, 1, len(columns))
    for steep in (0.0, -2.0, 2.0):
        yield 2 ** (steep * place) / columns


_DEPTHS = {"joint": _joint, "equal": _equal, "tilt": _tilt}
_MEAN_OF_HEADS = "mean of heads"
_DEPTH_TITLES = {
    "joint": "",
    "equal": "depths weigh the same (kept)",
    "tilt": "shallow, all or deep depths searched",
    _MEAN_OF_HEADS: "mean of one head a depth",
}
_FLIP_TITLES = {
    "none": "",
    "train": "mirrored in training",
    "test": "mirrored in prediction",
    "twice": "mirrored in both",
}


# Heads: logits of other images (n, classes) of the products of training images with each other
# and with the others, as parts of the mean square length of a training image.


def _columns(products: Floats, others: Floats) -> tuple[Floats, Floats]:
    """As ``Standardised``: a triangular matrix with the same products."""
    jitter = 1e-7 * np.trace(products) * np.eye(len(products))
    root = np.linalg.cholesky(products + jitter)
    return root, solve_triangular(root, others.T, lower=True).T


def _both(margins: Floats) -> Floats:
    return np.stack([-margins / 2, margins / 2], 1) if margins.ndim == 1 else margins


def _logistic(train: Floats, other: Floats, labels: Labels, C: float) -> Floats:
    model = LogisticRegression(C=C, class_weight="balanced", max_iter=1000)
    x, z = _columns(train, other)
    return _both(model.fit(x, labels).decision_function(z))


def _one_vs_rest(train: Floats, other: Floats, labels: Labels, C: float) -> Floats:
    model = LogisticRegression(C=C, class_weight="balanced", max_iter=1000)
    x, z = _columns(train, other)
    return _both(OneVsRestClassifier(model).fit(x, labels).decision_function(z))


def _linear_machine(train: Floats, other: Floats, labels: Labels, C: float) -> Floats:
    model = SVC(C=C / 3, kernel="precomputed", class_weight="balanced")
    return _both(model.fit(train, labels).decision_function(other))


def _radial_machine(train: Floats, other: Floats, labels: Labels, C: float) -> Floats:
    """As ``SVC(gamma=0.3 / n_features)`` of standardised columns."""
    x, z = _columns(train, other)
    model = SVC(C=C / 3, gamma=0.3, class_weight="balanced")
    return _both(model.fit(x, labels).decision_function(z))


def _discriminant(train: Floats, other: Floats, labels: Labels, C: float) -> Floats:
    """Linear discriminant analysis; more C is less shrinkage."""
    model = LinearDiscriminantAnalysis(
        solver="lsqr", shrinkage=1 / (1 + C / 5), priors=np.full(k := labels.max() + 1, 1 / k)
    )
    x, z = _columns(train, other)
    return _both(model.fit(x, labels).decision_function(z))


def _perceptron(train: Floats, other: Floats, labels: Labels, C: float) -> Floats:
    model = MLPClassifier((32,), solver="lbfgs", alpha=30 / C, max_iter=200, random_state=0)
    x, z = _columns(train, other)
    k = x.std() * np.sqrt(x.shape[1])
    return np.log(model.fit(x / k * 10, labels).predict_proba(z / k * 10) + 1e-12)


def _trees(train: Floats, other: Floats, labels: Labels, C: float) -> Floats:
    """Of columns, not of products; more C is deeper trees."""
    from xgboost import XGBClassifier

    balanced = len(labels) / (labels.max() + 1) / np.bincount(labels)[labels]
    model = XGBClassifier(
        n_estimators=100, learning_rate=0.1, max_depth=2 if C < 5 else 4, subsample=0.7,
        colsample_bytree=0.1, n_jobs=1, random_state=0,
    )  # fmt: skip
    return np.log(model.fit(train, labels, sample_weight=balanced).predict_proba(other) + 1e-12)


_HEADS: Mapping[str, Head] = {
    "logistic": _logistic,
    "one-vs-rest": _one_vs_rest,
    "linear SVM": _linear_machine,
    "RBF SVM": _radial_machine,
    "LDA": _discriminant,
    "MLP": _perceptron,
    "XGBoost": _trees,
}
_HEAD_PENALTIES = {"XGBoost": (1.2, 20.0), "MLP": (1.2, 5.0, 20.0)}

_SOME = ("phantoms, mr", "brain-mri", "nih-pneumonia", "covid-or-pneumonia")
_MOST = (*_SOME, "phantoms, chest", "covid-cxr")
_EQUAL, _MEAN = "equal", _MEAN_OF_HEADS
_BEFORE = Way(backbones=())
_WAYS: Sequence[Way] = (
    *(Way(depths=depths) for depths in ("joint", _EQUAL)),
    *(Way(depths=d, backbones=("inceptionv3",), sets=_MOST) for d in ("joint", _EQUAL)),
    *(Way(depths=d, backbones=("squeezenet",), sets=_SOME) for d in ("joint", _EQUAL)),
    Way(depths=_MEAN, sets=[name for name in _SETS if name != "covid-cxr"]),
    Way(depths=_MEAN, backbones=("inceptionv3",), sets=_SOME),
    Way(depths="tilt", backbones=("inceptionv3",), sets=("brain-mri", "covid-or-pneumonia")),
    *(Way(head=head, sets=(*_SOME, "phantoms, chest")) for head in ("linear SVM", "RBF SVM")),
    *(
        Way(head=h, sets=("brain-mri", "covid-or-pneumonia"), draws=2)
        for h in ("LDA", "MLP", "XGBoost")
    ),
    *(Way(flips=flips, sets=("phantoms, mr", "brain-mri")) for flips in ("test", "train", "twice")),
    Way(head="one-vs-rest", sets=(_FIVE, "covid-cxr")),
    Way(side=64, sets=(_MEDMNIST,)),
    Way(side=96, sets=("phantoms, mr", "phantoms, chest", "brain-mri", "covid-or-pneumonia")),
    Way(side=128, sets=("phantoms, mr", "phantoms, chest", _MEDMNIST)),
    Way(side=224, sets=("phantoms, mr", "brain-mri", "covid-or-pneumonia")),
)


def main() -> None:
    """Measure, print, and write the table where a page is named."""
    parser = argparse.ArgumentParser(prog="python benchmarks/ablation/heads.py")
    parser.add_argument("--data-dir", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--weights-dir", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--scratch", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write between its markers")
    parser.add_argument("--table", action="store_true", help="of what is there; measure nothing")
    options = parser.parse_args()
    options.scratch.mkdir(parents=True, exist_ok=True)
    scores = options.scratch / "scores.jsonl"
    if not options.table:
        _measure(options, scores)
    lines = scores.read_text(encoding="utf-8").splitlines() if scores.exists() else []
    text = _table([json.loads(line) for line in lines])
    print(text)
    if options.page is not None:
        write_between_markers(options.page, "heads", text)


def _measure(options: argparse.Namespace, scores: Path) -> None:
    """Measure what is not known yet."""
    lines = scores.read_text(encoding="utf-8").splitlines() if scores.exists() else []
    known = {tuple(json.loads(line)[k] for k in _WHAT) for line in lines}
    for name in _SETS:
        drawn: list[Images] = []
        for backbone, draw in product(_BACKBONES, range(_DRAWS)):
            embedded: dict[Any, Rows] = {}
            for way in _WAYS:
                what = (name, draw, backbone, way.key)
                if backbone not in way.backbones or name not in way.sets or draw >= way.draws:
                    continue
                if what in known:
                    continue
                drawn = drawn or list(_drawn(name, options))
                rows = _rows(drawn[draw], backbone, way, options, embedded)
                found = dict(zip(_WHAT, what, strict=True)) | _scored(drawn[draw], rows, way)
                with scores.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(found) + "\n")
                print(found, file=sys.stderr, flush=True)


def _drawn(name: str, options: argparse.Namespace) -> Iterator[Images]:
    """The draws of a data set."""
    if name in _PHANTOMS:
        for draw, seed in enumerate(range(1, 1 + _DRAWS)):
            parts = [PhantomSource(modality=_PHANTOMS[name], seed=seed)]
            if name == _FIVE:  # no lesion, and lesions of four strengths, of 30 patients each
                parts = [
                    PhantomSource(patients=60, seed=100 * seed + grade, difficulty=1 - grade / 3)
                    for grade in range(4)
                ]
            pixels, labels, groups = [], [], []
            for part, source in enumerate(parts):
                table = source.listing().table
                lesion = table["label"].to_numpy(np.int64)
                for row in range(len(table)):
                    # Of those without a lesion a quarter of each part.
                    patient = row // source.images_per_patient
                    if len(parts) > 1 and lesion[row] == 0 and patient % 4 != part:
                        continue
                    pixels.append(source.draw(row))
                    labels.append(lesion[row] * (part + 1))
                    groups.append(1000 * part + patient)
            yield Images(
                name=name, draw=draw, source=f"{name}-{seed}", pixels=np.stack(pixels)[..., None],
                labels=np.array(labels), groups=np.array(groups),
            )  # fmt: skip
        return
    catalog = load_catalog(data_dir=options.data_dir)
    settings = Settings(budget=Budget(trials=1, seconds=None))
    with tempfile.TemporaryDirectory() as cache:
        (planned,) = plan_datasets([name], catalog, settings, Setup(cache=Path(cache), threads=1))
        pixels, table = np.array(planned.data.images), planned.data.table
    groups = table["group"].astype("category").cat.codes.to_numpy(np.int64)
    labels = table["label"].to_numpy(np.int64)
    if name == _MEDMNIST:
        training = np.flatnonzero(table["split"] == "train")
        chosen = np.sort(np.random.default_rng(0).permutation(training)[:_MEDMNIST_IMAGES])
        pixels, labels, groups = pixels[chosen], labels[chosen], groups[chosen]
    for draw in range(_DRAWS):
        yield Images(name=name, draw=draw, source=name, pixels=pixels, labels=labels, groups=groups)


def _rows(
    images: Images, backbone: str, way: Way, options: argparse.Namespace, known: dict[Any, Rows]
) -> Rows:
    """The embeddings, kept in the scratch folder and, of one backbone and side, in memory."""
    key = (images.source, backbone, way.side, way.flips != "none")
    if key in known:
        return known[key]
    side = way.side or images.pixels.shape[1]
    pixels = _resized(images.pixels, side)
    weights = find_weights(backbone, options.weights_dir, print, download=False)
    embedding = Embedding(
        backbone=backbone,
        image_shape=pixels.shape[1:],
        weights_path=weights.path,
        weights_sha256=weights.sha256,
    )

    def embed(mirrored: bool) -> NDArray[np.float32]:
        stem = f"{images.source}-{backbone}-{side}{'-mirrored' * mirrored}".replace(", ", "-")
        path = options.scratch / f"{stem}.npy".replace(" ", "-")
        if not path.exists():
            np.save(path, embedding(pixels[:, :, ::-1].copy() if mirrored else pixels))
        return np.load(path, allow_pickle=False)

    blocks = {
        (cut.layer, pooling): embedding.columns(cut.layer, pooling)
        for cut in BACKBONES[backbone].cuts
        for pooling in POOLINGS
    }
    made = Rows(
        rows=embed(False), mirrored=embed(True) if way.flips != "none" else None, blocks=blocks
    )
    known[key] = made
    return made


def _resized(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    if pixels.shape[1:3] == (side, side):
        return pixels
    planes = (Image.fromarray(plane[..., 0]) for plane in pixels)
    return np.stack(
        [np.asarray(p.resize((side, side), Image.Resampling.BILINEAR)) for p in planes]
    )[..., None]


def _scored(images: Images, rows: Rows, way: Way) -> dict[str, float]:
    """Means over the outer folds, and the seconds of heads alone."""
    outer = group_folds(images.labels, images.groups, folds=_FOLDS, seed=images.draw)
    found: list[tuple[float, float, float]] = []
    spent = 0.0
    for fold, (train, test) in enumerate(outer):
        inner = group_folds(images.labels[train], images.groups[train], folds=_FOLDS, seed=1)
        pairs = [(train[a], train[b]) for a, b in inner]
        labels = images.labels
        tables = [
            _products(rows, way, pair, (images.draw, fold, number), labels)
            for number, pair in enumerate([*pairs, (train, test)])
        ]
        began = time.process_time()
        best, candidates = -np.inf, _candidates(way, rows)
        for candidate in candidates:
            said = [
                _said(candidate, way, table, labels[a])
                for table, (a, _) in zip(tables, pairs, strict=False)
            ]
            score = fmean(_auroc(labels[b], one) for one, (_, b) in zip(said, pairs, strict=True))
            if score > best:
                best, chosen, kept = score, candidate, np.concatenate(said)
        of_test = _said(chosen, way, tables[-1], labels[train])
        # Logits are comparable by a regression on those of the inner folds, as calibration does.
        calibrated = LogisticRegression(C=1e3, max_iter=1000).fit(
            kept, np.concatenate([labels[b] for _, b in pairs])
        )
        spent += time.process_time() - began
        loss = log_loss(labels[test], calibrated.predict_proba(of_test))
        found.append((_auroc(labels[test], of_test), loss, best))
    auroc, loss, inner_auroc = np.mean(found, axis=0)
    return {
        "auroc": round(float(auroc), 5), "log_loss": round(float(loss), 5),
        "inner": round(float(inner_auroc), 5), "seconds": round(spent, 2),
    }  # fmt: skip


Candidate = tuple[str, int, float]
"""Pooling, number of the weights, penalty."""


def _candidates(way: Way, rows: Rows) -> list[Candidate]:
    n_weights = 1
    if way.depths != _MEAN_OF_HEADS:
        n_weights = len(list(_DEPTHS[way.depths](_depth_sizes(rows, "avg"))))
    penalties = _HEAD_PENALTIES.get(way.head, _PENALTIES)
    return list(product(("avg", "both"), range(n_weights), penalties))


def _depth_sizes(rows: Rows, pooling: str) -> Floats:
    """Columns of each depth."""
    times = 2 if pooling == "both" else 1
    return np.array([times * (b.stop - b.start) for (_, p), b in rows.blocks.items() if p == "avg"])


def _products(
    rows: Rows, way: Way, pair: tuple[Labels, Labels], key: Any, labels: Labels
) -> dict[Any, Any]:
    """Of training images with themselves and with others, of each depth and pooling."""
    key = (key, way.flips)
    if way.head != "XGBoost" and key in rows.kernels:
        return rows.kernels[key]
    train, other = rows.rows[pair[0]], rows.rows[pair[1]]
    if rows.mirrored is not None:
        turned = rows.mirrored[pair[0]], rows.mirrored[pair[1]]
        if way.flips in ("test", "twice"):  # a linear model's mean logit is the logit of the mean
            other = (other + turned[1]) / 2
        if way.flips in ("train", "twice"):
            train = np.concatenate([train, turned[0]])
    found: dict[Any, Any] = {}
    for block, columns in rows.blocks.items():
        a, b = train[:, columns], other[:, columns]
        mean, scale = a.mean(axis=0), a.std(axis=0)
        varies = scale > 1e-4 * np.hypot(mean, scale)  # as LinearHead has it
        factor = varies / np.where(varies, scale, 1)
        a, b = ((x - mean) * factor for x in (a, b))
        found[block] = (a, b) if way.head == "XGBoost" else (a @ a.T, b @ a.T)
    if way.head != "XGBoost":
        rows.kernels[key] = found
    return found


def _said(
    candidate: Candidate, way: Way, table: Mapping[Any, tuple[Floats, Floats]], labels: Labels
) -> Floats:
    """Logits of the other images."""
    pooling, number, penalty = candidate
    if way.flips in ("train", "twice"):
        labels = np.concatenate([labels, labels])
    head = _HEADS[way.head]
    depths = list(dict.fromkeys(cut for cut, _ in table))
    poolings = POOLINGS if pooling == "both" else (pooling,)
    if way.head == "XGBoost":
        used = [table[cut, p] for cut in depths for p in poolings]
        return head(*(np.concatenate(x, axis=1) for x in zip(*used, strict=True)), labels, penalty)
    summed = [
        tuple(sum(np.float64(table[cut, p][i]) for p in poolings) for i in (0, 1)) for cut in depths
    ]
    if way.depths == _MEAN_OF_HEADS:
        logits = [head(*_scaled(*each), labels, penalty) for each in summed]
        return np.mean(logits, axis=0)
    # The mean square length of an image in a depth is its number of columns.
    columns = np.array([np.trace(train) / len(train) for train, _ in summed])
    weights = list(_DEPTHS[way.depths](columns))[number]
    mixed = (sum(w * each[i] for w, each in zip(weights, summed, strict=True)) for i in (0, 1))
    return head(*_scaled(*mixed), labels, penalty)


def _scaled(train: Floats, other: Floats) -> tuple[Floats, Floats]:
    length = np.trace(train) / len(train)
    return train / length, other / length


def _auroc(labels: Labels, logits: Floats) -> float:
    probabilities = softmax(logits, axis=1)
    return fmean(
        float(roc_auc_score(labels == k, probabilities[:, k])) for k in range(logits.shape[1])
    )


def _table(scores: Sequence[Mapping[str, Any]]) -> str:
    """By way and set the AUROC of what was done before, or how far others are from it."""
    known = {tuple(score[k] for k in _WHAT): score for score in scores}
    rows = [f"| backbone | way | {' | '.join(_SETS)} | within | log loss | seconds |"]
    rows.append("|---" * (len(_SETS) + 5) + "|")
    for backbone, way in product(_BACKBONES, _WAYS):
        if backbone not in way.backbones:
            continue
        cells, means, seconds = [], [], []
        for name in _SETS:
            pairs = [
                (known[name, draw, backbone, way.key], known[name, draw, backbone, _BEFORE.key])
                for draw in range(way.draws)
                if (name, draw, backbone, way.key) in known and name in way.sets
            ]
            gains = np.array(
                [[a[k] - b[k] for k in ("auroc", "inner", "log_loss")] for a, b in pairs]
            )
            seconds += [here["seconds"] for here, _ in pairs]
            if len(pairs) < 2:
                cells.append("")
                continue
            means.append(gains.mean(axis=0))
            error = stdev(gains[:, 0]) / len(gains) ** 0.5
            cells.append(f"{means[-1][0]:+.4f} ± {error:.4f}")
            if way.key == _BEFORE.key:
                cells[-1] = f"{fmean(here['auroc'] for here, _ in pairs):.3f}"
        if means:
            _, inner, loss = np.mean(means, axis=0)
            last = "" if way.key == _BEFORE.key else f"{inner:+.4f} | {loss:+.3f}"
            rows.append(
                f"| {backbone} | {way.title} | {' | '.join(cells)} | {last or ' | '} "
                f"| {fmean(seconds):.1f} |"
            )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
