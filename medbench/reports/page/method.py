"""How a run was done, in words and as a reporting checklist that it fills in as far as it knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medbench.reports.assessment import Assessment, DatasetAssessment
from medbench.reports.describe import UNEQUAL, describe_settings, positive_words

_CITED = (
    "W. J. Youden (1950), Index for rating diagnostic tests, Cancer 3(1) (operating point).",
    "E. B. Wilson (1927), Probable inference, the law of succession, and statistical inference, "
    "JASA 22 (bands of calibration).",
    "M. P. Naeini et al. (2015), Obtaining well calibrated probabilities using Bayesian binning, "
    "AAAI (ECE).",
    "A. S. Tejani et al. (2024), Checklist for Artificial Intelligence in Medical Imaging (CLAIM): "
    "2024 update, Radiology: Artificial Intelligence 6(4).",
    "G. S. Collins et al. (2024), TRIPOD+AI statement, BMJ 385.",
    "L. Maier-Hein et al. (2024), Metrics reloaded, Nature Methods 21 (choice of metrics).",
    "C. A. Field and A. H. Welsh (2007), Bootstrapping clustered data, JRSS-B 69(3) (intervals).",
    "S. Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal "
    "of Statistics 6(2) (comparisons).",
    "J. Demsar (2006), Statistical comparisons of classifiers over multiple data sets, JMLR 7 "
    "(ranks).",
    "G. Forman and M. Scholz (2010), Apples-to-apples in cross-validation studies, SIGKDD "
    "Explorations 12(1) (AUROC within folds).",
    "C. Guo et al. (2017), On calibration of modern neural networks, ICML (temperature, ECE).",
    "R. Caruana et al. (2004), Ensemble selection from libraries of models, ICML (row ensemble).",
)


@dataclass(frozen=True, kw_only=True)
class Item:
    """One line of the checklist."""

    claim: int
    """Item of CLAIM 2024."""
    tripod: str
    """The item of TRIPOD+AI that asks for the same; empty where none does."""
    asks: str
    said: str
    """What the run knows; empty where only the authors can answer."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """The last section of the page."""

    protocol: tuple[str, ...]
    """Sentences on what was done."""
    environment: tuple[tuple[str, str], ...]
    fingerprints: tuple[tuple[str, str], ...]
    """Data set and the hash of its images, labels, groups and split."""
    checklist: tuple[Item, ...]
    citations: tuple[str, ...]


def method(assessment: Assessment) -> Method:
    """Fill it in from a run; names in it are as stored."""
    run = assessment.run
    return Method(
        protocol=tuple(_protocol(assessment)),
        environment=tuple(_environment(run.environment)),
        fingerprints=tuple(
            (dataset.name, str(dataset.record["fingerprint"])) for dataset in assessment.datasets
        ),
        checklist=tuple(_checklist(assessment)),
        citations=(
            *(
                f"{dataset.name}: {dataset.record['citation']}"
                for dataset in assessment.datasets
                if dataset.record["citation"]
            ),
            *_CITED,
        ),
    )


def _protocol(assessment: Assessment) -> list[str]:
    configuration = assessment.run.configuration
    point = configuration.get("operating_point", "youden")
    rule = "Youden's index" if point == "youden" else str(point)
    splits = "; ".join(f"{d.name}: {d.record['split']}" for d in assessment.datasets)
    official = [d for d in assessment.datasets if _official(d)]
    kept = "" if len(official) == len(assessment.datasets) else _KEPT_WHOLE
    published = (
        " An official split is kept as it was published; the audit says what crosses it."
        if official
        else ""
    )
    tasks = {str(d.record["task"]) for d in assessment.datasets}
    decided = f"the operating point ({rule})" if tasks & {"binary", "multi-label"} else ""
    if tasks & {"multi-class", "ordinal"}:
        decided += " or " * bool(decided) + "the most probable class as the decision"
    positives = [(d.name, positive_words(d.record)) for d in assessment.datasets]
    named = "; ".join(f"{name}: {words}" for name, words in positives if words)
    return [
        f"Splits: {splits}.{kept}{published} All models saw the same splits.",
        *([f"Two classes: {named}."] if named else []),
        f"Tuning: {describe_settings(configuration)}",
        "Selection: configuration, epochs or rounds and calibration come from inner predictions "
        f"only, and so does {decided or 'the decision'}; the model was then refitted"
        f"{_FITTED_BEFORE * bool(official)} and predicted the held-out part once.",
        "Calibration: one temperature fitted on inner predictions, where the smaller class has at "
        "least 50 groups among them.",
        "Scores: AUROC within each held-out fold, averaged over folds (unweighted mean of one "
        "class against the rest for more than two); 95% intervals by 2,000 bootstrap resamples of "
        "whole groups within folds, stratified by class.",
        "Comparisons: paired bootstrap of the difference to the leader on the same patients, "
        "Holm-corrected over the models. A model whose corrected interval holds 0 is tied.",
        "Sanity rows see the file's properties, the brightness, the border or an 8 x 8 thumbnail "
        "only; where one of them has its lower bound above .6, or the leader is not ahead of "
        "it, the data set is a shortcut risk.",
        f"Seeds: base seed {configuration.get('seed', '?')}, {configuration.get('seeds', '?')} "
        "repeat(s); every other seed is derived from it by data set, model, split and trial.",
    ]


_FITTED_BEFORE = ", unless a trial had learnt from the whole official training part already,"
_KEPT_WHOLE = (
    " Groups (patients where the data set names them) and identical or near-identical images are "
    "never divided between two parts; where no patient is named, images of one that look different "
    "can be."
)


def _official(dataset: DatasetAssessment) -> bool:
    return str(dataset.record["split"]).startswith("official")


def _environment(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Versions and machine, as name and text."""
    commit = environment.get("commit") or {}
    packages = environment.get("packages") or {}
    found = []
    for name in ("medbench", "python", "system", "processor", "cores", "threads", "jobs"):
        if environment.get(name) is not None:
            found.append((name, str(environment[name])))
    if commit.get("hash"):
        dirty = " with uncommitted changes" if commit.get("dirty") else ""
        found.append(("commit", f"{commit['hash']}{dirty}"))
    if environment.get("keras_backend"):
        found.append(("keras backend", str(environment["keras_backend"])))
    if packages:
        found.append(("packages", ", ".join(f"{k} {v}" for k, v in packages.items())))
    return found


