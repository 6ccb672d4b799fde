"""Who can be told from whom, what the sanity rows say of it, and in which words."""

import math

import pytest

from medbench.reports.assessment import assess
from medbench.reports.text import format_score
from medbench.reports.verdicts import across_verdict, verdicts

pytestmark = pytest.mark.filterwarnings("error")


def said(factory):
    (dataset,) = assess(factory.run()).datasets
    return [one.text for one in verdicts(dataset)]


def about(factory, words):
    return [sentence for sentence in said(factory) if words in sentence]


def standings(factory):
    table = assess(factory.run()).table
    return table.set_index("model")["standing"].to_dict()


def test_a_model_that_is_clearly_worse_is_behind_and_equals_are_tied(factory):
    factory.dataset(n_folds=1)
    factory.model("strong", 2.0, n=200)
    factory.model("strong-too", 1.7, n=200)
    factory.model("weak", 0.2, n=200)
    assert standings(factory) == {"strong": "leader", "strong-too": "tied", "weak": "behind"}
    (tied,) = about(factory, "cannot be told from strong-too (difference ")
    assert ", 95% CI -." in tied
    assert about(factory, "strong is ahead of weak (difference .")
    assert not about(factory, "cannot rank")


def test_a_test_set_that_can_rank_nobody_says_what_it_could_have_shown(factory):
    factory.dataset(n_folds=1)
    for name in ("a", "b", "c"):
        factory.model(name, 0.8)
    (sentence,) = about(factory, "cannot rank")
    assert sentence.startswith(
        "This test set cannot rank these models: the smallest difference it could show is ."
    )


def test_intervals_that_overlap_decide_nothing(factory):
    factory.dataset(n_folds=1)
    factory.model("steady", 1.2, n=400)
    # the same predictions, but every negative a little higher: a small and certain difference
    worse = factory.cells[0].predictions.copy()
    negative = worse["label"] == 0
    worse["p1"] = worse["p1"].where(~negative, worse["p1"] * 0.9 + 0.1)
    worse["p0"] = 1 - worse["p1"]
    factory.model("a-little-worse", 1.2, n=400)
    object.__setattr__(factory.cells[1], "predictions", worse)
    table = assess(factory.run()).table.set_index("model")
    better, behind = table.loc["steady"], table.loc["a-little-worse"]
    assert behind["auroc_high"] > better["auroc_low"]  # they overlap
    assert behind["standing"] == "behind"
    assert behind["behind_leader_low"] > 0


def test_partial_and_failed_rows_and_sanity_rows_are_compared_with_nothing(factory):
    factory.dataset()
    factory.model("strong", 2.0)
    factory.model("partial", 3.0, folds=[0, 1])
    factory.unfinished("broken", "failed", "boom")
    factory.model("border", 2.5)
    table = assess(factory.run()).table.set_index("model")
    assert table.loc[["partial", "broken", "border"], "standing"].tolist() == ["", "", ""]
    assert table.loc["strong", "standing"] == "leader"  # though a sanity row has more


def test_a_sanity_row_above_the_bound_is_a_shortcut_risk_in_its_own_words(factory):
    factory.dataset(n_folds=1)
    factory.model("strong", 3.0, n=300)
    factory.model("majority", 0, n=300)
    factory.model("border", 1.0, n=300)
    (sentence,) = about(factory, "Shortcut risk")
    assert "border (the outer tenth: markers, collimation, padding) ." in sentence
    assert "majority" not in sentence
    assert "cannot be told from" not in sentence


def test_a_leader_that_cannot_be_told_from_a_sanity_row_is_a_shortcut_risk(factory):
    factory.dataset(n_folds=1)
    factory.model("weak", 0.3)
    factory.model("file-properties", 0.3)
    (sentence,) = about(factory, "Shortcut risk")
    assert "The leader (weak) cannot be told from file-properties (difference" in sentence


def test_a_leader_behind_a_sanity_row_is_called_behind_it_and_not_like_it(factory):
    factory.dataset(n_folds=1)
    factory.model("weak", 0.2, n=300)
    factory.model("weaker", 0.0, n=300)
    factory.model("thumbnail", 3.0, n=300)
    factory.model("border", 0.2, n=300)
    (sentence,) = about(factory, "Shortcut risk")
    assert "The leader (weak) is behind thumbnail (difference -." in sentence
    assert "cannot be told from thumbnail" not in sentence
    assert "The leader (weak) cannot be told from border (difference " in sentence
    (dataset,) = assess(factory.run()).datasets
    standings = {s.row.name: s.leader_is for s in dataset.sanity_comparisons}
    assert standings == {"thumbnail": "behind", "border": "neither"}
    assert not dataset.ahead_of_sanity


def test_sanity_rows_at_chance_beside_a_good_model_raise_no_alarm(factory):
    factory.dataset(n_folds=1)
    factory.model("strong", 2.0, n=400)
    for name in ("majority", "border", "intensity"):
        factory.model(name, 0, n=400)
    assert not about(factory, "Shortcut risk")
    (dataset,) = assess(factory.run()).datasets
    assert dataset.ahead_of_sanity
    assert {s.leader_is for s in dataset.sanity_comparisons} == {"ahead"}


