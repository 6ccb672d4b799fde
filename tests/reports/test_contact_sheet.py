"""The sheet of duplicates: what is shown, in which order, and names that mean harm."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medbench.datasets.prepared import PreparedDataset
from medbench.datasets.sources.folder import FolderSource
from medbench.datasets.task import Task, label_frame
from medbench.errors import StoreError
from medbench.reports import contact_sheet
from medbench.reports.contact_sheet import duplicate_groups, write_contact_sheet
from medbench.reports.sheet_drawing import THUMBNAIL, load_font

pytestmark = pytest.mark.filterwarnings("error")


def dataset(copies=(), near=(), *, n=40, split=None, classes=("a", "b"), labels=None, channels=1):
    """Rows in each of ``copies`` are identical; ``near`` holds (first, second, bits, joined)."""
    hashes = [f"{i:032x}" for i in range(n)]
    for rows in copies:
        for row in rows:
            hashes[row] = hashes[rows[0]]
    labels = np.arange(n) % 2 if labels is None else labels
    table = label_frame(labels).assign(
        origin="x.png", split=[""] * n if split is None else split, pixel_hash=hashes
    )
    pairs = pd.DataFrame(near, columns=["first", "second", "distance", "joined"]).astype(
        {"first": "int64", "second": "int64", "distance": "int64", "joined": "bool"}
    )
    images = np.random.default_rng(0).integers(0, 255, (n, 24, 24, channels), dtype=np.uint8)
    return PreparedDataset(
        name="mine",
        source=FolderSource(source="folder", path="mine", title="A title"),
        task=Task(classes=classes, image_shape=images.shape[1:], task_type="multi-label")
        if labels.ndim == 2
        else Task(classes=classes, image_shape=images.shape[1:]),
        images=images,
        table=table,
        near_pairs=pairs,
        fingerprint="0",
        pixels_sha256="",
        unreadable=(),
    )


def written(monkeypatch, data, path, **options):
    """The texts on a sheet, in order."""
    texts = []
    draw = contact_sheet.ImageDraw.ImageDraw.text

    def spy(self, place, text, **how):
        texts.append(text)
        draw(self, place, text, **how)

    monkeypatch.setattr(contact_sheet.ImageDraw.ImageDraw, "text", spy)
    assert write_contact_sheet(data, path, **options)
    return texts


def test_nothing_is_written_where_nothing_is_alike(tmp_path):
    assert not write_contact_sheet(dataset(), tmp_path / "new" / "sheet.png")
    assert list(tmp_path.iterdir()) == []


def test_conflicts_come_first_then_other_parts_then_the_largest_distance():
    split = ["train"] * 20 + ["test"] * 20
    near = [(0, 2, 4, True), (4, 6, 18, True), (8, 30, 6, True), (10, 11, 2, True)]
    near.append((12, 13, 20, False))
    groups = duplicate_groups(dataset([(14, 16)], near, split=split))
    assert [g.rows for g in groups] == [(10, 11), (8, 30), (4, 6), (0, 2), (14, 16), (12, 13)]
    assert [g.conflict for g in groups] == [True, False, False, False, False, True]
    assert groups[1].parts == ("train", "test")
    assert [g.distance for g in groups] == [2, 6, 18, 4, 0, 20]
    assert [g.identical for g in groups] == [False] * 4 + [True, False]
    assert [g.joined for g in groups] == [True] * 5 + [False]


def test_images_alike_by_way_of_others_are_one_group():
    (group,) = duplicate_groups(dataset([(2, 8, 20)], [(0, 2, 4, True), (2, 4, 9, True)]))
    assert sorted(group.rows) == [0, 2, 4, 8, 20] and group.distance == 9


def test_a_large_group_shows_every_label_and_content_before_it_shows_copies():
    (group,) = duplicate_groups(dataset([range(0, 30, 2)], [(0, 31, 5, True), (0, 38, 5, True)]))
    assert group.rows[:3] == (0, 31, 38)


def test_the_sheet_says_what_is_shown_and_how_images_are_alike(monkeypatch, tmp_path):
    split = ["train"] * 20 + ["test"] * 20
    data = dataset([(2, 22)], [(0, 2, 4, True), (5, 6, 12, True), (7, 9, 1, True)], split=split)
    texts = written(monkeypatch, data, tmp_path / "sheet.png", most=2)
    assert texts[0] == "3 groups of identical or near-identical images; 2 shown"
    assert texts[1] == "mine: A title"
    assert texts[3:] == [
        *("Different labels", "b", "train, row 5", "", "a", "train, row 6", "12 bits to row 5"),
        *("In train and test", "a", "train, row 0", ""),
        *("a", "test, row 22", "4 bits to row 0", "a", "train, row 2", "= row 22"),
    ]


def test_pairs_that_were_not_joined_are_counted_apart(monkeypatch, tmp_path):
    data = dataset([(1, 3)], [(0, 2, 4, False)])
    texts = written(monkeypatch, data, tmp_path / "sheet.png")
    assert texts[0].startswith("1 group of identical or near-identical images, and 1 pair not join")
    assert texts[0].endswith("; all shown")
    assert "Not joined" in texts


def test_a_class_name_is_drawn_as_it_is_in_one_line_and_cut(monkeypatch, tmp_path):
    names = ("$x_1$ \x1b[31m\n", "a very long name " * 1000)
    data = dataset([(0, 2), (1, 3)], classes=names)
    texts = written(monkeypatch, data, tmp_path / "sheet.png")
    assert "$x_1$ [31m" in texts
    (long,) = {text for text in texts if text.startswith("a very")}
    assert long.endswith("…") and len(long) < 40
    font = load_font("normal", 12)
    assert font.getlength(long) <= THUMBNAIL


def test_all_labels_of_an_image_are_named(monkeypatch, tmp_path):
    labels = np.zeros((40, 2), np.int64)
    labels[0] = 1
    texts = written(monkeypatch, dataset([(0, 2)], labels=labels), tmp_path / "sheet.png")
    assert {"a + b", "no label", "Different labels"} <= set(texts)


@pytest.mark.parametrize("channels", [1, 3])
def test_thumbnails_have_the_images_pixels_and_no_file_is_left_over(channels, tmp_path):
    path = tmp_path / "out" / "sheet.png"
    data = dataset([(0, 2), range(1, 31, 2)], channels=channels)
    assert write_contact_sheet(data, path)
    assert list(tmp_path.rglob("*.*")) == [path]
    sheet = np.asarray(Image.open(path))
    factor = THUMBNAIL // 24
    for row in (0, 2, 1, 11):
        wanted = np.broadcast_to(data.images[row], (24, 24, 3))
        assert any(
            np.array_equal(
                sheet[y : y + 24 * factor : factor, x : x + 24 * factor : factor], wanted
            )
            for y, x in np.argwhere((sheet == wanted[0, 0]).all(axis=2))
        )


def test_equal_data_sets_give_equal_files(tmp_path):
    for name in ("one.png", "two.png"):
        write_contact_sheet(dataset([(0, 2)]), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_a_sheet_that_cannot_be_written_is_refused_in_words(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        write_contact_sheet(dataset([(0, 2)]), tmp_path / "file" / "sheet.png")
