import json
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from medbench.datasets.audit import audit
from medbench.datasets.file_properties import auroc_of_each, cramers_v_of_each
from medbench.datasets.prepared import PreparedDataset
from medbench.datasets.sources.folder import FolderSource
from medbench.datasets.task import Task, label_frame

HOSTILE = "\x1b[31m$x_1$\n" + "long " * 30


def dataset(
    labels, *, classes=("a", "b"), task_type="multi-class", near=(), unreadable=(), **columns
):
    """A prepared data set by hand; ``near`` holds (first, second, distance, joined)."""
    labels = np.asarray(labels, np.int64)
    n = len(labels)
    rng = np.random.default_rng(0)
    defaults = {
        "group": np.arange(n),
        "patient": np.arange(n),
        "split": [""] * n,
        "width": np.full(n, 30),
        "height": np.full(n, 30),
        "mode": ["L"] * n,
        "bytes": np.full(n, 900),
        "pixel_hash": [f"{i:032x}" for i in range(n)],
        "warnings": [""] * n,
        "mask_like": np.zeros(n, bool),
    }
    images = columns.pop("images", None)
    if images is None:
        images = rng.integers(0, 255, (n, 8, 8, 1), dtype=np.uint8)
    pairs = pd.DataFrame(near, columns=["first", "second", "distance", "joined"]).astype(
        {"first": "int64", "second": "int64", "distance": "int64", "joined": "bool"}
    )
    table = pd.concat(
        [
            pd.DataFrame({"origin": [f"secret/{i}.png" for i in range(n)]}),
            label_frame(labels),
            pd.DataFrame({**defaults, **columns}),
        ],
        axis=1,
    )
    return PreparedDataset(
        name="mine",
        source=FolderSource(source="folder", path="mine"),
        task=Task(classes=tuple(classes), image_shape=images.shape[1:], task_type=task_type),
        images=images,
        table=table,
        near_pairs=pairs.assign(correlation=0.99),
        fingerprint="0",
        pixels_sha256="",
        unreadable=tuple(unreadable),
    )


def balanced(n=80, **columns):
    """Two classes in turn, about which there is nothing to be said."""
    return dataset(np.arange(n) % 2, **columns)


def hashes(n, *copies):
    """Pixel hashes of which those in each of ``copies`` are equal."""
    made = [f"{i:032x}" for i in range(n)]
    for rows in copies:
        for row in rows:
            made[row] = made[rows[0]]
    return made


def found(data):
    return {finding.check: finding for finding in audit(data).findings}


def only(data):
    (finding,) = audit(data).findings
    return finding


def test_nothing_is_said_of_a_sound_data_set():
    result = audit(balanced())
    assert result.findings == () and result.worst is None
    assert not result.reaches("warning") and not result.reaches(None)


def test_findings_come_worst_first_and_reach_what_is_at_most_as_bad():
    data = balanced(pixel_hash=hashes(80, [0, 2], [4, 7]), patient=-np.ones(80, int))
    result = audit(data)
    assert [f.severity for f in result.findings] == ["serious", "note", "note"]
    assert result.worst == "serious" and result.reaches("serious") and result.reaches("warning")
    notes = audit(balanced(patient=-np.ones(80, int)))
    assert notes.worst == "note" and not notes.reaches("warning") and notes.reaches("note")


def test_images_that_were_read_with_a_doubt_are_counted_by_what_it_is():
    doubts = ["", "its window is no number", "", "", "the first of 3 pages"] * 16
    finding = only(balanced(warnings=doubts))
    assert finding.check == "doubtful-reading" and finding.severity == "warning"
    assert "32 images" in finding.text and "the first of 3 pages (16)" in finding.text
    assert finding.images[:3] == (1, 4, 6) and finding.numbers["images"] == 32
    one = only(balanced(warnings=["odd", *[""] * 79]))
    assert one.severity == "note" and one.text == "1 image is shown with a doubt: odd (1)."


def test_identical_images_of_one_class_are_counted():
    finding = found(balanced(pixel_hash=hashes(80, [0, 2, 6], [1, 3])))["exact-duplicates"]
    assert finding.severity == "note"
    assert finding.numbers == {"groups": 2, "images": 5, "surplus": 3}
    assert set(finding.images) == {0, 1, 2, 3, 6}
    many = balanced(pixel_hash=hashes(80, range(0, 20, 2)), patient=np.arange(80) % 2 - 1)
    assert found(many)["exact-duplicates"].severity == "warning"


def test_images_of_one_group_stand_side_by_side():
    groups = np.arange(80)
    groups[[40, 3]] = 1, 0
    copies = hashes(80, [1, 40], [0, 3])
    data = balanced(pixel_hash=copies, group=groups)
    assert found(data)["exact-duplicates"].images == (0, 3, 1, 40)


