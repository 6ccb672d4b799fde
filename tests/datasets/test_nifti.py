"""NIfTI: a slice lies as radiologists look at it, however the volume is stored; or an error."""

from __future__ import annotations

import gzip
import random
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, ornt_transform

from medbench.datasets.decode import Decoded, decode
from medbench.datasets.readers import nifti
from medbench.datasets.readers.nifti import NiftiReader
from medbench.errors import DatasetError

RAS = np.diag([2.0, 2.0, 3.0, 1.0])
VOLUME = np.random.default_rng(0).integers(0, 1000, (5, 6, 7)).astype(np.int16)


def volume(voxels: np.ndarray = VOLUME, affine: Any = RAS, kind: Any = nib.Nifti1Image) -> bytes:
    content: bytes = kind(voxels, affine).to_bytes()
    return content


def pixels_of(content: bytes, slice_number: int | None = None, limit: int = 10**6) -> np.ndarray:
    opened = NiftiReader().open(content, origin="scan-7", pixel_limit=limit)
    return opened.pixels((slice_number or 1) - 1)


def read(content: bytes, **options: Any) -> Decoded:
    return decode(content, **{"size": 8, "channels": 1, "origin": "scan-7"} | options)


def stored_as(codes: str) -> bytes:
    """The same patient, stored with other axes."""
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    image = nib.Nifti1Image(VOLUME, RAS).as_reoriented(turn)
    assert "".join(nib.aff2axcodes(image.affine)) == codes
    content: bytes = image.to_bytes()
    return content


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_nifti_file_is_told_by_its_content(kind: Any) -> None:
    content = volume(kind=kind)
    assert NiftiReader().recognises(content) and NiftiReader().recognises(gzip.compress(content))
    assert not NiftiReader().recognises(gzip.compress(b"patient,label\n" * 100))
    assert not NiftiReader().recognises(b"\x89PNG\r\n\x1a\n" + bytes(600))
    decoded = decode(content, size=8, channels=1, origin="scan.png", slice_number=1)
    assert (decoded.width, decoded.height, decoded.mode) == (5, 6, "int16")
    assert decoded.n_bytes == len(content)


def test_right_is_on_the_left_and_anterior_above() -> None:
    voxels = np.zeros((5, 6, 7), np.int16)
    voxels[4, 5, 2] = 100  # of all voxels the rightmost, the most anterior; third from below
    shown = pixels_of(volume(voxels), 3)
    assert shown.shape == (6, 5)
    assert shown[0, 0] == 255 and shown.sum() == 255
    assert not pixels_of(volume(voxels), 4).any()


@pytest.mark.parametrize("codes", ["LAS", "RPS", "LPI", "ASR", "SRA", "PIL", "IPR"])
def test_the_order_of_the_stored_axes_makes_no_difference(codes: str) -> None:
    for number in (1, 4, 7):
        np.testing.assert_array_equal(
            pixels_of(stored_as(codes), number), pixels_of(volume(), number)
        )


def test_an_oblique_volume_takes_the_closest_axes() -> None:
    angle = 0.3
    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    np.testing.assert_array_equal(pixels_of(volume(affine=turned), 2), pixels_of(volume(), 2))


@pytest.mark.parametrize(("codes", "said"), [((0, 0), True), ((1, 0), False), ((0, 2), False)])
def test_axes_that_point_nowhere_are_said(codes: tuple[int, int], said: bool) -> None:
    content = bytearray(volume())
    content[252:256] = np.array(codes, "<i2").tobytes()
    opened = NiftiReader().open(bytes(content), origin="s", pixel_limit=100)
    assert any("does not say where its axes point" in text for text in opened.warnings()) == said


def test_gzipped_and_plain_give_equal_pixels() -> None:
    content = volume()
    plain, packed = (read(c, slice_number=3) for c in (content, gzip.compress(content)))
    assert plain.pixel_hash == packed.pixel_hash
    parts = gzip.compress(content[:400]) + gzip.compress(content[400:])  # as bgzip writes
    assert read(parts, slice_number=3).pixel_hash == plain.pixel_hash


