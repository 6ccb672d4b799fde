"""Tables in Parquet, with the paths of images or with the images in them."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from medbench.cli import main
from medbench.datasets.decode import read_slice
from medbench.datasets.detect import detect
from medbench.datasets.prepared import prepare
from medbench.datasets.readers import open_image
from medbench.datasets.sources.folder import FolderSource
from medbench.datasets.sources.table import TableSource
from medbench.errors import DatasetError, UndecidedError
from medbench.execution.firewall import closed_paths
from medbench.testing.image_files import picture_file
from medbench.testing.sources import SourceContract

PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def pixels(seed):
    return np.random.default_rng(seed).integers(0, 256, (20, 20), np.uint8)


def write(path, names=None, *, rows_a_group=3, **columns):
    """Write a table; ``names`` are those of the classes in the column ``label``."""
    table = pa.table(columns)
    if names is not None:
        label = {"_type": "ClassLabel", "names": names}
        if pa.types.is_list(table.schema.field("label").type):
            label = {"_type": "Sequence", "feature": label}
        said = {"info": {"features": {"image": {"_type": "Image"}, "label": label}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(said)})
    path.parent.mkdir(exist_ok=True)
    pq.write_table(table, path, row_group_size=rows_a_group)
    return path


def pictures(seeds, kind=PICTURE):
    """A column of pictures, each of its seed; None is an empty cell."""
    content = [None if seed is None else picture_file(pixels(seed)) for seed in seeds]
    if kind == PICTURE:
        content = [
            {"bytes": one, "path": f"{seed}.png"} for seed, one in zip(seeds, content, strict=True)
        ]
    return pa.array(content, kind)


def hub(folder):
    """A data set as hubs of data have them: files of a split, labels by number, names apart."""
    for name, seeds in (
        ("train-00000-of-00002", range(7)),
        ("train-00001-of-00002", range(7, 12)),
        ("test-00000-of-00001", range(12, 16)),
    ):
        labels = [seed % 2 for seed in seeds]
        patients = [f"p{seed // 2}" for seed in seeds]
        columns = {"image": pictures(seeds), "label": labels, "patient_id": patients}
        write(folder / f"{name}.parquet", ["healthy", "covid"], **columns)
    return folder


def seen(listing, row):
    content = listing.read(row)
    return read_slice(open_image(content, origin="x"), 1).pixels


def listed(path, **fields):
    return TableSource.model_validate({"path": str(path), "file": "image"} | fields).listing()


class TestImagesInTables(SourceContract):
    @pytest.fixture(autouse=True)
    def make(self, tmp_path):
        self.source = TableSource.model_validate(detect(hub(tmp_path / "data")))


def test_files_of_a_hub_are_one_set_with_its_split_and_the_names_of_its_classes(tmp_path):
    entry = detect(hub(tmp_path / "data"))
    assert entry == {
        "source": "table", "path": str(tmp_path / "data"), "file": "image", "label": "label",
        "group": "patient_id", "split": "split",
    }  # fmt: skip
    listing = TableSource.model_validate(entry).listing()
    assert listing.images_per_class() == {"healthy": 8, "covid": 8}
    assert listing.images_per_part() == {"train": 12, "test": 4}
    assert listing.n_groups() == 8
    assert listing.table["origin"][4] == "train-00000-of-00002.parquet/row 1"
    for row, seed in ((15, 11), (0, 12), (9, 5), (3, 15), (10, 6)):  # in no order
        assert np.array_equal(seen(listing, row), pixels(seed))


def test_a_set_in_tables_is_added_and_prepared_like_one_of_files(tmp_path, monkeypatch, capsys):
    hub(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    assert main(["datasets", "add", "hub", "data"]) == 0
    assert "official split by the names of the files" in capsys.readouterr().out
    entry = yaml.safe_load((tmp_path / "datasets.yaml").read_text())["hub"]
    source = TableSource.model_validate(entry).within(tmp_path)
    prepared = prepare("hub", source, cache=tmp_path / "cache", threads=2)
    assert prepared.images.shape == (16, 20, 20, 1)
    assert np.array_equal(prepared.images[4][..., 0], pixels(0))


def test_files_of_images_in_the_working_folder_are_closed_to_cells(tmp_path, monkeypatch):
    source = TableSource.model_validate(detect(hub(tmp_path / "data")))
    monkeypatch.chdir(tmp_path / "data")
    origins = source.listing().table["origin"]
    closed = closed_paths(tmp_path / "run", tmp_path / "cache", source.reads(), origins)
    assert {str(file) for file in (tmp_path / "data").iterdir()} <= set(closed)


def test_one_of_several_files_is_read_alone_and_it_is_said(tmp_path):
    file = hub(tmp_path / "data") / "train-00000-of-00002.parquet"
    listing = TableSource.model_validate(detect(file)).listing()
    assert len(listing.table) == 7
    assert "of the 2 files train-* that make a table 1 are read" in listing.notes


def test_a_plain_column_of_bytes_holds_images_too(tmp_path):
    columns = {"image": pictures(range(6), pa.binary()), "label": [*"aabbab"]}
    entry = detect(write(tmp_path / "x.parquet", **columns))
    assert (entry["file"], entry["label"]) == ("image", "label")
    listing = listed(entry["path"], where={"label": ("a", "b")})
    assert np.array_equal(seen(listing, 5), pixels(5))


def test_of_two_columns_of_files_a_person_chooses_where_names_do_not_tell(tmp_path):
    columns = {"ct": pictures(range(4)), "pet": pictures(range(4, 8)), "label": [*"abab"]}
    path = write(tmp_path / "x.parquet", **columns)
    with pytest.raises(UndecidedError, match="several columns hold files") as error:
        detect(path)
    assert error.value.field == "file" and [*error.value.choices] == ["ct", "pet"]
    assert np.array_equal(seen(listed(path, file="pet"), 0), pixels(4))


def test_paths_in_a_table_are_found_as_those_of_a_csv(class_folders):
    root = class_folders(per_class=2)
    names = [f"{label}/{i:02d}" for label in "ab" for i in range(2)]
    entry = detect(write(root / "x.parquet", image=names, label=[*"aabb"]))
    assert entry["file"] == "image"
    assert listed(entry["path"]).table["origin"].tolist() == [f"{name}.png" for name in names]
    # a hub's column of images whose bytes were never put in
    only_paths = pa.array([{"bytes": None, "path": f"{name}.png"} for name in names], PICTURE)
    entry = detect(write(root / "x.parquet", image=only_paths, label=[*"aabb"]))
    assert listed(entry["path"]).table["origin"].tolist() == [f"{name}.png" for name in names]


def test_groups_of_a_class_folder_may_stand_in_parquet(class_folders):
    root = class_folders(per_class=2)
    names = [f"{label}/{i:02d}.png" for label in "ab" for i in range(2)]
    path = write(root / "x.parquet", file=names, group=[1, 1, 2, 3])
    source = FolderSource.model_validate({"path": str(root), "groups": {"table": str(path)}})
    assert source.listing().table["group"].tolist() == ["1", "1", "2", "3"]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (pa.array([0, 1, 1, 0], pa.int8()), ["0", "1"]),
        (pa.array([1.0, 2.0, 1.0, 2.0]), ["1", "2"]),
        (pa.array([0.5, 1.0, 0.5, 1.0], pa.float32()), ["0.5", "1.0"]),
        (pa.array([True, False, True, False]), ["false", "true"]),
        (pa.array(["x ", "y", "x", "y"]).dictionary_encode(), ["x", "y"]),
        (pa.array([20, 21, 20, 21], pa.date32()), ["1970-01-21", "1970-01-22"]),
    ],
)
def test_labels_of_any_type_are_text_as_it_is_written(tmp_path, values, text):
    path = write(tmp_path / "x.parquet", image=pictures(range(4)), label=values)
    assert sorted(listed(path).classes) == text


def test_lists_of_classes_are_several_labels(tmp_path):
    labels = pa.array([[0], [0, 1], [], [2, 1]])
    path = write(tmp_path / "x.parquet", [*"abc"], image=pictures(range(4)), label=labels)
    entry = detect(path)
    assert (entry["task"], entry["separator"]) == ("multi-label", "|")
    listing = listed(path, task="multi-label", unlabelled="absent")
    assert listing.images_per_class() == {"a": 2, "b": 2, "c": 1}


def test_what_a_hub_calls_unlabelled_is_asked_about(tmp_path):
    columns = {"image": pictures(range(4)), "label": [0, 1, -1, 0]}
    path = write(tmp_path / "x.parquet", [*"ab"], **columns)
    with pytest.raises(UndecidedError, match="1 rows have no 'label'") as error:
        listed(path)
    assert error.value.field == "unlabelled"
    assert listed(path, unlabelled="skip").images_per_class() == {"a": 2, "b": 1}


def test_an_empty_cell_is_an_image_that_cannot_be_read(tmp_path):
    columns = {"image": pictures([0, 1, None, 3]), "label": [*"abab"]}
    listing = listed(write(tmp_path / "x.parquet", **columns))
    with pytest.raises(DatasetError, match=r"x\.parquet/row 3: the cell of the image is empty"):
        listing.read(2)
    assert np.array_equal(seen(listing, 3), pixels(3))


def test_a_number_without_a_name_is_refused(tmp_path):
    columns = {"image": pictures(range(3)), "label": [0, 1, 2]}
    path = write(tmp_path / "x.parquet", [*"ab"], **columns)
    with pytest.raises(DatasetError, match=r"'label' holds 2, and its metadata name .* 0 to 1"):
        listed(path)


def test_files_of_different_tables_are_refused(tmp_path):
    write(tmp_path / "d" / "a.parquet", image=pictures(range(2)), label=[*"ab"])
    write(tmp_path / "d" / "b.parquet", image=pictures(range(2)), grade=[*"ab"])
    with pytest.raises(DatasetError, match=r"b\.parquet: its columns \(grade, image\) are not"):
        detect(tmp_path / "d")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: b"", "cannot be read as a Parquet table"),
        (lambda content: content[:-9], "cannot be read as a Parquet table"),
        (lambda content: b"file,label\n1,2\n", "cannot be read as a Parquet table"),
    ],
)
def test_a_damaged_table_is_refused_by_name(tmp_path, damage, message):
    columns = {"image": pictures(range(2)), "label": [0, 1]}
    path = write(tmp_path / "x.parquet", [*"ab"], **columns)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DatasetError, match=rf"x\.parquet: .*{message}"):
        detect(path)


def test_metadata_that_may_name_classes_and_cannot_be_read_are_refused(tmp_path):
    table = pa.table({"image": pictures(range(2)), "label": [0, 1]})
    for said in ("{", '{"info": {"features": []}}', "[" * 100_000):
        pq.write_table(table.replace_schema_metadata({"huggingface": said}), tmp_path / "x.parquet")
        with pytest.raises(DatasetError, match=r"x\.parquet: what its metadata 'huggingface' say"):
            listed(tmp_path / "x.parquet")


def test_a_table_that_is_damaged_in_its_images_names_the_file(tmp_path):
    columns = {"image": pictures(range(4)), "label": [*"abab"]}
    path = write(tmp_path / "x.parquet", rows_a_group=4, **columns)
    content = bytearray(path.read_bytes())
    content[4:600] = bytes(596)
    path.write_bytes(content)
    listing = listed(path)
    with pytest.raises(DatasetError, match=r"x\.parquet"):
        listing.read(0)
