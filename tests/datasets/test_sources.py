import csv
import gzip
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from medbench import registry
from medbench.datasets.sources.bids import BidsSource
from medbench.datasets.sources.folder import FolderSource
from medbench.datasets.sources.npz import NpzSource
from medbench.datasets.sources.phantoms import PhantomSource
from medbench.datasets.sources.table import TableSource
from medbench.errors import DatasetError
from medbench.testing import SourceContract, check_source
from medbench.testing.image_files import dicom_file, nifti_file, picture_file

# --- a folder per class ----------------------------------------------------------------------


def test_a_folder_of_class_folders_lists_every_image_under_its_class(class_folders):
    listing = FolderSource(path=str(class_folders(per_class=3))).listing()
    assert listing.classes == ("a", "b")
    assert listing.table["origin"].tolist()[0] == "a/00.png"
    assert listing.table["label"].tolist() == [0, 0, 0, 1, 1, 1]
    assert isinstance(listing.read(0), bytes)


def test_classes_choose_and_order_the_folders(class_folders):
    root = class_folders(classes=("a", "b", "c"))
    listing = FolderSource(path=str(root), classes=("c", "a")).listing()
    assert listing.classes == ("c", "a")
    assert set(listing.table["origin"].str[0]) == {"a", "c"}


def test_an_empty_class_folder_is_named(class_folders):
    root = class_folders()
    (root / "empty").mkdir()
    with pytest.raises(DatasetError, match="empty: this class folder has no images"):
        FolderSource(path=str(root)).listing()


def test_one_class_only_is_refused(class_folders):
    with pytest.raises(DatasetError, match=r"only one class \(a\)"):
        FolderSource(path=str(class_folders(classes=("a",)))).listing()


def test_a_folder_without_class_folders_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="no class"):
        FolderSource(path=str(tmp_path)).listing()


def test_a_link_out_of_the_data_folder_is_refused(class_folders, tmp_path):
    root = class_folders()
    outside = tmp_path / "secret.png"
    Image.new("L", (20, 20)).save(outside)
    (root / "a" / "link.png").symlink_to(outside)
    with pytest.raises(DatasetError, match="leads out of the data folder"):
        FolderSource(path=str(root)).listing()


def test_groups_come_from_a_table_and_a_missing_row_is_named(class_folders, tmp_path):
    root = class_folders(per_class=2)
    table = tmp_path / "groups.csv"
    table.write_text("file,who\na/00.png,p1\na/01.png,p1\nb/00.png,p2\nb/01.png,p3\n")
    entry = {"path": str(root), "groups": {"table": str(table), "group": "who"}}
    assert FolderSource.model_validate(entry).listing().table["group"].tolist() == [
        "p1",
        "p1",
        "p2",
        "p3",
    ]
    table.write_text("file,who\na/00.png,p1\n")
    with pytest.raises(DatasetError, match=r"names no group for 3 images, first 'a/01.png'"):
        FolderSource.model_validate(entry).listing()
    entry["groups"]["group"] = "patient"
    with pytest.raises(DatasetError, match=r"no column 'patient'. Columns: file, who"):
        FolderSource.model_validate(entry).listing()
    table.write_text("File,Patient ID\na/00.png,p1\na/01.png,p1\nb/00.png,p2\nb/01.png,p3\n")
    entry["groups"]["group"] = "patient_id"
    assert FolderSource.model_validate(entry).listing().table["group"].nunique() == 3


def test_a_table_of_groups_that_is_named_must_be_there(class_folders):
    entry = {"path": str(class_folders(per_class=2)), "groups": {"table": "nowhere.csv"}}
    with pytest.raises(DatasetError, match=r"nowhere.csv: not found"):
        FolderSource.model_validate(entry).listing()


def test_ordinal_classes_keep_the_order_that_is_given(class_folders):
    root = class_folders(classes=("mild", "none", "severe"))
    source = FolderSource(path=str(root), task="ordinal", classes=("none", "mild", "severe"))
    listing = source.listing()
    assert listing.task_type == "ordinal"
    assert listing.classes == ("none", "mild", "severe")


