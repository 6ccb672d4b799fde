"""FLAML on pixels or embeddings: its own five grouped folds, all its default learners."""

from asked import Asked, answer
from flaml import AutoML


def main():
    """Search and predict, fold by fold."""
    asked = Asked()
    table, found, notes = asked.table(), [], []
    for train, test in asked.folds:
        search = AutoML()
        search.fit(
            X_train=table[train],
            y_train=asked.labels[train],
            task="classification",
            metric="roc_auc",
            time_budget=asked.seconds,
            n_jobs=1,
            eval_method="cv",
            split_type="group",
            groups=asked.groups[train],
            seed=asked.seed,
            verbose=0,
        )
        found.append(search.predict_proba(table[test])[:, 1])
        notes.append(search.best_estimator)
    answer({"probability": found}, notes)


if __name__ == "__main__":
    main()
