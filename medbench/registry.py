"""Names -> model families, sources, readers, tuners: built in, installed, or of a plugin file."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from medbench.backbones import BACKBONES, FILE_PREFIX
from medbench.errors import PluginError, UnknownNameError, unknown_name
from medbench.hashes import sha256_of_text

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

T = TypeVar("T", bound=type)

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_NAME_RULE = "use lower-case letters, digits, '-', '_' and '.', beginning with a letter or digit."
ENSEMBLE = "ensemble"
"""The row that a run makes of its model families; none of them may have this name."""
_FILE_MODULE = "medbench_plugin_"
"""How the module of a plugin file is named in this process."""


class PluginWarning(UserWarning):
    """An installed plugin cannot be used; everything else goes on without it."""


@dataclass(frozen=True, kw_only=True)
class Factory:
    """Makes a class when it is wanted."""

    function: str
    """``"module:function"``; equal arguments give the same class."""
    argument: str
    """What the function is called with."""


class Registry:
    """One kind of thing that can be added by name.

    Built-in names point to ``"module:Class"``, or to a function that makes the class, and are
    imported on first use, so that listing names costs nothing and TensorFlow is never imported
    for a model that does not need it. The same holds for what installed packages declare as entry
    points; one that turns out to be broken is an error where it was asked for by name, and a
    ``PluginWarning`` elsewhere.
    """

    def __init__(
        self,
        noun: str,
        base: str,
        builtin: Mapping[str, str | Factory],
        group: str | None = None,
        *,
        reserved: Mapping[str, str] | None = None,
        by_prefix: Mapping[str, str] | None = None,
    ) -> None:
        """An empty registry but for what is built in.

        Args:
            noun: What its things are called in messages.
            base: ``"module:Class"`` that everything registered must be a subclass of.
            builtin: By name ``"module:Class"``, or how the class is made.
            group: The group of entry points by which packages add to it; None for no such group.
            reserved: Names that nothing may have, each with what has it; None for no such name.
            by_prefix: By what names of things begin with that users bring: the function
                (``"module:function"``) that makes the class of such a name. They are not listed.
        """
        self.noun = noun
        self.group = group
        self._base = base
        self._builtin = dict(builtin)
        self._reserved = dict(reserved or {})
        self._by_prefix = dict(by_prefix or {})
        self._loaded: dict[str, Any] = {}
        self._registered: dict[str, type] = {}
        self._broken: dict[str, str] = {}

    def names(self) -> list[str]:
        """All names: built in, of plugin files, installed; not those found broken so far.

        Nothing is imported: an installed one may yet turn out to be broken, see ``usable``.
        """
        installed = [name for name in self._installed if name not in self._broken]
        return [*self._builtin, *self._registered, *installed]

    def usable(self) -> list[str]:
        """The names whose classes can be loaded; a ``PluginWarning`` tells of each other one."""
        names = []
        for name in self.names():
            try:
                self.get(name)
            except PluginError as error:
                _warn(str(error))
            else:
                names.append(name)
        return names

    def added(self) -> list[str]:
        """Names that plugin files registered; they run without being asked for by name."""
        return [n for n, cls in self._registered.items() if cls.__module__.startswith(_FILE_MODULE)]

    def provider(self, name: str) -> str:
        """Where a known name comes from: ``"built in"``, a package with its version, or a file."""
        if name in self._builtin:
            return "built in"
        if name in self._registered:
            module = self._registered[name].__module__
            return Path(getattr(sys.modules.get(module), "__file__", None) or module).name
        if name not in self._installed and self._function_of(name) is not None:
            return "a file of the user's own"
        return _told(self._installed[name])

    def distribution(self, name: str) -> Distribution | None:
        """The installed package that a name comes from; None for what is built in or of a file."""
        if name in self._builtin or name in self._registered or name not in self._installed:
            return None
        return self._installed[name].dist

    def register(self, name: str) -> Callable[[T], T]:
        """Class decorator that adds a class under ``name``.

        Args:
            name: Lower-case letters, digits, ``-``, ``_`` and ``.``, beginning with a letter or
                digit; no other one has it.

        Returns:
            The decorator, which gives the class back and sets its ``name``.

        Raises:
            PluginError: The name is malformed or already taken, or what is decorated is no class
                of this kind or does not define all methods that it must.
        """
        if not _NAME.fullmatch(name):
            raise PluginError(f"{name!r} cannot be the name of a {self.noun}: {_NAME_RULE}")
        if name in self._reserved:
            raise PluginError(
                f"{name!r} cannot be the name of a {self.noun}: it is {self._reserved[name]}. "
                "Choose another one."
            )

        def add(cls: T) -> T:
            taken = name in self._builtin or name in self._registered
            if not taken and name in self._installed:
                if _package(cls.__module__) == _package(self._installed[name].value):
                    return cls  # a package may also decorate what its entry point names
                taken = True
            if taken:
                raise PluginError(
                    f"{self.noun} {name!r} is registered twice (first: {self.provider(name)}, "
                    f"second time by {cls.__module__}.{cls.__qualname__}). Give one of them "
                    "another name."
                )
            self._check(name, cls)
            self._registered[name] = cls
            return cls

        return add

    def get(self, name: str) -> Any:
        """The class registered under ``name``.

        Raises:
            PluginError: The installed plugin of that name cannot be used; the message says why.
            UnknownNameError: Nothing is registered under it; the message lists the close names.
        """
        if name in self._registered:
            return self._registered[name]
        if name in self._builtin:
            if name not in self._loaded:
                self._loaded[name] = _load(self._builtin[name])
                self._loaded[name].name = name
            return self._loaded[name]
        if name in self._installed and name not in self._broken:
            return self._get_installed(name)
        if name in self._broken:
            raise PluginError(self._broken[name])
        if name in self._reserved:
            raise UnknownNameError(
                f"{name!r} is no {self.noun}: it is {self._reserved[name]}. Leave it out."
            )
        if (function := self._function_of(name)) is not None:
            made = _load(Factory(function=function, argument=name))
            made.name = name
            return made
        raise unknown_name(self.noun, name, self.names())

    def _function_of(self, name: str) -> str | None:
        """What makes the class of a name that a user brings; None where none does."""
        found = (f for prefix, f in self._by_prefix.items() if name.startswith(prefix))
        return next(found, None) if _NAME.fullmatch(name) else None

    def _get_installed(self, name: str) -> Any:
        point = self._installed[name]
        try:
            cls = point.load()
            self._check(name, cls)
        except (Exception, SystemExit) as error:  # as in load_plugin: it is the author's code
            self._broken[name] = (
                f"{self.noun} {name!r} of {_told(point)} cannot be used: {_reason(error)} Repair "
                "that package, or uninstall it."
            )
            raise PluginError(self._broken[name]) from error
        return cls

    def _check(self, name: str, cls: Any) -> None:
        """Name a class if it may be registered.

        Raises:
            PluginError: It is no class of this kind, or an abstract one.
        """
        base = _load(self._base)
        if not (isinstance(cls, type) and issubclass(cls, base)):
            raise PluginError(f"{self.noun} {name!r}: {cls!r} is no subclass of {self._base}.")
        if lacking := sorted(getattr(cls, "__abstractmethods__", ())):
            raise PluginError(
                f"{self.noun} {name!r}: {cls.__qualname__} does not define {', '.join(lacking)}."
            )
        cls.name = name  # type: ignore[attr-defined]

    @cached_property
    def _installed(self) -> dict[str, EntryPoint]:
        """Entry points by name; of several packages that claim one, the first by alphabet stays.

        Looked for when a name is wanted that is not built in: every installed package is read.
        """
        from importlib.metadata import entry_points

        found: dict[str, EntryPoint] = {}
        for point in sorted(entry_points(group=self.group or ""), key=_told):
            name, claim = point.name, f"{self.noun} {point.name!r} of {_told(point)}"
            if not _NAME.fullmatch(name):
                self._broken[name] = f"{claim} cannot be used under that name: {_NAME_RULE}"
                _warn(self._broken[name])
            elif name in self._builtin or name in self._reserved:
                first = self._reserved.get(name, "a built-in one")
                _warn(f"{claim} is left out: {first} has that name.")
            elif name in found:
                _warn(f"{claim} is left out: {_told(found[name])} has one of that name.")
            else:
                found[name] = point
        return found


def _load(target: str | Factory) -> Any:
    if isinstance(target, Factory):
        return _load(target.function)(target.argument)
    module, attribute = target.split(":")
    return getattr(importlib.import_module(module), attribute)


def _package(target: str) -> str:
    """The top-level package of a module's name or of ``"module:Class"``."""
    return re.split(r"[.:]", target, maxsplit=1)[0]


