"""What labels of tables mean: joined, a column each, repeated, missing, spelled in several ways."""

import numpy as np
import pytest
import yaml
from PIL import Image
from pydantic import ValidationError

from medbench.cli import main
from medbench.datasets.catalog import read_datasets
from medbench.datasets.detect import detect
from medbench.datasets.sources.table import TableSource
from medbench.datasets.sources.table_joined import joined_by
from medbench.datasets.spellings import alike
from medbench.errors import ConfigurationError, DatasetError, UndecidedError


@pytest.fixture
def table(tmp_path):
    """Writes a table of labels; each row's file is a picture that is called by its number."""

    def write(labels, header="file,label", files=None):
        for i in range(len(labels)):
            pixels = np.random.default_rng(i).integers(0, 256, (16, 16), np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        names = files or [f"{i}.png" for i in range(len(labels))]
        rows = [f"{name},{label}" for name, label in zip(names, labels, strict=True)]
        path = tmp_path / "t.csv"
        path.write_text("\n".join([header, *rows, ""]))
        return path

    return write


def listing(path, **fields):
    return TableSource.model_validate({"path": str(path)} | fields).listing()


def per_class(said):
    """How many images show each class."""
    columns = [name for name in said.table.columns if name.startswith("label")]
    if columns == ["label"]:
        counts = said.table["label"].value_counts().to_dict()
    else:
        counts = dict(enumerate(said.table[columns].sum()))
    return {name: int(counts[k]) for k, name in enumerate(said.classes)}


def asked(path, field, **fields):
    """The question that a table raises; it must be about a field."""
    with pytest.raises(UndecidedError) as error:
        listing(path, **fields)
    assert error.value.field == field
    assert f"--{field} of python -m medbench datasets add" in str(error.value)
    return error.value


# --- several labels in a cell -------------------------------------------------------------------

JOINED = ["No Finding", "Mass", "Mass|Nodule", "Edema", "Mass|Edema", "No Finding"]


def test_labels_joined_by_a_bar_are_several(table):
    path = table(JOINED)
    entry = detect(path)
    assert (entry["task"], entry["separator"]) == ("multi-label", "|")
    said = TableSource.model_validate(entry).listing()
    assert said.task_type == "multi-label"
    assert per_class(said) == {"Edema": 2, "Mass": 3, "Nodule": 1}
    assert said.table[["label0", "label1", "label2"]].to_numpy().tolist() == [
        [0, 0, 0], [0, 1, 0], [0, 1, 1], [1, 0, 0], [1, 1, 0], [0, 0, 0],
    ]  # fmt: skip
    assert "labels of images that show none of the classes: 'No Finding' 2" in said.notes


def test_an_entry_that_does_not_say_what_joined_labels_mean_is_asked_with_counts(table):
    path = table(JOINED)
    question = asked(path, "task")
    assert "'Mass' 3" in question.question and "'Mass|Nodule' 1" in question.question
    assert set(question.choices) == {"multi-label", "multi-class"}
    assert per_class(listing(path, task="multi-label"))["Mass"] == 3
    assert per_class(listing(path, task="multi-class"))["Mass|Edema"] == 1


def test_classes_say_which_of_the_joined_labels_count(table):
    path = table(JOINED)
    fields = {"task": "multi-label", "separator": "|"}
    said = listing(path, classes=["Nodule", "Mass", "Edema"], **fields)
    assert said.classes == ("Nodule", "Mass", "Edema")
    classes = ["No Finding", "Mass", "Nodule", "Edema"]
    assert per_class(listing(path, classes=classes, **fields)) == {
        "No Finding": 2, "Mass": 3, "Nodule": 1, "Edema": 2,
    }  # fmt: skip
    with pytest.raises(DatasetError, match="labelled 'Edema', which the field classes"):
        listing(path, classes=["Nodule", "Mass"], **fields)
    said = listing(path, classes={"focal": ["Mass", "Nodule"], "fluid": "Edema"}, **fields)
    assert per_class(said) == {"focal": 3, "fluid": 2}


@pytest.mark.parametrize(
    ("values", "mark"),
    [
        (["a", "b", "a|b"], "|"),
        (["x|y", "z"], "|"),
        (["a", "b", "a;b"], ";"),
        (["a", "b", "a, b"], ","),
        (["DME", "CNV", "DME + CNV"], "+"),
        (["['a']", "['b']", "['a', 'b']"], ","),
        (["malignant", "normal, benign"], None),
        (["Duct, Tubule", "Cortex"], None),
        (["HER2+", "HER2-"], None),
        (["Pneumonia/Viral", "Pneumonia", "No Finding"], None),
    ],
)
def test_what_joins_labels_is_told_from_what_is_part_of_one(values, mark):
    assert joined_by(values) == mark


def test_the_mark_and_the_task_are_options(table):
    path = table(["a b", "a", "b", "b a"])
    entry = detect(path, separator=" ")
    assert per_class(TableSource.model_validate(entry).listing()) == {"a": 3, "b": 3}
    for given in ({"separator": ""}, {"separator": ";", "task": "multi-class"}):
        with pytest.raises(DatasetError, match=r"--separator .* --task multi-label"):
            detect(path, **given)
    bars = table(JOINED)
    assert "separator" not in detect(bars, task="multi-class")
    assert len(TableSource.model_validate(detect(bars, task="multi-label")).listing().classes) == 3


def test_a_column_of_all_different_labels_ends_soon(table):
    path = table([f"label {i}" for i in range(30)])
    with pytest.raises(DatasetError, match="30 different values, too many for classes"):
        detect(path)


def test_labels_in_brackets_are_a_list(table):
    path = table(["\"['a', 'b']\"", "\"['a']\"", "\"['b']\"", "['c']"])
    asked(path, "task")
    assert per_class(listing(path, task="multi-label")) == {"a": 2, "b": 2, "c": 1}


def test_multi_label_without_several_labels_is_refused(table):
    path = table(list("abab"))
    with pytest.raises(DatasetError, match="each image has one label in column 'label'"):
        listing(path, task="multi-label")
    with pytest.raises(ValueError, match="separator needs task"):
        listing(path, separator="|")


# --- a column for each class --------------------------------------------------------------------

ONE_HOT = ["1.0,0.0,0.0", "0.0,1.0,0.0", "1.0,0.0,0.0", "0.0,1.0,0.0"]


def test_one_column_a_class_is_recognised(table):
    path = table(ONE_HOT, header="image,MEL,NV,UNK")
    entry = detect(path)
    assert entry["label"] == ["MEL", "NV", "UNK"] and "task" not in entry
    said = TableSource.model_validate(entry).listing()
    assert said.task_type == "multi-class" and per_class(said) == {"MEL": 2, "NV": 2}
    assert any("never 1 are no classes: UNK" in note for note in said.notes)
    assert any("the one of 3 columns that is 1: MEL, NV, UNK" in note for note in said.notes)


@pytest.mark.parametrize(
    "rows",
    [
        ["1,0", "0,1", "1,0", "0,1"],
        ["1,", ",1", "1,", ",1"],
        ["TRUE,FALSE", "FALSE,TRUE", "TRUE,FALSE", "FALSE,TRUE"],
        ["yes,no", "no,yes", "yes,no", "no,yes"],
    ],
)
def test_one_and_zero_may_be_written_otherwise(table, rows):
    path = table(rows, header="image,sick,well")
    assert per_class(listing(path, file="image", label=["sick", "well"])) == {"sick": 2, "well": 2}


def test_rows_with_several_ones_or_none_are_multi_label_or_asked(table):
    path = table(["1,0", "1,1", "0,0", "0,1"], header="image,Mass,Edema")
    entry = detect(path)
    with pytest.raises(UndecidedError, match="1 rows have no 1 and 1 rows have several") as error:
        TableSource.model_validate(entry).listing()
    assert error.value.field == "task" and list(error.value.choices) == ["multi-label"]
    said = TableSource.model_validate(entry | {"task": "multi-label"}).listing()
    assert per_class(said) == {"Mass": 2, "Edema": 2}
    with pytest.raises(DatasetError, match="each row has exactly one"):
        TableSource.model_validate(entry | {"task": "multi-class"}).listing()


def test_uncertain_and_blank_labels_are_asked_about(table):
    fields = {"file": "image", "label": ["Mass", "Edema"], "task": "multi-label"}
    path = table(["1,0", "2,1", "0,1", "2,0"], header="image,Mass,Edema")
    with pytest.raises(DatasetError, match="other values than 0 and 1: 'Mass 2' 2"):
        listing(path, **fields)
    path = table(["1,0", "-1,1", "0,1", "-1.0,0"], header="image,Mass,Edema")
    assert "'-1' 1, '-1.0' 1" in asked(path, "unlabelled", **fields).question
    said = listing(path, unlabelled="absent", **fields)
    assert per_class(said) == {"Mass": 1, "Edema": 2}
    assert "cells of classes that are not filled in or uncertain (-1) (2 rows) are read as 0" in (
        said.notes
    )
    assert per_class(listing(path, unlabelled="skip", **fields)) == {"Mass": 1, "Edema": 1}
    path = table(["1,", "-1,1", ",1"], header="image,Mass,Edema")  # blank is no, uncertain is not
    assert "1 rows have no" in asked(path, "unlabelled", **fields).question
    path = table(["1,0", ",1", "0,1", "1,"], header="image,Mass,Edema")
    assert "2 rows have no 'Mass, Edema'" in asked(path, "unlabelled", **fields).question
    said = listing(path, unlabelled="absent", **fields)
    assert per_class(said) == {"Mass": 2, "Edema": 2}
    assert "cells of classes that are not filled in (2 rows) are read as 0" in said.notes
    assert per_class(listing(path, unlabelled="skip", **fields)) == {"Mass": 1, "Edema": 1}


def test_columns_with_uncertain_labels_are_classes_and_sex_is_none(table):
    rows = ["1,1,0,0", "0,-1,1,", "1,0,1,0", "0,,0,1"]
    path = table(rows, header="image,Male,Mass,Edema,Nodule")
    assert detect(path)["label"] == ["Mass", "Edema", "Nodule"]


def test_one_of_several_such_columns_alone_is_said(table):
    path = table(ONE_HOT, header="image,MEL,NV,UNK")
    said = TableSource.model_validate(detect(path, label="MEL")).listing()
    assert any("label: [MEL, NV, UNK] are a class each" in note for note in said.notes)


def test_columns_may_be_named_on_the_command_line(table, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = table(["3,1,0", "4,0,1", "5,1,0", "6,0,1"], header="image,age,MEL,NV")
    assert main(["datasets", "add", "mine", str(path), "--label", "mel, nv"]) == 0
    shown = capsys.readouterr().out
    assert "MEL: 2" in shown and "NV: 2" in shown
    assert yaml.safe_load((tmp_path / "datasets.yaml").read_text())["mine"]["label"] == [
        "MEL",
        "NV",
    ]


# --- spellings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        ["Benign", "benign", "Malignant", "malignant"],
        ["1", "1.0", "0", "0.0"],
        ["01", "1", "2", "02"],
        ["No Finding", "no_finding", "Mass", "mass"],
        ["COVID-19", "Covid 19", "b", "B"],
    ],
)
def test_spellings_that_differ_in_form_only_are_asked_about_with_counts(table, labels):
    path = table([*labels, labels[0]])
    question = asked(path, "spelling")
    for label in labels:
        assert f"'{label}' " in question.question
    assert f"'{labels[0]}' 2" in question.question
    merged = listing(path, spelling="merge")
    assert len(merged.classes) == 2 and sorted(per_class(merged).values()) == [2, 3]
    assert any(n.startswith("taken for one class: ") for n in merged.notes)
    assert len(listing(path, spelling="apart").classes) == 4


