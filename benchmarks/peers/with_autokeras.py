"""AutoKeras' image classifier: its own search, with a grouped fifth to validate on.

It knows no budget of seconds. Training is stopped after the step in which they are over, and the
search with that trial.
"""

import os
import tempfile
import time

os.environ["KERAS_BACKEND"] = "tensorflow"
import autokeras
import keras
from asked import Asked, answer


def search(asked, images, train, folder):
    """A classifier after its search, and how many trials it made."""
    ends = time.monotonic() + asked.seconds
    inside = asked.part_of_groups(train, 5) > 0
    classifier = autokeras.ImageClassifier(
        max_trials=1000, directory=folder, seed=asked.seed, overwrite=True
    )
    oracle = classifier.tuner.oracle

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if time.monotonic() > ends:
                self.model.stop_training = True

        def on_train_end(self, logs=None):
            if time.monotonic() > ends:
                oracle.max_trials = 1

    x, y = images[..., None], asked.labels
    classifier.fit(
        x[train[inside]],
        y[train[inside]],
        validation_data=(x[train[~inside]], y[train[~inside]]),
        callbacks=[Stop()],
        verbose=0,
    )
    return classifier, len(oracle.trials)


def main():
    """Search and predict, fold by fold."""
    asked = Asked()
    keras.utils.set_random_seed(asked.seed)
    images, found, notes = asked.images(), [], []
    for train, test in asked.folds:
        with tempfile.TemporaryDirectory() as folder:
            classifier, trials = search(asked, images, train, folder)
            model = classifier.export_model()
            found.append(model.predict(images[test][..., None], verbose=0)[:, 0])
            notes.append(f"{trials} trials")
    answer({"probability": found}, notes)


if __name__ == "__main__":
    main()
