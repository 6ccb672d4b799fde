"""Columns of a table that are stored beside the labels: age, sex, site; never who somebody is."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medbench.cli import main
from medbench.datasets.prepared import prepare
from medbench.datasets.sources.table import TableSource
from medbench.errors import DatasetError

N = 24


@pytest.fixture
def table(tmp_path):
    """A table of pictures with what is given of each."""

    def write(**columns):
        for n in range(N):
            pixels = np.random.default_rng(n).integers(0, 256, (16, 16), np.uint8)
            pixels[4:8, 4:8] = 250 * (n % 2)
            Image.fromarray(pixels).save(tmp_path / f"{n}.png")
        rows = {"file": [f"{n}.png" for n in range(N)], "label": [*"ab"] * (N // 2)} | columns
        path = tmp_path / "t.csv"
        pd.DataFrame(rows).to_csv(path, index=False)
        return path

    return write


SEX, AGE = ["F", "M", "n/a"] * (N // 3), [30.5 + n % 20 for n in range(N)]


def test_what_is_kept_stands_beside_the_images_in_the_listing_and_when_prepared(table, tmp_path):
    path = table(Sex=SEX, age=AGE)
    source = TableSource(path=str(path), keep=("sex", "age"))
    kept = source.listing().kept
    assert list(kept) == ["Sex", "age"]
    assert kept["Sex"].tolist()[:4] == ["F", "M", "", "F"] and kept["age"][0] == "30.5"
    (tmp_path / "1.png").write_bytes(b"no picture")
    data = prepare("x", source, cache=tmp_path / "cache", threads=1, skip_unreadable=True)
    assert data.kept["Sex"].tolist() == ["F", *kept["Sex"][2:]]
    assert not {"Sex", "age"} & {*data.table}
    other = prepare("x", source.model_copy(update={"keep": ()}), cache=tmp_path / "cache",
                    threads=1, skip_unreadable=True)  # fmt: skip
    assert other.fingerprint == data.fingerprint and other.entry.path == data.entry.path


def test_what_is_kept_is_shown_as_counts_and_stored_in_the_run_and_no_model_sees_it(
    table, tmp_path, monkeypatch, capsys
):
    table(sex=SEX, age=AGE, patient_id=[f"p{n // 2}" for n in range(N)])
    monkeypatch.chdir(tmp_path)
    assert main(["datasets", "add", "films", "t.csv", "--keep", "sex"]) == 0
    assert "kept: sex: 'F' 8, 'M' 8, '' 8" in capsys.readouterr().out
    run = ["run", "--datasets", "films", "--models", "majority", "--folds", "2", "--out", "out"]
    assert main([*run, "--trials", "1", "--no-sanity"]) == 0
    images = pd.read_parquet("out/datasets/films/images.parquet")
    assert images["kept:sex"].tolist() == [sex.replace("n/a", "") for sex in SEX]
    text = (tmp_path / "datasets.yaml").read_text()
    (tmp_path / "datasets.yaml").write_text(text.replace("- sex", "- age"))
    assert main([*run, "--trials", "1", "--no-sanity"]) == 0  # another column is kept now
    images = pd.read_parquet("out/datasets/films/images.parquet")
    assert "kept:age" in images and "kept:sex" not in images


@pytest.mark.parametrize(
    ("column", "values", "why"),
    [
        ("PatientID", ["a", "b", "c"] * 8, "called as what tells people apart"),
        ("Patient name", ["a", "b", "c"] * 8, "called as what tells people apart"),
        ("surname", ["a", "b", "c"] * 8, "called as what tells people apart"),
        ("date of birth", ["a", "b", "c"] * 8, "called as what tells people apart"),
        ("taken", ["2020-01-31", "2020-02-01", ""] * 8, "holds dates"),
        ("taken", ["31.12.2020", "1.2.20", ""] * 8, "holds dates"),
        ("who", [f"A. B{n}" for n in range(N)], "24 different values in 24 rows"),
        ("code", [987_654 + n for n in range(N)], "24 different values in 24 rows"),
        ("code", [1 + n for n in range(N)], "another number in nearly every row"),
    ],
)
def test_what_may_say_who_somebody_is_is_never_kept(table, column, values, why):
    path = table(**{column: values})
    with pytest.raises(DatasetError, match=rf"t\.csv: column '{column}' cannot be kept .*{why}"):
        TableSource(path=str(path), keep=(column,)).listing()


def test_a_column_that_is_something_else_is_not_kept_and_one_that_is_not_there_named(table):
    path = table(sex=SEX)
    with pytest.raises(DatasetError, match="'label' is named as label and as keep"):
        TableSource(path=str(path), keep=("label",)).listing()
    with pytest.raises(DatasetError, match=r"no column 'site'.*where or keep"):
        TableSource(path=str(path), keep=("site",)).listing()


def test_rows_of_one_image_agree_in_what_is_kept(table):
    path = table(sex=SEX)
    text = path.read_text()
    path.write_text(text + "0.png,a,F\n")
    assert len(TableSource(path=str(path), keep=("sex",)).listing().kept) == N
    path.write_text(text + "0.png,a,M\n")
    with pytest.raises(DatasetError, match="1 files are named in rows with different 'sex'"):
        TableSource(path=str(path), keep=("sex",)).listing()
