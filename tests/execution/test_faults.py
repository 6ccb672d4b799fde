"""Trouble of the machine is no result: the cell waits, nothing is lost, and the run goes on."""

import errno
import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from medbench import opening
from medbench.cli import main
from medbench.errors import MachineError, ModelError, StoreError
from medbench.faults import is_fault, reason_of
from medbench.reports.assessment import assess
from medbench.store import RunStore

PLUGIN = Path(__file__).parents[1] / "plugins" / "troubled.py"
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def run(class_folders, tmp_path, monkeypatch):
    """Runs the troubled family, which meets what the file ``trouble`` says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TROUBLE", str(tmp_path / "trouble"))
    monkeypatch.setattr("medbench.running.carry_out.write_everything", lambda *given: None)
    data = str(class_folders(per_class=12))

    def start(out: str, *options: str, trouble: str = "") -> int:
        Path("trouble.seen").unlink(missing_ok=True)
        Path("trouble").unlink(missing_ok=True)
        if trouble:
            Path("trouble").write_text(trouble)
        arguments = ["run", "--data", data, "--plugin", str(PLUGIN), "--models", "troubled"]
        arguments += ["--no-sanity", "--trials", "4", "--folds", "2", "--out", out]
        return main([*arguments, *options])

    return start


@pytest.fixture(scope="module")
def _kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept") / "whole"


@pytest.fixture
def whole(run, _kept):
    """The folder of a run that met nothing; the images of every test here are the same."""
    if not _kept.exists():
        assert run(str(_kept), "--executor", "inline") == 0
    return str(_kept)


def trials(out: str) -> dict[str, bytes]:
    return {str(f.relative_to(out)): f.read_bytes() for f in Path(out).rglob("trials.jsonl")}


def without_seconds(lines: bytes) -> list[dict]:
    found = [json.loads(line) for line in lines.splitlines()]
    clock = (
        "seconds",
        "at_seconds",
        "fit_seconds",
        "cpu_at_seconds",
        "features_seconds",
        "sha256",
        "record_sha256",
    )
    return [{k: v for k, v in one.items() if k not in clock} for one in found]


def assert_same_results(out: str, whole: str) -> None:
    found, wanted = (RunStore(Path(name)).read().cells for name in (out, whole))
    assert [cell.id for cell in found] == [cell.id for cell in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one.status == other.status == "ok"
        pd.testing.assert_frame_equal(one.predictions, other.predictions)
        for name in ("params", "threshold", "calibration", "n_trials", "inner_score"):
            assert one.record[name] == other.record[name]
    for name, lines in trials(whole).items():
        assert without_seconds(trials(out)[name]) == without_seconds(lines)


# --- what is one --------------------------------------------------------------------------------


class _UnspeakableError(Exception):
    def __str__(self):
        raise ValueError


class ResourceExhaustedError(Exception):
    """As TensorFlow's is called, which is no OSError and no MemoryError."""


def raised(error, behind=None, *, said=True):
    try:
        try:
            if behind is not None:
                raise behind
        except BaseException as cause:
            if said:
                raise error from cause
            raise error  # noqa: B904
        raise error
    except BaseException as found:
        return found


@pytest.mark.parametrize(
    "error",
    [
        FULL,
        PermissionError(errno.EACCES, "Permission denied"),
        MemoryError(),
        MachineError("no room"),
        StoreError("cannot be written"),
        raised(ModelError("a feature is missing"), FULL),
        raised(KeyError("w"), FULL, said=False),
        raised(ValueError("a"), raised(KeyError("b"), MemoryError())),
        ExceptionGroup("several", [ValueError("a"), FULL]),
        ResourceExhaustedError("OOM when allocating tensor with shape[9]"),
        ValueError("[12:00:00] src/io.cc:1: Check failed: No space left on device"),
        ValueError("std::bad_alloc"),
        RuntimeError("Can't decrement id ref count (file write failed: errno = 28, error message "
                     "= 'No space left on device')"),
        RuntimeError("[ONNXRuntimeError] : 1 : FAIL : Failed to allocate memory for requested "
                     "buffer of size 400"),
        RuntimeError("can't start new thread"),
        RuntimeError("(sqlite3.OperationalError) database or disk is full"),
    ],
)  # fmt: skip
def test_no_disk_and_no_memory_are_trouble_of_the_machine_however_they_are_wrapped(error):
    assert is_fault(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("the classes are wrong"),
        ModelError("predict_proba returned values that are not finite."),
        KeyError("memory"),
        raised(ValueError("a"), KeyError("b")),
        RecursionError("maximum recursion depth exceeded"),
        _UnspeakableError(),
    ],
)
def test_a_familys_own_error_is_none(error):
    assert not is_fault(error)