def test_classes_that_are_listed_decide_spellings_and_it_is_said(table):
    path = table(["0.0", "1.0", "0.0", "1.0", "1"])
    said = listing(path, classes=["0", "1"])
    assert per_class(said) == {"0": 2, "1": 3}
    assert any("'1.0' 2, '1' 1" in note for note in said.notes)


def test_patterns_that_catch_one_spelling_only_are_asked_about(table):
    path = table(["Pneumonia", "pneumonia", "clear", "clear"])
    fields = {"classes": {"sick": "Pneu*", "well": "clear"}}
    asked(path, "spelling", **fields)
    assert per_class(listing(path, spelling="merge", **fields)) == {"sick": 2, "well": 2}
    assert per_class(listing(path, spelling="apart", **fields)) == {"sick": 1, "well": 2}


def test_the_same_accent_composed_otherwise_is_the_same_label(table):
    said = listing(table(["be\u0301nin", "b\u00e9nin", "malin", "malin"]))
    assert len(said.classes) == 2 and said.notes == ()


def test_what_only_looks_alike_stays_apart():
    assert alike(["T1", "T2", "-1", "1", "1-2", "12", "A", "AB", "HER2+", "HER2-"]) == []
    assert alike(["T 1", "T1"]) == [["T 1", "T1"]]


