"""BIDS trees as they are published: layouts, tables, sessions, links to nothing, and faults."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from medbench.cli import main
from medbench.datasets.detect import detect
from medbench.datasets.sources.bids import BidsSource
from medbench.errors import DatasetError, UndecidedError
from medbench.testing import SourceContract
from medbench.testing.image_files import nifti_file

GROUPS = {"01": "control", "02": "patient", "03": "control", "04": "patient"}


def volume(path: Path, seed: int = 0) -> Path:
    """A NIfTI file of 4 slices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng([seed, *path.name.encode()]).integers(0, 500, (8, 8, 4))
    path.write_bytes(nifti_file(voxels.astype("i2")))
    return path


def tsv(path: Path, *lines: str, end: str = "\n", encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + end for line in lines).encode(encoding))
    return path


@pytest.fixture
def tree(tmp_path):
    """Four subjects with a T1w each; controls and patients."""
    root = tmp_path / "ds"
    for subject in GROUPS:
        volume(root / f"sub-{subject}/anat/sub-{subject}_T1w.nii")
    participants(root)
    description = {"Name": "Made", "BIDSVersion": "1.11.1"}
    (root / "dataset_description.json").write_text(json.dumps(description))
    return root


def participants(root: Path, groups=GROUPS, *, before: str = "sub-", column: str = "group"):
    ages = range(30, 30 + len(groups))
    rows = (f"{before}{s}\t{a}\t{g}" for (s, g), a in zip(groups.items(), ages, strict=True))
    tsv(root / "participants.tsv", f"participant_id\tage\t{column}", *rows)


def listing(root: Path, **fields):
    return BidsSource(path=str(root), **fields).listing()


def labels(root: Path, **fields) -> dict[str, str]:
    """The class of each file, by its name without folders and extension."""
    found = listing(root, **fields)
    names = [Path(name).name.partition(".")[0] for name in found.table["origin"]]
    return {n: found.classes[k] for n, k in zip(names, found.table["label"], strict=True)}


ALL = {f"sub-{subject}_T1w": group for subject, group in GROUPS.items()}


class TestBidsSource(SourceContract):
    @pytest.fixture(autouse=True)
    def make(self, tree):
        self.source = BidsSource(path=str(tree))


# --- a sound tree -------------------------------------------------------------------------------


def test_a_tree_is_recognised_added_and_audited(tree, tmp_path, monkeypatch, capsys):
    entry = {"source": "bids", "path": str(tree), "label": "group", "suffix": "T1w"}
    assert detect(tree) == entry
    monkeypatch.chdir(tmp_path)
    assert main(["datasets", "add", "made", str(tree)]) == 0
    added = yaml.safe_load(Path("datasets.yaml").read_text())["made"]
    assert added == entry | {"path": tree.name, "image_size": 16}
    shown = " ".join(capsys.readouterr().out.split())
    assert "is a bids data set" in shown and "groups (patients): 4" in shown
    assert "control: 2" in shown and "patient: 2" in shown
    assert main(["audit", "made"]) == 0
    assert main(["audit", "--data", str(tree)]) == 0
    assert "4 images in 4 groups" in capsys.readouterr().out


def test_groups_are_subjects_that_nobody_can_name(tree):
    volume(tree / "sub-01/anat/sub-01_run-2_T1w.nii", seed=1)
    found = listing(tree, suffix="T1w")
    groups = found.table["group"].tolist()
    assert groups[0] == groups[1] and len(set(groups)) == 4
    (tree / "sub-05").mkdir()
    participants(tree, GROUPS | {"07": "control", "03": "n/a"})
    found = listing(tree)
    for text in (*found.notes, *found.table["group"]):
        assert not any(f"sub-{subject}" in text for subject in ("01", "03", "05", "07"))


def test_a_model_cannot_read_the_images_or_the_labels(tree):
    source = BidsSource(path=str(tree))
    assert source.reads() == [tree, tree / "participants.tsv"]


def test_what_holds_no_raw_images_is_left_alone(tree):
    for folder in ("derivatives/x", "sourcedata", "code", "stimuli", ".git/annex", "phenotype"):
        volume(tree / folder / "sub-01/anat/sub-01_T1w.nii")
    volume(tree / "sub-01/derivatives/sub-01_T1w.nii")
    volume(tree / "sub-01/anat/._sub-01_T1w.nii")
    (tree / "sub-01/anat/sub-01_T1w.json").write_text('{"Manufacturer": "x"}')
    assert labels(tree) == ALL


