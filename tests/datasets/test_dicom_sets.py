"""DICOM files as people have them: exports without suffixes, reports among them, labels in tags."""

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    EncapsulatedPDFStorage,
    EnhancedSRStorage,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    MediaStorageDirectoryStorage,
    RawDataStorage,
    RTStructureSetStorage,
)

from medbench.datasets.detect import detect
from medbench.datasets.sources.folder import FolderSource
from medbench.datasets.sources.table import TableSource
from medbench.errors import DatasetError, UndecidedError
from medbench.testing.image_files import dicom_file, picture_file

PIXELS = np.random.default_rng(7).integers(0, 256, (64, 8, 8), dtype=np.uint8)
NONE = dict.fromkeys(
    ("PixelData", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation",
     "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
)  # fmt: skip


def put(path, pixels=PIXELS[0], **elements):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dicom_file(pixels, **elements))


def no_picture(path, kind, **elements):
    put(path, SOPClassUID=kind, **NONE, **elements)


def export(root, patients="ABCDEF", descriptions=("T1 post", "FLAIR")):
    """Patients with a study of two series each, in folders as archives write them."""
    n = 0
    for p, patient in enumerate(patients):
        for s, description in enumerate(descriptions):
            for i in range(2):
                put(
                    root / f"{patient}00" / "study" / f"1.2.{p}.{s}" / f"IM{i:06}",
                    PIXELS[n % 64],
                    PatientID=f"{patient}00",
                    PatientName=f"Doe^{patient}",
                    SeriesDescription=description,
                    SOPInstanceUID=f"1.2.3.{p}.{s}.{i}",
                    SeriesInstanceUID=f"1.2.{p}.{s}",
                    Modality="MR",
                    InstanceNumber=i + 1,
                    ImagePositionPatient=[0, 0, float(i)],
                    ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                )
                n += 1
    return root


def test_what_is_no_picture_is_left_out_with_a_count_at_any_depth(tmp_path):
    for i in range(3):
        put(tmp_path / "a" / "study" / f"IM{i:06}", PIXELS[i], PatientID=f"P{i}0")
        put(tmp_path / "b" / f"1.2.840.{i}", PIXELS[i + 3], PatientID=f"Q{i}0")
    no_picture(tmp_path / "a" / "study" / "SR000001", EnhancedSRStorage)
    no_picture(tmp_path / "a" / "study" / "more" / "SR000002", EnhancedSRStorage)
    no_picture(tmp_path / "b" / "RS", RTStructureSetStorage)
    no_picture(tmp_path / "b" / "pdf.dcm", EncapsulatedPDFStorage)
    no_picture(tmp_path / "b" / "state", GrayscaleSoftcopyPresentationStateStorage)
    no_picture(tmp_path / "b" / "raw", RawDataStorage)
    no_picture(tmp_path / "b" / "private", "1.3.6.1.4.1.5962.1.99")
    listing = FolderSource(path=str(tmp_path)).listing()
    assert len(listing.table) == 6
    (note,) = [note for note in listing.notes if "left out by what their headers say" in note]
    for said in ("2 structured reports", "1 structure set", "1 encapsulated document",
                 "1 presentation state", "1 raw data file", "1 other DICOM object"):  # fmt: skip
        assert said in note


def test_folders_that_are_called_by_numbers_do_not_part_a_patient(tmp_path):
    for i in range(12):
        uid = f"1.2.840.{i}"  # each patient has two studies, in folders of their own
        put(tmp_path / "ab"[i % 2] / uid / "IM1", PIXELS[i], PatientID=f"Q{i // 4}{i % 2}")
    listing = FolderSource(path=str(tmp_path)).listing()
    assert listing.table["group"].nunique() == 6
    again = listing.table.groupby("group")["label"].nunique()
    assert (again == 1).all()


