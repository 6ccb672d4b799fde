"""Pretrained weights: where they come from, and a hash that says which ones they were."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medbench.atomic_files import place_file
from medbench.backbones import BACKBONES, FILE_PREFIX, PublishedWeights
from medbench.cache import cache_folder, say_unwritable, working_folder
from medbench.errors import ConfigurationError, MachineError, ModelError, unknown_name
from medbench.hashes import hash_of_file, sha256_of_json
from medbench.models.packaged_weights import PackageError, read_package, write_npz
from medbench.opening import WEIGHTS, open_regular
from medbench.web import DownloadError, download

_FORMATS = {".h5": ("HDF5", b"\x89HDF\r\n\x1a\n"), ".npz": ("NPZ", b"PK\x03\x04")}
"""What a weights file of each kind is called, and how it begins."""
NONE = "no pretrained weights"
"""The note where there are none."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A weights file that was found and hashed, or the statement that there is none."""

    path: Path | None
    """The file; None for random weights."""
    sha256: str | None
    """Its SHA-256, 64 hexadecimal digits; None for random weights."""
    note: str
    """What a reader of the leaderboard must know, for example ``"no pretrained weights"``."""
    settings: Mapping[str, Any] | None = None
    """How the network in a file of the user's own is fed and read, JSON-ready; None for one of the
    table, and where it is at work."""

    @property
    def key(self) -> str | None:
        """Changes with the file and its settings; None for random weights."""
        if self.sha256 is None or self.settings is None:
            return self.sha256
        return sha256_of_json([self.sha256, self.settings])


def check_weights_name(name: str) -> None:
    """Check what a family names as its weights.

    Raises:
        UnknownNameError: It is neither in the table nor the name of a file's family.
    """
    if name not in BACKBONES and not name.startswith(FILE_PREFIX):
        raise unknown_name("backbone with pretrained weights", name, BACKBONES)


def find_weights(
    name: str, weights_dir: Path | None, say: Callable[[str], None], *, download: bool = True
) -> Weights:
    """Find the pretrained weights of a backbone, or say why there are none.

    Looked for in this order: ``weights_dir`` (else the folder in ``MEDBENCH_WEIGHTS``), the
    user's cache, and Keras' own server or the package that brings them. Where all fail, the reason
    and the remedy are said and the answer is a ``Weights`` without a file: the run goes on with
    random weights and its leaderboard says so.

    Args:
        name: A name of ``medbench.backbones.BACKBONES``.
        weights_dir: Folder with weights files of the user; None for no such folder.
        say: Called with each line that the user should read.
        download: Whether anything may be fetched or written; where not, the note says what is
            missing.

    Returns:
        The weights, with ``note`` saying whether they are Keras' own ImageNet file.

    Raises:
        UnknownNameError: ``name`` is not in the table.
        ConfigurationError: ``weights_dir`` is not a folder, or the name is of a file's family.
        ModelError: A file in ``weights_dir`` cannot be read or is not HDF5 (or NPZ).
        MachineError: There is nowhere space for the file.
    """
    found = _find(name, weights_dir, say, download=download)
    return found if isinstance(found, Weights) else _without(name, found, say)


def find_either(
    name: str,
    other: str,
    weights_dir: Path | None,
    say: Callable[[str], None],
    *,
    download: bool = True,
) -> tuple[str, Weights]:
    """As ``find_weights``; where there are none, those of another backbone in its place.

    Args:
        name: The backbone that is wanted.
        other: The one that is taken where the weights of the first cannot be had and its own can.
        weights_dir: As of ``find_weights``.
        say: As of ``find_weights``.
        download: As of ``find_weights``; where not, the first one stays if it may yet be fetched.

    Returns:
        Name and weights of the backbone.

    Raises:
        As ``find_weights``.
    """
    found = _find(name, weights_dir, say, download=download)
    if isinstance(found, Weights) and found.path is not None:
        return name, found
    instead = _find(other, weights_dir, lambda text: None, download=download)
    if isinstance(found, Weights):
        if isinstance(instead, Weights):
            found = replace(found, note=f"{found.note}; if that fails, {other} runs in its place")
        return name, found
    if isinstance(instead, str):
        package = BACKBONES[other].weights.package
        remedy = f" Remedy: {package.install_command}" if package is not None else ""
        more = f" Nor could those of {other}, which would run in its place: {instead}{remedy}"
        return name, _without(name, found, say, more)
    say(f"Pretrained weights of {name} could not be had: {found} So {other} runs in its place.")
    return other, instead


def _without(name: str, reason: str, say: Callable[[str], None], more: str = "") -> Weights:
    """Say why a backbone has random weights, and what to do."""
    known = BACKBONES[name].weights
    if known.package is not None:
        remedy = known.package.install_command
    else:
        remedy = (
            f"put {known.file_name} (from {known.address}) into a folder and name that folder "
            "with --weights-dir or MEDBENCH_WEIGHTS."
        )
    say(
        f"Pretrained weights of {name} could not be had: {reason} Going on with random weights. "
        f"Remedy: {remedy}{more}"
    )
    return Weights(path=None, sha256=None, note=NONE)