def test_a_missing_path_says_where_it_was_looked_for_and_what_to_do(tmp_path):
    with pytest.raises(DatasetError, match=r"--data-dir or the environment variable MEDBENCH_DATA"):
        FolderSource(path="nowhere").within(tmp_path).listing()


# --- a table ---------------------------------------------------------------------------------


@pytest.fixture
def table(class_folders):
    root = class_folders(per_class=4)
    path = root / "images.csv"

    def write(rows=None, columns=("file", "label", "patient", "part", "view")):
        if rows is None:
            rows = [
                (f"{label}/{i:02d}.png", label, f"p{i}", "test" if i == 3 else "train", "PA")
                for label in "ab"
                for i in range(4)
            ]
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([columns, *rows])
        return path

    return write


def test_a_table_gives_labels_groups_and_split(table):
    source = TableSource(path=str(table()), group="patient", split="part")
    listing = source.listing()
    assert listing.classes == ("a", "b")
    assert listing.table["group"].tolist()[:2] == ["p0", "p1"]
    assert listing.table["split"].tolist().count("test") == 2


def test_where_keeps_rows_by_column_value(table):
    rows = [
        (f"{c}/{i:02d}.png", c, "p", "train", "PA" if i else "AP") for c in "ab" for i in (0, 1)
    ]
    path = str(table(rows))
    assert len(TableSource(path=path, where={"view": "PA"}).listing().table) == 2
    assert len(TableSource(path=path, where={"view": ("PA", "AP")}).listing().table) == 4
    with pytest.raises(DatasetError, match=r"no row has view in .*Values there: AP, PA"):
        TableSource(path=path, where={"view": "LAT"}).listing()
    with pytest.raises(DatasetError, match="no column 'veiw'"):
        TableSource(path=path, where={"veiw": "PA"}).listing()


def test_a_missing_label_column_lists_the_columns_there_are(table):
    with pytest.raises(DatasetError, match=r"no column 'diagnosis'. Columns: file, label"):
        TableSource(path=str(table()), label="diagnosis").listing()


def test_a_file_of_the_table_that_does_not_exist_is_named(table):
    path = table([("a/00.png", "a"), ("b/99.png", "b")], columns=("file", "label"))
    with pytest.raises(DatasetError, match=r"1 of 2 files are not in .*'b/99.png'"):
        TableSource(path=str(path)).listing()


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/../../x.png"])
def test_a_path_that_leaves_the_data_folder_is_refused(table, name):
    path = table([("a/00.png", "a"), (name, "b")], columns=("file", "label"))
    with pytest.raises(DatasetError, match="leads out of the data folder"):
        TableSource(path=str(path)).listing()


def test_a_row_without_label_and_a_strange_split_are_named(table):
    path = table([("a/00.png", "a"), ("b/00.png", "")], columns=("file", "label"))
    with pytest.raises(DatasetError, match=r"1 rows have no 'label', first for file 'b/00.png'"):
        TableSource(path=str(path)).listing()
    rows = [("a/00.png", "a", "train"), ("b/00.png", "b", "holdout")]
    path = table(rows, columns=("file", "label", "part"))
    with pytest.raises(DatasetError, match="'holdout'; it must say train, val or test"):
        TableSource(path=str(path), split="part").listing()


def test_classes_that_no_row_has_are_named(table):
    with pytest.raises(DatasetError, match="no image of class 'c'"):
        TableSource(path=str(table()), classes=("a", "b", "c")).listing()
    with pytest.raises(DatasetError, match="labelled 'b', which the field classes does not list"):
        TableSource(path=str(table()), classes=("a",)).listing()


