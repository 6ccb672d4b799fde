"""A backbone's file and its YAML: what is computed of them, and what is refused with a remedy."""

from __future__ import annotations

import hashlib
import importlib.util

import numpy as np
import pytest

from medbench import registry
from medbench.datasets.task import Task
from medbench.errors import ConfigurationError, MedBenchError, ModelError, UnknownNameError

if not all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime")):
    pytest.skip("onnx and onnxruntime are not both installed", allow_module_level=True)

from medbench.features import engines  # before ONNX Runtime, which must be told to tell nobody
from medbench.features.file_embedding import FileEmbedding, interpolation
from medbench.features.onnx_backbone import prepare_backbone

from .onnx_files import DEVIATION, KERNEL, MEAN, node, patches, write_settings

N_PATCHES = 16


@pytest.fixture
def file(tmp_path):
    """Where a backbone goes, with settings beside it."""
    write_settings(tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def embedding(path, image_shape=(16, 16, 3)):
    prepared = path.with_name("prepared")
    prepared.write_bytes(prepare_backbone(path).content)
    return FileEmbedding(
        backbone="onnx-net", image_shape=image_shape, weights_path=prepared, weights_sha256=None
    )


def images(n=3, shape=(16, 16, 3)):
    return np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)


def expected(pixels):
    """What the convolution says of images of 16 x 16 pixels, (n, patches, 5), by NumPy."""
    x = (np.asarray(pixels, np.float64) / 255 - MEAN) / DEVIATION
    cells = x.reshape(len(x), 4, 4, 4, 4, 3).transpose(0, 1, 3, 5, 2, 4)
    return cells.reshape(len(x), N_PATCHES, -1) @ KERNEL.reshape(5, -1).T


def pooled(maps):
    return np.concatenate([maps.mean(axis=1), maps.max(axis=1)], axis=1)


TOKENS = [
    node("Reshape", ["patches", "shape"], "flat"),
    node("Transpose", ["flat"], "tokens", perm=[0, 2, 1]),
]
AS_TOKENS = {"shape": np.array([0, 5, -1], np.int64)}


# --- what is computed -----------------------------------------------------------------------------


def test_a_map_is_pooled_by_average_and_by_maximum(file):
    rows = embedding(patches(file))(images())
    assert (rows.dtype, rows.shape) == (np.float32, (3, 10))
    np.testing.assert_allclose(rows, pooled(expected(images())), atol=1e-4)


@pytest.mark.parametrize("tokens", ["class", "mean"])
def test_of_tokens_the_first_or_the_mean_is_taken(file, tokens):
    write_settings(file, tokens=tokens)
    rows = embedding(patches(file, *TOKENS, constants=AS_TOKENS))(images())
    said = expected(images())
    wanted = said[:, 0] if tokens == "class" else said.mean(axis=1)
    np.testing.assert_allclose(rows, wanted, atol=1e-4)


def test_a_vector_is_taken_as_it_is(file):
    rows = embedding(patches(file, node("Flatten", ["patches"], "out", axis=1)))(images())
    wanted = expected(images()).transpose(0, 2, 1).reshape(3, -1)
    np.testing.assert_allclose(rows, wanted, atol=1e-4)


def test_a_tensor_within_is_the_embedding_where_the_settings_name_it(file):
    # What comes behind it needs another input, which nobody has to give then.
    from onnx import TensorProto, helper

    text = helper.make_tensor_value_info("text", TensorProto.FLOAT, ["n", 5])
    patches(file, node("Add", ["patches", "text"], "joined"), more=(text,))
    write_settings(file, output="patches")
    np.testing.assert_allclose(embedding(file)(images()), pooled(expected(images())), atol=1e-4)


def test_a_network_with_channels_last_sees_the_same_pixels(file):
    turn = node("Transpose", ["image"], "image_first", perm=[0, 3, 1, 2])
    back = node("Transpose", ["patches"], "back", perm=[0, 2, 3, 1])
    patches(file, back, first=turn, shape=("n", 16, 16, 3))
    np.testing.assert_allclose(embedding(file)(images()), pooled(expected(images())), atol=1e-4)


def test_images_of_other_sizes_and_channels_are_brought_to_those_of_the_network(file):
    grey = images(3, (12, 40, 1))
    resized = interpolation(12, 16) @ grey[..., 0] @ interpolation(40, 16).T
    wanted = pooled(expected(np.repeat(resized[..., np.newaxis], 3, axis=3)))
    np.testing.assert_allclose(embedding(patches(file), grey.shape[1:])(grey), wanted, atol=1e-4)


