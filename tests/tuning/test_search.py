"""The search driver, with families made for the purpose."""

import json
import time
from dataclasses import asdict
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from medbench.datasets.batch import PROPERTIES, LabelledBatch
from medbench.datasets.splits import group_folds
from medbench.datasets.task import Task
from medbench.errors import FeaturesTooDearError, ModelError
from medbench.features.feature_cache import FeatureCache
from medbench.models.contract import Classifier, ModelFamily, Progress
from medbench.models.space import SearchSpace
from medbench.models.weights import Weights
from medbench.registry import register_tuner, tuners
from medbench.tuning.budget import Budget, Clock
from medbench.tuning.inner_validation import InnerValidation
from medbench.tuning.search import Search
from medbench.tuning.tuner import (
    Suggestion,
    Tuner,
    best_of,
    complete_configurations,
    configurations,
)

N = 60


class Blend(Classifier):
    """Scores by a blend of the true signal (first pixel) and noise; ``quality`` sets the blend."""

    def __init__(self, params, context):
        self.params, self.seed = params, context.seed
        self.state = {"steps": 0}

    def fit(self, train, validation, progress):
        last = progress.last_step or 5
        for step in range(progress.first_step + 1, last + 1):
            self.state["steps"] = step
            if self.params.get("sleep"):
                time.sleep(self.params["sleep"])
            if not progress.report(step, None if validation is None else self.params["quality"]):
                break
        self.best_step = self.state["steps"]
        if self.params.get("crash"):
            raise RuntimeError("boom")

    def predict_proba(self, batch):
        signal = batch.images[:, 0, 0, 0] / 255
        noise = np.random.default_rng(self.seed).random(len(batch))
        p = self.params["quality"] * signal + (1 - self.params["quality"]) * noise
        return np.column_stack([1 - p, p])

    def save(self, folder):
        (folder / "state.json").write_text(json.dumps(self.state))

    def load(self, folder):
        self.state = json.loads((folder / "state.json").read_text())


class BlendFamily(ModelFamily):
    max_steps = 9
    fixed: ClassVar[dict] = {}
    extra: ClassVar[tuple] = ()

    def search_space(self, space, task):
        space.real("quality", 0.0, 1.0, default=0.3)

    def build(self, params, task, context):
        return Blend({**params, **self.fixed}, context)

    def refinements(self, params, task):
        return [{**params, **extra} for extra in self.extra]


def development():
    rng = np.random.default_rng(0)
    labels = np.arange(N) % 2
    images = rng.integers(0, 200, (N, 4, 4, 1)).astype(np.uint8)
    images[:, 0, 0, 0] = np.clip(labels * 80 + rng.normal(80, 40, N), 0, 255)
    properties = pd.DataFrame(0, index=range(N), columns=PROPERTIES)
    return LabelledBatch(images=images, properties=properties, labels=labels, groups=np.arange(N))


def run(
    tmp_path,
    *,
    family=None,
    tuner="optuna",
    budget=None,
    finished=(),
    folds=3,
    spent=0.0,
    clock=None,
    oof=None,
    weights=None,
    on_trial=lambda t: None,
):
    family = family or BlendFamily()
    data = development()
    task = Task(classes=("n", "p"), image_shape=(4, 4, 1))
    features = FeatureCache(None)
    pairs = group_folds(data.labels, data.groups, folds=max(folds, 2), seed=0)[:folds]
    inner = InnerValidation(
        family=family,
        task=task,
        development=data,
        folds=pairs,
        refit_on=np.arange(N),
        features=features,
        weights=weights,
        seed=5,
        threads=1,
        checkpoints=tmp_path / "checkpoints",
    )
    space = SearchSpace()
    family.search_space(space, task)
    budget = budget or Budget(trials=6, seconds=None)
    recorded = []
    search = Search(
        inner,
        tuners.get(tuner)(space, seed=3, trials=budget.trials, max_steps=family.max_steps),
        budget,
        clock or Clock(features, spent_before=spent),
        finished=finished,
        oof=oof,
    )
    for trial, oof in search.run():
        json.dumps(asdict(trial), allow_nan=False)  # it can be stored
        recorded.append((trial, oof))
        on_trial(trial)
    return search.best, search.finished, recorded


def family(**attributes):
    return type("Made", (BlendFamily,), attributes)()


def identity(trials):
    return [(t.number, t.params, t.state, t.score, t.fold_scores, t.step) for t in trials]


