"""Long steps say how far they are; short ones say nothing."""

import re

import numpy as np
import pytest

from medbench.datasets import progress_callback
from medbench.datasets.prepared import prepare
from medbench.datasets.progress_callback import with_progress
from medbench.datasets.sources.phantoms import PhantomSource


@pytest.fixture
def slow(monkeypatch):
    """Every step counts as long."""
    monkeypatch.setattr(progress_callback, "_FIRST_SECONDS", 0)
    monkeypatch.setattr(progress_callback, "_EVERY_SECONDS", 0)


def test_a_short_step_says_nothing():
    said = []
    assert list(with_progress("abc", 3, "read", said.append)) == ["a", "b", "c"]
    assert said == []


@pytest.mark.usefixtures("slow")
def test_a_long_step_says_which_share_is_done():
    said = []
    list(with_progress(range(4), 4, "reading", said.append))
    assert said == ["reading: 0%", "reading: 25%", "reading: 50%", "reading: 75%"]


@pytest.mark.usefixtures("slow")
def test_decoding_and_the_search_for_copies_are_told_of_with_the_name_of_the_set(tmp_path):
    said = []
    source = PhantomSource(patients=4, images_per_patient=2)
    data = prepare("drawn", source, cache=tmp_path, threads=1, say=said.append)
    assert np.shape(data.images)[0] == 8
    steps = {re.sub(r"\d+%", "N", line) for line in said}
    assert steps == {
        "drawn: decoding images: N",
        "drawn: looking for near-identical images: N",
    }
