"""What packed files announce is looked at before anything is unpacked; limits are lowered here."""

import gzip
import io
import zipfile
import zlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from medbench import parquet
from medbench.atomic_files import read_npy, read_parquet, write_npy, write_parquet
from medbench.datasets.sources.archive import NpzArchive
from medbench.datasets.sources.npz import NpzSource
from medbench.errors import DatasetError, ModelError, StoreError
from medbench.features.out_of_distribution import OutOfDistribution
from medbench.models.persistence import load_sklearn, save_sklearn
from medbench.opening import FileLimit, RefusedFileError
from medbench.packed import open_zip

SMALL = FileLimit(name="a small file", n_bytes=10_000)
ZEROS = bytes(1_000_000)


def npy(shape, dtype="u1", data=b"", version=(1, 0)):
    """An ``.npy`` file that announces what it likes."""
    said = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    said = said.ljust(117) + b"\n"
    return b"\x93NUMPY" + bytes(version) + len(said).to_bytes(2, "little") + said + data


def zipped(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_deflation_is_unpacked_which_can_be_bounded(tmp_path, method):
    path = zipped(tmp_path / "x.zip", {"a": b"b"}, method)
    with (
        pytest.raises(RefusedFileError, match="another method than deflation"),
        open_zip(path, SMALL),
    ):
        pass


def test_an_archive_that_would_unpack_to_more_is_refused_unread(tmp_path, monkeypatch):
    path = zipped(tmp_path / "x.zip", {"a": ZEROS, "b": b"c"})
    assert path.stat().st_size < SMALL.most_bytes
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    with pytest.raises(RefusedFileError, match=r"would unpack to 1\.0 MB"), open_zip(path, SMALL):
        pass


def test_a_member_gives_no_more_than_it_announces(tmp_path):
    path = zipped(tmp_path / "x.zip", {"a": ZEROS})
    content = path.read_bytes().replace(len(ZEROS).to_bytes(4, "little"), (9).to_bytes(4, "little"))
    path.write_bytes(content)
    with open_zip(path, SMALL) as file, pytest.raises(zipfile.BadZipFile):
        assert len(file.read("a")) <= 9


@pytest.mark.parametrize(
    "member",
    [
        npy((10**9,)),
        npy((10**6, 10**6)),
        npy((10**12, 0)),
        npy((0, 10**12)),
        npy((10**12,), "<U0"),
        npy((-5,), data=b"12345"),
        npy((5,), data=b"1234"),
        npy((5,), data=b"123456"),
        npy((1,), "|O", b"12345678"),
        npy((1,), "<M8[ns]" * 3, b"1" * 8),
        npy("(" * 50),
        npy((5,), data=b"12345", version=(9, 9)),
        npy("'five'", data=b"12345"),
        b"\x93NUMPY",
        b"",
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b"(" * 20_000,
    ],
    ids=range(16),
)
def test_an_array_is_as_large_as_its_header_says_or_refused(tmp_path, member):
    path = zipped(tmp_path / "x.npz", {"train_images.npy": member})
    with pytest.raises(DatasetError, match="cannot be read as an npz archive of plain arrays"):
        NpzArchive(path)
    path = zipped(tmp_path / "out-of-distribution.npz", {"version.npy": member})
    with pytest.raises(StoreError, match="cannot be read"):
        OutOfDistribution.load(path)
    (tmp_path / "oof.npy").write_bytes(member)
    with pytest.raises(StoreError, match=r"oof\.npy: cannot be read"):
        read_npy(tmp_path / "oof.npy")


@pytest.mark.parametrize(
    "array", [np.zeros((3, 2)), np.zeros(0), np.zeros((0, 3)), np.array("a"), np.array(["a", ""])]
)
def test_arrays_of_all_shapes_are_read_as_they_were_written(tmp_path, array):
    write_npy(tmp_path / "x.npy", array)
    np.testing.assert_array_equal(read_npy(tmp_path / "x.npy"), array)
    np.savez_compressed(tmp_path / "x.npz", x=array)
    np.testing.assert_array_equal(NpzArchive(tmp_path / "x.npz").array("x"), array)


def test_labels_that_would_take_more_than_an_array_may_are_refused(tmp_path, monkeypatch):
    path = zipped(
        tmp_path / "x.npz",
        {
            "images.npy": npy((20_000, 1, 1), data=bytes(20_000)),
            "labels.npy": npy((20_000,), data=bytes(20_000)),
        },
    )
    monkeypatch.setenv("MEDBENCH_SIZE_FACTOR", "2.5e-6")  # an array of 10 kB, an archive of 250
    with pytest.raises(
        DatasetError, match=r"would unpack to 20\.1 kB, and an array may have 10\.0 kB"
    ):
        NpzSource(source="npz", path=str(path)).listing()


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (np.zeros((20, 2, 2), np.uint8), np.arange(20) % 2, r"20 images are above the limit of 10"),
        (np.zeros((4, 0, 2), np.uint8), np.arange(4) % 2, "images without pixels"),
        (np.zeros((4, 2, 2), np.uint8), np.array([0, 1, 2, 10**9]), "classes are above the limit"),
        (np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2000), np.uint8), "2,000 classes are above"),
    ],
)
def test_what_an_archive_announces_is_bounded(tmp_path, monkeypatch, images, labels, said):
    monkeypatch.setattr("medbench.counts.MOST_IMAGES", 10)
    np.savez(tmp_path / "x.npz", images=images, labels=labels)
    with pytest.raises(DatasetError, match=said):
        NpzSource(source="npz", path=str(tmp_path / "x.npz")).listing()


