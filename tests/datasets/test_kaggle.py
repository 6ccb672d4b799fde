"""Kaggle's own client, with its transport replaced; and what it leaves, read without it."""

import io
import json
import sys
import zipfile

import pytest
import yaml

from medbench.cli import main
from medbench.datasets.fetch import fetch
from medbench.datasets.places import place_of
from medbench.datasets.sources.folder import FolderSource
from medbench.datasets.sources.table import TableSource
from medbench.errors import ConfigurationError, DatasetError

NAME = "kaggle:somebody/brain-scans"


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """Where the client keeps data sets; the user's own folders and tokens are out of sight."""
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hub/datasets/somebody/brain-scans"


@pytest.fixture
def put(kept, class_folders):
    """Puts a version there as the client does; it has a folder ``data`` of two classes."""

    def put(version, whole=True):
        folder = kept / "versions" / str(version)
        folder.mkdir(parents=True)
        class_folders(per_class=3).rename(folder / "data")
        if whole:
            (kept / f"{version}.complete").touch()
        return folder

    return put


@pytest.fixture
def kaggle(web, class_folders, tmp_path):
    """Kaggle, which has version 4 of one data set, as a zip."""
    pytest.importorskip("kagglehub")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        root = class_folders(per_class=3)
        for path in sorted(root.rglob("*.*")):
            archive.write(path, f"data/{path.relative_to(root).as_posix()}")
    root.rename(tmp_path / "published")
    current = json.dumps({"currentVersionNumber": 4}).encode()
    web.answers["/GetDataset"] = lambda asked: (200, "application/json", current)
    web.answers["/DownloadDataset"] = lambda asked: (200, "application/zip", packed.getvalue())
    return web


def refusing(web, status):
    """Kaggle refuses everything."""
    for end in list(web.answers):
        web.answers[end] = lambda asked: (status, "text/plain", b"no")


# --- what a path may say ------------------------------------------------------------------------


def test_a_place_has_an_owner_a_name_a_version_and_a_path_in_it():
    place = place_of("kaggle:some_body/brain-scans@12/data/a b/")
    assert (place.owner, place.dataset, place.version) == ("some_body", "brain-scans", 12)
    assert place.inside == "data/a b"
    assert place_of("kaggle/scans") is None and place_of("/data/kaggle:a/b") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kaggle:rsna-pneumonia", "competition"),
        ("kaggle:competitions/rsna-pneumonia", "competition"),
        ("kaggle:datasets/somebody/scans", "write kaggle:OWNER/NAME"),
        ("kaggle:somebody/scans/versions/3", "behind an @"),
        ("kaggle:somebody/scans@latest", "write kaggle:OWNER/NAME"),
        ("kaggle:somebody/scans@0", "write kaggle:OWNER/NAME"),
        ("kaggle:../../etc", "write kaggle:OWNER/NAME"),
        ("kaggle:somebody/..", "write kaggle:OWNER/NAME"),
        ("kaggle:somebody/scans/../../other", "without '..'"),
        ("kaggle:somebody/scans//etc", "single '/'"),
        ("kaggle:somebody/scans/a\\..\\b", "must be the path"),
        ("kaggle:somebody/scans/a\nb", "must be the path"),
        ("kaggle:", "write kaggle:OWNER/NAME"),
    ],
)
def test_what_is_no_data_set_is_refused_with_the_reason(text, said):
    with pytest.raises(ConfigurationError, match=said):
        place_of(text)


def test_an_entry_with_a_wrong_place_is_named_by_its_line(tmp_path, capsys):
    (tmp_path / "datasets.yaml").write_text(
        f"a:\n  source: table\n  path: {NAME}/t.csv\n  images: {NAME}@2/films\n  label: x\n"
    )
    assert main(["datasets", "list"]) == 2
    assert "several places" in (shown := capsys.readouterr().err)
    assert "datasets.yaml, line 1" in shown


# --- what is here -------------------------------------------------------------------------------


def test_the_highest_whole_version_is_found_offline_and_said(put):
    for version, whole in ((9, True), (10, True), (11, False)):
        put(version, whole)
    source = FolderSource(path=f"{NAME}/data")
    assert source.is_here()
    listing = source.listing()
    assert len(listing.table) == 6
    assert f"{NAME}@10 is taken" in listing.notes[-1]
    pinned = FolderSource(path=f"{NAME}@9/data")
    assert pinned.listing().notes == listing.notes[:-1]
    assert not FolderSource(path=f"{NAME}@11/data").is_here()


def test_what_is_not_here_is_not_downloaded_and_the_remedy_is_said(web, capsys):
    source = FolderSource(path=f"{NAME}@3/data")
    with pytest.raises(DatasetError, match=f"datasets fetch {NAME}@3, or run with --download"):
        source.locate()
    assert main(["run", "--data", f"{NAME}/data", "--models", "majority"]) == 2
    assert f"datasets fetch {NAME}" in capsys.readouterr().err
    assert web.asked == []


def test_a_folder_that_the_set_lacks_is_said_with_what_it_has(put):
    put(3)
    with pytest.raises(DatasetError, match=r"no 'date' in it\. It holds data\. Correct the field"):
        FolderSource(path=f"{NAME}/date").locate()


def test_a_link_out_of_the_set_is_refused(put, tmp_path):
    (put(3) / "out").symlink_to(tmp_path)
    with pytest.raises(DatasetError, match="leads out"):
        FolderSource(path=f"{NAME}/out").locate()


