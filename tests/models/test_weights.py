"""Pretrained weights are found, hashed and named, and their absence never stops a run."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pooch
import pytest
import requests

from medbench.errors import ConfigurationError, ModelError, UnknownNameError
from medbench.models import weights
from medbench.models.weights import KNOWN_WEIGHTS, KnownWeights, find_weights

CONTENT = b"\x89HDF\r\n\x1a\n" + b"some tensors"
FILE = KNOWN_WEIGHTS["inception_v3"].file_name


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
            assert options["timeout"] <= 10

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
    known = KNOWN_WEIGHTS["inception_v3"]
    row = KnownWeights(
        words=known.words,
        url=known.url,
        md5=hashlib.md5(content).hexdigest(),
        megabytes=known.megabytes,
    )
    monkeypatch.setattr(weights, "KNOWN_WEIGHTS", {"inception_v3": row})


def test_a_file_that_is_not_the_official_one_is_named_as_such(tmp_path, said):
    file = tmp_path / "inception_v3_notop.weights.h5"
    file.write_bytes(CONTENT)
    (tmp_path / "inception_v3_with_top.h5").write_bytes(b"not looked at")
    found = find_weights("inception_v3", tmp_path, said.append)
    assert found.path == file
    assert found.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert found.note == "weights from inception_v3_notop.weights.h5, not Keras' ImageNet file"
    assert said == []


def test_the_official_file_is_preferred_and_called_imagenet(tmp_path, monkeypatch, said):
    (tmp_path / "a_inception_v3_notop.h5").write_bytes(CONTENT + b"other")
    (tmp_path / "z_inception_v3_notop.h5").write_bytes(CONTENT)
    official_is(monkeypatch, CONTENT)
    found = find_weights("inception_v3", tmp_path, said.append)
    assert found.path == tmp_path / "z_inception_v3_notop.h5"
    assert found.note == "ImageNet"


def test_the_folder_may_come_from_the_environment(tmp_path, monkeypatch, said):
    (tmp_path / "inception_v3_notop.h5").write_bytes(CONTENT)
    monkeypatch.setenv("MEDBENCH_WEIGHTS", str(tmp_path))
    assert find_weights("inception_v3", None, said.append).path is not None


def test_a_broken_file_is_refused_with_its_name_and_the_remedy(tmp_path, said):
    file = tmp_path / "inception_v3_notop.h5"
    file.write_bytes(b"<html>404</html>")
    with pytest.raises(ModelError, match=r"inception_v3_notop\.h5: not an HDF5 file.*Replace"):
        find_weights("inception_v3", tmp_path, said.append)


def test_an_unreadable_file_is_refused_with_its_name(tmp_path, said):
    (tmp_path / "inception_v3_notop.h5").mkdir()
    with pytest.raises(ModelError, match=r"inception_v3_notop\.h5: the weights cannot be read"):
        find_weights("inception_v3", tmp_path, said.append)


def test_a_missing_folder_is_refused(tmp_path, said):
    with pytest.raises(ConfigurationError, match="no such folder"):
        find_weights("inception_v3", tmp_path / "nowhere", said.append)


def test_an_unknown_backbone_lists_the_known_ones(said):
    with pytest.raises(UnknownNameError, match="inception_v3"):
        find_weights("inception_v9", None, said.append)


def test_without_network_the_run_goes_on_and_says_what_to_do(tmp_path, monkeypatch, said):
    offline(monkeypatch)
    found = find_weights("inception_v3", None, said.append)
    assert found.path is None
    assert found.sha256 is None
    assert found.note == "no pretrained weights"
    assert "88 MB" in said[0]
    assert "ConnectTimeout" in said[1]
    assert "--weights-dir" in said[1]
    assert FILE in said[1]


def test_a_folder_without_the_file_is_mentioned_before_the_download(tmp_path, monkeypatch, said):
    offline(monkeypatch)
    find_weights("inception_v3", tmp_path, said.append)
    assert said[0].startswith(str(tmp_path))
    assert "Downloading" in said[1]


def test_a_download_with_a_wrong_hash_is_not_used(tmp_path, monkeypatch, said):
    serving(monkeypatch, b"an error page")
    found = find_weights("inception_v3", None, said.append)
    assert found.path is None
    assert "MD5" in said[-1]
    assert not (tmp_path / "cache/weights" / FILE).exists()


def test_a_download_is_kept_and_found_the_next_time(tmp_path, monkeypatch, said):
    official_is(monkeypatch, CONTENT)
    serving(monkeypatch, CONTENT)
    first = find_weights("inception_v3", None, said.append)
    assert first.path == tmp_path / "cache/weights" / FILE
    assert first.note == "ImageNet"
    offline(monkeypatch)
    assert find_weights("inception_v3", None, said.append) == first
    assert len(said) == 1


def test_a_damaged_file_in_the_cache_is_fetched_again(tmp_path, monkeypatch, said):
    official_is(monkeypatch, CONTENT)
    serving(monkeypatch, CONTENT)
    damaged = tmp_path / "cache/weights" / FILE
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(CONTENT[:-3])
    found = find_weights("inception_v3", None, said.append)
    assert found.path is not None
    assert found.path.read_bytes() == CONTENT
