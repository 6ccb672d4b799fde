"""By default one transfer family runs: the one whose weights can be had, and a run keeps it."""

from pathlib import Path

import numpy as np
import pytest

from medbench.cli import main
from medbench.datasets.catalog import load_catalog
from medbench.execution.plan import Settings, Setup, plan_cells, plan_datasets
from medbench.execution.requirements import why_unusable
from medbench.models import weights
from medbench.running.options import STAND_INS, RunOptions
from medbench.running.wanted import wanted_of
from medbench.store import RunStore
from medbench.tuning.budget import Budget

((FIRST, OTHER),) = STAND_INS.items()
pytestmark = pytest.mark.skipif(bool(why_unusable(FIRST)), reason="no deep families here")


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDBENCH_WEIGHTS", str(tmp_path / "weights"))
    (tmp_path / "weights").mkdir()

    def refuse(url, path):
        raise weights.DownloadError("unreachable")

    monkeypatch.setattr(weights, "download", refuse)


def put_other():
    np.savez("weights/efficientnet_lite0.npz", numbers=np.zeros(3))  # a plan does not load it


def put_first():
    Path("weights/inception_v3_notop.h5").write_bytes(b"\x89HDF\r\n\x1a\n")


@pytest.fixture
def plan(class_folders, tmp_path):
    """Plans the cells of a small folder with one transfer family that nobody has named."""
    catalog = load_catalog(folder=class_folders(per_class=12))
    setup = Setup(cache=tmp_path / "cache", threads=1)
    settings = Settings(budget=Budget(trials=2, seconds=None), folds=2)
    datasets = plan_datasets(["set"], catalog, settings, setup)

    def make(*begun, models=("majority", FIRST), stand_ins=STAND_INS):
        said = []
        cells = plan_cells(
            datasets, models, settings, setup, said.append, stand_ins=stand_ins, begun=begun
        )
        return {cell.id.model: cell for cell in cells}, said

    return make


def test_the_other_one_runs_where_the_weights_of_the_first_cannot_be_had(plan):
    put_other()
    cells, said = plan()
    assert list(cells) == ["majority", OTHER]
    note = cells[OTHER].model.weights.note
    assert note.endswith(f"; in place of {FIRST}, whose weights could not be had")
    assert [line for line in said if f"So {OTHER} runs in its place" in line]


def test_the_first_one_runs_where_its_weights_are_there_or_neither_has_any(plan, monkeypatch):
    monkeypatch.setattr(weights, "write_npz", no_package)
    cells, said = plan()
    assert list(cells) == ["majority", FIRST]
    assert cells[FIRST].model.weights.note == "no pretrained weights"
    assert f"Nor could those of {OTHER}, which would run in its place" in said[-1]
    put_first()
    put_other()
    assert list(plan()[0]) == ["majority", FIRST]


def no_package(package, path):
    raise weights.PackageError("the package is not installed")


def test_a_family_that_was_named_stays(plan):
    put_other()
    assert list(plan(stand_ins={})[0]) == ["majority", FIRST]
    assert wanted_of(RunOptions.of({})).stand_ins == STAND_INS
    assert wanted_of(RunOptions.of({"datasets": "phantoms-mr"})).stand_ins == STAND_INS
    assert wanted_of(RunOptions.of({"models": FIRST})).stand_ins == {}
    assert wanted_of(RunOptions.of({"inflation": FIRST})).stand_ins == {}
    Path("mine.yaml").write_text(f"datasets: [phantoms-mr]\nmodels: [{FIRST}]\n")
    assert wanted_of(RunOptions.of({"suite": "mine.yaml"})).stand_ins == {}


def test_a_run_goes_on_with_what_it_was_begun_with_whatever_can_be_had_now(plan):
    put_other()
    before = plan()[0][OTHER]
    put_first()
    cells, said = plan("majority", OTHER)
    assert list(cells) == ["majority", OTHER]
    assert cells[OTHER].key == before.key
    assert cells[OTHER].model.weights == before.model.weights
    assert f"{OTHER} goes on in place of {FIRST}, as this run was begun." in said
    Path("weights/inception_v3_notop.h5").unlink()
    assert list(plan("majority", FIRST)[0]) == ["majority", FIRST]


def test_a_dry_run_says_what_a_run_would_fetch_and_what_it_was_begun_with(class_folders, capsys):
    put_other()
    run = ["run", "--data", str(class_folders(per_class=12)), "--folds", "2", "--trials", "1"]
    run += ["--no-sanity", "--out", "out"]

    def shown():
        assert main([*run, "--dry-run"]) == 0
        return " ".join(capsys.readouterr().out.split())

    assert (
        f"{FIRST}: pretrained weights not here (88 MB to fetch); if that fails, {OTHER} runs in "
        "its place"
    ) in shown()
    assert main([*run, "--models", "majority"]) == 0
    assert RunStore(Path("out")).begun_models() == {"majority"}
    Path("out/cells/set/majority").rename(f"out/cells/set/{OTHER}")
    assert f"{OTHER} goes on in place of {FIRST}" in shown()