def test_what_was_caught_and_put_away_does_not_count():
    try:
        try:
            raise FULL
        except OSError:
            raise ValueError("another matter") from None
    except ValueError as error:
        assert not is_fault(error)


def test_a_circle_of_causes_ends():
    one, other = ValueError("a"), ValueError("b")
    one.__cause__, other.__cause__ = other, one
    assert not is_fault(one)


def test_a_reason_is_cut_and_needs_no_words():
    assert reason_of(ValueError("x" * 10_000)).startswith("ValueError: xxx")
    assert len(reason_of(ValueError("x" * 10_000))) < 2100
    assert reason_of(MemoryError()) == "MemoryError"
    assert reason_of(ModelError("as it is")) == "as it is"
    of_a_folder = shutil.Error([("from/a", "to/a", str(FULL)), ("from/b", "to/b", str(FULL))])
    assert reason_of(of_a_folder) == "Error: [Errno 28] No space left on device"
    assert "_UnspeakableError" in reason_of(_UnspeakableError())


# --- a cell that meets it -----------------------------------------------------------------------

EVERYWHERE = [
    ("trial 0", "full"), ("trial 2", "full"), ("trial 2", "memory"), ("trial 2", "wrapped"),
    ("trial 2", "in passing"), ("trial 2", "store"), ("refit", "text"), ("save", "full"),
    ("load", "xgboost"), ("predict", "memory"),
]  # fmt: skip


@pytest.mark.parametrize(("moment", "kind"), EVERYWHERE)
def test_a_cell_that_meets_it_goes_on_as_if_nothing_had_been(run, whole, capsys, moment, kind):
    assert run("out", trouble=f"{moment}: {kind}") == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "left unfinished by trouble of the machine" in said
    assert "give the same command again" in said
    before, left = trials("out"), sorted(Path("out").rglob("unfinished.json"))
    assert len(left) == 2 and not list(Path("out").rglob("cell.json"))
    record = json.loads(left[0].read_text())
    assert record["times"] == 1 and record["reason"] and record["ended"]
    for lines in before.values():  # nothing of the trial that met it
        assert all(one["state"] != "failed" for one in without_seconds(lines))
    assert run("out") == 0
    assert "left unfinished by trouble of the machine" in capsys.readouterr().out
    for name, lines in before.items():
        assert trials("out")[name].startswith(lines)  # nothing that was finished is repeated
    assert_same_results("out", whole)
    assert not list(Path("out").rglob("unfinished.json"))


@pytest.mark.processes
@pytest.mark.parametrize(
    ("moment", "kind"),
    [("trial 1", "full"), pytest.param("predict", "wrapped", marks=pytest.mark.slow)],
)
def test_so_does_one_with_a_process_of_its_own(run, whole, moment, kind):
    assert run("out", trouble=f"{moment}: {kind}") == 1
    run_of = RunStore(Path("out")).read()
    assert [cell.status for cell in run_of.cells] == ["unfinished"] * 2
    assert run("out") == 0
    assert_same_results("out", whole)


def test_it_is_counted_how_often_a_cell_was_ended(run):
    for times in (1, 2, 3):
        assert run("out", trouble="trial 1: full") == 1
        record = json.loads(next(Path("out").rglob("unfinished.json")).read_text())
        assert record["times"] == times


def test_a_failed_cell_that_is_tried_again_and_meets_trouble_is_no_longer_failed(run):
    assert run("out", trouble="refit: own") == 1
    assert [cell.status for cell in RunStore(Path("out")).read().cells] == ["failed"] * 2
    assert run("out", "--retry", "failed", trouble="refit: full") == 1
    assert [cell.status for cell in RunStore(Path("out")).read().cells] == ["unfinished"] * 2
    assert run("out") == 0  # without --retry


# --- a family's own errors ----------------------------------------------------------------------


def test_failed_trials_are_counted_in_the_row_of_a_cell_that_is_ok(run):
    assert run("out", trouble="trial 1: own") == 0
    result = RunStore(Path("out")).read()
    for cell in result.cells:
        found = cell.record["failed_trials"]
        assert found == {"n": 1, "of": 4, "reason": "ValueError: own error"}
    (row,) = assess(result).datasets[0].rows
    assert "2 of 8 trials failed: ValueError: own error" in row.fields.note


def test_a_search_in_which_every_trial_failed_is_a_failed_row(run):
    assert run("out", trouble="any trial: own") == 1
    for cell in RunStore(Path("out")).read().cells:
        assert cell.status == "failed"
        assert cell.reason == "no trial was completed: ValueError: own error"
    (row,) = assess(RunStore(Path("out")).read()).datasets[0].rows
    assert row.fields.note.endswith("; no trial was completed: ValueError: own error")
    assert "trials failed" not in row.fields.note  # the same again