def test_the_best_complete_trial_by_inner_score_is_chosen(tmp_path):
    best, trials, _ = run(tmp_path)
    assert len(trials) == 6
    assert best.score == max(t.score for t in trials if t.state == "complete")


def test_a_family_that_is_not_pruned_has_all_inner_folds_of_every_trial(tmp_path):
    twelve = Budget(trials=12, seconds=None)
    _, trials, _ = run(tmp_path / "pruned", budget=twelve)
    assert any(t.state == "pruned" for t in trials)
    _, trials, _ = run(tmp_path / "not", family=family(pruned=False), budget=twelve)
    assert [t.state for t in trials] == ["complete"] * 12


def test_out_of_fold_predictions_cover_every_image_once(tmp_path):
    _, _, recorded = run(tmp_path)
    for trial, oof in recorded:
        if trial.state == "complete":
            assert np.isfinite(oof).all()
            assert oof.sum(axis=1) == pytest.approx(np.ones(N))


@pytest.mark.parametrize("tuner", ["optuna", "hyperband"])
def test_an_interrupted_search_equals_an_undisturbed_one(tmp_path, tuner):
    _, whole, _ = run(tmp_path / "whole", tuner=tuner)

    class KilledError(BaseException):
        pass

    for cut in (1, 3):
        kept = []

        def kill(trial, kept=kept, cut=cut):
            kept.append(trial)
            if len(kept) == cut:
                raise KilledError

        folder = tmp_path / str(cut)
        with pytest.raises(KilledError):
            run(folder, tuner=tuner, on_trial=kill)
        _, resumed, _ = run(folder, tuner=tuner, finished=kept)
        assert identity(resumed) == identity(whole)


def test_no_configuration_is_tried_twice_and_an_exhausted_space_ends_the_search(tmp_path):
    class Tiny(BlendFamily):
        def search_space(self, space, task):
            space.choice("quality", (0.1, 0.5, 0.9))

    for tuner in ("optuna", "keras-tuner", "hyperband"):
        _, trials, _ = run(
            tmp_path, family=Tiny(), tuner=tuner, budget=Budget(trials=50, seconds=None)
        )
        new = [t for t in trials if t.resume_from is None]
        assert sorted(t.params["quality"] for t in new) == [0.1, 0.5, 0.9]
        assert tuner != "hyperband" or trials[-1].step == BlendFamily.max_steps


def test_a_tuner_that_leaves_the_space_is_named_with_the_value_and_its_range(tmp_path):
    class TooFar(Tuner):
        def suggest(self, finished, attempt):
            return Suggestion(params={"quality": 1.01})

    register_tuner("too-far")(TooFar)
    with pytest.raises(ModelError, match=r"'too-far' .*quality = 1\.01.*a number from 0 to 1"):
        run(tmp_path, tuner="too-far")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError()])
def test_trouble_of_the_machine_is_no_trial_and_ends_the_search(tmp_path, error):
    class Troubled(BlendFamily):
        built = 0

        def build(self, params, task, context):
            Troubled.built += 1
            if Troubled.built == 4:
                raise error
            return super().build(params, task, context)

    kept = []
    with pytest.raises(type(error)):
        run(tmp_path, family=Troubled(), on_trial=kept.append)
    assert [trial.state for trial in kept] == ["complete"] * len(kept)
    _, whole, _ = run(tmp_path / "whole")
    _, resumed, _ = run(tmp_path / "resumed", finished=kept)
    assert identity(resumed) == identity(whole)


def test_a_family_without_parameters_has_one_trial(tmp_path):
    class Fixed(BlendFamily):
        fixed: ClassVar[dict] = {"quality": 0.5}

        def search_space(self, space, task):
            pass

    for tuner in ("optuna", "keras-tuner"):
        _, trials, _ = run(tmp_path, family=Fixed(), tuner=tuner)
        assert len(trials) == 1


def test_poor_trials_are_given_up_after_a_fold(tmp_path):
    _, trials, _ = run(tmp_path, budget=Budget(trials=20, seconds=None))
    pruned = [t for t in trials if t.state == "pruned"]
    assert pruned
    assert all(len(t.fold_scores) < 3 for t in pruned)
    assert all(t.state == "complete" for t in trials[:3])  # beside fewer nothing is called poor
    best = max(trials, key=lambda t: t.score if t.state == "complete" else 0)
    assert best.state == "complete"


