"""A model file may hold only the types that MedBench writes."""

from __future__ import annotations

import json
import os
import zipfile

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from medbench.errors import ModelError
from medbench.models.persistence import load_sklearn, save_sklearn


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(20, 3))


@pytest.fixture
def saved(tmp_path, features):
    pipeline = make_pipeline(StandardScaler(), SVC()).fit(features, np.arange(20) % 2)
    save_sklearn(pipeline, tmp_path / "model.skops")
    return tmp_path / "model.skops", pipeline


def rewrite_schema(path, edit):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    schema = members["schema.json"].decode()
    assert edit(schema) != schema
    members["schema.json"] = edit(schema).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_a_pipeline_comes_back_equal(saved, features):
    path, pipeline = saved
    restored = load_sklearn(path)
    np.testing.assert_array_equal(
        restored.decision_function(features), pipeline.decision_function(features)
    )


def test_a_tampered_file_is_refused_and_the_type_is_named(saved):
    path, _pipeline = saved

    def swap(schema):
        tree = json.loads(schema)
        text = json.dumps(tree)
        before = '"__class__": "StandardScaler", "__module__": "sklearn.preprocessing._data"'
        return text.replace(before, '"__class__": "Popen", "__module__": "subprocess"')

    rewrite_schema(path, swap)
    with pytest.raises(ModelError, match=r"model\.skops.*subprocess\.Popen"):
        load_sklearn(path)


def test_a_file_with_a_foreign_function_is_refused_and_it_is_named(tmp_path):
    path = tmp_path / "model.skops"
    save_sklearn(FunctionTransformer(os.system), path)
    with pytest.raises(ModelError, match=r"types that MedBench does not write.*system"):
        load_sklearn(path)


def test_a_damaged_file_is_said_to_be_damaged(tmp_path, saved):
    path, _pipeline = saved
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match="damaged"):
        load_sklearn(path)


def test_a_zip_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "other.skops"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ModelError, match="not a model that MedBench wrote"):
        load_sklearn(path)
