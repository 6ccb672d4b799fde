"""The speed benchmarks run, compare like with like, and say what they found; no timed assertion."""

from __future__ import annotations

import importlib
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPEED = ROOT / "benchmarks" / "speed"


@pytest.fixture
def speed(monkeypatch):
    """Imports a module of the benchmarks, for this test only."""
    monkeypatch.syspath_prepend(SPEED)
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == SPEED:
            del sys.modules[name]


@pytest.fixture
def measured(tmp_path):
    """Runs some benchmarks in their quick size and gives the JSON, by name of the record."""

    def run(*names: str) -> dict[str, dict]:
        file = tmp_path / "figures.json"
        command = [sys.executable, str(SPEED), "--quick", "--json", str(file), "--only", *names]
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        ended = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert ended.returncode == 0, ended.stderr
        content = json.loads(file.read_text())
        assert content["failed"] == {}
        assert content["machine"]["cores"] == os.cpu_count()
        assert len(content["machine"]["load_at_start"]) == 3
        for record in content["records"]:
            _check(record)
            assert record["name"].split()[0] in ended.stdout
        return {record["name"]: record for record in content["records"]}

    return run


def _check(record: dict) -> None:
    """What every record holds."""
    assert len(record["ours"]) == len(record["other"]) >= 1
    assert min(record["ours"] + record["other"]) > 0
    ours, other = statistics.median(record["ours"]), statistics.median(record["other"])
    below = record["sense"] == "at most"
    assert record["ratio"] == pytest.approx(ours / other if below else other / ours)
    assert record["met"] == (
        record["ratio"] <= record["wanted"] if below else record["ratio"] >= record["wanted"]
    )
    assert record["noise"] >= 1


def test_the_start_is_measured(measured):
    assert set(measured("help")) == {"help", "import"}


@pytest.mark.slow
def test_the_two_cores_are_measured(measured):
    records = measured("two-cores")
    assert set(records) == {"decoding", "features"}
    assert records["decoding"]["details"]["images"] == 12
    assert len(records["features"]["details"]["ratio by feature"]) == 8


@pytest.mark.slow
def test_every_planted_copy_is_found_and_the_bootstrap_is_held_against_single_draws(measured):
    records = measured("near-duplicates", "bootstrap")
    details = records["near-duplicates"]["details"]
    assert details["pairs found"] == details["copies made"] == 20
    assert set(records) == {"near-duplicates", "bootstrap"}


@pytest.mark.slow
def test_the_page_of_a_synthetic_run_is_made_twice(measured):
    details = measured("report")["report"]["details"]
    assert details["page, MB"] > 0.05 and details["peak memory, MB"] > 50


@pytest.mark.slow
def test_scikit_learn_without_a_cache_scores_every_fold_as_the_search_does(measured):
    details = measured("hog-svm")["hog-svm"]["details"]
    assert details["folds"] >= 3
    assert details["unexplained"] == 0


@pytest.mark.slow
def test_the_bare_loop_gives_the_scores_of_the_cell(measured):
    details = measured("overhead")["overhead"]["details"]
    assert details["equal AUROC"] is True
    assert details["fits"] >= 3


@pytest.mark.slow
def test_heads_score_the_same_with_and_without_cached_embeddings(measured):
    assert measured("head-search")["head-search"]["details"]["equal AUROC"] is True


@pytest.mark.slow
def test_engines_agree_and_the_default_is_compared_with_the_best_of_the_others(measured):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    for record in measured("engines").values():
        speeds = record["details"]["images/s"]
        assert len(speeds) >= 2
        ours = record["ours_is"].removesuffix(" (the default)")
        other = record["other_is"].removesuffix(" (best of the others)")
        assert speeds[other] == max(value for name, value in speeds.items() if name != ours)
        assert record["details"]["largest difference of rows"] <= 1e-3


@pytest.mark.slow
def test_two_workers_run_the_same_plan_as_one(measured):
    assert measured("workers")["workers"]["details"]["cells"] == 2


@pytest.mark.slow
def test_an_earlier_commit_is_run_beside_this_one(measured):
    if subprocess.run(
        ["git", "-C", str(ROOT), "cat-file", "-e", "54e0e62"], check=False
    ).returncode:
        pytest.skip("a clone without history")
    records = measured("cells", "demo", "memory", "tests")
    auroc = records["demo"]["details"]["auroc"]
    assert auroc["ours"]["majority"] == auroc["other"]["majority"] == 0.5
    assert auroc["ours"].keys() == auroc["other"].keys()


@pytest.mark.slow
def test_an_earlier_commit_starts_a_second_time_on_the_same_images(measured):
    if subprocess.run(
        ["git", "-C", str(ROOT), "cat-file", "-e", "54e0e62"], check=False
    ).returncode:
        pytest.skip("a clone without history")
    (record,) = measured("unreadable").values()
    assert record["other_is"] == "the same of 54e0e62"
    assert record["ours_is"] == "a second start on 24 films and one that cannot be read"