def test_with_one_validation_part_poor_trials_are_given_up_over_steps(tmp_path):
    _, trials, _ = run(tmp_path, folds=1, budget=Budget(trials=20, seconds=None))
    pruned = [t for t in trials if t.state == "pruned"]
    assert pruned
    assert all(max(t.intermediate) < 5 for t in pruned)
    assert all(t.score is not None for t in pruned)  # the tuner learns from them too


def test_with_five_folds_the_wilcoxon_test_prunes(tmp_path):
    _, trials, _ = run(tmp_path, folds=5, budget=Budget(trials=20, seconds=None))
    assert any(t.state == "pruned" for t in trials)
    assert all(len(t.fold_scores) >= 2 for t in trials)


class FakeClock:
    """Time that passes only where a fit says so."""

    seconds = features_seconds = 0.0

    @property
    def fit_seconds(self):
        return self.seconds - self.features_seconds


class TimedFamily(BlendFamily):
    """Steps take ``pace`` seconds, and ``fits`` counts what was fitted, by image and parameters."""

    max_steps = None
    step_name = "epoch"
    steps = 4
    pace: ClassVar[float] = 1.0
    once: ClassVar[float] = 0.0
    """Seconds that the very first fit takes beside its steps."""

    def __init__(self):
        self.clock = FakeClock()
        self.fits = []

    def build(self, params, task, context):
        family = self

        class Timed(Blend):
            max_steps = family.steps

            def fit(self, train, validation, progress):
                family.fits.append((*sorted(params.items()), validation.groups[0]))
                family.clock.seconds += family.once if len(family.fits) == 1 else 0.0
                for step in range(progress.first_step + 1, (progress.last_step or 4) + 1):
                    family.clock.seconds += params.get("pace", family.pace)
                    self.best_step = step
                    if not progress.report(step, params["quality"]):
                        return

        return Timed(params, context)


def timed(tmp_path, made, *, seconds, trials=None, **options):
    """A search of a family that says itself how time passes."""
    budget = Budget(trials=trials, seconds=seconds)
    return run(tmp_path, family=made, budget=budget, clock=made.clock, **options)


def timed_family(**attributes):
    return type("MadeTimed", (TimedFamily,), attributes)()


def test_a_fit_that_the_budget_cut_is_not_complete_and_says_how_far_it_came(tmp_path):
    best, trials, _ = timed(tmp_path, timed_family(), seconds=6)  # a configuration takes 12
    assert best is trials[0] and [t.state for t in trials] == ["cut"]
    assert best.reason == "epoch 2 of 4 when 6 s were over"
    best, _, _ = timed(tmp_path, timed_family(), seconds=12)
    assert (best.state, best.reason) == ("complete", "")


def test_what_only_the_first_fit_has_to_build_does_not_cut_it(tmp_path):
    best, _, _ = timed(tmp_path, timed_family(once=2.0), seconds=14)  # 6, 4 and 4
    assert best.state == "complete"
    best, _, _ = timed(tmp_path, timed_family(once=2.0), seconds=12)
    assert best.state == "cut"


@pytest.mark.parametrize(
    ("features", "seconds", "said"), [(169.2, 120, "169 of 120 s"), (0.32, 0.5, "0.3 of 0.5 s")]
)
def test_a_trial_that_lost_its_seconds_to_features_says_so(tmp_path, features, seconds, said):
    made = timed_family(step_name="round")
    made.clock.seconds = made.clock.features_seconds = features
    best, _, _ = timed(tmp_path, made, seconds=seconds)
    assert best.reason == f"1 of 4 rounds: {said} went into features"


def test_no_trial_begins_that_is_not_expected_to_end_in_time(tmp_path):
    made = timed_family()
    _, trials, _ = timed(tmp_path, made, seconds=30)
    assert [t.state for t in trials] == ["complete"] * 2 and len(made.fits) == 6
    assert trials[-1].at_seconds == 24  # a third one would have ended at 36


def test_a_complete_trial_is_chosen_over_a_better_one_that_was_cut(tmp_path):
    cut = {"state": "cut", "score": 0.9, "number": 0, "fold_scores": (0.9, 0.9)}
    whole = {"state": "complete", "score": 0.7, "number": 1, "fold_scores": (0.7, 0.7)}
    assert best_of([cut, whole]) is whole
    assert best_of([cut, {**whole, "state": "stopped"}]) is cut