def test_a_class_of_reports_alone_is_named_and_a_file_without_pixels_is_still_damage(tmp_path):
    put(tmp_path / "a" / "x", PatientID="P1")
    no_picture(tmp_path / "b" / "y", EnhancedSRStorage)
    with pytest.raises(DatasetError, match=r"no file of class 'b' holds a picture .*1 structured"):
        FolderSource(path=str(tmp_path)).listing()
    no_picture(tmp_path / "b" / "z", "1.2.840.10008.5.1.4.1.1.2")  # a truncated CT image
    assert len(FolderSource(path=str(tmp_path)).listing().table) == 2


def test_labels_come_from_a_tag_and_groups_from_the_patient(tmp_path):
    root = export(tmp_path / "set")
    no_picture(root / "F00" / "SR", EnhancedSRStorage, SeriesDescription="Dose report")
    put(root / "F00" / "scout", PatientID="F00")
    entry = {"path": str(root), "label": {"tag": "(0008,103e)"}}
    listing = FolderSource.model_validate(entry).listing()
    assert set(listing.classes) == {"FLAIR", "T1 post"}
    assert listing.table["group"].nunique() == 6 and len(listing.table) == 24
    assert listing.first_folders == {f"{patient}00" for patient in "ABCDEF"}
    assert any("1 files without a label are left out" in note for note in listing.notes)
    mapped = entry | {"classes": {"other": "FL*", "t1": ["T1*", "t1*"]}}
    assert FolderSource.model_validate(mapped).listing().classes == ("other", "t1")
    chosen = entry | {"classes": ["FLAIR", "T1 post"], "label": {"tag": "SeriesDescription"}}
    assert FolderSource.model_validate(chosen).listing().classes == ("FLAIR", "T1 post")
    with pytest.raises(DatasetError, match="none of its 25 files says ViewPosition"):
        FolderSource.model_validate(entry | {"label": {"tag": "viewposition"}}).listing()


@pytest.mark.parametrize(
    "tag", ["PatientName", "PatientID", "StudyDate", "SeriesInstanceUID", "AccessionNumber",
            "InstitutionName", "(0009,1001)", "PatientBirthDate", "no such"],
)  # fmt: skip
def test_what_may_name_a_person_is_no_label(tmp_path, tag):
    with pytest.raises(ValueError, match=r"DICOM element .*(may name a person|private|unknown)"):
        FolderSource.model_validate({"path": str(tmp_path), "label": {"tag": tag}})


def test_names_of_files_and_notes_have_numbers_in_the_place_of_patients(tmp_path):
    root = tmp_path / "set"
    for i, (patient, name) in enumerate([("PGBM-002", "Roe^Jane"), ("PGBM-003", "Poe^Jim")] * 2):
        for label in "ab":
            put(
                root / label / name.replace("^", " ") / f"{patient}_{label}_{i}.dcm",
                PIXELS[i],
                PatientID=patient,
                PatientName=name,
            )
    listing = FolderSource(path=str(root), folders="classes").listing()
    written = listing.table["origin"].str.cat(sep="\n") + "".join(listing.notes)
    for word in ("PGBM", "Roe", "Jane", "Poe", "Jim"):
        assert word.lower() not in written.lower()
    assert "a/patient-1/patient-1_a_0.dcm" in listing.table["origin"].tolist()
    assert listing.table["origin"].is_unique and len(listing.table) == 8


def test_a_label_in_a_tag_has_no_name_of_the_patient_in_it(tmp_path):
    for i, name in enumerate(("Roe^Jane", "Poe^Jim") * 2):
        typed = f"{'ab'[i // 2]} {name.partition('^')[0].upper()} x{i}77"
        said = {"PatientName": name, "PatientID": f"X-{i}77", "SeriesDescription": typed}
        put(tmp_path / f"{i}", PIXELS[i], **said)
    entry = {"path": str(tmp_path), "label": {"tag": "SeriesDescription"}}
    listing = FolderSource.model_validate(entry).listing()
    assert listing.classes == ("a patient patient", "b patient patient")


