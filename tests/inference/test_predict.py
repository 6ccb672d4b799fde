"""New images are classified from the command line, whatever they come in."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom.dataset import Dataset as DicomDataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from medbench import load_model
from medbench.cli import main
from medbench.datasets.readers import open_image
from medbench.datasets.volume_rule import VolumeRule
from medbench.errors import ConfigurationError, DatasetError, SliceError
from medbench.inference.explanation import explained
from medbench.inference.model import Model
from medbench.inference.model_info import ModelInfo


def write_dicom(path, pixels: np.ndarray) -> None:
    """A DICOM file that shows these 8-bit pixels as they are."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    file = DicomDataset()
    file.file_meta = meta
    file.SOPClassUID, file.SOPInstanceUID = (
        meta.MediaStorageSOPClassUID,
        meta.MediaStorageSOPInstanceUID,
    )
    file.Rows, file.Columns = pixels.shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 8
    file.HighBit, file.PixelRepresentation = 7, 0
    file.WindowCenter, file.WindowWidth, file.VOILUTFunction = 128, 256, "LINEAR"
    file.PixelData = pixels.tobytes()
    file.save_as(path, enforce_file_format=True)


def write_nifti(path, pixels: np.ndarray) -> None:
    """A NIfTI file of one slice that shows these pixels; see ``NiftiReader`` for how."""
    plane = pixels.T[::-1, ::-1, None]
    nibabel.Nifti1Image(plane.astype(np.uint8), np.eye(4)).to_filename(path)


def records(output: str) -> dict:
    return {one["image"]: one for one in json.loads(output)["images"]}


def probabilities(output: str) -> dict:
    return {name: tuple(one["probabilities"].values()) for name, one in records(output).items()}


def test_a_folder_is_classified_and_the_table_says_what_it_is_not_for(run, films, capsys):
    assert main(["predict", str(films), "--run", str(run)]) == 0
    shown = capsys.readouterr().out
    assert all(f"{i}.png" in shown for i in range(8))
    assert "For research, not for diagnosis" in shown
    assert "2 fold models" in shown and "cross-validated estimate of single fold models" in shown
    assert "p(healthy)" in shown and "p(lesion)" in shown


def test_the_same_pixels_give_the_same_probabilities_in_every_container(run, tmp_path, capsys):
    pixels = np.zeros((32, 32), np.uint8)
    pixels[6:26, 8:20] = np.arange(20, 220, 10, dtype=np.uint8)[:, None]
    pixels[0, 0], pixels[-1, -1] = 0, 255  # the whole range, so that nothing is stretched
    folder = tmp_path / "same"
    folder.mkdir()
    image = Image.fromarray(pixels)
    for suffix in ("png", "tif", "bmp", "pgm"):
        image.save(folder / f"a.{suffix}")
    Image.fromarray(pixels.astype(np.uint16)).save(folder / "sixteen.png")
    image.convert("RGB").save(folder / "rgb.png")
    write_dicom(folder / "without-suffix", pixels)
    write_nifti(folder / "a.nii", pixels)
    write_nifti(folder / "a.nii.gz", pixels)
    assert main(["predict", str(folder), "--run", str(run), "--format", "json"]) == 0
    found = probabilities(capsys.readouterr().out)
    assert len(found) == 9
    assert set(found.values()) == {tuple(load_model(run).predict_proba(pixels)[0])}


def test_files_patterns_and_a_list_on_standard_input_name_the_same(
    run, films, capsys, monkeypatch, tmp_path
):
    given = ["--run", str(run), "--format", "json"]
    names = [str(path) for path in sorted(films.iterdir())]
    (films / ".hidden.png").write_bytes(b"x")
    (films / "notes.txt").write_text("not meant")
    outputs = []
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(names) + "\n\n"))
    for arguments in (names, [str(films)], [str(films / "*.png")], ["-"], [*names, str(films)]):
        assert main(["predict", *arguments, *given]) == 0
        outputs.append(probabilities(capsys.readouterr().out))
    assert all(one == outputs[0] for one in outputs) and list(outputs[0]) == names


