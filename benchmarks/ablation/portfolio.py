"""``python benchmarks/ablation/portfolio.py``: should a search begin with learnt configurations?

A family is searched as today on phantoms and on development parts of real sets, and the winner of
each search scored by inner validation on all sets. A portfolio begins with the default and takes,
one by one, the winner that raises the mean over sets of the best score so far the most. It is
learnt without the kind of images that it is tried on, where searches that begin with it are
compared with those of today: by the inner score after so many trials and seconds, and by what the
chosen configurations score on development images that no search had.

Source: Feurer et al. (2022), "Auto-sklearn 2.0: hands-free AutoML via meta-learning", JMLR 23(261).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench import registry
from medbench.atomic_files import write_json
from medbench.datasets.batch import LabelledBatch
from medbench.datasets.catalog import load_catalog
from medbench.datasets.sources.phantoms import CLASSES, PhantomSource
from medbench.datasets.splits import group_folds
from medbench.datasets.task import Task
from medbench.evaluation.metrics import auroc
from medbench.execution.plan import Settings, Setup, plan_datasets
from medbench.features.feature_cache import FeatureCache
from medbench.hashes import sha256_of_json
from medbench.models.contract import ModelFamily, Progress
from medbench.models.space import SearchSpace
from medbench.tuning.budget import Budget, Clock
from medbench.tuning.inner_validation import InnerResults, InnerValidation, predict
from medbench.tuning.search import Search, next_suggestion
from medbench.tuning.tuner import Suggestion

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what benchmarks share
from markers import write_between_markers

_FAMILIES = {"hog-svm": 2, "xgboost": 1}
"""With the seeds of searches of each set."""
_LEFT_OUT = {
    "xgboost": (
        "phantoms, mr, seed 6", "phantoms, chest, seed 6", "covid-or-healthy", "covid-cxr"
    )
}  # fmt: skip
"""Sets on which a dear family is not searched."""
_PHANTOMS = {"mr": (4, 5, 6), "chest": (4, 5, 6)}
"""Seeds of drawn sets of 80 patients with 3 images; never 0, which is the demo's."""
_PATIENTS, _NEW_PATIENTS = 80, 200
_SETS = {
    "brain-mri": "brain-mri",
    "nih-pneumonia": "chest films",
    "covid-or-pneumonia": "chest films",
    "covid-or-healthy": "chest films",
    "covid-cxr": "chest films",
    "pneumoniamnist-reassembled": "children's films",
}
"""Real sets and their kind: what is held out together, for the four share images."""
_IMAGES, _FEWEST_NEW, _MOST_NEW = 240, 100, 600
"""Images of a real set, in whole groups of its first development part; new ones, with fewer of
which a set is not scored on any."""
_INNER_FOLDS = 3
_SIZE = 5
"""Configurations of a portfolio, with the default."""
_TRIALS = 20
_SHOWN = (1, 3, 5, 9, 20)
_TARGETS = (9, 20)