def test_all_slices_share_the_range_of_the_volume_negative_or_not() -> None:
    shown = np.stack([pixels_of(volume((VOLUME - 500).astype(np.float32)), n) for n in range(1, 8)])
    planes = np.stack([VOLUME[::-1, ::-1, n].T.astype(float) for n in range(7)])
    low, *_, high = np.sort(VOLUME, axis=None)[1:-1]  # of 210 voxels one at either end is clipped
    np.testing.assert_array_equal(
        shown, np.rint(np.clip((planes - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    )
    assert not pixels_of(volume(np.full((5, 6, 7), 9, np.int16)), 5).any()


def test_a_bright_voxel_does_not_darken_the_others() -> None:
    voxels = VOLUME.astype(np.int32)
    voxels[0, 0, 0] = 10**6
    other = pixels_of(volume(voxels), 4).astype(int)
    assert np.abs(other - pixels_of(volume(), 4)).max() <= 3


def test_a_small_object_in_an_empty_field_keeps_its_grey_levels() -> None:
    voxels = np.zeros((30, 30, 30), np.int16)
    voxels[10, 10, 10:20] = np.arange(100, 1100, 100)  # 1 of 2,700 voxels
    shown = [int(pixels_of(volume(voxels), n + 1).max()) for n in range(10, 20)]
    assert shown == np.rint(np.arange(1, 11) * 25.5).astype(int).tolist()
    background = np.ones((5, 6, 7), np.uint8)
    background[2, 3, 4] = 0  # nothing is above black
    assert pixels_of(volume(background), 5).min() == 0 < pixels_of(volume(background), 5).max()


def test_scaling_of_the_file_is_applied() -> None:
    image = nib.Nifti1Image(VOLUME, RAS)
    image.header.set_slope_inter(-0.5, 100)
    content = bytearray(image.to_bytes())
    content[112:120] = np.array([-0.5, 100], np.float32).tobytes()  # nibabel writes its own
    upright, inverted = pixels_of(volume(), 2), pixels_of(bytes(content), 2)
    assert np.abs(upright.astype(int) + inverted - 255).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint16, np.float32, np.float64, ">i2"])
def test_types_of_voxels_make_no_difference(dtype: Any) -> None:
    voxels = (VOLUME % 250).astype(dtype)
    header = nib.Nifti1Header(endianness=">") if dtype == ">i2" else None
    content = nib.Nifti1Image(voxels, RAS, header).to_bytes()
    np.testing.assert_array_equal(
        pixels_of(content, 2), pixels_of(volume((VOLUME % 250).astype(np.int16)), 2)
    )


def test_rgb_voxels_stay_as_they_are() -> None:
    colour = np.random.default_rng(0).integers(0, 200, (5, 6, 7, 3), dtype=np.uint8)
    voxels = colour.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    opened = NiftiReader().open(volume(voxels), origin="s", pixel_limit=100)
    assert opened.mode == "RGB"
    np.testing.assert_array_equal(opened.pixels(1), colour[::-1, ::-1, 1].transpose(1, 0, 2))


def test_a_volume_without_a_slice_number_says_how_many_there_are() -> None:
    with pytest.raises(DatasetError) as caught:
        read(volume())
    assert str(caught.value) == (
        "scan-7: a volume of 5 x 6 x 7 voxels, and a model of 2-D images takes one slice: "
        "give slice_number, from 1 to 7."
    )
    for number in (0, 8, -1):
        with pytest.raises(DatasetError, match=rf"scan-7: .*slice {number} .*from 1 to 7"):
            read(volume(), slice_number=number)


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 1), (5, 6, 1, 1), (5, 1, 6), (1, 5, 6)])
def test_a_single_plane_needs_no_slice_number(shape: tuple[int, ...]) -> None:
    plane = VOLUME[:, :, 0]
    content = volume(plane.reshape(shape))
    shown = np.rint((plane - plane.min()) / np.ptp(plane) * 255).astype(np.uint8)
    np.testing.assert_array_equal(pixels_of(content), shown[::-1, ::-1].T)
    np.testing.assert_array_equal(pixels_of(content, 1), pixels_of(content))
    with pytest.raises(DatasetError, match=r"scan-7: .*slice 2 .*leave slice_number out"):
        read(content, slice_number=2)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("shape", [(5, 6, 7, 2), (5, 6, 7, 1, 2)])
