"""Figures: which are drawn, that they have content, and names that mean harm."""

import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from medbench.errors import StoreError
from medbench.reports.assessment import assess
from medbench.reports.drawing import Canvas
from medbench.reports.figures import figures_of, write_figures
from medbench.reports.figures.searches import best_so_far
from medbench.reports.page import page

pytestmark = pytest.mark.filterwarnings("error")
CURVES = ["scores.png", "roc.png", "precision-recall.png", "calibration.png", "confusion.png"]
ALL = [*CURVES, "tuning.png", "optimism.png", "cost.png", "anytime.png"]


def names(written):
    return [path.name for path in written]


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


def test_a_data_set_gets_its_figures_in_its_folder(factory, tmp_path):
    factory.dataset()
    factory.model("majority", 0)
    factory.model("strong", 2.0)
    factory.unfinished("strong", "failed", "boom", fold=9)
    factory.unfinished("broken", "failed", "boom")
    written = write_figures(figures_of(assess(factory.run())), tmp_path)
    expected = [
        name for name in ALL if name not in ("cost.png", "anytime.png")
    ]  # a fold is missing
    assert written == [tmp_path / "figures" / "phantoms" / name for name in expected]
    assert sorted(tmp_path.rglob("*.*")) == sorted(written)  # no temporary file is left
    for path in written:
        image = pixels(path)
        assert min(image.shape[:2]) > 200
        assert len(np.unique(image.reshape(-1, 3), axis=0)) > 20


def test_more_classes_models_and_a_single_fold(factory, tmp_path):
    factory.dataset(classes=[f"class number {k}" for k in range(11)], n_folds=1)
    for k in range(2):
        factory.model(f"a-model-with-a-very-long-name-{k}", k)
    assert names(write_figures(figures_of(assess(factory.run())), tmp_path)) == [
        *CURVES,
        "classes.png",
        *ALL[len(CURVES) :],
    ]


