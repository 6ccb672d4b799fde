import numpy as np
import pandas as pd
import pytest

from medbench.atomic_files import write_text
from medbench.errors import StoreError
from medbench.store import CellId, RunStore

CELL = CellId(dataset="d", model="m", split="official")


@pytest.fixture
def cell(tmp_path):
    return RunStore(tmp_path / "run").cell(CELL)


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def made(folder, **texts):
    """A folder with files in it, some of them below."""
    for name, text in texts.items():
        write_text(folder / name.replace("_", "/"), text)
    return folder


def test_a_cell_that_was_not_begun_has_nothing(cell):
    assert cell.key() is None and cell.result() is None and cell.trials() == []
    cell.drop_outcome()
    cell.drop_checkpoints()
    cell.remove()
    assert not cell.folder.exists()


def test_what_a_cell_was_begun_from_is_known(cell):
    cell.begin("k", {"seed": 0, "versions": {"python": "3"}})
    key, parts = cell.key()
    assert key == "k" and parts == {"seed": 0, "versions": {"python": "3"}}
    cell.begin("other", {})
    assert cell.key() == ("other", {})


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"key": "k"}', '{"key": 1, "parts": {}}']
)
def test_a_damaged_key_is_an_error(cell, content):
    write_text(cell.folder / "key.json", content)
    with pytest.raises(StoreError, match=r"key\.json"):
        cell.key()


def test_a_model_and_a_checkpoint_are_copies_that_take_the_place_of_earlier_ones(cell, tmp_path):
    first = made(tmp_path / "first", weights="1", deep_er="1", old="1")
    second = made(tmp_path / "second", weights="2", deep_er="2")
    for folder in (first, second):
        cell.keep_model(folder)
        cell.keep_checkpoint(7, folder)
    cell.keep_checkpoint(12, first)
    assert files(cell.model) == {"weights", "deep/er"}
    assert (cell.model / "weights").read_text() == "2"
    assert files(cell.checkpoints) == {
        *("0007/weights", "0007/deep/er"),
        *("0012/weights", "0012/deep/er", "0012/old"),
    }
    assert files(second) == {"weights", "deep/er"}
    cell.drop_checkpoints()
    assert not cell.checkpoints.exists() and cell.model.exists()


def test_what_cannot_be_copied_leaves_the_earlier_one(cell, tmp_path):
    cell.keep_model(made(tmp_path / "first", weights="1"))
    with pytest.raises(StoreError, match="cannot be written"):
        cell.keep_model(tmp_path / "gone")
    assert files(cell.folder) == {"model/weights"}


def test_trials_and_their_predictions_are_read_back(cell):
    oof = np.array([[0.25, 0.75], [np.nan, np.nan]])
    cell.append_trial({"number": 0, "state": "complete", "params": {}}, oof)
    cell.append_trial({"number": 1, "state": "failed", "params": {}}, None)
    assert [one["number"] for one in cell.trials()] == [0, 1]
    complete, failed = cell.trials()
    np.testing.assert_array_equal(cell.oof(complete), oof)
    with pytest.raises(StoreError, match=r"0001\.npy"):
        cell.oof(failed)


def test_the_log_grows(cell):
    cell.append_log(b"one\n")
    cell.append_log(b"two\xff\n")
    assert cell.log.read_bytes() == b"one\ntwo\xff\n"


def test_a_finished_cell_is_what_was_written_and_goes_as_a_whole(cell):
    frame = pd.DataFrame({"image": [0], "group": [0], "label": [1], "p0": [0.25], "p1": [0.75]})
    split = {"repeat": 1, "fold": None, "by_image": False}
    cell.begin("k", {})
    cell.write_predictions(frame)
    assert cell.result() is None
    cell.finish({**split, "status": "ok", "threshold": 0.5})
    found = cell.result()
    assert (found.id, found.status, found.repeat, found.fold) == (CELL, "ok", 1, None)
    pd.testing.assert_frame_equal(found.predictions, frame)
    (cell.folder / "predictions.parquet").unlink()
    with pytest.raises(StoreError, match=r"predictions\.parquet: missing"):
        cell.result()
    cell.drop_outcome()
    assert cell.result() is None and cell.key() is not None
    cell.finish({**split, "status": "failed", "reason": "boom"})
    assert cell.result().reason == "boom" and cell.result().predictions is None
    cell.remove()
    assert cell.result() is None and not cell.folder.exists()
