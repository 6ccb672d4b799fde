import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medbench.datasets.splits import group_folds, image_splits, outer_splits
from medbench.errors import ProtocolError


@st.composite
def grouped_labels(draw, n_classes=3):
    """Labels and groups in which every class has at least two groups; groups may mix classes."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=2 * n_classes, max_size=40))
    labels, groups = [], []
    for group, size in enumerate(sizes):
        home = group % n_classes
        for _ in range(size):
            mixed = draw(st.integers(0, 9)) == 0
            labels.append(draw(st.integers(0, n_classes - 1)) if mixed else home)
            groups.append(group)
        labels[-1] = home
    return np.array(labels), np.array(groups)


@given(grouped_labels(), st.integers(2, 6), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_two_images_of_one_patient_never_straddle_a_split(data, folds, seed):
    labels, groups = data
    try:
        drawn = group_folds(labels, groups, folds=folds, seed=seed)
    except ProtocolError:
        return  # mixed groups can make it impossible; that it says so is another test's matter
    held_out = np.concatenate([test for _, test in drawn])
    assert sorted(held_out) == list(range(len(labels)))
    for train, test in drawn:
        assert not set(groups[train]) & set(groups[test])
        assert set(labels[train]) == set(labels[test]) == set(labels)


def test_the_same_seed_gives_the_same_folds_and_another_seed_others():
    labels, groups = np.arange(60) % 2, np.arange(60) // 2 * 2 + np.arange(60) % 2
    first = group_folds(labels, groups, folds=3, seed=1)
    again = group_folds(labels, groups, folds=3, seed=1)
    other = group_folds(labels, groups, folds=3, seed=2)
    assert all((a[1] == b[1]).all() for a, b in zip(first, again, strict=True))
    assert [t.tolist() for _, t in first] != [t.tolist() for _, t in other]


def outer(labels, groups, official=None, folds=5):
    official = np.full(len(labels), "", dtype="<U5") if official is None else np.array(official)
    return outer_splits(
        np.array(labels),
        np.array(groups),
        official,
        folds=folds,
        repeats=1,
        seed=0,
        classes=("a", "b"),
    )


def test_fewer_groups_than_folds_gives_fewer_folds_and_says_so():
    plan = outer([0] * 9 + [1] * 9, [0, 0, 0, 1, 1, 1, 2, 2, 2, *range(3, 12)])
    assert len(plan.splits) == 3
    assert "3 folds instead of 5" in plan.notes[0]


def test_a_class_with_one_group_cannot_be_split():
    with pytest.raises(ProtocolError, match=r"class 'a' \(3 images of 1 group\) cannot be tested"):
        outer([0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 2, 3])


def test_an_official_split_is_kept_and_crossing_groups_are_reported():
    official = ["train"] * 4 + ["val"] * 30 + ["test"] * 2
    plan = outer([0, 1] * 18, [*range(34), 0, 35], official)
    (split,) = plan.splits
    assert split.name == "official"
    assert split.development.tolist() == list(range(34))
    assert split.validation.tolist() == list(range(4, 34))
    assert split.held_out.tolist() == [34, 35]
    assert "1 groups" in plan.notes[0] and "train and test" in plan.notes[0]


def test_an_official_test_part_that_lacks_a_class_is_refused():
    with pytest.raises(
        ProtocolError, match="official test part has no image of class 'b', so it cannot be tested"
    ):
        outer([0, 1, 0, 0], [0, 1, 2, 3], ["train", "train", "test", "test"])


def test_an_image_without_a_part_is_refused():
    with pytest.raises(ProtocolError, match="1 images are in no part"):
        outer([0, 1, 0, 1, 0], range(5), ["train", "train", "test", "test", ""])


def test_a_strict_split_leaves_crossing_images_out_of_the_training_side():
    official = np.array(["train"] * 4 + ["val"] * 30 + ["test"] * 2)
    groups = np.array([0, 1, 2, 4, *range(4, 34), 0, 35])
    labels, drawn = np.array([0, 1] * 18), {"folds": 5, "repeats": 1, "seed": 0}
    plan = outer_splits(labels, groups, official, classes=("a", "b"), strict=True, **drawn)
    (split,) = plan.splits
    assert split.held_out.tolist() == [34, 35]
    assert split.development.tolist() == [1, 2, *range(4, 34)]  # 0: also in test, 3: also in val
    assert split.validation.tolist() == list(range(4, 34))
    assert len(plan.notes) == 2 and "left out" in plan.notes[0]


def test_folds_of_several_labels_have_every_label_on_both_sides_and_whole_groups():
    rng = np.random.default_rng(0)
    labels = (rng.random((300, 4)) < [0.5, 0.2, 0.1, 0.05]).astype(np.int64)
    groups = np.repeat(np.arange(100), 3)
    folds = group_folds(labels, groups, folds=5, seed=0)
    assert len(folds) == 5
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])
        assert labels[train].any(axis=0).all() and labels[test].any(axis=0).all()
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(300))


def test_images_without_any_label_are_split_too():
    labels = np.zeros((40, 2), np.int64)
    labels[:10, 0] = labels[5:15, 1] = 1
    folds = group_folds(labels, np.arange(40), folds=2, seed=0)
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(40))


def test_an_official_split_is_repeated_with_the_same_images_under_other_names():
    labels = np.tile([0, 1], 6)
    official = np.array(["train"] * 8 + ["test"] * 4)
    plan = outer_splits(
        labels, np.arange(12), official, folds=5, repeats=3, seed=0, classes=("a", "b")
    )
    assert [split.name for split in plan.splits] == ["official", "official-r1", "official-r2"]
    assert [split.repeat for split in plan.splits] == [0, 1, 2]
    assert all((split.held_out == plan.splits[0].held_out).all() for split in plan.splits)


def test_folds_by_image_may_put_one_patient_on_both_sides_where_folds_by_group_never_do():
    labels, groups = np.repeat([0, 1], 30), np.repeat(np.arange(20), 3)
    whole = outer(labels, groups).splits
    single = image_splits(labels, folds=5, repeats=2, seed=0, classes=("a", "b"))

    def shared(split):
        return set(groups[split.development]) & set(groups[split.held_out])

    assert not any(shared(split) for split in whole)
    assert all(shared(split) for split in single)
    assert [split.name for split in single][4:6] == ["by-image-r0f4", "by-image-r1f0"]
    assert [split.repeat for split in single] == [0] * 5 + [1] * 5
    assert all(split.by_image for split in single)
    assert not any(split.by_image for split in whole)
    for repeat in (0, 1):
        held_out = [split.held_out for split in single if split.repeat == repeat]
        assert sorted(np.concatenate(held_out)) == list(range(60))
        assert all(set(labels[part]) == {0, 1} for part in held_out)


def test_a_class_of_one_image_cannot_be_split_by_image_either():
    with pytest.raises(ProtocolError, match=r"class 'b' \(1 image of 1 group\) cannot be tested"):
        image_splits(np.array([0, 0, 0, 1]), folds=2, repeats=1, seed=0, classes=("a", "b"))