def test_several_suffixes_are_asked_for(tree, tmp_path, monkeypatch, capsys):
    volume(tree / "sub-01/func/sub-01_task-rest_bold.nii.gz")
    volume(tree / "sub-01/anat/sub-01_mod-T1w_defacemask.nii.gz")
    with pytest.raises(UndecidedError) as asked:
        detect(tree)
    assert asked.value.field == "suffix"
    assert asked.value.choices == {
        "T1w": "4 files of 4 subjects in anat",
        "bold": "1 file of 1 subject in func",
    }
    monkeypatch.chdir(tmp_path)
    for given in (["run", "--data", str(tree)], ["datasets", "add", "made", str(tree)]):
        assert main(given) == 2
        assert "--suffix of python -m medbench datasets add, is one of T1w" in (
            capsys.readouterr().err
        )
    assert main(["datasets", "add", "made", str(tree), "--suffix", "T1w"]) == 0
    assert labels(tree, suffix="t1W") == ALL
    with pytest.raises(DatasetError, match=r"no image has the suffix 'FLAIR'.*T1w, "):
        listing(tree, suffix="FLAIR")


def test_masks_are_taken_only_where_they_are_named(tree):
    for subject in GROUPS:
        volume(tree / f"sub-{subject}/anat/sub-{subject}_mod-T1w_defacemask.nii")
    assert labels(tree) == ALL
    assert len(labels(tree, suffix="defacemask")) == 4


def test_files_are_kept_by_their_entities(tree):
    for subject in GROUPS:
        for more in ("acq-low_run-1", "acq-low_run-02"):
            volume(tree / f"sub-{subject}/anat/sub-{subject}_{more}_T1w.nii")
    assert len(labels(tree)) == 12
    note = next(note for note in listing(tree).notes if "several images" in note)
    assert "acquisition (low 8, none 4) and run" in note
    assert labels(tree, where={"acquisition": ""}) == ALL
    assert len(labels(tree, where={"acquisition": "low", "run": 2})) == 4
    assert len(labels(tree, where={"run": ["1", "run-02"], "subject": ("01", "02")})) == 4
    with pytest.raises(DatasetError, match=r"no file has run '3'.* there: '', '02', '1'"):
        listing(tree, where={"run": "3"})
    with pytest.raises(DatasetError, match=r"'acq' is how names of files have it: write acqu"):
        listing(tree, where={"acq": "low"})


def test_sessions_are_nested_and_their_tables_say_the_label(tree):
    for subject in GROUPS:
        for session in ("pre", "post"):
            name = f"sub-{subject}_ses-{session}_T2w.nii.gz"
            volume(tree / f"sub-{subject}/ses-{session}/anat" / name)
        tsv(
            tree / f"sub-{subject}/sub-{subject}_sessions.tsv",
            "session_id\tdiagnosis",
            "ses-pre\thealthy",
            f"post\t{'ill' if subject != '04' else 'n/a'}",
        )
    fields = {"label": "diagnosis", "suffix": "T2w"}
    found = labels(tree, **fields)
    assert found["sub-01_ses-pre_T2w"] == "healthy" and found["sub-03_ses-post_T2w"] == "ill"
    assert len(found) == 7
    assert any(
        "1 image of 1 subject left out: column 'diag" in n for n in listing(tree, **fields).notes
    )
    assert len(labels(tree, where={"session": "post"}, label="group")) == 4
    with pytest.raises(UndecidedError) as asked:
        listing(tree, suffix="T2w")
    assert set(asked.value.choices) == {"diagnosis", "group"}


def test_a_label_of_a_file_is_in_scans_tsv(tree):
    for subject in GROUPS:
        volume(tree / f"sub-{subject}/anat/sub-{subject}_run-2_T1w.nii")
        tsv(
            tree / f"sub-{subject}/sub-{subject}_scans.tsv",
            "filename\tquality",
            f"anat/sub-{subject}_T1w.nii.gz\tgood",
            f"anat\\sub-{subject}_run-2_T1w.nii\tbad",
        )
    (tree / "participants.tsv").unlink()
    with pytest.raises(UndecidedError) as asked:
        detect(tree)
    assert asked.value.choices == {"quality": "'good' 4, 'bad' 4"}
    found = labels(tree, label="quality")
    assert found["sub-02_T1w"] == "good" and found["sub-02_run-2_T1w"] == "bad"


