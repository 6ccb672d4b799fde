"""AUCMEDI's transfer learning: its head on MobileNet, first alone, then with the whole network.

The network is given the weights that MedBench and expert.py have, and ends where they end. A
grouped fifth of the training images chooses the epoch; nothing else is searched, as AUCMEDI
searches over nothing. Training is stopped after the step in which its seconds are over.
"""

import time

import keras
import numpy as np
from asked import Asked, answer
from aucmedi import DataGenerator, ImageAugmentation, NeuralNetwork
from aucmedi.data_processing.io_loader import cache_loader
from aucmedi.neural_network.architectures import Architecture_Base, Classifier

LAST = "conv_pw_12_relu"
"""The last layer whose weights are in the file."""


class MobileNet(Architecture_Base):
    """MobileNet up to ``LAST``."""

    def __init__(self, classification_head, side, weights):
        """Take the head and the pretrained weights."""
        self.classifier, self.input, self.weights = classification_head, (side, side, 3), weights

    def create_model(self):
        """The network with its head."""
        network = keras.applications.MobileNet(
            weights=None, include_top=False, input_shape=self.input
        )
        stored = np.load(self.weights, allow_pickle=False) if self.weights else {}
        for layer in network.layers:
            keys = [f"{layer.name}/{w.name}" for w in layer.weights]
            keys = [k if k in stored else k.replace("/kernel", "/depthwise_kernel") for k in keys]
            if keys and all(key in stored for key in keys):
                layer.set_weights([stored[key] for key in keys])
        return self.classifier.build(
            model_input=network.input, model_output=network.get_layer(LAST).output
        )


class Stop(keras.callbacks.Callback):
    """Ends training when its seconds are over."""

    def __init__(self, ends):
        """Take the moment."""
        super().__init__()
        self.ends = ends

    def on_train_batch_end(self, batch, logs=None):
        """Look at the clock."""
        if time.monotonic() > self.ends:
            self.model.stop_training = True


class Best(keras.callbacks.Callback):
    """Keeps the weights of the epoch with the lowest validation loss."""

    loss, weights, epochs = np.inf, None, 0

    def on_epoch_end(self, epoch, logs=None):
        """Compare."""
        self.epochs += 1
        if logs["val_loss"] < self.loss:
            self.loss, self.weights = logs["val_loss"], self.model.get_weights()


def generator(images, rows, seed, labels=None, augmentation=None):
    """AUCMEDI's generator of some of the images, shuffled if they are augmented."""
    return DataGenerator(
        [str(row) for row in rows],
        path_imagedir=None,
        labels=labels,
        resize=None,
        standardize_mode="tf",
        data_aug=augmentation,
        shuffle=augmentation is not None,
        loader=cache_loader,
        cache={str(row): np.repeat(images[row][..., None], 3, -1) for row in rows},
        seed=seed,
    )


def main():
    """Train and predict, fold by fold."""
    asked = Asked()
    keras.utils.set_random_seed(asked.seed)
    images, found, notes = asked.images(), [], []
    one_hot = np.eye(2)[asked.labels]
    for train, test in asked.folds:
        ends = time.monotonic() + asked.seconds
        inside = asked.part_of_groups(train, 5) > 0
        fitted, checked = train[inside], train[~inside]
        # what its own AutoML turns on
        augmentation = ImageAugmentation(
            flip=True, rotate=True, scale=False, brightness=True, contrast=True, saturation=True,
            hue=True, gamma=True, crop=False, grid_distortion=False, compression=False,
            gaussian_noise=True, gaussian_blur=False, downscaling=False, elastic_transform=True,
        )  # fmt: skip
        network = NeuralNetwork(
            n_labels=2,
            channels=3,
            architecture=MobileNet(Classifier(2), images.shape[1], asked.weights),
            verbose=0,
        )
        best = Best()
        network.train(
            generator(images, fitted, asked.seed, one_hot[fitted], augmentation),
            generator(images, checked, asked.seed, one_hot[checked]),
            epochs=500,
            callbacks=[Stop(ends), best],
            transfer_learning=True,
        )
        network.model.set_weights(best.weights)
        found.append(network.predict(generator(images, test, asked.seed))[:, 1])
        notes.append(f"{best.epochs} epochs")
    answer({"probability": found}, notes)


if __name__ == "__main__":
    main()
