import pytest

from medbench.inference.model_info import FoldInfo

BEFORE = {
    "params": {},
    "calibration": {"temperatures": [1.0], "reason": ""},
    "threshold": 0.5,
    "sha256": "",
}


@pytest.mark.parametrize(
    ("split", "fold"), [("official", None), ("official-r2", None), ("r1f3", 3)]
)
def test_a_model_that_was_exported_before_folds_were_numbered_is_read(split, fold):
    assert FoldInfo.from_record({**BEFORE, "split": split}).fold == fold
    assert FoldInfo.from_record({**BEFORE, "split": split, "fold": 7}).fold == 7
