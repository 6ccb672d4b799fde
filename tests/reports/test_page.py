"""The page as text: what it says, what it escapes, and what it leaves out."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from medbench.evaluation.curves import GRID, Curve
from medbench.reports.assessment import assess
from medbench.reports.charts import Axis
from medbench.reports.drawing import COLOURS
from medbench.reports.figures.costs import pareto_front
from medbench.reports.figures.curves import _kept
from medbench.reports.figures.searches import Trial
from medbench.reports.page import page, write_page
from medbench.reports.page.pictures import keep_pictures, most_wrong
from medbench.reports.page.tuning import parameter_importance

HOSTILE = ("<script>alert(1)</script>", "=cmd()", '"><img src=x onerror=alert(1)>', "{{7*7}}")


def trials(seed=0, n=12):
    """A search over a real, a whole and a named parameter, one of them conditional."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(n):
        kernel = ("rbf", "linear")[number % 2]
        params = {"C": float(10 ** rng.uniform(-3, 3)), "depth": int(rng.integers(2, 9))}
        params |= {"kernel": kernel} | ({"gamma": 0.1 * (number + 1)} if kernel == "rbf" else {})
        pruned = number % 4 == 3
        found.append(
            {
                "number": number,
                "params": params,
                "state": "pruned" if pruned else "complete",
                "score": None if pruned else 0.9 - 0.3 / (1 + number) + float(rng.normal()) / 50,
                "at_seconds": 1.5 * (number + 1),
            }
        )
    return found


@pytest.fixture
def usual(factory):
    """Two models, all sanity rows, a failed and a half-finished one on one data set."""
    factory.dataset()
    factory.model("hog-svm", 1.5, trials=trials(1))
    factory.model("cnn", 1.4, trials=trials(2))
    for sanity in ("majority", "file-properties", "intensity", "border", "thumbnail"):
        factory.model(sanity, 0.0, trials=[])
    factory.unfinished("xgboost", "failed", "no memory in /home/anna/films/patient_mueller.png")
    factory.finished("inceptionv3", 1.0, fold=0)
    factory.finding("7 pairs of images carry different labels.", "warning")
    return factory


def text_of(html):
    """The page without markup, styles and scripts."""
    html = re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def drawn(html, model):
    """How many parts of charts are of a model."""
    return len(re.findall(rf'<g class="series" data-series="\d+"><title>{model}</title>', html))


def test_the_first_part_says_which_model_how_sure_at_what_cost_and_whether_to_trust_it(usual):
    answer = page(assess(usual.run())).split('id="answer"')[1].split('id="leaderboard"')[0]
    words = text_of(answer)
    assert re.search(r"(hog-svm|cnn) AUROC \.\d{3}", words)
    assert re.search(r"On held-out images its AUROC is \.\d{3} \(\.\d{3} to \.\d{3}\)", words)
    assert "cannot be told from" in words or "ahead of every other" in words
    assert "Cost: 1m 12s to tune, fit and test over 3 folds, a model of 3.1 MB" in words
    assert "with caution" in words and "7 pairs of images carry different labels" in words


def test_the_model_to_use_is_chosen_by_inner_scores_and_not_by_the_test(factory):
    factory.dataset()
    factory.model("better-on-test", 3.0, inner_score=0.7)
    factory.model("better-inside", 1.0, inner_score=0.9)
    words = text_of(page(assess(factory.run())))
    assert "better-inside AUROC" in words
    assert "On the held-out part, which must not choose, better-on-test is ahead of it" in words


def test_without_an_audit_or_sanity_rows_nothing_is_called_trusted(factory):
    factory.dataset()
    factory.model("hog-svm", 2.0)
    factory.model("border", 0.0)
    words = text_of(page(assess(factory.run())))
    assert "with caution" in words and "There is no audit of this data set" in words
    assert "not finished here: file-properties, intensity, thumbnail" in words


def test_a_winner_that_is_not_the_leader_is_compared_with_the_leader_only(factory):
    factory.dataset()
    for name, inner in (("highest", 0.7), ("inside", 0.9), ("third", 0.7)):
        factory.model(name, 1.0, inner_score=inner)
    found = assess(factory.run())
    leader = found.datasets[0].comparison.leader
    words = text_of(page(found))
    if leader == "inside":
        pytest.fail("the factory's seeds have made the winner the leader; choose other names")
    assert f"can be told from the highest, {leader}: a tie of 3" in words


def test_images_that_were_split_one_by_one_are_not_among_the_most_wrong(factory):
    factory.dataset(n_folds=1)
    factory.model("hog-svm", 1.0)
    factory.finished("hog-svm", 0.0, by_image=True)
    run = factory.run()
    dataset = assess(run).datasets[0]
    assert most_wrong(run, dataset)
    only = replace(run, cells=run.cells[:1])
    assert most_wrong(run, dataset) == most_wrong(only, dataset)


