"""Layouts of public sets, drawn by their names: nothing of them is misread in silence."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medbench.cli import main
from medbench.datasets.detect import detect
from medbench.datasets.sources.folder import FolderSource
from medbench.datasets.sources.table import TableSource
from medbench.errors import DatasetError, UndecidedError


@pytest.fixture
def draw(tmp_path):
    """Draws a picture for each name below a folder, which it gives; all differ."""

    def files(*names: str) -> Path:
        for number, name in enumerate(names):
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 256, (8, 9 + number), np.uint8)
            Image.fromarray(pixels).save(path)
        return tmp_path / "set"

    return files


def written(root: Path, *lines: str) -> Path:
    path = root / "t.csv"
    path.write_text("\n".join([*lines, ""]))
    return path


def read(root: Path, **fields):
    """The listing, and how many images each class has."""
    listing = FolderSource(path=str(root), **fields).listing()
    return listing, dict(Counter(listing.classes[k] for k in listing.table["label"]))


# --- tables ----------------------------------------------------------------------------------


def test_chexpert_has_all_its_classes_and_says_that_it_names_no_patients(draw):
    names = [f"train/patient{p:05d}/study1/view1.jpg" for p in range(8)]
    root = draw(*names)
    cells = ["1.0,,1.0,", "0.0,-1.0,,1.0", ",1.0,0.0,0.0", "1.0,0.0,,"] * 2
    path = written(
        root,
        "Path,Sex,Age,Edema,Mass,Fracture,Devices",
        *(
            f"CheXpert/{n},Male,{60 + i},{c}"
            for i, (n, c) in enumerate(zip(names, cells, strict=True))
        ),
    )
    entry = detect(path)
    assert entry["label"] == ["Edema", "Mass", "Fracture", "Devices"]
    with pytest.raises(UndecidedError) as error:
        TableSource.model_validate(entry).listing()
    assert error.value.field == "unlabelled"
    entry |= {"unlabelled": "absent", "task": "multi-label"}
    notes = "\n".join(TableSource.model_validate(entry).listing().notes)
    assert "files lie in folders of patients, but no column names the patients" in notes
    assert "patient0" not in notes  # notes are kept in a run, which names nobody


def test_a_second_column_of_files_is_said_not_to_be_used(draw):
    root = draw(*(f"{i}_{side}.jpg" for i in range(6) for side in ("left", "right")))
    rows = [f"{i},{i}_left.jpg,{i}_right.jpg,{'ab'[i % 2]}" for i in range(6)]
    entry = detect(written(root, "ID,Left-Fundus,Right-Fundus,label", *rows))
    notes = TableSource.model_validate(entry).listing().notes
    assert "column 'Right-Fundus' is not used for the files: 'Left-Fundus' is" in notes


def test_the_words_of_mimic_for_the_parts_of_its_split_are_known(draw):
    root = draw(*(f"{i}.jpg" for i in range(9)))
    part = ("train", "validate", "test")
    rows = [f"{i}.jpg,{'ab'[i % 2]},{part[i // 3]}" for i in range(9)]
    assert detect(written(root, "file,label,split", *rows))["split"] == "split"


def test_participants_that_are_folders_are_said_to_be_folders(draw):
    root = draw(*(f"sub-{p}/anat/T1w.png" for p in range(4)))
    rows = [f"sub-{p},{('HC', 'n/a', 'AD')[p % 3]}" for p in range(4)]
    with pytest.raises(DatasetError, match=r"'sub-0' is a folder. Name the files in it"):
        detect(written(root, "participant_id,group", *rows))


# --- folders ---------------------------------------------------------------------------------


@pytest.mark.parametrize("copy", ["no_augmented", "no - Copy", "no (1)", "Copy of no", "aug_no"])
def test_copies_of_a_class_are_no_class_in_silence(draw, copy):
    root = draw(*(f"{c}/{i}.png" for c in ("no", "yes", copy) for i in range(3)))
    with pytest.raises(DatasetError, match="is called as a copy or another version"):
        read(root)
    listing, counts = read(root, exclude=(f"{copy}/*",))
    assert counts == {"no": 3, "yes": 3}
    assert f"{copy}/ holds no images (3 excluded files): no class" in listing.notes
    assert len(read(root, folders="classes")[0].classes) == 3


def test_augmented_copies_of_images_are_said(draw):
    names = [f"{c}/{i}{s}.png" for c in "ab" for i in range(3) for s in ("", "_rot90", "_aug_7")]
    notes = read(draw(*names, "a/protocol.png"))[0].notes
    assert any("12 images are called as augmented copies" in note for note in notes)


@pytest.mark.parametrize("folders", [("images",), ("train", "test"), (".",), ("part_1", "part_2")])
def test_a_folder_of_images_beside_their_table_names_the_table(draw, folders):
    root = draw(*(f"{folder}/{i}.png" for folder in folders for i in range(4)))
    written(root, "id,label", "0,a", "1,b")
    with pytest.raises(DatasetError, match=r"If the labels are in t\.csv, name that file"):
        read(root)


def test_grades_and_stages_are_no_copies(draw):
    names = ("grade 1", "grade 2", "T1-original", "processed", "stage_3")
    root = draw(*(f"{c}/{i}.png" for c in names for i in range(3)))
    assert len(read(root)[0].classes) == len(names)


def test_a_pattern_that_excludes_nothing_is_said(draw):
    root = draw(*(f"{c}/{i}.png" for c in ("no", "yes") for i in range(3)))
    assert "no file is called as the field exclude has it: n" in read(root, exclude=("n",))[0].notes


@pytest.mark.parametrize(
    "folder",
    ["sub-{}/anat", "Patient {}", "fold_{}", "IMD00{}", "HAM_images_part_{}", "images_{}/images"],
)
def test_folders_of_patients_or_parts_alone_are_no_classes(draw, folder):
    root = draw(*(f"{folder.format(p)}/{p}{i}.png" for p in range(5) for i in range(2)))
    with pytest.raises(UndecidedError, match="write a table") as error:
        read(root)
    assert set(error.value.choices) == {"classes"}
    assert len(read(root, folders="classes")[0].classes) == 5


def test_parts_of_a_split_in_the_names_of_classes_are_an_official_split(draw):
    for form in ("{part}_{c}", "{c} {part}"):
        folders = {form.format(part=p, c=c): (p, c) for p in ("train", "Test") for c in "ab"}
        root = draw(*(f"{form[1]}/{folder}/{i}.png" for folder in folders for i in range(3)))
        listing, counts = read(root / form[1])
        assert counts == {"a": 6, "b": 6}
        assert listing.table["split"].value_counts().to_dict() == {"train": 6, "test": 6}


def test_numbered_names_of_classes_beside_a_folder_of_other_images_are_asked_for(draw):
    tiles = [f"tiles/0{k}_{c}/{i}.tif" for k, c in enumerate("ABC") for i in range(2)]
    with pytest.raises(UndecidedError, match="not clear which are the classes") as error:
        read(draw(*tiles, "larger/1.tif", "larger/2.tif"))
    assert read(draw(), folders="tiles/")[1] == {"00_A": 2, "01_B": 2, "02_C": 2}
    assert "tiles/" in error.value.choices


def test_scans_of_a_patient_in_a_class_folder_are_one_group(draw):
    root = draw(
        *(
            f"{grade}/BraTS_{grade}_{p}/BraTS_{grade}_{p}_{kind}.png"
            for grade in ("HGG", "LGG")
            for p in range(6)
            for kind in ("flair", "t1", "seg")
        )
    )
    listing, counts = read(root)
    assert counts == {"HGG": 12, "LGG": 12}
    assert listing.table["group"].nunique() == 12
    assert any("each is one group" in note for note in listing.notes)
    assert "BraTS_" not in "".join(listing.notes)
    notes = read(root, folders="classes")[0].notes
    assert not any("each is one group" in note for note in notes)


def test_a_patient_in_both_parts_of_a_split_is_one_group(draw):
    root = draw(
        *(f"train/{c}/{c}_10{p}/{i}.png" for c in "ab" for p in range(6) for i in range(2)),
        *(f"test/{c}/{c}_10{p}/{i}.png" for c in "ab" for p in (5, 6) for i in range(2)),
    )
    assert read(root)[0].table["group"].nunique() == 14


def test_slides_below_kinds_of_tumour_are_groups(draw):
    root = draw(
        *(
            f"{c}/SOB/{kind}/SOB_{kind}_14-22{p}/40X/{kind}{p}{i}.png"
            for c, kinds in (("benign", "AF"), ("malignant", "DL"))
            for kind in kinds
            for p in range(3)
            for i in range(2)
        )
    )
    listing, counts = read(root)
    assert counts == {"benign": 12, "malignant": 12} and listing.table["group"].nunique() == 12


def test_studies_of_mura_are_said_and_read(draw):
    root = draw(
        *(
            f"train/XR_{part}/patient{p:05d}/study1_{('negative', 'positive')[p % 2]}/{i}.png"
            for part in ("HAND", "ELBOW")
            for p in range(6)
            for i in range(2)
        )
    )
    listing, _ = read(root)
    said = "\n".join(listing.notes)
    assert (
        "study1_negative, study1_positive" in said
        and "patient0" not in said
        and '"train/XR_ELBOW/"' in said
    )
    part = read(root / "train" / "XR_HAND")
    assert part[1] == {"negative": 6, "positive": 6}
    assert part[0].table["group"].nunique() == 6
    assert read(root, folders="train/XR_HAND/")[1] == part[1]


# --- the command line --------------------------------------------------------------------------


def test_an_option_that_a_verb_lacks_is_not_taken_for_another_one(capsys):
    with pytest.raises(SystemExit):
        main(["audit", "--datasets", "mine"])  # not --datasets-file
    assert "unrecognized arguments: --datasets" in capsys.readouterr().err