# --- a run that meets nothing else --------------------------------------------------------------


def test_a_run_stops_where_the_machine_ends_one_cell_after_the_other(run, capsys):
    assert run("out", "--folds", "6", trouble="trial 0: full") == 1
    said = " ".join(capsys.readouterr().out.split())
    assert said.count(": unfinished: OSError: [Errno 28] No space left on device") == 3
    assert "Stopped: trouble of the machine ended 3 cells in a row" in said
    assert "3 cells were left unfinished by trouble of the machine, not of a model" in said
    assert len(list(Path("out").rglob("unfinished.json"))) == 3
    assert run("out", "--folds", "6") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "3 cells were left unfinished by trouble of the machine, not of a model" in said
    assert "they go on from their finished trials" in said
    assert {cell.status for cell in RunStore(Path("out")).read().cells} == {"ok"}


def test_a_dry_run_says_what_would_be_gone_on_with(run, capsys):
    assert run("out", trouble="refit: full") == 1
    capsys.readouterr()
    assert run("out", "--dry-run") == 0
    assert "2 cells were left unfinished" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("part", ["DevelopmentPart", "HeldOutPart"])
@pytest.mark.parametrize("executor", ["inline", pytest.param("local", marks=pytest.mark.processes)])
def test_a_cell_for_whose_images_there_is_no_room_waits_as_well(
    run, whole, monkeypatch, part, executor
):
    def full(self, folder):
        folder.mkdir(parents=True)
        (folder / "images.npy").write_bytes(b"half")
        raise FULL

    with monkeypatch.context() as patch:
        patch.setattr(f"medbench.execution.parts.{part}.write", full)
        assert run("out", "--executor", executor) == 1
    reasons = {cell.status: cell.reason for cell in RunStore(Path("out")).read().cells}
    assert reasons == {"unfinished": "OSError: [Errno 28] No space left on device"}
    assert not list(Path(os.environ["MEDBENCH_CACHE"]).glob("work/**/images.npy"))
    assert run("out", "--executor", executor) == 0
    assert_same_results("out", whole)


def test_a_run_folder_that_cannot_be_written_ends_the_run_with_what_is_the_matter(
    run, whole, capsys, monkeypatch
):

    def full(*given):
        raise StoreError("out/cells/...: cannot be written (No space left on device).")

    with monkeypatch.context() as patch:
        patch.setattr("medbench.store.cell_store.write_parquet", full)
        assert run("out") == 2
    told = capsys.readouterr()
    assert "cannot be written (No space left on device)" in told.err and "Trace" not in told.err
    before = trials("out")
    assert before
    assert run("out") == 0
    assert all(trials("out")[name].startswith(lines) for name, lines in before.items())
    assert_same_results("out", whole)


def test_no_memory_left_to_the_run_itself_is_a_line_and_no_traceback(run, capsys, monkeypatch):
    def none_left(*given):
        raise MemoryError("Unable to allocate 9 TiB")

    with monkeypatch.context() as patch:
        patch.setattr("medbench.reports.stored.assess", none_left)
        assert run("out") == 2
    assert "MemoryError: Unable to allocate 9 TiB. What is finished is kept" in (
        capsys.readouterr().err
    )
    assert run("out") == 0


def test_where_not_even_the_end_of_a_cell_can_be_noted_both_are_said(
    run, whole, capsys, monkeypatch
):
    def full(self, record):
        raise StoreError(f"{self.folder}/unfinished.json: cannot be written (No space left).")

    with monkeypatch.context() as patch:
        patch.setattr("medbench.store.CellStore.leave_unfinished", full)
        assert run("out", trouble="refit: memory") == 2
    told = capsys.readouterr()
    assert "r0f0: unfinished: MemoryError: Unable to allocate 9 TiB" in told.out
    assert "unfinished.json: cannot be written" in told.err and "Trace" not in told.err
    assert run("out") == 0
    assert_same_results("out", whole)


# --- damage to what is gone on from -------------------------------------------------------------


def _half_a_line(cell):
    path = cell / "trials.jsonl"
    path.write_bytes(path.read_bytes()[:-20])


def _a_broken_line(cell):
    path = cell / "trials.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"number"', b'"numb', 1))


def _cut(cell):
    for path in (cell / "oof").iterdir():
        path.write_bytes(path.read_bytes()[:-8])


def _gone(cell):
    for path in (cell / "oof").iterdir():
        path.unlink()


