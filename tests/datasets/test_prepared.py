import dataclasses
import errno
import gc
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medbench.cache import cache_folder, folders
from medbench.datasets import decode_listing
from medbench.datasets import prepared as prepared_module
from medbench.datasets.prepared import describe, prepare
from medbench.datasets.sources.folder import FolderSource
from medbench.datasets.splits import outer_splits
from medbench.errors import CacheWarning, DatasetError, MachineError, UnreadableError
from medbench.testing.image_files import dicom_file, nifti_file


def prepared(root, cache, **options):
    source = FolderSource(path=str(root), image_size=32)
    return prepare("mine", source, cache=cache, threads=2, **options)


def test_images_are_decoded_once_into_a_file(class_folders, tmp_path, monkeypatch):
    root = class_folders()
    data = prepared(root, tmp_path / "cache")
    assert data.images.shape == (16, 32, 32, 1)
    assert data.task.classes == ("a", "b")
    with monkeypatch.context() as patch:
        patch.setattr(decode_listing, "open_image", lambda *a, **k: pytest.fail("opened again"))
        assert prepared(root, tmp_path / "cache").fingerprint == data.fingerprint


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
    (root / "b" / "notes.png").write_text("not an image")
    for _ in range(2):  # also when it is found prepared
        with pytest.raises(DatasetError) as error:
            prepared(root, tmp_path / "cache")
        assert "2 of 17 images cannot be read" in str(error.value)
        assert "a/00.png" in str(error.value) and "b/notes.png" in str(error.value)
        assert "--skip-unreadable" in error.value.options
    data = prepared(root, tmp_path / "cache", skip_unreadable=True)
    assert len(data.images) == len(data.table) == 15
    assert "2 unreadable images left out" in describe(data)["notes"]


def test_what_is_no_image_is_remembered_and_not_decoded_again(class_folders, tmp_path, monkeypatch):
    root = class_folders()
    (root / "b" / "notes.png").write_text("not an image")
    prepared(root, tmp_path / "cache", skip_unreadable=True)
    opened = []
    real = decode_listing.open_image

    def counted(content, *, origin):
        opened.append(origin)
        return real(content, origin=origin)

    monkeypatch.setattr(decode_listing, "open_image", counted)
    data = prepared(root, tmp_path / "cache", skip_unreadable=True)
    assert opened == [] and len(data.table) == 16
    with pytest.raises(UnreadableError, match="1 of 17 images cannot be read"):
        prepared(root, tmp_path / "cache")
    assert opened == []
    Image.new("L", (24, 24), 7).save(root / "b" / "notes.png")  # it is mended
    assert len(prepared(root, tmp_path / "cache").table) == 17


def test_a_file_that_can_be_read_now_is_taken_in(class_folders, tmp_path):
    root = class_folders()
    listing = FolderSource(path=str(root), image_size=32).listing()
    failing = {3}

    def read(row):
        if row in failing:
            raise PermissionError(13, "Permission denied")
        return listing.read(row)

    class Given(FolderSource):
        def list_images(self, found):
            return dataclasses.replace(listing, read=read)

    source = Given(path=str(root), image_size=32)
    how = {"cache": tmp_path / "cache", "threads": 2, "skip_unreadable": True}
    assert prepare("mine", source, **how).unreadable == (
        "a/03.png: cannot be read (Permission denied).",
    )
    failing.clear()
    data = prepare("mine", source, **how)
    assert data.unreadable == () and len(data.table) == 16


