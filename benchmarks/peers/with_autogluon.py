"""AutoGluon on pixels or embeddings: bagging over five grouped folds, a weighted ensemble.

Where seconds are too few to fit each family five times, a grouped fifth is held out once, which
is its own default. Its families are those that need no PyTorch.
"""

import tempfile

import pandas as pd
from asked import Asked, answer
from autogluon.tabular import TabularPredictor

FAMILIES = ("GBM", "CAT", "XGB", "RF", "XT", "LR")
PARTS, LEAST = 5, 30
"""Folds; seconds of search from which on there is bagging (with 12 s it fitted one family, or on
a busy machine none)."""


def search(frame, seconds, folder):
    """A predictor of the column ``label``, after its search; ``part`` divides the groups."""
    bagged = seconds >= LEAST
    predictor = TabularPredictor(
        label="label",
        eval_metric="roc_auc",
        groups="part" if bagged else None,
        path=folder,
        verbosity=0,
    )
    rows = frame.drop(columns="part")
    held_out = frame["part"] == 0
    return predictor.fit(
        frame if bagged else rows[~held_out],
        tuning_data=None if bagged else rows[held_out],
        time_limit=seconds,
        num_cpus=1,
        num_gpus=0,
        hyperparameters={family: {} for family in FAMILIES},
        ag_args_ensemble={"fold_fitting_strategy": "sequential_local"} if bagged else None,
    )


def main():
    """Search and predict, fold by fold."""
    asked = Asked()
    table, found, notes = asked.table(), [], []
    columns = [f"x{position}" for position in range(table.shape[1])]
    for train, test in asked.folds:
        frame = pd.DataFrame(table[train], columns=columns)
        frame["label"], frame["part"] = asked.labels[train], asked.part_of_groups(train, PARTS)
        with tempfile.TemporaryDirectory() as folder:
            predictor = search(frame, asked.seconds, folder)
            held_out = pd.DataFrame(table[test], columns=columns)
            found.append(predictor.predict_proba(held_out)[1].to_numpy())
            notes.append(", ".join(predictor.model_names()))
    answer({"probability": found}, notes)


if __name__ == "__main__":
    main()