def test_what_is_no_image_in_a_folder_is_left_out_and_said_beside_the_results(run, films, capsys):
    before = [str(path) for path in sorted(films.iterdir())]
    mask = Image.fromarray(np.eye(32, dtype=np.uint8) * 255)
    mask.save(films / "0_mask.png")
    for name in (".ipynb_checkpoints", "__MACOSX/old", "masks"):
        (films / name).mkdir(parents=True)
        mask.save(films / name / "1.png")
    (films / "Thumbs.db").write_bytes(b"x")
    assert main(["predict", str(films), "--run", str(run), "--format", "json"]) == 0
    said = capsys.readouterr()
    assert list(records(said.out)) == before
    assert "left out: 2 masks or the like, 1 hidden file or folder, 2 files or folders" in said.err
    given = ["predict", str(films / "0_mask.png"), "--run", str(run), "--format", "json"]
    assert main(given) == 0  # named by itself it is classified, with a warning
    (one,) = records(capsys.readouterr().out).values()
    assert any("as masks are" in warning for warning in one["warnings"])


def test_one_bad_file_among_many_has_a_row_that_says_why(run, films, capsys):
    (films / "3.png").write_bytes(b"not an image")
    write_dicom(films / "short.dcm", np.zeros((64, 64), np.uint8))
    content = (films / "short.dcm").read_bytes()
    (films / "short.dcm").write_bytes(content[: len(content) // 2])
    nibabel.Nifti1Image(np.zeros((8, 8, 5), np.uint8), np.eye(4)).to_filename(films / "v.nii.gz")
    arguments = ["predict", str(films), str(films / "gone.png"), "--run", str(run)]
    assert main([*arguments, "--format", "csv"]) == 1
    table = pd.read_csv(io.StringIO(capsys.readouterr().out)).set_index("image")
    bad = table[table["error"].notna()]
    assert {name.rsplit("/", 1)[-1] for name in bad.index} == {
        "3.png",
        "short.dcm",
        "v.nii.gz",
        "gone.png",
    }
    assert table["error"].isna().sum() == 7 and table["probability of lesion"].notna().sum() == 7
    reasons = {name.rsplit("/", 1)[-1]: text for name, text in bad["error"].items()}
    assert "--slice N, from 1 to 5" in reasons["v.nii.gz"]
    assert "not an image" in reasons["3.png"]
    assert main([*arguments]) == 1
    assert capsys.readouterr().out.count("Not classified: ") == 4


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_pipes_and_devices_are_rows_and_the_others_are_classified(run, films, capsys):
    os.mkfifo(films / "pipe.png")
    (films / "zero.png").symlink_to("/dev/zero")
    names = [str(films / name) for name in ("0.png", "pipe.png", "zero.png", "1.png")]
    assert main(["predict", *names, "/dev/null", "--run", str(run), "--format", "json"]) == 1
    said = capsys.readouterr()
    errors = [one.get("error", "") for one in records(said.out).values()]
    assert [bool(error) for error in errors] == [False, True, True, False, True]
    assert "it is a pipe, and only regular files are read" in errors[1]
    assert "it is a device" in errors[2] and "it is a device" in errors[4]
    assert "3 of 5 images could not be classified." in said.err


def test_a_single_file_that_is_no_image_is_an_error_that_names_it(run, tmp_path, capsys):
    (tmp_path / "x.png").write_bytes(b"no image")
    assert main(["predict", str(tmp_path / "x.png"), "--run", str(run)]) == 1
    said = capsys.readouterr()
    assert "x.png:notanimageofaknownformat" in "".join(said.out.split())  # lines are folded
    assert "1 of 1 images could not be classified." in said.err


def test_a_picture_for_which_there_is_no_memory_is_a_row(run, films, capsys, monkeypatch):
    from medbench.inference import images

    def read(path):
        if str(path).endswith("1.png"):
            raise MemoryError
        return Path(path).read_bytes()

    monkeypatch.setattr(images, "file_content", read)
    assert main(["predict", str(films), "--run", str(run), "--format", "json"]) == 1
    found = records(capsys.readouterr().out)
    assert [name for name, one in found.items() if "error" in one] == [str(films / "1.png")]
    assert "not enough memory" in found[str(films / "1.png")]["error"]


def test_a_slice_of_a_volume_is_classified(run, tmp_path, capsys):
    volume = np.random.default_rng(0).integers(0, 255, (20, 24, 5)).astype(np.uint8)
    path = tmp_path / "v.nii.gz"
    nibabel.Nifti1Image(volume, np.eye(4)).to_filename(path)
    # not the best model: trees may well say the same of two slices
    given = ["predict", str(path), "--run", str(run), "--models", "hog-svm", "--format", "json"]
    given.append("--slice")
    assert main([*given, "2"]) == 0
    one = probabilities(capsys.readouterr().out)
    assert main([*given, "3"]) == 0
    assert one != probabilities(capsys.readouterr().out)
    assert main([*given, "6"]) == 1


def model_of(run, rule):
    model = load_model(run, model="hog-svm")
    info = replace(model.info, volumes=VolumeRule(slices=rule))
    return Model(
        ModelInfo.from_record(json.loads(json.dumps(info.as_record()))),
        model.fold_models,
        model.provenance,
    )


def test_of_a_new_volume_the_pictures_are_made_that_the_model_has_learnt_from(run, tmp_path):
    voxels = np.random.default_rng(0).integers(0, 255, (20, 24, 5)).astype(np.uint8)
    path, film = tmp_path / "v.nii", tmp_path / "f.png"
    nibabel.Nifti1Image(voxels, np.eye(4)).to_filename(path)
    Image.fromarray(voxels[..., 0]).save(film)
    middle, montage, planes = (model_of(run, rule) for rule in (1, "montage 4", "planes"))
    (one,) = middle.classify(path)
    assert one.shown == "slice 3" and "it sees the middle slice, as in development" in repr(middle)
    assert one.probabilities == middle.classify(path, slice_number=3)[0].probabilities
    assert middle.classify(path, slice_number=2)[0].shown == "slice 2"
    assert montage.classify([film, path]).to_frame()["shown"].tolist() == [
        "",
        "montage of 4 slices",
    ]
    made = VolumeRule(slices="montage 4").of(open_image(path.read_bytes(), origin="v")).pixels(0)
    np.testing.assert_array_equal(montage.predict_proba(path), montage.predict_proba(made))
    rows = list(explained(planes, [str(film), str(path)], tmp_path / "maps"))
    assert [row.shown for row in rows] == ["", "axial plane", "coronal plane", "sagittal plane"]
    assert [row.image for row in rows] == [str(film), *[str(path)] * 3]
    assert len(list((tmp_path / "maps").iterdir())) == 4
    with pytest.raises(ConfigurationError, match=r"--explain .*several are made of .*v.nii"):
        list(explained(planes, [str(path)], tmp_path / "one.png"))
    with pytest.raises(DatasetError, match=r"v.nii: 3 pictures are made of it.*classify"):
        planes.predict_proba(path)
    with pytest.raises(SliceError, match=r"2 coronal plane, 3 sagittal plane\).*from 1 to 3"):
        planes.explain(path)
    assert planes.explain(path, slice_number=2).prediction.shown == "coronal plane"


def test_dicom_files_named_by_numbers_are_found_and_odd_names_are_rows(run, films, capsys):
    write_dicom(films / "1.2.840.113619.2.5", np.zeros((64, 64), np.uint8))
    (films / "ünï ☃ [red].png").write_bytes((films / "0.png").read_bytes())
    frames = [Image.new("L", (40, 40), grey) for grey in (10, 200)]
    frames[0].save(films / "two.tif", save_all=True, append_images=frames[1:])
    given = ["predict", str(films), str(films / "none*.png"), "--run", str(run)]
    assert main([*given, "--format", "json"]) == 1
    found = {name.rsplit("/", 1)[-1]: one for name, one in records(capsys.readouterr().out).items()}
    assert {"1.2.840.113619.2.5", "ünï ☃ [red].png"} <= set(found)
    assert "cannot be read" in found["none*.png"]["error"]
    assert "TIFF stack of 2 pages" in found["two.tif"]["error"]
    assert "--slice N, from 1 to 2" in found["two.tif"]["error"]
    assert main(given) == 1
    capsys.readouterr()
    main(["predict", "=cmd|x.png", "--run", str(run), "--format", "csv"])
    assert "\n'=cmd|x.png," in capsys.readouterr().out


@pytest.mark.parametrize("format_", ["table", "csv", "json"])
def test_nothing_to_classify_is_an_error(run, tmp_path, capsys, format_):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["predict", str(empty), "--run", str(run), "--format", format_]) == 2
    assert "no image was found" in capsys.readouterr().err


def test_an_image_unlike_the_training_images_is_flagged(run, films, capsys):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(films / "noise.png")
    Image.fromarray(np.dstack([noise, noise // 2, 255 - noise])).save(films / "photo.png")
    assert main(["predict", str(films), "--run", str(run), "--format", "json"]) == 0
    found = records(capsys.readouterr().out)
    noise, photo = found[str(films / "noise.png")], found[str(films / "photo.png")]
    assert noise["ood_score"] > 1 and "unlike the images of development" in noise["warnings"][0]
    assert any("colour picture" in text for text in photo["warnings"])
    assert main(["predict", str(films), "--run", str(run)]) == 0
    assert "! unlike the images of development" in capsys.readouterr().out


def test_another_operating_point_is_found_on_development_images(run, films, capsys):
    thresholds, decided = {}, {}
    for option in ([], ["--sensitivity", "1"], ["--specificity", "1"]):
        given = ["predict", str(films), "--run", str(run), "--format", "json", *option]
        assert main(given) == 0
        found = json.loads(capsys.readouterr().out)
        name = option[0] if option else "frozen"
        thresholds[name] = found["about"]["operating_point"]["threshold"]
        decided[name] = sum(one["decision"] == "lesion" for one in found["images"])
    assert thresholds["--sensitivity"] <= thresholds["frozen"] <= thresholds["--specificity"]
    assert decided["--sensitivity"] >= decided["frozen"] >= decided["--specificity"]
    assert main(["predict", str(films), "--run", str(run), "--sensitivity", "2"]) == 2
    assert "above 0 and up to 1" in capsys.readouterr().err


def test_nothing_deep_is_imported_for_a_model_that_is_not(run, films):
    code = (
        "import sys; from medbench.cli import main; "
        f"main(['predict', {str(films)!r}, '--run', {str(run)!r}]); "
        "deep = {'tensorflow', 'keras', 'jax', 'torch', 'matplotlib', 'optuna'} & {*sys.modules}; "
        "sys.exit(', '.join(deep) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_picture_explains_one_image_and_a_folder_of_pictures_several(
    run, films, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    given = ["--run", str(run), "--models", "xgboost"]
    first, second = str(films / "0.png"), str(films / "1.png")
    assert main(["predict", first, *given, "--explain", "why.png"]) == 0
    with Image.open(tmp_path / "why.png") as picture:
        assert picture.format == "PNG" and picture.width > 400
    assert main(["predict", first, second, *given, "--explain", "why"]) == 0
    assert [path.name for path in sorted((tmp_path / "why").iterdir())] == [
        "1-0.png",
        "2-1.png",
    ]
    capsys.readouterr()
    assert main(["predict", first, *given, "--explain", "why.jpg"]) == 2
    assert "pictures are PNG" in capsys.readouterr().err
    assert main(["predict", first, second, *given, "--explain", "why.png"]) == 2
    assert "Name a folder" in capsys.readouterr().err
