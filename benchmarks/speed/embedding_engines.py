"""Embedding engines side by side: is the one that MedBench takes by default the fastest here?

Every engine that is installed, and Keras on each installed backend, runs in a fresh process of its
own. All of them stay open and are asked in turns for the same images; only the forward passes are
timed, not the imports nor the building of the network. Before that every engine's rows are compared
with those of the default.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from harness import HERE, REPEATS, BenchmarkError, Record, Settings, draw_phantoms

from medbench.execution.environment import BACKENDS, child_environment
from medbench.features import engines

_TOLERANCE = 1e-3
"""Largest difference between two engines, as a part of the largest value."""
_LEVEL = 0.9
"""A default within a tenth of the fastest is as good: the order of the two differs by machine."""
_REPEATS = 2 * REPEATS + 1
_SIZES = {"inceptionv3": (128, 48), "squeezenet": (128, 192)}
"""Pixels and number of images of a timed pass."""


def measure(settings: Settings) -> list[Record]:
    """Wall milliseconds an image, of the default engine and of the best of the others."""
    sides = _sides()
    default = engines.fastest_installed()
    if len(sides) < 2:
        raise BenchmarkError(
            f"engines: only {default} is installed. pip install onnx onnxruntime openvino"
        )
    folder = settings.folder("engines")
    with contextlib.ExitStack() as stack:
        open_sides = {
            name: stack.enter_context(_process(*side, settings)) for name, side in sides.items()
        }
        return [
            _compare(backbone, open_sides, default, folder, settings.quick) for backbone in _SIZES
        ]


def _sides() -> dict[str, tuple[str, str]]:
    """Engine and Keras backend by the name under which they are shown; the backend in use first."""
    backends = [name for name in BACKENDS if importlib.util.find_spec(name)]
    sides = {name: (name, backends[0]) for name in engines.installed() if name != "keras"}
    return {**sides, **{f"keras on {name}": ("keras", name) for name in backends}}


def _compare(
    backbone: str, sides: dict[str, Any], default: str, folder: Path, quick: bool
) -> Record:
    size, images = (32, 6) if quick else _SIZES[backbone]
    file = folder / f"{backbone}.npy"
    np.save(file, draw_phantoms(images, size, images_per_patient=1)[1].images)
    request = {"backbone": backbone, "images": str(file)}
    ours = default if default in sides else next(name for name in sides if name.startswith("keras"))
    rows = {name: np.load(_ask(side, {**request, "rows": True})) for name, side in sides.items()}
    apart = {
        name: float(np.abs(own - rows[ours]).max() / np.abs(rows[ours]).max())
        for name, own in rows.items()
    }
    if max(apart.values()) > _TOLERANCE:
        raise BenchmarkError(f"engines: the rows of {backbone} differ by {apart} of the largest.")
    milliseconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(REPEATS if quick else _REPEATS):
        for name, side in sides.items():
            milliseconds[name].append(_ask(side, request) / images * 1000)
    medians = {name: float(np.median(values)) for name, values in milliseconds.items()}
    best = min((name for name in sides if name != ours), key=medians.__getitem__)
    return Record(
        name=f"engines {backbone}",
        ours_is=f"{ours} (the default)",
        other_is=f"{best} (best of the others)",
        unit="ms/image",
        ours=tuple(milliseconds[ours]),
        other=tuple(milliseconds[best]),
        wanted=_LEVEL,
        sense="at least",
        details={
            "pixels": size,
            "images/s": {name: 1000 / value for name, value in medians.items()},
            "largest difference of rows": max(apart.values()),
        },
    )


@contextlib.contextmanager
def _process(engine: str, backend: str, settings: Settings) -> Iterator[subprocess.Popen[str]]:
    """An engine that waits for questions; it ends with the block."""
    weights = str(settings.weights_dir) if settings.weights_dir else ""
    log = settings.scratch / f"{engine}-{backend}.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [
                sys.executable,
                str(HERE / Path(__file__).name),
                engine,
                weights,
                str(settings.scratch),
            ],
            env={**child_environment(settings.cores), "KERAS_BACKEND": backend},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        yield process
    finally:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        process.wait()
        process.stdout.close()


def _ask(process: subprocess.Popen[str], request: dict[str, Any]) -> Any:
    """An engine's answer; what its libraries print in between is skipped."""
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(OSError):  # an engine that has ended is noticed below
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
    for line in process.stdout:
        if line.startswith("answer: "):
            return json.loads(line.removeprefix("answer: "))
    raise BenchmarkError(f"engines: a process of {process.args!r} ended.")


def main() -> None:
    """Answer questions with the seconds of a pass, or with a file of its rows."""
    import time

    from trials import weights_from

    from medbench.features.embeddings import Embedding

    engine, weights_dir, scratch = sys.argv[1:]
    for number, line in enumerate(sys.stdin):
        request = json.loads(line)
        images = np.load(request["images"])
        weights = weights_from(Path(weights_dir) if weights_dir else None, request["backbone"])
        embedding = Embedding(
            backbone=request["backbone"],
            image_shape=images.shape[1:],
            weights_path=weights.path,
            weights_sha256=weights.sha256,
            engine=engine,
        )
        began = time.perf_counter()
        rows = embedding(images)
        answer: Any = time.perf_counter() - began
        if request.get("rows"):
            answer = str(Path(scratch) / f"{number}-{Path(request['images']).name}")
            np.save(answer, rows)
        print(f"answer: {json.dumps(answer)}", flush=True)


if __name__ == "__main__":
    main()