def _each(datasets: Sequence[DatasetAssessment], field: str) -> str:
    """What a field says of each data set that has it."""
    said = [(d.name, str(d.record.get(field) or "")) for d in datasets]
    return "; ".join(f"{name}: {text}" for name, text in said if text)


def _checklist(assessment: Assessment) -> list[Item]:
    run, datasets = assessment.run, assessment.datasets
    configuration = run.configuration
    sizes = "; ".join(
        f"{d.name}: {d.record['n_images']:,} images of {d.record['n_groups']:,} groups"
        for d in datasets
    )
    shapes = "; ".join(
        f"{d.name}: {' x '.join(map(str, d.record['image_shape']))}" for d in datasets
    )
    left_out = "; ".join(
        f"{d.name}: {note}"
        for d in datasets
        for note in d.record["notes"]
        if "left out" in str(note)
    )
    packages = run.environment.get("packages") or {}
    models = list(
        dict.fromkeys(
            r.name for d in datasets for r in d.rows if r.fields.kind in ("model", "sanity")
        )
    )
    risky = [d.name for d in datasets if any(sanity.alarming for sanity in d.sanity_comparisons)]
    answers: dict[int, str] = {
        6: "Benchmark of image classification models under "
        + ("unequal budgets." if configuration.get(UNEQUAL) else "one equal budget."),
        7: _each(datasets, "collection"),
        9: f"Decoded and resized once (height x width x channels): {shapes}." if datasets else "",
        12: left_out,
        19: "; ".join(f"{d.name}: {d.record['split']}" for d in datasets),
        20: "; ".join(
            f"{d.name}: {'as published' if _official(d) else 'groups with their copies'}"
            for d in datasets
        ),
        22: f"Models: {', '.join(models)}; tuned configurations of every fold are in the run "
        "folder (cell.json)."
        if models
        else "",
        23: ", ".join(f"{k} {v}" for k, v in packages.items()),
        24: f"Seeds derived from base seed {configuration.get('seed', '?')}."
        + " Pretrained weights by hash in the run folder."
        * any(cell.record.get("weights_sha256") for cell in run.cells),
        25: f"Budget of each model on each split: {configuration.get('budget', 'not recorded')}; "
        f"{configuration.get('inner_folds', '?')} inner folds.",
        26: "By inner score; of several folds within one standard error the one of fewest "
        "seconds. The held-out part chooses nothing.",
        27: "None.",
        28: "AUROC (primary), balanced accuracy, sensitivity and specificity at the frozen "
        "operating point, average precision, Brier score, log loss, ECE and more (scores.csv).",
        29: "95% bootstrap intervals over groups; paired differences to the leader with Holm's "
        "correction.",
        30: "Sanity rows that see no anatomy"
        + (f"; shortcut risk: {', '.join(risky)}." if risky else "; none gave an alarm.")
        if any(d.sanity_comparisons for d in datasets)
        else "",
        32: "Held-out folds, or the official test part, predicted once.",
        35: sizes,
        37: "Leaderboard and results of this page.",
        38: "Intervals of the leaderboard; bands of the curves.",
        39: "Confusion matrices and, where images may be shown, the most confidently wrong ones.",
        40: " ".join(
            dict.fromkeys(str(note) + "." for d in datasets for note in d.record["notes"])
        ),
        43: f"Licence of the data: {_each(datasets, 'licence')}" if datasets else "",
    }
    return [
        Item(claim=number, tripod=tripod, asks=asks, said=answers.get(number, ""))
        for number, tripod, asks in _ITEMS
    ]


