"""Only regular files are opened, whoever names them, and none larger than its limit."""

import os
import socket
import threading
from pathlib import Path

import numpy as np
import pytest

from medbench import registry
from medbench.atomic_files import read_json, read_lines, read_npy, read_parquet
from medbench.cli import main
from medbench.datasets.catalog import load_catalog
from medbench.datasets.csv_files import read_csv
from medbench.datasets.headers import headers_of
from medbench.datasets.read_image import read_image
from medbench.datasets.sources.archive import NpzArchive
from medbench.datasets.sources.files import FileReader
from medbench.datasets.sources.folder import FolderSource
from medbench.datasets.sources.npz import NpzSource
from medbench.datasets.sources.table import TableSource
from medbench.datasets.yaml_document import YamlDocument
from medbench.errors import ConfigurationError, MedBenchError
from medbench.features.out_of_distribution import OutOfDistribution
from medbench.models.keras_support import read_keras
from medbench.models.persistence import load_sklearn
from medbench.models.weights import find_weights
from medbench.opening import FileLimit, RefusedFileError, open_regular, read_regular
from medbench.testing.image_files import picture_file

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
SMALL = FileLimit(name="a small file", n_bytes=100)


def pipe(path):
    os.mkfifo(path)
    return path


def link_to(place):
    return lambda path: path.symlink_to(place) or path


def folder(path):
    path.mkdir()
    return path


KINDS = {
    "a pipe": pipe,
    "a link to a device that never ends": link_to("/dev/zero"),
    "a link to a terminal": link_to("/dev/tty"),
    "a folder": folder,
}


@pytest.fixture(params=KINDS, ids=str)
def make(request):
    return KINDS[request.param]


READERS = {
    "image": ("x.png", read_image),
    "image of a data set": ("x.png", lambda path: FileReader([path])(0)),
    "CSV": ("x.csv", read_csv),
    "YAML": ("x.yaml", YamlDocument),
    "npz": ("x.npz", NpzArchive),
    "JSON of a run": ("run.json", read_json),
    "lines of a run": ("trials.jsonl", read_lines),
    "array of a run": ("oof.npy", read_npy),
    "table of a run": ("images.parquet", read_parquet),
    "what is usual": ("out-of-distribution.npz", OutOfDistribution.load),
    "scikit-learn's model": ("model.skops", load_sklearn),
    "Keras' model": ("model.keras", read_keras),
}


@pytest.mark.parametrize("kind", READERS)
def test_what_is_no_regular_file_is_refused_at_once_with_its_name(kind, make, tmp_path):
    name, read = READERS[kind]
    path = make(tmp_path / name)
    with pytest.raises((MedBenchError, RefusedFileError), match=r"only regular files|folder") as e:
        read(path)
    assert name in str(e.value) or isinstance(e.value, RefusedFileError)


def test_a_socket_is_called_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # since its path may not be long
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("s.png")
        with pytest.raises(MedBenchError, match="it is a socket, and only regular files are read"):
            read_image("s.png")


def test_nobody_waits_for_a_pipe_that_somebody_writes_to(tmp_path):
    path = pipe(tmp_path / "x.png")
    writer = threading.Thread(target=lambda: path.open("wb").close(), daemon=True)
    writer.start()
    with pytest.raises(MedBenchError, match="it is a pipe"):
        read_image(path)
    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))  # lets the writer go
    writer.join(10)


