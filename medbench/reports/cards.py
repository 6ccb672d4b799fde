"""Cards: what each data set is and can show, and what the model that won on it is and cannot do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medbench.atomic_files import write_text
from medbench.evaluation.calibration import Calibration
from medbench.evaluation.scores import METRICS
from medbench.reports.assessment import SHORTCUT_BOUND, Assessment, DatasetAssessment
from medbench.reports.budgets import trials_words
from medbench.reports.describe import (
    auroc_words,
    describe_dataset,
    describe_settings,
    positive_words,
    row_title,
    standing_words,
)
from medbench.reports.rows import PROBABILITY_SCORES, Row
from medbench.reports.text import (
    format_megabytes,
    format_number,
    format_score,
    format_seconds,
    markdown_text,
)
from medbench.reports.verdicts import cut_words, verdicts
from medbench.reports.winner import why, winner
from medbench.store import CellResult, RunLayout

"""Begins the verdict on sanity rows."""
_INTENDED_USE = (
    "For research, not for diagnosis. It is the outcome of a benchmark: it was made to be compared "
    "with other models on the same images. It is no medical device, nobody has tested it in care, "
    "and no decision about a patient may rest on it."
)


def write_cards(assessment: Assessment, folder: Path) -> tuple[Path, ...]:
    """Write ``cards/dataset-NAME.md`` of each data set and ``cards/model-NAME.md`` of its winner.

    The winner is chosen by inner scores (see ``medbench.reports.winner``); where no real model is
    finished on every fold, or the budget cut every one, there is none, and no card of it.

    Args:
        assessment: The run, assessed.
        folder: Where ``cards`` goes.

    Returns:
        The files.

    Raises:
        StoreError: The folder cannot be written.
    """
    files, pages = RunLayout(folder), {}
    for dataset in assessment.datasets:
        pages[files.data_card(dataset.name)] = data_card(dataset)
        won = winner(dataset, assessment.run)
        if won is not None:
            chosen = why(dataset, assessment.run, won)
            pages[files.model_card(dataset.name)] = model_card(assessment, dataset, won, chosen)
    for path, page in pages.items():
        write_text(path, page)
    return tuple(pages)


def _positive(record: Mapping[str, Any]) -> str:
    return positive_words(record).partition(": ")[2]


def _listed(sentences: Sequence[str]) -> Iterator[str]:
    yield from (f"- {markdown_text(sentence)}" for sentence in sentences)


def _entries(entries: Mapping[str, Any]) -> Iterator[str]:
    """A line for each entry that is known."""
    for name, value in entries.items():
        if value not in (None, ""):
            yield f"- {name}: {markdown_text(str(value))}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(markdown_text(cell) for cell in row)} |" for row in rows)


# --- data sets ---------------------------------------------------------------------------------


def data_card(dataset: DatasetAssessment) -> str:
    """The card of a data set, in Markdown."""
    return _page(_dataset_card(dataset))


def _dataset_card(dataset: DatasetAssessment) -> Iterator[str]:
    record = dataset.record
    yield f"# Data set: {markdown_text(record['title'])}\n"
    yield from _entries(
        {
            "Name": dataset.name,
            "Task": record["task"],
            "Positive class": _positive(record),
            "Images": f"{record['n_images']:,}",
            "Groups (patients, lesions or scans, each kept whole)": f"{record['n_groups']:,}",
            "Split": record["split"],
            "Origin": "synthetic" if record["synthetic"] else "real images",
            "Collection": record.get("collection"),
            "Licence": record["licence"] or "not stated",
            "Citation": record.get("citation") or "not stated",
            "Homepage": record.get("homepage"),
            "Place": record.get("place"),
            "Prevalence for predictive values": record.get("prevalence"),
            "Fingerprint": record["fingerprint"],
        }
    )
    counts = zip(record["classes"], record["class_counts"], strict=True)
    yield "\n## Classes\n"
    yield from _table(("Class", "Images"), [(name, f"{count:,}") for name, count in counts])
    if record["notes"]:
        yield "\n## Notes\n"
        yield from _listed(record["notes"])
    yield "\n## What the audit found\n"
    yield from _listed(_audit(dataset))
    yield "\n## Shortcuts\n"
    yield from _listed(_shortcuts(dataset))
    yield "\n## What it can and cannot show\n"
    yield from _listed(_can_show(dataset))


def _audit(dataset: DatasetAssessment) -> list[str]:
    if dataset.audit is None:
        return ["It was not audited, or its audit could not be read."]
    findings = dataset.audit["findings"]
    return [f"{one['severity']}: {one['text']} {one['remedy']}" for one in findings] or [
        "Nothing was found."
    ]


def _shortcuts(dataset: DatasetAssessment) -> list[str]:
    if not dataset.sanity_comparisons:
        return ["No sanity row is finished, so nobody has looked for shortcuts."]
    said = [one.text for one in verdicts(dataset) if one.topic == "shortcut"] or [
        f"None was found: no sanity row lies above {format_score(SHORTCUT_BOUND)} with its whole "
        "interval, and the leader is ahead of each."
        if dataset.ahead_of_sanity
        else f"No sanity row lies above {format_score(SHORTCUT_BOUND)} with its whole interval; no "
        "model could be compared with them."
    ]
    return [*said, *_sanity(dataset)]


def _sanity(dataset: DatasetAssessment) -> list[str]:
    """The AUROC of each sanity row."""
    rows = [row for row in dataset.rows if row.fields.kind == "sanity"]
    return [f"{row.name}: AUROC {auroc_words(row.fields)}" for row in rows]


def _can_show(dataset: DatasetAssessment) -> list[str]:
    record = dataset.record
    said = [one.text for one in verdicts(dataset) if one.topic != "shortcut"]
    limit = dataset.comparison.smallest_visible if dataset.comparison is not None else None
    if limit is not None:
        said.append(
            f"Between its models, differences of AUROC from {format_score(limit)} on can be seen."
        )
    if record["synthetic"]:
        said.append(
            "Its images are synthetic: they show that a method works, and nothing about patients."
        )
    else:
        said.append(
            "Models are fitted and tested on the same collection: how they do on images of other "
            "hospitals, devices and patients is not shown."
        )
    if record["n_groups"] == record["n_images"]:
        said.append(
            "Each image is a group of its own: if patients gave several images without the data "
            "set saying so, its scores are too high."
        )
    return said


# --- models ------------------------------------------------------------------------------------


def model_card(assessment: Assessment, dataset: DatasetAssessment, row: Row, chosen: str) -> str:
    """The card of a model, in Markdown.

    Args:
        assessment: The run, assessed.
        dataset: The data set it was developed on.
        row: Its row.
        chosen: Why it is this one, in a sentence.
    """
    return _page(_model_card(assessment, dataset, row, chosen))


def _page(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


def _model_card(
    assessment: Assessment, dataset: DatasetAssessment, won: Row, chosen: str
) -> Iterator[str]:
    run, record = assessment.run, dataset.record
    cells = run.cells_of(dataset.name, won.name)
    yield f"# Model: {markdown_text(won.name)} on {markdown_text(record['title'])}\n"
    yield f"{markdown_text(chosen)}\n"
    yield "## What it is\n"
    yield from _entries(
        {
            "Model family": won.name,
            "Task": f"{record['task']}: {', '.join(record['classes'])}",
            "Positive class": _positive(record),
            "Image shape (height, width, channels)": record.get("image_shape"),
            "Tuner": _distinct(cells, "tuner"),
            "Keras backend": _distinct(cells, "backend"),
            "Device": _distinct(cells, "device"),
            "Size": format_megabytes(won.fields.size_mb),
            "Note": won.fields.note,
        }
    )
    yield f"\n## Intended use\n\n{_INTENDED_USE}\n"
    yield "## Training data\n"
    yield markdown_text(f"{dataset.name}: {describe_dataset(record)}")
    yield (
        f"See {RunLayout(run.folder).data_card(dataset.name).name}. Each fold was fitted on its "
        "development part only.\n"
    )
    yield "## Tuned configuration\n"
    yield f"{markdown_text(describe_settings(run.configuration))}\n"
    head = ("Fold", "Configuration", "Steps", "Inner AUROC", "Trials", "Threshold", "Temperature")
    yield from _table(head, [_configuration(cell) for cell in cells])
    yield from _scores(won)
    yield from _decisions(won, run.configuration)
    yield "\n## Beside it\n"
    yield from _listed(_sanity(dataset) or ["No sanity row was run."])
    others = [row for row in dataset.rows if row.fields.kind == "model" and row is not won]
    yield from _listed([f"{row_title(row)}: AUROC {auroc_words(row.fields)}" for row in others])
    yield "\n## Verdicts on this data set\n"
    yield from _listed([one.text for one in verdicts(dataset)])
    yield from _cost(won)
    yield "\n## Environment\n"
    yield from _listed(_environment(run.environment))
    yield "\n## Limits\n"
    yield from _listed(_limits(dataset, won))


def _distinct(cells: Sequence[CellResult], entry: str) -> str:
    found = dict.fromkeys(cell.record.get(entry) for cell in cells)
    return ", ".join(str(value) for value in found if value is not None)


def _configuration(cell: CellResult) -> tuple[str, ...]:
    """One fold's row: what was chosen for it."""
    record = cell.record
    params = record.get("params") or {}
    inner = record.get("inner_score")
    threshold = record.get("threshold")
    thresholds = threshold if isinstance(threshold, list) else [threshold]
    temperatures = Calibration.from_record(record.get("calibration")).temperatures
    return (
        cell.id.split,
        ", ".join(f"{name} = {value}" for name, value in params.items()) or "nothing to tune",
        _steps(record),
        format_score(math.nan if inner is None else inner),
        _trials(record),
        ", ".join("-" if one is None else format_score(one) for one in thresholds),
        ", ".join(f"{one:.3g}" for one in temperatures),
    )