# --- models ---------------------------------------------------------------------------------------


def test_a_model_that_would_unpack_to_more_is_refused(tmp_path, monkeypatch):
    from sklearn.linear_model import LogisticRegression

    path = tmp_path / "model.skops"
    save_sklearn(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), path)
    assert load_sklearn(path).predict([[1.0]]).tolist() == [1]
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("more", ZEROS)
    monkeypatch.setenv("MEDBENCH_SIZE_FACTOR", "1e-4")  # 400 kB
    with pytest.raises(ModelError, match=r"model\.skops: .*would unpack to 1\.0 MB"):
        load_sklearn(path)


@pytest.mark.parametrize(
    "schema",
    ["", "{", "[" * 5000, "[]", "{}", '{"__class__": 5, "__module__": "numpy", "__loader__": "x"}'],
)
def test_a_model_whose_plan_is_damaged_is_an_error_that_names_it(tmp_path, schema):
    path = zipped(tmp_path / "model.skops", {"schema.json": schema})
    with pytest.raises(ModelError, match=r"model\.skops: not a model that MedBench wrote, or dam"):
        load_sklearn(path)


# --- Parquet --------------------------------------------------------------------------------------


@pytest.fixture
def lowered(monkeypatch):
    monkeypatch.setenv("MEDBENCH_SIZE_FACTOR", "5e-4")  # a table of 1 MB
    monkeypatch.setattr(parquet, "_MOST_ROWS", 100_000)


def test_a_table_is_read_as_it_was_written(tmp_path):
    frame = pd.DataFrame(
        {
            "origin": ["a", "ü", ""],
            "empty": [None, "x", None],
            "n": np.arange(3),
            "p": [0.5, np.nan, 1.0],
            "yes": [True, False, True],
            "nothing": [None, None, None],
        }
    )
    write_parquet(tmp_path / "x.parquet", frame)
    read = read_parquet(tmp_path / "x.parquet")
    pd.testing.assert_frame_equal(read, pd.read_parquet(tmp_path / "x.parquet"))


@pytest.mark.usefixtures("lowered")
@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"a": np.zeros(200_000, np.int8)}, "200,000 rows, above 100,000"),
        ({f"c{k}": np.zeros(90_000, np.int8) for k in range(3)}, "would unpack to 2.2 MB"),
        ({"a": pa.DictionaryArray.from_arrays(np.zeros(2_000, "i4"), ["x" * 1000])}, "to 2.0 MB"),
        ({"a": pa.array([["x"] * 5] * 3)}, "a column of list<"),
        ({"a": pa.array([b"x"] * 3)}, "a column of binary"),
        ({"a": pa.array([{"b": 1}] * 3)}, "a column of struct<"),
    ],
)  # fmt: skip
def test_a_table_that_would_take_more_memory_is_refused(tmp_path, table, said):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table(table), path, store_schema=False)
    assert path.stat().st_size < 100_000
    with pytest.raises(StoreError, match=rf"x\.parquet: cannot be read \(.*{said}"):
        read_parquet(path)


@pytest.mark.usefixtures("lowered")
def test_a_table_of_very_many_columns_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_MOST_COLUMNS", 10)
    pq.write_table(pa.table({f"c{k}": [0] for k in range(11)}), tmp_path / "x.parquet")
    with pytest.raises(StoreError, match="11 columns, above 10"):
        read_parquet(tmp_path / "x.parquet")


def test_two_columns_of_one_name_are_no_crash(tmp_path):
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["a", "a"])
    pq.write_table(table, tmp_path / "x.parquet")
    try:
        read_parquet(tmp_path / "x.parquet")
    except StoreError as error:
        assert "x.parquet" in str(error)


# --- images ---------------------------------------------------------------------------------------


def test_a_volume_that_cannot_be_in_its_file_is_refused_before_it_is_unpacked(monkeypatch):
    import nibabel

    from medbench.datasets.read_image import open_image

    header = nibabel.Nifti1Header()
    header.set_data_shape((1024, 1024, 512))
    header.set_data_dtype(np.uint8)
    content = gzip.compress(header.binaryblock + bytes(4) + bytes(10_000))
    opened = open_image(content, origin="x.nii.gz")
    monkeypatch.setattr(gzip.GzipFile, "read", None)
    with pytest.raises(DatasetError, match=r"x\.nii\.gz: the NIfTI file is truncated"):
        opened.pixels(0)


def test_text_in_a_png_that_unpacks_to_more_than_a_picture_needs_is_refused():
    from PIL import Image

    from medbench.datasets.read_image import open_image

    file = io.BytesIO()
    Image.new("L", (4, 4)).save(file, "PNG")
    content = file.getvalue()
    text = b"key\0\0" + zlib.compress(bytes(3_000_000))
    chunk = len(text).to_bytes(4, "big") + b"zTXt" + text
    chunk += zlib.crc32(chunk[4:]).to_bytes(4, "big")
    with pytest.raises(DatasetError, match=r"x\.png"):
        open_image(content[:33] + chunk + content[33:], origin="x.png").pixels(0)