def test_only_the_chosen_configuration_of_a_screened_family_gets_all_folds(tmp_path):
    made = timed_family(screened=True)
    best, trials, recorded = timed(tmp_path, made, seconds=None, trials=8)
    screened = [t for t in trials if t.stage == "search"]
    assert len(screened) == 8 and all(len(t.fold_scores) <= 1 for t in screened)
    assert [t.stage for t in trials[8:]] == ["finish"]
    wanted = max((t for t in screened if t.state == "complete"), key=lambda t: t.score)
    assert best is trials[-1] and best.params == wanted.params and best.finishes == wanted.number
    assert best.fold_scores[0] == wanted.fold_scores[0] and len(best.fold_scores) == 3
    assert best.score == pytest.approx(np.mean(best.fold_scores))
    assert np.isfinite(recorded[-1][1]).all()
    assert len(made.fits) == 8 + 2 == len(set(made.fits))  # nothing is fitted twice
    assert any(t.state == "pruned" for t in screened)  # by steps


def test_where_seconds_are_bounded_a_screened_family_has_one_with_all_folds_from_the_first(
    tmp_path,
):
    made = timed_family(screened=True)
    best, trials, recorded = timed(tmp_path, made, seconds=30)
    assert [t.stage for t in trials] == ["search", "finish", "search", "search", "finish"]
    assert trials[1].finishes == 0 and made.clock.seconds == 28
    assert all(t.state == "complete" for t in trials)
    assert best is trials[-1] and best.score > trials[1].score
    assert np.isfinite(recorded[-1][1]).all()
    assert len(made.fits) == 3 + 2 * 2 == len(set(made.fits))  # nothing is fitted twice


def test_a_better_configuration_that_cannot_be_finished_in_time_leaves_the_first_one(tmp_path):
    made = timed_family(screened=True)
    best, trials, _ = timed(tmp_path, made, seconds=24)
    assert [t.stage for t in trials] == ["search", "finish", "search"]
    assert trials[2].score > trials[0].score and best is trials[1]


@pytest.mark.parametrize("seen", [1, 2, 3, 4])
def test_a_screened_search_of_bounded_seconds_goes_on_where_it_was(tmp_path, seen):
    best, whole, _ = timed(tmp_path / "whole", timed_family(screened=True), seconds=30)
    made = timed_family(screened=True)
    made.clock.seconds = whole[seen - 1].at_seconds
    again, _, _ = timed(tmp_path / "resumed", made, seconds=30, finished=whole[:seen])
    assert again.state == "complete" and len(again.fold_scores) == 3
    assert again.params == best.params or seen > 2  # what was screened best is lost then


def test_what_is_kept_back_is_enough_where_the_other_folds_stop_later(tmp_path):
    class Short(Progress):
        def __init__(self, progress):
            self.report_to, self.last_step = progress.report, progress.last_step

        def report(self, step, score=None):
            return self.report_to(step, score) and step < 2

    class StopsEarlyAtFirst(TimedFamily):
        screened = True

        def build(self, params, task, context):
            made = super().build(params, task, context)
            whole = made.fit

            def fit(train, validation, progress):
                first = not self.fits or validation.groups[0] == self.fits[0][-1]
                whole(train, validation, Short(progress) if first else progress)

            made.fit = fit
            return made

    made = StopsEarlyAtFirst()
    best, trials, _ = timed(tmp_path, made, seconds=19)
    assert [t.stage for t in trials] == ["search", "finish", "search"]
    # twice as many steps would be needed on the other folds, and a fifth of the time on top
    assert best is trials[1] and made.clock.seconds == 2 + 2 * 4 + 2


def test_a_screened_configuration_that_is_dearer_than_expected_is_stopped(tmp_path):
    class Uneven(Tuner):
        def suggest(self, finished, attempt):
            pace = 1.0 if not finished else 3.0
            return Suggestion(params={"quality": 0.3 + len(finished) / 10, "pace": pace})

    class UnevenFamily(TimedFamily):
        screened = True

        def search_space(self, space, task):
            super().search_space(space, task)
            space.real("pace", 1.0, 3.0)

    register_tuner("uneven")(Uneven)
    made = UnevenFamily()
    best, trials, _ = timed(tmp_path, made, tuner="uneven", seconds=24)
    assert [t.state for t in trials] == ["complete", "complete", "stopped"]
    assert trials[-1].seconds == 6  # the pace is known after two epochs
    assert best.finishes == 0 and made.clock.seconds == 18