def _steps(record: Mapping[str, Any]) -> str:
    """The steps of one fold, and whether the budget cut it."""
    step, most = record.get("step"), record.get("max_steps")
    words = "-" if step is None else str(step)
    if step is not None and most is not None:
        words += f" of {most} {record.get('step_name') or 'step'}s"
    return f"{words}, cut" if record.get("cut") else words


def _trials(record: Mapping[str, Any]) -> str:
    """The trials of one fold, and how many of them were complete where that is known."""
    tried, complete = record.get("n_trials") or 0, record.get("complete_trials")
    return str(tried) if complete in (None, tried) else f"{complete}/{tried}"


def _scores(won: Row) -> Iterator[str]:
    fields = won.fields
    yield "\n## Scores on the held-out parts\n"
    yield from _entries(
        {
            "AUROC (95% bootstrap interval over groups)": auroc_words(fields),
            "Spread over folds (standard deviation)": format_score(fields.auroc_fold_sd),
            "Inner AUROC, which chose the configuration": format_score(fields.inner_score),
            "Above the majority class": format_score(fields.above_majority),
            "Standing by held-out AUROC": standing_words(fields),
        }
    )
    yield from _entries(
        {
            METRICS[name].name: format_score(value)
            for name, value in won.scores.items()
            if name != "auroc"
        }
    )