def test_near_identical_images_are_counted_with_their_copies():
    data = balanced(near=[(0, 2, 6, True), (4, 6, 14, True)], pixel_hash=hashes(80, [2, 8]))
    finding = found(data)["near-duplicates"]
    assert finding.images == (0, 2, 4, 6, 8)
    assert "2 pairs" in finding.text and "6 to 14 of 256 bits" in finding.text


def test_identical_and_near_identical_images_under_different_labels_are_conflicts():
    data = balanced(near=[(0, 5, 6, True), (10, 12, 6, True)], pixel_hash=hashes(80, [20, 22, 23]))
    finding = found(data)["label-conflicts"]
    assert finding.severity == "serious"
    # of the three copies two pairs differ, and of the near pairs one
    assert finding.numbers == {"pairs": 3, "identical": 2, "near": 1}
    assert set(finding.images) == {0, 5, 20, 22, 23}
    assert finding.text.startswith("3 pairs of identical (2) or near-identical (1) images carry ")


def test_a_near_pair_stands_for_all_copies_of_both_images():
    data = balanced(near=[(0, 1, 6, True)], pixel_hash=hashes(80, [0, 2], [1, 3, 5]))
    assert found(data)["label-conflicts"].numbers == {"pairs": 6, "identical": 0, "near": 6}


