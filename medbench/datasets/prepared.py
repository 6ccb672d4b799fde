"""Prepared data sets: decoded once into a file of images beside a table of what it holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench.cache import Entry, sums_of
from medbench.datasets.decode import Channels, Decoded
from medbench.datasets.decode_listing import ListedImages
from medbench.datasets.duplicates import joined_groups, near_pairs, patient_numbers
from medbench.datasets.listing import Listing
from medbench.datasets.progress_callback import ProgressCallback, no_progress
from medbench.datasets.readers import all_readers, decoders
from medbench.datasets.same_images import EntryPath
from medbench.datasets.sources.base import Source
from medbench.datasets.stored_images import ImageFile, StoredImages, write_images
from medbench.datasets.task import Task, label_columns, labels_in, membership
from medbench.datasets.volume_rule import VolumeRule
from medbench.errors import DatasetError, UnreadableError
from medbench.hashes import sha256_of_chunks, sha256_of_json, sha256_of_text
from medbench.versions import code_version, distribution_versions

_FINGERPRINT = 2
"""Raised whenever a fingerprint is made of other things."""
_CHANNELS: Mapping[str, Channels | None] = {"grey": 1, "colour": 3, "auto": None}
"""What an entry says of its channels; None where a sample of the images decides."""
_UNREADABLE = "unreadable.json"
_BYTES_OF_A_ROW = 512
"""Of the tables beside the images, generously."""


@dataclass(frozen=True, kw_only=True)
class PreparedDataset:
    """A data set that is ready to be split."""

    name: str
    """Its name in the catalog."""
    source: Source
    """Where its images come from."""
    task: Task
    """Its classes, and the shape of its prepared images."""
    images: StoredImages
    """uint8, shape (n_images, height, width, channels); read when they are asked for."""
    table: pd.DataFrame
    """One row an image: origin, slice and label (see ``Listing``), group (opaque number: patients
    and slices of one file joined with identical and near-identical images), patient (opaque number
    of the group that the data set names, -1 where it names none), split, shown (which slice or
    plane of its file it is, in words; see ``OpenedImage.called``), width, height, mode,
    bytes, pixel_hash (of the full resolution), key (of the prepared pixels, see ``image_key``),
    mask_like (bool, see ``medbench.datasets.mask_like``) and warnings (see
    ``OpenedImage.warnings``; "" where there are none)."""
    near_pairs: pd.DataFrame
    """Pairs of near-identical images; see ``medbench.datasets.duplicates.near_pairs``."""
    fingerprint: str
    """Hash of pixels at full resolution, labels, groups, official split, classes and shape."""
    pixels_sha256: str
    """Hash of the prepared pixels: what models see."""
    unreadable: tuple[str, ...]
    """Messages on the images that were left out on request."""
    volumes: VolumeRule | None = None
    """See ``Listing``."""
    notes: tuple[str, ...] = ()
    """See ``Listing``."""
    kept: pd.DataFrame = field(default_factory=pd.DataFrame)
    """What the entry keeps of each image, a row an image; see ``Listing``. No part of what is
    prepared, nor of the fingerprint."""
    header_fields: pd.DataFrame | None = None
    """See ``Listing``; a row for each of ``table``."""
    first_folders: frozenset[str] = frozenset()
    """See ``Listing``."""
    positive_decided: str = ""
    """See ``Listing``."""
    entry: Entry | None = None
    """Where it lies in the cache; held, so that nobody removes it meanwhile. None elsewhere."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class index of each image, int64, shape (n_images,).

        Of a multi-label task 0 or 1 for each class, shape (n_images, n_classes).
        """
        return labels_in(self.table)

    @property
    def names(self) -> list[str]:
        """What the owner of the images calls each: its file, and the slice where it has others."""
        several = self.table["origin"].duplicated(keep=False)
        rows = zip(self.table["origin"], self.table["shown"], several, strict=True)
        return [f"{name}, {shown}" if one_of else name for name, shown, one_of in rows]


def prepare(
    name: str,
    source: Source,
    *,
    cache: Path,
    threads: int,
    skip_unreadable: bool = False,
    image_shape: tuple[int, int, int] | None = None,
    positive_for: str = "",
    say: ProgressCallback = no_progress,
) -> PreparedDataset:
    """Decode a data set, or find it decoded.

    Args:
        name: Its name in the catalog.
        source: Where its images come from.
        cache: Folder in which prepared data sets are kept.
        threads: Number of decoding threads.
        skip_unreadable: Leave unreadable images out instead of failing.
        image_shape: Height, width (the same) and channels to which images are brought, as a model
            takes them; what the source's entry says where it is None.
        positive_for: What depends on the positive one of two classes; see ``Source.listing``.
        say: Shows how far a long step is, a line now and then.

    Returns:
        The prepared images, which are read when they are used, and a table beside them.

    Raises:
        UndecidedError: A person must say what something means.
        DatasetError: Files are missing.
        UnreadableError: Files cannot be read, and are not to be left out; or there is no image,
            none of a class or none of a part of the official split without them.
        MachineError: There is nowhere space for the images.
    """
    listing = source.listing(positive_for=positive_for)
    size, channels = (
        (source.side(listing), _CHANNELS[source.channels])
        if image_shape is None
        else (image_shape[0], _CHANNELS["grey" if image_shape[2] == 1 else "colour"])
    )

    def progress(text: str) -> None:
        say(f"{name}: {text}")

    recipe = sha256_of_json(
        {
            "code": code_version(__name__, type(source), *all_readers()),
            "decoders": distribution_versions(decoders()),
            "rows": sha256_of_text(listing.table.to_csv(index=False)),
            "classes": listing.classes,
            "volumes": listing.volumes and listing.volumes.model_dump(),
            "size": size,
            "channels": channels,
        }
    )
    with ThreadPoolExecutor(threads) as pool:
        images = ListedImages(listing, size, pool, progress)
        entry_path = EntryPath(cache, recipe, listing.signature)
        entry = entry_path.find(images)
        if entry is None or images.any_file_to_be_had(_not_had(entry.path)):
            how = (listing, images, size, channels, threads, progress)
            entry = entry_path.make(
                name,
                images,
                lambda folder: _write(folder, *how),
                needed=_needed(listing, size, channels),
            )
    folder = entry.path
    unreadable = {row: why for row, (why, _) in _unreadable(folder).items()}
    lost = "image" if len(unreadable) == len(listing.table) else _lost(listing, list(unreadable))
    if unreadable and (lost or not skip_unreadable):
        raise UnreadableError(name, list(unreadable.values()), len(listing.table), lost=lost)
    if lost:
        raise DatasetError(f"data set {name!r}: no {lost} is there. Add some, or leave it out.")
    stored = StoredImages(folder / "images.npy")
    fields = listing.header_fields
    table = pd.read_parquet(folder / "table.parquet")
    return PreparedDataset(
        name=name,
        source=source,
        task=Task(
            classes=listing.classes, image_shape=stored.image_shape, task_type=listing.task_type
        ),
        images=stored,
        table=table,
        near_pairs=pd.read_parquet(folder / "near_pairs.parquet"),
        fingerprint=_fingerprint(table, listing, stored.shape),
        pixels_sha256=sums_of(folder)["images.npy"],
        unreadable=tuple(unreadable.values()),
        volumes=listing.volumes,
        notes=listing.notes,
        kept=_without(listing.kept, list(unreadable)),
        header_fields=None if fields is None else fields.drop(index=[*unreadable]),
        first_folders=listing.first_folders,
        positive_decided=listing.positive_decided,
        entry=entry,
    )


def _without(kept: pd.DataFrame, unreadable: Sequence[int]) -> pd.DataFrame:
    """What is kept of the images that could be read."""
    if kept.columns.empty:
        return pd.DataFrame()
    return kept.drop(index=kept.index[list(unreadable)]).reset_index(drop=True)


def _unreadable(folder: Path) -> dict[int, tuple[str, bool]]:
    """Why images could not be read when a folder was prepared, by their rows in the listing.

    With each whether the content of its file was read: nothing else will come of it as long as
    it is the same.
    """
    known: dict[str, list[Any]] = json.loads((folder / _UNREADABLE).read_text())
    return {int(row): (str(why), bool(had)) for row, (why, had) in known.items()}


def _not_had(folder: Path) -> list[int]:
    """Rows whose file could not even be read when a folder was prepared."""
    return [row for row, (_, had) in _unreadable(folder).items() if not had]


def _needed(listing: Listing, size: int, channels: Channels | None) -> int:
    """About how many bytes a prepared data set has."""
    return len(listing.table) * (size * size * (channels or 1) + _BYTES_OF_A_ROW)


def _write(
    folder: Path,
    listing: Listing,
    images: ListedImages,
    size: int,
    channels: Channels | None,
    threads: int,
    say: ProgressCallback,
) -> None:
    """Decode everything into a folder; where no image can be read only that is written."""
    channels = channels or images.channels()
    path = folder / "images.npy"
    with ImageFile(path, (len(listing.table), size, size, channels)) as file:
        results = images.write(file, channels)
    unreadable = {i: result for i, result in enumerate(results) if isinstance(result, str)}
    told = {row: (why, images.had(row)) for row, why in unreadable.items()}
    (folder / _UNREADABLE).write_text(json.dumps(told))
    read = [i for i in range(len(results)) if i not in unreadable]
    if not read:
        path.unlink()
        return
    decoded = [result for result in results if not isinstance(result, str)]
    if unreadable:
        all_of_them = path.rename(folder / "all.npy")
        write_images(path, StoredImages(all_of_them).take(np.array(read, dtype=np.int64)))
        all_of_them.unlink()
    pixel_hashes = [d.pixel_hash for d in decoded]
    pairs = near_pairs(_stacked(decoded), pixel_hashes, StoredImages(path), threads, say)
    pairs.to_parquet(folder / "near_pairs.parquet", index=False)
    _table(listing, read, decoded, pairs).to_parquet(folder / "table.parquet", index=False)


def _stacked(decoded: Sequence[Decoded]) -> NDArray[np.uint8]:
    """Perceptual hashes, uint8, shape (n_images, 32)."""
    return np.array([d.perceptual_hash for d in decoded], dtype=np.uint8).reshape(len(decoded), -1)


def _table(
    listing: Listing, read: Sequence[int], decoded: Sequence[Decoded], pairs: pd.DataFrame
) -> pd.DataFrame:
    table = listing.table.iloc[list(read)].reset_index(drop=True)
    names, hashes = table["group"].tolist(), [d.pixel_hash for d in decoded]
    return table.assign(
        group=joined_groups(names, hashes, pairs, files=table["origin"].tolist()),
        patient=patient_numbers(names),
        shown=[d.shown for d in decoded],
        width=np.array([d.width for d in decoded], dtype=np.int64),
        height=np.array([d.height for d in decoded], dtype=np.int64),
        mode=[d.mode for d in decoded],
        bytes=np.array([d.n_bytes for d in decoded], dtype=np.int64),
        pixel_hash=hashes,
        key=[d.key for d in decoded],
        mask_like=np.array([d.mask_like for d in decoded], dtype=bool),
        warnings=["; ".join(d.warnings) for d in decoded],
    )


def _lost(listing: Listing, unreadable: Sequence[int]) -> str:
    """Of what no image is left without those in these rows; see ``UnreadableError``."""
    left = listing.table.drop(index=list(unreadable))
    shown = membership(labels_in(left), len(listing.classes)).any(axis=0)
    if classes := [repr(listing.classes[k]) for k in np.flatnonzero(~shown)]:
        return f"image of class {', '.join(classes)}"
    parts = sorted({*listing.table["split"]} - {*left["split"]})
    return f"image of the official {' or '.join(parts)} part" if parts else ""


def _fingerprint(table: pd.DataFrame, listing: Listing, shape: tuple[int, ...]) -> str:
    columns = ["pixel_hash", *label_columns(table.columns), "group", "split"]
    lines = [
        f"{_FINGERPRINT} {shape} {listing.classes} {listing.task_type}",
        *table[columns].itertuples(index=False),
    ]
    return sha256_of_chunks(f"{line}\n".encode() for line in lines)


def describe(dataset: PreparedDataset) -> dict[str, object]:
    """What the run records of a data set; no file names, no patient names, no absolute paths."""
    source = dataset.source
    counts = membership(dataset.labels, len(dataset.task.classes)).sum(axis=0)
    return {
        "title": source.title or dataset.name,
        "source": source.source,
        "synthetic": type(source).synthetic,
        "task": dataset.task.task_type,
        "classes": list(dataset.task.classes),
        "class_counts": counts.tolist(),
        "positive": dataset.task.positive or None,
        "positive_decided": dataset.positive_decided or None,
        "n_images": len(dataset.table),
        "n_unreadable": len(dataset.unreadable),
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
        "volumes": dataset.volumes and dataset.volumes.model_dump(),
        "official_file": type(source).official_file,
        "place": source.place_name() or None,
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
