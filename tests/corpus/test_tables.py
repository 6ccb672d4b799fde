"""Tables as people write them: names of columns and files, separators, encodings, headers."""

import numpy as np
import pytest
from PIL import Image

from medbench.cli import main
from medbench.datasets.csv_files import read_csv
from medbench.datasets.detect import detect
from medbench.datasets.sources.table import TableSource
from medbench.errors import DatasetError, UndecidedError


@pytest.fixture
def pictures(tmp_path):
    """Draws pictures by their names below a folder, which it gives."""

    def draw(*names):
        for number, name in enumerate(names):
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 256, (16, 16), np.uint8)
            Image.fromarray(pixels).save(path)
        return tmp_path / "set"

    return draw


def written(root, *lines, name="t.csv", **how):
    path = root / name
    path.write_bytes("\n".join([*lines, ""]).encode(how.get("encoding", "utf-8")))
    return path


def listing(path, **fields):
    return TableSource(path=str(path), **fields).listing()


def origins(path, **fields):
    return listing(path, **fields).table["origin"].tolist()


# --- how a table is written ---------------------------------------------------------------------

LINES = ("file,label,score", "0.png,bénin,1", "1.png,malin,2", "2.png,bénin,3", "3.png,malin,4")


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(LINES),
        "\r\n".join(LINES),
        "\r".join(LINES),
        "\n".join(LINES).replace(",", ";"),
        "\n".join(LINES).replace(",", "\t"),
        "\n".join(LINES).replace(",", "|"),
        "\n".join(["sep=,", *LINES]),
        "\n".join(["sep=;", *LINES]).replace(",", ";"),
        "\n".join(["sep=\t", *LINES]).replace(",", "\t"),
        "\n".join(["# exported 2024, by me", "#", "", *LINES]),
        "\n".join([*LINES, "# end", "", ",,"]),
        "#" + "\n".join(LINES),
        "\n".join(f"{line},," for line in LINES),
        "\n".join([LINES[0], *(f"{line}," for line in LINES[1:])]),
        "\n".join([*LINES[:3], LINES[0], *LINES[3:]]),
        "\n".join(f'"{line.replace(",", chr(34) + "," + chr(34))}"' for line in LINES),
        "\n".join(line.replace(",", " , ") for line in LINES),
    ],
    ids=[
        "plain", "windows", "old mac", "semicolons", "tabs", "bars", "sep", "sep ;", "sep tab",
        "comments", "comment below", "# before header", "empty columns", "trailing commas",
        "header twice", "quoted", "blanks",
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_table_is_read_however_it_is_written(tmp_path, text, encoding):
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    rows = read_csv(tmp_path / "t.csv")
    assert list(rows.columns) == ["file", "label", "score"]
    assert rows["file"].tolist() == ["0.png", "1.png", "2.png", "3.png"]
    assert rows["label"].tolist() == ["bénin", "malin"] * 2


def test_decimal_commas_and_commas_in_the_header_do_not_hide_the_semicolons(tmp_path):
    path = written(tmp_path, "file;label;age, years", "0.png;a;0,5", "1.png;b;0,5")
    assert list(read_csv(path).columns) == ["file", "label", "age, years"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0.png,a\n1.png,b\n", "has no header: its first line holds '0.png'"),
        ("000c14,2\n0024cd,0\n00a1b2,2\n", "has no header: its first line holds '2'"),
        ("file,label\n0.png,a,7\n", "line 2: has 3 cells, but the header .* names 2 columns"),
        ("Exported by me\n\nfile,label\n0.png,a\n", r"line 3: has 2 cells, .* above the header"),
        ('file,label\n0.png,"a\n1.png,b\n', "Close every quotation mark"),
        ("file,label,label\n0.png,a,b\n", "two columns are called 'label'"),
        ('sep="\n0.png,a\n', "has no header|cannot be read as a CSV|has 2 cells"),
        ("file,label\n", "has no rows"),
        ("", "has no rows"),
        ("file label\n0.png a\n1.png b\n", "separated by blanks"),
        ("file,label\n0.png,b\xe9nin\n".encode("cp1252"), "line 2: is not UTF-8 .byte 0xe9"),
        (b"PK\x03\x04rest", "a zip archive or an Excel workbook"),
        (b"\x1f\x8brest", "packed by gzip"),
    ],
)
def test_what_is_no_table_is_refused_in_words(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DatasetError, match=message):
        read_csv(path)


@pytest.mark.parametrize(
    ("name", "message"), [("t.7z", "Unpack it"), ("t.xls", "Save it as .xlsx or CSV")]
)
def test_a_packed_table_or_a_workbook_says_what_to_do(tmp_path, name, message):
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    with pytest.raises(DatasetError, match=message):
        detect(tmp_path / name)


