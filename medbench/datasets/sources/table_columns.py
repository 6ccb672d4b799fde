"""What the columns of a table are: which holds the files, labels, patients and official split."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import pandas as pd

from medbench.datasets.csv_files import SPLIT_WORDS, group_name
from medbench.datasets.readers import image_suffixes
from medbench.datasets.sources.table_cells import CellFiles
from medbench.datasets.sources.table_files import NamedFiles
from medbench.datasets.spellings import is_missing
from medbench.errors import DatasetError

FILE_NAMES = (
    "file", "filename", "image", "imagepath", "path", "filepath", "img", "imagefile", "imagename",
    "imageid", "imageindex", "idcode", "imgname", "imgpath", "imgid", "fileid", "filelocation",
    "id", "name",
)  # fmt: skip
"""What a column of files may be called, as ``plain`` has it; the surest first."""
LABEL_NAMES = (
    "label", "class", "target", "diagnosis", "finding", "category", "y", "labels", "findings",
    "findinglabels", "dx", "diag", "classname", "pathology", "grade", "level", "severity",
)  # fmt: skip
GROUP_NAMES = (
    "groupid", "patientid", "patient", "subjectid", "subject", "participantid", "participant",
    "personid", "person", "mrn", "pid", "ptid", "lesionid", "studyid", "caseid", "case", "group",
)  # fmt: skip
SPLIT_NAMES = (
    "split", "fold", "set", "subset", "partition", "phase", "usage", "traintest", "istrain",
    "istest",
)  # fmt: skip
_BOXES = (
    ("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"),
    ("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"), ("x0", "y0", "x1", "y1"),
)  # fmt: skip
"""What columns of boxes are called, as ``plain`` has it and without "box" or "bbox" before it."""
_UNSURE_GROUPS = ("group", "groupid", "case")
"""Names of patients that are names of treatments or classes as often."""
_PEOPLE = ("patient", "subject", "participant", "person", "lesion", "case")
_BEFORE = ("", "id", "the", "dicom", "anon", "anonymized", "hashed")
_BEHIND = frozenset(
    {"", "id", "no", "nr", "num", "number", "name", "code", "key", "uid", "index", "hash"}
)
"""What may stand before and behind one of ``_PEOPLE`` where the column tells them apart."""
_ABOUT_PEOPLE = re.compile(
    "age|sex|gender|weight|height|position|orient|size|date|birth|race|ethnic|history|status|type"
)
"""Part of the name of a column that says something else of them."""
_PATIENT_FOLDER = re.compile(r"(?:patient|subject|sub|case|p)[\W_]*\d+", re.IGNORECASE)
_LOOKED_AT = 20
"""First cells of a column that tell whether it names files."""
_FEW = 4
"""So many different values or fewer are treatments or classes rather than patients."""


def plain(name: str) -> str:
    """A column's name as it is compared: without case, blanks, dashes and their like."""
    letters = [c for c in unicodedata.normalize("NFKC", name).casefold() if c.isalnum()]
    return "".join(letters) or name


def column_called(rows: pd.DataFrame, name: str, *, table: Path, said_in: str) -> str:
    """The column that a person means by a name.

    Args:
        rows: The table.
        name: Its name, perhaps with other blanks, dashes or case.
        table: Where it lies, for messages.
        said_in: The fields or the option that may name it.

    Raises:
        DatasetError: There is none, or several are called nearly so.
    """
    if name in rows.columns:
        return name
    close = [str(column) for column in rows.columns if plain(str(column)) == plain(name)]
    if len(close) == 1:
        return close[0]
    but = f", but {' and '.join(map(repr, close))}" if close else ""
    raise DatasetError(
        f"{table}: has no column {name!r}{but}. "
        f"Columns: {', '.join(rows.columns)}. Name the right one in {said_in}."
    )


def check_roles(roles: Iterable[tuple[str, str | None]], table: Path) -> None:
    """Refuse a column that is to serve as two things.

    Args:
        roles: Each field of the entry with its column, None where it has none.
        table: Where the table lies, for messages.

    Raises:
        DatasetError: One does.
    """
    role_of: dict[str, str] = {}
    for role, column in roles:
        if column is not None and role_of.setdefault(column, role) != role:
            raise DatasetError(
                f"{table}: column {column!r} is named as {role_of[column]} and as {role}. A "
                "column is one thing: name another one, or leave one of the two away."
            )


def named(rows: pd.DataFrame, names: Sequence[str], taken: Collection[str] = ()) -> list[str]:
    """The columns that go by one of the usual names, those with the surest name first."""
    called = {plain(str(column)): str(column) for column in reversed(list(rows.columns))}
    return [called[name] for name in names if name in called and called[name] not in taken]


def box_columns(rows: pd.DataFrame) -> list[str]:
    """The columns that say where in an image something lies, if there are such."""
    called = {re.sub("^b?box", "", plain(str(column))): str(column) for column in rows.columns}
    sides = next((names for names in _BOXES if set(names) <= called.keys()), ())
    return [called[name] for name in sides]


