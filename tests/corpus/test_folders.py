"""What folders mean: archives as they come, with parts of a split, versions and patients."""

from __future__ import annotations

import shutil
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medbench.datasets.sources.folder import FolderSource
from medbench.errors import DatasetError, UndecidedError

CLASSES = ("NORMAL", "PNEUMONIA")


@pytest.fixture
def save(tmp_path):
    """Makes folders of small pictures, so many in each; all differ, unless the seed is given."""
    drawn = iter(range(1_000_000))

    def make(folders: dict[str, int], root: str = "set", seed: int | None = None) -> Path:
        for folder, n in folders.items():
            path = tmp_path / root / folder
            path.mkdir(parents=True, exist_ok=True)
            for i in range(n):
                rng = np.random.default_rng(next(drawn) if seed is None else seed + i)
                pixels = rng.integers(0, 256, (8, 8 + rng.integers(99)), dtype=np.uint8)
                Image.fromarray(pixels).save(path / f"{path.name}-{i}.png")
        return tmp_path / root

    return make


def split(*parts: str, below: str = "", n: int = 2) -> dict[str, int]:
    return {f"{below}{part}/{name}": n for part in parts for name in CLASSES}


def listed(root: Path, **fields):
    """The listing, and how many images there are of each class and part."""
    listing = FolderSource(path=str(root), **fields).listing()
    names = [listing.classes[k] for k in listing.table["label"]]
    return listing, Counter(zip(names, listing.table["split"], strict=True))


def said(listing) -> str:
    return "\n".join(listing.notes)


# --- an official split ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts",
    [
        ("train", "val", "test"),
        ("TRAIN", "VALID", "TEST"),
        ("Training", "Validation", "Testing"),
        ("training_set", "val-images", "Test Data"),
        ("imagesTr", "val", "imagesTs"),
    ],
)
def test_folders_called_as_parts_with_classes_in_them_are_an_official_split(save, parts):
    listing, counts = listed(save(split(*parts)))
    assert listing.classes == CLASSES
    assert counts == {(c, part): 2 for c in CLASSES for part in ("train", "val", "test")}
    assert "official split by the names of folders: train 4, val 4, test 4" in said(listing)


def test_an_archive_that_holds_everything_twice_is_an_official_split_and_the_repeat_named(save):
    root = save(split("train", "val", "test"), "chest_xray")
    shutil.copytree(root, root.parent / "again")
    shutil.move(root.parent / "again", root / "chest_xray")
    for folder in ("__MACOSX/train/NORMAL", "chest_xray/train/NORMAL"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / "._NORMAL-0.png").write_bytes(b"\0\5\x16\7" + bytes(80))
    for data in (root, root.parent):  # the archive, or a folder around it
        listing, counts = listed(data)
        assert listing.classes == CLASSES and counts["NORMAL", "test"] == 2
        assert len(listing.table) == 12
        assert "chest_xray/ repeats what lies beside it: 12 images left out" in said(listing)
        assert "1 hidden file" in said(listing) and "operating systems" in said(listing)


def test_what_lies_beside_an_official_split_is_named_and_left_out(save):
    beside = {"single_prediction": 3, "NORMAL": 2, **split("older", n=1)}
    listing, counts = listed(save(split("train", "test") | beside))
    assert counts == {(c, part): 2 for c in CLASSES for part in ("train", "test")}
    for name, n in (("single_prediction", "3 images"), ("NORMAL", "2 images"), ("older", "2 im")):
        assert f"{name}/ lies beside the split: {n}" in said(listing)


def test_a_test_part_without_labels_is_left_out_and_there_is_no_official_split(save):
    for unlabelled in ("test", "test/unknown"):
        listing, counts = listed(
            save(split("train") | {unlabelled: 3}, unlabelled.replace("/", ""))
        )
        assert counts == {("NORMAL", ""): 2, ("PNEUMONIA", ""): 2}
        assert "test/ has no class folders: 3 images left out" in said(listing)
        assert "no official split" in said(listing)


def test_parts_without_class_folders_are_refused_and_no_classes(save):
    with pytest.raises(DatasetError, match="parts of a split, not classes"):
        listed(save({"train": 2, "test": 2}))
    listing, _ = listed(save({"benign": 2, "malignant": 2, "test": 3}, "beside"))
    assert listing.classes == ("benign", "malignant") and len(listing.table) == 4
    assert "test/ is called as no class is" in said(listing)
    listing, _ = listed(save({"benign": 2, "malignant": 2, "unlabelled": 3}, "unlabelled"))
    assert listing.classes == ("benign", "malignant")


def test_parts_whose_classes_are_called_differently_are_refused_by_name(save):
    root = save({"train/large.cell_T2": 2, "train/normal": 2, "test/large": 2, "test/normal": 2})
    with pytest.raises(DatasetError, match=r"test/ has the class folders large, .*large.cell_T2"):
        listed(root)


def test_parts_within_each_class_folder_are_an_official_split(save):
    folders = {f"{c}/{part}": n for c in CLASSES for part, n in (("train", 3), ("test", 1))}
    listing, counts = listed(save(folders))
    assert counts == {(c, p): n for c in CLASSES for p, n in (("train", 3), ("test", 1))}
    assert "official split" in said(listing)