# --- which column is what -----------------------------------------------------------------------


def table_of(root, header, n=12, **cells):
    """A table of n rows: each cell is a function of the number of the row."""
    rows = [",".join(str(cells[name](i)) for name in cells) for i in range(n)]
    return written(root, header, *rows)


@pytest.fixture
def twelve(pictures):
    return pictures(*(f"{i}.png" for i in range(12)))


def test_names_of_columns_are_compared_without_blanks_case_and_dashes(twelve):
    path = table_of(
        twelve,
        "Image Index,Finding-Labels,PATIENT ID,Data_Set",
        file=lambda i: f"{i}.png",
        label=lambda i: "ab"[i % 2],
        patient=lambda i: f"p{i // 2}",
        part=lambda i: "Test" if i > 8 else "TRAIN",
    )
    entry = detect(path)
    assert (entry["file"], entry["label"]) == ("Image Index", "Finding-Labels")
    assert (entry["group"], entry["split"]) == ("PATIENT ID", "Data_Set")
    said = listing(path, file="image_index", label="findinglabels", group="patient_id")
    assert said.table["group"].nunique() == 6


def test_a_group_that_is_the_diagnosis_is_no_patient_and_that_is_said(twelve):
    path = table_of(
        twelve,
        "file,label,Group",
        file=lambda i: f"{i}.png",
        label=lambda i: "ab"[i % 2],
        group=lambda i: ("Demented", "Nondemented")[i % 2],
    )
    entry = detect(path)
    assert "group" not in entry
    notes = listing(path).notes
    assert any("'Group' is not used as the patients: it has only 2 different" in n for n in notes)
    path = table_of(
        twelve,
        "file,Group,Subject ID",
        file=lambda i: f"{i}.png",
        group=lambda i: ("Demented", "Nondemented")[i % 2],
        subject=lambda i: f"s{i // 2}",
    )
    with pytest.raises(UndecidedError, match="which column is the label") as error:
        detect(path)
    assert "Group" in error.value.choices
    entry = detect(path, label="Group")
    assert (entry["label"], entry["group"]) == ("Group", "Subject ID")


def test_no_column_is_two_things(twelve):
    path = table_of(twelve, "file,label", file=lambda i: f"{i}.png", label=lambda i: "ab"[i % 2])
    with pytest.raises(DatasetError, match="'label' is named as label and as group"):
        listing(path, group="Label")


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("fold", lambda i: i % 5, "'fold' is not used as an official split: it holds '0', '1'"),
        ("split", lambda i: "train", "it says the same in every row"),
        ("patient", lambda i: "anonymous", "it says 'anonymous' and nothing else"),
        ("PatientID", lambda i: "n/a", "it names none"),
        ("path", lambda i: f"/gone/{i}.dcm", "'path' is not used for the files: 'file' is"),
    ],
)
def test_a_likely_column_that_is_not_used_is_said_with_the_reason(twelve, column, value, reason):
    path = table_of(
        twelve,
        f"file,label,{column}",
        file=lambda i: f"{i}.png",
        label=lambda i: "ab"[i % 2],
        other=value,
    )
    entry = detect(path)
    assert column not in entry.values()
    assert any(reason in note for note in listing(path).notes)


@pytest.mark.parametrize(
    ("name", "used"),
    [
        ("Patient's ID", True),
        ("id_patient", True),
        ("SubjectNo", True),
        ("participant_id", True),
        ("Case Number", True),
        ("Anon. patient", True),
        ("patient label of site", False),
        ("Patient Age", None),
        ("patient_position", None),
    ],
)
def test_columns_of_patients_are_known_by_their_words(twelve, name, used):
    path = table_of(
        twelve,
        f"file,label,{name}",
        file=lambda i: f"{i}.png",
        label=lambda i: "ab"[i % 2],
        patient=lambda i: 20 + i // 2,
    )
    assert detect(path).get("group") == (name if used else None)
    assert any("patients" in note for note in listing(path).notes) == (used is not None)


def test_a_patient_column_that_an_entry_does_not_name_is_said(twelve):
    path = table_of(
        twelve,
        "file,label,Patient ID",
        file=lambda i: f"{i}.png",
        label=lambda i: "ab"[i % 2],
        patient=lambda i: i // 2,
    )
    assert any("the entry does not name it (field group)" in n for n in listing(path).notes)
    assert listing(path, group="Patient ID").notes == ()