def test_a_drawn_curve_stays_within_a_thousandth_of_the_computed_one():
    curves = (2 * GRID - GRID**2, np.sqrt(GRID), np.round(GRID * 7) / 7, GRID)
    for values in curves:
        kept = _kept(Curve(values=values, low=values, high=values, band="folds"))
        assert np.abs(np.interp(GRID, GRID[kept], values[kept]) - values).max() <= 1.1e-3
    assert len(_kept(Curve(values=GRID, low=GRID, high=GRID, band="folds"))) == 2


def test_every_row_is_there_with_its_state(usual):
    html = page(assess(usual.run()))
    rows = re.findall(r'<tr class="kind-(\S+) status-(\S+)[^"]*" data-model="([^"]+)"', html)
    assert ("model", "failed", "xgboost") in rows
    assert ("model", "partial", "inceptionv3") in rows
    assert ("sanity", "ok", "border") in rows
    assert len(rows) == 9


def test_names_from_data_are_text(factory):
    factory.dataset(name="phantoms", classes=HOSTILE, title=HOSTILE[0], licence=HOSTILE[2])
    factory.datasets["phantoms"]["notes"] = [HOSTILE[2]]
    factory.finding(HOSTILE[0])
    factory.model(
        HOSTILE[0],
        1.0,
        trials=[{**t, "params": {HOSTILE[2]: 1.5 * i}} for i, t in enumerate(trials())],
    )
    factory.model(HOSTILE[3], 1.1, trials=trials())
    factory.unfinished("failed", "failed", HOSTILE[0])
    html = page(assess(factory.run()))
    assert html.count("<script>") == 1 and "<img" not in html
    assert (
        "&lt;script&gt;alert(1)&lt;/script&gt;" in html and "{{7*7}}" in html and ">49<" not in html
    )


def test_no_paths_and_no_addresses_that_a_browser_would_ask_for(usual):
    html = page(assess(usual.run()))
    assert "/home/anna" not in html and "patient_mueller.png" in html
    assert not re.search(r'(?:src|href)="(?!#|data:)', html)
    assert "default-src 'none'" in html


def test_gaps_and_an_unfinished_run_are_said_on_top(usual):
    run = replace(usual.run(), gaps=("cells/a/b/r0f1/cell.json is damaged",), at_work=True)
    words = text_of(page(assess(run)))
    assert words.index("Partial.") < words.index("Which model should I use?")
    assert "Not shown: cells/a/b/r0f1/cell.json is damaged" in words


def test_an_empty_run_has_a_page(factory):
    words = text_of(page(assess(factory.run())))
    assert "There is nothing to show yet" in words and "How it was done" in words


@pytest.mark.parametrize(
    ("classes", "task"),
    [(("a", "b"), "binary"), (tuple("abcd"), "multi-class"), (tuple("abcd"), "ordinal")],
)
def test_every_type_of_task_has_curves_and_confusion(factory, classes, task):
    factory.dataset(classes=classes, task=task)
    factory.model("hog-svm", 1.0)
    html = page(assess(factory.run()))
    assert drawn(html, "hog-svm") >= 3 and "Confusion matrix of hog-svm" in html


def test_a_multi_label_task_has_curves_and_no_confusion(factory):
    factory.dataset(classes=tuple("abc"), task="multi-label")
    rng = np.random.default_rng(0)
    for fold in range(3):
        factory.finished("cnn", 1.0, fold=fold, threshold=[0.5] * 3)
        labels = rng.integers(0, 2, size=(60, 3))
        chances = np.clip(labels * 0.4 + rng.uniform(size=(60, 3)) * 0.6, 0, 1)
        frame = pd.DataFrame({"image": np.arange(60), "group": np.arange(60)})
        frame = frame.assign(**{f"label{k}": labels[:, k] for k in range(3)})
        frame = frame.assign(**{f"p{k}": chances[:, k] for k in range(3)})
        factory.cells[-1] = replace(factory.cells[-1], predictions=frame)
    html = page(assess(factory.run()))
    assert drawn(html, "cnn") >= 3 and "Confusion matrix" not in html
    assert "one a label" in html


def test_an_official_split_has_one_part_and_a_bootstrap_band(factory):
    factory.dataset(n_folds=1)
    factory.model("hog-svm", 1.0)
    html = page(assess(factory.run()))
    assert "pointwise 95% interval of 1,000 bootstrap resamples" in html
    assert re.search(r"<title>hog-svm</title><path [^>]*;opacity:", html)


def test_images_are_shown_only_where_the_licence_lets_them_be_passed_on(factory, tmp_path):
    factory.dataset(redistributable=False)
    factory.model("hog-svm", 0.5)
    run = replace(factory.run(), folder=tmp_path)
    dataset = assess(run).datasets[0]
    labels = np.arange(180) % 2
    keep_pictures(run, dataset, np.full((180, 28, 28, 1), 90, np.uint8), labels)
    assert "<img" not in page(assess(run)) and "licence" in page(assess(run))
    assert page(assess(run), images=True).count("<img") > 8
    factory.datasets["phantoms"]["redistributable"] = True
    run = replace(factory.run(), folder=tmp_path)
    shown = page(assess(run))
    assert "Sample image of class benign" in shown and "with a probability of" in shown
    assert "<img" not in page(assess(run), images=False)