def test_no_finished_cell_no_figure(factory, tmp_path):
    factory.dataset()
    factory.unfinished("broken", "failed", "boom")
    assert write_figures(figures_of(assess(factory.run())), tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_scored_is_left_out(factory, tmp_path):
    factory.dataset(n_folds=1)
    factory.model("strong", 2.0, trials=[{"number": 0, "state": "failed", "score": None}])
    factory.cells[0].predictions["label"] = 1
    assert names(write_figures(figures_of(assess(factory.run())), tmp_path)) == ["confusion.png"]


def test_a_model_without_an_interval_is_drawn(factory, tmp_path):
    factory.dataset(n_folds=1)
    factory.model("strong", 2.0, trials=[])
    factory.cells[0].predictions["group"] = factory.cells[0].predictions["label"]
    written = write_figures(figures_of(assess(factory.run())), tmp_path)
    assert names(written) == [*CURVES, "cost.png"]


def test_better_predictions_change_the_figures_and_equal_ones_do_not(new_factory, tmp_path):
    content = []
    for run, skill in enumerate([0.5, 0.5, 3.0]):
        factory = new_factory()
        factory.dataset(n_folds=1)
        factory.model("model", skill, trials=[])
        written = write_figures(figures_of(assess(factory.run())), tmp_path / str(run))
        content.append([path.read_bytes() for path in written])
    assert content[0] == content[1]
    assert all(a != b for a, b in zip(content[0], content[2], strict=True))


def test_no_name_leaves_the_folder(factory, tmp_path):
    factory.dataset("../../up", n_folds=1)
    factory.model("strong", 2.0, "../../up", trials=[], n=20)
    root = tmp_path / "report"
    written = write_figures(figures_of(assess(factory.run())), root)
    assert {path.parent.parent for path in written} == {root / "figures"}
    assert [path for path in tmp_path.iterdir()] == [root]


def test_names_that_matplotlib_would_interpret_are_drawn(factory, tmp_path):
    factory.dataset(classes=("$\\frac$", "$x^2$"), n_folds=1)
    for name in ("_hidden", "$\\bad{$", "日本", "a\nb", "<b>=cmd()|"):
        factory.model(name, 1.0)
    assert names(write_figures(figures_of(assess(factory.run())), tmp_path)) == ALL


def test_drawing_leaves_no_trace_in_the_global_state(factory, tmp_path):
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    factory.dataset(n_folds=1)
    factory.model("strong", 2.0, trials=[])
    before = dict(mpl.rcParams)
    write_figures(figures_of(assess(factory.run())), tmp_path)
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []


def test_a_folder_that_cannot_be_written_is_named(factory, tmp_path):
    factory.dataset(n_folds=1)
    factory.model("strong", 2.0)
    (tmp_path / "figures").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written"):
        write_figures(figures_of(assess(factory.run())), tmp_path)


def test_ranks_across_six_collections_are_drawn(factory, tmp_path):
    for k in range(6):
        factory.dataset(f"set-{k}", n_folds=1, collection=f"hospital {k}")
        for name, skill in (("good", 3.0), ("fair", 1.0), ("$poor_", 0.2)):
            factory.model(name, skill, f"set-{k}", trials=[])
    ranks_only = replace(assess(factory.run()), datasets=())
    (written,) = write_figures(figures_of(ranks_only), tmp_path)
    assert written == tmp_path / "figures" / "critical-difference.png"
    assert min(pixels(written).shape[:2]) > 150


def test_the_page_and_the_file_show_one_drawing(factory, tmp_path, monkeypatch):
    factory.dataset()
    factory.model("strong", 2.0)
    run = assess(factory.run())
    figures = figures_of(run)
    write_figures(figures, tmp_path)
    drawn = figures.datasets["phantoms"].files()
    monkeypatch.setattr(Canvas, "__init__", None)  # nothing can be drawn any more
    shown = [one.svg for name, one in drawn.items() if name != "confusion"]
    assert len(shown) == len(ALL) - 1 and len(set(shown)) == len(shown)


def test_a_drawing_of_the_page_names_nothing_twice_and_takes_its_colours_from_the_page(factory):
    factory.dataset()
    for number in range(12):
        factory.model(f"model-{number}", number / 4)
    html = page(assess(factory.run()))
    names = re.findall(r'\bid="([^"]+)"', html)
    assert len(set(names)) == len(names)
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(names)
    drawings = re.findall(r"<svg class=.chart.*?</svg>", html, flags=re.S)
    assert len(drawings) == 8 and all('role="img" aria-label="' in one for one in drawings)
    for one in drawings:
        assert "#" not in re.sub(r'href="#', "", one) and "var(--s0)" in one


def test_letters_that_the_font_of_the_files_lacks_are_text_in_the_page(factory, tmp_path):
    factory.dataset(classes=("正常", "肺炎"))
    factory.model("强模型", 2.0)
    figures = figures_of(assess(factory.run()))
    write_figures(figures, tmp_path)
    assert ">probability of 肺炎</text>" in figures.datasets["phantoms"].curves.calibration.svg
    assert ">强模型</text>" in figures.datasets["phantoms"].scores.svg


def test_settings_of_the_caller_do_not_change_what_is_drawn(factory, tmp_path):
    import matplotlib as mpl

    factory.dataset(n_folds=1)
    factory.model("strong", 2.0)
    run = assess(factory.run())
    usual = [path.read_bytes() for path in write_figures(figures_of(run), tmp_path / "a")]
    theirs = {"font.size": 20, "savefig.bbox": "tight", "figure.facecolor": "red"}
    theirs |= {"text.usetex": True, "lines.linewidth": 9, "svg.fonttype": "path"}
    with mpl.rc_context(theirs):
        assert [p.read_bytes() for p in write_figures(figures_of(run), tmp_path / "b")] == usual
        html = page(run)
    assert html == page(run)


def test_a_model_whose_every_score_is_unknown_is_no_figure(factory):
    factory.dataset()
    factory.model("strong", 2.0, trials=[{"number": 0, "state": "failed", "score": None}])
    drawn = figures_of(assess(factory.run())).datasets["phantoms"]
    assert drawn.tuning is None and drawn.parallel == {} and drawn.curves is not None


def test_a_curve_of_a_search_ends_at_the_inner_score_of_the_choice(factory):
    folds = ([0.95], [0.9, 0.8, 0.7], [0.97])  # one fold, then all of the first one, one again
    stages = ("search", "finish", "search")
    trials = [
        {
            "number": number, "stage": stage, "state": "complete", "fold_scores": scores,
            "score": sum(scores) / len(scores), "at_seconds": 5.0 * (number + 1), "params": {},
        }
        for number, (stage, scores) in enumerate(zip(stages, folds, strict=True))
    ]  # fmt: skip
    assert [round(score, 3) for _, score in best_so_far(trials)] == [0.95, 0.8, 0.8]
    factory.dataset()
    factory.model("cnn", 2.0, trials=trials, inner_score=0.8)
    drawn = figures_of(assess(factory.run())).datasets["phantoms"]
    assert "at the end cnn .800" in drawn.tuning.title