def test_an_added_entry_names_the_version_that_was_looked_at(put, capsys, tmp_path):
    put(3)
    assert main(["datasets", "add", "scans", f"{NAME}/data"]) == 0
    entry = yaml.safe_load((tmp_path / "datasets.yaml").read_text())["scans"]
    assert entry["path"] == f"{NAME}@3/data"
    assert main(["datasets", "show", "scans"]) == 0
    assert f"place: {NAME}@3" in capsys.readouterr().out
    assert main(["datasets", "add", "other", "kaggle:nobody/nothing"]) == 2
    assert "datasets fetch kaggle:nobody/nothing" in capsys.readouterr().err


def test_a_table_in_a_place_is_added_with_its_images(put, tmp_path):
    folder = put(3)
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("data/*/*.*"))
    rows = [f"{name},{name.split('/')[1]}" for name in names]
    (folder / "labels.csv").write_text("\n".join(["file,label", *rows]))
    assert main(["datasets", "add", "t", f"{NAME}/labels.csv", "--images", NAME]) == 0
    entry = yaml.safe_load((tmp_path / "datasets.yaml").read_text())["t"]
    assert (entry["path"], entry["images"]) == (f"{NAME}@3/labels.csv", f"{NAME}@3")
    assert len(TableSource.model_validate(entry).listing().table) == 6


# --- fetching, with the client ------------------------------------------------------------------


def test_what_is_fetched_without_a_version_is_the_current_one_and_it_is_said(
    kaggle, kept, put, capsys
):
    put(3)
    assert main(["datasets", "fetch", NAME]) == 0
    assert f"{NAME}@4" in (shown := capsys.readouterr().out) and "kaggle.com/datasets" in shown
    assert FolderSource(path=f"{NAME}/data").locate()["path"] == kept / "versions/4/data"
    n_asked = len(kaggle.asked)
    assert main(["datasets", "fetch", f"{NAME}@4"]) == 0  # the client finds it in its cache
    assert len(kaggle.asked) == n_asked


def test_a_run_downloads_a_place_and_records_it_when_it_is_told_to(kaggle, kept, tmp_path):
    command = ["run", "--data", f"{NAME}@2/data", "--models", "majority", "--no-sanity"]
    command += ["--out", str(tmp_path / "out"), "--download"]
    assert main(command) == 0
    assert (kept / "2.complete").exists()
    record = json.loads((tmp_path / "out/datasets/data/dataset.json").read_text())
    assert record["place"] == f"{NAME}@2" and record["fingerprint"]


def test_a_folder_that_the_client_mounts_is_remembered(kaggle, kept, tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    monkeypatch.setenv("KAGGLE_DATA_PROXY_URL", "https://proxy.invalid")
    monkeypatch.setenv("KAGGLE_USER_SECRETS_TOKEN", "token")
    monkeypatch.setenv("KAGGLE_DATA_PROXY_TOKEN", "token")
    monkeypatch.setenv("KAGGLE_CACHE_MOUNT_FOLDER", str(tmp_path / "input"))
    (tmp_path / "input/brain-scans/data").mkdir(parents=True)
    result = json.dumps({"wasSuccessful": True, "result": {"mountSlug": "brain-scans"}}).encode()
    answer = (200, "application/json", result)
    kaggle.answers["/AttachDatasourceUsingJwtRequest"] = lambda asked: answer
    source = FolderSource(path=f"{NAME}/data")
    said = []
    fetch("scans", FolderSource(path=NAME), tmp_path, say=said.append)
    assert source.locate()["path"] == tmp_path / "input/brain-scans/data"
    assert source.place_name() == NAME  # nobody says which version it is


@pytest.mark.parametrize(
    ("status", "token", "said"),
    [
        (403, "", r"kaggle\.com/settings.*KAGGLE_API_TOKEN"),
        (401, "wrong", r"kaggle\.com/settings.*KAGGLE_API_TOKEN"),
        (403, "mine", r"Accept the licence at https://www\.kaggle\.com/datasets/somebody/brain"),
        (404, "mine", "does not have it"),
        (500, "mine", "answers 500.*later"),
    ],
)
def test_a_refusal_says_what_to_do(kaggle, status, token, said, monkeypatch, tmp_path):
    if token:
        monkeypatch.setenv("KAGGLE_API_TOKEN", token)
    refusing(kaggle, status)
    with pytest.raises(DatasetError, match=f"{said}.*zip by hand"):
        fetch("scans", FolderSource(path=f"{NAME}@4"), tmp_path, say=lambda text: None)


def test_without_network_it_says_so(kaggle, capsys):
    kaggle.answers.clear()
    assert main(["datasets", "fetch", NAME]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(f"{NAME}: cannot be fetched. Kaggle cannot be reached")
    assert "zip by hand" in shown


def test_a_full_disk_is_named(kaggle, tmp_path):
    def full(asked):
        raise OSError(28, "No space left on device")

    kaggle.answers["/DownloadDataset"] = full
    with pytest.raises(DatasetError, match=r"No space left.*Free space there.*KAGGLEHUB_CACHE"):
        fetch("scans", FolderSource(path=NAME), tmp_path, say=lambda text: None)


def test_without_the_client_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(DatasetError, match=r"kagglehub is not installed.*pip install.*kaggle"):
        fetch("scans", FolderSource(path=NAME), tmp_path, say=lambda text: None)


def test_an_archive_in_a_place_is_used_as_its_folder_and_named_by_the_place(put, tmp_path):
    folder = put(3)
    with zipfile.ZipFile(folder / "films.zip", "w") as archive:
        for path in sorted((folder / "data").rglob("*.*")):
            archive.write(path, path.relative_to(folder).as_posix())
    assert main(["datasets", "add", "films", f"{NAME}/films.zip"]) == 0
    entry = yaml.safe_load((tmp_path / "datasets.yaml").read_text())["films"]
    assert entry["path"] == f"{NAME}@3/films.zip"
    assert len(FolderSource.model_validate(entry).listing().table) == 6