# --- no label -----------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["", "NA", "n/a", "NaN", "null", "?"])
def test_rows_without_a_label_are_asked_about(table, word):
    path = table(["a", "b", word, "a"])
    question = asked(path, "unlabelled")
    assert f"1 rows have no 'label', first for file '2.png': '{word}' 1" in question.question
    said = listing(path, unlabelled="skip")
    assert per_class(said) == {"a": 2, "b": 1}
    assert said.notes == (f"1 rows without a label are left out: '{word}' 1",)


def test_na_may_be_a_class(table):
    path = table(["a", "NA", "a", "NA"])
    assert per_class(listing(path, unlabelled="class")) == {"NA": 2, "a": 2}
    assert listing(path, classes=["a", "NA"]).classes == ("a", "NA")
    blank = table(["a", "", "b", "b"])
    assert "class" not in asked(blank, "unlabelled", unlabelled="class").choices


def test_a_pattern_for_all_others_does_not_catch_missing_labels(table):
    path = table(["a", "x", "y", "NA"])
    said = listing(path, classes={"a": "a", "other": "*"})
    assert per_class(said) == {"a": 1, "other": 2}
    assert said.notes == ("1 rows of no class are left out: 'NA' 1",)


# --- rows that repeat an image ------------------------------------------------------------------


