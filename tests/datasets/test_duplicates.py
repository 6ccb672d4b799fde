"""Copies of one image share a group, however they were made; different images do not."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter

from medbench.datasets import duplicates
from medbench.datasets.catalog import load_catalog
from medbench.datasets.duplicates import (
    LARGEST_SMALL,
    MOST_BITS,
    joined_groups,
    near_pairs,
    patient_numbers,
    perceptual_hash,
)
from medbench.datasets.prepared import prepare
from medbench.datasets.sources.folder import FolderSource

BITS = 256


def picture(seed: int, side: int = 160) -> Image.Image:
    """Smooth shapes with some grain, as a radiograph has."""
    rng = np.random.default_rng(seed)
    shapes = gaussian_filter(rng.standard_normal((side, side)), side / 20)
    shapes = (shapes - shapes.min()) / np.ptp(shapes) * 190 + 20
    return Image.fromarray((shapes + rng.normal(0, 2, shapes.shape)).clip(0, 255).astype(np.uint8))


COPIES = {
    "recompressed": ("jpg", lambda image, path: image.save(path, quality=55)),
    "smaller": ("png", lambda image, path: image.resize((100, 100)).save(path)),
    "larger": ("png", lambda image, path: image.resize((260, 260)).save(path)),
    "brighter": ("png", lambda image, path: ImageEnhance.Brightness(image).enhance(1.2).save(path)),
    "in colour": ("png", lambda image, path: image.convert("RGB").save(path)),
}


@pytest.fixture
def prepared(tmp_path):
    """Five pictures a class, and whatever a test adds; what is prepared of them."""
    for seed in range(10):
        folder = tmp_path / "set" / "ab"[seed % 2]
        folder.mkdir(parents=True, exist_ok=True)
        picture(seed).save(folder / f"{seed}.png")

    def make():
        source = FolderSource(path=str(tmp_path / "set"), image_size=64)
        return prepare("mine", source, cache=tmp_path / "cache", threads=1)

    return tmp_path / "set", make


def groups_by_origin(data) -> pd.Series:
    return data.table.set_index("origin")["group"]


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_in_the_group_of_its_original(prepared, how):
    root, make = prepared
    suffix, write = COPIES[how]
    write(picture(4), root / "b" / f"copy.{suffix}")
    data = make()
    groups = groups_by_origin(data)
    assert groups[f"b/copy.{suffix}"] == groups["a/4.png"]
    assert groups.nunique() == 10  # and no two different pictures are joined
    if how == "in colour":  # the same pixels: no pair of images that are merely alike
        assert data.near_pairs.empty
    else:
        (pair,) = data.near_pairs.to_dict("records")
        assert pair["joined"] and pair["distance"] <= MOST_BITS and pair["correlation"] > 0.9


def test_a_chain_of_copies_is_one_group(prepared):
    root, make = prepared
    picture(0).save(root / "a" / "copy.jpg", quality=50)
    picture(0).resize((90, 90)).save(root / "b" / "small.png")
    (root / "b" / "again.png").write_bytes((root / "b" / "small.png").read_bytes())
    groups = groups_by_origin(make())
    assert len(set(groups[["a/0.png", "a/copy.jpg", "b/small.png", "b/again.png"]])) == 1
    assert groups.nunique() == 10


def test_constant_images_of_different_grey_are_not_alike(prepared):
    root, make = prepared
    for grey in (40, 90, 200):
        Image.new("L", (50, 50), grey).save(root / "a" / f"grey{grey}.png")
    Image.new("L", (50, 50), 90).save(root / "b" / "grey.png")
    data = make()
    groups = groups_by_origin(data)
    assert data.near_pairs.empty
    assert groups["b/grey.png"] == groups["a/grey90.png"]  # these are the same image
    assert groups.nunique() == 13


def hashes_of(*patterns: int) -> np.ndarray:
    """256-bit hashes with so many of their first bits set."""
    bits = np.zeros((len(patterns), BITS), np.uint8)
    for row, ones in zip(bits, patterns, strict=True):
        row[:ones] = 1
    return np.packbits(bits, axis=1)


def images_like(n: int, *, seed: int = 0) -> np.ndarray:
    """The same image n times over, uint8, shape (n, 8, 8, 1)."""
    image = np.random.default_rng(seed).integers(0, 255, (8, 8, 1), dtype=np.uint8)
    return np.repeat(image[None], n, axis=0)


def distinct(n: int) -> list[str]:
    return [f"{i:032x}" for i in range(n)]


def test_close_hashes_count_only_where_the_pixels_correlate():
    images = images_like(4)
    images[2] = 255 - images[2]  # its negative
    images[3] = 128  # nothing to correlate
    pairs = near_pairs(hashes_of(0, 1, 2, 3), distinct(4), images, 1)
    assert pairs[["first", "second"]].to_numpy().tolist() == [[0, 1]]
    assert pairs["correlation"].tolist() == pytest.approx([1.0])


def test_the_distance_may_be_twenty_bits_and_not_more():
    pairs = near_pairs(hashes_of(0, MOST_BITS), distinct(2), images_like(2), 1)
    assert pairs["distance"].tolist() == [MOST_BITS] and pairs["joined"].tolist() == [True]
    assert near_pairs(hashes_of(0, MOST_BITS + 1), distinct(2), images_like(2), 1).empty


def test_of_identical_images_only_the_first_is_paired():
    pairs = near_pairs(hashes_of(5, 5, 9, 9), ["a", "a", "b", "b"], images_like(4), 1)
    assert pairs[["first", "second"]].to_numpy().tolist() == [[0, 2]]


def test_images_with_one_perceptual_hash_are_pairs_at_distance_zero():
    pairs = near_pairs(hashes_of(7, 7, 7), distinct(3), images_like(3), 1)
    assert pairs["distance"].tolist() == [0, 0]
    assert joined_groups([""] * 3, distinct(3), pairs, files=distinct(3)).tolist() == [0, 0, 0]


def test_joining_stops_at_ten_images_of_a_small_set_the_closest_pairs_first():
    # a row of images of which neighbours differ in 16 bits, the last three in one
    steps = [*range(0, 16 * 12, 16), 16 * 11 + 1, 16 * 11 + 2]
    n = len(steps)
    pairs = near_pairs(hashes_of(*steps), distinct(n), images_like(n), 1)
    close = pairs["distance"] <= 2
    assert close.sum() == 3 and pairs.loc[close, "joined"].all()
    assert not pairs["joined"].all()
    groups = joined_groups([""] * n, distinct(n), pairs, files=distinct(n))
    assert np.bincount(groups).max() == LARGEST_SMALL
    assert len(set(groups[11:])) == 1
    # what was not joined would have made a component that is too large
    for pair in pairs[~pairs["joined"]].itertuples():
        sizes = [(groups == groups[row]).sum() for row in (pair.first, pair.second)]
        assert groups[pair.first] != groups[pair.second] and sum(sizes) > LARGEST_SMALL


def test_joining_stops_at_one_percent_of_a_large_set():
    rng = np.random.default_rng(0)
    n = 1500
    hashes = rng.integers(0, 256, (n, BITS // 8), dtype=np.uint8)
    hashes[:40] = hashes[0]  # all in one, at distance 0
    images = np.repeat(images_like(1), n, axis=0)
    pairs = near_pairs(hashes, distinct(n), images, 1)
    groups = joined_groups([""] * n, distinct(n), pairs, files=distinct(n))
    assert np.bincount(groups).max() == 15


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.tuples(st.integers(0, 59), st.integers(0, 30)), max_size=25),
)
@settings(max_examples=40, deadline=None, database=None)
def test_the_search_finds_exactly_the_pairs_within_twenty_bits(seed, planted):
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (60, BITS), dtype=np.uint8)
    for of, flipped in planted:  # a copy of an image with so many bits flipped, anywhere
        near = bits[of].copy()
        near[rng.permutation(BITS)[:flipped]] ^= 1
        bits = np.vstack([bits, near])
    bits = np.unique(bits, axis=0)
    n = len(bits)
    pairs = near_pairs(np.packbits(bits, axis=1), distinct(n), images_like(n), 1)
    distance = (bits[:, None] != bits[None]).sum(axis=2)
    wanted = {(i, j): distance[i, j] for i, j in np.argwhere(np.triu(distance <= MOST_BITS, 1))}
    found = {(p.first, p.second): p.distance for p in pairs.itertuples()}
    assert found == wanted


@pytest.mark.parametrize("comparisons", [1, 300, duplicates._COMPARISONS])
def test_where_all_images_look_alike_each_keeps_the_nearest_of_those_after_it(
    comparisons, monkeypatch
):
    monkeypatch.setattr(duplicates, "_COMPARISONS", comparisons)
    rng = np.random.default_rng(0)
    bits = np.unique((rng.random((150, BITS)) < 0.03).astype(np.uint8), axis=0)
    n = len(bits)
    pairs = near_pairs(np.packbits(bits, axis=1), distinct(n), images_like(n), 1)
    distance = (bits[:, None] != bits[None]).sum(axis=2)
    for row in range(n):
        found = sorted(pairs.loc[pairs["first"] == row, "distance"])
        after = np.sort(distance[row, row + 1 :])
        assert found == after[after <= MOST_BITS][: duplicates._NEIGHBOURS].tolist()
    assert (pairs["first"] < pairs["second"]).all()


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "", "p", "q", "r"]), st.integers(0, 8), st.integers(0, 20)),
        min_size=1,
        max_size=30,
    ),
    st.data(),
)
@settings(max_examples=80, deadline=None, database=None)
def test_groups_are_what_patients_files_copies_and_near_copies_connect(rows, data):
    n = len(rows)
    names, pixels, files = ([str(row[k]) for row in rows] for k in range(3))
    row = st.integers(0, n - 1)
    near = data.draw(st.lists(st.tuples(row, row, st.booleans()), max_size=6))
    pairs = pd.DataFrame(near, columns=["first", "second", "joined"])
    pairs["joined"] = pairs["joined"].astype(bool)
    pairs = pairs.astype({"first": "int64", "second": "int64"})
    groups = joined_groups(names, pixels, pairs, files=files)
    linked = {frozenset((one, other)) for one, other, joined in near if joined}
    alike = np.array(
        [
            [
                i == j
                or (names[i] != "" and names[i] == names[j])
                or pixels[i] == pixels[j]
                or files[i] == files[j]
                or frozenset((i, j)) in linked
                for j in range(n)
            ]
            for i in range(n)
        ]
    )
    reach = alike
    for _ in range(n.bit_length()):
        reach = reach @ reach
    assert np.array_equal(groups[:, None] == groups[None], reach)


def test_patient_numbers_say_nothing_but_who_is_who():
    numbers = patient_numbers(["Jane Doe", "", "1234", "Jane Doe", "\x00", "\x00x"])
    assert numbers.tolist() == [0, -1, 1, 0, 2, 3]
    assert numbers.dtype == np.int64


@pytest.mark.parametrize("n", [0, 1])
def test_a_set_without_pairs_has_none(n):
    images = images_like(n).reshape(n, 8, 8, 1)
    pairs = near_pairs(hashes_of(*range(n)).reshape(n, 32), distinct(n), images, 1)
    assert list(pairs) == ["first", "second", "distance", "correlation", "joined"]
    assert pairs.empty and pairs["joined"].dtype == bool
    assert joined_groups([""] * n, distinct(n), pairs, files=distinct(n)).tolist() == list(range(n))


def test_the_perceptual_hash_has_256_bits_and_hardly_moves():
    one = perceptual_hash(picture(0))
    assert one.dtype == np.uint8 and one.shape == (32,)

    def apart(other: Image.Image) -> int:
        return int(np.unpackbits(one ^ perceptual_hash(other)).sum())

    assert apart(picture(0).resize((80, 80))) <= MOST_BITS
    assert apart(picture(1)) > 3 * MOST_BITS


@pytest.mark.real
def test_brain_mri_has_the_209_groups_of_a_table_of_copies_that_lies_beside_it(real_data, tmp_path):
    source = load_catalog(data_dir=real_data).get("brain-mri")
    found = groups_by_origin(prepare("brain-mri", source, cache=tmp_path, threads=2))
    table = pd.read_csv(real_data / "brain-mri-groups.csv").set_index("file")["group_id"]
    named = table[found.index]
    assert found.nunique() == named.nunique() == 209
    pairs = set(zip(found.tolist(), named.tolist(), strict=True))
    assert len(pairs) == 209  # group by group the same images


@pytest.mark.real
def test_two_ids_of_one_patient_of_the_chest_films_are_joined_and_nobody_else(real_data, tmp_path):
    from medbench.datasets.sources.table import TableSource

    file = real_data / "covid-cxr" / "metadata.csv"
    source = TableSource(path=str(file), group="patient_id", image_size=64)
    data = prepare("films", source, cache=tmp_path, threads=2)
    assert data.table["patient"].nunique() == 590
    assert data.table["group"].nunique() == 589
    who = pd.read_csv(file).set_index("file")["patient_id"]
    groups = groups_by_origin(data)
    joined = {groups[who.index[who == name]].iloc[0] for name in ("cc-97", "cc-178")}
    assert len(joined) == 1
