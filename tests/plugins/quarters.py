"""Families that see one quarter of an image each, and one that fails."""

import numpy as np

from medbench import Classifier, ModelFamily, register_model


class Quarter(Classifier):
    """How bright a quarter of an image is, beside the means of the classes."""

    def __init__(self, params, rows, columns):
        self.sharpness, self.rows, self.columns = params["sharpness"], rows, columns

    def brightness(self, batch):
        side = batch.images.shape[1] // 2
        rows = slice(self.rows * side, (self.rows + 1) * side)
        columns = slice(self.columns * side, (self.columns + 1) * side)
        return batch.images[:, rows, columns].mean(axis=(1, 2, 3)) / 255

    def fit(self, train, validation, progress):
        seen = self.brightness(train)
        self.means = np.array([seen[train.labels == c].mean() for c in range(2)])

    def predict_proba(self, batch):
        margin = (self.brightness(batch) - self.means.mean()) * (self.means[1] - self.means[0])
        p = 1 / (1 + np.exp(-1e4 * self.sharpness * margin))
        return np.column_stack([1 - p, p])

    def save(self, folder):
        np.save(folder / "means.npy", self.means)

    def load(self, folder):
        self.means = np.load(folder / "means.npy")


class Family(ModelFamily):
    quarter = (0, 0)

    def search_space(self, space, task):
        space.real("sharpness", 0.1, 10.0, log=True)

    def build(self, params, task, context):
        return Quarter(params, *self.quarter)


@register_model("upper-left")
class UpperLeft(Family):
    quarter = (0, 0)


@register_model("lower-right")
class LowerRight(Family):
    quarter = (1, 1)


@register_model("broken")
class Broken(Family):
    def build(self, params, task, context):
        raise ValueError("no such quarter")