def test_patterns_map_labels_to_classes_and_what_fits_none_is_left_out_and_told(table):
    findings = ["No Finding", "Pneumonia", "Pneumonia/Viral/COVID-19", "Pneumonia/Viral/SARS"]
    rows = [(f"a/0{i}.png", finding) for i, finding in enumerate(findings)]
    rows += [("b/00.png", "todo"), ("b/01.png", "todo"), ("b/02.png", "")]
    path = table(rows, columns=("file", "label"))
    classes = {
        "no_finding": "No Finding",
        "pneumonia": ["Pneumonia", "Pneumonia/*"],
        "covid19": "Pneumonia/Viral/COVID-19*",
    }
    listing = TableSource(path=str(path), classes=classes).listing()
    assert listing.classes == ("no_finding", "pneumonia", "covid19")
    assert listing.table["label"].tolist() == [0, 1, 2, 1]
    assert listing.notes == ("3 rows of no class are left out: 'todo' 2, '' 1",)
    with pytest.raises(DatasetError, match="no image of class 'sars'"):
        TableSource(path=str(path), classes={**classes, "sars": "SARS*"}).listing()
    with pytest.raises(DatasetError, match=r"no label fits a pattern .*Values there: 'todo'"):
        TableSource(path=str(path), classes={"x": "X*", "y": "Y"}).listing()


# --- npz -------------------------------------------------------------------------------------


def arrays(**changes):
    rng = np.random.default_rng(0)
    content = {}
    for part, n in (("train", 6), ("val", 2), ("test", 4)):
        content[f"{part}_images"] = rng.integers(0, 255, (n, 28, 28), dtype=np.uint8)
        content[f"{part}_labels"] = (np.arange(n) % 2)[:, None]
    return {k: v for k, v in {**content, **changes}.items() if v is not None}


def test_an_npz_keeps_its_official_split(tmp_path):
    np.savez(tmp_path / "x.npz", **arrays())
    listing = NpzSource(path=str(tmp_path / "x.npz")).listing()
    assert listing.table["split"].tolist() == ["train"] * 6 + ["val"] * 2 + ["test"] * 4
    assert listing.classes == ("0", "1")
    assert listing.read(0).shape == (28, 28)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_images": None, "test_labels": None}, "has no array test_images"),
        ({"val_labels": None}, "has val_images but no val_labels"),
        ({"train_labels": np.zeros((6, 14), int)}, "one label an image"),
        ({"train_labels": np.zeros((5, 1), int)}, "6 train_images but 5"),
        ({"train_labels": np.full((6, 1), -1)}, "whole numbers from 0"),
        ({"train_labels": np.full((6, 1), 0.5)}, "whole numbers from 0"),
        ({"train_labels": np.zeros((6, 0), int)}, "One label an image is needed"),
        ({"train_labels": np.array(0)}, "6 train_images but 1"),
        ({"train_images": np.zeros((6, 28, 28, 2), np.uint8)}, "it must be uint8"),
        ({"train_images": np.zeros((28, 28, 6), np.uint8).T}, "np.ascontiguousarray"),
    ],
)
def test_a_wrong_npz_names_the_array(tmp_path, changes, message):
    np.savez(tmp_path / "x.npz", **arrays(**changes))
    with pytest.raises(DatasetError, match=message):
        NpzSource(path=str(tmp_path / "x.npz")).listing()


def float_images(**pixels):
    images = np.full((6, 28, 28), 7.0, np.float32)
    for place, value in pixels.items():
        images[int(place[1:])][3, 4] = value
    return images


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (float_images(n2=np.nan), r"float32; it must be uint8.*1 images \(train/2\) .* NaN"),
        (float_images(n1=np.inf), r"\(train/1\) have pixels that are NaN or infinite"),
        (
            float_images(n0=-9, n3=-1, n4=-2, n5=-3),
            r"4 images \(train/0, train/3, train/4, ...\) have negative pixels \(lowest -9\)",
        ),
        (float_images(n4=256), r"\(train/4\) have pixels above 255 \(highest 256\)"),
        (float_images(), r"whole numbers from 0 to 255: save train_images.astype\('uint8'\)"),
        (float_images() / 7, r"go up to 1: save \(train_images \* 255\).round\(\).astype"),
        (float_images() / 2, r"go up to 3.5: save train_images.round\(\).astype"),
        (np.full((6, 28, 28), -1, np.int16), r"6 images .* have negative pixels \(lowest -1\)"),
        (np.full((6, 28, 28), "x"), "it must be uint8"),
    ],
)
def test_other_pixels_than_uint8_are_named_with_what_converts_them(tmp_path, images, message):
    np.savez(tmp_path / "x.npz", **arrays(train_images=images))
    with pytest.raises(DatasetError, match=message):
        NpzSource(path=str(tmp_path / "x.npz")).listing()


