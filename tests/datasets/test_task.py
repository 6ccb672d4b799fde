"""The types of task, and labels as tables hold them."""

from __future__ import annotations

import numpy as np
import pytest

from medbench.datasets.task import Task, label_frame, labels_in, membership


@pytest.mark.parametrize(
    ("classes", "given", "task_type"),
    [
        (("a", "b"), "multi-class", "binary"),
        (("a", "b"), "ordinal", "binary"),
        (("a", "b"), "multi-label", "multi-label"),
        (("a", "b", "c"), "multi-class", "multi-class"),
        (("a", "b", "c"), "ordinal", "ordinal"),
    ],
)
def test_two_exclusive_classes_are_binary_whatever_they_were_called(classes, given, task_type):
    assert Task(classes=classes, image_shape=(8, 8, 1), task_type=given).task_type == task_type


@pytest.mark.parametrize(
    "labels", [np.array([2, 0, 1]), np.array([[0, 1, 1], [0, 0, 0]]), np.eye(12, dtype=np.int64)]
)
def test_labels_come_back_from_a_table_as_they_went_in(labels):
    table = label_frame(labels).assign(group=0, labelled_by="x")
    assert np.array_equal(labels_in(table), labels)


def test_membership_says_which_classes_an_image_shows():
    assert membership(np.array([1, 0]), 3).tolist() == [[False, True, False], [True, False, False]]
    several = np.array([[1, 1, 0], [0, 0, 0]])
    assert membership(several, 3).tolist() == [[True, True, False], [False, False, False]]