def test_a_table_names_files_without_suffix_or_by_an_id_of_their_headers(tmp_path):
    export(tmp_path / "set")
    table = tmp_path / "set" / "t.csv"
    rows = [(f"1.2.{p}.{s}", "ab"[p % 2]) for p in range(6) for s in range(2)]
    table.write_text("series,label\n" + "".join(f"{uid},{label}\n" for uid, label in rows))
    entry = detect(table)
    assert (entry["file"], entry["match"]) == ("series", "SeriesInstanceUID")
    listing = TableSource.model_validate(entry).listing()
    assert len(listing.table) == 24 and listing.table["group"].nunique() == 6
    table.write_text(
        "who,label\n" + "".join(f"{p}00,{'ab'[i % 2]}\n" for i, p in enumerate("ABCD"))
    )
    listing = TableSource(path=str(table), file="who", match="PatientID").listing()
    assert len(listing.table) == 16
    assert "8 files with the PatientID of no row: left out" in listing.notes
    assert "A00" not in str(listing.table) + str(listing.notes)
    table.write_text("who,label\nA00,a\nZ99,b\n")
    with pytest.raises(DatasetError, match="1 row of 2, first row 2") as raised:
        TableSource(path=str(table), file="who", match="PatientID").listing()
    assert "Z99" not in str(raised.value)
    names = [f"{p}00/study/1.2.{i}.0/IM000000" for i, p in enumerate("ABCD")]
    table.write_text("file,label\n" + "".join(f"{n},{'ab'[i % 2]}\n" for i, n in enumerate(names)))
    assert len(TableSource(path=str(table)).listing().table) == 4
    table.write_text(table.read_text().replace("IM000000", "IM000000.dcm"))
    assert any("without extension" in n for n in TableSource(path=str(table)).listing().notes)


def volume(root, label, uid, heights, **elements):
    """A series of single files whose names are in another order than their positions."""
    for i, height in enumerate(heights):
        said = {
            "PatientID": f"P{uid}",
            "SeriesInstanceUID": uid,
            "ImageOrientationPatient": [1, 0, 0, 0, 0, -1],
            "ImagePositionPatient": [0.0, height, 0.0],
            "InstanceNumber": i,
        } | elements
        put(root / label / f"{uid}-{i}", PIXELS[(i * 7 + len(uid)) % 64], **said)


def test_slices_takes_the_middle_of_each_series_by_position(tmp_path):
    volume(tmp_path, "a", "1.1", [30, 10, 50, 20, 40])
    volume(tmp_path, "a", "1.2", [5, 5, 4, 3, 2, 1])  # one position twice
    volume(tmp_path, "b", "1.3", [0] * 4, ImagePositionPatient=None, ImageOrientationPatient=None)
    volume(tmp_path, "b", "1.4", [1, 2, 3], EchoNumbers=1)
    volume(tmp_path, "b", "1.5", [1, 2], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    put(tmp_path / "b" / "1.4-scout", SeriesInstanceUID="1.4", PatientID="P1.4",
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])  # fmt: skip
    put(tmp_path / "b" / "1.4-echo", SeriesInstanceUID="1.4", PatientID="P1.4", EchoNumbers=2)
    (tmp_path / "b" / "p.png").write_bytes(picture_file(PIXELS[5]))
    every = FolderSource(path=str(tmp_path)).listing()
    assert len(every.table) == 23
    assert any("20 files are slices of 5 series" in note for note in every.notes)
    assert any("3 images by the headers: localizers" in note for note in every.notes)
    one = FolderSource(path=str(tmp_path), slices=1).listing()
    assert set(one.table["origin"]) == {
        "a/1.1-0", "a/1.2-3", "b/1.3-1", "b/1.4-1", "b/1.5-0", "b/1.4-echo", "b/p.png"
    }  # fmt: skip
    assert any("6 series of single files (1 to 5 slices): the middle one" in n for n in one.notes)
    assert any("1 slice at the position of another one: left out" in n for n in one.notes)
    assert any("1 localizer in series with other slices: left out" in n for n in one.notes)
    three = FolderSource(path=str(tmp_path), slices=3).listing().table["origin"]
    assert set(three[three.str.startswith("a/1.1")]) == {"a/1.1-3", "a/1.1-0", "a/1.1-4"}
    assert one.image_size == every.image_size