def _told(point: EntryPoint) -> str:
    """The package that declares an entry point, with its version, in a reader's words."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"


def _reason(error: BaseException) -> str:
    """Why a plugin's code failed, as one sentence."""
    text = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
    return text if text.endswith(".") else f"{text}."


def _warn(text: str) -> None:
    warnings.warn(text, PluginWarning, stacklevel=2)


models = Registry(
    "model family",
    "medbench.models.contract:ModelFamily",
    {
        "majority": "medbench.models.majority:Majority",
        "file-properties": "medbench.models.sanity:FileProperties",
        "intensity": "medbench.models.sanity:IntensityStatistics",
        "border": "medbench.models.sanity:OuterBorder",
        "thumbnail": "medbench.models.sanity:Thumbnail",
        "hog-svm": "medbench.models.hog_svm:HogSvm",
        "xgboost": "medbench.models.xgboost:XGBoost",
        "cnn": "medbench.models.cnn:Cnn",
        **{
            name: Factory(function="medbench.models.transfer:transfer_family", argument=name)
            for name in BACKBONES
        },
        "inceptionv3-finetuned": "medbench.models.fine_tuned:FineTunedInceptionV3",
    },
    "medbench.models",
    reserved={ENSEMBLE: "the row that run makes by itself of two families or more"},
    by_prefix={FILE_PREFIX: "medbench.models.onnx_family:onnx_family"},
)
sources = Registry(
    "data source",
    "medbench.datasets.sources.base:Source",
    {
        "folder": "medbench.datasets.sources.folder:FolderSource",
        "table": "medbench.datasets.sources.table:TableSource",
        "bids": "medbench.datasets.sources.bids:BidsSource",
        "npz": "medbench.datasets.sources.npz:NpzSource",
        "medmnist": "medbench.datasets.sources.medmnist:MedMnistSource",
        "phantoms": "medbench.datasets.sources.phantoms:PhantomSource",
    },
    "medbench.sources",
)
readers = Registry(
    "image reader",
    "medbench.datasets.readers.base:Reader",
    {
        "picture": "medbench.datasets.readers.picture:PictureReader",
        # before TIFF, which the preamble of such a file may be the beginning of
        "dicom": "medbench.datasets.readers.dicom:DicomReader",
        "tiff": "medbench.datasets.readers.tiff:TiffReader",
        "nifti": "medbench.datasets.readers.nifti:NiftiReader",
    },
    "medbench.readers",
)
tuners = Registry(
    "tuner",
    "medbench.tuning.tuner:Tuner",
    {
        "optuna": "medbench.tuning.optuna_tuner:OptunaTuner",
        "keras-tuner": "medbench.tuning.keras_tuner:BayesianTuner",
        "hyperband": "medbench.tuning.hyperband:HyperbandTuner",
    },
    "medbench.tuners",
)

executors = Registry(
    "executor",
    "medbench.execution.executor:Executor",
    {
        "local": "medbench.execution.local:LocalExecutor",
        "inline": "medbench.execution.inline:InlineExecutor",
    },
    "medbench.executors",
)

ALL = (models, sources, readers, tuners, executors)
"""Every kind of thing that can be added."""

register_model = models.register
register_source = sources.register
register_reader = readers.register
register_tuner = tuners.register
register_executor = executors.register


def plugin_files() -> list[str]:
    """The plugin files that are loaded, for another process to load."""
    return [
        str(module.__file__)
        for name, module in list(sys.modules.items())
        if name.startswith(_FILE_MODULE)
    ]


def load_plugin(path: Path) -> None:
    """Import one Python file whose decorators register models, sources, readers or tuners.

    A file that is already loaded is not loaded again.

    Args:
        path: The file.

    Raises:
        PluginError: The file is missing, or importing it fails.
    """
    path = path.expanduser()
    if not path.is_file():  # asked first: a link that leads to itself cannot be resolved
        raise PluginError(f"--plugin {path}: there is no such file.")
    path = path.resolve()
    digest = sha256_of_text(path)[:12]
    module_name = f"{_FILE_MODULE}{path.stem}_{digest}"
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