_ITEMS = (
    (1, "1", "Identification as a study of AI, with the kind of model"),
    (2, "2", "Structured summary"),
    (3, "3", "Scientific and clinical background, intended use and role of the model"),
    (4, "4", "Aims, objectives and hypotheses"),
    (5, "5", "Prospective or retrospective study"),
    (6, "4", "Goal of the study"),
    (7, "5", "Sources of the data"),
    (8, "6", "Inclusion and exclusion criteria"),
    (9, "7", "Preprocessing of the data"),
    (10, "7", "Selection of subsets of the data"),
    (11, "", "De-identification"),
    (12, "11", "How missing data were handled"),
    (13, "9", "Image acquisition"),
    (14, "8", "Definition of the reference standard"),
    (15, "8", "Rationale for the reference standard"),
    (16, "8", "Source of the annotations and who annotated"),
    (17, "8", "Annotation of the test set"),
    (18, "8", "Inter- and intra-rater variability"),
    (19, "12a", "How data were assigned to parts"),
    (20, "12a", "Level at which parts are disjoint"),
    (21, "10", "Intended sample size"),
    (22, "12, 22", "Description of the models"),
    (23, "12", "Software libraries and versions"),
    (24, "12", "Initialisation of the models"),
    (25, "12", "Training and tuning"),
    (26, "12", "How the final model is selected"),
    (27, "12", "Ensembling"),
    (28, "12", "Metrics of performance"),
    (29, "12", "Uncertainty and significance"),
    (30, "12", "Robustness and sensitivity analysis"),
    (31, "", "Explainability"),
    (32, "23", "Evaluation on internal data"),
    (33, "23", "Testing on external data"),
    (34, "18c", "Registration of the study"),
    (35, "20", "Numbers of patients and images"),
    (36, "20", "Demographic and clinical characteristics"),
    (37, "23", "Performance on the test part"),
    (38, "23", "Precision of the estimates"),
    (39, "23", "Failure analysis"),
    (40, "26", "Limitations"),
    (41, "25, 27", "Implications for practice"),
    (42, "18d", "Where the full protocol is"),
    (43, "18e, 18f", "Availability of software, model and data"),
    (44, "18a", "Funding and role of the funders"),
)
"""Items of CLAIM 2024 in short, with the item of TRIPOD+AI that asks for the same."""
