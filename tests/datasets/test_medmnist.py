import functools
import re
from types import SimpleNamespace

import numpy as np
import pytest

from medbench.datasets import remembered
from medbench.datasets.catalog import load_catalog
from medbench.datasets.prepared import describe, prepare
from medbench.datasets.task import Task
from medbench.errors import DatasetError
from medbench.inference.external import prepare_like

SETS = {  # task, classes, images, channels as in the package medmnist
    "pathmnist": ("multi-class", 9, 107180, "colour"),
    "chestmnist": ("multi-label", 14, 112120, "grey"),
    "dermamnist": ("multi-class", 7, 10015, "colour"),
    "octmnist": ("multi-class", 4, 109309, "grey"),
    "pneumoniamnist": ("multi-class", 2, 5856, "grey"),
    "retinamnist": ("ordinal", 5, 1600, "colour"),
    "breastmnist": ("multi-class", 2, 780, "grey"),
    "bloodmnist": ("multi-class", 8, 17092, "colour"),
    "tissuemnist": ("multi-class", 8, 236386, "grey"),
    "organamnist": ("multi-class", 11, 58830, "grey"),
    "organcmnist": ("multi-class", 11, 23583, "grey"),
    "organsmnist": ("multi-class", 11, 25211, "grey"),
}


VOLUMES = [
    ("organmnist3d", 11, 1742),
    ("nodulemnist3d", 2, 1633),
    ("adrenalmnist3d", 2, 1584),
    ("fracturemnist3d", 3, 1370),
    ("vesselmnist3d", 2, 1908),
    ("synapsemnist3d", 2, 1759),
]


@functools.cache
def catalog():
    return load_catalog()


@pytest.mark.parametrize("name", SETS)
def test_every_set_is_registered_in_four_sizes_with_its_official_sums(name):
    task, n_classes, n_images, channels = SETS[name]
    sums = set()
    for size, end in ((28, ""), (64, "_64"), (128, "_128"), (224, "_224")):
        source = catalog().get(name + end.replace("_", "-"))
        assert (source.task, len(source.classes), source.n_images) == (task, n_classes, n_images)
        assert (source.channels, source.image_size) == (channels, size)
        download = source.download
        assert download.url == (
            f"https://zenodo.org/records/10519652/files/{name}{end}.npz?download=1"
        )
        assert download.path == f"medmnist/{name}{end}.npz"
        assert re.fullmatch("[0-9a-f]{32}", download.checksum)
        sums.add(download.checksum)
        assert source.published == (name if size == 28 else "")
        assert source.licence.startswith("CC BY")
    assert len(sums) == 4


@pytest.mark.parametrize(("name", "n_classes", "n_images"), VOLUMES)
def test_every_set_of_volumes_is_registered_in_two_sizes(name, n_classes, n_images):
    for size, end in ((28, ""), (64, "_64")):
        source = catalog().get(name + end.replace("_", "-"))
        assert (len(source.classes), source.n_images, source.image_size) == (
            n_classes,
            n_images,
            size,
        )
        download = source.download
        assert download.url.endswith(f"/10519652/files/{name}{end}.npz?download=1")
        assert download.megabytes == n_images * size**3 // 10**6 + 1
        assert re.fullmatch("[0-9a-f]{32}", download.checksum)
    assert f"{name}-128" not in catalog().sources


def test_the_sums_are_those_of_the_package_medmnist():
    for name, md5 in {
        "pneumoniamnist": "28209eda62fecd6e6a2d98b1501bb15f",
        "chestmnist-224": "45bd33e6f06c3e8cdb481c74a89152aa",
        "organsmnist-64": "53a6d115339d874c25e309a994ff46d3",
        "retinamnist-128": "e48e916a24454daf90583d4e6efb1a18",
        "nodulemnist3d": "8755a7e9e05a4d9ce80a24c3e7a256f3",
        "synapsemnist3d-64": "43bd14ebf3af9d3dd072446fedc14d5e",
    }.items():
        assert catalog().get(name).download.checksum == md5


def test_the_official_file_is_read_with_its_split_and_recorded_as_official(tiny, tmp_path):
    tiny.put(tmp_path / "data")
    source = tiny.source(tmp_path / "data")
    listing = source.listing()
    assert listing.classes == ("plain", "square")
    assert listing.table["split"].value_counts().to_dict() == {"train": 24, "test": 12, "val": 8}
    data = prepare("tinymnist", source, cache=tmp_path / "cache", threads=2)
    record = describe(data)
    assert record["published"] == "tinymnist"
    assert record["official_file"] is True
    arrays = np.load(tmp_path / "data/medmnist/tinymnist.npz")
    assert np.array_equal(data.images[:24][..., 0], arrays["train_images"])
    assert np.array_equal(data.images[32:][..., 0], arrays["test_images"])


@pytest.mark.parametrize("name", ["tinymnist", "tinymnist-64"])
@pytest.mark.parametrize("size", [28, 96, 128])
def test_the_size_of_a_model_does_not_change_which_archive_is_official(tiny, tmp_path, name, size):
    for file in ("tinymnist.npz", "tinymnist_64.npz"):
        path = tmp_path / "data" / "medmnist" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tiny.files[file])
    catalog = load_catalog(data_dir=tmp_path / "data", datasets_file=tiny.file)
    model = SimpleNamespace(task=Task(classes=("plain", "square"), image_shape=(size, size, 1)))
    data = prepare_like(model, name, catalog)
    assert data.images.shape == (44, size, size, 1)
    assert set(data.table["width"]) == {64 if name.endswith("64") else 28}
    assert describe(data)["official_file"] is True


def test_a_file_with_another_sum_is_refused_with_both_sums_and_stays(tiny, tmp_path):
    path = tiny.put(tmp_path / "data", tiny.files["tinymnist_64.npz"])
    with pytest.raises(DatasetError) as error:
        tiny.source(tmp_path / "data").listing()
    for text in (*tiny.sums, "datasets fetch tinymnist", "datasets add", str(path)):
        assert text in str(error.value)
    assert path.exists()


def test_the_sum_is_computed_again_only_when_the_file_has_changed(tiny, tmp_path, monkeypatch):
    path = tiny.put(tmp_path / "data")
    computed = []
    compute = remembered.hash_of_file
    monkeypatch.setattr(
        remembered, "hash_of_file", lambda p, kind: computed.append(p) or compute(p, kind)
    )
    tiny.source(tmp_path / "data").listing()
    tiny.source(tmp_path / "data").listing()
    assert len(computed) == 1
    path.write_bytes(b"PK" + bytes(3))
    with pytest.raises(DatasetError, match="its MD5 sum is"):
        tiny.source(tmp_path / "data").listing()
    assert len(computed) == 2


def test_a_missing_set_says_what_to_type_and_where_the_file_would_be(tiny, tmp_path):
    with pytest.raises(DatasetError) as error:
        tiny.source(tmp_path, name="tinymnist-64").listing()
    for text in (
        str(tmp_path / "medmnist" / "tinymnist_64.npz"),
        "cache",
        "datasets fetch tinymnist-64",
        "--download",
        "https://zenodo.org",
        "1 MB",
    ):
        assert text in str(error.value)
