"""Readers: every format keeps the contract, and one of a plugin is as good as ours."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from medbench import registry
from medbench.cache import cache_folder
from medbench.datasets import headers
from medbench.datasets.decode import decode
from medbench.datasets.headers import headers_of
from medbench.datasets.readers import Header, hashed, open_image, reader_of
from medbench.errors import DatasetError
from medbench.testing import ReaderContract, check_reader
from medbench.testing.image_files import dicom_file, nifti_file, picture_file


def stack(voxels: np.ndarray) -> bytes:
    depth, height, width = voxels.shape
    return b"STCK" + struct.pack("<3HI", width, height, depth, 4711) + voxels.tobytes()


VOXELS = np.random.default_rng(0).integers(0, 256, (5, 6, 8), dtype=np.uint8)
FILES = {
    "picture": picture_file(VOXELS[0]),
    "tiff": picture_file(VOXELS[0], "TIFF"),
    "dicom": dicom_file(VOXELS, PatientID="4711", SeriesInstanceUID="1.2.3"),
    "nifti": gzip.compress(nifti_file(VOXELS.astype(np.int16)), mtime=0),
}


@pytest.mark.filterwarnings("ignore")
class TestEveryReader(ReaderContract):
    """Found in the registry: a new one without a file here fails."""

    @pytest.fixture(autouse=True, params=registry.readers.names())
    def registered(self, request):
        self.reader = registry.readers.get(request.param)
        self.content = FILES[request.param]


@pytest.fixture
def stacks(documented, tmp_path):
    """The format that the page for authors of plugins adds."""
    file = tmp_path / "stack.py"
    file.write_text(documented("stack.py"))
    registry.load_plugin(file)
    return registry.readers.get("stack")


def test_a_format_of_a_plugin_is_read_like_ours(stacks, tmp_path) -> None:
    content = stack(VOXELS)
    check_reader(stacks, content)
    decoded = decode(content, size=8, channels=1, origin="x", slice_number=3)
    assert decoded.pixel_hash == decode(VOXELS[2], size=8, channels=1, origin="x").pixel_hash
    with pytest.raises(DatasetError, match=r"x: a stack of 5 planes, .*from 1 to 5"):
        decode(content, size=8, channels=1, origin="x")
    path = tmp_path / "one.stack"
    path.write_bytes(content)
    assert headers_of([path], "state").n_slices.tolist() == [5]
    with pytest.raises(DatasetError, match="Stack"):
        open_image(b"neither", origin="x")


def test_the_content_decides_which_reader_is_taken() -> None:
    for name, content in FILES.items():
        assert reader_of(content).name == name
    assert reader_of(b"neither").name == "picture"


def test_a_patient_is_a_hash_that_tells_issuers_apart() -> None:
    def header(**elements: str) -> Header:
        return open_image(dicom_file(VOXELS[0], **elements), origin="x").header

    one = header(PatientID="4711")
    assert one.patient == header(PatientID=" 4711 ").patient == hashed("patient", "4711", "")
    assert one.patient != header(PatientID="4711", IssuerOfPatientID="Elsewhere").patient
    assert "4711" not in repr(one) and one.n_slices == 1
    assert header(PatientID="").patient == header().patient == ""
    series = {header(SeriesInstanceUID=uid).series for uid in ("1.2", "1.3")}
    assert len(series) == 2 and "" not in series


def test_headers_are_looked_at_once_and_no_id_is_kept(tmp_path, monkeypatch) -> None:
    paths = [tmp_path / f"{i}.dcm" for i in range(4)] + [tmp_path / "p.png"]
    for path, patient in zip(paths, ("secret-1", "secret-2", "secret-1", ""), strict=False):
        path.write_bytes(dicom_file(VOXELS if patient else VOXELS[0], PatientID=patient))
    paths[4].write_bytes(picture_file(VOXELS[0]))
    found = headers_of(paths, "state")
    assert found.n_slices.tolist() == [5, 5, 5, 1, 1]
    assert found.patient.tolist() == [0, 1, 0, -1, -1]
    kept = b"".join(file.read_bytes() for file in cache_folder().rglob("*") if file.is_file())
    assert kept and b"secret" not in kept
    for name in ("secret-1", "secret-2"):
        assert hashed("patient", name, "").encode() not in kept
    with monkeypatch.context() as patch:
        patch.setattr(headers, "reader_of", lambda start: pytest.fail("looked at again"))
        assert headers_of(paths, "state").patient.tolist() == found.patient.tolist()


def test_a_file_that_could_not_be_looked_at_is_tried_again(tmp_path) -> None:
    path = tmp_path / "a.dcm"
    assert headers_of([path], "state").n_slices.tolist() == [1]
    path.write_bytes(dicom_file(VOXELS, PatientID="p"))
    assert headers_of([path], "state").n_slices.tolist() == [5]
    assert headers_of([path], "state").patient.tolist() == [0]
