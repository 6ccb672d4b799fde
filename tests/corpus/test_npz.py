"""Archives of arrays: one-hot labels, channels first, other names, volumes."""

import numpy as np
import pytest

from medbench.datasets.decode import Picture
from medbench.datasets.detect import detect
from medbench.datasets.prepared import prepare
from medbench.datasets.readers import open_image
from medbench.datasets.sources.npz import NpzSource
from medbench.errors import DatasetError

SIZES = {"train": 9, "val": 3, "test": 6}
RNG = np.random.default_rng(0)
PIXELS = {part: RNG.integers(0, 256, (n, 12, 10, 3), np.uint8) for part, n in SIZES.items()}
LABELS = {part: np.arange(n) % 3 for part, n in SIZES.items()}
EYE = np.eye(3, dtype=np.uint8)


@pytest.fixture
def archive(tmp_path):
    """Writes an archive of arrays, of which each is a function of the part's pixels or labels."""

    def write(images=lambda pixels: pixels[..., 0], labels=lambda labels: labels):
        arrays = {f"{part}_images": images(PIXELS[part]) for part in SIZES}
        arrays |= {f"{part}_labels": labels(LABELS[part]) for part in SIZES}
        return saved(tmp_path, **arrays)

    return write


def saved(folder, **arrays):
    np.savez(folder / "x.npz", **arrays)
    return folder / "x.npz"


def read(path, **fields):
    """The listing of what is detected, with more fields."""
    return NpzSource.model_validate(detect(path) | fields).listing()


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32, bool])
def test_one_hot_labels_are_classes_and_that_is_said(archive, kind):
    said = read(archive(labels=lambda labels: EYE[labels].astype(kind)))
    assert said.task_type == "multi-class" and said.classes == ("0", "1", "2")
    assert said.table["label"].tolist() == np.concatenate([*LABELS.values()]).tolist()
    assert said.notes == ("one-hot labels of 3 classes: each image has exactly one",)


def test_one_hot_labels_of_two_classes_and_of_ordered_ones(archive):
    path = archive(labels=lambda labels: EYE[:2, :2][labels % 2])
    assert read(path).table["label"].tolist()[:3] == [0, 1, 0]
    path = archive(labels=lambda labels: EYE[labels])
    said = read(path, task="ordinal", classes=["mild", "some", "severe"])
    assert said.task_type == "ordinal" and said.table["label"].tolist()[:3] == [0, 1, 2]
    with pytest.raises(DatasetError, match="3 columns, but the field classes lists 2"):
        read(path, classes=["a", "b"])


@pytest.mark.parametrize("row", [[1, 1, 0], [0, 0, 0]])
def test_one_row_with_several_labels_or_none_makes_it_multi_label(archive, row):
    def labels(of_part):
        several = EYE[of_part]
        if len(of_part) == SIZES["test"]:
            several[4] = row
        return several

    path = archive(labels=labels)
    assert detect(path)["task"] == "multi-label"
    assert read(path).task_type == "multi-label"
    with pytest.raises(DatasetError, match="not every image has exactly one 1"):
        NpzSource(path=str(path)).listing()


def test_an_entry_that_says_multi_label_is_believed(archive):
    said = read(archive(labels=lambda labels: EYE[labels]), task="multi-label")
    assert said.task_type == "multi-label" and "exactly one of the labels" in said.notes[0]


def test_shares_of_classes_are_no_labels(archive):
    path = archive(labels=lambda labels: EYE[labels] * 0.8 + 0.1)
    with pytest.raises(DatasetError, match="values other than 0 and 1"):
        read(path)


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_first_are_recognised(archive, channels):
    path = archive(images=lambda pixels: np.moveaxis(pixels[..., :channels], -1, 1))
    said = read(path)
    assert "(n, channels, height, width)" in said.notes[0]
    rows = (0, SIZES["train"], 17, 3)
    whole = np.concatenate([*PIXELS.values()])[..., :channels]
    for row in rows:
        assert np.array_equal(said.read(row), whole[row])


