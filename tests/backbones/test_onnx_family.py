"""A linear model on a backbone's file: the same as on one of ours, saved with it, joined, alone."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

if not all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime")):
    pytest.skip("onnx and onnxruntime are not both installed", allow_module_level=True)

from medbench import registry
from medbench.datasets.batch import LabelledBatch
from medbench.datasets.task import Task
from medbench.errors import ModelError, UnknownNameError
from medbench.evaluation.calibration import Calibration
from medbench.features.embeddings import Embedding
from medbench.features.engines import onnxruntime_session
from medbench.features.feature_cache import FeatureCache
from medbench.models.backbone_files import take_backbones
from medbench.models.contract import Context, Progress
from medbench.models.frozen_folds import join_frozen
from medbench.models.linear_head import fit_head
from medbench.models.transfer import transfer_family
from medbench.models.weights import find_weights

from .onnx_files import node, patches, write_settings

SIDE = 64


def batch(n=24, classes=2, channels=3, seed=0, task_type="multi-class"):
    """Synthetic: noise that is brighter from class to class."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    images = random.integers(0, 120, (n, SIDE, SIDE, channels), dtype=np.uint8)
    images += (40 * labels[:, None, None, None]).astype(np.uint8)
    if task_type == "multi-label":
        labels = np.stack([labels == k for k in range(classes)], axis=1).astype(np.int64)
    return LabelledBatch(
        images=images, properties=pd.DataFrame(index=range(n)), labels=labels, groups=np.arange(n)
    )


def task(classes=2, channels=3, task_type="multi-class"):
    return Task(
        classes=tuple("abc"[:classes]), image_shape=(SIDE, SIDE, channels), task_type=task_type
    )


def built(family, params, weights=None, **of_task):
    context = Context(seed=0, threads=1, features=FeatureCache(None), weights=weights)
    return family.build(params, task(**of_task), context)


def fitted(path, train, **of_task):
    (weights,) = take_backbones([f"onnx:{path}"]).values()
    classifier = built(registry.models.get("onnx-net")(), {"C": 0.01}, weights, **of_task)
    classifier.fit(train, None, Progress())
    return classifier


@pytest.fixture
def file(tmp_path):
    write_settings(tmp_path / "net.onnx")
    return patches(tmp_path / "net.onnx")


def exported(embedding: Embedding, path) -> None:
    """One of our backbones as a file of somebody's: float32 pixels in, all depths out."""
    from onnx import TensorProto, load_model_from_string

    model = load_model_from_string(embedding.as_onnx())
    given = model.graph.input[0].type.tensor_type
    given.elem_type = TensorProto.FLOAT
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    path.write_bytes(model.SerializeToString())
    write_settings(path, range=[0, 255], mean=[0, 0, 0], deviation=[1, 1, 1])


def like_our_own(path, weights, train, held_out):
    """Probabilities by a head on ``mobilenet``, and by its backbone from a file.

    A file gives one vector, in which nobody knows of depths that could weigh the same.
    """
    embedding = transfer_family("mobilenet")().embedding(task(), weights)
    exported(embedding, path)
    head = fit_head(embedding(train.images), train.labels, 2, C=0.01)
    own = head.predict(embedding(held_out.images))
    return own, fitted(path, train).predict_proba(held_out)


def test_the_backbone_of_a_family_from_a_file_says_what_the_family_says(tmp_path):
    pytest.importorskip("keras")
    own, file = like_our_own(tmp_path / "net.onnx", None, batch(), batch(10, seed=1))
    np.testing.assert_allclose(file, own, atol=1e-4)
    assert own.std() > 1e-3


@pytest.mark.slow
@pytest.mark.real
def test_so_it_does_with_real_weights(tmp_path, real_weights):
    pytest.importorskip("keras")
    weights = find_weights("mobilenet", real_weights, lambda text: None, download=False)
    assert weights.path is not None
    own, file = like_our_own(tmp_path / "net.onnx", weights, batch(), batch(10, seed=1))
    np.testing.assert_allclose(file, own, atol=1e-4)
    assert own.std() > 1e-3