@pytest.mark.slow
def test_an_earlier_commit_reads_the_same_data_sets(measured):
    if subprocess.run(
        ["git", "-C", str(ROOT), "cat-file", "-e", "8b69470"], check=False
    ).returncode:
        pytest.skip("a clone without history")
    records = measured("names", "reading")
    assert set(records) == {"names folder", "names table", "reading"}
    assert all(record["other_is"] == "the same of 8b69470" for record in records.values())
    assert records["reading"]["ours_is"].startswith("decoding 16 ")


@pytest.mark.slow
def test_what_surviving_costs_is_measured_against_the_commit_before(measured):
    if subprocess.run(
        ["git", "-C", str(ROOT), "cat-file", "-e", "22ac0f1"], check=False
    ).returncode:
        pytest.skip("a clone without history")
    record = measured("survive")["survive"]
    assert record["other_is"] == "the same of 22ac0f1" and record["unit"] == "CPU s"
    assert record["details"]["ratio of each pair"] == pytest.approx([record["ratio"]])


@pytest.mark.slow
def test_drawing_is_measured_against_the_commit_before(measured):
    if subprocess.run(
        ["git", "-C", str(ROOT), "cat-file", "-e", "e553f4c"], check=False
    ).returncode:
        pytest.skip("a clone without history")
    records = measured("drawing")
    assert {name: one["unit"] for name, one in records.items()} == {
        "drawing": "s",
        "drawing, CPU": "CPU s",
    }
    assert all(one["other_is"] == "the same of e553f4c" for one in records.values())


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux")
def test_the_cpu_time_of_a_process_that_outlives_its_parent_counts(speed):
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    orphan = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {busy!r}])"
    survive = speed("survive")
    with survive._orphans_adopted():
        assert survive._of_all_processes(["-c", orphan], dict(os.environ)) >= 0.3


def test_a_ratio_is_that_of_the_medians_in_the_sense_of_what_is_wanted(speed):
    harness = speed("harness")
    costs = {"ours": (1.0, 2.0, 9.0), "other": (8.0, 4.0, 4.0)}
    words = {"name": "n", "ours_is": "a", "other_is": "b", "unit": "s", **costs}
    below = harness.Record(wanted=0.5, sense="at most", **words)
    above = harness.Record(wanted=2.5, sense="at least", **words)
    assert (below.ratio, below.met) == (0.5, True)
    assert (above.ratio, above.met) == (2.0, False)
    assert below.noise == 9.0


def test_the_sides_are_taken_in_turns(speed):
    taken = []

    def side(name):
        def cost():
            taken.append(name)
            return float(len(taken))

        return cost

    costs = speed("harness").in_turns(side("a"), side("b"), 3)
    assert taken == list("ababab")
    assert costs == {"ours": (1.0, 3.0, 5.0), "other": (2.0, 4.0, 6.0)}


def test_the_cost_of_a_child_includes_what_it_starts(speed):
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    starter = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])"
    cost, _ = speed("harness").child(("-c", starter), os.environ)
    assert cost.cpu >= 0.3


def test_a_side_that_fails_is_an_error_with_its_last_words(speed):
    harness = speed("harness")
    with pytest.raises(harness.BenchmarkError, match=r"status 1:\s+no such luck"):
        harness.child(("-c", "raise SystemExit('no such luck')"), os.environ)


@pytest.mark.slow
def test_predictions_are_timed_beside_the_bare_libraries(measured):
    found = measured("prediction")
    for family in ("hog-svm", "xgboost", "cnn", "mobilenet"):
        assert {f"predict {family}", f"predict one {family}", f"cold start {family}"} <= set(found)


def test_a_benchmark_that_failed_is_a_row(speed):
    assert speed("table").rows([], {"help": "no such luck"})[0][:2] == ("help", "failed")


def test_only_what_is_between_the_markers_of_a_page_is_replaced(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(SPEED.parent))
    markers = importlib.import_module("markers")
    page = tmp_path / "page.md"
    begin, end = "<!-- speed table begins -->", "<!-- speed table ends -->"
    page.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    for _ in range(2):
        markers.write_between_markers(page, "speed", "new")
        assert page.read_text() == f"before\n{begin}\nnew\n{end}\nafter\n"
    with pytest.raises(markers.MarkerError, match="has no lines <!-- coverage"):
        markers.write_between_markers(page, "coverage", "new")


@pytest.mark.parametrize("name", ["speed", "earlier", "coverage", "explanations"])
def test_the_pages_of_the_documentation_have_their_markers(name):
    file = "performance" if name in ("speed", "earlier") else name
    page = (ROOT / "docs" / f"{file}.md").read_text()
    assert 0 < page.index(f"<!-- {name} table begins -->") < page.index(f"<!-- {name} table ends")


def test_the_page_of_the_documentation_names_every_benchmark():
    page = (ROOT / "docs" / "performance.md").read_text()
    for name in (
        "overhead",
        "hog-svm",
        "head-search",
        "engines",
        "workers",
        "help",
        "decoding",
        "near-duplicates",
        "bootstrap",
        "report",
        "predict",
        "cold start",
        "cells",
        "demo",
        "memory",
        "tests",
        "names",
        "reading",
        "unreadable",
        "survive",
    ):
        assert f"- **{name}**" in page