def test_a_split_with_patients_or_a_folder_wrapped_around_keeps_its_classes(save):
    patients = {
        f"{p}/{c}/{p[0]}{c[0]}{i}" for p in ("train", "test") for c in CLASSES for i in "123"
    }
    folders = {f"data/{patient}": 2 for patient in patients}
    listing, counts = listed(save(folders))
    assert set(counts.values()) == {6} and listing.classes == CLASSES
    assert "all images lie in the folder data/" in said(listing)


# --- the same folders in each --------------------------------------------------------------------


@pytest.mark.parametrize(
    "tops",
    [("40X", "100X", "200X"), ("original", "augmented"), ("left", "right"), ("1", "2", "3")],
)
def test_the_same_folders_in_each_are_never_classes_in_silence(save, tops):
    root = save({f"{top}/{c}": 2 for top in tops for c in CLASSES})
    with pytest.raises(UndecidedError) as error:
        listed(root)
    undecided = error.value
    assert undecided.field == "folders" and "--folders" in str(undecided)
    assert all(top in str(undecided) for top in tops)
    assert {"classes", "parts", "patients", "paths", f"{tops[0]}/"} <= undecided.choices.keys()
    found = {value: listed(root, folders=value) for value in undecided.choices}
    n = 4 * len(tops)
    assert found["classes"][0].classes == tuple(sorted(tops))
    assert found["parts"][0].classes == CLASSES and len(found["parts"][0].table) == n
    patients = found["patients"][0].table
    assert patients["group"].nunique() == len(tops) and len(patients) == n
    assert f"{tops[0]}/NORMAL" in found["paths"][0].classes
    alone = found[f"{tops[0]}/"][0]
    assert alone.classes == CLASSES and len(alone.table) == 4
    assert set(alone.table["origin"].str.split("/").str[0]) == {tops[0]}


def test_copies_are_said_to_be_copies_and_one_of_them_can_be_taken(save):
    for name in ("images", "images - Copy"):
        root = save({f"{name}/{c}": 2 for c in CLASSES}, seed=1)
    with pytest.raises(UndecidedError, match="files of the same names") as error:
        listed(root)
    assert list(error.value.choices)[-2:] == ["images/", "images - Copy/"]
    assert len(listed(root, folders="images - Copy/")[0].table) == 4


def test_folders_called_as_folds_or_patients_are_taken_for_them_and_said(save):
    listing, _ = listed(save({f"fold_{i}/{c}": 2 for i in range(3) for c in CLASSES}, "folds"))
    assert listing.classes == CLASSES and "parts of one set" in said(listing)
    assert set(listing.table["group"]) == {""}
    folders = {f"patient{i:02d}/{CLASSES[k]}": 2 for i in range(6) for k in (0, 1) if i % 3 or k}
    listing, _ = listed(save(folders, "patients"))
    assert listing.classes == CLASSES and "patients" in said(listing)
    assert listing.table["group"].nunique() == 6


def test_folds_that_each_hold_a_split_are_asked_for_since_they_share_images(save):
    root = save({f"fold{i}/{k}": 2 for i in (1, 2) for k in split("train", "test")}, seed=4)
    with pytest.raises(UndecidedError, match="a split of its own") as error:
        listed(root)
    assert list(error.value.choices) == ["fold1/", "fold2/"]
    _, counts = listed(root, folders="fold2/")
    assert counts == {(c, part): 2 for c in CLASSES for part in ("train", "test")}


def test_a_choice_within_a_choice_is_one_value(save):
    root = save({f"{a}/{b}/{c}": 1 for a in "xy" for b in ("AP", "PA") for c in CLASSES})
    with pytest.raises(UndecidedError) as error:
        listed(root)
    assert "x/" in error.value.choices
    with pytest.raises(UndecidedError) as error:
        listed(root, folders="x/")
    assert {"x/parts", "x/PA/"} <= error.value.choices.keys()
    assert len(listed(root, folders="x/parts")[0].table) == 4
    assert len(listed(root, folders="x/PA/")[0].table) == 2


def test_another_version_beside_the_class_folders_is_asked_for_and_a_copy_left_out(save):
    root = save({"no": 3, "yes": 3, "processed/no": 3, "processed/yes": 3})
    with pytest.raises(UndecidedError, match="processed/ holds folders of the same names") as error:
        listed(root)
    assert set(error.value.choices) == {"classes", "processed/"}
    assert len(listed(root, folders="classes")[0].table) == 6
    shutil.rmtree(root / "processed")
    shutil.copytree(root, root.parent / "copy")
    shutil.move(root.parent / "copy", root / "brain_tumor_dataset")
    listing, _ = listed(root)
    assert listing.classes == ("no", "yes")
    assert "brain_tumor_dataset/ repeats" in said(listing)


