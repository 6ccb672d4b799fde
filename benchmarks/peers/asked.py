"""What each system is asked, and how it answers; for scripts in environments of their own.

A script is run as ``python SCRIPT REQUEST``. REQUEST is a JSON file: ``images`` (names of files,
or the name of one archive of MedMNIST's kind), ``size`` (pixels), ``labels`` (0 or 1), ``groups``,
``folds`` (pairs of training and held-out indices), ``weights`` (a file, or null for random ones),
``embeddings`` (a file of features to be taken in place of pixels, or null), ``seconds`` (of
search, all folds together) and ``seed``. Its answer is one line of JSON, the last that it prints.
"""

import json
import sys
from importlib.metadata import distributions

import numpy as np
from PIL import Image

_TOLD = (
    "aucmedi", "autogluon.tabular", "autokeras", "catboost", "flaml", "keras", "keras-tuner",
    "lightgbm", "numpy", "scikit-learn", "tensorflow", "tensorflow-cpu", "xgboost", "xgboost-cpu",
)  # fmt: skip
"""Packages whose versions are told."""


class Asked:
    """A request."""

    def __init__(self):
        """Read the file that is named on the command line."""
        with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123
            asked = json.load(file)
        self.labels, self.groups = np.array(asked["labels"]), np.array(asked["groups"])
        self.folds = [(np.array(train), np.array(test)) for train, test in asked["folds"]]
        self.weights, self.seed = asked["weights"], asked["seed"]
        self.seconds = (asked["seconds"] or 0) / len(self.folds)
        """Of search, for each fold."""
        self._asked = asked

    def images(self):
        """Grey images, uint8, shape (n, size, size)."""
        return read(self._asked["images"], self._asked["size"])

    def table(self):
        """Float32 features, shape (n, columns): the embeddings, else pixels from 0 to 1."""
        if self._asked["embeddings"]:
            return np.load(self._asked["embeddings"], allow_pickle=False)
        images = self.images()
        return images.reshape(len(images), -1) / np.float32(255)

    def part_of_groups(self, rows, parts):
        """A number below ``parts`` for each of these images, the same for all of a group."""
        groups = np.unique(self.groups[rows])
        np.random.default_rng(self.seed).shuffle(groups)
        part = {group: position % parts for position, group in enumerate(groups.tolist())}
        return np.array([part[group] for group in self.groups[rows].tolist()])


def answer(predictions, notes=()):
    """Print by name the scores of the held-out images, an array a fold, and which it took."""
    versions = {it.name.lower().replace("_", "-"): it.version for it in distributions()}
    said = {
        "predictions": {
            name: [np.asarray(fold, dtype=float).tolist() for fold in folds]
            for name, folds in predictions.items()
        },
        "notes": list(notes),
        "versions": {name: versions[name] for name in _TOLD if name in versions},
    }
    print("\n" + json.dumps(said), flush=True)


def read(files, size):
    """Grey images, uint8, shape (n, size, size)."""
    if isinstance(files, str):
        parts = np.load(files, allow_pickle=False)
        images = np.concatenate([parts[f"{part}_images"] for part in ("train", "val", "test")])
        return resized(images, size)
    pictures = (Image.open(file).convert("L") for file in files)
    return np.stack(
        [np.asarray(p.resize((size, size), Image.Resampling.LANCZOS)) for p in pictures]
    )


def resized(images, size):
    """The same images at another size."""
    if images.shape[1] == size:
        return images
    bicubic = Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(i).resize((size, size), bicubic)) for i in images])
