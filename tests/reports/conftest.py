"""Runs made by hand from synthetic predictions, as the run store would read them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medbench.store import CellId, CellResult, RunResult

SECONDS_OF_A_CELL = 24.0
SANITY = ("majority", "file-properties", "intensity", "border", "thumbnail")


class RunFactory:
    """Builds a ``RunResult`` piece by piece."""

    def __init__(self) -> None:
        self.datasets = {}
        self.audits = {}
        self.cells = []

    def dataset(self, name="phantoms", classes=("benign", "malignant"), n_folds=3, **fields):
        self.datasets[name] = {
            "title": f"The {name} set",
            "source": "phantoms",
            "task": "binary" if len(classes) == 2 else "multi-class",
            "classes": list(classes),
            "n_images": 1200,
            "n_groups": 400,
            "class_counts": [1200 // len(classes)] * len(classes),
            "image_shape": [28, 28, 1],
            "split": "official" if n_folds == 1 else f"{n_folds}-fold x 1",
            "n_folds": n_folds,
            "notes": [],
            "licence": "CC BY 4.0",
            "citation": "",
            "homepage": "",
            "synthetic": True,
            "fingerprint": "0" * 64,
            "collection": name,
            "caution_above": 0.97,
            **fields,
        }

    def split(self, dataset, fold):
        return "official" if self.datasets[dataset]["n_folds"] == 1 else f"r0f{fold}"

    def finding(self, text, severity="serious", dataset="phantoms"):
        """Something that the audit of a data set found."""
        finding = {"check": "x", "severity": severity, "text": text, "remedy": "Mend it."}
        self.audits.setdefault(dataset, {"findings": []})["findings"].append(finding)

    def model(self, model, skill, dataset="phantoms", folds=None, **fields):
        """Finished cells of a model; the higher ``skill``, the better (0 is a constant)."""
        for fold in range(self.datasets[dataset]["n_folds"]) if folds is None else folds:
            self.finished(model, skill, dataset, fold, **fields)

    def finished(
        self, model, skill, dataset="phantoms", fold=0, n=60, trials=None, by_image=False, **fields
    ):
        n_classes = len(self.datasets[dataset]["classes"])
        rng = np.random.default_rng([fold, *model.encode()])
        labels = np.arange(n) % n_classes
        noise = rng.normal(size=(n, n_classes)) * (skill > 0)
        logits = noise + skill * np.eye(n_classes)[labels]
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        predictions = pd.DataFrame(
            {"image": np.arange(n) + n * fold, "group": np.arange(n) // 2 * 2 + labels % 2}
            | {"label": labels}
            | {f"p{k}": probabilities[:, k] for k in range(n_classes)}
        )
        if trials is None:
            trials = make_trials(rng)
        split = "by-image-" * by_image + self.split(dataset, fold)
        self._add(
            CellId(dataset=dataset, model=model, split=split),
            {
                "status": "ok",
                "reason": "",
                "note": "",
                "n_trials": len(trials),
                "inner_score": 0.8,
                "threshold": 0.5 if n_classes == 2 else None,
                "seconds": {"tuning": 20.0, "refit": 3.0, "total": SECONDS_OF_A_CELL},
                "size_bytes": 3_100_000,
                "sanity": model in SANITY,
                **fields,
            },
            predictions,
            trials,
            fold=None if split == "official" else fold,
            by_image=by_image,
        )

    def unfinished(self, model, status, reason, dataset="phantoms", fold=0):
        cell = CellId(dataset=dataset, model=model, split=self.split(dataset, fold))
        self._add(cell, {"status": status, "reason": reason}, None, ())

    def _add(self, cell, fields, predictions, trials, **of_split):
        record = {"dataset": cell.dataset, "model": cell.model, "split": cell.split, **fields}
        self.cells.append(
            CellResult(
                id=cell,
                status=fields["status"],
                reason=fields["reason"],
                record=record,
                predictions=predictions,
                trials=tuple(trials),
                **of_split,
            )
        )

    def run(self) -> RunResult:
        return RunResult(
            folder=Path("a-run"),
            configuration={},
            environment={},
            datasets=self.datasets,
            audits=self.audits,
            cells=tuple(self.cells),
        )


def make_trials(rng, n=12):
    """A search that gets better, with every fourth trial pruned."""
    return [
        {
            "number": number,
            "params": {},
            "state": "pruned" if number % 4 == 3 else "complete",
            "score": None if number % 4 == 3 else 0.9 - 0.3 / (1 + number) + rng.normal() / 50,
            "fold_scores": [],
            "step": None,
            "seconds": 1.5,
            "at_seconds": 1.5 * (number + 1),
            "stage": "search",
        }
        for number in range(n)
    ]


@pytest.fixture
def factory() -> RunFactory:
    return RunFactory()


@pytest.fixture(scope="session")
def new_factory() -> Callable[[], RunFactory]:
    return RunFactory