def patient_columns(rows: pd.DataFrame, taken: Collection[str]) -> list[str]:
    """Columns that are called as what tells patients apart, the surest first."""
    usual = named(rows, GROUP_NAMES, taken)
    others = [
        str(column)
        for column in rows.columns
        if column not in taken and column not in usual and _tells_people_apart(plain(str(column)))
    ]
    specific = [column for column in usual if plain(column) not in ("group", "case")]
    return [*specific, *others, *(column for column in usual if column not in specific)]


def why_no_patients(rows: pd.DataFrame, column: str, labels: pd.Series) -> str:
    """Why the values of a column that is called so are no patients; "" where they may be.

    Args:
        rows: The table.
        column: The column.
        labels: The label of each row.
    """
    patients = [name for value in rows[column].unique() if (name := group_name(value))]
    n = len(patients)
    if n < 2:
        return f"it says {patients[0]!r} and nothing else" if n else "it names none"
    generic = plain(column) in _UNSURE_GROUPS
    if len(rows) <= 2 * n or n > max(_FEW * generic, labels.nunique()):
        return ""
    if generic or labels.groupby(rows[column]).nunique().max() == 1:
        values = ", ".join(map(repr, patients[:_FEW]))
        return f"it has only {n} different values ({values}), as classes or treatments have"
    return ""


def split_columns(rows: pd.DataFrame, taken: Collection[str]) -> list[str]:
    """Columns that are called as an official split or hold its words, the surest first."""
    usual = named(rows, SPLIT_NAMES, taken)
    others = [
        str(column)
        for column in rows.columns
        if column not in taken and column not in usual and not why_no_split(rows, str(column))
    ]
    return [*usual, *others]


def why_no_split(rows: pd.DataFrame, column: str) -> str:
    """Why the values of a column are no official split; "" where they are."""
    values = {value.lower() for value in rows[column].unique()}
    if other := [value for value in values if value not in SPLIT_WORDS]:
        listed = ", ".join(map(repr, sorted(other)[:_FEW]))
        return f"it holds {listed}, and a split says train, val or test in every row"
    return (
        "" if len({SPLIT_WORDS[value] for value in values}) > 1 else "it says the same in every row"
    )


def told_unused(
    rows: pd.DataFrame,
    *,
    file: str,
    label: Sequence[str],
    group: str | None,
    split: str | None,
    files: NamedFiles | CellFiles,
) -> tuple[str, ...]:
    """Notes on columns that look like patients, a split or files, but are not used as such.

    Args:
        rows: The table.
        file: The column of files.
        label: The columns of labels.
        group: The column of patients, None where there is none.
        split: The column of the official split, likewise.
        files: The files that are there.
    """
    taken = {file, *label, *([] if group is None else [group]), *([] if split is None else [split])}
    notes = []
    if group is None:
        likely = patient_columns(rows, taken) or _may_be_patients(rows, taken)
        for column in likely[:1]:
            why = why_no_patients(rows, column, rows[label[0]])
            notes.append(_unused(column, "the patients", why, "group"))
    if split is None:
        for column in split_columns(rows, taken)[:1]:
            notes.append(_unused(column, "an official split", why_no_split(rows, column), "split"))
    called_so = named(rows, FILE_NAMES[:6], taken)
    for column in map(str, rows.columns):
        if column in taken:
            continue
        may_be = column in called_so and not all(map(is_missing, rows[column]))
        if may_be or _names_files(rows[column], files):
            notes.append(f"column {column!r} is not used for the files: {file!r} is")
    if group is None and _in_folders_of_patients(rows[file]):
        notes.append(
            "files lie in folders of patients, but no column names the patients "
            "(field group): add one, or images of one patient may be on both sides of a split"
        )
    return tuple(notes)


def _names_files(values: pd.Series, files: NamedFiles | CellFiles) -> bool:
    """Whether a column holds names of images that are there, by its first cells."""
    called = [one for one in values.head(_LOOKED_AT) if one.lower().endswith(image_suffixes())]
    return any(files.find(called).paths)


def _in_folders_of_patients(files: pd.Series) -> bool:
    """Whether the first and the last file lie in folders that are called as patients are."""
    found = {
        folder
        for file in files.iloc[[0, -1]]
        for folder in re.split(r"[\\/]", file)[:-1]
        if _PATIENT_FOLDER.fullmatch(folder)
    }
    return len(found) > 1


def _unused(column: str, what: str, why: str, field: str) -> str:
    reason = why or "the entry does not name it"
    return f"column {column!r} is not used as {what}: {reason} (field {field})"


def _tells_people_apart(name: str) -> bool:
    """Whether a plain name is that of a column which says who somebody is."""
    return any(
        before in _BEFORE and found and behind.removeprefix("s") in _BEHIND
        for before, found, behind in (name.partition(word) for word in _PEOPLE)
    )


def _may_be_patients(rows: pd.DataFrame, taken: Collection[str]) -> list[str]:
    """Columns with a word for patients in their name and many values, which may be something else.

    They are told and not used.
    """
    return [
        str(column)
        for column in rows.columns
        if column not in taken
        and any(word in plain(str(column)) for word in _PEOPLE[:4])
        and not _ABOUT_PEOPLE.search(plain(str(column)))
        and rows[column].nunique() > _FEW
    ]
