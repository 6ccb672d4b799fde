"""Layouts of public sets, drawn by their names: nothing of them is misread in silence."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medbench.cli import main
from medbench.datasets.detect import detect
from medbench.datasets.sources.folder import FolderSource
from medbench.datasets.sources.table import TableSource
from medbench.errors import DatasetError, UndecidedError


@pytest.fixture
def draw(tmp_path):
    """Draws a picture for each name below a folder, which it gives; all differ."""

    def files(*names: str) -> Path:
        for number, name in enumerate(names):
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 256, (8, 9 + number), np.uint8)
            Image.fromarray(pixels).save(path)
        return tmp_path / "set"

    return files


def written(root: Path, *lines: str) -> Path:
    path = root / "t.csv"
    path.write_text("\n".join([*lines, ""]))
    return path


def read(root: Path, **fields):
    """The listing, and how many images each class has."""
    listing = FolderSource(path=str(root), **fields).listing()
    return listing, dict(Counter(listing.classes[k] for k in listing.table["label"]))


# --- tables ----------------------------------------------------------------------------------


def test_chexpert_has_all_its_classes_and_says_that_it_names_no_patients(draw):
    names = [f"train/patient{p:05d}/study1/view1.jpg" for p in range(8)]
    root = draw(*names)
    cells = ["1.0,,1.0,", "0.0,-1.0,,1.0", ",1.0,0.0,0.0", "1.0,0.0,,"] * 2
    path = written(
        root,
        "Path,Sex,Age,Edema,Mass,Fracture,Devices",
        *(
            f"CheXpert/{n},Male,{60 + i},{c}"
            for i, (n, c) in enumerate(zip(names, cells, strict=True))
        ),
    )
    entry = detect(path)
    assert entry["label"] == ["Edema", "Mass", "Fracture", "Devices"]
    with pytest.raises(UndecidedError) as error:
        TableSource.model_validate(entry).listing()
    assert error.value.field == "unlabelled"
    entry |= {"unlabelled": "absent", "task": "multi-label"}
    notes = "\n".join(TableSource.model_validate(entry).listing().notes)
    assert "files lie in folders of patients, as 'patient00000'" in notes


def test_a_second_column_of_files_is_said_not_to_be_used(draw):
    root = draw(*(f"{i}_{side}.jpg" for i in range(6) for side in ("left", "right")))
    rows = [f"{i},{i}_left.jpg,{i}_right.jpg,{'ab'[i % 2]}" for i in range(6)]
    entry = detect(written(root, "ID,Left-Fundus,Right-Fundus,label", *rows))
    notes = TableSource.model_validate(entry).listing().notes
    assert "column 'Right-Fundus' is not used for the files: 'Left-Fundus' is" in notes


def test_the_words_of_mimic_for_the_parts_of_its_split_are_known(draw):
    root = draw(*(f"{i}.jpg" for i in range(9)))
    part = ("train", "validate", "test")
    rows = [f"{i}.jpg,{'ab'[i % 2]},{part[i // 3]}" for i in range(9)]
    assert detect(written(root, "file,label,split", *rows))["split"] == "split"


def test_participants_that_are_folders_are_said_to_be_folders(draw):
    root = draw(*(f"sub-{p}/anat/T1w.png" for p in range(4)))
    rows = [f"sub-{p},{('HC', 'n/a', 'AD')[p % 3]}" for p in range(4)]
    with pytest.raises(DatasetError, match=r"'sub-0' is a folder. Name the files in it"):
        detect(written(root, "participant_id,group", *rows))


# --- the command line --------------------------------------------------------------------------


def test_an_option_that_a_verb_lacks_is_not_taken_for_another_one(capsys):
    with pytest.raises(SystemExit):
        main(["audit", "--datasets", "mine"])  # not --datasets-file
    assert "unrecognized arguments: --datasets" in capsys.readouterr().err
