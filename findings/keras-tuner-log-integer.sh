#!/bin/sh
# keras-tuner 1.4.8: a logarithmic integer reaches one above its maximum.
#
# Expected: an Int("n", 2, 64, sampling="log") is always from 2 to 64; its documentation calls
#   max_value the upper limit, inclusive.
# Seen: where the best value is the highest, Bayesian optimisation asks for 65. (The value of
#   probability p is int(low * ((high + 1) / low) ** p), and the optimiser's bounds include p = 1.)
#
# Prints what is seen, and ends with 1 if it is something else.
set -eu
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check \
    keras-tuner==1.4.8 keras==3.15.1 jax==0.10.2 scikit-learn==1.9.1 six==1.17.0
cd "$folder"
KERAS_BACKEND=jax "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import keras_tuner


class Search(keras_tuner.BayesianOptimization):
    def run_trial(self, trial, **options):
        n = trial.hyperparameters.Int("n", 2, 64, sampling="log")
        asked.append(n)
        return -n  # the highest is the best


asked = []
search = Search(num_initial_points=3, max_trials=8, seed=1, directory="search")
search.search(verbose=0)
print(f"keras-tuner {keras_tuner.__version__}: n from 2 to 64 was asked for as {asked}")
sys.exit(0 if max(asked) == 65 else 1)
PYTHON
