"""Tables in Excel workbooks: what is shown there is read, and what cannot be known is refused."""

import datetime
import io
import sys
import zipfile

import pytest

from medbench.cli import main
from medbench.datasets.detect import detect
from medbench.datasets.excel_files import read_excel
from medbench.datasets.sources.table import TableSource
from medbench.errors import ConfigurationError, DatasetError, UndecidedError

openpyxl = pytest.importorskip("openpyxl")
FILMS = [["file", "label"], *([f"{c}/0{n}.png", c] for c in "ab" for n in (0, 1))]


def written(path, change=lambda sheet: None, **sheets):
    """A workbook with sheets of rows by their names, and what else is done to the last one."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    change(sheet)
    book.save(path)
    return path


def test_a_sheet_is_added_as_a_csv_is(class_folders, monkeypatch):
    root = class_folders(per_class=2)
    path = written(root / "films.xlsx", films=FILMS, notes=[["made by hand"], ["in 2020"]])
    assert detect(path) == {"source": "table", "path": str(path), "file": "file", "label": "label"}
    listing = TableSource.model_validate(detect(path)).listing()
    assert listing.images_per_class() == {"a": 2, "b": 2}
    monkeypatch.chdir(root)
    assert main(["datasets", "add", "films", "films.xlsx"]) == 0


def test_of_several_tables_one_is_named_and_others_asked_about(class_folders, capsys):
    root = class_folders(per_class=2)
    path = written(root / "films.xlsx", train=FILMS, other=[["file", "score"], ["a/00.png", 3]])
    with pytest.raises(UndecidedError, match="several sheets hold tables") as error:
        detect(path)
    assert error.value.field == "sheet"
    assert error.value.choices == {"train": "file, label", "other": "file, score"}
    assert detect(path, sheet="train")["sheet"] == "train"
    assert len(TableSource.model_validate(detect(path, sheet="train")).listing().table) == 4
    with pytest.raises(DatasetError, match=r"no sheet 'test' with a table.*'train', 'other'"):
        read_excel(path, "test")
    (root / "t.csv").write_text("file,label\na/00.png,a\nb/00.png,b\n")
    with pytest.raises(DatasetError, match=r"t\.csv: the field sheet"):
        detect(root / "t.csv", sheet="train")


def test_a_hidden_sheet_is_no_table(tmp_path):
    def hide(sheet):
        sheet.sheet_state = "hidden"

    path = written(tmp_path / "x.xlsx", hide, shown=FILMS, lists=FILMS)
    assert len(read_excel(path)) == 4


def test_cells_are_text_as_they_are_shown(tmp_path):
    def format_zeros(sheet):
        sheet["F2"].number_format = "00000"

    row = [
        "a.png", 3.0, 0.25, True, datetime.date(2020, 1, 31), 42,
        datetime.datetime(2020, 1, 2, 3, 4), " x ", None, "#N/A",
    ]  # fmt: skip
    header = ["file", "whole", "part", "yes", "day", "code", "time", "text", "none", "missing"]
    path = written(tmp_path / "x.xlsx", format_zeros, s=[[], header, row, []])
    assert read_excel(path).iloc[0].tolist() == [
        "a.png", "3", "0.25", "true", "2020-01-31", "42", "2020-01-02 03:04:00", "x", "", "#N/A",
    ]  # fmt: skip
    path = written(tmp_path / "x.xlsx", format_zeros, s=[header, row])
    assert read_excel(path)["code"][0] == "00042"


def test_cells_that_are_merged_downwards_count_for_all_their_rows(tmp_path):
    rows = [["patient", "file"], ["p1", "a.png"], [None, "b.png"], ["p2", "c.png"]]
    path = written(tmp_path / "x.xlsx", lambda sheet: sheet.merge_cells("A2:A3"), s=rows)
    assert read_excel(path)["patient"].tolist() == ["p1", "p1", "p2"]
    for cells in ("A1:B1", "A2:B2", "A1:A2"):
        path = written(tmp_path / "x.xlsx", lambda s, cells=cells: s.merge_cells(cells), s=rows)
        with pytest.raises(DatasetError, match=rf"x\.xlsx, sheet 's': the cells {cells} are merg"):
            read_excel(path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["file", "label"], ["a.png", "=1+1"]], "cell B2: holds a formula without a stored value"),
        ([["file", "label"], ["a.png", "#DIV/0!"]], "cell B2: holds the error #DIV/0!"),
        ([["My films"], ["file", "label"], ["a.png", "a"]], "row 2: has cells beyond"),
        ([["file", "label"]], "no sheet that is shown holds a table"),
        ([["file", "file"], ["a.png", "b"]], "two columns are called 'file'"),
        ([["a.png", "a"], ["b.png", "b"]], "has no header"),
    ],
)
def test_what_cannot_be_known_is_refused_by_cell(tmp_path, rows, message):
    path = written(tmp_path / "x.xlsx", s=rows)
    with pytest.raises(DatasetError, match=rf"x\.xlsx.*{message}"):
        read_excel(path)


def test_other_workbooks_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "x.xlsx"
    packed = io.BytesIO()
    zipfile.ZipFile(packed, "w").close()
    for content in (b"", b"\xd0\xcf\x11\xe0" * 99, b"PK\x03\x04", packed.getvalue()):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=r"x\.xlsx: cannot be read as an Excel workbook"):
            read_excel(path)
    (tmp_path / "x.xls").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"x\.xls: is a workbook of another kind. Save it as"):
        detect(tmp_path / "x.xls")


def test_a_workbook_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    path = written(tmp_path / "x.xlsx", s=FILMS)
    monkeypatch.setenv("MEDBENCH_SIZE_FACTOR", "0.0001")
    with pytest.raises(DatasetError, match=r"x\.xlsx: cannot be read .*MEDBENCH_SIZE_FACTOR"):
        read_excel(path)


def test_a_missing_package_is_named_with_what_installs_it(tmp_path, monkeypatch):
    path = written(tmp_path / "x.xlsx", s=FILMS)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ConfigurationError, match=r"pip install .*excel.*Or save the sheet as CSV"):
        read_excel(path)