def test_colour_is_made_grey_for_a_network_of_one_channel(file):
    write_settings(file, mean="[0.5]", deviation="[0.25]")
    patches(file, shape=("n", 1, 16, 16), constants={"kernel": KERNEL[:, :1]})
    colour = images(3)
    rows = embedding(file)(colour)
    grey = colour @ np.array([0.299, 0.587, 0.114])
    scaled = (grey / 255 - 0.5) / 0.25
    cells = scaled.reshape(3, 4, 4, 4, 4).transpose(0, 1, 3, 2, 4).reshape(3, N_PATCHES, -1)
    np.testing.assert_allclose(rows, pooled(cells @ KERNEL[:, 0].reshape(5, -1).T), atol=1e-4)


@pytest.mark.parametrize(("before", "after"), [(16, 16), (16, 37), (37, 16), (100, 3), (3, 100)])
def test_interpolation_is_that_of_pillow(before, after):
    from PIL import Image

    line = np.random.default_rng(0).uniform(0, 255, (1, before)).astype(np.float32)
    wanted = Image.fromarray(line).resize((after, 1), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(line @ interpolation(before, after).T, np.asarray(wanted), atol=1e-3)


def test_any_size_is_taken_where_the_settings_say_which(file):
    patches(file, shape=("n", "c", "h", "w"))
    write_settings(file, size="[8, 24]")
    assert prepare_backbone(file).settings["size"] == [8, 24]
    assert embedding(file)(images()).shape == (3, 10)


@pytest.mark.parametrize("ir_version", [3, 9])
def test_weights_that_are_inputs_as_well_are_no_inputs(file, ir_version):
    from onnx import TensorProto, helper

    kernel = helper.make_tensor_value_info("kernel", TensorProto.FLOAT, KERNEL.shape)
    patches(file, more=(kernel,), ir_version=ir_version, opset=11)
    np.testing.assert_allclose(embedding(file)(images()), pooled(expected(images())), atol=1e-4)


def test_branches_read_what_is_outside_of_them(file):
    from onnx import TensorProto, helper

    def branch(name, output):
        out = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
        return helper.make_graph([node("Mul", ["patches", name], output)], name, [], [out])

    choose = node(
        "If", ["yes"], "out", then_branch=branch("two", "twice"), else_branch=branch("one", "once")
    )
    constants = {
        "yes": np.array(True),
        "two": np.array(2, np.float32),
        "one": np.array(1, np.float32),
    }
    patches(file, choose, constants=constants)
    np.testing.assert_allclose(embedding(file)(images()), pooled(2 * expected(images())), atol=1e-4)


def test_functions_in_the_file_are_written_out(file):
    from onnx import helper

    twice = helper.make_function(
        "own", "Twice", ["x"], ["y"], [node("Add", ["x", "x"], "y")], [helper.make_opsetid("", 18)]
    )
    call = node("Twice", ["patches"], "out", domain="own")
    patches(file, call, functions=(twice,), domains={"own": 1})
    np.testing.assert_allclose(embedding(file)(images()), pooled(2 * expected(images())), atol=1e-4)


def test_the_hash_is_the_files_and_the_key_changes_with_the_settings(file):
    from medbench.models.backbone_files import take_backbones

    patches(file)
    first = take_backbones([f"onnx:{file}"])["onnx-net"]
    assert first.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    write_settings(file, range=[-1, 1])
    second = take_backbones([f"onnx:{file}"])["onnx-net"]
    assert (second.sha256, second.settings["range"]) == (first.sha256, [-1.0, 1.0])
    assert second.key != first.key
    tasks = [Task(classes=("a", "b"), image_shape=(9, 9, 1))] * 2
    family = registry.models.get("onnx-net")()
    keys = {family.embedding(*each).key for each in zip(tasks, (first, second), strict=True)}
    assert len(keys) == 2


# --- weights beside the file ----------------------------------------------------------------------


def outside(file, location="net.onnx.data", **changes):
    """Put the kernel of a network into a file beside it, as it says."""
    from onnx import load_model_from_string
    from onnx.external_data_helper import set_external_data

    patches(file)
    model = load_model_from_string(file.read_bytes())
    (kernel,) = model.graph.initializer
    content = kernel.raw_data
    said = {"location": location, "offset": 4, "length": len(content), **changes}
    set_external_data(kernel, **said)
    kernel.ClearField("raw_data")
    file.write_bytes(model.SerializeToString())
    return b"1234" + content


def test_weights_beside_the_file_are_taken_in_and_count_in_its_hash(file):
    content = outside(file)
    data = file.with_name("net.onnx.data")
    data.write_bytes(content)
    np.testing.assert_allclose(embedding(file)(images()), pooled(expected(images())), atol=1e-4)
    before = prepare_backbone(file).sha256
    data.write_bytes(content[:-4] + b"\0\0\0\0")
    assert prepare_backbone(file).sha256 != before


def test_weights_that_are_missing_or_short_are_told_with_their_name(file):
    content = outside(file)
    with pytest.raises(ModelError, match=r"net\.onnx\.data.*No such file.*same folder"):
        prepare_backbone(file)
    file.with_name("net.onnx.data").write_bytes(content[:-1])
    with pytest.raises(ModelError, match=r"net\.onnx\.data.*behind its end"):
        prepare_backbone(file)


@pytest.mark.parametrize(
    "location", ["../secret", "/etc/passwd", "sub/data", "..", ".", "", "C:\\data", "a\\b"]
)
def test_no_path_of_the_file_is_followed(file, location):
    content = outside(file, location or "x")
    if not location:
        outside(file, "")
    (file.parent / "sub").mkdir()
    for target in (file.parent / "sub" / "data", file.parent.parent / "secret"):
        target.write_bytes(content)
    with pytest.raises(ModelError, match="no file beside it"):
        prepare_backbone(file)


# --- what is refused ------------------------------------------------------------------------------


def refused(file, words, error=ModelError):
    with pytest.raises(error, match=words) as caught:
        prepare_backbone(file)
    assert file.name.removesuffix(".onnx") in str(caught.value)


def test_without_settings_the_message_shows_what_to_write(file):
    file.with_suffix(".yaml").unlink()
    refused(patches(file, shape=("n", 3, "h", "w")), "not guessed", ConfigurationError)
    with pytest.raises(ConfigurationError) as caught:
        prepare_backbone(file)
    text = str(caught.value).partition("are:\n")[2]
    file.with_suffix(".yaml").write_text(text)
    assert prepare_backbone(file).settings["size"] == [224, 224]
    assert "mean: [0.485, 0.456, 0.406]" in text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"range": None}, '"range" is missing'),
        ({"rnage": "[0, 1]"}, 'Did you mean "range"'),
        ({"range": "[1, 0]"}, "range must rise"),
        ({"range": "[0, .nan]"}, "finite"),
        ({"mean": "[0.5, 0.5]", "deviation": "[1, 1]"}, "3 numbers each"),
        ({"mean": "[0.5]", "deviation": "[0.5]"}, "has 3 channels.*1 numbers"),
        ({"deviation": "[0, 1, 1]"}, "deviation must be above 0"),
        ({"size": "0"}, "size"),
        ({"size": "32"}, "fixed sides of 16 x 16"),
        ({"tokens": "class"}, "no tokens"),
        ({"tokens": "last"}, "tokens"),
    ],
)
def test_wrong_settings_are_named(file, settings, words):
    patches(file)
    write_settings(file, **settings)
    refused(file, words, ConfigurationError)


