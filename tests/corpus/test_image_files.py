"""What is an image and what is not: one rule in every verb, told by names and in the end by pixels.

Layouts are those of public sets and of what operating systems, notebooks and disks leave behind.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medbench import cache
from medbench.cli import main
from medbench.datasets.audit import audit
from medbench.datasets.mask_like import is_mask_like
from medbench.datasets.prepared import prepare
from medbench.datasets.sources.folder import FolderSource
from medbench.datasets.task import Task
from medbench.errors import ConfigurationError, DatasetError
from medbench.inference import exported
from medbench.inference.find_files import find_files
from medbench.inference.images import new_image
from medbench.store.layout import RunLayout
from medbench.testing.image_files import dicom_file, picture_file

CLASSES = ("benign", "malignant")


def film(seed: int, size: int = 40) -> np.ndarray:
    """A smooth random picture with noise."""
    rng = np.random.default_rng(seed)
    low = Image.fromarray(rng.integers(0, 256, (5, 5), dtype=np.uint8))
    smooth = np.asarray(low.resize((size, size), Image.Resampling.BICUBIC), np.float64)
    return np.clip(smooth * 0.8 + rng.normal(20, 5, smooth.shape), 0, 255).astype(np.uint8)


def mask(seed: int, size: int = 40, value: int = 255) -> np.ndarray:
    pixels = np.zeros((size, size), np.uint8)
    pixels[4 + seed % 7 : 25, 3 : 20 + seed % 9] = value
    return pixels


@pytest.fixture
def root(tmp_path):
    """Two class folders of four pictures each."""
    folder = tmp_path / "set"
    for k, name in enumerate(CLASSES):
        for i in range(4):
            save(folder / name / f"{name} ({i}).png", film(10 * k + i))
    return folder


def save(path, pixels: np.ndarray, **how) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **how)


def listed(folder, **fields) -> tuple[list[str], str]:
    """Names of the images, and the note on what is left out."""
    listing = FolderSource(path=str(folder), **fields).listing()
    notes = [note for note in listing.notes if note.startswith("left out")]
    return listing.table["origin"].tolist(), notes[0] if notes else ""


def found_by_predict(folder) -> tuple[list[str], str]:
    """The same for what ``predict`` makes of a folder."""
    said: list[str] = []
    names = find_files([str(folder)], io.StringIO(), said.append)
    return [os.path.relpath(name, folder) for name in names], "".join(said)


# --- what systems and people leave behind --------------------------------------------------------

CLUTTER = {
    ".DS_Store": "hidden", "._0.png": "hidden", ".ipynb_checkpoints/0-checkpoint.png": "hidden",
    ".thumbnails/0.png": "hidden", "__MACOSX/._a.png": "operating", "Thumbs.db": "operating",
    "thumbs.db": "operating", "ehthumbs.db": "operating", "Desktop.ini": "operating",
    "@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg": "operating", "thumbs/0.png": "thumbnail",
    "benign (0)-checkpoint.png": "checkpoint", "benign (0)_thumb.jpg": "thumbnail",
    "README": "note", "0.txt": "note", "boxes.xml": "note", "meta.json": "note", "a.csv": "note",
    "b.xlsx": "note", "c.pdf": "note", "d.md": "note", "DICOMDIR": "note", "LICENSE": "note",
    "0.png:Zone.Identifier": "operating",
}  # fmt: skip


@pytest.mark.parametrize("name", CLUTTER)
def test_what_is_left_behind_is_left_out_and_counted_in_every_verb(root, name):
    before = listed(root)[0]
    save(root / "benign" / f"{name}.png", film(99))
    (root / "benign" / f"{name}.png").rename(root / "benign" / name)
    for names, said in (listed(root), found_by_predict(root)):
        assert names == before
        assert "left out: 1 " in said and CLUTTER[name] in said


def test_what_may_be_an_image_is_opened_whatever_it_is_called(root):
    names = ("1.2.840.113619.2", "IM0001", "SCAN.PNG", "x.ima", "case.1.dcm", "benign (0)_2.png")
    for i, name in enumerate(names):
        pixels = film(50 + i)
        content = picture_file(pixels) if name.lower().endswith("png") else dicom_file(pixels)
        (root / "benign" / name).write_bytes(content)
    for found, said in (listed(root), found_by_predict(root)):
        assert {f"benign/{name}" for name in names} <= set(found) and said == ""
    data = prepared(root)
    assert len(data.table) == 8 + len(names)


def test_a_folder_of_clutter_alone_says_what_it_is(root, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("x")
    with pytest.raises(ConfigurationError, match=r"no image was found.*1 note or other file"):
        found_by_predict(tmp_path / "notes")
    (root / "docs").mkdir()
    (root / "docs" / "read.pdf").write_bytes(b"%PDF")
    assert "docs/" in "".join(FolderSource(path=str(root)).listing().notes)


@pytest.mark.skipif(os.name != "posix", reason="names are text here")
def test_a_name_in_another_encoding_is_read_and_its_bytes_are_escapes(root):
    before = listed(root)[0]
    name = os.fsencode(root / "benign") + b"/caf\xe9.png"
    with open(name, "wb") as file:  # noqa: PTH123
        file.write(picture_file(film(5)))
    assert set(listed(root)[0]) - set(before) == {r"benign/caf\xe9.png"}
    found = {os.fsencode(place) for place in find_files([str(root)], io.StringIO())}
    assert name in found and len(found) == len(before) + 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_is_never_opened(root):
    before = listed(root)[0]
    os.mkfifo(root / "benign" / "pipe.png")
    assert listed(root)[0] == found_by_predict(root)[0] == before


def test_folders_within_folders_without_end_are_no_crash(root):
    deep = [str(root / "benign")]
    for _ in range(1100):
        deep.append(f"{deep[-1]}/d")
        os.mkdir(deep[-1])  # noqa: PTH102  a path of that many parts is slow
    image = Path(deep[-1]) / "x.png"
    image.write_bytes(picture_file(film(77)))
    try:
        assert len(listed(root)[0]) == 9
    finally:  # pytest itself could not remove them
        image.unlink()
        for folder in deep[:0:-1]:
            os.rmdir(folder)  # noqa: PTH106


# --- masks by their names ------------------------------------------------------------------------

MASK_NAMES = (
    "{}_mask.png", "{}_mask_1.png", "{}_Mask.tif", "{}-label.png", "{}.seg.png", "{} gt.bmp",
    "{}_GroundTruth.png", "{}_segmentation.png", "{}_annotated.jpg", "{}_roi (2).png",
    "mask_{}.png", "{}_seg_2_mask.png", "{}_overlay.png", "{}_lung_mask.png", "{}-tumour-seg.png",
    "{}_mask_left.png",
)  # fmt: skip


@pytest.mark.parametrize("name", MASK_NAMES)
def test_files_named_as_another_and_a_mask_are_left_out_and_counted(root, name):
    before = listed(root)[0]
    for label in CLASSES:
        for i in range(2):
            save(root / label / name.format(f"{label} ({i})"), mask(i))
    for names, said in (listed(root), found_by_predict(root)):
        assert names == before and "left out: 4 masks" in said


@pytest.mark.parametrize(
    "folder",
    ["masks", "Mask", "labels", "annotations", "Segmentation", "lung masks", "GroundTruth", "gt"],
)
def test_folders_of_masks_are_left_out_wherever_they_lie(root, folder):
    before = listed(root)[0]
    for label in CLASSES:
        save(root / label / folder / f"{label} (0).png", mask(1))
        save(root / folder / label / "more" / f"{label} (1).png", mask(1))
    for names, said in (listed(root), found_by_predict(root)):
        assert names == before and "left out: 4 masks" in said


def test_images_and_masks_in_every_class_leave_the_classes(tmp_path):
    for k, label in enumerate(("COVID", "Normal", "Viral Pneumonia")):
        for i in range(3):
            save(tmp_path / label / "images" / f"{label}-{i}.png", film(9 * k + i))
            save(tmp_path / label / "masks" / f"{label}-{i}.png", mask(i))
        (tmp_path / f"{label}.metadata.xlsx").write_bytes(b"PK")
    listing = FolderSource(path=str(tmp_path)).listing()
    assert listing.classes == ("COVID", "Normal", "Viral Pneumonia")
    assert len(listing.table) == 9 and listing.table["origin"].str.contains("/images/").all()
    assert "left out: 9 masks or the like, 3 notes or other files (.xlsx)" in listing.notes[0]


def test_a_folder_of_masks_beside_that_of_a_class_is_no_class(root):
    for label in CLASSES:
        save(root / f"{label}_mask" / f"{label} (0).png", mask(1))
    assert FolderSource(path=str(root)).listing().classes == CLASSES


def test_a_mask_beside_several_channels_of_one_scan_is_left_out(root):
    for part in ("flair", "t1", "seg"):
        save(root / "benign" / f"BraTS_001_{part}.png", film(3))
    names, said = listed(root)
    assert len(names) == 10 and "left out: 1 mask" in said


def test_a_prefix_in_place_of_another_tells_a_mask_too(root):
    for i in range(3):
        save(root / "benign" / f"bus_{i:04d}-l.png", film(i))
        save(root / "benign" / f"mask_{i:04d}-l.png", mask(i))
    names, said = listed(root)
    assert len(names) == 11 and "left out: 3 masks" in said


def test_pairs_of_an_unknown_kind_are_said(root):
    for label in CLASSES:
        for i in range(4):
            save(root / label / f"{label} ({i})_crop.png", film(70 + i))
    notes = FolderSource(path=str(root)).listing().notes
    assert any("8 images are called as another one and '_crop'" in note for note in notes)
    listing = FolderSource(path=str(root), exclude=("*_crop.*",)).listing()
    assert len(listing.table) == 8 and listing.notes == ("left out: 8 excluded files",)


def test_people_with_and_without_masks_are_classes(tmp_path):
    for label in ("with_mask", "without_mask"):
        for i in range(3):
            save(tmp_path / label / f"{label}_{i}.png", film(i))
            save(tmp_path / label / f"{i}_{label}.png", film(i + 9))
            save(tmp_path / label / f"{i}.png", film(i + 20))
    listing = FolderSource(path=str(tmp_path)).listing()
    assert listing.classes == ("without_mask", "with_mask") and len(listing.table) == 18


def test_a_person_may_take_in_what_is_called_a_mask(root):
    save(root / "benign" / "benign (0)_mask.png", mask(1))
    save(root / "masks" / "m.png", mask(1))
    assert len(listed(root, include=("*_mask.png",))[0]) == 9
    assert FolderSource(path=str(root), classes=("benign", "masks")).listing().classes[1] == "masks"
    assert len(listed(root, exclude=("*(1)*",))[0]) == 6


# --- masks by their pixels -----------------------------------------------------------------------


def prepared(folder):
    source = FolderSource(path=str(folder))
    return prepare("mine", source, cache=cache.cache_folder() / "prepared", threads=1)


def finding(folder):
    return next((f for f in audit(prepared(folder)).findings if f.check == "masks"), None)


def test_masks_that_got_in_are_a_serious_finding(root):
    assert finding(root) is None
    for i in range(3):
        save(root / "malignant" / f"{i}.jpg", mask(i), quality=90)
    found = finding(root)
    assert found.severity == "serious" and len(found.images) == 3
    assert "3 pictures of 11 have a few grey values only" in found.text


def test_a_class_made_of_masks_is_named(root):
    for i in range(3):
        save(root / "normal" / f"{i}.png", mask(i, value=1))
    assert "'normal' is made of nothing else" in finding(root).text


def test_a_set_of_nothing_but_masks_is_a_warning(tmp_path):
    for k, label in enumerate(CLASSES):
        for i in range(3):
            save(tmp_path / label / f"{i}.png", mask(4 * k + i, size=40 + i))
    assert finding(tmp_path).severity == "warning"


def as_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def test_pixels_tell_masks_from_pictures():
    dark = np.random.default_rng(0).poisson(2, (200, 200)).astype(np.uint8)
    bright = dark.copy()
    bright[50:54, 50:54] = 255  # a few bright spots on black
    scan = film(1, 200)
    scan[:, :150] = 0
    colour = np.zeros((64, 64, 3), np.uint8)
    colour[10:30, 10:40] = (200, 30, 0)
    bone = (dark * 3).astype(np.uint8)  # a hard window of a head: the skull white, the rest dark
    bone[30:170, 30:40] = bone[30:40, 30:170] = 255
    for picture in (film(1), dark, bright, bone, scan, np.full((9, 9), 7, np.uint8)):
        assert not is_mask_like(picture)
    regions = mask(2, 300)
    regions[100:200, 100:250] = 2
    for picture in (mask(1), mask(1, value=1), 255 - mask(3), colour, regions):
        assert is_mask_like(picture)
    for scale, quality in ((2, 50), (6, 75), (6, 95)):
        large = np.kron(mask(1), np.ones((scale, scale), np.uint8))
        assert is_mask_like(as_jpeg(large, quality))


def test_a_mask_that_is_classified_carries_a_warning():
    task = Task(classes=CLASSES, image_shape=(32, 32, 1))
    assert "as masks are" in new_image(mask(1), task).warnings[0]
    assert new_image(film(1), task).warnings == ()


# --- MedBench's own output -----------------------------------------------------------------------


def test_a_run_within_the_data_folder_is_never_input(root, monkeypatch, capsys):
    monkeypatch.chdir(root)
    monkeypatch.setenv("MEDBENCH_CACHE", str(root / "cache"))
    (root / "benign" / "notes.txt").write_text("x")
    given = ["run", "--data", ".", "--models", "majority", "--no-sanity", "--folds", "2"]
    given += ["--trials", "1", "--images"]
    assert main(given) == 0
    assert "set: left out: 1 note or other file (.txt)" in capsys.readouterr().out
    assert (root / "results" / "set" / "report.html").exists()
    assert main(["audit", "--data", "."]) == 0
    assert main(["datasets", "add", "again", "."]) == 0
    assert "images: 8" in capsys.readouterr().out
    assert main([*given, "--dry-run"]) == 0
    assert "2 cells" in capsys.readouterr().out
    record = json.loads((root / "results/set/datasets/set/dataset.json").read_text())
    assert record["classes"] == list(CLASSES) and record["n_images"] == 8
    assert sorted(found_by_predict(root)[0]) == listed(root)[0]


@pytest.mark.parametrize(
    "names",
    [
        (RunLayout(Path()).run.name, RunLayout(Path()).cells.name),
        (RunLayout(Path()).run.name, RunLayout(Path()).environment.name),
        (RunLayout(Path()).assessment.name, RunLayout(Path()).page.name),
        ("audit.json", "audit.md"),
        (exported.MANIFEST, exported.DEVELOPMENT),
        (cache.CHECKSUMS,),
    ],
)
def test_what_medbench_writes_is_told_by_what_lies_together(root, names):
    folder = root / "made" / "there"
    save(folder / "figures" / "duplicates.png", film(60))
    assert len(listed(root)[0]) == 9
    for name in names:
        (folder / name).touch()
    assert len(listed(root)[0]) == len(found_by_predict(root)[0]) == 8


def test_a_run_that_did_not_begin_is_no_class(root):
    (root / "results" / "set").mkdir(parents=True)
    assert len(listed(root)[0]) == 8
    (root / "results" / "set" / ".lock").touch()
    assert len(listed(root)[0]) == 8


def test_an_empty_class_folder_is_still_an_error(root):
    (root / "normal").mkdir()
    with pytest.raises(DatasetError, match="normal: this class folder has no images"):
        listed(root)
    (root / "normal" / ".DS_Store").touch()
    with pytest.raises(DatasetError, match="normal: this class folder has no images"):
        listed(root)