def test_rows_of_participants_may_be_about_sessions(tree):
    rows = []
    for subject in GROUPS:
        for session, stage in (("01", "mild"), ("02", "severe")):
            name = f"sub-{subject}_ses-{session}_PDw.nii"
            volume(tree / f"sub-{subject}/ses-{session}/anat" / name)
            rows.append(f"sub-{subject}\tses-{int(session)}\t{stage}")
    tsv(tree / "participants.tsv", "participant_id\tsession_id\tgroup", *rows)
    found = labels(tree, suffix="PDw")
    assert found["sub-01_ses-01_PDw"] == "mild" and found["sub-01_ses-02_PDw"] == "severe"


# --- labels -------------------------------------------------------------------------------------


def test_subjects_without_a_label_a_row_or_an_image_are_counted(tree):
    volume(tree / "sub-05/anat/sub-05_T1w.nii")
    volume(tree / "sub-06/anat/sub-06_T1w.nii")
    participants(tree, GROUPS | {"05": "n/a", "07": "control", "08": "patient"})
    notes = " / ".join(listing(tree).notes)
    assert "1 image of 1 subject left out: column 'group' of participants.tsv says noth" in notes
    assert "1 image of 1 subject left out: participants.tsv has no row for them" in notes
    assert (
        "2 rows of participants.tsv about subjects without such images (below the header 6, 7)"
        in (notes)
    )


def test_classes_may_be_put_together_and_in_order(tree):
    participants(tree, dict(zip(GROUPS, ("HC", "AD", "MCI-s", "MCI-c"), strict=True)))
    classes = {"healthy": "HC", "ill": ["AD", "MCI*"]}
    assert labels(tree, label="group", classes=classes)["sub-03_T1w"] == "ill"
    with pytest.raises(DatasetError, match="which the field classes does not list"):
        listing(tree, label="group", classes=("HC", "AD"))


@pytest.mark.parametrize("level", ["text", "object"])
def test_numbers_are_called_as_participants_json_has_it(tree, level):
    participants(tree, dict(zip(GROUPS, ("0", "1", "0", "1.0"), strict=True)))
    levels = {"0": "Healthy control", "1": "Patient"}
    if level == "object":
        levels = {code: {"Description": name} for code, name in levels.items()}
    (tree / "participants.json").write_text(json.dumps({"group": {"Levels": levels}}))
    found = listing(tree, label="group", spelling="merge")
    assert found.classes == ("Healthy control", "Patient")
    assert any("numbers are called as participants.json has it" in note for note in found.notes)
    codes = {"a": "0", "b": ("1", "1.0")}
    assert listing(tree, label="group", classes=codes).classes == ("a", "b")


@pytest.mark.parametrize(
    "text",
    ["{", "[" * 5000, '{"group": {"Levels": {"0": "x", "1": "x"}}}', '{"group": {"Levels": [1]}}'],
)
def test_a_dictionary_that_gives_no_names_changes_nothing(tree, text):
    participants(tree, dict(zip(GROUPS, "0101", strict=True)))
    (tree / "participants.json").write_text(text)
    assert listing(tree).classes == ("0", "1")


def test_words_stay_words_whatever_describes_them(tree):
    levels = {"control": "people who were found healthy", "patient": "people who were not"}
    (tree / "participants.json").write_text(json.dumps({"group": {"Levels": levels}}))
    assert labels(tree) == ALL


def test_a_regression_target_is_refused(tree):
    for n in range(20):
        volume(tree / f"sub-x{n}/anat/sub-x{n}_T1w.nii")
    participants(tree, {f"x{n}": str(n % 3 / 2) for n in range(20)}, column="cdr")
    with pytest.raises(DatasetError, match=r"column 'age' holds 20 different numbers.*--label"):
        listing(tree, label="age")
    assert listing(tree, label="cdr").classes == ("0.0", "0.5", "1.0")
    for column, values in (("age_years", (7, 8)), ("handedness", (100, 80, 85, -90, 60))):
        rows = {f"x{n}": str(values[n % len(values)]) for n in range(20)}
        participants(tree, rows, column=column)
        with pytest.raises(DatasetError, match=r"numbers that measure something"):
            listing(tree, label=column)
    assert listing(tree, label="handedness", classes={"right": "[1-9]*", "left": "-*"}).classes


