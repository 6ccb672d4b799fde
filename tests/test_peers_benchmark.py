"""The benchmark against other systems asks all the same, and says what the answers are worth."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PEERS = Path(__file__).parents[1] / "benchmarks" / "peers"


@pytest.fixture
def peers(monkeypatch):
    """Imports a module of the benchmark, for this test only."""
    monkeypatch.syspath_prepend(PEERS)
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == PEERS:
            del sys.modules[name]


def test_the_first_estimate_is_read_from_what_a_run_says(peers):
    first_estimate = peers("runs").first_estimate
    assert first_estimate("cnn: about 4 of 20 trials\nabout 12m 05s for the whole run\n") == 725
    assert first_estimate("about 2h 03m for the whole run\n[1/5] done\n") == 7380
    assert first_estimate("[1/5] about to begin\n") is None


IMAGES = 240
GROUPS = np.arange(IMAGES) // 2
LABELS = GROUPS % 2


def results(peers, folder, **quality):
    """A folder of results of two seeds; of each system, how far its scores follow the labels."""
    kept = peers("kept")
    data = folder / "films"
    data.mkdir(parents=True)
    labels = "".join(map(str, LABELS))
    (data / "images.json").write_text(json.dumps({"labels": labels, "groups": GROUPS.tolist()}))
    for seed in (0, 1):
        fold = GROUPS // (2 + 2 * seed) % 2
        (data / f"folds-seed{seed}.json").write_text(
            json.dumps({"held_out_in": "".join(map(str, fold))})
        )
        question = peers("questions").stored_question("films", seed, folder)
        rng = np.random.default_rng(seed)
        noise = rng.normal(size=IMAGES)
        for system, follows in quality.items():
            own = noise + 0.1 * rng.normal(size=IMAGES)
            odds = follows * (2 * LABELS - 1) + own
            folds = [1 / (1 + np.exp(-odds[test])) for _, test in question.folds]
            packed = kept.packed(folds, probabilities=True)
            ours = system == "medbench"
            kept.Result(
                key=kept.Key(
                    data="films",
                    system=system,
                    seed=seed,
                    budget=None if system == "expert" else 60,
                ),
                seconds=70.0 if ours else 20.0,
                predictions={"ensemble" if ours else "probability": packed},
                machine={"processor": "P", "threads": 1, "system": "S", "python": "3"},
            ).write(folder)
    return peers("shown").Kept(kept.all_kept(folder), folder)


def test_who_is_clearly_better_is_ahead_and_who_is_as_good_is_tied(peers, tmp_path):
    kept = results(peers, tmp_path, medbench=1.0, expert=1.0, flaml=0.3, autogluon=2.0)
    shown = peers("shown")
    auroc, loss = 8, -1
    verdicts = {row[1]: (row[auroc], row[loss]) for row in shown.system_rows(kept, ["films"], [60])}
    assert verdicts == {"flaml": ("ahead", "ahead"), "autogluon": ("behind", "behind")}
    (row,) = shown.expert_rows(kept, ["films"], [60])
    assert row[:5] == ("films (2 seeds)", "60", "70.0", "20.0", "3.50")
    assert (row[8], row[12]) == ("tied", "tied")


def test_log_loss_is_that_of_the_predictions(peers, tmp_path):
    from sklearn.metrics import log_loss

    kept = results(peers, tmp_path, medbench=1.0, flaml=0.3)
    ((ours, theirs, question), *_) = kept.both("films", 60, "flaml", 60)
    labels = [question.labels[test] for _, test in question.folds]
    gap = peers("compared").log_loss_gap(
        [question], [ours.scores("ensemble")], [theirs.scores("probability")]
    )
    parts = np.split(ours.probabilities("ensemble"), [len(labels[0])])
    expected = np.mean([log_loss(y, p) for y, p in zip(labels, parts, strict=True)])
    assert -gap.ours == pytest.approx(expected, abs=1e-3)
    assert gap.low < gap.ours - gap.theirs < gap.high


def test_kept_scores_have_the_ranks_of_what_was_predicted(peers):
    kept = peers("kept")
    folds = [[0.0, 1e-4, 0.5, 0.9999, 1.0], [0.25]]
    result = kept.Result(
        key=kept.Key(data="films", system="flaml", seed=0, budget=60),
        seconds=1.0,
        predictions={"probability": kept.packed(folds, probabilities=True)},
    )
    assert result.probabilities("probability") == pytest.approx(np.concatenate(folds), abs=1e-3)
    assert (np.diff(result.scores("probability")[:5]) > 0).all()
    with pytest.raises(ValueError, match="not finite"):
        kept.packed([[float("nan")]], probabilities=True)


def test_what_failed_and_what_is_missing_is_said(peers, tmp_path):
    kept_module = peers("kept")
    failed = kept_module.Result(
        key=kept_module.Key(data="films", system="autokeras", seed=0, budget=60),
        seconds=0.0,
        failed="Traceback\nValueError: no",
    )
    missing = kept_module.Key(data="films", system="aucmedi", seed=0, budget=60)
    shown = peers("shown")
    text = shown.systems_text(shown.Kept([failed], tmp_path), ["films"], [60], [missing])
    assert "failed: films/autokeras-60s-seed0: `ValueError: no`" in text
    assert "Not measured: aucmedi 60 s (of 1 sets and seeds)" in text


@pytest.mark.slow
def test_the_quick_run_asks_both_sides_and_keeps_what_it_has(tmp_path):
    pytest.importorskip("tensorflow")
    command = [sys.executable, str(PEERS), "--quick", "--only", "medbench", "expert"]
    for said in ("tiny/expert-seed0 ...", "tiny/expert-seed0: kept"):
        done = subprocess.run(
            [*command, "--results", str(tmp_path)], check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert said in done.stderr
    assert "tiny (1 seed)" in done.stdout
