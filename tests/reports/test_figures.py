"""Figures: which are drawn, that they have content, and names that mean harm."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from medbench.errors import StoreError
from medbench.reports.assessment import assess
from medbench.reports.figures import write_figures

pytestmark = pytest.mark.filterwarnings("error")
ALL = ["scores.png", "roc.png", "confusion.png", "tuning.png"]


def names(written):
    return [path.name for path in written]


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


def test_a_data_set_gets_its_four_figures_in_its_folder(factory, tmp_path):
    factory.dataset()
    factory.model("majority", 0)
    factory.model("strong", 2.0)
    factory.unfinished("strong", "failed", "boom", fold=9)
    factory.unfinished("broken", "failed", "boom")
    written = write_figures(assess(factory.run()), tmp_path)
    assert written == [tmp_path / "figures" / "phantoms" / name for name in ALL]
    assert sorted(tmp_path.rglob("*.*")) == sorted(written)  # no temporary file is left
    for path in written:
        image = pixels(path)
        assert min(image.shape[:2]) > 200
        assert len(np.unique(image.reshape(-1, 3), axis=0)) > 20


def test_more_classes_models_and_a_single_fold(factory, tmp_path):
    factory.dataset(classes=[f"class number {k}" for k in range(11)], n_folds=1)
    for k in range(2):
        factory.model(f"a-model-with-a-very-long-name-{k}", k)
    assert names(write_figures(assess(factory.run()), tmp_path)) == [
        *ALL[:3],
        "classes.png",
        ALL[3],
    ]


def test_no_finished_cell_no_figure(factory, tmp_path):
    factory.dataset()
    factory.unfinished("broken", "failed", "boom")
    assert write_figures(assess(factory.run()), tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_scored_is_left_out(factory, tmp_path):
    factory.dataset(n_folds=1)
    factory.model("strong", 2.0, trials=[{"number": 0, "state": "failed", "score": None}])
    factory.cells[0].predictions["label"] = 1
    assert names(write_figures(assess(factory.run()), tmp_path)) == ["confusion.png"]


def test_a_model_without_an_interval_is_drawn(factory, tmp_path):
    factory.dataset(n_folds=1)
    factory.model("strong", 2.0, trials=[])
    factory.cells[0].predictions["group"] = factory.cells[0].predictions["label"]
    written = write_figures(assess(factory.run()), tmp_path)
    assert names(written) == ["scores.png", "roc.png", "confusion.png"]


def test_better_predictions_change_the_figures_and_equal_ones_do_not(new_factory, tmp_path):
    content = []
    for run, skill in enumerate([0.5, 0.5, 3.0]):
        factory = new_factory()
        factory.dataset(n_folds=1)
        factory.model("model", skill, trials=[])
        written = write_figures(assess(factory.run()), tmp_path / str(run))
        content.append([path.read_bytes() for path in written])
    assert content[0] == content[1]
    assert all(a != b for a, b in zip(content[0], content[2], strict=True))


def test_no_name_leaves_the_folder(factory, tmp_path):
    factory.dataset("../../up", n_folds=1)
    factory.model("strong", 2.0, "../../up", trials=[], n=20)
    root = tmp_path / "report"
    written = write_figures(assess(factory.run()), root)
    assert {path.parent.parent for path in written} == {root / "figures"}
    assert [path for path in tmp_path.iterdir()] == [root]


def test_names_that_matplotlib_would_interpret_are_drawn(factory, tmp_path):
    factory.dataset(classes=("$\\frac$", "$x^2$"), n_folds=1)
    for name in ("_hidden", "$\\bad{$", "日本", "a\nb", "<b>=cmd()|"):
        factory.model(name, 1.0)
    assert names(write_figures(assess(factory.run()), tmp_path)) == ALL


def test_drawing_leaves_no_trace_in_the_global_state(factory, tmp_path):
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    factory.dataset(n_folds=1)
    factory.model("strong", 2.0, trials=[])
    before = dict(mpl.rcParams)
    write_figures(assess(factory.run()), tmp_path)
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []


def test_a_folder_that_cannot_be_written_is_named(factory, tmp_path):
    factory.dataset(n_folds=1)
    factory.model("strong", 2.0)
    (tmp_path / "figures").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written"):
        write_figures(assess(factory.run()), tmp_path)


def test_ranks_across_six_collections_are_drawn(factory, tmp_path):
    for k in range(6):
        factory.dataset(f"set-{k}", n_folds=1, collection=f"hospital {k}")
        for name, skill in (("good", 3.0), ("fair", 1.0), ("$poor_", 0.2)):
            factory.model(name, skill, f"set-{k}", trials=[])
    ranks_only = replace(assess(factory.run()), datasets=())
    (written,) = write_figures(ranks_only, tmp_path)
    assert written == tmp_path / "figures" / "critical-difference.png"
    assert min(pixels(written).shape[:2]) > 150