def test_images_of_several_labels_conflict_where_one_label_differs():
    labels = np.stack([np.arange(80) % 2, np.arange(80) // 2 % 2], axis=1)
    same = dataset(labels, task_type="multi-label", pixel_hash=hashes(80, [0, 4]))
    differing = dataset(labels, task_type="multi-label", pixel_hash=hashes(80, [0, 2]))
    assert "label-conflicts" not in found(same)
    assert found(differing)["label-conflicts"].numbers["pairs"] == 1


@pytest.mark.parametrize(
    ("earlier", "later", "severity"),
    [("train", "test", "serious"), ("val", "test", "serious"), ("train", "val", "warning")],
)
def test_copies_on_both_sides_of_an_official_split_are_found(earlier, later, severity):
    split = np.array(["train", "train", "val", "val", "test", "test", "train", "train"] * 10)
    one, other = np.flatnonzero(split == earlier)[[0, 2]], np.flatnonzero(split == later)[[0, 2]]
    near = [(*sorted([one[0], other[0]]), 8, True)]
    copies = hashes(80, sorted([one[1], other[1]]))
    finding = found(balanced(split=split, near=near, pixel_hash=copies))["duplicates-across-parts"]
    assert finding.severity == severity
    assert finding.numbers == {"parts": [earlier, later], "pairs": 2, "identical": 1, "near": 1}
    assert set(finding.images) == {*one, *other}
    assert f"one image in {earlier} and the other in {later}" in finding.text


def test_patients_on_both_sides_of_an_official_split_are_found():
    patient = np.arange(100)
    patient[[1, 3]] = 79
    patient[[10, 75]] = -1  # unknown ones are not one patient
    split = np.array(["train"] * 40 + ["val"] * 32 + ["test"] * 28)
    finding = only(balanced(100, split=split, patient=patient, group=patient))
    assert (finding.check, finding.severity) == ("patients-across-parts", "serious")
    assert finding.text == "1 patient has images in both train and test (2 and 1)."
    assert set(finding.images) == {1, 3, 79}


def test_copies_under_two_patients_are_found_and_unknown_patients_are_not_two():
    patient = np.arange(80)
    patient[[4, 6]] = -1
    copies = hashes(80, [0, 2], [4, 6], [8, 10])
    patient[10] = patient[8]
    finding = found(balanced(patient=patient, pixel_hash=copies))["joins-across-patients"]
    assert finding.severity == "warning" and finding.images == (0, 2)
    assert "1 pair of identical images joins images of different patients" in finding.text


def test_a_patient_under_two_labels_is_a_note():
    patient = np.arange(80)
    patient[[0, 1]] = 5
    finding = only(balanced(patient=patient, group=patient))
    assert (finding.check, finding.severity) == ("patients-under-several-labels", "note")
    assert finding.images == (0, 1, 5)


def test_that_no_patient_is_named_is_a_note():
    assert only(balanced(patient=-np.ones(80, int))).check == "no-patients"


def test_pairs_at_which_joining_stopped_are_a_warning_and_nothing_else():
    near = [(i, i + 1, 12, False) for i in range(20)]
    finding = only(balanced(near=near))
    assert (finding.check, finding.severity) == ("joining-stopped", "warning")
    assert finding.numbers == {
        "pairs": 20,
        "images": 21,
        "different_labels": 20,
        "largest_joined": 10,
    }


def test_classes_of_unequal_size_are_a_note_and_of_very_unequal_size_a_warning():
    def of(rare):
        return found(dataset([0] * 200 + [1] * rare))

    assert "class-balance" not in of(100)
    assert of(50)["class-balance"].severity == "note"
    assert of(20)["class-balance"].severity == "warning"
    assert of(20)["class-balance"].text.endswith("'a' has 200 images and 'b' 20 (1:10).")


def test_a_rare_label_among_several_is_named():
    labels = np.zeros((200, 2), np.int64)
    labels[:100, 0] = labels[:12, 1] = 1
    finding = only(dataset(labels, task_type="multi-label", classes=("common", "rare")))
    assert finding.check == "class-balance" and finding.severity == "warning"
    assert "'rare' is in 12 of 200 images" in finding.text


def test_few_patients_of_a_class_count_and_not_their_images():
    groups = np.arange(80)
    groups[1::2] = np.arange(40) % 4 + 100
    finding = only(balanced(group=groups))
    assert (finding.check, finding.severity) == ("few-images", "serious")
    assert "'b' (40 images of 4 groups)" in finding.text
    groups[1::2] = np.arange(40) % 9 + 100
    assert only(balanced(group=groups)).severity == "warning"


def test_a_label_without_counterexamples_is_too_rare_as_well():
    labels = np.ones((80, 2), np.int64)
    labels[:40, 0] = labels[:3, 1] = 0
    finding = found(dataset(labels, task_type="multi-label"))["few-images"]
    assert finding.severity == "serious" and "without 'b' (3 images of 3 groups)" in finding.text


def test_a_file_size_that_gives_the_label_away_is_serious():
    size = np.where(np.arange(80) % 2, 1000, 2000) + np.arange(80)
    finding = only(balanced(bytes=size))
    assert (finding.check, finding.severity) == ("file-properties", "serious")
    assert "the file size alone tells 'a' from 'b' with AUROC 1.00" in finding.text
    assert finding.numbers["bytes"] == [1.0, 1.0] and "width" not in finding.numbers


def test_the_pixel_mode_and_the_shape_can_give_the_label_away():
    odd = np.arange(80) % 2 == 1
    modes = found(balanced(mode=np.where(odd, "RGB", "L")))["file-properties"]
    assert modes.severity == "serious" and "the pixel mode alone" in modes.text
    assert "Cramér's V 1.00" in modes.text
    wide = found(balanced(width=np.where(odd & (np.arange(80) < 50), 40, 30)))["file-properties"]
    assert wide.severity == "warning" and "also the aspect ratio (AUROC .81)" in wide.text


def test_a_property_of_few_images_says_nothing():
    assert "file-properties" not in found(balanced(30, bytes=np.arange(30) % 2 + 1))


def test_the_auroc_of_a_property_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 300)
    values = rng.integers(0, 9, 300) + 2.0 * (labels == 1) - 3.0 * (labels == 2)
    shown = labels[:, None] == np.arange(4)
    expected = [roc_auc_score(of_class, values) for of_class in shown.T]
    expected = [max(value, 1 - value) for value in expected]
    np.testing.assert_allclose(auroc_of_each(values, shown), expected)


def test_cramers_v_is_that_of_scipy():
    from scipy.stats.contingency import association, crosstab

    rng = np.random.default_rng(0)
    labels, codes = rng.integers(0, 3, 200), rng.integers(0, 4, 200)
    shown = labels[:, None] == np.arange(3)
    expected = [association(crosstab(codes, of_class).count) for of_class in shown.T]
    np.testing.assert_allclose(cramers_v_of_each(codes, shown), expected)


def test_images_that_show_nothing_are_found(monkeypatch):
    monkeypatch.setattr("medbench.datasets.audit._BLOCK_BYTES", 7 * 8 * 8 * 3)
    images = np.random.default_rng(0).integers(0, 255, (80, 8, 8, 3), dtype=np.uint8)
    images[[3, 50]] = (10, 20, 30)
    images[60, 4] = 9  # only its middle row is constant
    finding = only(balanced(images=images))
    assert (finding.check, finding.severity) == ("constant-images", "serious")
    assert finding.images == (3, 50)
    more = np.repeat(images, 10, axis=0)
    more[30:39] = images[0]
    more[500:505] = images[0]
    assert only(balanced(800, images=more)).severity == "warning"


def test_unreadable_files_are_counted_and_not_named():
    finding = only(balanced(unreadable=["secret/x.png: empty"]))
    assert finding.check == "unreadable" and finding.severity == "warning"
    assert finding.text == "1 of 81 files cannot be read and is left out."
    assert only(balanced(unreadable=["x"] * 20)).severity == "serious"


def test_the_record_is_json_without_names_of_files():
    data = dataset(
        np.arange(80) % 2,
        classes=(HOSTILE, "b"),
        pixel_hash=hashes(80, [0, 1], [2, 4]),
        near=[(5, 7, 9, True), (8, 9, 9, False)],
        unreadable=["secret/x.png: empty"],
        bytes=np.arange(80) % 2 + 1,
        mode=["L", "RGB"] * 40,
        split=["train", "test"] * 40,
        group=np.arange(80) % 8,
        patient=np.arange(80) % 3,
        images=np.zeros((80, 8, 8, 1), np.uint8),
    )
    record = audit(data).as_record()
    assert "secret" not in json.dumps(record, allow_nan=False)
    assert len(record["findings"]) > 8
    for finding in record["findings"]:
        assert finding["text"].isprintable() and finding["remedy"].isprintable()
        assert len(finding["text"]) < 400
        assert finding["text"].endswith(".") and finding["remedy"].endswith(".")


def test_the_record_of_many_images_is_kept_short():
    data = dataset(np.arange(3000) % 2, pixel_hash=hashes(3000, range(0, 3000, 2)))
    finding = audit(data).as_record()["findings"][0]
    assert finding["n_images"] == 1500 and len(finding["images"]) == 1000


def test_a_hundred_thousand_images_take_seconds():
    n = 100_000
    rng = np.random.default_rng(0)
    ends = np.sort(rng.choice(np.flatnonzero(np.arange(n) % 5), (50_000, 2)), axis=1)
    ends = ends[ends[:, 0] < ends[:, 1]]
    data = dataset(
        (rng.random((n, 14)) < 0.1).astype(np.int64),
        classes=tuple("abcdefghijklmn"),
        task_type="multi-label",
        near=np.column_stack([ends, np.full(len(ends), 8), np.ones(len(ends))]),
        pixel_hash=hashes(n, range(0, n, 5)),  # one image twenty thousand times
        patient=rng.integers(0, n // 3, n),
        bytes=rng.integers(1, n, n),
        split=rng.choice(["train", "val", "test"], n),
        images=np.zeros((n, 28, 28, 1), np.uint8),
    )
    began = time.process_time()
    assert found(data)["constant-images"].numbers["images"] == n
    assert time.process_time() - began < 5


def with_fields(labels, patients, **fields):
    """A data set whose headers say so, by numbers of what they say."""
    data = dataset(labels, group=patients, patient=patients)
    return replace(data, header_fields=pd.DataFrame(fields))


def test_a_header_that_gives_the_class_away_is_named_without_what_it_says():
    patients = np.repeat(np.arange(30), 2)
    labels = patients % 2
    rng = np.random.default_rng(0)
    telling = np.where(patients == 7, 0, labels) + 3
    fields = {
        "Manufacturer": telling,
        "StationName": rng.integers(0, 2, 30)[patients],
        "SeriesDescription": patients,  # of each patient another one: tells the others nothing
        "Modality": np.zeros(60, np.int64),
        "KVP": np.where(labels == 1, 5, -1),
    }
    finding = found(with_fields(labels, patients, **fields))["header-fields"]
    assert finding.severity == "warning" and [*finding.numbers["fields"]] == ["KVP", "Manufacturer"]
    assert finding.numbers["fields"]["KVP"] == [1, 1]
    assert 0.93 < finding.numbers["fields"]["Manufacturer"][0] < 0.97
    assert "KVP alone tells 'a' from 'b' with balanced accuracy 1.00" in finding.text
    del fields["KVP"], fields["Manufacturer"]
    assert "header-fields" not in found(with_fields(labels, patients, **fields))


def test_labels_within_patients_are_told_by_headers_even_of_three_patients():
    patients = np.repeat(np.arange(3), 12)
    labels = np.tile(np.repeat(np.arange(3), 4), 3)
    data = dataset(labels, classes=("t1", "t2", "flair"), group=patients, patient=patients)
    told = replace(data, header_fields=pd.DataFrame({"EchoTime": labels + 1, "Rows": patients}))
    assert [*found(told)["header-fields"].numbers["fields"]] == ["EchoTime"]
    two = labels[:24]
    few = with_fields(two % 2, patients[:24], EchoTime=two % 2)
    assert "header-fields" not in found(few)


def test_text_that_headers_say_is_burnt_in_is_counted_by_class():
    said = np.where(np.arange(80) % 4 == 1, 0, -1)
    finding = found(with_fields(np.arange(80) % 2, np.arange(80), BurnedInAnnotation=said))
    burnt = finding["burnt-in-text"]
    assert "20 images of 80 have text burnt" in burnt.text and len(burnt.images) == 20
    assert "0 of 40 of 'a', 20 of 40 of 'b'" in burnt.text
