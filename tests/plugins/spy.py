"""Families that look for what is held out, wherever their process might lead them to it."""

import gc
import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from medbench import Classifier, ModelFamily, register_model
from medbench.errors import ModelError

RUN = os.environ.get("SPY_RUN", "")
TOLD = json.loads(os.environ.get("SPY_TOLD", "{}"))
"""What a well-informed spy knows: exact files, by how they are read."""


READERS = {
    ".npy": lambda path: np.load(path, allow_pickle=False),
    ".parquet": pd.read_parquet,
    ".csv": pd.read_csv,
    ".json": lambda path: path.read_text(),
    ".png": lambda path: np.asarray(Image.open(path)),
}
MOST = 100
"""Files and folders that one walk looks at: it is not to read the whole machine."""


def walk(place):
    """What below a place may hold images or labels; the first refusal ends it, as it would end
    a walk of Python's own."""
    found, pending = [], [Path(place)]
    for _ in range(MOST):
        if not pending:
            break
        path = pending.pop()
        if path.is_dir() and not path.is_symlink():
            pending += path.iterdir()
        elif path.is_file() and path.suffix in READERS:
            found.append(path)
    return found


def read(path):
    return READERS[Path(path).resolve().suffix](path)


def paths_in(texts):
    parts = [part for text in texts for part in str(text).split(os.pathsep)]
    return [part for part in parts if os.path.isabs(part) and os.path.exists(part)]  # noqa: PTH110, PTH117


def arrays_in_memory():
    kinds = (np.ndarray, pd.DataFrame, pd.Series)
    found = {}
    for holder in gc.get_objects():
        for thing in (holder, *gc.get_referents(holder)):
            if isinstance(thing, kinds):
                found[id(thing)] = thing
    return list(found.values())


def frames_and_locals():
    frame, found = sys._getframe(), []
    while frame is not None:
        found += list(frame.f_locals.values())
        frame = frame.f_back
    return found


class Spy:
    """Tries everything, and keeps what it reached and why it did not reach the rest."""

    def __init__(self, phase):
        self.phase = phase
        self.tries = {}
        self.images, self.columns = set(), []

    def take(self, thing):
        """Remember images by their hash, and whatever could be labels."""
        if isinstance(thing, pd.DataFrame):
            for name in thing:
                self.take(thing[name])
        elif isinstance(thing, pd.Series):
            if thing.dtype.kind in "iufb":
                self.columns.append([float(v) for v in thing])
        elif isinstance(thing, np.ndarray):
            if thing.dtype == np.uint8 and thing.ndim == 4:
                self.images |= {hashlib.sha256(image.tobytes()).hexdigest() for image in thing}
            elif thing.dtype == np.uint8 and thing.ndim in (2, 3):
                self.images.add(hashlib.sha256(thing.tobytes()).hexdigest())
            elif thing.dtype.kind in "iufb" and thing.ndim == 1 and len(thing) < 1000:
                self.columns.append([float(v) for v in thing])

    def attempt(self, name, action):
        try:
            result = action()
            for thing in result if isinstance(result, list) else [result]:
                self.take(read(thing) if isinstance(thing, str | Path) else thing)
            self.tries[name] = "looked"
        except ModelError as error:
            self.tries[name] = f"ModelError: {error}"
        except Exception as error:
            self.tries[name] = type(error).__name__

    def everything(self, context, *given):
        self.attempt("working folder", lambda: walk("."))
        self.attempt("working folder, listed", lambda: os.listdir() and None)  # noqa: PTH208
        self.attempt("glob", lambda: list(Path.cwd().rglob("*.png")))
        self.attempt("run folder", lambda: walk(RUN))
        for kind, path in TOLD.items():
            self.attempt(f"told: {kind}", lambda path=path: [Path(path)])
            self.attempt(f"told: folder of {kind}", lambda path=path: walk(Path(path).parent))
            link = Path(os.environ["SPY_OUT"]).with_name(f"{self.phase}-{kind}")
            link.unlink(missing_ok=True)
            link.symlink_to(path)
            self.attempt(f"told: link to {kind}", lambda link=link: [link])
            link.unlink()
        for source, texts in (
            ("environment", os.environ.values()),
            ("arguments", [*sys.argv, *getattr(sys, "orig_argv", [])]),
            ("import path", [p for p in sys.path if not p.startswith(sys.prefix)]),
        ):
            for i, path in enumerate(paths_in(texts)):
                if not sys.prefix.startswith(path) and not sys.base_prefix.startswith(path):
                    self.attempt(f"{source} {i}", lambda path=path: walk(path))
        for owner in ("self", os.getppid()):
            descriptors = Path(f"/proc/{owner}/fd")
            numbers = [] if not descriptors.is_dir() else sorted(os.listdir(descriptors))  # noqa: PTH208
            for number in numbers:
                if (descriptors / number).resolve().suffix in READERS:
                    self.attempt(
                        f"descriptor {owner} {number}", lambda n=number, d=descriptors: [d / n]
                    )
            self.attempt(f"place of {owner}", lambda owner=owner: walk(f"/proc/{owner}/cwd"))
        self.attempt("context", lambda: list(vars(context).values()))
        self.attempt("feature cache", lambda: walk(context.features._folder))
        for i, told in enumerate(t for t in gc.get_objects() if type(t).__name__ == "Workspace"):
            for place in paths_in([*told.closed, told.development, told.folder, told.features]):
                self.attempt(f"specification {i} {place}", lambda place=place: walk(place))
        self.attempt(
            "frames", lambda: [x for x in frames_and_locals() if not isinstance(x, str | Path)]
        )
        self.attempt("memory", arrays_in_memory)
        self.attempt("given", lambda: [value for thing in given for value in vars(thing).values()])

    def report(self):
        out = Path(os.environ["SPY_OUT"])
        before = json.loads(out.read_text()) if out.exists() else []
        found = {"phase": self.phase, "tries": self.tries, "images": sorted(self.images)}
        out.write_text(json.dumps([*before, {**found, "columns": self.columns}]))


class SpyClassifier(Classifier):
    def __init__(self, context):
        self.context = context

    def look(self, phase, *given):
        spy = Spy(phase)
        spy.everything(self.context, *given)
        spy.report()

    def fit(self, train, validation, progress):
        self.look("fit" if validation is not None else "refit", train)

    def predict_proba(self, batch):
        if not hasattr(batch, "labels"):
            self.look("predict", batch)
        return np.full((len(batch), 2), 0.5)

    def save(self, folder):
        (folder / "nothing.txt").write_text("")

    def load(self, folder): ...


class Careless(SpyClassifier):
    """Reads the table of labels as if it were its own, and does not expect to be refused."""

    def fit(self, train, validation, progress):
        pd.read_parquet(Path(RUN) / "datasets" / "set" / "images.parquet")


class CarelessLater(SpyClassifier):
    def fit(self, train, validation, progress): ...

    def predict_proba(self, batch):
        if not hasattr(batch, "labels"):
            list(Path.cwd().rglob("*.png"))
        return np.full((len(batch), 2), 0.5)


class SpyFamily(ModelFamily):
    classifier = SpyClassifier

    def search_space(self, space, task): ...

    def build(self, params, task, context):
        return self.classifier(context)


@register_model("spy")
class _Spy(SpyFamily): ...


@register_model("careless")
class _Careless(SpyFamily):
    classifier = Careless


@register_model("careless-later")
class _CarelessLater(SpyFamily):
    classifier = CarelessLater