def test_rows_of_one_image_with_one_label_count_once(table):
    path = table(list("aabb"), files=["0.png", "./0.png", "1.png", "2.png"])
    said = listing(path)
    assert per_class(said) == {"a": 1, "b": 2}
    assert said.notes == ("2 rows name 1 images, each of which counts once",)


def test_rows_of_one_image_with_different_labels_are_asked_about(table):
    path = table(list("abba"), files=["0.png", "0.png", "1.png", "2.png"])
    question = asked(path, "task")
    assert "1 files have different labels in several rows ('a' and 'b' 1)" in question.question
    said = listing(path, task="multi-label")
    assert per_class(said) == {"a": 2, "b": 2} and len(said.table) == 3


@pytest.mark.parametrize(("column", "what"), [("group", "patients"), ("split", "parts of the")])
def test_rows_of_one_image_in_two_patients_or_parts_are_refused(table, column, what):
    cells = ["a,train", "a,test", "b,train", "b,test"]
    path = table(cells, header="file,label,other", files=["0.png", "0.png", "1.png", "2.png"])
    with pytest.raises(DatasetError, match=f"1 files are named in rows with different {what}"):
        listing(path, **{column: "other"})


# --- words that YAML takes for something else -----------------------------------------------------


def test_numbers_in_an_entry_are_text(table, tmp_path):
    table(["0", "1", "2", "0"], header="file,7")
    (tmp_path / "d.yaml").write_text(
        "grades: {source: table, path: t.csv, label: 7, classes: [0, 1, 2]}\n"
        "two: {source: table, path: t.csv, label: 7, classes: {fine: [0], 1: [1, 2]}}\n"
        "some: {source: table, path: t.csv, label: 7, where: {7: [0, 1]}}\n"
    )
    sources = read_datasets(tmp_path / "d.yaml")
    said = {name: per_class(source.within(tmp_path).listing()) for name, source in sources.items()}
    assert said == {
        "grades": {"0": 2, "1": 1, "2": 1},
        "two": {"fine": 2, "1": 2},
        "some": {"0": 2, "1": 1},
    }


