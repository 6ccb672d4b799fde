#!/bin/sh
# python-calamine 0.9.1: an error and a formula without a stored value are empty cells.
#
# Expected: a cell of an .xlsx workbook that shows #N/A, or holds a formula whose value was never
#   stored (as openpyxl and other programs write it), can be told from a cell that nobody filled in;
#   of a column of labels or patients they are mistakes, not rows without a label.
# Seen: all three are ''. openpyxl 3.1.5 gives '#N/A', '=1+1' and None.
#
# Prints what is seen, and ends with 1 if it is something else.
set -eu
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check \
    python-calamine==0.9.1 openpyxl==3.1.5
cd "$folder"
cat > read.py <<'PYTHON'
import openpyxl
import python_calamine

book = openpyxl.Workbook()
book.active.append(["label", "#N/A", "=1+1", None, "last"])
book.active["B1"].data_type = "e"
book.save("t.xlsx")
(row,) = openpyxl.load_workbook("t.xlsx").active.iter_rows(values_only=True)
print("openpyxl:", row[1:4])
(row,) = python_calamine.CalamineWorkbook.from_path("t.xlsx").get_sheet_by_index(0).to_python()
print("python-calamine:", tuple(row[1:4]))
PYTHON
"$folder/venv/bin/python" read.py | tee seen
grep -q "openpyxl: ('#N/A', '=1+1', None)" seen
grep -q "python-calamine: ('', '', '')" seen
