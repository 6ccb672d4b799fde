"""Large files of models are stored once a run, chunk by chunk, and come back as they were."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from medbench.atomic_files import read_json
from medbench.errors import ModelError
from medbench.hashes import sha256_of_folder
from medbench.store import CellId, RunStore, chunks, seals

CELL = CellId(dataset="d", model="m", split="r0f0")
OTHER = CellId(dataset="d", model="m", split="r0f1")


def noise(n, seed=0):
    return np.random.default_rng(seed).bytes(n)


def n_bytes(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def store(tmp_path):
    store = RunStore(tmp_path / "run")
    store.begin({"seed": 0})
    return store


@pytest.fixture
def saved(tmp_path):
    """Makes folders of saved models, whose large file begins and ends with bytes of their own."""

    def make(name, *, head=b"", backbone=b"", more=b"{}"):
        folder = tmp_path / name
        (folder / "deep").mkdir(parents=True)
        (folder / "model.keras").write_bytes(head + backbone + head)
        (folder / "deep" / "state.json").write_bytes(more)
        return folder

    return make


def test_what_models_have_in_common_is_stored_once_wherever_in_a_file_it_lies(store, saved):
    backbone = noise(10_000_000)
    folders = [
        saved(f"m{i}", head=noise(1000 + 77 * i, seed=i), backbone=backbone) for i in range(5)
    ]
    cells = [CellId(dataset="d", model="m", split=f"r0f{i}") for i in range(5)]
    for cell, folder in zip(cells, folders, strict=True):
        store.cell(cell).keep_model(folder)
    assert n_bytes(store.folder) < 1.25 * len(backbone)
    for cell, folder in zip(cells, folders, strict=True):
        stored = chunks.ChunkStore(store.layout.chunks)
        assert stored.sha256_of(store.cell(cell).model) == sha256_of_folder(folder)
        whole = store.cell(cell).whole_model(sha256_of_folder(folder))
        assert sha256_of_folder(whole) == sha256_of_folder(folder)
        assert (whole / "model.keras").read_bytes() == (folder / "model.keras").read_bytes()


def test_a_small_model_lies_as_it_was_saved(store, saved):
    folder = saved("small", head=b"x")
    store.cell(CELL).keep_model(folder)
    kept = store.cell(CELL)
    assert kept.whole_model(sha256_of_folder(folder)) == kept.model
    assert sha256_of_folder(kept.model) == sha256_of_folder(folder)
    assert not store.layout.chunks.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 3_000_000, b"ab" * 700_000, noise(1_000_000), noise(1_234_567), noise(7)],
)
def test_chunks_make_up_the_content_and_are_of_a_bounded_size(content):
    found = list(chunks.split_into_chunks(content))
    assert b"".join(found) == content
    assert all(len(one) <= chunks._LONGEST for one in found)
    assert all(len(one) >= chunks._SHORTEST for one in found[:-1])


def test_the_chunks_of_models_that_are_gone_go_with_the_next_start(store, saved):
    backbone = noise(3_000_000)
    first, second = (
        saved(name, head=noise(2_000_000, seed), backbone=backbone)
        for name, seed in (("a", 1), ("b", 2))
    )
    store.cell(CELL).keep_model(first)
    store.cell(OTHER).keep_model(second)
    before = n_bytes(store.layout.chunks)
    store.cell(CELL).remove()
    assert n_bytes(store.layout.chunks) == before
    store.begin({"seed": 0})
    assert n_bytes(store.layout.chunks) < before - 1_500_000
    assert store.cell(OTHER).whole_model(sha256_of_folder(second)).is_dir()


def test_nothing_is_removed_while_it_is_not_known_what_is_used(store, saved):
    store.cell(CELL).keep_model(saved("a", backbone=noise(3_000_000)))
    (store.cell(CELL).model / "chunks.json").write_text("{")
    before = n_bytes(store.layout.chunks)
    store.begin({"seed": 0})
    assert n_bytes(store.layout.chunks) == before


@pytest.mark.parametrize("how", ["gone", "damaged", "list"])
def test_a_chunk_that_is_gone_or_damaged_is_named(store, saved, how):
    folder = saved("a", backbone=noise(3_000_000))
    store.cell(CELL).keep_model(folder)
    chunk = sorted(store.layout.chunks.glob("*/*"))[0]
    if how == "gone":
        chunk.unlink()
    elif how == "damaged":
        chunk.write_bytes(chunk.read_bytes()[:-1] + b"x")
    else:
        path = store.cell(CELL).model / "chunks.json"
        path.write_text(path.read_text().replace("model.keras", "model.kera_"))
    with pytest.raises(ModelError, match=rf"{store.cell(CELL).model}.*run's command again"):
        store.cell(CELL).whole_model(sha256_of_folder(folder))
    store.cell(OTHER).keep_model(folder)  # who stores the same again mends it
    assert store.cell(OTHER).whole_model(sha256_of_folder(folder)).is_dir()


@pytest.mark.parametrize("name", ["../outside", "/outside", "deep/../../outside"])
def test_a_list_of_chunks_cannot_write_outside_its_folder(store, saved, tmp_path, name):
    store.cell(CELL).keep_model(saved("a", backbone=noise(3_000_000)))
    path = store.cell(CELL).model / "chunks.json"
    (hashes,) = read_json(path)["files"].values()
    seals.write_record(path, {"files": {name: hashes}})
    with pytest.raises(ModelError, match="damaged"):
        store.cell(CELL).whole_model("0" * 64)
    assert not list(tmp_path.rglob("outside"))


@pytest.mark.parametrize("files", [5, None, [1], {"a": 5}, {"a": [5]}, {"a": ["é" * 64]}])
def test_a_list_that_somebody_wrote_otherwise_is_damaged(store, saved, files):
    store.cell(CELL).keep_model(saved("a", backbone=noise(3_000_000)))
    seals.write_record(store.cell(CELL).model / "chunks.json", {"files": files})
    with pytest.raises(ModelError, match="damaged"):
        store.cell(CELL).whole_model("0" * 64)
    store.begin({"seed": 0})


def test_a_list_cannot_make_a_model_of_any_size(store, saved, monkeypatch):
    folder = saved("a", backbone=noise(3_000_000))
    store.cell(CELL).keep_model(folder)
    monkeypatch.setattr(chunks, "LARGEST_MODEL", 3_000_000)
    assert store.cell(CELL).whole_model(sha256_of_folder(folder)).is_dir()
    path = store.cell(CELL).model / "chunks.json"
    ((name, hashes),) = read_json(path)["files"].items()
    seals.write_record(path, {"files": {name: hashes * 2}})
    with pytest.raises(ModelError, match="names 6000000 bytes, too many"):
        store.cell(CELL).whole_model(sha256_of_folder(folder))
    seals.write_record(path, {"files": {name: hashes}})
    store.layout.chunks.joinpath(hashes[0][:2], hashes[0]).write_bytes(b"x" * (1 << 21))
    with pytest.raises(ModelError, match="too large"):
        store.cell(CELL).whole_model(sha256_of_folder(folder))


def test_a_copy_of_a_run_folder_needs_nothing_else(store, saved, tmp_path):
    folder = saved("a", backbone=noise(3_000_000))
    store.cell(CELL).keep_model(folder)
    copy = RunStore(Path(shutil.copytree(store.folder, tmp_path / "copy")))
    shutil.rmtree(store.folder)
    assert copy.cell(CELL).whole_model(sha256_of_folder(folder)).is_dir()