def test_a_screened_family_that_is_cut_has_predictions_of_every_image(tmp_path):
    made = timed_family(screened=True)
    best, trials, recorded = timed(tmp_path, made, seconds=6)
    assert [(t.stage, t.state) for t in trials] == [("search", "cut"), ("finish", "cut")]
    assert np.isfinite(recorded[-1][1]).all() and "of 4 when 6 s" in best.reason


def test_a_configuration_whose_other_folds_were_cut_is_not_complete(tmp_path):
    _, trials, _ = timed(tmp_path, timed_family(screened=True), seconds=9)
    assert [(t.stage, t.state) for t in trials] == [("search", "complete"), ("finish", "cut")]
    assert (configurations(trials), complete_configurations(trials)) == (1, 0)


def test_an_official_validation_part_needs_no_screening(tmp_path):
    made = timed_family(screened=True)
    best, trials, _ = timed(tmp_path, made, seconds=None, trials=4, folds=1)
    assert [t.stage for t in trials] == ["search"] * 4 and best in trials


def test_where_the_chosen_one_fails_on_another_fold_the_next_best_is_finished(tmp_path):
    class Fragile(TimedFamily):
        screened = True
        best = 0.0

        def build(self, params, task, context):
            made = super().build(params, task, context)
            if params["quality"] == self.best:
                made.params = {**params, "crash": True}
                made.fit = lambda *given: 1 / 0
            return made

    made = Fragile()
    first, _, _ = timed(tmp_path, made, seconds=None, trials=4)
    again = Fragile()

    def fail_from_now_on(trial):
        again.best = first.params["quality"] if trial.number == 3 else again.best

    best, trials, recorded = timed(
        tmp_path, again, seconds=None, trials=4, on_trial=fail_from_now_on
    )
    assert [t.state for t in trials[4:]] == ["failed", "complete"]
    assert best is trials[-1] and best.params != first.params
    assert np.isfinite(recorded[-1][1]).all()


def test_features_that_are_too_dear_end_a_trial_and_not_the_search(tmp_path):
    class Dear(BlendFamily):
        def build(self, params, task, context):
            if params["quality"] > 0.4:
                raise FeaturesTooDearError("hog: 90 of 60 s")
            return super().build(params, task, context)

    budget = Budget(trials=4, seconds=1000)
    _, trials, _ = run(tmp_path, family=Dear(), budget=budget)
    refused = [t for t in trials if t.reason]
    assert refused and all((t.state, t.score) == ("stopped", None) for t in refused)
    assert configurations(trials) == 4 == len(trials) - len(refused)


def test_where_all_other_features_are_too_dear_the_search_ends(tmp_path):
    class Dear(BlendFamily):
        def build(self, params, task, context):
            if params["quality"] != 0.3:
                raise FeaturesTooDearError("hog: 90 of 60 s")
            return super().build(params, task, context)

    best, trials, _ = run(tmp_path, family=Dear(), budget=Budget(trials=None, seconds=1000))
    assert best is trials[0] and len(trials) == 21


def test_a_refinement_that_is_no_better_on_the_first_fold_gets_no_other(tmp_path):
    made = timed_family(extra=({"quality": 0.0}, {"quality": 1.0}))
    best, trials, _ = timed(tmp_path, made, seconds=None, trials=4)
    poor, good = trials[-2:]
    assert (poor.state, len(poor.fold_scores)) == ("pruned", 1)
    assert (good.state, len(good.fold_scores)) == ("complete", 3) and best is good


def test_refinements_that_cannot_end_in_time_are_stopped_once_and_not_begun_again(tmp_path):
    made = timed_family(extra=({"quality": 1.0, "pace": 9.0}, {"quality": 1.0, "pace": 8.0}))
    _, trials, _ = timed(tmp_path, made, seconds=60)
    refined = [t for t in trials if t.stage == "refinement"]
    assert [t.state for t in refined] == ["stopped"]
    assert refined[0].seconds == 18  # after the second of four epochs that is known
    made = timed_family(
        extra=({"quality": 1.0, "pace": 2.0}, {"quality": 1.0, "pace": 2.0, "n": 2})
    )
    _, trials, _ = timed(tmp_path, made, seconds=60)
    assert [t.state for t in trials if t.stage == "refinement"] == ["complete"]  # 24 s, twice not


def test_random_weights_are_not_refined(tmp_path):
    made = timed_family(weights="mobilenet", extra=({"quality": 1.0},))
    _, trials, _ = timed(tmp_path, made, seconds=None, trials=3)
    assert [t.stage for t in trials] == ["search"] * 3


