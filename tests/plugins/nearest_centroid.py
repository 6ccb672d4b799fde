"""A model family in one file: the nearest class mean, after Rocchio (1971)."""

import numpy as np

from medbench import Classifier, ModelFamily, complete_probabilities, register_model


@register_model("nearest-centroid")
class NearestCentroid(ModelFamily):
    """Distance to the mean image of each class."""

    def search_space(self, space, task):
        space.real("sharpness", 0.1, 10.0, log=True)

    def build(self, params, task, context):
        return Centroids(params["sharpness"], len(task.classes))


class Centroids(Classifier):
    def __init__(self, sharpness, n_classes):
        self.sharpness, self.n_classes = sharpness, n_classes

    def fit(self, train, validation, progress):
        pixels = train.images.reshape(len(train), -1) / 255
        self.present = np.unique(train.labels)
        self.means = np.stack([pixels[train.labels == c].mean(axis=0) for c in self.present])

    def predict_proba(self, batch):
        pixels = batch.images.reshape(len(batch), -1) / 255
        distances = ((pixels[:, None] - self.means) ** 2).mean(axis=2)
        weights = np.exp(-self.sharpness * 100 * (distances - distances.min(1, keepdims=True)))
        weights /= weights.sum(axis=1, keepdims=True)
        return complete_probabilities(weights, self.present, self.n_classes)

    def save(self, folder):
        np.savez(folder / "centroids.npz", present=self.present, means=self.means)

    def load(self, folder):
        saved = np.load(folder / "centroids.npz")
        self.present, self.means = saved["present"], saved["means"]