def test_the_label_is_asked_for_where_several_columns_may_be_it(tree):
    rows = [f"sub-{s}\t{g}\t{'MF'[int(s) % 2]}\t{g[0]}" for s, g in GROUPS.items()]
    tsv(tree / "participants.tsv", "participant_id\tgroup\tsex\tdx", *rows)
    with pytest.raises(UndecidedError, match="--label") as asked:
        detect(tree)
    assert set(asked.value.choices) == {"group", "sex", "dx"}
    assert detect(tree, label="DX")["label"] == "dx"
    tsv(tree / "participants.tsv", "participant_id\tage", *(f"sub-{s}\t{s}" for s in GROUPS))
    with pytest.raises(DatasetError, match=r"None has a few different values.* has age"):
        detect(tree)
    with pytest.raises(DatasetError, match=r"no table has a column 'group'.*participants.tsv has"):
        listing(tree, label="group")


# --- trees that are not quite valid -------------------------------------------------------------


def spaced(root):
    rows = (f" sub-{s} \t {g} " for s, g in GROUPS.items())
    tsv(root / "participants.tsv", "participant_id\tgroup", *rows)


def commas(root):
    tsv(
        root / "participants.tsv",
        "participant_id,group",
        *(f"sub-{s},{g}" for s, g in GROUPS.items()),
    )


def windows(root):
    lines = ("participant_id\tgroup", *(f"sub-{s}\t{g}" for s, g in GROUPS.items()))
    tsv(root / "participants.tsv", *lines, end="\r\n", encoding="utf-8-sig")


def without_zeros(root):
    participants(root, {s[1:]: g for s, g in GROUPS.items()})


def twice(root):
    with (root / "participants.tsv").open("a") as file:
        file.write("sub-01\t30\tcontrol\n")


def other_column(root):
    text = (root / "participants.tsv").read_text()
    (root / "participants.tsv").write_text(text.replace("participant_id", "who"))


def capitals(root):
    (root / "sub-02/anat/sub-02_T1w.nii").rename(root / "sub-02/anat/sub-02_T1W.NII")


def no_datatype(root):
    (root / "sub-02/anat/sub-02_T1w.nii").rename(root / "sub-02/sub-02_T1w.nii")
    (root / "sub-02/anat").rmdir()


def short_name(root):
    (root / "sub-02/anat/sub-02_T1w.nii").rename(root / "sub-02/anat/T1w.nii")


def other_names(root):
    volume(root / "sub-01/anat/brain.final.nii.gz")
    volume(root / "sub-01/anat/sub-01_T1w_brain.nii.gz")


def of_another(root):
    volume(root / "sub-01/anat/sub-02_run-9_T1w.nii.gz")


def pipe(root):
    os.mkfifo(root / "sub-01/anat/sub-01_run-3_T1w.nii")


def deeper(root):
    volume(root / "sub-01/anat/old/sub-01_T1w.nii.gz")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (lambda root: (root / "dataset_description.json").unlink(), "no dataset_description.json"),
        (lambda root: participants(root, before=""), ""),
        (lambda root: participants(root, before="subj-"), ""),
        (
            without_zeros,
            "writes the subject in another way than its folder (zeros, case) in 4 rows",
        ),
        (spaced, ""),
        (commas, "have no tabs between them"),
        (windows, ""),
        (twice, "participants.tsv has 1 row about a subject that has one already"),
        (other_column, "has no column participant_id: 'who' is taken for it"),
        (capitals, "suffixes written in another case are taken for T1w: 1 T1W"),
        (no_datatype, "1 file in no folder of a data type (anat), read all the same"),
        (short_name, "1 file without its subject or session in the name"),
        (other_names, "1 file left out: no name of BIDS"),
        (of_another, "1 file left out: called by another subject or session"),
        (pipe, "1 file left out: a pipe"),
        (deeper, "1 folder below those of data types (anat) left alone"),
    ],
)
def test_what_is_not_quite_valid_is_said_and_read(tree, fault, said):
    fault(tree)
    found = listing(tree)
    assert found.images_per_class() == {"control": 2, "patient": 2}
    assert any(said in note for note in found.notes) or not said, found.notes


def conflict(root):
    with (root / "participants.tsv").open("a") as file:
        file.write("sub-01\t30\tpatient\n")


