#!/bin/sh
# AutoKeras 3.0.0: no classifier can be made with Keras 3.15.1.
#
# Expected: ImageClassifier(max_trials=1).fit(images, labels) with labels 0 and 1, as in its
#   documentation, trains a network; its metadata asks for keras>=3.0.0.
# Seen: ValueError: Received an invalid value for `units`, expected a positive integer. Received:
#   units=1. (The head has counted the classes as a NumPy integer, and passes it to Dense, which
#   takes nothing but int. Keras 3.12.0 takes it, and with that a network is trained.)
# Beside it: neither TensorFlow nor TensorBoard is among its requirements, and it imports both.
#
# Prints what is seen, and ends with 1 if it is something else.
set -eu
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check \
    autokeras==3.0.0 keras-tuner==1.4.8 keras==3.15.1 tensorflow-cpu==2.21.0 tensorboard==2.21.0
cd "$folder"
cat > fit.py <<'PYTHON'
import autokeras
import keras
import numpy as np

images = np.random.default_rng(0).random((16, 32, 32, 1), dtype=np.float32)
labels = np.arange(16) % 2
try:
    autokeras.ImageClassifier(max_trials=1, directory=keras.__version__).fit(
        images, labels, validation_data=(images, labels), epochs=1, verbose=0
    )
except ValueError as error:
    print(f"keras {keras.__version__}: ValueError: {error}")
else:
    print(f"keras {keras.__version__}: a network is trained")
PYTHON
export TF_CPP_MIN_LOG_LEVEL=3
"$folder/venv/bin/python" -W ignore fit.py 2> /dev/null | tail -n 1 | tee seen
"$folder/venv/bin/pip" install -qq --disable-pip-version-check keras==3.12.0
"$folder/venv/bin/python" -W ignore fit.py 2> /dev/null | tail -n 1 | tee -a seen
grep -q "keras 3.15.1: ValueError: .*positive integer" seen
grep -q "keras 3.12.0: a network is trained" seen
