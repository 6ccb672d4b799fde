"""Names -> model families, sources and tuners: built in (loaded on first use) or plugged in."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from medbench.errors import PluginError, unknown_name

T = TypeVar("T", bound=type)

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


class Registry:
    """One kind of thing that can be added by name.

    Built-in names point to ``"module:Class"`` and are imported on first use, so that listing
    names costs nothing and TensorFlow is never imported for a model that does not need it.
    """

    def __init__(self, noun: str, base: str, builtin: Mapping[str, str]) -> None:
        """``base``: ``"module:Class"`` that everything registered must be a subclass of."""
        self.noun = noun
        self._base = base
        self._builtin = dict(builtin)
        self._registered: dict[str, type] = {}

    def names(self) -> list[str]:
        """All registered names, built-in ones first, in their order of registration."""
        return [*self._builtin, *self._registered]

    def added(self) -> list[str]:
        """Names that plugins registered."""
        return list(self._registered)

    def register(self, name: str) -> Callable[[T], T]:
        """Class decorator that adds a class under ``name``.

        Raises:
            PluginError: The name is malformed or already taken.
        """
        if not _NAME.fullmatch(name):
            raise PluginError(
                f"{name!r} cannot be the name of a {self.noun}: use lower-case letters, digits, "
                "'-', '_' and '.', beginning with a letter or digit."
            )

        def add(cls: T) -> T:
            if name in self._builtin or name in self._registered:
                raise PluginError(
                    f"{self.noun} {name!r} is registered twice (second time by "
                    f"{cls.__module__}.{cls.__qualname__}). Give one of them another name."
                )
            base = _load(self._base)
            if not (isinstance(cls, type) and issubclass(cls, base)):
                raise PluginError(f"{self.noun} {name!r}: {cls!r} is no subclass of {self._base}.")
            if lacking := sorted(getattr(cls, "__abstractmethods__", ())):
                raise PluginError(
                    f"{self.noun} {name!r}: {cls.__qualname__} does not define "
                    f"{', '.join(lacking)}."
                )
            cls.name = name  # type: ignore[attr-defined]
            self._registered[name] = cls
            return cls

        return add

    def get(self, name: str) -> Any:
        """The class registered under ``name``.

        Raises:
            UnknownNameError: Nothing is registered under it; the message lists the close names.
        """
        if name in self._registered:
            return self._registered[name]
        if name in self._builtin:
            cls = _load(self._builtin[name])
            cls.name = name
            return cls
        raise unknown_name(self.noun, name, self.names())


def _load(target: str) -> Any:
    module, attribute = target.split(":")
    return getattr(importlib.import_module(module), attribute)


models = Registry(
    "model family",
    "medbench.models.contract:ModelFamily",
    {
        "majority": "medbench.models.majority:Majority",
        "hog-svm": "medbench.models.hog_svm:HogSvm",
        "xgboost": "medbench.models.xgboost:XGBoost",
        "cnn": "medbench.models.cnn:Cnn",
        "inceptionv3": "medbench.models.transfer:InceptionV3",
    },
)
sources = Registry(
    "data source",
    "medbench.datasets.sources.base:Source",
    {
        "folder": "medbench.datasets.sources.folder:FolderSource",
        "table": "medbench.datasets.sources.table:TableSource",
        "npz": "medbench.datasets.sources.npz:NpzSource",
        "phantoms": "medbench.datasets.sources.phantoms:PhantomSource",
    },
)
tuners = Registry(
    "tuner",
    "medbench.tuning.tuner:Tuner",
    {
        "optuna": "medbench.tuning.optuna_tuner:OptunaTuner",
        "keras-tuner": "medbench.tuning.keras_tuner:BayesianTuner",
        "hyperband": "medbench.tuning.keras_tuner:HyperbandTuner",
    },
)

register_model = models.register
register_source = sources.register
register_tuner = tuners.register


def load_plugin(path: Path) -> None:
    """Import one Python file whose decorators register models, sources or tuners.

    A file that is already loaded is not loaded again.

    Raises:
        PluginError: The file is missing, or importing it fails.
    """
    path = path.expanduser().resolve()
    if not path.is_file():
        raise PluginError(f"--plugin {path}: there is no such file.")
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    module_name = f"medbench_plugin_{path.stem}_{digest}"
    if module_name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"--plugin {path}: not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except PluginError:
        del sys.modules[module_name]
        raise
    except (
        Exception,
        SystemExit,
    ) as error:  # whatever the author's code raises is reported under its name
        del sys.modules[module_name]
        raise PluginError(f"--plugin {path}: {type(error).__name__}: {error}") from error