def test_a_size_must_be_said_where_the_file_fixes_none(file):
    refused(patches(file, shape=("n", 3, "h", "w")), "size: 224", ConfigurationError)


def test_a_size_that_the_network_does_not_keep_is_named(file):
    fixed = {"shape": np.array([-1, 80], np.int64), "w": np.ones((80, 2), np.float32)}
    patches(
        file,
        node("Reshape", ["patches", "shape"], "flat"),
        node("MatMul", ["flat", "w"], "out"),
        shape=("n", 3, "h", "w"),
        constants=fixed,
    )
    write_settings(file, size=18)
    prepare_backbone(file)
    write_settings(file, size=20)
    refused(file, r"images of 20 x 20 pixels.*size")


def test_several_outputs_need_a_name_and_an_unknown_one_lists_them(file):
    patches(file, node("Relu", ["patches"], "positive"), outputs=("patches", "positive"))
    refused(file, "2 outputs.*patches, positive", ConfigurationError)
    write_settings(file, output="positve")
    refused(file, "positive", UnknownNameError)
    write_settings(file, output="positive")
    assert (embedding(file)(images()) >= 0).all()


def test_another_number_of_inputs_is_refused(file):
    from onnx import TensorProto, helper

    mask = helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", 1, 1, 1])
    patches(file, node("Mul", ["patches", "mask"], "out"), more=(mask,))
    refused(file, r"needs 2 inputs \(image, mask\).*image encoder alone")