def several(**changes):
    """Three labels an image: the first always, the second for odd images, the third never."""
    labels = {}
    for part, n in (("train", 6), ("val", 2), ("test", 4)):
        labels[f"{part}_labels"] = np.stack([np.ones(n), np.arange(n) % 2, np.zeros(n)], axis=1)
    return arrays(**(labels | changes))


def test_an_npz_of_several_labels_an_image_gives_a_column_a_class(tmp_path):
    np.savez(tmp_path / "x.npz", **several())
    source = NpzSource(path=str(tmp_path / "x.npz"), task="multi-label", classes=("x", "y", "z"))
    listing = source.listing()
    assert listing.task_type == "multi-label"
    assert listing.classes == ("x", "y", "z")
    assert listing.table[["label0", "label1", "label2"]].head(3).to_numpy().tolist() == [
        [1, 0, 0],
        [1, 1, 0],
        [1, 0, 0],
    ]


@pytest.mark.parametrize(
    ("content", "fields", "message"),
    [
        (arrays(), {"task": "multi-label"}, "one label an image, but the task is multi-label"),
        (several(), {}, "several labels an image, but the task is multi-class"),
        (several(), {"task": "ordinal"}, "but the task is ordinal"),
        (
            several(test_labels=np.array([[0, 1, 0], [0, 0, 2], [0, 0, 0], [1, 1, 1]])),
            {"task": "multi-label"},
            "values other than 0 and 1, first 2 for image test/1, class 2",
        ),
        (
            several(train_labels=np.full((6, 3), np.nan)),
            {"task": "multi-label"},
            "first nan for image train/0, class 0",
        ),
        (
            several(val_labels=np.zeros((2, 4))),
            {"task": "multi-label"},
            "different widths",
        ),
        (several(), {"task": "multi-label", "classes": ("x",)}, "3 columns, but .* lists 1"),
    ],
)
def test_labels_that_do_not_fit_the_task_are_refused(tmp_path, content, fields, message):
    np.savez(tmp_path / "x.npz", **content)
    with pytest.raises(DatasetError, match=message):
        NpzSource(path=str(tmp_path / "x.npz"), **fields).listing()


def test_images_of_an_npz_come_in_any_order_and_from_many_threads(tmp_path):
    rng = np.random.default_rng(1)
    content = arrays(
        train_images=rng.integers(0, 255, (700, 16, 16, 3), dtype=np.uint8),
        train_labels=np.arange(700) % 2,
    )
    np.savez_compressed(tmp_path / "x.npz", **content)
    expected = [*content["train_images"], *content["val_images"], *content["test_images"]]
    read = NpzSource(path=str(tmp_path / "x.npz")).listing().read
    order = [*range(len(expected)), 5, 699, 705, 700, 0, 703]
    with ThreadPoolExecutor(8) as pool:
        for index, image in zip(order, pool.map(read, order), strict=True):
            assert np.array_equal(image, expected[index])


def test_a_label_outside_the_classes_is_named(tmp_path):
    labels = np.array([[0], [1], [2], [0], [1], [2]])
    np.savez(tmp_path / "x.npz", **arrays(train_labels=labels))
    with pytest.raises(DatasetError, match="label 2 of image train/2 is outside the 2 classes"):
        NpzSource(path=str(tmp_path / "x.npz"), classes=("x", "y")).listing()


def test_an_npz_of_python_objects_is_never_unpickled(tmp_path):
    np.savez(tmp_path / "x.npz", train_images=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DatasetError, match="cannot be read as an npz archive of plain arrays"):
        NpzSource(path=str(tmp_path / "x.npz")).listing()