def _find(
    name: str, weights_dir: Path | None, say: Callable[[str], None], *, download: bool
) -> Weights | str:
    """As ``find_weights``, or the reason why there are none, as a sentence."""
    check_weights_name(name)
    if name.startswith(FILE_PREFIX):
        stem = name.removeprefix(FILE_PREFIX)
        raise ConfigurationError(
            f"model {name!r}: learns on a backbone from a file of the user's own, which is not "
            f"given. Name it among the models as onnx:FOLDER/{stem}.onnx, its YAML file beside it."
        )
    known = BACKBONES[name].weights
    if weights_dir is None and os.environ.get("MEDBENCH_WEIGHTS"):
        weights_dir = Path(os.environ["MEDBENCH_WEIGHTS"])
    if weights_dir is not None:
        given = _from_folder(known, weights_dir.expanduser())
        if given is not None:
            return given
        say(
            f"{weights_dir}: no weights of {name} there (a file called like "
            f"{' or '.join(known.patterns)})."
        )
    path = cache_folder() / "weights" / known.file_name
    if not _is_published(known, path):
        if known.folder is None and known.package is None:
            return "no server offers them."
        if not download:
            return _to_be_had(known)
        path, reason = _obtain(known, path, say)
        if reason is not None:
            return reason
    note = "ImageNet" if known.md5 else "ImageNet (no published MD5)"
    return Weights(path=path, sha256=hash_of_file(path, "sha256"), note=note)


def _to_be_had(known: PublishedWeights) -> Weights | str:
    """What is said where nothing may be fetched or written; or why there is nothing to take."""
    how = f"{known.megabytes} MB to fetch"
    if known.package is not None:
        try:
            read_package(known.package)
        except PackageError as error:
            return f"{error}."
        how = f"a run takes them from the package {known.package.name}"
    return Weights(path=None, sha256=None, note=f"pretrained weights not here ({how})")


def _is_published(known: PublishedWeights, path: Path) -> bool:
    """Whether a file is what was published: by its sum, else by being whole."""
    import h5py

    try:
        if not path.is_file():
            return False
        if known.md5:
            return hash_of_file(path, "md5") in known.md5
        h5py.File(path, "r").close()  # knows its own length
    except OSError:
        return False
    return True


def _from_folder(known: PublishedWeights, folder: Path) -> Weights | None:
    """The backbone's file in a user's folder: Keras' own one if there, else the first by name."""
    if not folder.is_dir():
        raise ConfigurationError(
            f"--weights-dir {folder}: there is no such folder. Name a folder that holds "
            f"{known.file_name}, or leave the option away."
        )
    sums: dict[Path, str] = {}
    for path in sorted(folder.iterdir()):
        if not known.matches(path):
            continue
        format_name, magic = _FORMATS[path.suffix.lower()]
        try:
            with open_regular(path, WEIGHTS) as file:
                readable = file.read(len(magic)) == magic
            sums[path] = hash_of_file(path, "md5")
        except OSError as error:
            raise ModelError(
                f"{path}: the weights cannot be read ({error.strerror or error}). Make the file "
                "readable, or take it out of that folder."
            ) from error
        if not readable:
            raise ModelError(
                f"{path}: not an {format_name} file, so it cannot hold weights (a download that "
                f"broke off?). Replace it by {known.file_name} (from {known.address}) or take it "
                "out of that folder."
            )
    if not sums:
        return None
    official = [path for path, md5 in sums.items() if md5 in known.md5]
    path = (official or list(sums))[0]
    whose = "Keras'" if known.folder is not None else "the known"
    doubt = f"not {whose} ImageNet file" if known.md5 else "no published MD5"
    note = "ImageNet" if official else f"weights from {path.name}, {doubt}"
    return Weights(path=path, sha256=hash_of_file(path, "sha256"), note=note)


def is_whole(path: Path) -> bool:
    """Whether a file of the cache is the weights that its name says."""
    known = {backbone.weights.file_name: backbone.weights for backbone in BACKBONES.values()}
    return path.name in known and _is_published(known[path.name], path)


def _obtain(
    known: PublishedWeights, path: Path, say: Callable[[str], None]
) -> tuple[Path, str | None]:
    """Fetch Keras' file, or make it of its package, at ``path`` or beside an unwritable cache.

    Returns:
        Where it is, and None; or the reason why it is nowhere.

    Raises:
        MachineError: There is nowhere space for it.
    """
    if known.package is None:
        say(f"Downloading {known.file_name} ({known.megabytes} MB) into {path.parent}, once.")
    folder = working_folder(known.megabytes * 1_000_000, beside=path)
    fetched = folder / path.name
    try:
        if known.package is None:
            download(known.address, fetched)
        else:
            write_npz(known.package, fetched)
    except DownloadError as error:
        return path, f"the download failed ({error})."
    except PackageError as error:
        return path, f"{error}."
    except OSError as error:
        raise MachineError(
            f"{folder}: the {known.megabytes} MB of {known.file_name} cannot be written "
            f"({error.strerror or error}). Free space there, or name another folder with the "
            "environment variable MEDBENCH_CACHE."
        ) from error
    if not _is_published(known, fetched):
        fetched.unlink(missing_ok=True)
        is_not = "the one whose MD5 sum is known" if known.md5 else "a whole HDF5 file"
        return path, f"what came is not {is_not}."
    try:
        place_file(fetched, path)
    except OSError as error:
        say_unwritable(error, path)
        return fetched, None
    return path, None