def test_a_tree_of_patients_is_recognised_and_asks_for_the_label(tmp_path):
    root = export(tmp_path / "set")
    (root / "F00" / "study").rename(root / "second visit of E")
    (root / "F00").rmdir()
    for path in (root / "second visit of E").rglob("IM*"):
        path.write_bytes(path.read_bytes().replace(b"F00", b"E00"))
    no_picture(root / "A00" / "SR", EnhancedSRStorage)
    with pytest.raises(UndecidedError) as raised:
        detect(root)
    assert raised.value.field == "label"
    assert raised.value.choices == {"SeriesDescription": "'T1 post' 12, 'FLAIR' 12"}
    for said in ("5 patients, 12 series, modality 'MR' 24", "1 structured report"):
        assert said in str(raised.value)
    assert "A00" not in str(raised.value)
    entry = detect(root, label="seriesdescription")
    assert entry["label"] == {"tag": "SeriesDescription"}
    with pytest.raises(DatasetError, match=r"--label PatientName: .* may name a person"):
        detect(root, label="PatientName")
    assert "label" not in detect(root, by_folders=True)
    with pytest.raises(UndecidedError, match="6 class folders has the images of one patient"):
        FolderSource(path=str(root)).listing()
    (root / "second visit of E").rename(root / "F00")
    for folder in [*root.iterdir()]:
        folder.rename(root / f"patient{folder.name[0]}")
    with pytest.raises(UndecidedError, match=r"as patients are.*the field label"):
        FolderSource(path=str(root)).listing()


def test_a_dicomdir_lists_what_it_names_and_nothing_else(tmp_path):
    root = export(tmp_path / "disc", "AB")
    named = sorted(path for path in root.rglob("IM*") if path.name.endswith("0"))
    outside = tmp_path / "IM000009"
    outside.write_bytes(named[0].read_bytes())
    records = []
    for path in [*named, root / "A00" / "gone"]:
        record = Dataset()
        record.DirectoryRecordType = "IMAGE"
        names = path.relative_to(root).parts
        if path == named[0]:
            names = ("..", "IM000009")
        record.add_new("ReferencedFileID", "LO", [name.upper() for name in names])
        records.append(record)
    content = Dataset()
    content.file_meta = FileMetaDataset()
    content.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    content.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    content.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content.DirectoryRecordSequence = records
    content.save_as(root / "DICOMDIR", enforce_file_format=True)
    path = root / "DICOMDIR"
    with pytest.raises(UndecidedError, match="2 patients, 3 series"):
        detect(path)
    entry = detect(path, label="SeriesDescription")
    listing = FolderSource.model_validate(entry).listing()
    assert listing.table["origin"].tolist() == [
        "patient-0/study/1.2.0.1/IM000000",
        "patient-1/study/1.2.1.0/IM000000",
        "patient-1/study/1.2.1.1/IM000000",
    ]
    assert "of the 5 files that the DICOMDIR names, 3 are there" in listing.notes
    with pytest.raises(DatasetError, match="a DICOMDIR has no labels"):
        FolderSource(path=str(path)).listing()
    path.write_bytes(b"nothing")
    with pytest.raises(DatasetError, match="DICOMDIR"):
        FolderSource.model_validate(entry).listing()


def test_what_a_table_keeps_stays_beside_its_image_where_reports_and_slices_are_left_out(tmp_path):
    no_picture(tmp_path / "report", EnhancedSRStorage, PatientID="Q1")
    rows = ["file,label,age", "report,a,99"]
    for i in range(8):
        put(
            tmp_path / f"IM{i}",
            PIXELS[i],
            PatientID=f"Q{i // 4}",
            SeriesInstanceUID=f"1.2.{i // 4}",
            SOPInstanceUID=f"1.2.3.{i}",
            ImagePositionPatient=[0, 0, float(i)],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        )
        rows.append(f"IM{i},{'ab'[i // 4]},{40 + i // 4}")
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    source = TableSource(path=str(tmp_path / "t.csv"), keep=("age",), slices=2)
    listing = source.listing()
    assert listing.table["label"].tolist() == [0, 0, 1, 1]
    assert listing.kept["age"].tolist() == ["40", "40", "41", "41"]
