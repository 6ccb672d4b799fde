"""The page of a large run: from its store alone, and with what was assessed before.

A run of 10 data sets x 10 models x 10 folds, 1,000 held-out predictions each, is written from
synthetic predictions (nothing is trained). Timed are whole ``python -m medbench report``
processes, imports included, on all cores: once with nothing but the store, then with the
assessment that the first one left.
"""

from __future__ import annotations

import resource
from typing import Any

import numpy as np
import pandas as pd
from harness import REPEATS, Record, Settings, answer, ask

from medbench.store import CellId, RunStore

_LIMIT_SECONDS, _LIMIT_MEMORY = 20.0, 1e9
"""What the page of 1,000 cells may take on two cores, also where nothing was assessed before."""
_CLASSES = (2, 2, 2, 2, 2, 3, 3, 4, 5, 7)
_SANITY = ("majority", "border")
_TRIALS = 12


def measure(settings: Settings) -> list[Record]:
    """Wall seconds of the command."""
    n_datasets, n_models, n_folds, images = (2, 3, 2, 60) if settings.quick else (10, 10, 10, 1000)
    run = settings.folder("report") / "run"
    for number in range(n_datasets):
        _write_dataset(RunStore(run), number, n_models, n_folds, images)
    request = {"run": str(run)}
    again, alone, memory = [], [], []
    for _ in range(REPEATS):
        (run / "assessment.json").unlink(missing_ok=True)
        for costs in (alone, again):
            cost, found = ask("report_page.py", request, threads=settings.cores)
            costs.append(cost.wall)
            memory.append(found["peak_bytes"])
    return [
        Record(
            name="report",
            ours_is=f"page of {n_datasets * n_models * n_folds:,} cells, assessed before",
            other_is="the same from the store alone",
            unit="s",
            wanted=1.5,
            sense="at least",
            ours=tuple(again),
            other=tuple(alone),
            details={
                f"from the store alone within {_LIMIT_SECONDS:g} s": max(alone) <= _LIMIT_SECONDS,
                f"within {_LIMIT_MEMORY / 1e6:,.0f} MB": max(memory) <= _LIMIT_MEMORY,
                "peak memory, MB": max(memory) / 1e6,
                "page, MB": (run / "report.html").stat().st_size / 1e6,
            },
        )
    ]


def _write_dataset(store: RunStore, number: int, n_models: int, n_folds: int, n: int) -> None:
    """A data set of synthetic predictions: about 700 patients of 1,000 images in each fold."""
    name, n_classes = f"set-{number}", _CLASSES[number % len(_CLASSES)]
    if not number:
        store.begin({"budget": "synthetic", "inner_folds": 3, "seed": 0})
    rng = np.random.default_rng(number)
    parts = []
    for fold in range(n_folds):
        groups = np.repeat(np.arange(n), rng.choice([1, 2, 3], size=n, p=[0.68, 0.22, 0.1]))[:n]
        parts.append((groups + fold * n, rng.integers(n_classes, size=n)[groups]))
    labels = np.concatenate([part[1] for part in parts])
    groups = np.concatenate([part[0] for part in parts])
    record = {
        **{"title": f"Synthetic predictions {number}", "source": "phantoms", "synthetic": True},
        **{"task": "binary" if n_classes == 2 else "multi-class", "image_shape": [28, 28, 1]},
        "classes": [f"class {k}" for k in range(n_classes)],
        "class_counts": np.bincount(labels, minlength=n_classes).tolist(),
        **{"n_images": len(labels), "n_groups": len(np.unique(groups)), "n_folds": n_folds},
        **{"split": f"{n_folds}-fold x 1 by group", "notes": [], "licence": "CC0 1.0 (generated)"},
        **{"citation": "", "homepage": "", "fingerprint": f"{number:064d}", "collection": name},
        "caution_above": None,
    }
    store.write_dataset(name, record, pd.DataFrame({"label": labels, "group": groups}))
    for place in range(n_models):
        model = _SANITY[place] if place < len(_SANITY) and n_models > 3 else f"model-{place}"
        skill = 0.0 if model in _SANITY else 0.8 + 0.1 * place
        for fold, (of_patient, true) in enumerate(parts):
            rng = np.random.default_rng([number, place, fold])
            logits = skill * np.eye(n_classes)[true] + rng.normal(size=(n, n_classes))
            chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            frame = pd.DataFrame({"image": np.arange(n) + n * fold, "group": of_patient})
            frame = frame.assign(label=true, **{f"p{k}": chances[:, k] for k in range(n_classes)})
            _write_cell(store, CellId(dataset=name, model=model, split=f"r0f{fold}"), fold, frame)


def _write_cell(store: RunStore, cell: CellId, fold: int, predictions: pd.DataFrame) -> None:
    stored = store.cell(cell)
    stored.begin("0" * 32, {})
    stored.write_predictions(predictions)
    for number in range(_TRIALS):
        stored.append_trial(
            {
                **{"number": number, "state": "complete", "score": 0.8 + number / 1000},
                "params": {
                    "C": 1.5 + number,
                    "depth": number,
                    "kernel": ("rbf", "linear")[number % 2],
                },
                **{"fold_scores": [0.8, 0.81], "seconds": 1.5, "at_seconds": 1.5 * (number + 1)},
            },
            None,
        )
    stored.finish(
        {
            **{"repeat": 0, "fold": fold, "by_image": False},
            **{"status": "ok", "reason": "", "note": "", "n_trials": _TRIALS, "inner_score": 0.8},
            "threshold": 0.5 if "p2" not in predictions else None,
            "calibration": {"temperatures": [1.3], "reason": ""},
            "seconds": {"tuning": 20.0, "refit": 3.0, "total": 24.0},
            **{"size_bytes": 3_100_000, "sanity": cell.model in _SANITY, "params": {"C": 1.5}},
            **{"latency_seconds": 0.01, "images_per_second": 300.0},
        },
    )


def _main(request: dict[str, Any]) -> None:
    """Make the page as the command line does."""
    from medbench.cli import main

    if main(["report", request["run"]]):
        raise SystemExit(1)
    answer({"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024})


if __name__ == "__main__":
    import json
    import sys

    _main(json.load(sys.stdin))
