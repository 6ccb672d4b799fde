"""The row that is made of others is used like any model, as long as these are there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medbench import load_model
from medbench.cli import main
from medbench.errors import StoreError
from medbench.store import RunStore


def test_it_predicts_and_is_explained(run, films, capsys):
    assert main(["predict", str(films), "--run", str(run), "--models", "ensemble"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "ensemble of hog-svm, xgboost on" in shown
    explanation = load_model(run, model="ensemble").explain(films / "0.png")
    assert explanation.method == "occlusion" and explanation.heat.shape == (32, 32)


def test_it_is_left_out_where_a_member_is_another_one_now(run):
    store = RunStore(run)
    for cell in store.read().cells_of("small", "ensemble"):
        member = store.cell(replace(cell.id, model="xgboost"))
        member.finish({**member.result().record, "model_sha256": "0" * 64})
    with pytest.raises(StoreError, match="made of models that are no longer here"):
        load_model(run, model="ensemble")
    assert "ensemble" not in {cell.id.model for cell in store.read().cells}


def test_a_run_of_an_earlier_version_is_used_without_it(run):
    for cell in RunStore(run).read().cells_of("small", "ensemble"):
        RunStore(run).cell(cell.id).remove()
    assert load_model(run).info.family in ("hog-svm", "xgboost")
    assert not load_model(run).info.members
