"""Numbers beyond which nothing is believed stand in the documentation as they are in the code."""

from pathlib import Path

import pytest

from medbench import counts, opening, parquet
from medbench.datasets import excel_files, yaml_document
from medbench.datasets.csv_files import read_csv
from medbench.datasets.listing import Listing
from medbench.datasets.sources.phantoms import PhantomSource
from medbench.errors import ConfigurationError, DatasetError
from medbench.execution.plan import Settings
from medbench.testing.image_files import dicom_file
from medbench.tuning.budget import Budget

PAGE = Path(__file__).parents[1] / "docs" / "formats.md"
ROWS = {
    "an image file": [(opening.IMAGE, "GB")],
    "a table": [
        (opening.TABLE, "MB"), (opening.ARCHIVE, "GB"), (excel_files.WORKBOOK, "MB"),
        counts.MOST_COLUMNS, counts.MOST_CELLS,
    ],
    "a YAML file": [
        (opening.SETTINGS, "MB"), yaml_document._DEEPEST, yaml_document._MOST_CHARACTERS,
    ],
    "an archive of images (npz)": [(opening.ARCHIVE, "GB"), (opening.ARRAY, "GB")],
    "a fitted model, or a file of weights": [(opening.MODEL, "GB")],
    "a record in JSON, or a table of a run (Parquet)": [
        (opening.RECORD, "MB"), (opening.PARQUET, "GB"), parquet._MOST_ROWS,
    ],
    "images and classes of a data set, slices of a file": [
        counts.MOST_IMAGES, counts.MOST_CLASSES, counts.MOST_SLICES,
    ],
    "`--folds`, `--seeds`, `--trials`, `--jobs`, `--time`": [
        counts.MOST_FOLDS, counts.MOST_SEEDS, counts.MOST_TRIALS, counts.MOST_CORES,
    ],
}  # fmt: skip


@pytest.mark.parametrize("what", ROWS)
def test_the_page_says_what_the_code_holds_to(what):
    page = PAGE.read_text(encoding="utf-8")
    (said,) = [line.split("|")[2] for line in page.splitlines() if line.startswith(f"| {what} |")]
    for limit in ROWS[what]:
        if isinstance(limit, tuple):
            of_file, unit = limit
            assert f"{of_file.n_bytes // {'MB': 10**6, 'GB': 10**9}[unit]} {unit}" in said
        else:
            assert f"{limit:,}" in said
    assert opening.WEIGHTS.n_bytes == opening.MODEL.n_bytes
    assert opening.FACTOR_VARIABLE in page


def test_a_phantom_data_set_of_absurd_size_is_refused_before_it_is_listed():
    with pytest.raises(ValueError, match=r"100,000,000 images .* above the limit of 10,000,000"):
        PhantomSource(patients=10_000, images_per_patient=10_000)
    for field in ("patients", "images_per_patient", "seed"):
        with pytest.raises(ValueError, match=field):
            PhantomSource(**{field: 10**12})


@pytest.mark.parametrize(
    "more",
    [{"folds": 10**9}, {"seeds": 0}, {"inner_folds": 1.5}, {"seed": -1}, {"seed": "1"}],
    ids=str,
)
def test_settings_of_no_run_are_refused_by_name(more):
    with pytest.raises(ConfigurationError, match=f"{next(iter(more))} must be a whole number from"):
        Settings(budget=Budget(trials=1, seconds=None), **more)


@pytest.mark.parametrize(
    "more", [{"trials": 10**9, "seconds": 1.0}, {"trials": 1, "seconds": 1e300}]
)
def test_a_budget_beyond_reason_is_refused(more):
    with pytest.raises(ConfigurationError, match="above the limits of 1,000,000 trials and a year"):
        Budget(**more)


def test_a_listing_of_very_many_classes_asks_whether_the_label_is_the_right_one():
    import pandas as pd

    classes = tuple(map(str, range(1001)))
    with pytest.raises(DatasetError, match="1,001 classes are above the limit of 1,000"):
        Listing(classes=classes, table=pd.DataFrame(), read=str, signature="")


@pytest.mark.parametrize("axis", ["columns", "cells", "line"])
def test_a_table_beyond_reason_is_refused_while_it_is_read(axis, tmp_path, monkeypatch):
    from medbench.datasets import csv_files

    path = tmp_path / "x.csv"
    path.write_text("file,label,a\n" + "1.png,x,y\n" * 20)
    assert len(read_csv(path)) == 20
    name = {"columns": "MOST_COLUMNS", "cells": "MOST_CELLS", "line": "_LONGEST_LINE"}[axis]
    monkeypatch.setattr(csv_files, name, 2 if axis == "columns" else 12)
    path.write_text(path.read_text() + ("z" * 50 + ",x,y\n" if axis == "line" else ""))
    said = {"columns": "names 3 columns", "cells": "over 12 cells", "line": r"line 1: has 13 char"}
    with pytest.raises(DatasetError, match=said[axis]):
        read_csv(path)


def test_a_file_that_announces_more_frames_than_any_has_is_refused():
    import numpy as np

    from medbench.datasets.readers import open_image

    content = dicom_file(np.zeros((8, 8), np.uint8), NumberOfFrames=2_000_000)
    with pytest.raises(DatasetError, match="2,000,000 frames are above the limit of 1,000,000"):
        open_image(content, origin="x.dcm")