def other_people(root):
    participants(root, {f"CQ{s}": g for s, g in GROUPS.items()}, before="")


def by_blanks(root):
    rows = (f"sub-{s} {g}" for s, g in GROUPS.items())
    tsv(root / "participants.tsv", "participant_id group", *rows)


def nobody_named(root):
    rows = (f"{g}\t{s}" for s, g in GROUPS.items())
    tsv(root / "participants.tsv", "group\tweight", *(r.replace("\t0", "\t8") for r in rows))


def no_images(root):
    for path in root.glob("sub-*/anat/*.nii"):
        path.rename(path.with_suffix(".mgz"))


def all_silent(root):
    participants(root, dict.fromkeys(GROUPS, "n/a"))


def linked_folder(root):
    (root / "sub-05").symlink_to(root / "sub-01")


def link_outside(root):
    there = volume(root.parent / "outside.nii")
    (root / "sub-01/anat/sub-01_T1w.nii").unlink()
    (root / "sub-01/anat/sub-01_T1w.nii").symlink_to(there)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (conflict, r"row 1 below.*row 5 below.*'control' and 'patient' in column 'group'. Keep"),
        (other_people, r"participants.tsv, row 1.*names a subject that is here.*Write"),
        (by_blanks, r"participants.tsv: its columns are separated by blanks. Save"),
        (nobody_named, r"participants.tsv: has no column participant_id .columns: group.*Call"),
        (lambda root: (root / "participants.tsv").unlink(), r"no participants.tsv.*--label"),
        (lambda root: (root / "participants.tsv").write_text("\0"), r"participants.tsv"),
        (no_images, r"no file in its folders of subjects is called as NIfTI"),
        (all_silent, r"none of its images has a label .*says nothing of them .'n/a' 4"),
        (linked_folder, r"sub-05: this link leads to a folder. Put"),
        (link_outside, r"leads out of the data folder.*Copy the file into it"),
    ],
)
def test_what_cannot_be_understood_is_named_with_a_remedy(tree, fault, said):
    fault(tree)
    with pytest.raises(DatasetError, match=said):
        listing(tree, label="group")


# --- content that was not fetched ---------------------------------------------------------------


def unfetched(root: Path, subject: str, *, locked: bool = True) -> None:
    """What git-annex leaves of a file before its content is fetched."""
    path = root / f"sub-{subject}/anat/sub-{subject}_T1w.nii"
    path.unlink()
    key = "MD5E-s20--0123456789abcdef0123456789abcdef.nii"
    if locked:
        path.symlink_to(f"../../.git/annex/objects/Xx/Yy/{key}/{key}")
    else:
        path.write_text(f"/annex/objects/{key}\n")


def test_images_whose_content_is_not_here_are_counted(tree):
    for subject in ("05", "06"):
        volume(tree / f"sub-{subject}/anat/sub-{subject}_T1w.nii")
    participants(tree, GROUPS | {"05": "control", "06": "patient"})
    unfetched(tree, "05")
    unfetched(tree, "06", locked=False)
    assert labels(tree) == ALL
    note = next(note for note in listing(tree).notes if "only names are here" in note)
    assert note.startswith("2 images of 2 subjects left out")
    assert "datalad get sub-*/anat/*T1w.nii* (or" in note
    for subject in GROUPS:
        unfetched(tree, subject)
    with pytest.raises(DatasetError, match=r"of all 6 images only the names.*Get the content"):
        listing(tree)


def test_content_in_the_annex_of_the_tree_is_read(tree):
    path = tree / "sub-01/anat/sub-01_T1w.nii"
    (tree / ".git/annex").mkdir(parents=True)
    path.rename(tree / ".git/annex/key.nii")
    path.symlink_to("../../.git/annex/key.nii")
    assert labels(tree) == ALL
    (tree / "participants.tsv").unlink()
    (tree / "participants.tsv").symlink_to(".git/annex/nothing")
    with pytest.raises(DatasetError, match=r"participants.tsv: only its name is here. Get the"):
        detect(tree)


def test_options_of_other_formats_are_refused(tree, tmp_path):
    for given in ({"file": "x"}, {"task": "multi-label"}):
        with pytest.raises(DatasetError, match=rf"--{next(iter(given))} is not for those.*--suff"):
            detect(tree, **given)
    with pytest.raises(DatasetError, match="--suffix is for BIDS trees only"):
        detect(tree / "sub-01", suffix="T1w")