def test_too_good_a_score_carries_a_caution_unless_the_set_says_it_is_normal(factory):
    factory.dataset(n_folds=1)
    factory.model("too-good", 9.0)
    assert about(factory, "Caution: too-good scores above .970.")
    factory.datasets["phantoms"]["caution_above"] = None
    assert not about(factory, "Caution")


def test_inflation_stands_beside_the_honest_score_and_out_of_every_comparison(factory):
    factory.dataset(n_folds=2, n_folds_by_image=2)
    for fold in range(2):
        factory.finished("hog-svm", 1.0, fold=fold)
        factory.finished("hog-svm", 3.0, fold=fold, by_image=True)
    table = assess(factory.run()).table
    assert table["kind"].tolist() == ["model", "split by image"]
    assert table["standing"].tolist() == ["leader", ""]
    assert math.isnan(table["above_majority"][1])
    (sentence,) = about(factory, "split one by one")
    assert sentence.startswith("hog-svm scores .")
    assert f"leaks add {format_score(table['auroc'][1] - table['auroc'][0])}." in sentence


def test_serious_findings_of_the_audit_come_first(factory):
    factory.dataset(n_folds=1)
    factory.model("strong", 2.0)
    factory.finding("3 patients have images in both train and test.")
    factory.finding("Some copies.", "warning")
    first, second, *_ = said(factory)
    assert first == "Serious finding of the audit: 3 patients have images in both train and test."
    assert second == "Warning of the audit: Some copies."


def test_temperatures_change_scores_of_probabilities_and_not_the_order(factory):
    factory.dataset(n_folds=1)
    factory.model("cold", 2.0, calibration={"temperatures": [3.0], "reason": ""})
    factory.model("raw", 2.0)
    predictions = factory.cells[0].predictions
    object.__setattr__(factory.cells[1], "predictions", predictions)
    (dataset,) = assess(factory.run()).datasets
    cold, raw = dataset.row("cold"), dataset.row("raw")
    assert cold.scores["auroc"] == raw.scores["auroc"]
    assert cold.scores["log_loss"] != raw.scores["log_loss"]
    assert cold.uncalibrated["log_loss"] == raw.scores["log_loss"] == raw.uncalibrated["log_loss"]


def test_uncalibrated_probabilities_are_said_to_be_so(factory):
    factory.dataset(n_folds=1)
    reason = "not calibrated: the smaller class has 12 groups to fit it on, and fewer than 50"
    factory.model("m", 2.0, calibration={"temperatures": [1.0], "reason": reason})
    assert f"Probabilities are {reason}." in said(factory)


def test_predictive_values_are_for_the_stated_prevalence(factory):
    factory.dataset(n_folds=1, prevalence=0.01)
    factory.model("m", 1.5)
    (dataset,) = assess(factory.run()).datasets
    scores = dataset.row("m").scores
    sensitivity, specificity = scores["sensitivity"], scores["specificity"]
    wanted = 0.01 * sensitivity / (0.01 * sensitivity + 0.99 * (1 - specificity))
    assert scores["ppv"] == pytest.approx(wanted)
    assert scores["prevalence"] == 0.01


def several(factory, n, collection=None):
    for k in range(n):
        name = f"set-{k}"
        factory.dataset(name, n_folds=1, collection=collection or name)
        factory.model("good", 3.0, name)
        factory.model("fair", 1.2, name)
        factory.model("poor", 0.2, name)
    return assess(factory.run()).ranks


def test_models_are_ranked_across_six_collections_and_not_across_five(factory, new_factory):
    few = several(factory, 5)
    assert few.test is None
    assert "No model is called better across data sets: 5 sources" in across_verdict(few)
    many = several(new_factory(), 6)
    assert many.test is not None
    assert "cannot be told apart" in across_verdict(many)
    assert [rank.model for rank in many.ranks] == ["good", "fair", "poor"]


def test_data_sets_of_one_collection_count_once(factory):
    ranks = several(factory, 6, collection="one hospital")
    assert ranks.n_sources == 1 and ranks.test is None


def test_a_model_that_one_data_set_lacks_is_not_ranked(factory):
    several(factory, 2)
    factory.model("extra", 2.0, "set-0")
    ranks = assess(factory.run()).ranks
    assert ranks.left_out == ("extra",)
    assert "so not ranked: extra" in across_verdict(ranks)


def test_few_patients_are_said_once_and_not_of_every_row(factory):
    factory.dataset(n_folds=3)
    for name in ("a", "b"):
        for fold in range(3):
            factory.finished(name, 1.0, fold=fold, n=12)
    assert about(factory, "How far intervals can be trusted: only ")
    assert not assess(factory.run()).table["note"].any()


def some_models(factory):
    factory.dataset(n_folds=2)
    for name, skill in (("strong", 2.0), ("weak", 0.5), ("border", 0.2)):
        factory.model(name, skill)
    return factory


def test_a_model_that_cannot_be_scored_takes_no_other_along(factory, new_factory):
    some_models(factory).model("broken", 2.0)
    factory.cells[-1].predictions.loc[3, "p1"] = math.nan
    found, without = assess(factory.run()), assess(some_models(new_factory()).run())
    broken = found.table["model"] == "broken"
    note = found.table.loc[broken, "note"].item()
    assert note == "not scored: probabilities of 1 of 60 images are not finite."
    assert found.table[~broken].reset_index(drop=True).equals(without.table)
    (one, other) = (each.datasets[0].sanity_comparisons[0] for each in (found, without))
    assert one.behind == other.behind