def test_of_several_volumes_each_is_shown_by_its_own_range(pack: Any, shape: Any) -> None:
    several = np.stack([VOLUME, VOLUME[:, :, ::-1] * 20], axis=-1).reshape(shape)
    opened = NiftiReader().open(pack(volume(several)), origin="s", pixel_limit=100)
    assert (opened.header.n_slices, opened.header.n_volumes) == (7, 2)
    for index in (0, 6, 13, 7, 1):
        wanted = pixels_of(volume(several.reshape(5, 6, 7, 2)[..., index // 7]), index % 7 + 1)
        np.testing.assert_array_equal(opened.pixels(index), wanted)


def test_of_several_volumes_one_must_be_chosen() -> None:
    several = volume(np.stack([VOLUME] * 2, axis=-1))
    said = r"scan-7: 2 volumes of 5 x 6 x 7 voxels .*from 1 to 2: the field volume of its entry"
    with pytest.raises(DatasetError, match=said) as caught:
        read(several, slice_number=1)
    assert caught.value.options == {"--volume": "N chooses one too"}


def test_no_more_is_unpacked_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    several = gzip.compress(volume(np.stack([VOLUME] * 3, axis=-1)))
    monkeypatch.setattr(nifti, "BYTE_LIMIT", 352 + 2 * VOLUME.nbytes)
    opened = NiftiReader().open(several, origin="scan-7", pixel_limit=100)
    np.testing.assert_array_equal(opened.pixels(7), opened.pixels(0))
    with pytest.raises(DatasetError, match=r"^scan-7: volume 3 ends above the limit"):
        opened.pixels(14)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_slice_that_is_not_finite_is_refused(value: float) -> None:
    voxels = VOLUME.astype(np.float32)
    voxels[1, 2, 3] = value
    with pytest.raises(DatasetError, match=r"scan-7: .*NaN or infinite"):
        read(volume(voxels), slice_number=4)
    assert pixels_of(volume(voxels), 3).any()  # another slice is sound


def test_voxels_that_are_no_numbers_are_refused_by_name() -> None:
    with pytest.raises(DatasetError, match="scan-7: voxels of type complex64"):
        read(volume(VOLUME.astype(np.complex64)), slice_number=1)


def test_a_header_without_voxels_is_refused() -> None:
    content = bytearray(volume())
    content[344:348] = b"ni1\0"
    with pytest.raises(DatasetError, match=r"scan-7: .*another file \(.img\)"):
        read(bytes(content), slice_number=1)


@pytest.mark.parametrize("order", "<>")
def test_an_analyze_header_is_refused_by_what_it_is(order: str) -> None:
    header = nib.AnalyzeHeader(endianness=order)
    header.set_data_shape((5, 6, 7))
    assert NiftiReader().recognises(header.binaryblock)
    with pytest.raises(DatasetError, match=r"scan-7: an Analyze header .*\(.img\).*nib-convert"):
        read(header.binaryblock, slice_number=1)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_truncated_nifti_file_is_named(kind: Any, pack: Any) -> None:
    content = pack(volume(kind=kind))
    for cut in (len(content) - 1, len(content) * 2 // 3, 400):
        with pytest.raises(DatasetError, match=r"^scan-7: .*(truncated|damaged)"):
            read(content[:cut], slice_number=1)


def test_a_wrong_checksum_is_noticed() -> None:
    content = bytearray(gzip.compress(volume()))
    content[-6] ^= 1
    with pytest.raises(DatasetError, match="scan-7: the gzipped NIfTI file is damaged"):
        read(bytes(content), slice_number=1)


def test_sizes_are_checked_before_anything_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatasetError, match="scan-7: 5 x 6 pixels is above the limit of 29 pixels"):
        read(volume()[:400], slice_number=1, pixel_limit=29)
    content = bytearray(volume())
    content[42:48] = np.array([30000, 30000, 30000], np.int16).tobytes()
    with pytest.raises(DatasetError, match="scan-7: a volume of 30000 x 30000 x 30000 voxels"):
        read(gzip.compress(content), slice_number=1, pixel_limit=10**9)
    monkeypatch.setattr(nifti, "BYTE_LIMIT", 400)
    with pytest.raises(DatasetError, match="limit of 400 bytes"):
        read(volume(), slice_number=1)


def test_what_follows_the_voxels_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = gzip.GzipFile.read
    monkeypatch.setattr(
        gzip.GzipFile, "read", lambda self, n=-1: (asked.append(n), real(self, n))[1]
    )
    bomb = gzip.compress(volume() + bytes(10**7))
    np.testing.assert_array_equal(pixels_of(bomb, 2), pixels_of(volume(), 2))
    assert 0 < max(asked) <= len(volume()) and min(asked) > 0


def test_repairs_of_a_header_are_made_in_silence(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    content = bytearray(volume())
    content[76:80] = np.float32(0).tobytes()  # the sign of the third axis, which may be 1 or -1
    np.testing.assert_array_equal(pixels_of(bytes(content), 2), pixels_of(volume(), 2))
    assert capfd.readouterr() == ("", "") and not caplog.records


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("damage_first", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_damaged_bytes_give_an_image_or_a_clear_error(
    kind: Any, pack: Any, damage_first: bool
) -> None:
    rng = random.Random(0)
    for _ in range(250):
        content = bytearray(volume(kind=kind) if damage_first else pack(volume(kind=kind)))
        for _ in range(rng.choice([1, 2, 8])):
            content[rng.randrange(min(len(content), 560))] = rng.choice(
                [0, 255, rng.randrange(256)]
            )
        if rng.random() < 0.2:
            del content[rng.randrange(len(content)) :]
        try:
            decoded = read(
                pack(content) if damage_first else bytes(content), slice_number=rng.choice([1, 2])
            )
        except DatasetError as error:
            assert str(error).startswith("scan-7: ")
        else:
            assert decoded.pixels.shape == (8, 8, 1)


@pytest.mark.parametrize("content", [np.zeros((4, 4), np.uint8), b"P5 2 2 255 abcd"])
def test_other_formats_have_one_slice(content: Any) -> None:
    assert read(content, slice_number=1).pixel_hash == read(content).pixel_hash
    with pytest.raises(DatasetError, match=r"scan-7: .*slice 2 .*leave slice_number out"):
        read(content, slice_number=2)


@pytest.mark.real
def test_real_hippocampi_are_read(real_data: Path) -> None:
    files = sorted((real_data / "nifti-hippocampus" / "crops").glob("*/*.nii.gz"))
    assert files
    for file in files[::40]:
        image = nib.as_closest_canonical(nib.load(file))
        decoded = decode(file.read_bytes(), size=24, channels=1, origin=file.name, slice_number=12)
        voxels = np.asarray(image.dataobj)
        black = np.percentile(voxels, 0.5, method="nearest")
        white = np.percentile(voxels[voxels > black], 99.5, method="nearest")
        plane = voxels[::-1, ::-1, 11].T.astype(float)
        expected = np.rint(np.clip((plane - black) / (white - black), 0, 1) * 255)
        np.testing.assert_array_equal(decoded.pixels[..., 0], expected)