def test_float16_is_refused_at_both_ends(file):
    from onnx import TensorProto

    patches(file, dtype=TensorProto.FLOAT16)
    refused(file, r"'image' is float16.*model\.float\(\)")
    patches(file, node("Cast", ["patches"], "half", to=TensorProto.FLOAT16))
    refused(file, r"embedding is float16.*model\.float\(\)")


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node("ArgMax", ["patches"], "out", axis=1)], "int64"),
        ([node("ReduceMean", ["patches"], "out", keepdims=0)], r"shape \(\)"),
        ([node("Transpose", ["patches"], "out", perm=[1, 0, 2, 3])], "none an image"),
        ([node("Unsqueeze", ["patches", "axis"], "out")], "no vector, no tokens and no map"),
        ([node("Sub", ["patches", "patches"], "x"), node("Div", ["x", "x"], "out")], "not finite"),
        (
            [node("ReduceMean", ["patches", "axis"], "m"), node("Sub", ["patches", "m"], "out")],
            r"depends on the others.*model\.eval\(\)",
        ),
    ],
)
def test_an_output_that_is_no_vector_an_image_is_refused(file, nodes, words):
    patches(file, *nodes, constants={"axis": np.array([0 if len(nodes) == 2 else 1], np.int64)})
    refused(file, words)


def test_a_fixed_number_of_images_is_refused(file):
    refused(patches(file, shape=(1, 3, 16, 16)), "takes 1 image at a time.*dynamic_shapes")
    one = {"shape": np.array([1, -1], np.int64)}
    patches(file, node("Reshape", ["patches", "shape"], "out"), constants=one)
    refused(file, "none an image")


def test_operators_of_its_own_are_refused(file):
    patches(file, node("Secret", ["patches"], "out", domain="my.ops"), domains={"my.ops": 1})
    refused(file, r"'Secret' of the domain 'my\.ops'")


def test_versions_that_onnx_runtime_does_not_know_are_told_in_its_words(file):
    refused(patches(file, opset=999), "ONNX Runtime cannot open.*opset_version")
    refused(patches(file, ir_version=999), "ONNX Runtime cannot open.*update onnxruntime")


@pytest.mark.parametrize("content", [b"", b"no ONNX", b"\x08\x09", None])
def test_what_is_no_onnx_model_is_refused(file, content):
    file.write_bytes(patches(file).read_bytes()[:-100] if content is None else content)
    refused(file, "no ONNX model")


def test_what_is_not_there_or_no_file_or_too_large_is_refused(file, monkeypatch):
    refused(file, "No such file")
    file.mkdir()
    refused(file, "a folder")
    file.rmdir()
    patches(file)
    monkeypatch.setenv("MEDBENCH_SIZE_FACTOR", "1e-7")
    refused(file, "MEDBENCH_SIZE_FACTOR", MedBenchError)


def test_noise_in_a_file_gives_an_error_of_ours_or_a_backbone(file):
    content = patches(file).read_bytes()
    random = np.random.default_rng(0)
    for _ in range(60):
        broken = bytearray(content)
        for position in random.integers(0, len(content), 3):
            broken[position] = random.integers(256)
        file.write_bytes(bytes(broken))
        try:
            prepare_backbone(file)
        except MedBenchError as error:
            assert file.name in str(error)


def test_two_files_of_one_name_are_refused(file, tmp_path):
    from medbench.models.backbone_files import family_name, take_backbones

    with pytest.raises(ConfigurationError, match="same name, onnx-net"):
        take_backbones([f"onnx:{file}", f"onnx:{tmp_path / 'other' / 'NET.onnx'}"])
    assert family_name("onnx:~/a b/RAD-DINO (2).onnx") == "onnx-rad-dino-2"
    assert family_name("mobilenet") == "mobilenet"


def test_it_is_computed_by_onnx_runtime_whatever_else_is_fastest(file, monkeypatch):
    monkeypatch.setattr(engines, "fastest_installed", lambda: "keras")
    assert embedding(patches(file)).engine == "onnxruntime"
