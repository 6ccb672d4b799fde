"""The winner is chosen by inner scores and by cost, whatever the held-out scores say."""

import pytest

from medbench.reports.assessment import assess
from medbench.reports.winner import why, winner


@pytest.fixture
def choose(factory):
    factory.dataset()

    def make(model, inner, *, skill=1.0, seconds=24.0):
        """A model with an inner score a fold."""
        for fold, score in enumerate(inner):
            fields = {"inner_score": score, "seconds": {"total": seconds}}
            factory.finished(model, skill, fold=fold, **fields)

    def chosen():
        (dataset,) = assess(factory.run()).datasets
        return winner(dataset, factory.run())

    make.chosen = chosen
    return make


def test_the_highest_inner_score_wins_even_where_held_out_scores_say_otherwise(choose):
    choose("tuned-well", [0.90, 0.90, 0.91], skill=0.2)
    choose("lucky", [0.80, 0.80, 0.80], skill=3.0)
    assert choose.chosen().name == "tuned-well"


def test_within_one_standard_error_the_cheaper_wins(choose):
    choose("dear", [0.88, 0.90, 0.92], seconds=100)  # standard error .0115
    choose("cheap", [0.88, 0.89, 0.90], seconds=10)
    choose("cheapest", [0.88, 0.88, 0.88], seconds=1)  # .02 below
    assert choose.chosen().name == "cheap"


def test_one_fold_has_no_noise_so_the_highest_wins(factory):
    factory.dataset(n_folds=1)
    factory.finished("dear", 1.0, inner_score=0.90, seconds={"total": 100})
    factory.finished("cheap", 1.0, inner_score=0.899, seconds={"total": 1})
    (dataset,) = assess(factory.run()).datasets
    assert winner(dataset, factory.run()).name == "dear"


def test_equal_inner_scores_are_decided_by_seconds_and_unknown_seconds_are_dear(choose, factory):
    choose("a-slow", [0.9, 0.9, 0.9], seconds=20)
    choose("b-fast", [0.9, 0.9, 0.9], seconds=10)
    for fold in range(3):
        factory.finished("c-unknown", 1.0, fold=fold, inner_score=0.9, seconds=None)
    assert choose.chosen().name == "b-fast"


def test_sanity_rows_partial_failed_and_by_image_rows_cannot_win(choose, factory):
    choose("thumbnail", [0.99, 0.99, 0.99])
    choose("half", [0.98, 0.98])
    for fold in range(3):
        factory.unfinished("broken", "failed", "boom", fold=fold)
        factory.finished("leaky", 1.0, fold=fold, inner_score=0.97, by_image=True)
    factory.datasets["phantoms"]["n_folds_by_image"] = 3
    assert choose.chosen() is None
    choose("whole", [0.6, 0.6, 0.6])
    assert choose.chosen().name == "whole"


def test_noise_is_of_the_folds_by_group_of_that_data_set_only(choose, factory):
    choose("dear", [0.90, 0.90, 0.90], seconds=100)
    choose("cheap", [0.89, 0.89, 0.89], seconds=1)
    factory.finished("dear", 1.0, fold=0, inner_score=0.2, by_image=True)
    factory.dataset("other", n_folds=1)
    factory.finished("dear", 1.0, "other", inner_score=0.2)
    (_, phantoms) = assess(factory.run()).datasets
    assert winner(phantoms, factory.run()).name == "dear"


def test_it_is_said_how_it_was_chosen(choose, factory):
    choose("a", [0.5, 0.6, 0.7])
    (dataset,) = assess(factory.run()).datasets
    assert "mean 0.600 over 3 folds" in why(dataset, factory.run(), choose.chosen())


def test_with_one_fold_cost_is_not_said_to_have_had_a_part(factory):
    factory.dataset(n_folds=1)
    factory.finished("dear", 1.0, inner_score=0.90, seconds={"total": 100})
    (dataset,) = assess(factory.run()).datasets
    said = why(dataset, factory.run(), winner(dataset, factory.run()))
    assert (
        "the highest inner score; with one fold its noise is unknown, so cost had no part" in said
    )
    assert "standard error" not in said