def test_a_file_that_is_no_npz_is_named(tmp_path):
    (tmp_path / "x.npz").write_text("hello")
    with pytest.raises(DatasetError, match=r"x.npz: cannot be read"):
        NpzSource(path=str(tmp_path / "x.npz")).listing()


def test_folders_called_train_and_test_are_no_classes(class_folders):
    root = class_folders(classes=("train", "test"))
    with pytest.raises(DatasetError, match="parts of a split, not classes"):
        FolderSource(path=str(root)).listing()


def test_links_to_folders_and_to_nowhere_are_refused_not_passed_over(class_folders, tmp_path):
    root = class_folders()
    (root / "a" / "more").symlink_to(tmp_path)
    with pytest.raises(DatasetError, match="this link leads to a folder"):
        FolderSource(path=str(root)).listing()
    (root / "a" / "more").unlink()
    (root / "a" / "gone.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DatasetError, match="this link leads nowhere"):
        FolderSource(path=str(root)).listing()


def test_a_link_to_itself_is_refused_as_one_that_leads_nowhere(class_folders):
    root = class_folders()
    for name in ("loop", "a/loop.png"):
        (root / name).symlink_to(root / name)
        for classes in (None, ("a", "b")):
            with pytest.raises(DatasetError, match=f"{name}: this link leads nowhere"):
                FolderSource(path=str(root), classes=classes).listing()
        (root / name).unlink()


def test_blanks_around_labels_and_in_patients_make_no_difference(table):
    rows = [("a/00.png", "a ", "P 1"), ("a/01.png", " a", "P  1 "), ("b/00.png", "b", "nan")]
    source = TableSource(path=str(table(rows, columns=("file", "label ", " patient"))))
    source = source.model_copy(update={"group": "patient"})
    listing = source.listing()
    assert listing.classes == ("a", "b")
    assert listing.table["group"].tolist() == ["P 1", "P 1", ""]


def test_one_file_under_two_names_is_refused(table):
    rows = [("a/00.png", "a"), ("./a/00.png", "b"), ("b/00.png", "b")]
    with pytest.raises(DatasetError, match="is named in two rows"):
        TableSource(path=str(table(rows, columns=("file", "label")))).listing()


def test_a_group_table_with_two_rows_for_a_file_is_refused(class_folders, tmp_path):
    root = class_folders(per_class=1)
    table = tmp_path / "groups.csv"
    table.write_text("file,group\na/00.png,p1\na/00.png,p2\nb/00.png,p3\n")
    entry = {"path": str(root), "groups": {"table": str(table)}}
    with pytest.raises(DatasetError, match=r"'a/00.png' is named in two rows"):
        FolderSource.model_validate(entry).listing()


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b"])
def test_a_name_that_no_file_can_have_is_an_error_not_a_crash(table, name):
    path = table([("a/00.png", "a"), (name, "b")], columns=("file", "label"))
    with pytest.raises(DatasetError):
        TableSource(path=str(path)).listing()


def test_a_huge_label_or_a_gap_in_the_labels_is_named_at_once(tmp_path):
    for label, message in ((10**9, "1,000,000,001 classes are above"), (5, "no image has label 2")):
        labels = np.array([[0], [1], [label], [0], [1], [0]])
        np.savez(tmp_path / "x.npz", **arrays(train_labels=labels))
        with pytest.raises(DatasetError, match=message):
            NpzSource(path=str(tmp_path / "x.npz")).listing()


@pytest.mark.parametrize("damage", ["empty", "flipped", "single"])
def test_a_damaged_npz_never_advises_to_unpickle(tmp_path, damage):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, **arrays())
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "flipped":
        content = bytearray(path.read_bytes())
        content[200:400] = bytes(200)
        path.write_bytes(bytes(content))
    else:
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    with pytest.raises(DatasetError, match="cannot be read as an npz archive") as error:
        NpzSource(path=str(path)).listing()
    assert "unsafe" not in str(error.value)


