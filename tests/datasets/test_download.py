import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from medbench.cache import cache_folder
from medbench.cli import main
from medbench.datasets.download import Download
from medbench.datasets.fetch import download_folder, fetch
from medbench.datasets.sources.folder import FolderSource
from medbench.errors import DatasetError
from medbench.running.downloading import download_bar

ON_THIS_MACHINE = pytest.mark.allow_hosts(["127.0.0.1"])


@pytest.fixture
def said():
    return []


@ON_THIS_MACHINE
def test_a_set_is_fetched_into_the_cache_and_found_there(published, tiny, said):
    published.files = tiny.files
    source = tiny.source()
    assert not source.is_here()
    fetch("tinymnist", source, download_folder(None), say=said.append)
    path = cache_folder() / "data/medmnist/tinymnist.npz"
    assert path.read_bytes() == tiny.files["tinymnist.npz"]
    assert published.address in said[0] and "1 MB" in said[0] and str(path) in said[0]
    assert len(source.listing().table) == 44
    fetch("tinymnist", source, download_folder(None), say=said.append)
    assert said[-1] == "tinymnist: is here already"
    assert published.asked == ["tinymnist.npz"]


class Shelf(Download):
    """A folder of images that somebody keeps elsewhere on this machine."""

    path, megabytes, address = "shelf/films", 1, "the shelf"

    def __init__(self, kept: Path) -> None:
        self.kept = kept

    def fetch(self, target, progress=None):
        shutil.copytree(self.kept, target)
        return "a copy"


def test_a_new_download_is_a_fetch_only(class_folders, said, tmp_path):
    kept = class_folders(per_class=3)

    class OnTheShelf(FolderSource):
        download = property(lambda self: Shelf(kept))

    source = OnTheShelf(path="shelf/films").within(tmp_path / "data")
    assert not source.is_here()
    fetch("films", source, tmp_path / "data", say=said.append)
    assert said[-1] == "films: is here now, a copy"
    assert source.is_here() and len(source.listing().table) == 6


@ON_THIS_MACHINE
def test_a_data_folder_that_is_given_takes_the_file(published, tiny, said, tmp_path):
    published.files = tiny.files
    source = tiny.source(tmp_path, name="tinymnist-64")
    fetch("tinymnist-64", source, download_folder(tmp_path), say=said.append)
    assert (tmp_path / "medmnist/tinymnist_64.npz").exists()


@ON_THIS_MACHINE
def test_a_download_with_a_wrong_sum_is_kept_aside_and_not_used(published, tiny, said, tmp_path):
    published.files = {"tinymnist.npz": b"an error page"}
    source = tiny.source(tmp_path)
    with pytest.raises(DatasetError) as error:
        fetch("tinymnist", source, tmp_path, say=said.append)
    aside = tmp_path / "medmnist/tinymnist.npz.wrong-md5"
    assert aside.read_bytes() == b"an error page"
    assert str(aside) in str(error.value) and tiny.sums[0] in str(error.value)
    assert not source.is_here()
    published.files = tiny.files
    fetch("tinymnist", source, tmp_path, say=said.append)
    assert source.is_here()


@ON_THIS_MACHINE
def test_an_interrupted_download_leaves_nothing_and_begins_anew(published, tiny, said, tmp_path):
    published.files = tiny.files
    published.cut_off_after = 1000
    source = tiny.source(tmp_path)
    with pytest.raises(DatasetError, match="cannot be fetched"):
        fetch("tinymnist", source, tmp_path, say=said.append)
    assert [p for p in (tmp_path / "medmnist").iterdir() if p.name[0] != "."] == []
    left = tmp_path / "medmnist/.tinymnist.npz.part/tmp12345"
    left.parent.mkdir()
    left.write_bytes(b"left by a killed process")
    published.cut_off_after = None
    fetch("tinymnist", source, tmp_path, say=said.append)
    assert source.is_here()
    assert not left.parent.exists()


@ON_THIS_MACHINE
def test_a_connection_that_breaks_once_is_made_again(published, tiny, said, tmp_path):
    published.files = tiny.files
    published.cut_off_after, published.breaks = 1000, 1
    source = tiny.source(tmp_path)
    fetch("tinymnist", source, tmp_path, say=said.append)
    assert source.is_here()
    assert published.asked == ["tinymnist.npz"] * 2


@ON_THIS_MACHINE
def test_what_the_server_refuses_is_said_with_its_answer(published, tiny, said, tmp_path):
    with pytest.raises(DatasetError, match=r"the server answers 404.*put it at"):
        fetch("tinymnist", tiny.source(tmp_path), tmp_path, say=said.append)


