import numpy as np
import pytest
from PIL import Image

from medbench.datasets.prepared import describe, prepare
from medbench.datasets.sources.folder import FolderSource
from medbench.errors import DatasetError


def prepared(root, cache, **options):
    source = FolderSource(path=str(root), image_size=32)
    return prepare("mine", source, cache=cache, threads=2, **options)


def test_images_are_decoded_once_into_a_file(class_folders, tmp_path, monkeypatch):
    root = class_folders()
    data = prepared(root, tmp_path / "cache")
    assert data.images.shape == (16, 32, 32, 1)
    assert data.task.classes == ("a", "b")
    monkeypatch.setattr(
        "medbench.datasets.prepared.decode", lambda *a, **k: pytest.fail("decoded again")
    )
    again = prepared(root, tmp_path / "cache")
    assert again.fingerprint == data.fingerprint


def test_a_changed_image_changes_the_fingerprint(class_folders, tmp_path):
    root = class_folders()
    before = prepared(root, tmp_path / "cache").fingerprint
    Image.new("L", (24, 24), 7).save(root / "a" / "00.png")
    assert prepared(root, tmp_path / "cache").fingerprint != before


def test_a_renamed_image_does_not_change_the_fingerprint(class_folders, tmp_path):
    root = class_folders()
    before = prepared(root, tmp_path / "cache").fingerprint
    (root / "a" / "00.png").rename(root / "a" / "00-renamed.png")
    assert prepared(root, tmp_path / "cache").fingerprint == before


def test_identical_images_share_a_group(class_folders, tmp_path):
    root = class_folders()
    (root / "a" / "copy.png").write_bytes((root / "a" / "00.png").read_bytes())
    table = prepared(root, tmp_path / "cache").table.set_index("origin")
    assert table.loc["a/copy.png", "group"] == table.loc["a/00.png", "group"]
    assert table["group"].nunique() == 16


def test_all_unreadable_images_are_listed_and_can_be_left_out(class_folders, tmp_path):
    root = class_folders()
    (root / "a" / "00.png").write_bytes((root / "a" / "00.png").read_bytes()[:60])
    (root / "b" / "notes.txt").write_text("not an image")
    for _ in range(2):  # also when it is found prepared
        with pytest.raises(DatasetError) as error:
            prepared(root, tmp_path / "cache")
        assert "2 of 17 images cannot be read" in str(error.value)
        assert "a/00.png" in str(error.value) and "b/notes.txt" in str(error.value)
        assert "--skip-unreadable" in str(error.value)
    data = prepared(root, tmp_path / "cache", skip_unreadable=True)
    assert len(data.images) == len(data.table) == 15
    assert "2 unreadable images left out" in describe(data)["notes"]


def test_a_class_of_which_nothing_is_readable_is_named(class_folders, tmp_path):
    root = class_folders(per_class=2)
    for file in (root / "b").iterdir():
        file.write_text("x")
    with pytest.raises(DatasetError, match="no readable image of class 'b'"):
        prepared(root, tmp_path / "cache", skip_unreadable=True)


def test_colour_is_kept_where_it_is_there(class_folders, tmp_path):
    root = class_folders()
    rng = np.random.default_rng(0)
    for file in root.rglob("*.png"):
        Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(file)
    assert prepared(root, tmp_path / "cache").task.image_shape == (32, 32, 3)


def test_the_description_has_no_names_of_files_or_patients(class_folders, tmp_path):
    text = str(describe(prepared(class_folders(), tmp_path / "cache")))
    assert "00.png" not in text and str(tmp_path) not in text


@pytest.mark.real
def test_the_brain_mri_set_is_read_as_its_readme_says(real_data, tmp_path):
    from medbench.datasets.catalog import load_catalog

    source = load_catalog(data_dir=real_data).get("brain-mri")
    data = prepare("brain-mri", source, cache=tmp_path / "cache", threads=2)
    assert len(data.table) == 253
    assert data.table["label"].sum() == 155
    assert data.table["group"].nunique() == 209
    assert data.table["pixel_hash"].nunique() <= 228
    assert data.images.shape == (253, 128, 128, 1)


@pytest.mark.real
def test_chest_films_are_read_from_their_table_with_a_filter(real_data, tmp_path):
    from medbench.datasets.sources.table import TableSource

    source = TableSource(
        path=str(real_data / "covid-cxr" / "metadata.csv"),
        group="group_id",
        where={"source": "covid-chestxray-dataset", "label": ("covid19", "pneumonia")},
        image_size=64,
    )
    data = prepare("covid", source, cache=tmp_path / "cache", threads=2)
    assert data.table["label"].value_counts().to_dict() == {0: 194, 1: 68}