# --- slices and patients ---------------------------------------------------------------------

FRAME = np.random.default_rng(5).integers(0, 256, (40, 8, 8), dtype=np.uint8)
"""Frames that all differ."""


def series(root, patients, frames=1, **elements):
    """DICOM files in two class folders, one for each of these patients."""
    for i, patient in enumerate(patients):
        path = root / "ab"[i % 2] / f"{i}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = FRAME[i] if frames == 1 else FRAME[i : i + frames]
        path.write_bytes(dicom_file(pixels, PatientID=patient, **elements))
    return root


def groups_in(source):
    return source.listing().table.set_index("origin")["group"].to_dict()


def test_dicom_files_of_one_patient_are_one_group(tmp_path):
    source = FolderSource(path=str(series(tmp_path / "set", "AABBCCDDABCD")))
    listing = source.listing()
    assert listing.table["group"].nunique() == 4
    assert groups_in(source)["a/0.dcm"] == groups_in(source)["b/1.dcm"]
    assert any("12 files are grouped by the patient" in note for note in listing.notes)


def test_an_issuer_tells_equal_patient_ids_apart(tmp_path):
    root = series(tmp_path / "set", "PPQQ")
    (root / "a" / "0.dcm").write_bytes(dicom_file(FRAME[0], PatientID="P", IssuerOfPatientID="X"))
    assert FolderSource(path=str(root)).listing().table["group"].nunique() == 3


def test_one_patient_id_in_all_files_is_a_placeholder_and_said(tmp_path):
    listing = FolderSource(path=str(series(tmp_path / "set", ["ANON"] * 6))).listing()
    assert (listing.table["group"] == "").all()
    assert any("all 6 files that name a patient" in note for note in listing.notes)
    assert "ANON" not in str(listing)


def test_files_without_a_patient_are_kept_together_by_series(tmp_path):
    root = tmp_path / "set"
    for i, (patient, uid) in enumerate([("", "1.2"), ("P", "1.2"), ("", "1.3"), ("Q", "1.4")]):
        path = root / "ab"[i % 2] / f"{i}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dicom_file(FRAME[i], PatientID=patient, SeriesInstanceUID=uid))
    (root / "a" / "4.dcm").write_bytes(dicom_file(FRAME[4], SeriesInstanceUID="1.3"))
    (root / "a" / "9.png").write_bytes(picture_file(FRAME[9]))
    groups = groups_in(FolderSource(path=str(root)))
    assert groups["a/0.dcm"] == groups["b/1.dcm"] != groups["a/2.dcm"] == groups["a/4.dcm"] != ""
    assert groups["a/9.png"] == ""


def test_a_table_of_groups_or_a_column_comes_before_the_header(tmp_path):
    root = series(tmp_path / "set", "AABB")
    rows = "\n".join(f"{'ab'[i % 2]}/{i}.dcm,{'ab'[i % 2]},g{i // 3}" for i in range(4))
    (root / "t.csv").write_text(f"file,label,who\n{rows}\n")
    column = TableSource(path=str(root / "t.csv"), group="who")
    assert list(groups_in(column).values()) == ["g0", "g0", "g0", "g1"]
    entry = {"path": str(root), "groups": {"table": str(root / "t.csv"), "group": "who"}}
    assert set(groups_in(FolderSource.model_validate(entry)).values()) == {"g0", "g1"}
    without = groups_in(TableSource(path=str(root / "t.csv")))
    assert without["a/0.dcm"] == without["b/1.dcm"] != without["a/2.dcm"] != ""