@ON_THIS_MACHINE
def test_without_network_it_says_what_to_put_where(published, tiny, tmp_path, monkeypatch):
    source = tiny.source(tmp_path)
    download = source.download
    published.files = {}
    monkeypatch.setattr("medbench.datasets.sources.medmnist.RECORD", "http://127.0.0.1:1/files")
    target = tmp_path / "medmnist/tinymnist.npz"
    with pytest.raises(DatasetError, match="ConnectionError") as error:
        source.download.fetch(target)
    assert str(target) in str(error.value) and download.checksum in str(error.value)


def test_a_folder_that_cannot_be_written_is_named(tiny, tmp_path):
    (tmp_path / "medmnist").write_text("a file in the way")
    source = tiny.source(tmp_path)
    with pytest.raises(DatasetError, match=r"medmnist.*cannot be written.*--data-dir"):
        source.download.fetch(tmp_path / "medmnist/tinymnist.npz")


def test_a_wrong_file_in_the_way_is_refused_and_not_fetched_over(tiny, said, tmp_path):
    path = tiny.put(tmp_path, b"something else")
    with pytest.raises(DatasetError, match="its MD5 sum is"):
        fetch("tinymnist", tiny.source(tmp_path), tmp_path, say=said.append)
    assert path.read_bytes() == b"something else"


# --- the commands ------------------------------------------------------------------------------


@ON_THIS_MACHINE
def test_fetching_several_goes_on_after_a_failure_and_says_so_at_the_end(
    published, tiny, capsys, tmp_path
):
    published.files = {"tinymnist.npz": tiny.files["tinymnist.npz"], "tinymnist_64.npz": b"?"}
    names = ["tinymnist-64", "brain-mri", "tinymnist", "phantoms-mr"]
    options = ["--datasets-file", str(tiny.file), "--data-dir", str(tmp_path)]
    assert main(["datasets", "fetch", *names, *options]) == 1
    shown = capsys.readouterr()
    assert "tinymnist-64: " in shown.err and "wrong-md5" in shown.err
    assert "brain-mri: " in shown.err and "kaggle.com" in shown.err
    assert "tinymnist: is here now" in shown.out
    assert "phantoms-mr: is here already" in shown.out
    assert main(["datasets", "fetch", "tinymnist", *options]) == 0
    assert main(["datasets", "show", "tinymnist", *options]) == 0
    assert "images: 44" in capsys.readouterr().out


@ON_THIS_MACHINE
def test_an_unknown_name_is_refused_before_anything_is_fetched(published, tiny, capsys):
    published.files = tiny.files
    names = ["tinymnist", "tinymnits"]
    assert main(["datasets", "fetch", *names, "--datasets-file", str(tiny.file)]) == 2
    assert "Did you mean 'tinymnist'" in capsys.readouterr().err
    assert published.asked == []


@ON_THIS_MACHINE
def test_a_run_downloads_only_when_it_is_told_to(published, tiny, capsys, tmp_path):
    published.files = tiny.files
    command = ["run", "--datasets", "tinymnist", "--models", "majority", "--no-sanity"]
    command += ["--datasets-file", str(tiny.file), "--data-dir", str(tmp_path)]
    command += ["--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert "--download" in capsys.readouterr().err
    assert published.asked == []
    assert main([*command, "--download"]) == 0
    assert published.asked == ["tinymnist.npz"]
    assert main([*command, "--download"]) == 0
    assert published.asked == ["tinymnist.npz"]


def test_a_bar_shows_how_far_a_download_is_where_there_is_a_terminal(tiny, tmp_path):
    out = io.StringIO()
    with download_bar(Console(file=out, force_terminal=True, width=80)) as bar:
        bar.total = 4_000_000
        bar.update(1_000_000)
        bar.reset()
        bar.update(bar.total)
        bar.close()
    assert "4.0/4.0 MB" in out.getvalue()
    with download_bar(Console(file=out)) as bar:
        assert bar is None


def test_the_list_shows_other_sizes_only_where_they_are_here(tiny, capsys, tmp_path):
    options = ["--datasets-file", str(tiny.file), "--data-dir", str(tmp_path)]
    assert main(["datasets", "list", *options]) == 0
    shown = capsys.readouterr().out
    assert "tinymnist " in shown and "tinymnist-64 " not in shown and "pathmnist-64" in shown
    (tmp_path / "medmnist").mkdir()
    (tmp_path / "medmnist/tinymnist_64.npz").write_bytes(tiny.files["tinymnist_64.npz"])
    assert main(["datasets", "list", *options]) == 0
    assert "tinymnist-64 " in capsys.readouterr().out
