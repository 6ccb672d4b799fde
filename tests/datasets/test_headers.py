"""What headers say is found out once, and never taken from damaged files of the cache."""

import numpy as np
import pytest

import medbench.datasets.headers as headers_module
from medbench.datasets.headers import headers_of
from medbench.testing.image_files import dicom_file


@pytest.fixture
def looks(monkeypatch):
    """Counts how often a header is read."""
    seen = []
    look = headers_module._looked_at
    monkeypatch.setattr(headers_module, "_looked_at", lambda path: seen.append(path) or look(path))
    return seen


def test_damaged_headers_are_read_again(tmp_path, looks):
    files = [tmp_path / name for name in ("a.dcm", "b.dcm")]
    for file, patient in zip(files, "xy", strict=True):
        file.write_bytes(dicom_file(np.zeros((4, 4), np.uint16), PatientID=patient))
    first = headers_of(files, "signature of these")
    assert len(looks) == 2 and first.patient[0] != first.patient[1]
    headers_of(files, "signature of these")
    assert len(looks) == 2
    (kept,) = headers_module.cache_folder().rglob("headers.parquet")
    kept.write_bytes(bytes(byte ^ 255 for byte in kept.read_bytes()))
    again = headers_of(files, "signature of these")
    assert len(looks) == 4
    np.testing.assert_array_equal(again.patient, first.patient)
