"""One bit of a stored file is another: it is named, or no number that is shown changes."""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from disturbed_runs import Toll, different, endured, flip
from PIL import Image

from medbench.cli import main
from medbench.store import RunStore

CATEGORIES = {
    "predictions": "cells/*/*/*/predictions.parquet",
    "records": "cells/*/*/*/cell.json",
    "keys": "cells/*/*/*/key.json",
    "trials": "cells/*/*/*/trials.jsonl",
    "models": "cells/*/*/*/model/**/*",
    "data sets": "datasets/*/*",
    "assessment": "assessment.json",
}
SHOWN = ("leaderboard.csv", "leaderboard.json", "scores.csv", "classes.csv", "leaderboard.md")
"""Files with the numbers that ``report`` shows."""


def rounds(slow: int) -> list:
    """Seeds of rounds of flips: one in CI, so many that are slow."""
    return [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, slow + 1))]


def flips(seed: int) -> int:
    """How many there are in a round."""
    return 20 if seed else 3


def files(folder: Path, category: str) -> list[Path]:
    """The files of a category that a bit can be flipped in."""
    return sorted(
        path for path in folder.glob(CATEGORIES[category]) if path.is_file() and path.stat().st_size
    )


def names(said: str, path: Path, run: Path) -> bool:
    """Whether something is said of a file, or of the cell or data set that it belongs to."""
    parts = path.relative_to(run).parts
    said = " ".join(said.split())
    return path.name in said or "/".join(parts[:4]) in said or " x ".join(parts[1:4]) in said


@contextlib.contextmanager
def no_traceback(toll: Toll, what: str) -> Iterator[None]:
    try:
        yield
    except (Exception, SystemExit) as error:
        toll.tracebacks.append(f"{what}: {type(error).__name__}: {error}")


def shown(run: Path) -> dict[str, bytes]:
    """The numbers that ``report`` has written."""
    return {name: (run / name).read_bytes() for name in SHOWN}


def report(run: Path) -> list[str]:
    return ["report", str(run), "--format", "csv", "json", "md"]


@pytest.fixture(scope="module")
def wanted(suite, tmp_path_factory) -> dict[str, bytes]:
    """What is shown of the run as it is."""
    run = Path(shutil.copytree(suite.folders.out, tmp_path_factory.mktemp("wanted") / "r"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        assert main(report(run)) == 0
    return shown(run)


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("seed", rounds(30))
def test_report_names_it_or_shows_the_same(suite, wanted, tmp_path, capfd, paid, category, seed):
    draw, toll, run = (
        random.Random(seed),
        Toll(f"flipped bit in {category}, report"),
        tmp_path / "r",
    )
    for n in range(flips(seed)):
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(suite.folders.out, run)
        victim = draw.choice(files(run, category))
        flip(victim, draw)
        capfd.readouterr()
        with no_traceback(toll, f"{victim.relative_to(run)} ({n})"):
            status = main(report(run))
            said = "".join(capfd.readouterr())
            if (status or shown(run) != wanted) and not names(said, victim, run):
                toll.silent.append(f"{victim.relative_to(run)} ({n}), status {status}: {said}")
    paid(toll, moments=flips(seed))


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    """An image to predict."""
    path = tmp_path_factory.mktemp("picture") / "new.png"
    pixels = random.Random(0).randbytes(32 * 32)
    Image.frombytes("L", (32, 32), pixels).save(path)
    return path


@pytest.mark.parametrize("category", ["models", "records", "data sets"])
@pytest.mark.parametrize("seed", rounds(5))
def test_predict_names_it_or_says_the_same(suite, tmp_path, capfd, paid, picture, category, seed):
    draw, toll, run = (
        random.Random(seed),
        Toll(f"flipped bit in {category}, predict"),
        tmp_path / "r",
    )
    for n in range(flips(seed)):
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(suite.folders.out, run)
        victim = draw.choice(files(run, category))
        model = victim.relative_to(run).parts[2]
        command = ["predict", str(picture), "--run", str(run), "--format", "json"]
        command += ["--dataset", victim.relative_to(run).parts[1]]
        command += ["--models", model] if category != "data sets" else []
        answers = []
        for damaged in (False, True):
            if damaged:
                flip(victim, draw)
            capfd.readouterr()
            with no_traceback(toll, f"{victim.relative_to(run)} ({n})"):
                status = main(command)
                out, errors = capfd.readouterr()
                answers.append((status, out))
        if len(answers) == 2 and answers[0] != answers[1] and not names(out + errors, victim, run):
            toll.silent.append(f"{victim.relative_to(run)} ({n}), status {status}: {errors}")
    paid(toll, moments=flips(seed))


@pytest.mark.parametrize("seed", rounds(25))
def test_the_same_run_again_makes_up_for_it(suite, folders, paid, seed):
    """A bit in a file of every category, each of another cell: all is as it was."""
    draw = random.Random(seed)
    shutil.copytree(suite.folders.out, folders.out)
    shutil.copytree(suite.folders.cache, folders.cache, dirs_exist_ok=True)
    taken = set()
    for category in ("predictions", "records", "keys", "trials"):
        free = [path for path in files(folders.out, category) if path.parent not in taken]
        victim = draw.choice(free)
        taken.add(victim.parent)
        flip(victim, draw)
    toll = Toll("flipped bit in cells, run again")
    process = suite.start(folders)
    status = process.wait()
    said = suite.said(folders).read_text()
    assert "Traceback" not in said
    different(suite.whole, RunStore(folders.out).read(), toll)
    assert status == 0 or toll.lost
    paid(toll, moments=4)


@pytest.mark.parametrize("seed", rounds(25))
def test_a_damaged_cache_changes_nothing(suite, folders, paid, seed):
    """A bit in every file of the cache, or every file cut somewhere."""
    draw = random.Random(seed)
    shutil.copytree(suite.folders.cache, folders.cache, dirs_exist_ok=True)
    victims = [p for p in sorted(folders.cache.rglob("*")) if p.is_file() and p.stat().st_size]
    for victim in victims:
        if seed % 2:
            with victim.open("r+b") as file:
                file.truncate(draw.randrange(victim.stat().st_size))
        else:
            flip(victim, draw)
    kind = "cache cut short" if seed % 2 else "flipped bits in the cache"
    paid(endured(suite, folders, kind), moments=len(victims))
