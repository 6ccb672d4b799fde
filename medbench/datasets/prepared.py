"""Prepared data sets: decoded once into a memory-mapped array beside a table of what it holds."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench.datasets.decode import Decoded, decode, is_coloured
from medbench.datasets.duplicates import joined_groups, near_pairs, patient_numbers
from medbench.datasets.listing import Listing
from medbench.datasets.sources.base import Source
from medbench.datasets.task import Task, label_columns, labels_in, membership
from medbench.errors import DatasetError

DECODE_VERSION = 2
"""Raised whenever the same files would be prepared differently."""
_CHANNEL_SAMPLE = 48
"""Images looked at to decide whether a set is in colour."""
_COLOURED_SHARE = 0.05
"""From this share of coloured images on, colour is kept."""
_STORED = np.empty(0, np.uint8)
"""Stands for pixels that are in the memory map."""
_LISTED = 20
"""Unreadable images named in an error; more are counted."""


@dataclass(frozen=True, kw_only=True)
class PreparedDataset:
    """A data set that is ready to be split."""

    name: str
    source: Source
    task: Task
    images: NDArray[np.uint8]
    """Memory map, uint8, shape (n_images, height, width, channels)."""
    table: pd.DataFrame
    """One row an image: origin, label (see ``Listing``), group (opaque number: patients joined with
    identical and near-identical images), patient (opaque number of the group that the data set
    names, -1 where it names none), split, width, height, mode, bytes, pixel_hash."""
    near_pairs: pd.DataFrame
    """Pairs of near-identical images; see ``medbench.datasets.duplicates.near_pairs``."""
    fingerprint: str
    """Hash of pixels, labels, groups, official split, classes and preparation."""
    unreadable: tuple[str, ...]
    """Messages on the images that were left out on request."""
    notes: tuple[str, ...] = ()
    """See ``Listing``."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels of all images; see ``LabelledBatch``."""
        return labels_in(self.table)


def prepare(
    name: str, source: Source, *, cache: Path, threads: int, skip_unreadable: bool = False
) -> PreparedDataset:
    """Decode a data set, or find it decoded.

    Args:
        name: Its name in the catalog.
        source: Where its images come from.
        cache: Folder of prepared data sets.
        threads: Number of decoding threads.
        skip_unreadable: Leave unreadable images out instead of failing.

    Raises:
        DatasetError: Files are missing or unreadable (all of them are listed).
    """
    listing = source.listing()
    recipe = {
        "decode": DECODE_VERSION,
        "signature": listing.signature,
        "rows": hashlib.sha256(listing.table.to_csv(index=False).encode()).hexdigest(),
        "classes": listing.classes,
        "size": source.image_size,
        "channels": source.channels,
    }
    key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:24]
    folder = cache / f"{name}-{key}"
    if _unreadable(folder) != ():  # not there, or to be tried again: it may have been mended
        shutil.rmtree(folder, ignore_errors=True)
        _write(listing, source, folder, threads)
    unreadable = _unreadable(folder) or ()
    if unreadable and not skip_unreadable:
        shown = "\n  ".join(unreadable[:_LISTED])
        more = f"\n  and {len(unreadable) - _LISTED} more" if len(unreadable) > _LISTED else ""
        raise DatasetError(
            f"data set {name!r}: {len(unreadable)} of {len(listing.table)} images cannot be "
            f"read:\n  {shown}{more}\nReplace or remove them, or give --skip-unreadable to go on "
            "without them."
        )
    images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
    table = pd.read_parquet(folder / "table.parquet")
    _check_classes_left(name, table, listing.classes)
    return PreparedDataset(
        name=name,
        source=source,
        task=Task(classes=listing.classes, image_shape=images.shape[1:], kind=listing.kind),
        images=images,
        table=table,
        near_pairs=pd.read_parquet(folder / "near_pairs.parquet"),
        fingerprint=_fingerprint(table, listing, images.shape),
        unreadable=unreadable,
        notes=listing.notes,
    )


def _unreadable(folder: Path) -> tuple[str, ...] | None:
    """What could not be read when a folder was prepared; None where there is no such folder."""
    path = folder / "prepared.json"
    return tuple(json.loads(path.read_text())["unreadable"]) if path.exists() else None