def test_patients_in_class_folders_leave_the_classes_what_they_are(save):
    for patient in ("p{i}{c}", "patient{i}", "fold_{i}"):
        folders = {f"{c}/{patient.format(i=i, c=c)}": 2 for c in CLASSES for i in range(4)}
        listing, counts = listed(save(folders, patient))
        assert counts == {(c, ""): 8 for c in CLASSES}
        n_groups = 4 if "patient" in patient else 1
        assert listing.table["group"].nunique() == n_groups


def test_sets_of_partly_other_classes_or_a_split_of_its_own_beside_are_asked_for(save):
    root = save({"kaggle/no": 2, "kaggle/yes": 2, "figshare/no": 2, "figshare/glioma": 2})
    with pytest.raises(UndecidedError, match=r"hold the same folders \(no\)"):
        listed(root)
    root = save(split("train", "test", below="internal/") | split("external"), "external")
    with pytest.raises(UndecidedError, match=r"internal holds folders \(test, train\)") as error:
        listed(root)
    assert "internal/" in error.value.choices
    assert listed(root, folders="internal/")[1]["NORMAL", "test"] == 2


# --- deeper classes ------------------------------------------------------------------------------


def test_one_wrapping_folder_is_looked_into_and_said(save):
    root = save({f"Dataset/Original/{c}": 2 for c in CLASSES})
    (root / "code").mkdir()
    (root / "code" / "train.py").write_text("pass")
    listing, _ = listed(root)
    assert listing.classes == CLASSES
    assert "all images lie in the folder Dataset/Original/" in said(listing)


def test_deeper_classes_are_shown_and_can_be_chosen(save):
    organs = {"colon": ("colon_aca", "colon_n"), "lung": ("lung_aca", "lung_n", "lung_scc")}
    root = save({f"sets/{organ}/{t}": 2 for organ, ts in organs.items() for t in ts})
    listing, _ = listed(root)
    assert listing.classes == ("colon", "lung")
    assert "colon_aca, colon_n, lung_aca, lung_n and 1 more" in said(listing)
    assert listed(root, folders="parts")[0].classes == (*organs["colon"], *organs["lung"])
    assert "lung/lung_scc" in listed(root, folders="paths")[0].classes


def test_classes_on_two_levels_are_asked_for(save):
    root = save({"normal": 2, "tumour/glioma": 2, "tumour/meningioma": 2})
    with pytest.raises(UndecidedError, match=r"tumour holds folders \(glioma, men") as e:
        listed(root)
    assert set(e.value.choices) == {"classes", "paths", "tumour/"}
    assert listed(root, folders="classes")[0].classes == ("normal", "tumour")
    assert listed(root, folders="paths")[0].classes == (
        "normal", "tumour/glioma", "tumour/meningioma",
    )  # fmt: skip


def test_classes_that_are_named_decide_what_the_folders_are(save):
    root = save({f"{top}/{c}": 2 for top in ("AP", "PA") for c in CLASSES})
    assert listed(root, classes=("PA", "AP"))[0].classes == ("PA", "AP")


def test_a_wrong_decision_says_what_is_there(save):
    root = save({f"{top}/{c}": 2 for top in ("AP", "PA") for c in CLASSES})
    with pytest.raises(DatasetError, match="'class' is none of classes, parts, patients, paths"):
        listed(root, folders="class")
    with pytest.raises(DatasetError, match=r"no folder 'LAT' with images. Folders there: AP, PA"):
        listed(root, folders="LAT/")


# --- names of classes ----------------------------------------------------------------------------


def test_a_class_name_in_two_compositions_is_one_class(save):
    folders = {unicodedata.normalize(form, "Grippé"): 2 for form in ("NFC", "NFD")}
    root = save({**folders, "gesund": 2})
    listing, counts = listed(root)
    assert listing.classes == ("Grippé", "gesund") and counts["Grippé", ""] == 4
    named = tuple(unicodedata.normalize("NFD", name) for name in ("gesund", "Grippé"))
    assert len(listed(root, classes=named)[0].table) == 6


def test_classes_that_differ_in_capitals_or_blanks_only_are_refused_with_their_counts(save):
    root = save({"train/Normal": 3, "train/Lung_Opacity": 2, "test/Normal": 2})
    (root / "test" / "lung opacity").mkdir()
    shutil.copy(root / "train/Normal/Normal-0.png", root / "test/lung opacity/x.png")
    with pytest.raises(DatasetError, match="lung opacity"):
        listed(root)
    with pytest.raises(DatasetError, match="number format"):
        listed(save({"1": 2, "01": 2, "2": 2}, "numbered"))
    root = save({"benign": 2, "Benign": 3, "malignant": 2}, "flat")
    with pytest.raises(DatasetError, match=r"'Benign' \(3 images\) and 'benign' \(2 images\)"):
        listed(root)
    assert len(listed(root, classes=("benign", "Benign"))[0].classes) == 2


def test_a_single_class_says_what_was_found_beside(save):
    with pytest.raises(DatasetError, match=r"only one class \(images\).*4 masks"):
        listed(save({"images": 4, "masks": 4}))
    with pytest.raises(DatasetError, match="3 images in no class folder"):
        listed(save({"": 3}, "loose"))
