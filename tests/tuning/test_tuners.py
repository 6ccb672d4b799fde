"""Both tuners against the same contract: any tuner tunes any space."""

import math

import pytest

from medbench.errors import ModelError
from medbench.models.space import Choice, Integer, Real, SearchSpace
from medbench.registry import tuners
from medbench.tuning.tuner import Trial


def make_space() -> SearchSpace:
    space = SearchSpace()
    space.choice("kernel", ("rbf", "linear"))
    space.real("C", 1e-3, 1e3, log=True)
    space.real("gamma", 1e-4, 1.0, log=True, when={"kernel": "rbf"})
    space.integer("depth", 1, 5)
    space.choice("flag", (True, False))
    return space


def score(params) -> float:
    loss = abs(math.log10(params["C"]) - 1) / 4
    loss += abs(math.log10(params["gamma"]) + 2) / 4 if params["kernel"] == "rbf" else 0.5
    return 0.9 - 0.2 * loss


def trial(number, suggestion, value) -> Trial:
    return Trial(
        number=number,
        params=suggestion.params,
        state="complete" if value is not None else "failed",
        score=value,
        intermediate={},
        fold_scores=(),
        step=suggestion.last_step,
        seconds=1.0,
        at_seconds=number + 1.0,
        first_step=suggestion.first_step,
        last_step=suggestion.last_step,
        resume_from=suggestion.resume_from,
    )


def search(name, n, *, seed=1, space=None, finished=(), steps=9):
    finished = list(finished)
    while len(finished) < n:
        tuner = tuners.get(name)(space or make_space(), seed=seed, trials=n, max_steps=steps)
        suggestion = tuner.suggest(finished, 0)
        if suggestion is None:
            break
        finished.append(trial(len(finished), suggestion, score(suggestion.params)))
    return finished


NAMES = ["optuna", "keras-tuner", "hyperband"]


@pytest.mark.parametrize("name", NAMES)
def test_every_suggestion_is_valid_and_plain(name):
    for done in search(name, 8):
        params, left = done.params, set(done.params)
        for parameter in make_space():
            assert (parameter.name in params) == parameter.active(params)
            if parameter.name not in params:
                continue
            left.remove(parameter.name)
            value = params[parameter.name]
            match parameter:
                case Choice(options=options):
                    assert value in options
                case Integer(low=low, high=high):
                    assert type(value) is int and low <= value <= high
                case Real(low=low, high=high):
                    assert type(value) is float and low <= value <= high
        assert not left


@pytest.mark.parametrize("name", NAMES)
def test_a_search_cut_anywhere_goes_on_as_if_undisturbed(name):
    whole = search(name, 6)
    for cut in (1, 4):
        assert search(name, 6, finished=whole[:cut]) == whole


@pytest.mark.parametrize("name", NAMES)
def test_another_seed_searches_elsewhere(name):
    assert [t.params for t in search(name, 4)] != [t.params for t in search(name, 4, seed=2)]


@pytest.mark.parametrize("name", ["optuna", "keras-tuner"])
def test_the_first_trial_is_the_defaults(name):
    assert search(name, 1)[0].params == make_space().defaults()


@pytest.mark.parametrize("name", ["optuna", "keras-tuner"])
def test_a_search_finds_better_than_the_defaults(name):
    found = search(name, 15)
    assert max(t.score for t in found) > found[0].score


@pytest.mark.parametrize("name", NAMES)
def test_a_failed_trial_does_not_end_the_search(name):
    tuner = tuners.get(name)(make_space(), seed=1, trials=8, max_steps=9)
    finished = []
    for number in range(5):
        suggestion = tuner.suggest(finished, 0)
        value = None if number in (1, 2, 3) else score(suggestion.params)
        finished.append(trial(number, suggestion, value))
    assert len(finished) == 5


def test_hyperband_goes_on_with_trials_it_named_and_honours_epochs():
    finished = search("hyperband", 60)
    promoted = [t for t in finished if t.resume_from is not None]
    assert promoted
    for t in promoted:
        parent = finished[t.resume_from]
        assert parent.params == t.params
        assert t.first_step == parent.last_step
        assert t.first_step < t.last_step <= 9
    assert not any(name.startswith("tuner/") for t in finished for name in t.params)


@pytest.mark.parametrize(("steps", "trials"), [(40, 20), (500, 20), (40, 3), (500, 60)])
def test_hyperband_trains_its_best_to_the_end_within_the_budget(steps, trials):
    finished = []
    while True:
        tuner = tuners.get("hyperband")(make_space(), seed=1, trials=trials, max_steps=steps)
        suggestion = tuner.suggest(finished, 0)
        new = suggestion.resume_from is None
        if new and sum(t.resume_from is None for t in finished) == trials:
            break
        finished.append(trial(len(finished), suggestion, score(suggestion.params)))
    assert max(t.last_step for t in finished) == steps


def test_hyperband_needs_a_family_with_steps():
    tuner = tuners.get("hyperband")(make_space(), seed=1, trials=5, max_steps=None)
    with pytest.raises(ModelError, match="counts steps"):
        tuner.suggest([], 0)


def test_stored_trials_of_another_search_are_refused_by_hyperband():
    with pytest.raises(ModelError, match="begin a new run folder"):
        search("hyperband", 4, seed=2, finished=search("hyperband", 3, seed=1))


def test_keras_tuner_writes_no_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    search("keras-tuner", 4)
    search("hyperband", 4)
    assert list(tmp_path.iterdir()) == []