def _write(listing: Listing, source: Source, folder: Path, threads: int) -> None:
    """Decode everything into ``folder``, under a temporary name until it is whole."""
    size, n = source.image_size, len(listing.table)
    origins = listing.table["origin"].tolist()
    channels = _channels(listing, source, origins, threads)
    temporary = folder.with_name(f".{uuid.uuid4().hex}")
    temporary.mkdir(parents=True)
    # Take the space now: a memory map of a file with holes dies of a full disk without a word.
    free = shutil.disk_usage(temporary).free
    needed = n * size * size * channels
    if needed > free:
        temporary.rmdir()
        raise DatasetError(
            f"{folder.parent}: the prepared images need {needed / 1e6:,.0f} MB and "
            f"{free / 1e6:,.0f} MB are free. Free space there, or name another folder with the "
            "environment variable MEDBENCH_CACHE."
        )
    images = np.lib.format.open_memmap(
        temporary / "images.npy", mode="w+", dtype=np.uint8, shape=(n, size, size, channels)
    )

    def one(index: int) -> Decoded | str:
        try:
            decoded = decode(
                listing.read(index),
                size=size,
                channels=channels,
                origin=origins[index],
            )
        except DatasetError as error:
            return str(error)
        except OSError as error:
            return f"{origins[index]}: cannot be read ({error.strerror or error})."
        images[index] = decoded.pixels
        return replace(decoded, pixels=_STORED)  # else all of them would stay in memory

    try:
        with ThreadPoolExecutor(threads) as pool:
            results = list(pool.map(one, range(n)))
        unreadable = [result for result in results if isinstance(result, str)]
        read = [i for i, result in enumerate(results) if not isinstance(result, str)]
        decoded = [result for result in results if not isinstance(result, str)]
        if unreadable:
            kept = images[read]
            del images
            np.save(temporary / "images.npy", kept)
        else:
            images.flush()
            kept = images
        pixel_hashes = [d.pixel_hash for d in decoded]
        pairs = near_pairs(_stacked(decoded), pixel_hashes, kept, threads)
        table = _table(listing, read, decoded, pairs)
        pairs.to_parquet(temporary / "near_pairs.parquet", index=False)
        table.to_parquet(temporary / "table.parquet", index=False)
        (temporary / "prepared.json").write_text(json.dumps({"unreadable": unreadable}))
        try:
            temporary.replace(folder)
        except OSError:
            if not (folder / "prepared.json").exists():  # not merely a run beside us being faster
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _stacked(decoded: Sequence[Decoded]) -> NDArray[np.uint8]:
    """Perceptual hashes, uint8, shape (n_images, 32)."""
    return np.array([d.perceptual_hash for d in decoded], dtype=np.uint8).reshape(len(decoded), -1)


def _table(
    listing: Listing, read: Sequence[int], decoded: Sequence[Decoded], pairs: pd.DataFrame
) -> pd.DataFrame:
    table = listing.table.iloc[list(read)].reset_index(drop=True)
    names, hashes = table["group"].tolist(), [d.pixel_hash for d in decoded]
    return table.assign(
        group=joined_groups(names, hashes, pairs),
        patient=patient_numbers(names),
        width=np.array([d.width for d in decoded], dtype=np.int64),
        height=np.array([d.height for d in decoded], dtype=np.int64),
        mode=[d.mode for d in decoded],
        bytes=np.array([d.n_bytes for d in decoded], dtype=np.int64),
        pixel_hash=hashes,
    )


def _channels(
    listing: Listing, source: Source, origins: Sequence[str], threads: int
) -> Literal[1, 3]:
    """3 where the set is in colour, else 1."""
    if source.channels != "auto":
        return 3 if source.channels == "colour" else 1
    sample = np.unique(np.linspace(0, len(listing.table) - 1, _CHANNEL_SAMPLE).astype(int))

    def coloured(index: int) -> bool | None:
        try:
            decoded = decode(
                listing.read(index), size=source.image_size, channels=3, origin=origins[index]
            )
        except (DatasetError, OSError):
            return None  # reported with all others when everything is decoded
        return is_coloured(decoded.pixels)

    with ThreadPoolExecutor(threads) as pool:
        seen = [found for found in pool.map(coloured, sample.tolist()) if found is not None]
    return 3 if seen and np.mean(seen) > _COLOURED_SHARE else 1


def _check_classes_left(name: str, table: pd.DataFrame, classes: tuple[str, ...]) -> None:
    present = membership(labels_in(table), len(classes)).any(axis=0)
    if empty := [classes[k] for k in np.flatnonzero(~present)]:
        raise DatasetError(
            f"data set {name!r}: no readable image of class {', '.join(map(repr, empty))} is left."
        )


def _fingerprint(table: pd.DataFrame, listing: Listing, shape: tuple[int, ...]) -> str:
    about = f"{DECODE_VERSION} {shape} {listing.classes} {listing.kind}\n"
    digest = hashlib.sha256(about.encode())
    columns = ["pixel_hash", *label_columns(table.columns), "group", "split"]
    for row in table[columns].itertuples(index=False):
        digest.update(f"{row}\n".encode())
    return digest.hexdigest()


def describe(dataset: PreparedDataset) -> dict[str, object]:
    """What the run records of a data set; no file names, no patient names, no absolute paths."""
    source = dataset.source
    counts = membership(dataset.labels, len(dataset.task.classes)).sum(axis=0)
    return {
        "title": source.title or dataset.name,
        "source": source.source,
        "synthetic": type(source).synthetic,
        "task": dataset.task.kind,
        "classes": list(dataset.task.classes),
        "class_counts": counts.tolist(),
        "n_images": len(dataset.table),
        "n_groups": int(dataset.table["group"].nunique()),
        "image_shape": list(dataset.task.image_shape),
        "licence": source.licence,
        "redistributable": source.redistributable,
        "citation": source.citation,
        "homepage": source.homepage,
        "published": source.published,
        "collection": source.collection or dataset.name,
        "caution_above": None if type(source).synthetic else source.caution_above,
        "prevalence": source.prevalence,
        "official_file": type(source).official_file,
        "fingerprint": dataset.fingerprint,
        "notes": [
            *source.notes,
            *dataset.notes,
            *(
                [f"{len(dataset.unreadable)} unreadable images left out"]
                if dataset.unreadable
                else []
            ),
        ],
    }