def test_another_decoder_is_a_reason_to_decode_again(class_folders, tmp_path, monkeypatch):
    root = class_folders()
    prepared(root, tmp_path / "cache")
    installed = {"pylibjpeg": "2.1"}
    monkeypatch.setattr(prepared_module, "distribution_versions", lambda names: installed)
    prepared(root, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("name", ["images.npy", "table.parquet", "near_pairs.parquet"])
@pytest.mark.parametrize("damage", ["overwritten", "gone"])
def test_a_damaged_set_is_found_and_made_again(class_folders, tmp_path, name, damage):
    root = class_folders()
    sound = prepared(root, tmp_path / "cache")
    expected = np.asarray(sound.images)
    (folder,) = (tmp_path / "cache").iterdir()
    file = folder / name
    if damage == "gone":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 255
        file.write_bytes(content)
    again = prepared(root, tmp_path / "cache")
    np.testing.assert_array_equal(np.asarray(again.images), expected)
    assert again.fingerprint == sound.fingerprint
    assert again.pixels_sha256 == sound.pixels_sha256


@pytest.fixture
def decoded(monkeypatch):
    """Origins of the images that are opened."""
    opened = []
    real = decode_listing.open_image

    def counted(content, *, origin):
        opened.append(origin)
        return real(content, origin=origin)

    monkeypatch.setattr(decode_listing, "open_image", counted)
    return opened


def moved(root):
    return root.rename(root.with_name("elsewhere"))


def copied(root):
    return Path(shutil.copytree(root, root.with_name("copy"), copy_function=shutil.copyfile))


def touched(root):
    for file in root.rglob("*.png"):
        os.utime(file, (1, 1))
    return root


@pytest.mark.parametrize("change", [moved, copied, touched], ids=lambda c: c.__name__)
@pytest.mark.parametrize("broken", [False, True])
def test_the_same_images_elsewhere_or_with_other_times_are_not_decoded_again(
    class_folders, tmp_path, decoded, change, broken
):
    root = class_folders()
    if broken:
        (root / "a" / "00.png").write_text("no image")
    how = {"cache": tmp_path / "cache", "threads": 2, "skip_unreadable": True}
    before = prepare("mine", FolderSource(path=str(root), image_size=32), **how)
    decoded.clear()
    source = FolderSource(path=str(change(root)), image_size=32)
    for _ in range(2):
        after = prepare("another name", source, **how)
        assert decoded == [] and after.entry.path == before.entry.path
        assert after.fingerprint == before.fingerprint and after.unreadable == before.unreadable


def test_files_that_stay_as_they_are_are_not_read(class_folders, tmp_path, monkeypatch):
    root = class_folders()
    prepared(root, tmp_path / "cache")

    def of_the_cache(path):
        assert not path.is_relative_to(root), path
        return path.open("rb").read()

    monkeypatch.setattr(Path, "read_bytes", of_the_cache)
    assert len(prepared(root, tmp_path / "cache").table) == 16


def test_other_content_of_the_same_size_and_time_is_noticed(class_folders, tmp_path):
    root = class_folders()
    before = prepared(root, tmp_path / "cache")
    one, other = root / "a" / "00.png", root / "a" / "01.png"
    times = [(file.stat().st_atime_ns, file.stat().st_mtime_ns) for file in (one, other)]
    size = max(one.stat().st_size, other.stat().st_size)
    for file in (one, other):  # what follows the end of a PNG is passed over
        file.write_bytes(file.read_bytes().ljust(size, b"\0"))
        os.utime(file, ns=times[0])
    before = prepared(root, tmp_path / "cache")
    content = one.read_bytes()
    one.write_bytes(other.read_bytes()), other.write_bytes(content)
    for file in (one, other):
        os.utime(file, ns=times[0])
    after = prepared(root, tmp_path / "cache")
    hashes = [data.table.set_index("origin")["pixel_hash"] for data in (before, after)]
    assert hashes[0]["a/00.png"] == hashes[1]["a/01.png"] != hashes[1]["a/00.png"]


def test_a_set_of_which_nothing_can_be_read_is_remembered_too(class_folders, tmp_path, decoded):
    root = class_folders(per_class=2)
    for file in root.rglob("*.png"):
        file.write_text("<html>404</html>")
    for opened in (4, 0):
        decoded.clear()
        with pytest.raises(UnreadableError, match="none of the 4 images can be read"):
            prepared(root, tmp_path / "cache")
        assert len(set(decoded)) == opened


@pytest.mark.parametrize("damage", ["a file", "files of another set"])
def test_what_lies_in_the_place_of_a_set_is_not_taken_for_it(class_folders, tmp_path, damage):
    root, other = class_folders(), class_folders(name="other", per_class=3)
    sound = prepared(root, tmp_path / "cache")
    folder, expected = sound.entry.path, sound.fingerprint
    away = prepared(other, tmp_path / "cache").entry.path
    del sound
    gc.collect()
    shutil.rmtree(folder)
    if damage == "a file":
        folder.write_text("what is this")
    else:
        away.rename(folder)
    assert prepared(root, tmp_path / "cache").fingerprint == expected


def test_where_the_cache_cannot_be_written_the_images_lie_in_the_temporary_folder(
    class_folders, tmp_path, monkeypatch, decoded
):
    root = class_folders()
    expected = prepared(root, tmp_path / "cache").fingerprint
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    folders._said.clear()
    with pytest.warns(CacheWarning, match="Not a directory") as said:
        data = prepared(root, cache_folder() / "prepared")
    assert data.fingerprint == expected and data.entry.path.is_relative_to(tmp_path / "tmp")
    decoded.clear()
    assert prepared(root, cache_folder() / "prepared").fingerprint == expected
    assert decoded == [] and len(said) == 1


def test_where_there_is_no_space_at_all_it_is_said_how_much_is_needed_where(
    class_folders, tmp_path, monkeypatch
):
    def full(descriptor, begin, n_bytes):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    with (
        pytest.warns(CacheWarning),
        pytest.raises(MachineError, match=r"tmp.*MB are needed and .* MB free.*MEDBENCH_CACHE"),
    ):
        prepared(class_folders(), tmp_path / "cache")
    assert not list((tmp_path / "tmp").rglob("*.npy")) + list(tmp_path.rglob("cache/*/*.npy"))


@pytest.mark.parametrize("skip", [False, True])
def test_where_nothing_can_be_read_the_reasons_are_told(class_folders, tmp_path, skip):
    root = class_folders(per_class=2)
    for file in root.rglob("*.png"):
        file.write_text("<html>404</html>")
    with pytest.raises(DatasetError, match="none of the 4 images can be read") as error:
        prepared(root, tmp_path / "cache", skip_unreadable=skip)
    assert "4 images (a/00.png, a/01.png, b/00.png, ...): not an image" in str(error.value)
    assert "--skip-unreadable" not in error.value.options


def test_a_class_of_which_nothing_is_readable_is_named(class_folders, tmp_path):
    root = class_folders(per_class=2)
    for file in (root / "b").iterdir():
        file.write_text("x")
    with pytest.raises(DatasetError, match="no image of class 'b' is left"):
        prepared(root, tmp_path / "cache", skip_unreadable=True)


def test_colour_is_kept_where_it_is_there(class_folders, tmp_path):
    root = class_folders()
    rng = np.random.default_rng(0)
    for file in root.rglob("*.png"):
        Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(file)
    assert prepared(root, tmp_path / "cache").task.image_shape == (32, 32, 3)


def test_each_image_is_opened_once_also_where_a_sample_decides_on_colour(
    class_folders, tmp_path, monkeypatch
):
    root = class_folders(per_class=30)
    opened = []
    real = decode_listing.open_image
    monkeypatch.setattr(
        decode_listing,
        "open_image",
        lambda content, *, origin: opened.append(origin) or real(content, origin=origin),
    )
    data = prepared(root, tmp_path / "cache")
    assert sorted(opened) == sorted(data.table["origin"])


@pytest.mark.parametrize("channels", ["grey", "colour"])
def test_what_the_sample_decided_is_what_an_entry_would_have_said(
    class_folders, tmp_path, channels
):
    root = class_folders()
    rng = np.random.default_rng(0)
    shape = (24, 24, 3) if channels == "colour" else (24, 24)
    for file in root.rglob("*.png"):
        Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(file)
    found = prepared(root, tmp_path / "cache")
    source = FolderSource(path=str(root), image_size=32, channels=channels)
    told = prepare("mine", source, cache=tmp_path / "told", threads=1)
    assert found.fingerprint == told.fingerprint and found.pixels_sha256 == told.pixels_sha256


def test_images_are_brought_to_the_shape_that_is_asked_for(class_folders, tmp_path):
    root = class_folders()
    assert prepared(root, tmp_path / "cache", image_shape=(20, 20, 3)).task.image_shape == (
        20,
        20,
        3,
    )
    assert prepared(root, tmp_path / "cache").task.image_shape == (32, 32, 1)


# --- DICOM and NIfTI -----------------------------------------------------------------------

FRAMES = np.random.default_rng(2).integers(0, 256, (12, 6, 24, 24), dtype=np.uint8)


@pytest.fixture
def scans(tmp_path):
    """Twelve clips of six frames in two class folders, of four patients with telling names."""
    root = tmp_path / "set"
    for i, frames in enumerate(FRAMES):
        path = root / ("covid" if i % 2 else "healthy") / f"clip-{i:02d}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dicom_file(frames, PatientID=f"SECRET-{i % 8}", PatientName="Roe^Jane"))
    return root


def test_dicom_in_class_folders_is_prepared_by_patient(scans, tmp_path):
    data = prepared(scans, tmp_path / "cache")
    assert data.images.shape == (12, 32, 32, 1)
    assert data.table["group"].nunique() == data.table["patient"].nunique() == 8
    assert set(data.table["slice"]) == {3} and set(data.table["mode"]) == {"MONOCHROME2"}
    plan = outer_splits(
        data.labels,
        data.table["group"].to_numpy(),
        data.table["split"].to_numpy(str),
        folds=2,
        repeats=1,
        seed=0,
        classes=("a", "b"),
    )
    for split in plan.splits:
        sides = [set(data.table["patient"].iloc[i]) for i in (split.development, split.held_out)]
        assert not sides[0] & sides[1]
    kept = [file for file in tmp_path.rglob("*") if file.is_file() and scans not in file.parents]
    kept += [file for file in cache_folder().rglob("*") if file.is_file()]
    for file in kept:
        assert b"SECRET" not in file.read_bytes() and b"Roe" not in file.read_bytes()
    assert "SECRET" not in repr(describe(data)) and "Roe" not in repr(data.table)


def test_several_slices_of_a_file_are_prepared_from_one_opening_and_stay_together(
    scans, tmp_path, monkeypatch
):
    for path in scans.rglob("*.dcm"):  # no patients, so that only the file holds them together
        number = int(path.stem.removeprefix("clip-"))
        path.write_bytes(dicom_file(FRAMES[number]))
    source = FolderSource(path=str(scans), image_size=24, slices=3, channels="grey")
    opened = []
    real = decode_listing.open_image
    monkeypatch.setattr(
        decode_listing,
        "open_image",
        lambda content, *, origin: opened.append(origin) or real(content, origin=origin),
    )
    data = prepare("clips", source, cache=tmp_path / "cache", threads=2)
    assert len(data.table) == 36 and len(opened) == 12
    assert data.table.groupby("origin")["group"].nunique().eq(1).all()
    assert data.table["group"].nunique() == 12 and (data.table["patient"] == -1).all()
    for row, (origin, number) in enumerate(
        zip(data.table["origin"], data.table["slice"], strict=True)
    ):
        frame = FRAMES[int(origin[-6:-4]), number - 1].astype(float)
        shown = np.rint((frame - frame.min()) / np.ptp(frame) * 255)
        np.testing.assert_array_equal(data.images[row][..., 0], shown)


def test_one_bad_slice_is_named_and_the_others_of_its_file_are_kept(tmp_path):
    voxels = np.random.default_rng(0).random((2, 24, 24, 9)).astype(np.float32)
    voxels[0, 3, 3, 4] = np.nan
    for name, volume in zip("ab", voxels, strict=True):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "v.nii").write_bytes(nifti_file(volume))
    source = FolderSource(path=str(tmp_path / "set"), image_size=24, slices=3)
    data = prepare("v", source, cache=tmp_path / "cache", threads=1, skip_unreadable=True)
    assert data.table["slice"].tolist() == [4, 6, 4, 5, 6]
    assert data.names[:2] == ["a/v.nii, slice 4", "a/v.nii, slice 6"]
    assert len(data.unreadable) == 1 and "a/v.nii" in data.unreadable[0]


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


@pytest.mark.real
def test_real_scans_in_class_folders_are_prepared_as_they_are(real_data, tmp_path):
    def prepared_from(path, **fields):
        source = FolderSource(path=str(real_data / path), image_size=24, channels="grey", **fields)
        return prepare("real", source, cache=tmp_path / "cache", threads=2)

    scans = prepared_from("dicom-brain-mr")
    assert len(scans.table) == 36 and scans.table["patient"].nunique() == 3
    assert scans.table.groupby("patient")["group"].nunique().eq(1).all()
    crops = prepared_from("nifti-hippocampus/crops", slices=3)
    assert len(crops.table) == 600 and set(crops.table["slice"]) == {11, 12, 13}
    assert crops.table.groupby("origin")["group"].nunique().eq(1).all()
