"""Names of classes as people have them: with =, dashes, blanks and accents in two compositions."""

from __future__ import annotations

import shlex
import unicodedata

import pytest

from medbench.errors import ConfigurationError
from medbench.inference.class_map import read_map, same_names, written_pair

NFD = unicodedata.normalize("NFD", "Grippé")
THEIRS = ("p<.05=yes", "-negativ", "Grippé", "a", "a=b", "正常", "#1|x")
OURS = ("x", "b=x", "y=z", "-n", NFD)


def read(*pairs: str):
    return read_map(pairs, ours=OURS, theirs=THEIRS)


@pytest.mark.parametrize(
    ("pair", "means"),
    [
        ("a=x", ("a", "x")),
        (r"p<.05\=yes=x", ("p<.05=yes", "x")),
        ("p<.05=yes=x", ("p<.05=yes", "x")),  # no other reading names two classes
        (r"p<.05\=yes=y\=z", ("p<.05=yes", "y=z")),
        (r"\-negativ=\-n", ("-negativ", "-n")),
        ("-negativ=x", ("-negativ", "x")),
        ("正常=x", ("正常", "x")),
        ("#1|x=x", ("#1|x", "x")),
        (f"{NFD}=Grippé", ("Grippé", NFD)),
        (r"a\=b=x", ("a=b", "x")),
    ],
)
def test_a_pair_is_read_as_it_is_meant(pair, means):
    assert read(pair) == {means[0]: means[1]}


def test_a_pair_that_can_be_read_in_two_ways_says_both():
    with pytest.raises(ConfigurationError, match="read in two ways") as error:
        read("a=b=x")
    assert r"'a\=b=x'" in str(error.value) and r"'a=b\=x'" in str(error.value)


@pytest.mark.parametrize("pair", ["a", "=x", "a=", r"a\=x", ""])
def test_what_is_no_pair_shows_how_to_write_one(pair):
    with pytest.raises(ConfigurationError, match="write THEIRS=OURS"):
        read(pair)


def test_a_class_is_translated_once():
    with pytest.raises(ConfigurationError, match="twice"):
        read("Grippé=x", f"{NFD}=y=z")


@pytest.mark.parametrize("there", THEIRS)
@pytest.mark.parametrize("here", OURS)
def test_what_a_message_advises_can_be_typed(there, here):
    (typed,) = shlex.split(written_pair(there, here))
    assert read(typed) == {there: here}
    assert not typed.startswith("-")


def test_equal_names_are_the_same_however_they_are_composed():
    assert same_names(("a", NFD), ("Grippé", "a")) == {"Grippé": NFD, "a": "a"}
    assert same_names(("a", "b"), ("a", "c")) is None
