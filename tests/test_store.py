import json
import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medbench.errors import StoreError
from medbench.store import CellId, RunStore, TrialLog, read_json, write_json, writing

SETTINGS = {"folds": 5, "seed": 0}
CELL = CellId(dataset="d", model="m", split="r0f0")


def test_a_run_is_begun_once_and_other_settings_are_refused_by_name(tmp_path):
    store = RunStore(tmp_path / "run")
    store.begin(SETTINGS)
    store.begin(SETTINGS)
    with pytest.raises(StoreError, match=r"folds: 5 there, 3 now.*--out"):
        store.begin({**SETTINGS, "folds": 3})


def test_a_folder_with_something_else_in_it_is_refused(tmp_path):
    (tmp_path / "thesis.doc").write_text("x")
    with pytest.raises(StoreError, match=r"not empty and holds no run.json"):
        RunStore(tmp_path).begin(SETTINGS)
    with pytest.raises(StoreError, match="is a file"):
        RunStore(tmp_path / "thesis.doc").begin(SETTINGS)


def test_a_run_of_another_version_is_refused(tmp_path):
    write_json(tmp_path / "run.json", {"format": 99, "configuration": {}})
    for use in (lambda s: s.begin(SETTINGS), lambda s: s.read()):
        with pytest.raises(StoreError, match="written in format 99"):
            use(RunStore(tmp_path))


def test_no_run_and_a_damaged_run_are_named(tmp_path):
    with pytest.raises(StoreError, match="there is no run here"):
        RunStore(tmp_path).read()
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(StoreError, match=r"run.json: cannot be read"):
        RunStore(tmp_path).read()


def test_two_runs_cannot_work_in_one_folder(tmp_path):
    first, second = RunStore(tmp_path), RunStore(tmp_path)
    with first.lock(), pytest.raises(StoreError, match="another run is at work"), second.lock():
        pass
    with RunStore(tmp_path).lock():
        pass


def test_a_finished_cell_is_read_back_in_full_precision(tmp_path):
    store = RunStore(tmp_path)
    store.begin(SETTINGS)
    predictions = pd.DataFrame(
        {"image": [3, 5], "group": [0, 1], "label": [0, 1], "p0": [0.1, 1 / 3], "p1": [0.9, 2 / 3]}
    )
    log = TrialLog(store.cell_folder(CELL))
    log.append({"number": 0, "score": 0.5}, np.full((2, 2), 0.5))
    store.write_predictions(CELL, predictions)
    assert store.read().cells == ()  # not finished before cell.json is there
    write_json(store.cell_folder(CELL) / "key.json", {"key": "k", "parts": {"seed": 0}})
    store.finish_cell(CELL, {"status": "ok", "reason": ""})
    (cell,) = store.read().cells
    assert cell.id == CELL and cell.key_parts == {"seed": 0}
    pd.testing.assert_frame_equal(cell.predictions, predictions)
    assert cell.trials[0]["score"] == 0.5
    assert (log.oof(0) == 0.5).all()


def test_a_missing_prediction_file_is_named(tmp_path):
    store = RunStore(tmp_path)
    store.begin(SETTINGS)
    write_json(store.cell_folder(CELL) / "key.json", {"key": "k", "parts": {}})
    store.finish_cell(CELL, {"status": "ok", "reason": ""})
    with pytest.raises(StoreError, match=r"predictions.parquet: cannot be read"):
        store.read()


@given(
    st.lists(st.dictionaries(st.text(max_size=5), st.integers(), max_size=3), max_size=6),
    st.integers(1, 30),
)
def test_a_torn_last_line_is_dropped_and_the_next_trial_is_whole(records, cut):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as name:
        log = TrialLog(Path(name))
        for number, record in enumerate(records):
            log.append({**record, "number": number}, None)
        lines = Path(name) / "trials.jsonl"
        torn = json.dumps({"number": len(records), "x": "y" * 40}).encode()[:cut]
        with lines.open("ab") as file:
            file.write(torn)
        assert [r["number"] for r in log.records()] == list(range(len(records)))
        log.append({"number": len(records)}, None)
        assert [r["number"] for r in log.records()] == list(range(len(records) + 1))


def test_nan_is_not_json_and_leaves_nothing_behind(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path):
    write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", {"a": object()})
    assert read_json(tmp_path / "x.json") == {"a": 1}


def test_the_operating_systems_refusal_names_the_place_and_the_remedy(tmp_path):
    refusal = r"cannot be written \(No space left.*--out"
    with pytest.raises(StoreError, match=refusal), writing(tmp_path):
        raise OSError(28, os.strerror(28))
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        write_json(tmp_path / "file" / "x.json", {})


@pytest.mark.parametrize("file", ["cell.json", "key.json"])
@pytest.mark.parametrize("content", ["{}", "[]", "", "{"])
def test_a_damaged_record_of_a_cell_is_named(tmp_path, file, content):
    store = RunStore(tmp_path)
    store.begin(SETTINGS)
    write_json(store.cell_folder(CELL) / "key.json", {"key": "k", "parts": {}})
    store.finish_cell(CELL, {"status": "failed", "reason": "x"})
    (store.cell_folder(CELL) / file).write_text(content)
    with pytest.raises(StoreError, match=file):
        store.read()
