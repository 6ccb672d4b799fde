"""Every tuner keeps the contract that authors of plugins can call; and what is Hyperband's own."""

import math

import pytest

from medbench.errors import ModelError
from medbench.models.space import SearchSpace
from medbench.registry import tuners
from medbench.testing import TunerContract, check_tuner
from medbench.testing.tuners import simulate, varied_space

NAMES = tuners.names()


class TestEveryTuner(TunerContract):
    """Found in the registry, so that a new one cannot be forgotten."""

    @pytest.fixture(autouse=True, params=NAMES)
    def registered(self, request, tmp_path, monkeypatch):
        self.tuner = tuners.get(request.param)
        monkeypatch.chdir(tmp_path)
        yield
        assert list(tmp_path.iterdir()) == []  # nor does it write files


def test_a_plugins_tuner_keeps_the_contract(example_plugin):
    (name,) = set(tuners.names()) - set(NAMES)
    check_tuner(tuners.get(name))


def only(name, **options):
    space = SearchSpace()
    getattr(space, name)("x", **options)
    return space


@pytest.mark.parametrize("name", NAMES)
def test_another_seed_searches_elsewhere(name):
    first, second = (
        simulate(tuners.get(name), only("real", low=0.0, high=1.0), trials=4, seed=seed)
        for seed in (1, 2)
    )
    assert [t.params for t in first] != [t.params for t in second]
    assert first[0].params == {"x": 0.5}  # the defaults


@pytest.mark.parametrize("name", ["optuna", "keras-tuner"])
def test_a_search_finds_better_than_the_defaults(name):
    found = simulate(tuners.get(name), only("real", low=0.0, high=1.0), trials=9)
    assert max(trial.params["x"] for trial in found) > 0.95


@pytest.mark.parametrize("name", ["optuna", "keras-tuner"])
def test_a_search_begins_with_what_the_space_names_then_goes_its_own_way(name):
    space = varied_space()
    other = next(p for p in space if len(getattr(p, "options", ())) > 1 and not p.when)
    for option in other.options[1:]:
        space.begin_with(**{other.name: option})
    n_first = len(other.options)
    found = [trial.params for trial in simulate(tuners.get(name), space, trials=n_first + 2)]
    assert found[:n_first] == [space.first(number) for number in range(n_first)]
    assert all(params not in found[:n_first] for params in found[n_first:])


# --- Hyperband ----------------------------------------------------------------------------


def hyperband(space, **options):
    return simulate(tuners.get("hyperband"), space, **options)


def rounds(trials):
    """How often a fit ended at each step."""
    steps = [trial.last_step for trial in trials]
    return {step: steps.count(step) for step in sorted(set(steps))}


@pytest.mark.parametrize(("steps", "trials"), [(40, 20), (500, 20), (40, 3), (500, 60)])
def test_hyperband_trains_its_best_to_the_end_within_the_budget(steps, trials):
    done = hyperband(varied_space(), trials=trials, max_steps=steps)
    assert max(trial.last_step for trial in done) == steps
    assert sum(trial.resume_from is None for trial in done) == trials


def test_two_configurations_are_both_tried_and_the_better_one_is_trained_to_the_end():
    done = hyperband(only("choice", options=("low", "high")), trials=None)
    assert rounds(done) == {9: 2, 27: 1}
    assert done[2].resume_from in (0, 1)


@pytest.mark.parametrize("n", [1, 3, 9, 13, 40])
def test_a_finite_space_is_used_up_and_every_bracket_ends_with_all_steps(n):
    done = (
        hyperband(only("integer", low=0, high=n - 1), trials=None)
        if n > 1
        else hyperband(only("choice", options=("only",)), trials=None)
    )
    new = [trial for trial in done if trial.resume_from is None]
    assert len(new) == len({trial.params["x"] for trial in done}) == n
    assert done[-1].last_step == 27
    assert max(rounds(new).values()) <= n


def test_what_failed_is_not_trained_on():
    done = hyperband(varied_space(), trials=12, fails=lambda number: number < 10)
    assert {trial.resume_from for trial in done} <= {None, *range(10, len(done))}
    assert max(trial.last_step for trial in done) == 27


def test_of_a_round_the_best_third_is_trained_on():
    done = hyperband(only("real", low=0.0, high=1.0), trials=12)
    first = [trial for trial in done if trial.last_step == 3]
    second = [trial for trial in done if trial.first_step == 3]
    assert len(second) == math.ceil(len(first) / 3)
    best = sorted(first, key=lambda trial: trial.score)[-len(second) :]
    assert {trial.resume_from for trial in second} == {trial.number for trial in best}


def test_hyperband_needs_a_family_with_steps():
    tuner = tuners.get("hyperband")(varied_space(), seed=1, trials=5, max_steps=None)
    with pytest.raises(ModelError, match="counts steps"):
        tuner.suggest([], 0)


def test_stored_trials_of_another_search_are_refused_by_hyperband():
    others = hyperband(varied_space(), seed=1, trials=3)
    with pytest.raises(ModelError, match="begin a new run folder"):
        hyperband(varied_space(), seed=2, trials=6, finished=others)
