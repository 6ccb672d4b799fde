"""``python benchmarks/explanations``: how often a heat map points at the finding."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import measure
import page

from medbench.cores import available_threads

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what benchmarks share
from markers import write_between_markers

FULL = measure.Size(
    training_patients=100,
    test_patients=160,
    explained=60,
    occluded=24,
    image_size=64,
    last_step=None,
)
QUICK = measure.Size(
    training_patients=12,
    test_patients=12,
    explained=2,
    occluded=1,
    image_size=64,
    last_step=2,
)
CLASSICAL_AND_CNN = ("hog-svm", "xgboost", "cnn")
PRETRAINED = ("mobilenet", "inceptionv3")


def main() -> int:
    """Measure, print, write; 1 if some model has no image to explain."""
    options = _options()
    size = QUICK if options.quick else FULL
    threads = available_threads()
    plans: list[tuple[str, Path | None]] = [
        (name, None) for name in (*CLASSICAL_AND_CNN, *PRETRAINED)
    ]
    if options.weights_dir is not None:
        plans += [(name, options.weights_dir) for name in PRETRAINED]
    wanted = options.only or [name for name, _ in plans]
    begun, rows = time.monotonic(), []
    for modality in ("mr", "chest"):
        data = measure.phantoms(modality, size)
        for name, weights_dir in plans:
            if name not in wanted:
                continue
            rows += measure.pointing(data, name, weights_dir, size, threads)
            spent = f"{time.monotonic() - begun:5.0f} s"
            print(f"{spent} {data.name} {name}", file=sys.stderr, flush=True)
    content = page.as_markdown(rows, size)
    print(content)
    if options.json is not None:
        figures = {"size": asdict(size), "rows": [asdict(each) for each in rows]}
        options.json.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n")
    if options.docs is not None:
        write_between_markers(options.docs, "explanations", content)
    return int(not all(each.images for each in rows) and not options.quick)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python benchmarks/explanations", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="tiny numbers, to see that everything works"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="MODEL", choices=(*CLASSICAL_AND_CNN, *PRETRAINED)
    )
    parser.add_argument(
        "--weights-dir",
        type=Path,
        metavar="FOLDER",
        help="pretrained weights, measured beside random ones",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure here")
    parser.add_argument(
        "--docs", type=Path, metavar="FILE", help="write between the markers of this page"
    )
    options = parser.parse_args()
    if options.docs is not None and (options.quick or options.only):
        parser.error("--docs wants all models in full numbers: leave --quick and --only away.")
    return options


if __name__ == "__main__":
    sys.exit(main())