def test_the_middle_slices_of_a_volume_are_listed_and_said(tmp_path):
    root = series(tmp_path / "set", "ABCD", frames=5)
    for name in ("a", "b"):
        voxels = np.random.default_rng(3).integers(0, 99, (6, 7, 24)).astype(np.int16)
        (root / name / "v.nii.gz").write_bytes(gzip.compress(nifti_file(voxels)))
    (root / "a" / "p.png").write_bytes(picture_file(FRAME[30]))
    listing = FolderSource(path=str(root)).listing()
    found = listing.table.set_index("origin")["slice"].to_dict()
    assert (found["a/0.dcm"], found["a/v.nii.gz"], found["a/p.png"]) == (3, 12, 1)
    assert any("6 files with several slices (5 to 24)" in note for note in listing.notes)
    more = FolderSource(path=str(root), slices=3).listing().table
    of_file = more.groupby("origin")["slice"].apply(list).to_dict()
    assert of_file["a/0.dcm"] == [2, 3, 4] and of_file["a/v.nii.gz"] == [11, 12, 13]
    assert of_file["a/p.png"] == [1] and len(more) == 6 * 3 + 1
    assert FolderSource(path=str(root), slices=99).listing().table["slice"].max() == 24


def test_a_table_of_volumes_keeps_label_and_split_for_every_slice(tmp_path):
    root = series(tmp_path / "set", "ABCD", frames=4)
    rows = "".join(
        f"{'ab'[i % 2]}/{i}.dcm,{'ab'[i % 2]},{part}\n"
        for i, part in enumerate(("train", "train", "test", "test"))
    )
    (root / "t.csv").write_text(f"file,label,part\n{rows}")
    table = TableSource(path=str(root / "t.csv"), split="part", slices=2).listing().table
    assert table["slice"].tolist() == [2, 3] * 4
    assert table["label"].tolist() == [0, 0, 1, 1] * 2
    assert table["split"].tolist() == ["train"] * 4 + ["test"] * 4


@pytest.mark.parametrize("slices", [0, -1, 1.5])
def test_a_number_of_slices_is_a_whole_one(tmp_path, slices):
    with pytest.raises(ValueError, match="slices"):
        FolderSource(path=str(tmp_path), slices=slices)


# --- the contract ----------------------------------------------------------------------------


def small_folder(root, class_folders, tiny):
    return FolderSource(path=str(series(root / "volumes", "ABCD", frames=5)), slices=2)


def small_table(root, class_folders, tiny):
    films = class_folders(per_class=2)
    (films / "t.csv").write_text("file,label\na/00.png,a\na/01.png,a\nb/00.png,b\nb/01.png,b\n")
    return TableSource(path=str(films / "t.csv"))


def small_npz(root, class_folders, tiny):
    np.savez(root / "x.npz", **arrays())
    return NpzSource(path=str(root / "x.npz"))


def small_medmnist(root, class_folders, tiny):
    tiny.put(root / "data")
    return tiny.source(root / "data")


def small_bids(root, class_folders, tiny):
    tree = root / "tree"
    rows = ["participant_id\tgroup"]
    for number in range(4):
        folder = tree / f"sub-{number}" / "anat"
        folder.mkdir(parents=True)
        voxels = np.arange(16 * 16 * 3).reshape(16, 16, 3).astype(np.int16) + number
        (folder / f"sub-{number}_T1w.nii").write_bytes(nifti_file(voxels))
        rows.append(f"sub-{number}\t{'ab'[number % 2]}")
    (tree / "participants.tsv").write_text("\n".join(rows) + "\n")
    return BidsSource(path=str(tree))


def small_phantoms(root, class_folders, tiny):
    return PhantomSource(patients=4, images_per_patient=2, image_size=32)


SMALL = {
    "folder": small_folder,
    "table": small_table,
    "npz": small_npz,
    "medmnist": small_medmnist,
    "bids": small_bids,
    "phantoms": small_phantoms,
}
"""What makes a small data set of each source."""


class TestEverySource(SourceContract):
    """Found in the registry: a new one without a small data set here fails."""

    @pytest.fixture(autouse=True, params=registry.sources.names())
    def registered(self, request, tmp_path, class_folders, tiny):
        self.source = SMALL[request.param](tmp_path, class_folders, tiny)
        assert type(self.source) is registry.sources.get(request.param)


def test_a_source_of_a_package_keeps_the_contract(example_plugin):
    check_source(registry.sources.get("squares"), images=6)