@pytest.mark.parametrize(
    "entry",
    [
        "source: folder, path: x, classes: [no, yes]",
        "source: table, path: x, classes: [off, b]",
        "source: table, path: x, classes: {no: a, yes: b}",
        "source: table, path: x, where: {used: [yes]}",
        "source: table, path: x, label: y, group: no",
        "source: npz, path: x, classes: [null, a]",
        "source: table, path: x, label: 2020-01-01",
        "source: folder, path: x, positive: 2020-01-01",
    ],
)
def test_truth_values_and_dates_in_an_entry_say_to_write_quotes(tmp_path, entry):
    (tmp_path / "d.yaml").write_text(f"a: {{source: phantoms}}\nb: {{{entry}}}\n")
    with pytest.raises(ConfigurationError, match=r"line 2.*Write it in quotes, as"):
        read_datasets(tmp_path / "d.yaml")


# --- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        [str(40 + n % 35) for n in range(80)],
        [f"{n % 12 + 0.5}" for n in range(48)],
        [*(f"{n}" for n in range(20, 33)), "n/a"],
    ],
)
def test_measurements_are_no_classes_and_the_remedy_is_said(table, labels, tmp_path):
    path = table([*labels[:1]], header="file,age")
    path.write_text("\n".join(["file,age", *(f"0.png,{label}" for label in labels), ""]))
    for look in (lambda: listing(path, label="age"), lambda: detect(path, label="age")):
        with pytest.raises(DatasetError, match=r"t\.csv: column 'age' holds .* a column of ranges"):
            look()


def test_grades_and_codes_of_classes_are_no_measurements(table):
    path = table([str(n % 11) for n in range(33)])
    assert len(listing(path).classes) == 11
    path = table([f"{n % 12}.5" for n in range(24)])
    classes = [f"{n}.5" for n in range(12)]
    assert listing(path, classes=classes).classes == tuple(classes)  # a person says so


# --- boxes, a row each ----------------------------------------------------------------------------

BOXES = [
    "0,,,,,0",
    "1,9,9,4,4,1",
    "1,2,2,4,4,1",
    "2,,,,,0",
    "3,1,3,5,5,1",
    "3,2,2,5,5,1",
    "3,7,1,5,5,1",
]


def test_rows_of_boxes_are_one_image_with_the_label_that_they_agree_on(table):
    path = table(["a"] * 4)
    path.write_text("\n".join(["patientId,x,y,width,height,Target", *BOXES, ""]))
    entry = detect(path)
    assert (entry["file"], entry["label"], "group" in entry) == ("patientId", "Target", False)
    said = listing(path, file="patientId", label="Target")
    assert per_class(said) == {"0": 2, "1": 2}
    assert "5 rows name 2 images, each of which counts once" in said.notes


def test_one_positive_row_makes_an_image_positive_where_a_person_says_so(table, tmp_path, capsys):
    path = table(list("bcbb"), files=["0.png", "0.png", "1.png", "2.png"])
    question = asked(path, "task")
    assert "repeats: positive" in question.question
    said = listing(path, repeats="positive", positive="c")
    assert per_class(said) == {"b": 2, "c": 1}
    assert "1 of them have different labels in their rows, and are 'c' where one" in str(said.notes)
    with pytest.raises(DatasetError, match=r"t\.csv: no image of class 'c'"):
        listing(path, repeats="positive", positive="b")
    with pytest.raises(ValidationError, match="name it in positive"):
        listing(path, repeats="positive")


def test_of_ordinal_rows_the_highest_counts_and_of_classes_in_no_order_none(table):
    path = table(list("acbac"), files=["0.png", "0.png", "1.png", "2.png", "3.png"])
    classes = ["a", "b", "c"]
    said = listing(path, repeats="positive", task="ordinal", classes=classes)
    assert per_class(said) == {"a": 1, "b": 1, "c": 2}
    with pytest.raises(DatasetError, match=r"t\.csv: the field repeats needs two classes"):
        listing(path, repeats="positive", classes=classes)


# --- numbers with names ---------------------------------------------------------------------------


def test_numbers_get_the_names_that_a_person_gives_them_however_they_are_written(table):
    path = table(["0", "1.0", "2", "0.0", "01", "7"])
    said = listing(path, classes={"healthy": 0, "ill": [1, "2"]}, spelling="apart")
    assert per_class(said) == {"healthy": 2, "ill": 3}
    assert "1 rows of no class are left out: '7' 1" in said.notes


def test_names_behind_their_numbers_are_refused_with_the_right_way(table):
    with pytest.raises(DatasetError, match=r'The name of a class comes first: write ill: "1"'):
        listing(table(list("1010")), classes={1: "ill", 0: "healthy"})
