from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from medbench.datasets.splits import OuterSplit, SplitPlan
from medbench.execution.plan import PlannedDataset
from medbench.execution.scratch import Scratch
from medbench.store import CellId


def cell(model: str, split: str = "r0f0"):
    n = 6
    table = pd.DataFrame({"label": [0, 1] * 3, "group": range(n), "width": 8, "height": 8})
    data = SimpleNamespace(
        images=np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1),
        labels=table["label"].to_numpy(np.int64),
        table=table.assign(mode="L", bytes=9),
    )
    part = OuterSplit(
        name=split,
        repeat=0,
        development=np.arange(4),
        validation=None,
        held_out=np.arange(4, 6),
    )
    return SimpleNamespace(
        id=CellId(dataset="set", model=model, split=split),
        dataset=PlannedDataset(data=data, plan=SplitPlan(splits=(part,), description="", notes=())),
        split=part,
    )


def test_a_development_part_is_written_once_and_goes_with_the_last_cell(tmp_path):
    one, other = cell("a"), cell("b")
    scratch = Scratch(tmp_path / ".scratch", [one, other])
    with scratch.development(one) as folder:
        written = (folder / "images.npy").stat().st_mtime_ns
        assert np.load(folder / "images.npy").ravel().tolist() == [0, 1, 2, 3]
    assert folder.exists()  # another cell is still to come
    with scratch.development(other) as again:
        assert again == folder
        assert (again / "images.npy").stat().st_mtime_ns == written
    assert not folder.exists()


def test_held_out_images_lie_where_no_other_cell_can_know(tmp_path):
    one, other = cell("a"), cell("b", "r0f1")
    scratch = Scratch(tmp_path / ".scratch", [one, other])
    with (
        scratch.development(one) as told,
        scratch.development(other) as told_other,
        scratch.held_out(other) as held_out,
        scratch.held_out(other) as again,
    ):
        assert np.load(held_out / "images.npy").ravel().tolist() == [4, 5]
        assert not (held_out / "labels.npy").exists()
        names = {path.name for path in (told, told_other, held_out, again)}
        assert len(names) == 4 and all(len(name) == 32 for name in names)
        assert not any("set" in name or "r0f" in name for name in names)
    assert not held_out.exists()


def test_what_a_killed_run_left_goes_and_so_does_everything_at_the_end(tmp_path):
    left = tmp_path / ".scratch" / "left"
    left.mkdir(parents=True)
    one = cell("a")
    scratch = Scratch(tmp_path / ".scratch", [one])
    assert not left.exists()
    with pytest.raises(KeyboardInterrupt), scratch.development(one), scratch.held_out(one):
        raise KeyboardInterrupt
    scratch.clear()
    assert list(tmp_path.iterdir()) == []
