"""AutoGluon on pixels or embeddings: bagging over five grouped folds, a weighted ensemble.

Its families are those that need no PyTorch.
"""

import tempfile

import pandas as pd
from asked import Asked, answer
from autogluon.tabular import TabularPredictor

FAMILIES = ("GBM", "CAT", "XGB", "RF", "XT", "LR")


def main():
    """Search and predict, fold by fold."""
    asked = Asked()
    table, found, notes = asked.table(), [], []
    columns = [f"x{position}" for position in range(table.shape[1])]
    for train, test in asked.folds:
        frame = pd.DataFrame(table[train], columns=columns)
        frame["label"], frame["part"] = asked.labels[train], asked.part_of_groups(train, 5)
        with tempfile.TemporaryDirectory() as folder:
            predictor = TabularPredictor(
                label="label", eval_metric="roc_auc", groups="part", path=folder, verbosity=0
            ).fit(
                frame,
                time_limit=asked.seconds,
                num_cpus=1,
                num_gpus=0,
                hyperparameters={family: {} for family in FAMILIES},
                ag_args_ensemble={"fold_fitting_strategy": "sequential_local"},
            )
            held_out = pd.DataFrame(table[test], columns=columns)
            found.append(predictor.predict_proba(held_out)[1].to_numpy())
            notes.append(", ".join(predictor.model_names()))
    answer({"probability": found}, notes)


if __name__ == "__main__":
    main()
