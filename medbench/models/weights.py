"""Pretrained weights: where they come from, and a hash that says which ones they were."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from medbench.cache import cache_folder
from medbench.errors import ConfigurationError, ModelError, unknown_name

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
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
    """The ImageNet file of one backbone, as Keras publishes it."""

    words: tuple[str, ...]
    """What the name of a user's file must contain to be taken for this backbone."""
    url: str
    """Where Keras publishes the file."""
    md5: str
    """The MD5 sum that Keras names for it."""
    megabytes: int
    """Its size, told before the download begins."""

    @property
    def file_name(self) -> str:
        """Name of the published file."""
        return self.url.rsplit("/", 1)[-1]

    def matches(self, path: Path) -> bool:
        """Whether a file's name says that it holds weights of this backbone."""
        name = path.name.lower()
        return name.endswith(".h5") and all(word in name for word in self.words)


_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"

KNOWN_WEIGHTS: Mapping[str, KnownWeights] = MappingProxyType(
    {
        "inception_v3": KnownWeights(
            words=("inception_v3", "notop"),
            url=f"{_KERAS}/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
            md5="bcbd6486424b2319ff4ef7d526e38f63",
            megabytes=88,
        ),
    }
)
"""The weights MedBench can find by name."""


def find_weights(name: str, weights_dir: Path | None, say: Callable[[str], None]) -> Weights:
    """Find the pretrained weights of a backbone, or say why there are none.

    Looked for in this order: ``weights_dir`` (else the folder in ``MEDBENCH_WEIGHTS``), the
    user's cache, and Keras' own server. Where all fail, the reason and the remedy are said and
    the answer is a ``Weights`` without a file: the run goes on with random weights and its
    leaderboard says so.

    Args:
        name: A name of ``KNOWN_WEIGHTS``.
        weights_dir: Folder with weights files of the user; None for no such folder.
        say: Called with each line that the user should read.

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
            f"{weights_dir}: no weights of {name} there (a file ending in .h5 whose name "
            f"contains {' and '.join(known.words)})."
        )
    path = cache_folder() / "weights" / known.file_name
    if not (path.is_file() and _digest(path, "md5") == known.md5):
        reason = _download(known, path, say)
        if reason is not None:
            say(
                f"Pretrained weights of {name} could not be had: {reason} Going on with random "
                f"weights. Remedy: put {known.file_name} (from {known.url}) into a folder and "
                "name that folder with --weights-dir or MEDBENCH_WEIGHTS."
            )
            return Weights(path=None, sha256=None, note="no pretrained weights")
    return Weights(path=path, sha256=_digest(path, "sha256"), note="ImageNet")


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
        try:
            with path.open("rb") as file:
                readable = file.read(len(_HDF5_MAGIC)) == _HDF5_MAGIC
            sums[path] = _digest(path, "md5")
        except OSError as error:
            raise ModelError(
                f"{path}: the weights cannot be read ({error.strerror or error}). Make the file "
                "readable, or take it out of that folder."
            ) from error
        if not readable:
            raise ModelError(
                f"{path}: not an HDF5 file, so it cannot hold weights of Keras (a download that "
                f"broke off?). Replace it by {known.url} or take it out of that folder."
            )
    if not sums:
        return None
    official = [path for path, md5 in sums.items() if md5 == known.md5]
    path = (official or list(sums))[0]
    note = "ImageNet" if official else f"weights from {path.name}, not Keras' ImageNet file"
    return Weights(path=path, sha256=_digest(path, "sha256"), note=note)


def _download(known: KnownWeights, path: Path, say: Callable[[str], None]) -> str | None:
    """Fetch Keras' file to ``path``; the reason why not, or None where it is there now."""
    import pooch

    say(f"Downloading {known.file_name} ({known.megabytes} MB) into {path.parent}, once.")
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)  # what it would tell was just said
    try:
        pooch.retrieve(
            known.url,
            known_hash=f"md5:{known.md5}",
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
    return None


def _digest(path: Path, algorithm: str) -> str:
    """Hexadecimal digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