@pytest.mark.parametrize("seconds", [None, 200])
def test_the_best_configuration_is_refined_also_where_the_default_cannot_be(tmp_path, seconds):
    class Uneven(TimedFamily):
        def refinements(self, params, task):
            return () if params["quality"] == 0.3 else ({"quality": 1.0},)

    _, trials, _ = timed(tmp_path, Uneven(), seconds=seconds, trials=6)
    assert [t.stage for t in trials] == ["search"] * 5 + ["refinement"]


@pytest.mark.parametrize(("seconds", "begun"), [(630, True), (600, False)])
def test_a_backbone_is_not_refined_where_embedding_alone_took_too_long(tmp_path, seconds, begun):
    found = Weights(path=tmp_path, sha256="", note="")
    made = timed_family(weights="mobilenet", pace=0.25, extra=({"quality": 1.0},))
    made.clock.seconds = made.clock.features_seconds = 20.0
    _, trials, _ = timed(tmp_path, made, seconds=seconds, trials=2, weights=found)
    assert any(t.stage == "refinement" for t in trials) == begun  # three folds, 10 x 20 s each


@pytest.mark.parametrize("tuner", ["optuna", "hyperband"])
def test_an_interrupted_screening_equals_an_undisturbed_one(tmp_path, tuner):
    def made():
        return family(screened=True, extra=({"quality": 1.0},))

    _, whole, recorded = run(tmp_path / "whole", family=made(), tuner=tuner)
    assert [t.stage for t in whole[-2:]] == ["finish", "refinement"]
    for kept in range(1, len(whole)):
        best = best_of(map(vars, whole[:kept]))
        oof = None if best is None else recorded[best["number"]][1]
        folder = tmp_path / "whole"  # where the checkpoints are
        _, resumed, again = run(folder, family=made(), tuner=tuner, finished=whole[:kept], oof=oof)
        assert identity(resumed) == identity(whole)
        np.testing.assert_array_equal(again[-1][1], recorded[-1][1])


def test_time_spent_before_an_interruption_counts(tmp_path):
    _, whole, _ = run(tmp_path, budget=Budget(trials=None, seconds=0.2))
    _, again, _ = run(tmp_path, budget=Budget(trials=None, seconds=0.2), finished=whole, spent=0.2)
    assert identity(again) == identity(whole)


def test_refinements_come_last_and_keep_their_share_of_the_budget(tmp_path):
    made = family(extra=({"tuned": 1}, {"tuned": 2}))
    _, trials, _ = run(tmp_path, family=made)
    assert [t.stage for t in trials] == ["search"] * 4 + ["refinement"] * 2
    searched = max((t for t in trials[:4] if t.state == "complete"), key=lambda t: t.score)
    assert trials[4].params == {**searched.params, "tuned": 1}


def test_a_crashing_trial_is_recorded_and_the_search_goes_on(tmp_path):
    class Sometimes(BlendFamily):
        def build(self, params, task, context):
            return Blend({**params, "crash": params["quality"] > 0.5}, context)

    _, trials, _ = run(tmp_path, family=Sometimes(), budget=Budget(trials=10, seconds=None))
    failed = [t for t in trials if t.state == "failed"]
    assert failed and all(t.reason == "RuntimeError: boom" for t in failed)
    assert any(t.state == "complete" for t in trials)


def test_a_family_that_always_crashes_ends_with_its_reason(tmp_path):
    with pytest.raises(ModelError, match="no trial was completed: RuntimeError: boom"):
        run(tmp_path, family=family(fixed={"crash": True}))


def test_hyperband_goes_on_from_checkpoints(tmp_path):
    _, trials, _ = run(tmp_path, tuner="hyperband", budget=Budget(trials=9, seconds=None))
    promoted = [t for t in trials if t.resume_from is not None]
    assert promoted
    assert all(t.step == t.last_step for t in promoted)
    assert len({tuple(t.params.items()) for t in trials}) == 9  # promotions are no trials


def test_probabilities_that_break_the_contract_fail_the_trial_by_name(tmp_path):
    class Wrong(Blend):
        def predict_proba(self, batch):
            return super().predict_proba(batch) * 2

    class WrongFamily(BlendFamily):
        def build(self, params, task, context):
            return Wrong(params, context)

    with pytest.raises(ModelError, match="no probabilities summing to one"):
        run(tmp_path, family=WrongFamily())