def test_headers_of_what_is_no_regular_file_are_left_to_the_reading(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    headers = headers_of([pipe(tmp_path / "x.dcm")], "signature")
    assert headers.n_slices.tolist() == [1]


def test_pipes_among_the_files_of_a_data_set_are_counted_and_left_out(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(picture_file(np.zeros((8, 8), np.uint8)))
    pipe(tmp_path / "a" / "2.png")
    listing = FolderSource(source="folder", path=str(tmp_path)).listing()
    assert len(listing.table) == 2 and "1 file" in " ".join(listing.notes)


def test_a_pipe_that_a_table_names_is_refused_by_its_name(tmp_path):
    (tmp_path / "1.png").write_bytes(picture_file(np.zeros((8, 8), np.uint8)))
    pipe(tmp_path / "2.png")
    table = tmp_path / "labels.csv"
    table.write_text("file,label\n1.png,a\n2.png,b\n")
    with pytest.raises(MedBenchError, match=r"2\.png"):
        TableSource(source="table", path=str(table), file="file", label="label").listing()


def test_an_archive_that_is_a_pipe_is_no_data_set(tmp_path):
    path = pipe(tmp_path / "x.npz")
    with pytest.raises(MedBenchError, match="only regular files"):
        NpzSource(source="npz", path=str(path)).listing()


def test_a_file_of_data_sets_that_is_a_pipe_is_refused_and_not_passed_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pipe(tmp_path / "datasets.yaml")
    with pytest.raises(ConfigurationError, match=r"datasets\.yaml: cannot be read \(it is a pipe"):
        load_catalog()


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--suite", "PIPE.yaml"),
        ("run", "--datasets-file", "PIPE"),
        ("run", "--plugin", "PIPE"),
        ("run", "--data", "PIPE"),
        ("datasets", "add", "x", "PIPE.csv"),
        ("datasets", "add", "x", "PIPE.npz"),
        ("audit", "--data", "PIPE"),
        ("leaderboard", "PIPE"),
        ("predict", "x.png", "--run", "PIPE"),
    ],
    ids=" ".join,
)
def test_a_verb_that_is_given_a_pipe_ends_with_an_error(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = [argument for argument in arguments if argument.startswith("PIPE")]
    pipe(tmp_path / names[0])
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert names[0] in said and "Traceback" not in said


def test_a_plugin_that_is_a_device_is_refused():
    with pytest.raises(MedBenchError, match="no such file"):
        registry.load_plugin(Path("/dev/zero"))


def test_weights_that_are_a_pipe_are_refused(tmp_path):
    from medbench.backbones import BACKBONES

    name = next(iter(BACKBONES))
    pipe(tmp_path / BACKBONES[name].weights.file_name)
    with pytest.raises(MedBenchError, match="it is a pipe"):
        find_weights(name, tmp_path, print, download=False)


# --- sizes ----------------------------------------------------------------------------------------


def test_a_file_above_the_size_of_its_kind_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.truncate(10**9)  # takes no space
    with pytest.raises(RefusedFileError, match=r"it has 1\.0 GB, and a small file may have 100 B"):
        read_regular(path, SMALL)
    path.write_bytes(b"x" * 100)
    assert read_regular(path, SMALL) == b"x" * 100


def test_a_file_that_tells_no_size_is_read_up_to_the_limit():
    assert read_regular("/proc/self/stat", FileLimit(name="a state", n_bytes=10_000))
    with pytest.raises(RefusedFileError, match="a small file may have 100 B"):
        read_regular("/proc/self/environ", SMALL)


def test_no_more_memory_is_taken_for_a_piece_than_the_file_has(tmp_path):
    (tmp_path / "x").write_bytes(b"x" * 3_000_000)
    with open_regular(tmp_path / "x", None) as file:
        file.seek(10)
        assert len(file.read(1 << 60)) == 2_999_990  # which no machine has
        assert file.read(1 << 60) == b""


def test_a_file_that_grows_while_it_is_read_is_read_to_its_end(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"ab")
    sizes = os.fstat

    def grows(descriptor):
        status = sizes(descriptor)
        with path.open("ab") as file:
            file.write(b"cd")
        return status

    monkeypatch.setattr("medbench.opening.os.fstat", grows)
    assert read_regular(path, SMALL).startswith(b"abcd")


@pytest.mark.parametrize(("said", "limit"), [("2", 200), ("0.5", 50), ("1e3", 100_000)])
def test_a_factor_moves_all_sizes(said, limit, monkeypatch):
    monkeypatch.setenv("MEDBENCH_SIZE_FACTOR", said)
    assert SMALL.most_bytes == limit


@pytest.mark.parametrize("said", ["", "0", "-1", "nan", "inf", "much", "1e999"])
def test_a_factor_that_is_none_is_named(said, monkeypatch):
    monkeypatch.setenv("MEDBENCH_SIZE_FACTOR", said)
    with pytest.raises(
        ConfigurationError, match=r"MEDBENCH_SIZE_FACTOR=.*: must be a number above"
    ):
        _ = SMALL.most_bytes


def test_a_large_image_is_an_error_that_says_how_to_go_on(tmp_path, monkeypatch):
    path = tmp_path / "x.png"
    path.write_bytes(picture_file(np.zeros((64, 64), np.uint8)))
    monkeypatch.setenv("MEDBENCH_SIZE_FACTOR", "1e-8")
    with pytest.raises(MedBenchError, match=r"an image file may have 10 B; .*_SIZE_FACTOR"):
        read_image(path)


def test_what_is_open_is_checked_and_not_what_its_name_has_become(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"good")
    opened = os.open

    def swapped(name, *more):
        descriptor = opened(name, *more)
        path.unlink(missing_ok=True)
        return descriptor

    monkeypatch.setattr("medbench.opening.os.open", swapped)
    with open_regular(path, SMALL) as file:
        assert file.read() == b"good"
