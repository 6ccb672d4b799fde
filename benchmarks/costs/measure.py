"""Cells on generated images, and what they took, as the table of reference costs."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from medbench import registry
from medbench.cache import VARIABLE
from medbench.datasets.catalog import load_catalog
from medbench.execution import costs
from medbench.execution.environment import describe_environment
from medbench.execution.machine_speed import machine_seconds
from medbench.execution.plan import Settings, Setup, plan_cells, plan_datasets
from medbench.execution.run import run_cells
from medbench.reports.stored import assessed
from medbench.running.progress import PlainListener, make_console
from medbench.running.writing import write_everything
from medbench.store import RunStore
from medbench.tuning.budget import Budget

_SANITY = ("majority", "file-properties", "intensity", "border", "thumbnail")
_FEATURES = ("hog-svm", "xgboost")
_BACKBONES = ("inceptionv3", "mobilenet")
_OTHERS = (
    "densenet121",
    "efficientnetb0",
    "resnet50",
    "squeezenet",
    "efficientnet-lite0",
    "inceptionv3-finetuned",
)
"""Backbones that are measured once: their cost follows the size of images as that of the others."""
_BUDGET = Budget(trials=5, seconds=20)
"""Of each cell: the first trial, two more, and two refinements where a family has them."""
_DECIMALS = 4


@dataclass(frozen=True, kw_only=True)
class Point:
    """Images and threads with which cells are measured."""

    side: int
    patients: int
    """With two images each; half of them are held out."""
    threads: int
    families: tuple[str, ...]


POINTS = (  # the first cell of its kind waits for imports, so it is another one in the second
    Point(side=32, patients=80, threads=1, families=(*_SANITY, *_FEATURES, "cnn", *_BACKBONES)),
    Point(
        side=64,
        patients=200,
        threads=2,
        families=(*_OTHERS, *_BACKBONES, "cnn", *_FEATURES, *_SANITY),
    ),
    Point(side=128, patients=160, threads=1, families=(*_FEATURES, "cnn", *_BACKBONES)),
    Point(side=128, patients=450, threads=1, families=_FEATURES),  # augmentation is partial
    Point(side=32, patients=2000, threads=2, families=(*_SANITY, *_FEATURES, "cnn", *_BACKBONES)),
)
QUICK = (Point(side=32, patients=40, threads=1, families=("majority", "hog-svm")),)


def write(table: Path, scratch: Path, weights_dir: Path | None, *, quick: bool) -> None:
    """Measure every point and write the table.

    Args:
        table: The file.
        scratch: An empty folder.
        weights_dir: Pretrained weights; without them networks are random, and nothing is refined.
        quick: Only to see that everything works.
    """
    families: dict[str, list[dict[str, Any]]] = {}
    for number, point in enumerate(QUICK if quick else POINTS):
        folder = scratch / str(number)
        folder.mkdir()
        with _cache(folder / "cache"):
            _run(point, folder, weights_dir)
            for name in (*point.families, costs.REPORTS, costs.START, costs.START_KERAS):
                for each in costs._read(name):
                    families.setdefault(name, []).append(_row(each))
    environment = describe_environment(max(point.threads for point in POINTS))
    content = {
        "machine_seconds": round(machine_seconds(), 6),
        "processor": environment["processor"],
        "cores": environment["cores"],
        "commit": environment["commit"],
        "packages": environment["packages"],
        "families": families,
    }
    table.write_text(_as_json(content))


def _run(point: Point, folder: Path, weights_dir: Path | None) -> None:
    """One cell of each family, and the end of a run."""
    entry = (
        f"images: {{source: phantoms, image_size: {point.side}, patients: {point.patients}, "
        "images_per_patient: 2}\n"
    )
    (folder / "datasets.yaml").write_text(entry)
    catalog = load_catalog(datasets_file=folder / "datasets.yaml")
    settings = Settings(budget=_BUDGET, folds=2)
    setup = Setup(cache=folder / "cache", threads=point.threads, weights_dir=weights_dir)
    listener = PlainListener(make_console())
    names = [name for name in point.families if name in registry.models.names()]
    datasets = plan_datasets(["images"], catalog, settings, setup)
    cells = plan_cells(datasets, names, settings, setup, listener.say, download=False)
    one_fold = [cell for cell in cells if cell.split is cells[0].split]
    store = RunStore(folder / "run")
    with store.lock():
        store.begin(settings.as_record(), images=False)
        store.write_environment(describe_environment(point.threads))
        run_cells(one_fold, store, setup, listener)
        began = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):
            write_everything(assessed(store.read()), make_console())
        costs.Costs(point.threads).learn_reports(one_fold, time.perf_counter() - began)


@contextlib.contextmanager
def _cache(folder: Path) -> Iterator[None]:
    """A cache of its own, in which nothing is known yet."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before


def _row(measurement: costs.Measurement) -> dict[str, Any]:
    """A measurement as the table has it: nothing of the images and the code that it was of."""
    values = asdict(replace(measurement, source="", data=""))
    return {
        name: round(value, _DECIMALS) if isinstance(value, float) else value
        for name, value in values.items()
    }


def _as_json(content: dict[str, Any]) -> str:
    """Indented, but a line for each measurement."""
    rows = content["families"]
    texts: list[str] = []
    named = {}
    for name, measurements in sorted(rows.items()):
        named[name] = []
        for each in measurements:
            named[name].append(f"@{len(texts)}@")
            texts.append(json.dumps(each, allow_nan=False))
    text = json.dumps({**content, "families": named}, indent=1, allow_nan=False)
    for number, each in enumerate(texts):
        text = text.replace(f'"@{number}@"', each)
    return text + "\n"
