from pathlib import Path

import pytest

from medbench.cli import _parser, main
from medbench.cli.options import given
from medbench.errors import ConfigurationError
from medbench.running.options import RunOptions
from medbench.running.values import duration, whole
from medbench.running.wanted import wanted_of as wanted_of_options


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("2m", 120),
        ("1.5h", 5400),
        ("3 min", 180),
        ("1m 30s", 90),
        ("1h30m", 5400),
    ],
)
def test_durations_are_read_as_people_write_them(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5 days", "-3", "0", "0.0h", "0m 0s", "1 30", "1m30"])
def test_other_durations_are_refused(text):
    with pytest.raises(ConfigurationError, match="write 90s, 2m or 1h"):
        duration(text)


@pytest.mark.parametrize("text", ["1", "11", "1e9", "9" * 5000, "ten"])
def test_a_number_out_of_range_is_refused_with_the_value_received(text):
    with pytest.raises(ConfigurationError, match="is not a whole number from 2 to 10") as e:
        whole(2, 10)(text)
    assert str(e.value).startswith(f"'{text[:60]}") and len(str(e.value)) < 120
    assert whole(2, 10)("10") == 10


@pytest.mark.parametrize("text", ["1e300h", "9999999h", "1" * 400, "8785h"])
def test_no_budget_is_longer_than_a_year(text):
    with pytest.raises(ConfigurationError, match=r"is no duration|above a year"):
        duration(text)
    assert duration("8784h") == 366 * 24 * 3600


@pytest.mark.parametrize(
    "option", ["--seeds", "--folds", "--jobs", "--threads", "--trials", "--seed", "--time"]
)
def test_an_absurd_number_is_refused_before_anything_is_done(option, capsys, tmp_path):
    assert f"argument {option}: '999999999" in usage_of(capsys, "run", option, "999999999999")
    assert list(tmp_path.iterdir()) == []


def test_folds_and_seeds_that_are_too_many_together_are_refused(capsys, tmp_path):
    text = errors_of(capsys, "run", "--folds", "900", "--seeds", "900", "--models", "majority")
    assert "900 folds drawn with 900 seeds are 810,000 splits, above the limit of 10,000" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "value"), [("seeds", 10**12), ("folds", 10**9), ("inner_folds", 10**9), ("seed", -1)]
)
def test_an_absurd_number_in_a_suite_is_refused_with_its_line(field, value, capsys, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(f"datasets: [phantoms-mr]\nmodels: [majority]\n{field}: {value}\n")
    text = errors_of(capsys, "run", "--suite", str(file))
    assert f'mine.yaml, line 3: suite "mine": "{field}"' in text and str(value) in text


def errors_of(capsys, *arguments) -> str:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.err


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_wrong_names_list_the_close_ones_and_leave_no_folder(capsys, tmp_path):
    assert "'hog-svm'" in errors_of(capsys, "run", "--models", "hog-smv")
    assert "'brain-mri'" in errors_of(capsys, "run", "--datasets", "brain-mir")
    assert "'demo'" in errors_of(capsys, "run", "--suite", "dmeo")
    assert "'optuna'" in errors_of(capsys, "run", "--tuner", "optunna")
    assert "'quick'" in errors_of(capsys, "run", "--budget", "quik")
    assert list(tmp_path.iterdir()) == []


def test_options_that_exclude_each_other_are_refused(capsys):
    text = errors_of(capsys, "run", "--budget", "quick", "--trials", "3")
    assert "either --budget, or --trials and --time" in text


def test_a_missing_folder_or_file_is_named(capsys, tmp_path):
    assert "--data nowhere" in errors_of(capsys, "run", "--data", "nowhere")
    assert "--plugin" in errors_of(capsys, "run", "--plugin", "no.py")
    assert "no run here" in errors_of(capsys, "leaderboard", "nothing")
    assert "--data-dir or" in errors_of(capsys, "run", "--datasets", "brain-mri", "--out", "x")


def test_a_suite_file_is_checked_like_the_catalog(capsys, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("datasets: [phantoms-mr]\nmodles: [majority]\n")
    text = errors_of(capsys, "run", "--suite", str(file))
    assert "mine.yaml, line 2" in text and 'Did you mean "models"' in text


def test_a_folder_that_cannot_be_written_is_an_error(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    arguments = ("run", "--models", "majority", "--out", str(tmp_path / "file" / "run"))
    assert "cannot be written" in errors_of(capsys, *arguments)


def test_budgets_that_contradict_each_other_are_refused(capsys, tmp_path):
    text = errors_of(capsys, "run", "--time", "60s", "--total-time", "1h")
    assert "--time bounds each cell and --total-time the whole run: give one of them" in text
    assert "'0' is no time at all" in usage_of(capsys, "run", "--total-time", "0")
    assert list(tmp_path.iterdir()) == []


def usage_of(capsys, *arguments) -> str:
    with pytest.raises(SystemExit):
        main(arguments)
    return capsys.readouterr().err


def test_only_failed_cells_can_be_retried(capsys):
    assert "invalid choice: 'all'" in usage_of(capsys, "run", "--retry", "all")
    assert "'0' is not a whole number from 1" in usage_of(capsys, "run", "--jobs", "0")
    assert "'0' is not a whole number from 1" in usage_of(capsys, "run", "--seeds", "0")


def wanted_of(*arguments):
    options = _parser().parse_args(["run", *arguments])
    return wanted_of_options(RunOptions.of(given(options)))


def test_models_are_those_of_the_suite_or_the_core_and_those_of_plugins(tmp_path):
    from medbench import registry

    sanity = ["majority", "file-properties", "intensity", "border", "thumbnail"]
    core = [*sanity, "hog-svm", "xgboost", "cnn", "inceptionv3"]
    assert wanted_of().models == core  # the demo's
    assert wanted_of("--suite", "smoke").models == core[:7]
    assert wanted_of("--datasets", "phantoms-mr").models == core
    everything = wanted_of("--datasets", "phantoms-mr", "--models", "all").models
    assert sorted(everything) == sorted(registry.models.names())
    assert everything[:5] == sanity and set(core) < set(everything)
    plugin = Path(__file__).parents[1] / "plugins" / "nearest_centroid.py"
    added = wanted_of("--datasets", "phantoms-mr", "--plugin", str(plugin)).models
    assert added == [*core, "nearest-centroid"]
    assert wanted_of("--suite", "smoke", "--plugin", str(plugin)).models[-1] == "nearest-centroid"
    assert wanted_of("--models", "cnn", "--plugin", str(plugin)).models == [*sanity, "cnn"]


def test_sanity_rows_can_be_left_out_or_named_one_by_one():
    assert wanted_of("--models", "cnn", "--no-sanity").models == ["cnn"]
    chosen = ("--models", "cnn", "border", "cnn", "--no-sanity")
    assert wanted_of(*chosen).models == ["cnn", "border"]
    assert len(wanted_of("--models", "cnn", "border").models) == 6  # each once


def test_the_operating_point_is_asked_for_by_one_of_two_rates(capsys):
    assert str(wanted_of().settings.operating_point) == "youden"
    wanted = wanted_of("--sensitivity", "0.95").settings.operating_point
    assert str(wanted) == "sensitivity 0.95"
    assert str(wanted_of("--specificity", ".9").settings.operating_point) == "specificity 0.9"
    assert "give a number above 0 and up to 1" in errors_of(capsys, "run", "--sensitivity", "95")
    both = ("run", "--sensitivity", "0.9", "--specificity", "0.9")
    assert "not allowed with argument" in usage_of(capsys, *both)


def test_the_inflation_of_a_model_that_does_not_run_is_refused_with_the_remedy(capsys, tmp_path):
    said = errors_of(capsys, "run", "--models", "xgboost", "--inflation", "hog-svm")
    assert "--inflation hog-svm: is not among the models of this run. Add it to --models." in said
    assert wanted_of("--models", "xgboost", "--inflation", "border").inflated == ("border",)


def test_cores_are_divided_among_the_jobs_unless_threads_are_given(monkeypatch):
    monkeypatch.setattr("medbench.cores.available_threads", lambda: 8)
    for arguments, jobs, threads in (
        ([], 1, 8),
        (["--jobs", "2"], 2, 4),
        (["--jobs", "3"], 3, 2),
        (["--jobs", "20"], 20, 1),
        (["--jobs", "2", "--threads", "8"], 2, 8),
    ):
        setup = wanted_of(*arguments).setup
        assert (setup.jobs, setup.threads) == (jobs, threads)


def test_the_total_time_is_bounded_by_what_else_is_named():
    for arguments, trials, seconds in (
        (["--total-time", "1h"], None, 3600),
        (["--total-time", "1h", "--budget", "quick"], 20, 120),
        (["--total-time", "1h", "--trials", "7"], 7, None),
    ):
        wanted = wanted_of(*arguments)
        assert wanted.total_time == 3600
        assert (wanted.settings.budget.trials, wanted.settings.budget.seconds) == (trials, seconds)


def test_seeds_come_from_the_suite_or_the_option(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("{datasets: [phantoms-mr], models: [majority], seeds: 3, seed: 7}")
    settings = wanted_of("--suite", str(file)).settings
    assert (settings.seeds, settings.seed) == (3, 7)
    settings = wanted_of("--suite", str(file), "--seeds", "2", "--seed", "0").settings
    assert (settings.seeds, settings.seed) == (2, 0)
    assert settings.as_record()["seeds"] == 2