@pytest.mark.parametrize("damage", [_half_a_line, _a_broken_line, _cut, _gone])
def test_what_is_damaged_is_made_again_and_changes_nothing(run, whole, capsys, damage):
    assert run("out", trouble="refit: full") == 1
    for path in Path("out").rglob("trials.jsonl"):
        damage(path.parent)
    capsys.readouterr()
    assert run("out") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert ("run again, because its record is damaged" in said) == (damage is not _half_a_line)
    assert_same_results("out", whole)


@pytest.mark.parametrize("name", ["cell.json", "predictions.parquet", "trials.jsonl"])
def test_what_cannot_be_read_for_now_is_not_made_again(run, whole, capsys, monkeypatch, name):
    shutil.copytree(whole, "out")
    cells = Path("out/cells")
    before = {path: path.stat().st_mtime_ns for path in cells.rglob("*") if path.is_file()}

    def refused(path, flags):
        if str(path).endswith(f"/{name}"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, flags)

    opened = opening._open
    with monkeypatch.context() as patch:
        patch.setattr(opening, "_open", refused)
        assert run("out") == 2
    said = capsys.readouterr().err
    assert f"{name}: cannot be read (Permission denied)" in said and "same command again" in said
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())


# --- a family whose own code fails before any fit -----------------------------------------------

BEFORE_ANY_FIT = """
import sys
from medbench import Classifier, ModelFamily, register_model

class Good(ModelFamily):
    def search_space(self, space, task):
        space.real("rate", 0.1, 1.0)

    def build(self, params, task, context):
        raise ValueError("was built")

@register_model("raising-space")
class A(Good):
    def search_space(self, space, task):
        raise RuntimeError("no space for you")

@register_model("leaving-space")
class B(Good):
    def search_space(self, space, task):
        sys.exit(0)

@register_model("absurd-space")
class C(Good):
    def search_space(self, space, task):
        space.choice("kernel", [])

@register_model("absurd-option")
class D(Good):
    def search_space(self, space, task):
        space.choice("kernel", [object()])

@register_model("raising-skip")
class E(Good):
    def skip(self, task):
        raise KeyError("task")

@register_model("absurd-skip")
class F(Good):
    def skip(self, task):
        return True

@register_model("raising-constructor")
class G(Good):
    def __init__(self):
        raise ValueError("not today")

@register_model("unknown-tuner")
class I(Good):
    default_tuner = "nobody"

@register_model("unknown-weights")
class J(Good):
    weights = "nobody"

@register_model("absurd-requires")
class L(Good):
    requires = None
    sanity = "of course"

@register_model("full-disk")
class K(Good):
    def search_space(self, space, task):
        raise OSError(28, "No space left on device")
"""
REASONS = {
    "raising-space": "search_space of the family: RuntimeError: no space for you",
    "leaving-space": "search_space of the family: SystemExit: 0",
    "absurd-space": "parameter 'kernel': there are no options",
    "absurd-option": "is no text, number or truth value",
    "raising-skip": "skip of the family: KeyError: 'task'",
    "absurd-skip": "it returned True, which is neither a reason nor None",
    "absurd-requires": "skip of the family: TypeError: 'NoneType' object is not iterable",
    "raising-constructor": "the constructor of the family: ValueError: not today",
    "unknown-tuner": "'nobody' is not a tuner",
    "unknown-weights": "'nobody' is not a backbone",
}


def test_a_family_whose_own_code_fails_before_any_fit_is_a_row_and_the_others_go_on(
    class_folders, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("before.py").write_text(BEFORE_ANY_FIT)
    arguments = ["run", "--data", str(class_folders(per_class=12)), "--plugin", "before.py"]
    arguments += ["--models", "majority", *REASONS, "full-disk", "--no-sanity", "--folds", "2"]
    arguments += ["--trials", "2", "--out", "out"]
    assert main([*arguments, "--dry-run"]) == 0
    assert "failed: search_space of the family" in " ".join(capsys.readouterr().out.split())
    assert main(arguments) == 1
    result = RunStore(Path("out")).read()
    rows = {row.name: row.fields for row in assess(result).datasets[0].rows}
    assert rows["majority"].status == "ok"
    for name, reason in REASONS.items():
        assert rows[name].status == "failed" and reason in rows[name].note
    assert rows["full-disk"].status == "unfinished"
    assert "No space left on device" in rows["full-disk"].note
    for name in ("leaderboard.csv", "leaderboard.md", "leaderboard.tex", "report.html"):
        assert "unfinished" in (Path("out") / name).read_text()
    before = {path: path.read_bytes() for path in Path("out").rglob("cell.json")}
    capsys.readouterr()
    assert main(arguments) == 1  # failed ones are kept, as others that failed
    assert "20 failed cells are kept" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in Path("out").rglob("cell.json")} == before
