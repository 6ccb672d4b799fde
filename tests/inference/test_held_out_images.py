"""Held-out images are those of the run, with what the run left out left out again."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from medbench.datasets.catalog import load_catalog
from medbench.datasets.prepared import describe, prepare
from medbench.errors import StoreError
from medbench.inference.held_out import held_out_images


@pytest.fixture
def kept(class_folders, tmp_path):
    """The folder of a data set, its catalog, and the store of a run that is made when asked."""
    root = class_folders()
    catalog = load_catalog(folder=root)

    def run(**options):
        data = prepare("set", catalog.get("set"), cache=tmp_path / "cache", threads=1, **options)
        parts = pd.DataFrame({"r0f0": ["held-out"] * len(data.table)})
        return SimpleNamespace(
            folder="RUN",
            dataset_record=lambda name: describe(data),
            dataset_images=lambda name: parts,
        )

    return root, catalog, run


def test_a_run_that_left_unreadable_images_out_is_checked_without_them(kept):
    root, catalog, run = kept
    (root / "a" / "notes.png").write_text("no image")
    assert len(held_out_images(run(skip_unreadable=True), "set", catalog)) == 16


def test_images_of_the_run_that_cannot_be_read_now_are_told(kept):
    root, catalog, run = kept
    store = run()
    (root / "a" / "00.png").write_text("damaged")
    with pytest.raises(StoreError, match=r"a/00.png: not an image.*--data") as error:
        held_out_images(store, "set", catalog)
    assert "--skip-unreadable" not in str(error.value)


def test_other_images_than_those_of_the_run_are_refused(kept):
    root, catalog, run = kept
    store = run()
    (root / "a" / "00.png").unlink()
    with pytest.raises(StoreError, match="are not those of RUN"):
        held_out_images(store, "set", catalog)
