"""``cache list|verify|clear``, and the bound: what is in use or not MedBench's is left alone."""

import os
import shutil

import numpy as np
import pytest

from medbench.backbones import BACKBONES
from medbench.cache import CHECKSUMS, cache_folder, found_entry, keep_entry, keep_note
from medbench.cache.upkeep import KINDS, bound, items, keep_within_bound
from medbench.cli import main
from medbench.errors import ConfigurationError

HASH = "0123456789abcdef" * 2
WEIGHTS = BACKBONES["mobilenet"].weights.file_name
PREPARED = "films-0123456789abcdef-0123456789abcdef"


def put(name, n_bytes=1_000_000, used=None):
    path = cache_folder() / name
    assert keep_entry(path, lambda folder: (folder / "a.npy").write_bytes(bytes(n_bytes)))
    if used is not None:
        os.utime(path / CHECKSUMS, (used, used))
    return path


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path, monkeypatch):
    """What other tests are at work on there is not listed."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))


@pytest.fixture
def filled():
    """Paths in a cache with something of every kind, by kind; the last two were downloaded."""
    note = cache_folder() / "checked" / f"{HASH}.json"
    cost = cache_folder() / "costs" / f"{HASH}.json"
    keep_note(note, "value")
    keep_note(cost, [])
    left = cache_folder() / "work" / "1-abc"
    files = {
        "jax": cache_folder() / "jax" / "2-threads" / "jit_add-abc-cache",
        "weights": cache_folder() / "weights" / WEIGHTS,
        "data": cache_folder() / "data" / "medmnist" / "pneumoniamnist.npz",
    }
    for file in (*files.values(), left / "lock", left / "images.npy"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"1234")
    return {
        "prepared": put(f"prepared/{PREPARED}"),
        "features": put(f"features/hog/{HASH}"),
        "unpacked": put(f"unpacked/{HASH}"),
        "headers": put(f"headers/{HASH}"),
        "networks": put(f"networks/{HASH}"),
        "checked": note,
        "costs": cost,
        "work": left,
        **files,
    }


def tree():
    return sorted(path.relative_to(cache_folder()) for path in cache_folder().rglob("*"))


def test_everything_is_listed_by_kind(filled, capsys):
    assert filled.keys() == KINDS.keys()
    entry = found_entry(filled["prepared"])
    before = tree()
    assert main(["cache", "list"]) == 0
    shown = capsys.readouterr().out
    for kind in KINDS:
        assert sum(line.split()[:1] == [kind] for line in shown.splitlines()) == 1, kind
    assert f"{cache_folder()}: 5.0 MB" in shown and "films-" in shown and "hog" in shown
    (line,) = [line for line in shown.splitlines() if "in use" in line]
    assert "prepared" in line and "1.0 MB" in line
    assert tree() == before and "left alone" not in shown
    del entry


def test_what_is_damaged_is_named_and_removed(filled, capsys):
    filled["weights"].unlink()
    assert main(["cache", "verify"]) == 0
    assert "7 checked, 0 damaged." in capsys.readouterr().out.splitlines()
    (filled["prepared"] / "a.npy").write_bytes(b"short")
    (filled["features"] / CHECKSUMS).write_bytes(bytes(100))
    (filled["networks"] / CHECKSUMS).unlink()
    filled["checked"].write_text("{}")
    filled["costs"].write_text("{}")
    filled["weights"].write_bytes(b"half a download")
    assert main(["cache", "verify"]) == 1
    shown = capsys.readouterr().out
    damaged = ("prepared", "features", "networks", "checked", "costs", "weights")
    for kind, path in filled.items():
        assert (f"{path}: damaged" in shown) == (kind in damaged), kind
        assert path.exists() == (kind not in damaged)
    assert "8 checked, 6 damaged. What is removed is computed or fetched again" in shown
    assert main(["cache", "verify"]) == 0


def test_an_entry_of_an_earlier_version_is_known(capsys):
    old = cache_folder() / "prepared" / ("films-" + "ab" * 12)
    old.mkdir(parents=True)
    (old / CHECKSUMS).write_text('{"images.npy": "' + "ab" * 32 + '"}')
    assert main(["cache", "verify"]) == 1 and not old.exists()
    assert "of an earlier version" in capsys.readouterr().out


def test_what_can_be_computed_again_is_cleared(filled, capsys):
    assert main(["cache", "clear"]) == 0
    for kind, path in filled.items():
        assert path.exists() == (kind in ("weights", "data")), kind
    shown = capsys.readouterr().out
    assert "5.0 MB freed." in shown and "1 removed" in shown
    assert main(["cache", "clear", "--kind", "weights", "data"]) == 0
    assert not filled["weights"].exists() and not filled["data"].exists()


def test_only_what_is_named_is_cleared(filled):
    assert main(["cache", "clear", "--kind", "features", "work"]) == 0
    assert {kind for kind, path in filled.items() if not path.exists()} == {"features", "work"}
    assert not filled["features"].parent.exists()


def test_what_earlier_versions_left_goes_when_it_is_old():
    left = [
        cache_folder() / "prepared" / f".{HASH}",
        cache_folder() / "prepared" / f".films-abc.{HASH[:16]}.tmp",
        cache_folder() / "features" / "hog" / f".abc.{HASH[:16]}.tmp",
    ]
    mine = cache_folder() / "prepared" / ".mine"
    for folder in (*left, mine):
        folder.mkdir(parents=True)
        (folder / "images.npy").write_bytes(b"of a patient")
    assert main(["cache", "clear"]) == 0  # somebody may be at work on them
    assert all(folder.exists() for folder in left)
    for folder in (*left, mine):
        os.utime(folder, (1, 1))
    assert main(["cache", "clear"]) == 0
    assert not any(folder.exists() for folder in left) and mine.exists()


def test_an_unknown_kind_is_refused_with_those_there_are(capsys):
    assert main(["cache", "clear", "--kind", "feature"]) == 2
    assert "Did you mean 'features'" in capsys.readouterr().err


def test_what_is_in_use_is_kept_and_said(filled, capsys):
    entry = found_entry(filled["prepared"])
    assert main(["cache", "clear"]) == 0
    assert f"{filled['prepared']}: in use, kept" in capsys.readouterr().out
    assert filled["prepared"].is_dir() and not filled["networks"].exists()
    del entry
    assert main(["cache", "clear"]) == 0
    assert not filled["prepared"].exists()


def test_what_is_not_ours_is_left_and_no_link_is_followed(filled, tmp_path, capsys):
    outside = tmp_path / "outside"
    shutil.copytree(cache_folder() / "networks", outside / "networks")
    shutil.copy(filled["data"], outside / "mine.npz")
    foreign = {
        "notes.txt": None,
        "prepared/my scans/one.png": None,
        "features/hog/readme": None,
        "weights/mine.h5": None,
        "data/medmnist/bloodmnist.npz": outside / "mine.npz",
        f"headers/{HASH[::-1]}": outside / "networks" / HASH,
        "features/linked": outside / "networks",
    }
    for name, target in foreign.items():
        path = cache_folder() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if target is None:
            path.write_text("mine")
        else:
            path.symlink_to(target)
    before = sorted(outside.rglob("*"))
    assert main(["cache", "list"]) == 0
    assert "7 other files and links, which are left alone" in capsys.readouterr().out
    assert main(["cache", "verify"]) == 1  # the weights of the fixture
    assert main(["cache", "clear", "--kind", *KINDS]) == 0
    assert sorted(outside.rglob("*")) == before
    assert all(os.path.lexists(cache_folder() / name) for name in foreign)
    assert not any(path.exists() for path in filled.values())


def test_a_cache_that_is_a_link_itself_is_looked_at(filled, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(cache_folder())
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "link"))
    assert len(items(downloads=["medmnist/pneumoniamnist.npz"])) == 11


@pytest.mark.parametrize("verb", ["list", "verify", "clear"])
def test_where_there_is_no_cache_there_is_nothing_in_it(verb, capsys):
    cache_folder().rmdir()
    assert main(["cache", verb]) == 0
    assert not cache_folder().exists()
    shown = capsys.readouterr().out
    assert ("0 checked, 0 damaged." if verb == "verify" else "0.0 MB") in shown


def test_what_cannot_be_removed_is_said(filled, monkeypatch, capsys):
    def refuse(self, *arguments, **named):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.rename", refuse)
    (filled["prepared"] / "a.npy").write_bytes(b"short")
    assert main(["cache", "verify"]) == 1
    assert "cannot be removed, so mend its permissions" in capsys.readouterr().out
    assert main(["cache", "clear", "--kind", "prepared"]) == 0
    shown = capsys.readouterr().out
    assert f"{filled['prepared']}: cannot be removed, kept" in shown and "0.0 MB freed" in shown


@pytest.mark.parametrize("verb", ["list", "verify", "clear"])
def test_a_cache_that_is_a_file_is_not_said_to_be_empty(verb, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_bytes(b"mine")
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "file"))
    assert main(["cache", verb]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'file'}: the cache cannot be read" in said and "MEDBENCH_CACHE" in said
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_clear_leaves_no_folder_of_features_that_a_bound_has_emptied(monkeypatch):
    above = put(f"features/hog/{HASH}").parent
    (above / ".work").mkdir()
    monkeypatch.setenv("MEDBENCH_CACHE_SIZE", "1KB")
    assert len(keep_within_bound()) == 1
    assert main(["cache", "clear"]) == 0
    assert not above.exists()


# --- the bound ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("20GB", 20 * 10**9), ("1.5 tb", 15 * 10**11), ("500M", 5 * 10**8), ("0MB", 0), ("", None)],
)
def test_a_bound_is_written_with_its_unit(monkeypatch, text, n_bytes):
    monkeypatch.setenv("MEDBENCH_CACHE_SIZE", text)
    assert bound() == n_bytes


@pytest.mark.parametrize("text", ["much", "-1GB", "20 boxes", "1e3", "20", "1GiB", "nan", "٣GB"])
def test_what_is_no_size_is_refused(monkeypatch, text, capsys):
    monkeypatch.setenv("MEDBENCH_CACHE_SIZE", text)
    with pytest.raises(ConfigurationError, match=r"MEDBENCH_CACHE_SIZE=.*is no size"):
        bound()
    assert main(["cache", "list"]) == 2
    assert "MEDBENCH_CACHE_SIZE" in capsys.readouterr().err


def test_what_was_not_used_for_longest_goes_first_and_nothing_in_use(monkeypatch):
    paths = [put(f"features/hog/{n:032x}", used=1000 + n) for n in range(5)]
    paths.append(put(f"prepared/{PREPARED}", used=1))
    entry = found_entry(paths[-1])  # it was used now, and is in use
    os.utime(paths[-1] / CHECKSUMS, (1, 1))
    monkeypatch.setenv("MEDBENCH_CACHE_SIZE", "3500KB")
    assert [item.path for item in keep_within_bound()] == paths[:3]
    assert [path.exists() for path in paths] == [False] * 3 + [True] * 3
    monkeypatch.setenv("MEDBENCH_CACHE_SIZE", "1KB")
    keep_within_bound()
    assert [path.exists() for path in paths] == [False] * 5 + [True]
    del entry


def test_without_a_bound_nothing_goes(filled):
    assert keep_within_bound() == []
    assert filled["prepared"].exists()


def test_a_run_keeps_the_cache_within_the_bound(class_folders, tmp_path, monkeypatch, capsys):
    old = put(f"features/hog/{HASH}", used=1)
    root = class_folders()
    monkeypatch.setenv("MEDBENCH_CACHE_SIZE", "500KB")
    options = ["--models", "thumbnail", "--no-sanity", "--trials", "1", "--folds", "2"]
    run = ["run", "--data", str(root), *options, "--out", str(tmp_path / "run")]
    assert main(run) == 0
    assert not old.exists()
    assert (cache_folder() / "prepared").is_dir() and np.any(items(["prepared"]))
    monkeypatch.setenv("MEDBENCH_CACHE_SIZE", "some")
    assert main(run) == 2
