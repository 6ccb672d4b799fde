"""Prepared data sets: decoded once into a memory-mapped array beside a table of what it holds."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench.cache import adding_entry, is_sound, sums_of, working_folder
from medbench.datasets.decode import Decoded, decode, is_coloured
from medbench.datasets.duplicates import joined_groups, near_pairs, patient_numbers
from medbench.datasets.listing import Listing
from medbench.datasets.sources.base import Source
from medbench.datasets.stored_images import ImageFile, StoredImages, write_images
from medbench.datasets.task import Task, label_columns, labels_in, membership
from medbench.errors import DatasetError
from medbench.hashes import sha256_of_json
from medbench.versions import code_version

_FINGERPRINT = 2
"""Raised whenever a fingerprint is made of other things."""
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
    images: StoredImages
    """uint8, shape (n_images, height, width, channels); read when they are asked for."""
    table: pd.DataFrame
    """One row an image: origin, label (see ``Listing``), group (opaque number: patients joined with
    identical and near-identical images), patient (opaque number of the group that the data set
    names, -1 where it names none), split, width, height, mode, bytes, pixel_hash (of the full
    resolution) and key (of the prepared pixels, see ``image_key``)."""
    near_pairs: pd.DataFrame
    """Pairs of near-identical images; see ``medbench.datasets.duplicates.near_pairs``."""
    fingerprint: str
    """Hash of pixels at full resolution, labels, groups, official split, classes and shape."""
    pixels_sha256: str
    """Hash of the prepared pixels: what models see."""
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
        "code": code_version(__name__),
        "signature": listing.signature,
        "rows": hashlib.sha256(listing.table.to_csv(index=False).encode()).hexdigest(),
        "classes": listing.classes,
        "size": source.image_size,
        "channels": source.channels,
    }
    folder = cache / f"{name}-{sha256_of_json(recipe)[:24]}"
    if not is_sound(folder) or _unreadable(folder):  # what could not be read may be mended
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
    images = StoredImages(folder / "images.npy")
    table = pd.read_parquet(folder / "table.parquet")
    _check_classes_left(name, table, listing.classes)
    return PreparedDataset(
        name=name,
        source=source,
        task=Task(classes=listing.classes, image_shape=images.image_shape, kind=listing.kind),
        images=images,
        table=table,
        near_pairs=pd.read_parquet(folder / "near_pairs.parquet"),
        fingerprint=_fingerprint(table, listing, images.shape),
        pixels_sha256=sums_of(folder)["images.npy"],
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
    # Take the space now: a memory map of a file with holes dies of a full disk without a word.
    free = shutil.disk_usage(working_folder()).free
    needed = n * size * size * channels
    if needed > free:
        raise DatasetError(
            f"{folder.parent}: the prepared images need {needed / 1e6:,.0f} MB and "
            f"{free / 1e6:,.0f} MB are free. Free space there, or name another folder with the "
            "environment variable MEDBENCH_CACHE."
        )
    with adding_entry(folder) as entry:
        path = entry / "images.npy"
        with ImageFile(path, (n, size, size, channels)) as file:

            def one(index: int) -> Decoded | str:
                try:
                    content = listing.read(index)
                except OSError as error:
                    return f"{origins[index]}: cannot be read ({error.strerror or error})."
                except DatasetError as error:
                    return str(error)
                try:
                    decoded = decode(content, size=size, channels=channels, origin=origins[index])
                except DatasetError as error:
                    return str(error)
                file.put(index, decoded.pixels)
                return replace(decoded, pixels=_STORED)  # else all of them would stay in memory

            with ThreadPoolExecutor(threads) as pool:
                results = list(pool.map(one, range(n)))
        unreadable = [result for result in results if isinstance(result, str)]
        read = [i for i, result in enumerate(results) if not isinstance(result, str)]
        decoded = [result for result in results if not isinstance(result, str)]
        if unreadable:
            all_of_them = path.rename(entry / "all.npy")
            write_images(path, StoredImages(all_of_them).take(np.array(read, dtype=np.int64)))
            all_of_them.unlink()
        pixel_hashes = [d.pixel_hash for d in decoded]
        pairs = near_pairs(_stacked(decoded), pixel_hashes, StoredImages(path), threads)
        table = _table(listing, read, decoded, pairs)
        pairs.to_parquet(entry / "near_pairs.parquet", index=False)
        table.to_parquet(entry / "table.parquet", index=False)
        (entry / "prepared.json").write_text(json.dumps({"unreadable": unreadable}))


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
        key=[d.key for d in decoded],
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
    about = f"{_FINGERPRINT} {shape} {listing.classes} {listing.kind}\n"
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