STACK = {  # slices of each image, which are 12 x 10 pixels
    part: np.stack([pixels[..., 0] // n for n in range(1, 8)], axis=1)
    for part, pixels in PIXELS.items()
}


@pytest.mark.parametrize(
    "shaped",
    [
        lambda stack: stack,
        lambda stack: stack[..., None],
        lambda stack: stack[:, None],
        lambda stack: np.repeat(stack[..., None], 3, axis=-1),
    ],
)
def test_volumes_are_read_by_their_axes_and_that_is_said(tmp_path, shaped):
    arrays = {f"{part}_images": shaped(STACK[part]) for part in SIZES}
    path = saved(tmp_path, **arrays, **{f"{part}_labels": LABELS[part] for part in SIZES})
    said = read(path, slices=3)
    assert "are read as volumes of 7 slices of 12 x 10 pixels, along the first axis" in str(said)
    assert said.table["origin"].tolist()[:4] == ["train/0"] * 3 + ["train/1"]
    assert said.table["slice"].tolist() == [3, 4, 5] * sum(SIZES.values())
    assert said.table["label"].tolist()[:6] == [0] * 3 + [1] * 3 and said.image_size == 16
    opened = open_image(said.read(3 * SIZES["train"] + 1), origin="val/0")
    for index in range(7):
        np.testing.assert_array_equal(
            Picture(opened.pixels(index), mode="L", n_bytes=0).pixels, STACK["val"][0, index]
        )


def test_planes_and_montages_of_an_archive_are_prepared_at_their_size(tmp_path):
    volumes = np.stack([STACK["train"], STACK["train"] // 2], axis=2).reshape(9, 14, 12, 10)
    path = saved(tmp_path, images=np.pad(volumes, 8), labels=np.arange(25) % 2)
    for rule, side, names in (
        ("planes", 26, ["image/0, plane across axis 1", "image/0, plane across axis 2"]),
        ("montage 4", 52, ["image/0", "image/1"]),
        ("largest", 26, ["image/0", "image/1"]),
    ):
        data = prepare(
            "v", NpzSource(path=str(path), slices=rule), cache=tmp_path / "cache", threads=1
        )
        assert data.images.shape[1:] == (side, side, 1) and data.names[:2] == names
    (few,) = {len(g) for _, g in data.table.groupby("origin")}
    assert few == 1 and data.table["shown"].str.startswith("slice ").all()


def test_four_axes_of_which_one_is_as_short_as_channels_are_no_volumes(archive):
    assert read(archive(images=lambda pixels: pixels)).volumes is None
    first = read(archive(images=lambda pixels: np.moveaxis(pixels, -1, 1)))
    assert first.volumes is None and first.read(0).shape == (12, 10, 3)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (lambda p: np.repeat(p[:, None], 8, axis=1)[..., :2], "one channel of each volume"),
        (lambda p: np.repeat(p[:, None, ..., 0], 4, axis=1), "one channel of each, or three"),
        (lambda p: p[..., :2], "one channel of each, or three"),
        (lambda p: np.moveaxis(p[..., [0, 1, 2, 0]], -1, 1), "one channel of each, or three"),
        (lambda p: p.reshape(len(p), -1), "height and width with reshape"),
        (lambda p: p[..., 0] / np.float32(255), r"\(train_images \* 255\).round\(\)"),
    ],
)
def test_what_is_no_picture_of_8_bits_is_refused_in_words(archive, images, message):
    with pytest.raises(DatasetError, match=message):
        read(archive(images=images))


@pytest.mark.parametrize(
    "names",
    [
        "x_train y_train x_test y_test",
        "X_train y_train X_test y_test",
        "train_x train_y test_x test_y",
        "xtrain ytrain xtest ytest",
        "XTrain YTrain XTest YTest",
        "trainImages trainLabels testImages testLabels",
        "training_data training_targets testing_data testing_targets",
        "train_set_x train_set_y test_set_x test_set_y",
        "images_train labels_train images_test labels_test",
    ],
)
def test_arrays_may_have_other_names_which_is_said(tmp_path, names):
    of_train, of_test = (PIXELS["train"], LABELS["train"]), (PIXELS["test"], LABELS["test"])
    path = saved(tmp_path, **dict(zip(names.split(), [*of_train, *of_test], strict=True)))
    said = read(path)
    assert said.table["split"].tolist() == ["train"] * 9 + ["test"] * 6
    assert said.table["origin"].tolist()[:2] == ["train/0", "train/1"]
    assert np.array_equal(said.read(10), PIXELS["test"][1])
    assert names.split()[0] in said.notes[0]


@pytest.mark.parametrize("names", ["images labels", "X y", "x y", "data target", "imgs label"])
def test_an_archive_without_parts_has_no_official_split(tmp_path, names):
    images, labels = names.split()
    said = read(saved(tmp_path, **{images: PIXELS["train"], labels: LABELS["train"]}))
    assert set(said.table["split"]) == {""}
    assert said.notes == (
        f"images and labels are the arrays {images} with {labels}; there is no official split",
    )


def test_other_arrays_are_named_and_doubtful_ones_refused(tmp_path):
    arrays = {"images": PIXELS["train"], "labels": LABELS["train"], "patient": np.arange(9)}
    assert "arrays that are not used: patient" in read(saved(tmp_path, **arrays)).notes
    with pytest.raises(DatasetError, match="both images and x may be the images"):
        read(saved(tmp_path, **arrays, x=PIXELS["train"]))
    with pytest.raises(DatasetError, match=r"has images but no labels. It holds images, patient"):
        read(saved(tmp_path, images=PIXELS["train"], patient=np.arange(9)))
    with pytest.raises(DatasetError, match=r"has no array train_images.* it holds a, b"):
        read(saved(tmp_path, a=PIXELS["train"], b=LABELS["train"]))


def test_labels_may_be_names_or_whole_floats(archive):
    names = np.array(["mass", "clear", "edema"])
    said = read(archive(labels=lambda labels: names[labels][:, None]))
    assert said.classes == ("clear", "edema", "mass")
    assert said.table["label"].tolist()[:3] == [2, 0, 1]
    said = read(archive(labels=lambda labels: names[labels]), classes=["mass", "edema", "clear"])
    assert said.table["label"].tolist()[:3] == [0, 2, 1]
    said = read(archive(labels=lambda labels: labels.astype(np.float64)))
    assert said.table["label"].tolist()[:3] == [0, 1, 2]
    with pytest.raises(DatasetError, match="no image has label 0"):
        read(archive(labels=lambda labels: labels + 1))
    with pytest.raises(DatasetError, match="whole numbers from 0 on, or names"):
        read(archive(labels=lambda labels: labels + 0.5))


def test_names_that_may_be_one_class_are_refused_unless_both_are_named(archive):
    names = np.array(["Mass", "clear", "mass "])
    path = archive(labels=lambda labels: names[labels])
    with pytest.raises(DatasetError, match=r"'Mass' \(6 images\) and 'mass' \(6 images\) differ"):
        read(path)
    assert read(path, classes=["Mass", "mass", "clear"]).classes == ("Mass", "mass", "clear")
