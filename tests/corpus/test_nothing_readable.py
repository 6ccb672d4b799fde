"""Nothing of a set can be read, or nothing of a part of it: the reasons, in every verb that reads.

Films that no decoder here can read, web pages saved as pictures, volumes and pictures above the
limit of pixels, as people have had them.
"""

import io
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import Decoder
from pydicom.uid import JPEGLosslessSV1, generate_uid

from medbench.cli import main
from medbench.errors import UnreadableError, grouped
from medbench.versions import install_command

CLASSES = ("normal", "opacity")
INSTALL = install_command("dicom")
PAGE = b"<!DOCTYPE html><html>404 not found</html>"


@pytest.fixture(autouse=True)
def _no_decoders(monkeypatch):
    """As where only what MedBench needs is installed."""
    monkeypatch.setattr(Decoder, "is_available", property(lambda decoder: False))


def film() -> bytes:
    """A DICOM file compressed as JPEG Lossless, of which no pixel need be there."""
    film, file = Dataset(), io.BytesIO()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    film.SOPClassUID = film.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    film.SOPInstanceUID = film.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    film.Rows = film.Columns = 32
    film.SamplesPerPixel, film.PhotometricInterpretation = 1, "MONOCHROME2"
    film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 16, 12, 11, 0
    film.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
    film["PixelData"].VR, film["PixelData"].is_undefined_length = "OB", True
    film.save_as(file, enforce_file_format=True)
    return file.getvalue()


def picture(seed: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (24, 24), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def write(root: Path, name: str, content: dict[str, bytes | None], each: int = 4) -> Path:
    """Class folders; of each class the same content, or pictures where it is None."""
    for k, label in enumerate(CLASSES):
        (root / label).mkdir(parents=True)
        for i in range(each):
            found = content[label]
            (root / label / f"{i}{name}").write_bytes(found or picture(10 * k + i))
    return root


@pytest.fixture(params=["films", "pages"])
def unreadable(request, tmp_path, monkeypatch):
    """Of which nothing can be read; and what is to be said."""
    monkeypatch.chdir(tmp_path)
    content, name, reason = {
        "films": (film(), ".dcm", INSTALL),
        "pages": (PAGE, ".jpg", "not an image of a known format"),
    }[request.param]
    root = write(tmp_path / request.param, name, dict.fromkeys(CLASSES, content))
    return root, reason


@pytest.fixture(scope="module")
def kept_run(tmp_path_factory):
    """A run on pictures, made once."""
    folder = tmp_path_factory.mktemp("made")
    write(folder / "good", ".png", dict.fromkeys(CLASSES))
    what = ["--models", "majority", "--no-sanity", "--trials", "1", "--folds", "2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDBENCH_CACHE", str(folder / "cache"))
        assert main(["run", "--data", str(folder / "good"), *what, "--out", str(folder / "r")]) == 0
    return folder / "r"


@pytest.fixture
def run(kept_run, tmp_path):
    return shutil.copytree(kept_run, tmp_path / "good-run")


MAJORITY = ("--models", "majority", "--no-sanity", "--trials", "1", "--folds", "2")
VERBS = {
    "run": ["run", *MAJORITY],
    "dry run": ["run", *MAJORITY, "--dry-run"],
    "audit": ["audit"],
    "evaluate": ["evaluate", "--run", "good-run", "--models", "majority"],
}


@pytest.mark.parametrize("skip", [(), ("--skip-unreadable",)], ids=["", "skip"])
@pytest.mark.parametrize("verb", VERBS)
def test_the_reason_is_said_once_with_its_count(verb, skip, unreadable, run, capsys):
    root, reason = unreadable
    assert main([*VERBS[verb], "--data", str(root), *skip]) == 2
    said = capsys.readouterr().err
    assert "none of the 8 images can be read" in said
    assert said.count(reason) == 1 and "8 images (normal/0" in said
    assert "reshape" not in said and "--skip-unreadable" not in said  # which would not help


def test_predict_says_it_once_too_and_every_image_has_its_row(unreadable, run, capsys):
    root, reason = unreadable
    given = ["predict", str(root), "--run", "good-run", "--models", "majority"]
    assert main(given) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert said.count(reason) == 1 and "Not classified: 8 images" in said
    assert main([*given, "--format", "csv"]) == 1
    rows = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert len(rows) == 8 and rows["error"].str.contains(reason, regex=False).all()


@pytest.mark.parametrize("skip", [(), ("--skip-unreadable",)], ids=["", "skip"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_class_of_which_nothing_can_be_read_is_named_with_the_reason(
    verb, skip, run, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    root = write(tmp_path / "half", "", {"normal": film(), "opacity": None})
    assert main([*VERBS[verb], "--data", str(root), *skip]) == 2
    said = capsys.readouterr().err
    assert "4 of 8 images cannot be read" in said and INSTALL in said
    assert "no image of class 'normal' is left" in said and "--skip-unreadable" not in said


def test_a_part_of_the_official_split_of_which_nothing_can_be_read_is_named(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for part, content in (("train", None), ("test", film())):
        write(tmp_path / part, "", dict.fromkeys(CLASSES, content))
    rows = [
        {"file": f"{part}/{label}/{i}", "label": label, "split": part}
        for part in ("train", "test")
        for label in CLASSES
        for i in range(4)
    ]
    pd.DataFrame(rows).to_csv("films.csv", index=False)
    entry = "{source: table, path: films.csv, split: split}"
    Path("datasets.yaml").write_text(f"films: {entry}\n")
    assert main(["audit", "films", "--skip-unreadable"]) == 2
    said = capsys.readouterr().err
    assert "no image of the official test part is left" in said and INSTALL in said


def test_where_it_is_possible_to_go_on_the_option_is_told_and_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    root = write(tmp_path / "mixed", ".png", dict.fromkeys(CLASSES))
    (root / "normal" / "page.png").write_bytes(PAGE)
    Image.new("L", (9000, 7000)).save(root / "opacity" / "slide.png")
    assert main(["audit", "--data", str(root)]) == 2
    said = capsys.readouterr().err
    assert "2 of 10 images cannot be read" in said
    assert "opacity/slide.png: 9000 x 7000 pixels is above the limit" in said
    assert "--skip-unreadable goes on without them." in said
    assert main(["audit", "--data", str(root), "--skip-unreadable"]) == 0


def test_volumes_are_read_by_run_and_predict_says_which_option_chooses_a_slice(
    run, tmp_path, monkeypatch, capsys
):
    import nibabel

    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for label in CLASSES:
        (tmp_path / "volumes" / label).mkdir(parents=True)
        for i in range(4):
            voxels = rng.integers(0, 255, (24, 24, 5)).astype(np.int16)
            path = tmp_path / "volumes" / label / f"{i}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)
    assert main([*VERBS["dry run"], "--data", "volumes"]) == 0
    assert "(field slices)" in " ".join(capsys.readouterr().out.split())
    given = ["predict", "volumes", "--run", "good-run", "--models", "majority"]
    assert main(given) == 1
    assert "give --slice N, from 1 to 5" in " ".join(capsys.readouterr().out.split())
    assert main([*given, "--slice", "3"]) == 0


def test_reasons_are_grouped_the_commonest_first():
    unreadable = ["a: it is damaged.", "b: it is empty.", *(f"{i}: it is damaged." for i in "cde")]
    assert grouped(unreadable) == [
        "4 images (a, c, d, ...): it is damaged.",
        "b: it is empty.",
    ]
    error = UnreadableError("set", [f"{i}: reason {i}." for i in range(30)], 40)
    assert "and 10 other reasons" in str(error) and len(error.unreadable) == 30