def _decisions(won: Row, configuration: Mapping[str, Any]) -> Iterator[str]:
    yield "\n## Calibration\n"
    if won.not_calibrated:
        yield from _listed([f"Probabilities are {reason}." for reason in won.not_calibrated])
    else:
        yield "- One temperature for each fold (or label), fitted on inner predictions."
    changes = [
        f"{METRICS[name].name}: {format_score(won.uncalibrated[name])} before, "
        f"{format_score(won.scores[name])} after"
        for name in PROBABILITY_SCORES
        if name in won.uncalibrated
    ]
    yield from _listed(changes)
    yield "\n## Operating point\n"
    rule = configuration.get("operating_point", "not recorded")
    yield (
        f"Chosen on inner predictions by this rule and frozen before the held-out part was opened: "
        f"{markdown_text(str(rule))}. The thresholds stand in the table of configurations; a dash "
        "means that the most probable class is taken."
    )


def _cost(won: Row) -> Iterator[str]:
    fields, costs = won.fields, won.costs
    yield "\n## Cost\n"
    known = {
        "Seconds over all folds (tuning, fit, prediction)": format_seconds(fields.seconds),
        "Trials over all folds (complete/tried)": trials_words(fields),
        "CPU time a fold": format_seconds(costs.get("cpu_seconds", math.nan)),
        "Latency of one image": format_number(costs.get("latency_ms"), " ms"),
        "Images a second, in batches": format_number(costs.get("images_per_second")),
        "Peak memory": format_megabytes(costs.get("peak_memory_mb", math.nan)),
    }
    yield from _entries({name: value for name, value in known.items() if value != "-"})


def _environment(environment: Mapping[str, Any]) -> list[str]:
    """One line an entry; packages and the commit in words."""
    lines = []
    for name, value in environment.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {one}" for key, one in value.items())
        if value not in (None, ""):
            lines.append(f"{name.replace('_', ' ')}: {value}")
    return lines or ["Not recorded."]


def _limits(dataset: DatasetAssessment, won: Row) -> list[str]:
    said = [
        "Intervals are the sampling noise of this data set given the fitted models. They say "
        "nothing of other hospitals, devices, patients or times.",
        "The score is held out; but whoever looks at many held-out scores and then chooses makes "
        "them optimistic. This model was chosen without them.",
    ]
    if len(won.folds) > 1:
        said.append(
            f"The score is the mean of {len(won.folds)} fits, one a fold, each by its own "
            "configuration: it rates the procedure rather than one set of weights."
        )
    if won.cut is not None:
        said.append(cut_words([won]))
    if any(sanity.alarming for sanity in dataset.sanity_comparisons):
        said.append(
            "A sanity row gets at the labels without looking at what the images show, so this "
            "model may do so too."
        )
    if dataset.record["synthetic"]:
        said.append("It has only ever seen synthetic images.")
    return said
