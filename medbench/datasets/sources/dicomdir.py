"""The files that a DICOMDIR names: the table of contents of a disc or an export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medbench.datasets.readers.dicom_elements import BROKEN, one_line
from medbench.datasets.readers.quiet import Quiet
from medbench.datasets.sources.table_files import NamedFiles
from medbench.errors import DatasetError
from medbench.opening import TABLE, RefusedFileError, open_regular

_NAME = "dicomdir"
_QUIET = Quiet("pydicom")


def is_dicomdir(path: Path) -> bool:
    """Whether a path is that of a DICOMDIR, by its name."""
    return path.name.lower() == _NAME and path.is_file()


def files_of_dicomdir(path: Path) -> tuple[list[tuple[str, str]], list[str]]:
    """The files that a DICOMDIR names and that are there, none of them outside of its folder.

    Args:
        path: The DICOMDIR.

    Returns:
        Name relative to its folder, with '/', and path of each, in order of the names; and notes.

    Raises:
        DatasetError: It cannot be read, or a link leads out of its folder.

    Source: DICOM PS3.3, annex F; names of another case, as systems leave them, are found too.
    """
    named = _named_in(path)
    found = NamedFiles(path.parent, named_in=str(path)).find(named)
    files = {name: where for name, where in zip(found.names, found.paths, strict=True) if where}
    notes = [f"of the {len(named)} files that the DICOMDIR names, {len(files)} are there"]
    return sorted(files.items()), notes if len(files) < len(named) else []


def _named_in(path: Path) -> list[str]:
    """The names of files, each once."""
    from pydicom import dcmread

    try:
        with _QUIET, open_regular(path, TABLE) as file:
            records: Any = dcmread(file, force=True).get("DirectoryRecordSequence") or ()
            parts = [record.get("ReferencedFileID") or "" for record in records]
    except (RefusedFileError, *BROKEN) as error:
        raise DatasetError(
            f"{path}: this DICOMDIR cannot be read ({one_line(error)}). Copy it again, or name "
            "the folder in which it lies."
        ) from error
    names = ["/".join([one] if isinstance(one, str) else map(str, one)) for one in parts if one]
    return list(dict.fromkeys(names))
