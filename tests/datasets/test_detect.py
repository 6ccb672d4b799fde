import numpy as np
import pytest

from medbench.datasets.detect import detect
from medbench.errors import DatasetError


def test_a_folder_and_an_npz_are_recognised(class_folders, tmp_path):
    root = class_folders()
    assert detect(root) == {"source": "folder", "path": str(root)}
    np.savez(tmp_path / "x.npz", train_images=np.zeros(3))
    assert detect(tmp_path / "x.npz") == {"source": "npz", "path": str(tmp_path / "x.npz")}
    np.savez(tmp_path / "x.npz", train_images=np.zeros(3), train_labels=np.zeros((3, 14)))
    assert detect(tmp_path / "x.npz")["task"] == "multi-label"


def test_the_columns_of_a_table_are_guessed_by_content_and_usual_names(class_folders):
    root = class_folders(per_class=2)
    table = root / "t.csv"
    table.write_text(
        "id,img,Diagnosis,PatientID,split\n1,a/00.png,a,p1,train\n2,b/00.png,b,p2,test\n"
    )
    assert detect(table) == {
        "source": "table",
        "path": str(table),
        "file": "img",
        "label": "Diagnosis",
        "group": "PatientID",
        "split": "split",
    }


def test_what_cannot_be_guessed_is_asked_for_by_option(class_folders):
    root = class_folders(per_class=2)
    table = root / "t.csv"
    table.write_text("img,what\na/00.png,a\nb/00.png,b\n")
    with pytest.raises(
        DatasetError, match=r"which column is the label.* --label .* what \('a' 1, 'b' 1\)"
    ):
        detect(table)
    assert detect(table, label="what")["label"] == "what"
    with pytest.raises(DatasetError, match=r"no column 'who'. .* in --group"):
        detect(table, label="what", group="who")
    table.write_text("img,label\nnowhere.png,a\n")
    with pytest.raises(DatasetError, match="no column names files"):
        detect(table)


def test_other_things_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="there is no such file"):
        detect(tmp_path / "no")
    (tmp_path / "x.doc").write_text("")
    with pytest.raises(DatasetError, match="neither a folder"):
        detect(tmp_path / "x.doc")
