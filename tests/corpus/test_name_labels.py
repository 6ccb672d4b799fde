"""Labels in the names of files: as a pattern has them, or proposed where the names are obvious."""

import numpy as np
import pytest
import yaml
from PIL import Image

from medbench.cli import main
from medbench.datasets.catalog import read_datasets
from medbench.datasets.sources.folder import FolderSource
from medbench.errors import ConfigurationError, DatasetError


@pytest.fixture
def save(tmp_path):
    def save(names):
        for seed, name in enumerate(names):
            path = tmp_path / "films" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(seed).integers(0, 256, (16, 16), np.uint8)
            Image.fromarray(pixels).save(path)
        return tmp_path / "films"

    return save


def listing(root, pattern, **fields):
    entry = {"path": str(root), "labels": {"pattern": pattern}} | fields
    return FolderSource.model_validate(entry).listing()


FLAT = [f"{label}_{n}.png" for label in ("covid", "normal") for n in range(3)]


def test_a_pattern_gives_label_patient_and_split(save):
    root = save(
        [f"{part}/p{n}-{label}-{k}.png"
         for part, ns in (("train", (1, 2, 3)), ("test", (4,)))
         for n in ns for label in ("covid", "normal") for k in (0, 1)]
    )  # fmt: skip
    found = listing(root, r"(?P<split>train|test)/(?P<patient>p\d)-(?P<label>[a-z]+)-\d\.png")
    assert found.images_per_class() == {"normal": 8, "covid": 8}
    assert found.images_per_part() == {"train": 12, "test": 4}
    assert found.n_groups() == 4
    found = listing(
        root, r".*-(?P<label>[a-z]+)-.*", exclude=["test/*"]
    )  # without a slash: no folders
    assert (len(found.table), found.n_groups(), found.images_per_part()) == (12, 0, {})


def test_names_that_do_not_fit_are_named_and_may_be_left_out(save):
    root = save([*FLAT, "sheet.png", "Thumbs up.png"])
    with pytest.raises(
        DatasetError, match=r"2 of 8 files .*'Thumbs up\.png', 'sheet\.png'.*exclude"
    ):
        listing(root, r"(?P<label>[a-z]+)_\d\.png")
    found = listing(root, r"(?P<label>[a-z]+)_\d\.png", exclude=["sheet.png", "Thumbs*"])
    assert found.images_per_class() == {"normal": 3, "covid": 3}


def test_classes_choose_among_the_labels_and_what_is_left_out_is_counted(save):
    root = save([*FLAT, "mixed_1.png"])
    found = listing(root, r"(?P<label>[a-z]+)_.*", classes=["normal", "covid"])
    assert found.classes == ("normal", "covid")
    assert (
        "1 image with labels that the field classes does not list left out: 'mixed' 1"
        in found.notes
    )


def test_labels_that_differ_in_case_only_are_refused(save):
    root = save([*FLAT, "Covid_7.png"])
    with pytest.raises(DatasetError, match=r"labels in the names 'Covid' .* 'covid' .* capitals"):
        listing(root, r"(?P<label>[A-Za-z]+)_.*")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": {"pattern": "(?P<label>["}}, "is no regular expression"),
        ({"labels": {"pattern": "[a-z]+_.*"}}, r"no group \(\?P<label>"),
        ({"labels": {"pattern": "(?P<label>a)(?P<who>b)"}}, "group called who"),
        ({"labels": {"pattern": "(?P<label>a)(?P<group>b)(?P<patient>c)"}}, "one thing"),
        ({"labels": {"pattern": "(?P<label>(a+)+)b"}}, "may never end"),
        ({"labels": {"pattern": "(?P<label>a)" + "b?" * 200}}, "at most 300 characters"),
        ({"labels": {"pattern": "(?P<label>a)"}, "folders": "parts"}, "folders"),
        (
            {"labels": {"pattern": "(?P<label>a)(?P<group>b)"}, "groups": {"table": "x.csv"}},
            "groups",
        ),
    ],
)  # fmt: skip
def test_what_a_pattern_cannot_be_is_told_with_file_and_field(tmp_path, fields, message):
    file = tmp_path / "datasets.yaml"
    file.write_text(yaml.safe_dump({"films": {"source": "folder", "path": "films"} | fields}))
    with pytest.raises(ConfigurationError, match=rf"(?s)datasets\.yaml.*{message}"):
        read_datasets(file)


@pytest.mark.parametrize("said", ["(?P<split>[a-z]+)_.*(?P<label>\\d).png", "(?P<label>x?).*"])
def test_what_a_name_says_wrongly_is_refused(save, said):
    with pytest.raises(DatasetError, match=r"'covid_0\.png'.*--pattern"):
        listing(save(FLAT), said)


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ([f"{c}-{n}.png" for c in ("NORMAL", "COVID") for n in (1, 2)], {"NORMAL", "COVID"}),
        ([f"no_tumor ({n}).png" for n in (1, 2)] + ["tumor (1).png", "tumor (2).png"],
         {"no_tumor", "tumor"}),
        ([f"{n}_{c}.png" for c in ("benign", "bad") for n in (1, 2)], {"benign", "bad"}),
        ([f"person{n}_{c}_{n}.png" for c in ("virus", "bacteria") for n in (1, 2)],
         {"virus", "bacteria"}),
        ([f"CHNCXR_000{n}_{c}.png" for c in (0, 1) for n in (1, 2)], {"0", "1"}),
        ([f"{p}/{c}.{n}.png" for p in ("train", "test") for c in ("cat", "dog") for n in (1, 2)],
         {"cat", "dog"}),
    ],
)  # fmt: skip
def test_names_that_obviously_say_classes_have_a_pattern_proposed_that_works(
    save, names, classes, tmp_path, monkeypatch, capsys
):
    root = save(names)
    monkeypatch.chdir(tmp_path)
    assert main(["datasets", "add", "films", "films"]) != 0
    said = " ".join(capsys.readouterr().err.split())
    pattern = said.split("--pattern '")[1].rsplit("'", 1)[0]
    found = listing(root, pattern)
    assert set(found.classes) == classes
    assert len(found.images_per_part()) == (2 if "train" in names[0] else 0)


@pytest.mark.parametrize(
    "names",
    [[f"IMG_{n}.png" for n in range(6)], [f"{n}.png" for n in range(6)], ["a1.png", "b.png"]],
)
def test_names_that_say_nothing_have_none_proposed(save, names):
    with pytest.raises(DatasetError) as error:
        FolderSource(path=str(save(names))).listing()
    assert "--pattern" not in str(error.value)


def test_the_pattern_is_an_option_and_stands_in_the_entry(save, tmp_path, monkeypatch, capsys):
    save(FLAT)
    monkeypatch.chdir(tmp_path)
    pattern = "(?P<label>[a-z]+)_.*"
    assert main(["datasets", "add", "films", "films", "--pattern", pattern]) == 0
    assert read_datasets(tmp_path / "datasets.yaml")["films"].labels.pattern == pattern
    assert main(["datasets", "add", "other", "films", "--pattern", "("]) != 0
    assert "is no regular expression" in capsys.readouterr().err
    (tmp_path / "t.csv").write_text("file,label\ncovid_0.png,b\nnormal_0.png,c\n")
    assert main(["datasets", "add", "other", "t.csv", "--pattern", pattern]) != 0
    assert "--pattern" in capsys.readouterr().err
