#!/bin/sh
# keras 3.15.1: a saved functional model that augments does so when it is called as a function.
#
# Expected: model(x) without training=True is inference, as the guides say of Dropout and
#   BatchNormalization (whose defaults of "training" are False and None), so it equals
#   model.predict(x) and changes no weight.
# Seen: the default of "training" of all image preprocessing layers is True, even of Resizing. Such
#   a layer augments, and it sets the call context, so the layers behind it are in training too:
#   Dropout drops, and BatchNormalization changes its moving statistics. The same holds for the
#   model once it is saved and loaded, and for a model that only resizes.
#
# Prints what is seen, and ends with 1 if it is something else.
set -eu
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check keras==3.15.1 jax==0.10.2
cd "$folder"
KERAS_BACKEND=jax "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import inspect
import sys

import keras
import numpy as np
from keras import layers


def seen(first):
    """Largest difference of model(x) to model.predict(x), and the weights that it changed."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = layers.BatchNormalization()(first(inputs))
    x = layers.Dropout(0.5)(layers.Flatten()(x))
    keras.Model(inputs, layers.Dense(1)(x)).save("model.keras")
    model = keras.saving.load_model("model.keras")
    images = np.random.default_rng(0).uniform(size=(4, 8, 8, 1)).astype("float32")
    expected, before = model.predict(images, verbose=0), model.get_weights()
    apart = np.abs(np.asarray(model(images)) - expected).max()
    changed = [w.name for w, v in zip(model.weights, before) if not np.array_equal(w, v)]
    return float(apart), changed


wrong = []
for first in (layers.ReLU(), layers.RandomTranslation(0.3, 0.3), layers.Resizing(8, 8)):
    training = inspect.signature(first.call).parameters.get("training")
    apart, changed = seen(first)
    wrong.append(apart > 1e-3 and changed == ["moving_mean", "moving_variance"])
    print(
        f"keras {keras.__version__}, {type(first).__name__} "
        f"({training if training else 'no training argument'}) first: model(x) is {apart:.3f} "
        f"off model.predict(x); it changed {', '.join(changed) or 'nothing'}"
    )
sys.exit(0 if wrong == [False, True, True] else 1)
PYTHON