def test_patients_that_are_spelled_in_two_ways_are_one(twelve):
    path = table_of(
        twelve,
        "file,label,patient",
        file=lambda i: f"{i}.png",
        label=lambda i: "ab"[i % 2],
        patient=lambda i: ("P-1", "p1", "p2", "7", "7.0", "n/a")[i % 6],
    )
    said = listing(path, group="patient")
    assert set(said.table["group"]) == {"P-1", "p2", "7", ""}
    assert any("2 patients are spelled in several ways" in note for note in said.notes)


def test_the_column_that_nobody_can_guess_is_asked_for_at_a_terminal(twelve, monkeypatch, capsys):
    path = table_of(
        twelve,
        "file,grade 1,grade 2",
        file=lambda i: f"{i}.png",
        one=lambda i: "ab"[i % 2],
        two=lambda i: "xyz"[i % 3],
    )
    monkeypatch.chdir(twelve)
    add = ["datasets", "add", "mine", str(path)]
    assert main(add) == 2
    assert "--label of python -m medbench datasets add" in capsys.readouterr().err
    monkeypatch.setattr("medbench.running.ask.answer", lambda error: [*error.choices][1])
    assert main(add) == 0
    assert "label: grade 2" in capsys.readouterr().out


def test_numbers_that_happen_to_be_names_of_files_are_not_taken_for_them(twelve):
    columns = {"number": lambda i: i, "age": lambda i: 11 - i, "label": lambda i: "ab"[i % 2]}
    named = {"number": lambda i: i, "scan": lambda i: f"{11 - i}.png", "label": columns["label"]}
    assert detect(table_of(twelve, ",scan,label", **named))["file"] == "scan"
    named["scan"] = lambda i: 11 - i
    assert detect(table_of(twelve, ",image_id,label", **named))["file"] == "image_id"
    with pytest.raises(UndecidedError, match="several columns are names of files") as error:
        detect(table_of(twelve, "number,age,label", **columns))
    assert error.value.field == "file" and set(error.value.choices) == {"number", "age"}


# --- where the files are ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "names", "how"),
    [
        (("a/1.png", "b/2.png"), ("1", "2"), "extension .png added"),
        (("i/1.2.840.png", "i/1.2.841.png"), ("1.2.840", "1.2.841"), "extension .png added"),
        (("part_1/1.jpg", "part_2/2.jpg"), ("1.jpg", "2.jpg"), "in a folder below"),
        (("a/1.png", "b/2.png"), ("a\\1.png", "b\\2.png"), "back slashes"),
        (("a/1.png", "b/2.png"), ("C:\\set\\a\\1.png", "C:\\set\\b\\2.png"), "another machine"),
        (("a/1.png", "b/2.png"), ("/kaggle/x/a/1.png", "/kaggle/x/b/2.png"), "another machine"),
        (("a/1.png", "b/1.png"), ("/kaggle/x/a/1.png", "/kaggle/x/b/1.png"), "another machine"),
        (("a/1.png", "b/2.png"), ("set/a/1.png", "set/b/2.png"), "another machine"),
        (("a/1.png", "b/2.png"), ("A/1.PNG", "b/2.Png"), "in another case"),
        (("a/e\u0301.png", "b/2.png"), ("a/\u00e9.png", "b/2.png"), "in another case"),
    ],
)
def test_files_that_are_named_otherwise_are_found_and_that_is_said(pictures, there, names, how):
    root = pictures(*there)
    path = written(
        root, "image,label", *(f"{name},{c}" for name, c in zip(names, "xy", strict=True))
    )
    entry = detect(path)
    assert entry["file"] == "image"
    found = listing(path, file="image")
    assert found.table["origin"].tolist() == list(there)
    assert how in found.notes[0]


def test_a_name_with_a_back_slash_that_is_there_is_that_file(pictures):
    root = pictures("a\\1.png", "a/1.png")
    path = written(root, "file,label", "a\\1.png,x", "a/1.png,y")
    assert listing(path).notes == ()


