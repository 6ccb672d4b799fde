"""Files on the web and of repositories: pooch as it is, with the transport of requests replaced."""

import hashlib
import json

import numpy as np
import pytest
import yaml

from medbench.cache import cache_folder
from medbench.cli import main
from medbench.datasets.places import place_of
from medbench.datasets.sources.npz import NpzSource
from medbench.errors import ConfigurationError, DatasetError

ADDRESS = "https://example.org/sets/squares.npz"
DOI = "doi:10.5281/zenodo.123/squares.npz"


@pytest.fixture
def content(tmp_path, monkeypatch):
    """A small archive of two classes, as bytes."""
    monkeypatch.chdir(tmp_path)
    pixels = np.zeros((12, 28, 28), np.uint8)
    pixels[::2, 4:9, 4:9] = 200
    np.savez(tmp_path / "made.npz", images=pixels, labels=np.arange(12) % 2)
    return (tmp_path / "made.npz").read_bytes()


@pytest.fixture
def published(web, content):
    """The file at its address, and in a record of Zenodo."""
    record = {
        "id": 123,
        "files": [
            {
                "key": "squares.npz",
                "checksum": f"md5:{hashlib.md5(content).hexdigest()}",
                "links": {"self": "https://zenodo.org/api/squares.npz/content"},
            }
        ],
    }
    answer = json.dumps(record).encode()
    web.answers[ADDRESS] = lambda asked: (200, "application/zip", content)
    web.answers["doi.org/10.5281/zenodo.123"] = lambda asked: (200, "text/html", b"")
    web.answers["api/records/zenodo.123"] = lambda asked: (200, "application/json", answer)
    web.answers["squares.npz/content"] = web.answers[ADDRESS]
    web.leads_to["https://doi.org/10.5281/zenodo.123"] = "https://zenodo.org/records/zenodo.123"
    return web


def with_sum(content, algorithm="sha256"):
    return f"{ADDRESS}#{algorithm}={hashlib.new(algorithm, content).hexdigest()}"


def entry(tmp_path, path):
    (tmp_path / "datasets.yaml").write_text(yaml.safe_dump({"a": {"source": "npz", "path": path}}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ADDRESS, f"datasets fetch {ADDRESS} fetches it and prints what to write"),
        (f"{ADDRESS}#sha256=abc", "64 hexadecimal"),
        (f"{ADDRESS}#sha1={'0' * 40}", "64 hexadecimal"),
        ("https://example.org/", "no address of a file"),
        ("https://example.org/a/..", "no address of a file"),
        ("https://example.org/a%2f..%2f.ssh", "no address of a file"),
        ("https://www.kaggle.com/datasets/a/b", "write kaggle:OWNER/NAME"),
        (f"{ADDRESS}#md5={'0' * 32}/../x", "without '..'"),
        ("doi:10.5281/zenodo.123", "write doi:10.5281/zenodo.NUMBER/FILE"),
        ("doi:10.5281/zenodo.123/..", "write doi:10.5281/zenodo.NUMBER/FILE"),
        ("doi:../../etc", "write doi:10.5281/zenodo.NUMBER/FILE"),
    ],
)
def test_what_cannot_be_a_file_is_refused_with_what_to_write(text, said):
    with pytest.raises(ConfigurationError) as error:
        place_of(text)
    assert said in str(error.value)


def test_a_path_in_an_archive_stands_behind_the_file():
    assert place_of("doi:10.7910/DVN/ABCDEF/a.zip/films").inside == "films"
    assert place_of(f"{ADDRESS}#md5={'0' * 32}/films").inside == "films"


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_file_with_its_sum_is_fetched_and_read(published, content, tmp_path, capsys, algorithm):
    path = with_sum(content, algorithm)
    entry(tmp_path, path)
    assert main(["datasets", "show", "a"]) == 2
    assert "datasets fetch https://" in capsys.readouterr().err and published.asked == []
    assert main(["datasets", "fetch", "a"]) == 0
    assert main(["datasets", "show", "a"]) == 0
    assert "images: 12" in (shown := capsys.readouterr().out) and f"place: {path}" in shown
    (file,) = (cache_folder() / "data/web").rglob("squares.npz")
    file.write_bytes(b"something else")
    assert not NpzSource(path=path).is_here()


def test_without_a_sum_it_is_fetched_and_the_sum_is_printed(published, content, tmp_path, capsys):
    assert main(["datasets", "fetch", ADDRESS]) == 0
    path = with_sum(content)
    assert path in capsys.readouterr().out
    assert main(["datasets", "add", "a", path]) == 0
    assert yaml.safe_load((tmp_path / "datasets.yaml").read_text())["a"]["path"] == path
    assert published.asked == [ADDRESS]


def test_another_file_is_kept_aside_and_not_used(published, content, tmp_path, capsys):
    entry(tmp_path, with_sum(content))
    published.answers[ADDRESS] = lambda asked: (200, "text/html", b"a page to sign in")
    assert main(["datasets", "fetch", "a"]) == 1
    assert "wrong-sha256 and not used" in capsys.readouterr().err
    assert not NpzSource(path=with_sum(content)).is_here()


def test_a_file_of_a_record_is_known_by_the_sum_that_the_repository_says(
    published, content, tmp_path, capsys
):
    entry(tmp_path, DOI)
    assert main(["datasets", "fetch", "a"]) == 0
    assert hashlib.md5(content).hexdigest() in capsys.readouterr().out
    assert len(NpzSource(path=DOI).listing().table) == 12
    n_asked = len(published.asked)
    assert main(["datasets", "fetch", "a"]) == 0  # it is here, and nobody is asked
    assert len(published.asked) == n_asked


@pytest.mark.parametrize(
    ("name", "end", "answer", "said"),
    [
        ("other.npz", "", None, "no file 'other.npz', but 'squares.npz'"),
        ("squares.npz", "squares.npz/content", (200, "x/y", b"other"), "another sum"),
        ("squares.npz", "squares.npz/content", (404, "x/y", b""), "answers 404"),
        ("squares.npz", "api/records/zenodo.123", (200, "x/y", b"{}"), "not an open"),
        ("squares.npz", "api/records/zenodo.123", (200, "x/y", b"<"), "not understood"),
        ("squares.npz", "doi.org/10.5281/zenodo.123", (404, "x/y", b""), "answers 404"),
    ],
)
def test_what_a_repository_lacks_is_said(published, tmp_path, name, end, answer, said):
    if answer is not None:
        published.answers[end] = lambda asked: answer
    place = place_of(f"doi:10.5281/zenodo.123/{name}")
    with pytest.raises(DatasetError, match=r"cannot be fetched.*put it at") as error:
        place.download.fetch(place.download.target(tmp_path))
    assert said in str(error.value)


def test_without_network_the_record_is_named(web, tmp_path):
    download = place_of(DOI).download
    with pytest.raises(DatasetError, match=r"doi\.org/10\.5281/zenodo\.123: cannot be fetched"):
        download.fetch(download.target(tmp_path))