Params = Mapping[str, Any]
Curve = Sequence[tuple[float, float]]
"""Of each trial the best inner score so far and the CPU seconds so far."""
Found = Mapping[str, Any]
"""The ``curve`` of a search, and the ``best`` configuration."""
Begun = Mapping[str, Sequence[Sequence[Found]]]
"""By how it began: of each draw the searches of each seed."""


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Some images of a set, as a search sees them."""

    name: str
    kind: str
    task: Task
    images: LabelledBatch
    new: LabelledBatch
    """Of other groups."""

    def inner(
        self, family: ModelFamily, features: FeatureCache, folder: Path, seed: int
    ) -> InnerValidation:
        """Folds that are the same for all."""
        labels, groups = self.images.labels, self.images.groups
        return InnerValidation(
            family=family,
            task=self.task,
            development=self.images,
            folds=group_folds(labels, groups, folds=_INNER_FOLDS, seed=0),
            refit_on=np.arange(len(self.images)),
            features=features,
            weights=None,
            seed=seed,
            threads=1,
            checkpoints=folder,
        )


class Kept:
    """What was measured, in a file, so that an ended measurement goes on."""

    def __init__(self, path: Path) -> None:
        self.folder = path.parent
        self._path = path
        self._known = json.loads(path.read_text()) if path.exists() else {}

    def get(self, key: Sequence[Any], measure: Any) -> Any:
        name = sha256_of_json(key)[:24]
        if name not in self._known:
            self._known[name] = measure()
            write_json(self._path, self._known)
        return self._known[name]


def main() -> None:
    """Measure, print, and write the tables where a page is named."""
    parser = argparse.ArgumentParser(prog="python benchmarks/ablation/portfolio.py")
    parser.add_argument("--data-dir", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--kept", type=Path, required=True, metavar="FILE", help="goes on from it")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write between its markers")
    options = parser.parse_args()
    kept = Kept(options.kept)
    every = list(_draws(options.data_dir, options.kept.parent))
    scores_after, times, on_new, learnt = [], [], [], []
    for name, n_seeds in _FAMILIES.items():
        family = registry.models.get(name)()
        draws = [draw for draw in every if draw.name not in _LEFT_OUT.get(name, ())]
        today = [
            [_search(family, draw, [], seed, kept) for seed in range(n_seeds)] for draw in draws
        ]
        default = _space(family, draws[0].task).defaults()
        winners = [(None, default)]
        winners += [
            (d.kind, one["best"]) for d, ones in zip(draws, today, strict=True) for one in ones
        ]
        candidates = [params for _, params in winners]
        scores = np.array([_scores(family, draw, candidates, kept) for draw in draws])
        portfolios = {
            kind: _portfolio(
                scores[[d.kind != kind for d in draws]],
                [i for i, (of, _) in enumerate(winners) if of != kind],
            )
            for kind in dict.fromkeys(draw.kind for draw in draws)
        }
        begun = {"today": today, "portfolio": []}
        first_three = []
        for draw, known in zip(draws, scores, strict=True):
            places = portfolios[draw.kind]
            first = [candidates[place] for place in places[1:]]
            begun["portfolio"].append(
                [_search(family, draw, first, seed, kept) for seed in range(n_seeds)]
            )
            first_three.append([candidates[max(places[:3], key=lambda place: known[place])]])
        chosen = {
            way: [[one["best"] for one in ones] for ones in found] for way, found in begun.items()
        }
        scores_after += _rows_of_draws(name, draws, begun)
        times += _rows_of_times(name, begun)
        on_new.append(_row_on_new(family, draws, {**chosen, "three": first_three}, kept))
        everything = _portfolio(scores, range(len(candidates)))
        learnt += [f"{name}: {_named(default, candidates[i])}" for i in everything]
    tables = [
        _head("family", "images", *(f"{k} trial{'s' * (k > 1)}" for k in _SHOWN)),
        *scores_after,
        "",
        _head("family", "as good as a search of", "begins with", "reached", "time, median"),
        *times,
        "",
        _head(
            "family",
            "new images of",
            "default",
            "today, 20 trials",
            "portfolio, 20 trials",
            "portfolio, 3 trials",
        ),
        *on_new,
    ]
    print("\n".join([*tables, "", *learnt]))
    if options.page is not None:
        write_between_markers(options.page, "portfolio", "\n".join(tables))


def _head(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n{'|---' * len(cells)}|"


# --- images -------------------------------------------------------------------------------


def _draws(data_dir: Path, cache: Path) -> Iterator[Draw]:
    for modality, seeds in _PHANTOMS.items():
        for seed in seeds:
            source = PhantomSource(modality=modality, patients=_PATIENTS + _NEW_PATIENTS, seed=seed)
            table = source.list_images({}).table
            images = np.stack([source.draw(row) for row in range(len(table))])[..., None]
            searched, new = np.split(np.arange(len(table)), [_PATIENTS * source.images_per_patient])
            yield Draw(
                name=f"phantoms, {modality}, seed {seed}",
                kind=f"phantoms, {modality}",
                task=_task(CLASSES[modality], images),
                images=_batch(images, table, searched),
                new=_batch(images, table, new),
            )
    catalog = load_catalog(data_dir=data_dir)
    settings = Settings(budget=Budget(trials=1, seconds=None))
    for name, kind in _SETS.items():
        (planned,) = plan_datasets([name], catalog, settings, Setup(cache=cache, threads=1))
        images, table = planned.data.images, planned.data.table
        split = planned.plan.splits[0]
        development = split.development
        if split.validation is not None:
            development = np.setdiff1d(development, split.validation)
        searched = _some_groups(development, table["group"].to_numpy()[development])
        yield Draw(
            name=name,
            kind=kind,
            task=_task(planned.data.task.classes, images),
            images=_batch(images, table, searched),
            new=_batch(images, table, np.setdiff1d(development, searched)[:_MOST_NEW]),
        )


def _some_groups(rows: NDArray[np.int64], groups: NDArray[Any]) -> NDArray[np.int64]:
    """Rows of whole groups, drawn until there are so many."""
    order = np.random.default_rng(0).permutation(np.unique(groups))
    so_far = np.cumsum([np.sum(groups == group) for group in order])
    return rows[np.isin(groups, order[: np.searchsorted(so_far, _IMAGES) + 1])]


def _task(classes: Sequence[str], images: Any) -> Task:
    return Task(classes=tuple(classes), image_shape=images.shape[1:], task_type="multi-class")


def _batch(images: Any, table: pd.DataFrame, rows: NDArray[np.int64]) -> LabelledBatch:
    return LabelledBatch(
        images=np.array(images[rows]),
        properties=table.iloc[rows][[]],
        labels=table["label"].to_numpy(np.int64)[rows],
        groups=table["group"].astype("category").cat.codes.to_numpy(np.int64)[rows],
    )


# --- configurations -----------------------------------------------------------------------


def _space(family: ModelFamily, task: Task, first: Sequence[Params] = ()) -> SearchSpace:
    space = SearchSpace()
    family.search_space(space, task)
    for params in first:
        space.begin_with(**params)
    return space


def _scores(
    family: ModelFamily, draw: Draw, candidates: Sequence[Params], kept: Kept
) -> list[float]:
    """Of each configuration the mean AUROC of the inner folds."""
    inner = draw.inner(family, FeatureCache(None), kept.folder, 0)

    def measure(params: Params) -> float | None:
        results = _evaluated(inner, params)
        print(f"{family.name}, {draw.name}: {results.score:.3f}", file=sys.stderr, flush=True)
        return results.score

    return [
        kept.get(["score", family.name, draw.name, params], partial(measure, params))
        for params in candidates
    ]


def _evaluated(inner: InnerValidation, params: Params) -> InnerResults:
    results = inner.empty_results()
    inner.evaluate(
        0,
        Suggestion(params=params),
        lambda fold: Progress(),
        folds=range(len(inner.folds)),
        keep=False,
        fold_done=lambda results: None,
        results=results,
    )
    return results


def _on_new(family: ModelFamily, draw: Draw, params: Params, kept: Kept) -> float:
    """AUROC on new images of what is fitted on those that were searched, refitted as a winner."""

    def measure() -> float:
        inner = draw.inner(family, FeatureCache(None), kept.folder, 0)
        progress = Progress()
        if family.max_steps is not None:
            progress.last_step = _evaluated(inner, params).step
        classifier = inner.build(Suggestion(params=params), "refit")
        classifier.fit(draw.images, None, progress)
        probabilities = predict(classifier, draw.new, draw.task)
        return auroc(draw.new.labels, probabilities, len(draw.task.classes))

    return float(kept.get(["new", family.name, draw.name, params], measure))


def _portfolio(scores: NDArray[np.float64], allowed: Sequence[int]) -> list[int]:
    """Places of configurations, greedily; of scores of shape (n_sets, n_configurations)."""
    chosen = [0]
    while len(chosen) < _SIZE:
        best = scores[:, chosen].max(axis=1, keepdims=True)
        means = np.maximum(scores, best).mean(axis=0)
        chosen.append(max(allowed, key=lambda place: means[place]))
    return chosen


# --- searches -----------------------------------------------------------------------------


def _search(
    family: ModelFamily, draw: Draw, first: Sequence[Params], seed: int, kept: Kept
) -> Found:
    """What the product's search finds from its default and then ``first``: curve and winner."""

    def measure() -> Found:
        inner = draw.inner(family, FeatureCache(None), kept.folder, seed)
        tuner = registry.tuners.get(family.default_tuner)(
            _space(family, draw.task, first), seed=seed, trials=_TRIALS, max_steps=family.max_steps
        )
        next_suggestion(tuner, ())
        search = Search(
            inner, tuner, Budget(trials=_TRIALS, seconds=None), Clock(inner.features), finished=[]
        )
        began, curve = time.process_time(), []
        for _ in search.run():
            best = search.best_so_far()
            score = 0.5 if best is None or best.score is None else best.score
            curve.append((score, time.process_time() - began))
        print(f"{family.name}, {draw.name}, {len(first)} first, seed {seed}: {curve[-1]}",
              file=sys.stderr, flush=True)  # fmt: skip
        return {"curve": curve, "best": dict(search.best.params)}

    return kept.get(["search", family.name, draw.name, list(first), seed], measure)


