"""The command of each reference leaderboard, without where its images and weights are."""

from __future__ import annotations

from dataclasses import dataclass

_TUNED = "--models hog-svm xgboost mobilenet inceptionv3 cnn --trials 20 --time 60s"
_SHARED = "--threads 1 --jobs 2"


@dataclass(frozen=True)
class Command:
    """What follows ``python -m medbench run``."""

    arguments: str
    untuned: bool = False
    """Whether default configurations only were run, for the table of its own."""
    bare: bool = False
    """Whether it is run as it stands, without the folders of images and weights."""


def _tuned(more: str = "") -> Command:
    return Command(f"{_TUNED} {_SHARED} {more}")


COMMANDS = {
    "demo": Command("", bare=True),
    "brain-mri": _tuned("--inflation hog-svm"),
    "covid-cxr": _tuned(),
    "covid-or-healthy": _tuned(),
    "covid-or-pneumonia": _tuned("--inflation hog-svm"),
    "nih-pneumonia": _tuned(),
    "medical-mnist": _tuned(),
    "pneumoniamnist-reassembled": _tuned(),
    "brain-mri-untuned": Command(
        f"--datasets brain-mri --models hog-svm xgboost --trials 1 --seeds 3 {_SHARED} "
        "--inflation hog-svm xgboost file-properties border",
        untuned=True,
    ),
}
"""By the name of the folder in ``results/reference``, which is the data set's where none is in
the command."""


def arguments_of(name: str) -> list[str]:
    """The arguments of ``medbench run`` for one of ``COMMANDS``."""
    given = COMMANDS[name].arguments.split()
    if not given or "--datasets" in given:
        return given
    return ["--datasets", name, *given]