@pytest.mark.parametrize("task_type", ["multi-class", "multi-label"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_saved_predicts_without_the_file(file, tmp_path, task_type, channels):
    of_task = {"classes": 3, "channels": channels, "task_type": task_type}
    train, other = batch(24, **of_task), batch(7, **of_task, seed=1)
    classifier = fitted(file, train, **of_task)
    expected = classifier.predict_proba(other)
    (tmp_path / "saved").mkdir()
    classifier.save(tmp_path / "saved")
    file.unlink()
    loaded = built(registry.models.get("onnx-net")(), {"C": 0.01}, **of_task)
    loaded.load(tmp_path / "saved")
    np.testing.assert_allclose(loaded.predict_proba(other), expected, atol=1e-5)
    assert loaded.network() is None
    (tmp_path / "again").mkdir()
    loaded.save(tmp_path / "again")
    names = [sorted(p.name for p in (tmp_path / f).iterdir()) for f in ("saved", "again")]
    assert names == [["model.onnx"], ["model.onnx"]]


def test_without_the_file_nothing_is_learnt(file, tmp_path):
    classifier = built(registry.models.get("onnx-net")(), {"C": 0.01})
    with pytest.raises(ModelError, match=r"onnx-net.*not here.*onnx:folder/file\.onnx"):
        classifier.fit(batch(), None, Progress())
    with pytest.raises(ModelError, match=r"holds no model\.onnx"):
        classifier.load(tmp_path)


@pytest.mark.parametrize("task_type", ["multi-class", "multi-label"])
def test_joined_folds_are_calibrated_and_have_the_backbone_once(file, tmp_path, task_type):
    of_task = {"classes": 3, "channels": 1, "task_type": task_type}
    multi_label = task_type == "multi-label"
    temperatures = [[2.0], [0.5, 1.5, 3.0] if multi_label else [0.5]]
    other, contents, expected = batch(7, **of_task, seed=9), [], []
    for seed, warmth in enumerate(temperatures):
        classifier = fitted(file, batch(24, **of_task, seed=seed), **of_task)
        calibration = Calibration(temperatures=tuple(warmth))
        said = classifier.predict_proba(other)
        expected.append(calibration.apply(said, multi_label=multi_label))
        (tmp_path / f"{seed}").mkdir()
        classifier.save(tmp_path / f"{seed}")
        contents.append((tmp_path / f"{seed}" / "model.onnx").read_bytes())
    joined = join_frozen(contents, temperatures)
    session = onnxruntime_session(joined, 1)
    mean, by_fold = session.run(["probabilities", "fold_probabilities"], {"image": other.images})
    np.testing.assert_allclose(by_fold, np.moveaxis(expected, 0, 1), atol=1e-5)
    np.testing.assert_allclose(mean, np.mean(expected, axis=0), atol=1e-5)
    assert joined.count(b"backbone/kernel") == contents[0].count(b"backbone/kernel")


def test_folds_on_different_backbones_are_not_joined(file, tmp_path):
    contents = []
    for number in range(2):
        if number:
            patches(file, node("Relu", ["patches"], "positive"))
        classifier = fitted(file, batch())
        (tmp_path / f"{number}").mkdir()
        classifier.save(tmp_path / f"{number}")
        contents.append((tmp_path / f"{number}" / "model.onnx").read_bytes())
    with pytest.raises(ModelError, match="different backbones"):
        join_frozen(contents)


def test_any_name_with_the_prefix_is_a_family_and_others_are_not():
    family = registry.models.get("onnx-net")
    assert family is registry.models.get("onnx-net")
    assert (family.name, family.weights) == ("onnx-net", "onnx-net")
    assert "net.onnx" in family.__doc__
    assert registry.models.provider("onnx-net") == "a file of the user's own"
    assert "onnx-net" not in registry.models.names()
    for name in ("onnx-a/../b", "onnx-A", "onnxnet"):
        with pytest.raises(UnknownNameError, match="model family"):
            registry.models.get(name)


WITHOUT_KERAS = """
import sys
from pathlib import Path
for name in ("keras", "tensorflow"):
    sys.modules[name] = None
import numpy as np
import pandas as pd
from medbench import registry
from medbench.datasets.batch import LabelledBatch
from medbench.datasets.task import Task
from medbench.features.feature_cache import FeatureCache
from medbench.models.backbone_files import take_backbones
from medbench.models.contract import Context, Progress
images = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 1), np.uint8)
batch = LabelledBatch(images=images, properties=pd.DataFrame(index=range(8)),
                      labels=np.arange(8) % 2, groups=np.arange(8))
task = Task(classes=("a", "b"), image_shape=(64, 64, 1))
weights = take_backbones(["onnx:" + sys.argv[1]])["onnx-net"]
made, loaded = (
    registry.models.get("onnx-net")().build(
        {"C": 0.003}, task, Context(seed=0, threads=1, features=FeatureCache(None), weights=each)
    )
    for each in (weights, None)
)
made.fit(batch, None, Progress())
made.save(Path(sys.argv[2]))
loaded.load(Path(sys.argv[2]))
np.testing.assert_allclose(loaded.predict_proba(batch), made.predict_proba(batch), atol=1e-5)
"""


def test_nothing_of_it_needs_keras(file, tmp_path):
    (tmp_path / "saved").mkdir()
    command = [sys.executable, "-c", WITHOUT_KERAS, str(file), str(tmp_path / "saved")]
    subprocess.run(command, check=True)