def _after(found: Found, trials: int) -> tuple[float, float]:
    curve: Curve = found["curve"]
    return curve[min(trials, len(curve)) - 1]


def _rows_of_draws(name: str, draws: Sequence[Draw], begun: Begun) -> list[str]:
    """Best inner score of both after so many trials, by kind of images, then the gain."""

    def cell(way: str, places: Sequence[int], k: int) -> float:
        return fmean(fmean(_after(one, k)[0] for one in begun[way][i]) for i in places)

    rows = []
    for kind in dict.fromkeys(draw.kind for draw in draws):
        places = [i for i, draw in enumerate(draws) if draw.kind == kind]
        cells = [
            f"{cell('today', places, k):.3f} {cell('portfolio', places, k):.3f}" for k in _SHOWN
        ]
        rows.append(f"| {name} | {kind} ({len(places)}) | {' | '.join(cells)} |")
    cells = []
    for k in _SHOWN:
        every = [cell("portfolio", [i], k) - cell("today", [i], k) for i in range(len(draws))]
        cells.append(_gain(every))
    return [*rows, f"| {name} | gain ({len(draws)}) | {' | '.join(cells)} |"]


def _rows_of_times(name: str, begun: Begun) -> list[str]:
    """CPU time to the score that a search of today has, as a share of what that one took."""
    rows = []
    for target in _TARGETS:
        for way in ("today", "portfolio"):
            shares, reached = [], []
            for today, others in zip(begun["today"], begun[way], strict=True):
                for one, other in product(today, others):
                    if one is other:
                        continue
                    score, seconds = _after(one, target)
                    hits = [at for best, at in other["curve"] if best >= score]
                    reached.append(bool(hits))
                    shares.append((hits or [math.inf])[0] / seconds)
            if not shares:
                continue
            share = median(shares)
            rows.append(
                f"| {name} | {target} trials | {way} | {sum(reached)} of {len(reached)} "
                f"| {f'{share:.2f}' if math.isfinite(share) else 'never'} |"
            )
    return rows


def _row_on_new(
    family: ModelFamily,
    draws: Sequence[Draw],
    chosen: Mapping[str, Sequence[Sequence[Params]]],
    kept: Kept,
) -> str:
    """What configurations score on images that no search had: the default, then gains over it."""
    places = [i for i, draw in enumerate(draws) if len(draw.new) >= _FEWEST_NEW]
    default = _space(family, draws[0].task).defaults()
    before = [_on_new(family, draws[i], default, kept) for i in places]
    cells = [f"{fmean(before):.3f}"]
    for found in chosen.values():
        after = [fmean(_on_new(family, draws[i], one, kept) for one in found[i]) for i in places]
        cells.append(_gain([a - b for a, b in zip(after, before, strict=True)]))
    return f"| {family.name} | {len(places)} sets | {' | '.join(cells)} |"


def _gain(each: Sequence[float]) -> str:
    return f"{fmean(each):+.4f} ± {stdev(each) / len(each) ** 0.5:.4f}"


def _named(default: Params, params: Params) -> str:
    changed = {name: value for name, value in params.items() if default.get(name) != value}
    return json.dumps(changed)


if __name__ == "__main__":
    main()