@pytest.mark.parametrize(
    ("there", "names", "message"),
    [
        (("a/1.png", "b/1.png"), ("1.png", "1"), r"fit several files, as '1' fits 'a/1.png' and"),
        (("images/1.png", "masks/1.png"), ("1", "1"), r"--images of datasets add"),
        (("a/1.png", "a/2.png", "b/3.png"), ("a/1.png", "a/3.png"), "1 of 2 files are not in"),
        (("a/1.png", "b/2.png"), ("b/1.png", "b/2.png"), r"not in .*: 'b/1.png'"),
        (("b/1.png",), ("a/1.png", "c/1.png"), "2 of 2 files are not in"),
        (("a/1.png",), ("a/1.jpg", "a/1.png"), r"There is 'a/1.png', with another extension"),
        (("a/1.png",), ("https://host/x.png", "a/1.png"), "is an address"),
        (("p1/1.png", "p2/1.png"), ("p1", "p2"), "'p1' is a folder. Name the files in it"),
        (("a/1.png",), ("", "a/1.png"), "These cells are empty"),
        (("a/1.png",), ("../x.png", "a/1.png"), "leads out of the data folder"),
        (("a/1.png",), ("zz.png", "a/1.png"), r"Also tried: .* image files \(1\) .* 'a/1.png'"),
        ((), ("1.png", "2.png"), "There are no image files below that folder"),
    ],
)
def test_what_is_not_found_says_what_was_tried_and_what_is_there(pictures, there, names, message):
    root = pictures("../elsewhere.png", *there)
    root.mkdir(exist_ok=True)
    path = written(
        root, "file,label", *(f"{name},{c}" for name, c in zip(names, "xy", strict=True))
    )
    with pytest.raises(DatasetError, match=message):
        listing(path)


SEVEN = {
    "no image files below": ((), "file,label", "{i}.png,{c}", "no image files below"),
    "another extension": (("0.jpg", "1.jpg"), "file,label", "{i}.png,{c}", "another extension"),
    "several": (("a/0.png", "b/0.png"), "id,label", "0,{c}", "fits 'a/0.png' and 'b/0.png'"),
    "folders": (("s0/x.png", "s1/x.png"), "path,label", "s{i},{c}", "is a folder"),
    "addresses": (("0.png",), "image,label", "https://h/q{i}.png,{c}", "is an address"),
    "elsewhere": (("0.png",), "file,label", "q{i}.png,{c}", "Also tried: .* the first is '0.png'"),
    "no names": (("0.png",), "size,label", "7,{c}", "Columns, with their first value: size"),
    "empty": (("0.png",), "file,label", ",{c}", "it is empty"),
}


@pytest.mark.parametrize("cause", SEVEN)
def test_no_column_names_files_has_a_message_for_each_cause(pictures, cause):
    there, header, row, message = SEVEN[cause]
    root = pictures("../outside.png", *there)
    root.mkdir(exist_ok=True)
    rows = [row.format(i=i, c="ab"[i % 2]) for i in range(6)]
    with pytest.raises(DatasetError, match=f"no column names files.*{message}"):
        detect(written(root, header, *rows))


def test_the_folder_of_the_images_is_an_option(pictures, capsys, monkeypatch, tmp_path):
    root = pictures("pics/0.png", "pics/1.png", "pics/2.png", "pics/3.png", "masks/0.png")
    monkeypatch.chdir(tmp_path)
    (root / "tables").mkdir()
    path = written(
        root / "tables", "id,grade,use", "0,a,yes", "1,b,yes", "2,a,yes", "3,b,yes", "9,b,no"
    )
    options = ["datasets", "add", "mine", str(path), "--where", "use=yes"]
    assert main(options) == 2
    assert "--images" in capsys.readouterr().err
    assert main([*options, "--images", str(root / "pics")]) == 0
    assert "images: 4" in capsys.readouterr().out
    assert main(["datasets", "show", "mine"]) == 0
    assert "a: 2" in capsys.readouterr().out


def test_a_deep_or_endless_name_is_an_error_not_a_crash(pictures):
    root = pictures("a/1.png")
    for name in ("x/" * 3000 + "y.png", "x" * 5000, "a\0b"):
        path = written(root, "file,label", "a/1.png,x", f"{name},y")
        with pytest.raises(DatasetError, match="1 of 2 files are not in"):
            listing(path)


def test_a_link_out_of_the_folder_is_refused(pictures, tmp_path):
    root = pictures("a/1.png", "../out/2.png")
    (root / "b").symlink_to(tmp_path / "out")
    (root / "c.png").symlink_to(tmp_path / "out" / "2.png")
    for name in ("b/2.png", "c.png", "c"):
        path = written(root, "file,label", "a/1.png,x", f"{name},y")
        with pytest.raises(DatasetError, match="leads out of the data folder"):
            listing(path)


def test_a_link_to_itself_is_no_file(pictures):
    root = pictures("a/1.png", "a/2.png")
    (root / "loop.png").symlink_to("loop.png")
    assert listing(written(root, "file,label", "1.png,x", "2.png,y")).classes == ("x", "y")
    path = written(root, "file,label", "a/1.png,x", "loop.png,y")
    with pytest.raises(DatasetError, match=r"loop\.png"):
        listing(path)


def test_a_link_within_the_folder_is_followed(pictures):
    root = pictures("a/1.png", "b/2.png")
    (root / "c").symlink_to(root / "b")
    path = written(root, "file,label", "a/1.png,x", "c/2.png,y")
    assert listing(path).notes == ()
