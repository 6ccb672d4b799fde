"""Cards of data sets and of the model that won on each: what they say and what they warn of."""

from dataclasses import replace

import pytest

from medbench.reports.assessment import assess
from medbench.reports.cards import write_cards

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def usual(factory):
    factory.dataset(citation="A. Author (2020)", homepage="https://example.org/set")
    factory.model("majority", 0)
    factory.model("thumbnail", 0.1)
    chosen = {"params": {"C": 0.5}, "tuner": "optuna", "step": 7, "threshold": 0.25}
    factory.model("good", 2.0, inner_score=0.9, **chosen)
    factory.model("flattered", 3.0, inner_score=0.7)
    return factory


def cards(run, folder):
    return {path.name: path.read_text() for path in write_cards(assess(run), folder)}


def test_the_card_of_a_data_set_says_what_it_is(usual, tmp_path):
    card = cards(usual.run(), tmp_path)["dataset-phantoms.md"]
    for said in (
        "# Data set: The phantoms set",
        "- Images: 1,200",
        "- Positive class: malignant (how it was chosen was not recorded)",
        "each kept whole): 400",
        "- Split: 3-fold x 1",
        "- Licence: CC BY 4.0",
        "- Citation: A. Author (2020)",
        "- Homepage: https://example.org/set",
        "| malignant | 600 |",
        "was not audited",
        "thumbnail: AUROC .",
        "nothing about patients",
    ):
        assert said in card


def test_shortcuts_and_findings_are_on_both_cards(usual, tmp_path):
    usual.finding("Copies straddle classes.")
    usual.model("border", 2.5)
    found = cards(usual.run(), tmp_path)
    assert "Shortcut risk" in found["dataset-phantoms.md"]
    assert "- serious: Copies straddle classes. Mend it." in found["dataset-phantoms.md"]
    model = found["model-phantoms.md"]
    assert "Shortcut risk" in model and "Copies straddle classes." in model
    assert "this model may do so too" in model


def test_without_sanity_rows_nobody_has_looked_for_shortcuts(factory, tmp_path):
    factory.dataset()
    factory.model("good", 2.0)
    assert (
        "nobody has looked for shortcuts" in cards(factory.run(), tmp_path)["dataset-phantoms.md"]
    )


def test_the_card_of_the_winner_by_inner_score_says_what_was_chosen(usual, tmp_path):
    run = replace(
        usual.run(),
        configuration={"budget": "3 trials / 20 s", "operating_point": "sensitivity 0.95"},
        environment={"medbench": "0.1.0", "packages": {"numpy": "2.1"}},
    )
    card = cards(run, tmp_path)["model-phantoms.md"]
    for said in (
        "# Model: good on The phantoms set",
        "Chosen by its inner score",
        "- Positive class: malignant (",
        "For research, not for diagnosis.",
        "| r0f1 | C = 0.5 | 7 | .900 | 12 | .250 | 1 |",
        "AUROC (95% bootstrap interval over groups): .9",
        "this rule and frozen before the held-out part was opened: sensitivity 0.95",
        "Brier score: .",
        "majority: AUROC .500",
        "Seconds over all folds (tuning, fit, prediction): 1m 12s",
        "medbench: 0.1.0",
        "packages: numpy 2.1",
        "flattered: AUROC",
    ):
        assert said in card


def test_without_a_finished_model_there_is_no_card_of_one(factory, tmp_path):
    factory.dataset()
    factory.model("majority", 0)
    factory.unfinished("broken", "failed", "boom")
    assert list(cards(factory.run(), tmp_path)) == ["dataset-phantoms.md"]


def test_hostile_names_stay_names_and_paths_stay_private(factory, tmp_path):
    name = "../<b>x|y"
    classes = ("<script>", "a|b")
    factory.dataset(name, classes, title="<i>`t`", notes=["from /home/anna/scans/x.csv"])
    factory.model("[m](x)<u>", 1.0, name, note="see /home/anna/w.h5")
    found = cards(factory.run(), tmp_path)
    assert {path.parent for path in tmp_path.rglob("*.md")} == {tmp_path / "cards"}
    for card in found.values():
        assert "<" not in card and ">" not in card and "anna" not in card
        assert "…/x.csv" in card
    (model,) = [card for file, card in found.items() if file.startswith("model-")]
    assert r"\[m\](x)&lt;u&gt;" in model


def test_a_task_of_many_classes_and_one_of_labels_have_cards(factory, tmp_path):
    factory.dataset("many", ("a", "b", "c"), n_folds=1)
    factory.model("good", 2.0, "many")
    card = cards(factory.run(), tmp_path)["model-many.md"]
    assert "| official | nothing to tune | - | .800 | 12 | - | 1 |" in card
    assert "accuracy: ." in card
    assert "with one fold its noise is unknown" in card
