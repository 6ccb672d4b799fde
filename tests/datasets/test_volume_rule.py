"""What is made of a volume: slices, planes or a montage, as the entry says; or a clear error."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from medbench.datasets.catalog import load_catalog
from medbench.datasets.decode import Picture
from medbench.datasets.prepared import describe, prepare
from medbench.datasets.readers import OpenedImage, open_image
from medbench.datasets.sources.folder import FolderSource
from medbench.datasets.volume_rule import VolumeRule, recorded
from medbench.errors import ConfigurationError, DatasetError, UnreadableError
from medbench.testing.image_files import nifti_file, picture_file

VOXELS = np.random.default_rng(0).integers(0, 200, (20, 24, 9)).astype(np.uint8)
VOXELS[:10, :12, 5] = 250  # the largest foreground, though not the middle


def opened(voxels: np.ndarray = VOXELS) -> OpenedImage:
    return open_image(nifti_file(voxels), origin="scan-7")


def pictures(rule: int | str, voxels: np.ndarray = VOXELS) -> list[np.ndarray]:
    made = VolumeRule(slices=rule)
    seen = made.of(opened(voxels))
    return [seen.pixels(n - 1) for n in made.numbers(voxels.shape[2])]


def slices(*indices: int, voxels: np.ndarray = VOXELS) -> list[np.ndarray]:
    return [opened(voxels).pixels(index) for index in indices]


@pytest.mark.parametrize(("wanted", "indices"), [(1, [4]), (2, [3, 4]), (4, [2, 3, 4, 5])])
def test_a_number_takes_so_many_slices_in_the_middle(wanted: int, indices: list[int]) -> None:
    np.testing.assert_array_equal(pictures(wanted), slices(*indices))


def test_the_slice_with_the_largest_foreground_is_found_and_named() -> None:
    (picture,) = pictures("largest")
    np.testing.assert_array_equal(picture, slices(5)[0])
    seen = VolumeRule(slices="largest").of(opened())
    assert seen.called(0) == "slice 6"
    flat = np.full((6, 6, 9), 7, np.uint8)  # no slice has any: the middle one
    assert VolumeRule(slices="largest").of(opened(flat)).called(0) == "slice 5"


def test_three_planes_lie_as_radiologists_look_at_them() -> None:
    levels = np.zeros((20, 24, 9), np.uint8)
    levels[:, :, 8], levels[:, 23, :], levels[19, :, :] = 100, 150, 200  # superior, anterior, right
    axial, coronal, sagittal = pictures("planes", levels)
    top, left = (slice(0, 1), slice(None)), (slice(None), slice(0, 1))
    assert (axial.shape, coronal.shape, sagittal.shape) == ((24, 20), (9, 20), (9, 24))
    assert (axial[top][0, 1:] == axial[0, 1]).all() and axial[0, 1] > axial[5, 5]  # anterior above
    assert (axial[left] == 255).all() and (coronal[left] == 255).all()  # the right on the left
    assert coronal[0, 5] > coronal[5, 5] and sagittal[0, 5] > sagittal[5, 5]  # superior above
    assert (sagittal[1:, 0] > sagittal[1:, 5]).all()  # anterior on the left
    seen = VolumeRule(slices="planes").of(opened())
    assert [seen.called(i) for i in range(3)] == ["axial plane", "coronal plane", "sagittal plane"]


def test_a_montage_has_slices_at_even_distances_row_by_row() -> None:
    (picture,) = pictures("montage 4")
    first, second, third, fourth = slices(1, 3, 5, 7)
    np.testing.assert_array_equal(picture, np.block([[first, second], [third, fourth]]))
    (five,) = pictures("montage 5")
    assert five.shape == (2 * 24, 3 * 20) and not five[24:, 40:].any()
    (thin,) = pictures("montage 4", VOXELS[:, :, :2])  # of fewer slices some stand twice
    a, b = slices(0, 1, voxels=VOXELS[:, :, :2])
    np.testing.assert_array_equal(thin, np.block([[a, a], [b, b]]))


def test_a_plain_picture_stays_as_it_is_under_every_rule() -> None:
    picture = open_image(picture_file(VOXELS[..., 0]), origin="p")
    for rule in (3, "largest", "planes", "montage 9"):
        made = VolumeRule(slices=rule)
        assert list(made.numbers(1)) == [1] and made.of(picture) is picture


def test_planes_are_cut_of_volumes_only() -> None:
    stream = io.BytesIO()
    pages = [Image.fromarray(VOXELS[..., n]) for n in range(3)]
    pages[0].save(stream, "TIFF", save_all=True, append_images=pages[1:])
    stack = open_image(stream.getvalue(), origin="s.tif")
    with pytest.raises(DatasetError, match=r"^s.tif: .*no planes.*slices: 1"):
        VolumeRule(slices="planes").of(stack)
    assert VolumeRule(slices="montage 4").of(stack).pixels(0).shape == (40, 48)


def test_a_montage_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medbench.datasets.volume_rule.PIXEL_LIMIT", 1000)
    with pytest.raises(DatasetError, match=r"^scan-7: 60 x 72 pixels is above the limit"):
        pictures("montage")


@pytest.mark.parametrize("rule", [0, 1.5, True, None, "smallest", "montage 1", "montage 101"])
def test_what_is_no_rule_is_refused(rule: object) -> None:
    with pytest.raises(ValidationError, match="largest, planes or montage N with N from 2 to 100"):
        VolumeRule.model_validate({"slices": rule})


def test_what_is_no_rule_is_refused_by_its_line(tmp_path) -> None:
    file = tmp_path / "sets.yaml"
    file.write_text("s:\n  source: folder\n  path: s\n  slices: smallest\n")
    with pytest.raises(ConfigurationError, match=r'sets.yaml, line 4.*"slices": must be a number'):
        load_catalog(datasets_file=file)


@pytest.mark.parametrize(
    ("rule", "names", "size"),
    [
        (1, ["a/v.nii"], 20),
        ("largest", ["a/v.nii"], 20),
        (
            "planes",
            ["a/v.nii, axial plane", "a/v.nii, coronal plane", "a/v.nii, sagittal plane"],
            20,
        ),
        ("montage 4", ["a/v.nii"], 32),
    ],
)
def test_a_data_set_is_made_by_its_rule_and_says_so(rule, names, size, tmp_path) -> None:
    for name in "ab":
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "v.nii").write_bytes(nifti_file(VOXELS // (1 + (name == "b"))))
    source = FolderSource(path=str(tmp_path / "set"), slices=rule)
    data = prepare("v", source, cache=tmp_path / "cache", threads=1)
    assert data.names[: len(names)] == names and data.images.shape[1:] == (size, size, 1)
    made = VolumeRule(slices=rule)
    assert any(f"2 files with several slices (9): {made.words} of each" in n for n in data.notes)
    assert recorded(describe(data)["volumes"]) == made
    assert data.table.groupby("origin")["group"].nunique().eq(1).all()


@pytest.mark.parametrize(("rule", "shown"), [(1, "slice 5 of volume 2"), ("planes", "axial plane")])
def test_of_several_volumes_the_one_of_the_entry_is_taken(rule, shown, tmp_path) -> None:
    for name in "ab":
        (tmp_path / "set" / name).mkdir(parents=True)
        voxels = np.stack([VOXELS * 0, VOXELS, VOXELS // 2], axis=-1)
        (tmp_path / "set" / name / "v.nii").write_bytes(nifti_file(voxels))
    source = FolderSource(path=str(tmp_path / "set"), slices=rule, volume=2, image_size=24)
    data = prepare("v", source, cache=tmp_path / "cache", threads=1)
    picture = Picture(pictures(rule)[0], mode="uint8", n_bytes=0)
    np.testing.assert_array_equal(data.images[0], picture.resized(24, 1))
    assert data.table["shown"][0] == shown
    assert any("2 files with several volumes (3): volume 2 of each taken" in n for n in data.notes)
    assert recorded(describe(data)["volumes"]) == VolumeRule(slices=rule, volume=2)
    without = source.model_copy(update={"volume": None})
    with pytest.raises(UnreadableError, match=r"3 volumes .* the field volume of its entry"):
        prepare("v", without, cache=tmp_path / "cache", threads=1)


def test_a_set_without_volumes_has_no_rule(class_folders, tmp_path) -> None:
    listing = FolderSource(path=str(class_folders()), slices="largest").listing()
    assert listing.volumes is None and (listing.table["slice"] == 1).all()