def test_damaged_thumbnails_leave_the_rest_of_the_page(factory, tmp_path):
    factory.dataset(redistributable=True)
    factory.model("hog-svm", 0.5)
    folder = tmp_path / "datasets" / "phantoms" / "pictures"
    folder.mkdir(parents=True)
    (folder / "pictures.json").write_text(json.dumps({"samples": [[0, "../../../etc/passwd"]]}))
    run = replace(factory.run(), folder=tmp_path)
    words = text_of(write_page(assess(run), tmp_path).read_text())
    assert "No thumbnails are in the run folder" in words and "hog-svm" in words


def test_ten_data_sets_of_ten_models_stay_below_five_megabytes(factory):
    for d in range(10):
        factory.dataset(name=f"set{d}", n_folds=2)
        for m in range(10):
            factory.model(f"model{m}", 0.5 + m / 10, dataset=f"set{d}", trials=trials(m, 20))
    html = page(assess(factory.run()))
    assert len(html.encode()) < 5_000_000
    assert html.count('<section id="') == 7 and "Mean rank" in html


def test_equal_runs_make_equal_pages(usual):
    assert page(assess(usual.run())) == page(assess(usual.run()))


COLOUR_VISIONS = {
    "usual": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
"""What is left of linear RGB: Machado, Oliveira & Fernandes (2009), severity 1."""


@pytest.mark.parametrize("vision", COLOUR_VISIONS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_of_models_are_told_apart_with_every_colour_vision(factory, vision, scheme):
    from skimage.color import deltaE_ciede2000, rgb2lab

    light, dark = page(assess(factory.run())).split("(prefers-color-scheme: dark)", 1)
    block = light if scheme == "light" else dark
    names = [f"s{number}" for number in range(10)] + ["paper"]
    found = [re.search(rf"--{name}: #(\w{{6}})", block)[1] for name in names]
    if scheme == "light":
        assert [f"#{colour}" for colour in found] == [COLOURS[name] for name in names]
    rgb = np.array([[int(text[i : i + 2], 16) / 255 for i in (0, 2, 4)] for text in found])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(COLOUR_VISIONS[vision]), 0, 1)
    seen = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = rgb2lab(seen[None])[0][:10]
    steps = [deltaE_ciede2000(lab[i], lab[j]) for i in range(10) for j in range(i)]
    assert min(steps) > 10
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    high, low = np.maximum(luminance[:10], luminance[10]), np.minimum(luminance[:10], luminance[10])
    assert ((high + 0.05) / (low + 0.05)).min() >= 3


def test_the_pareto_front_holds_what_no_other_beats():
    points = {"slow": (9.0, 0.8), "fast": (1.0, 0.7), "worse": (5.0, 0.6), "best": (20.0, 0.9)}
    assert pareto_front(points) == ["fast", "slow", "best"]


def test_the_parameter_that_decides_is_found_and_an_idle_one_is_not():
    rng = np.random.default_rng(0)
    found = parameter_importance(
        [
            Trial(params={"decides": x, "idle": float(rng.uniform())}, score=x, relative=x)
            for x in rng.uniform(size=60).tolist()
        ]
    )
    assert [name for name, _ in found] == ["decides"] and found[0][1] > 0.7


def test_where_nothing_matters_a_parameter_is_named_in_about_one_search_of_twenty():
    rng = np.random.default_rng(0)
    named = sum(
        bool(
            parameter_importance(
                [
                    Trial(
                        params={n: float(rng.uniform()) for n in "abcd"}
                        | {"kernel": str(rng.integers(3))},
                        score=0.5,
                        relative=float(rng.normal()),
                    )
                    for _ in range(30)
                ]
            )
        )
        for _ in range(100)
    )
    assert 1 <= named <= 12


def test_equal_scores_give_no_importance():
    trials = [Trial(params={"a": float(i)}, score=0.5, relative=0.0) for i in range(30)]
    assert parameter_importance(trials) == ()


def test_few_trials_give_no_importance():
    assert parameter_importance([Trial(params={"a": 1.0}, score=0.5, relative=0.0)] * 5) == ()


@pytest.mark.parametrize(
    ("low", "high", "log"),
    [
        (0.0, 1.0, False),
        (0.37, 0.94, False),
        (3, 3, False),
        (0.5, 3000, True),
        (7, 7, True),
        (20, 60, True),
        (1, 171, False),
    ],
)
def test_an_axis_has_a_few_ticks_within_its_bounds(low, high, log):
    axis = Axis(label="x", low=low, high=high, log=log)
    ticks = [value for value, _ in axis.ticks()]
    assert 2 <= len(ticks) <= 8
    assert all(-1e-9 <= axis.position(value) <= 1 + 1e-9 for value in ticks)
