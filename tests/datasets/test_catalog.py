import shutil

import pytest

from medbench.cache import cache_folder
from medbench.datasets.catalog import load_catalog, read_datasets, shipped
from medbench.errors import ConfigurationError, UnknownNameError


def write(tmp_path, text):
    file = tmp_path / "datasets.yaml"
    file.write_text(text)
    return file


def test_the_shipped_data_sets_are_valid_and_have_the_phantoms_first():
    names = list(load_catalog().sources)
    assert names[:2] == ["phantoms-mr", "phantoms-chest"]
    assert {"brain-mri", "pneumoniamnist-reassembled"} <= set(names)


def test_an_unknown_key_is_named_with_its_line_and_the_close_field(tmp_path):
    file = write(tmp_path, "one:\n  source: folder\n  path: x\n\n  lable: y\n")
    with pytest.raises(ConfigurationError, match=r"line 5.*\"lable\" is not a field of a folder"):
        read_datasets(file)
    file = write(tmp_path, "one:\n  source: folder\n  path: x\n  clases: [a, b]\n")
    with pytest.raises(ConfigurationError, match='Did you mean "classes"'):
        read_datasets(file)


def test_an_unknown_key_of_a_nested_mapping_is_named_with_its_line(tmp_path):
    text = "one:\n  source: folder\n  path: x\n  groups:\n    table: t.csv\n    grup: g\n"
    with pytest.raises(ConfigurationError, match=r"line 6.*groups.grup.*\"group\""):
        read_datasets(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("one: {source: folder}", '"path" is missing'),
        ("one: {source: fodler, path: x}", "Did you mean 'folder'"),
        ("one: {path: x}", "must name its source"),
        ("one: {source: folder, path: x, image_size: big}", "image_size"),
        ("one: {source: folder, path: x, image_size: 4}", "greater than or equal to 16"),
        ("../one: {source: folder, path: x}", "cannot be the name"),
        ("one: {source: folder, path: x, task: ordinal}", "needs the field classes"),
        ("one: {source: table, path: x, task: ordinal}", "needs the field classes"),
        ("one: {source: folder, path: x, task: multi-label}", "'multi-class' or 'ordinal'"),
        (
            "one: {source: table, path: x, classes: [[1], b]}",
            '"classes.0": Input should be a valid',
        ),
        ("one: {source: table, path: x, classes: {a: [{}]}}", '"classes.a.0": Input should be'),
        ("pathmnist: {source: medmnist, path: x, image_size: 64}", '"image_size"'),
        ("one: [", "not valid YAML"),
        ("- one", "must be a mapping"),
        ("one: {source: phantoms}\none: {source: phantoms}", "given twice"),
        ("one: !!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_a_wrong_file_is_an_error_that_names_the_line(tmp_path, text, message):
    file = write(tmp_path, text)
    with pytest.raises(ConfigurationError, match=r"datasets.yaml") as error:
        read_datasets(file)
    assert message in str(error.value)


def test_a_name_that_is_registered_already_is_refused(tmp_path):
    file = write(tmp_path, "brain-mri: {source: phantoms}")
    with pytest.raises(ConfigurationError, match="registered already"):
        load_catalog(datasets_file=file)


def test_the_same_words_in_two_files_of_the_user_are_two_data_sets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    write(tmp_path, "mine: {source: folder, path: images}")
    again = write(tmp_path / "other", "mine: {source: folder, path: images}")
    with pytest.raises(ConfigurationError, match="registered already"):
        load_catalog(datasets_file=again)


def test_a_shipped_entry_again_is_the_same_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # as a checkout of MedBench, which is installed elsewhere
    shutil.copy(shipped("datasets.yaml"), "datasets.yaml")
    assert load_catalog().sources.keys() == read_datasets(shipped("datasets.yaml")).keys()
    (tmp_path / "brain-mri" / "no").mkdir(parents=True)
    assert load_catalog().get("brain-mri").is_here()  # beside the file, as of any entry in it


def test_data_folders_of_one_catalog_are_not_those_of_another(tmp_path):
    """The shipped entries are read once; each catalog has copies of them."""
    first = load_catalog(data_dir=tmp_path)
    assert load_catalog().get("brain-mri")._roots == ()
    assert first.get("brain-mri")._roots == (tmp_path,)


def test_an_unknown_data_set_lists_the_close_ones():
    with pytest.raises(UnknownNameError, match="Did you mean 'brain-mri'"):
        load_catalog().get("brain-mir")


def test_a_datasets_yaml_in_the_working_folder_extends_the_catalog(tmp_path, monkeypatch):
    write(tmp_path, "mine: {source: phantoms}")
    monkeypatch.chdir(tmp_path)
    assert "mine" in load_catalog().sources


def test_a_missing_data_folder_names_the_option_or_the_variable(tmp_path, monkeypatch):
    with pytest.raises(ConfigurationError, match="--data-dir"):
        load_catalog(data_dir=tmp_path / "no")
    monkeypatch.setenv("MEDBENCH_DATA", str(tmp_path / "no"))
    with pytest.raises(ConfigurationError, match="MEDBENCH_DATA"):
        load_catalog()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2024: {source: phantoms}", 'Write it in quotes: "2024"'),
        ("a: &x {source: phantoms, notes: *x}", "contain themselves"),
        ("a: " + "[" * 3000 + "]" * 3000, "nested too deeply"),
    ],
)
def test_strange_yaml_is_an_error_not_a_crash(tmp_path, text, message):
    with pytest.raises(ConfigurationError, match=r"datasets\.yaml") as error:
        read_datasets(write(tmp_path, text))
    assert message in str(error.value)


def test_an_entry_of_several_sizes_cannot_take_the_name_of_another(tmp_path):
    tiny = "{source: medmnist, path: t.npz, classes: [a, b], n_images: 2, md5: {28: x, 64: y}}"
    file = write(tmp_path, f"tiny-64: {{source: phantoms}}\ntiny: {tiny}")
    with pytest.raises(ConfigurationError, match=r'line 2: data set "tiny-64" is registered'):
        read_datasets(file)


def test_what_was_fetched_is_found_without_naming_a_folder(class_folders):
    root = class_folders(name="brain-mri", classes=("no", "yes"))
    place = cache_folder() / "data"
    place.mkdir(parents=True)
    root.rename(place / "brain-mri")
    listing = load_catalog().get("brain-mri").listing()
    assert listing.classes == ("no", "yes")


def test_the_collection_as_published_is_read_by_its_own_table(tmp_path):
    root = tmp_path / "covid-chestxray-dataset"
    (root / "images").mkdir(parents=True)
    rows = [
        ("2", "Pneumonia/Viral/COVID-19", "PA", "X-ray"),
        ("2", "Pneumonia/Viral/COVID-19", "L", "X-ray"),
        ("3", "Pneumonia/Viral/SARS", "AP", "X-ray"),
        ("5", "Pneumonia", "AP Supine", "X-ray"),
        ("6", "No Finding", "PA", "X-ray"),
        ("7", "todo", "PA", "X-ray"),
        ("8", "Pneumonia/Viral/COVID-19", "Axial", "CT"),
    ]
    lines = ["patientid,finding,view,modality,folder,filename,"]
    for number, row in enumerate(rows):
        (root / "images" / f"{number}.png").write_bytes(b"")
        lines.append(",".join([*row, "images", f"{number}.png", ""]))
    (root / "metadata.csv").write_text("\n".join(lines))
    listing = load_catalog(data_dir=tmp_path).get("covid-chestxray-dataset").listing()
    assert listing.classes == ("no_finding", "pneumonia", "covid19")
    assert listing.table["origin"].tolist() == ["0.png", "2.png", "3.png", "4.png"]
    assert listing.table["label"].tolist() == [2, 1, 1, 0]
    assert listing.table["group"].tolist() == ["2", "3", "5", "6"]
    assert listing.notes == ("1 rows of no class are left out: 'todo' 1",)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "counts", "n_groups"),
    [
        ("brain-mri", [98, 155], 1),
        ("covid-cxr", [306, 368, 194], 589),
        ("covid-or-healthy", [306, 194], 324),
        ("covid-or-pneumonia", [68, 194], 152),
        ("nih-pneumonia", [300, 300], 434),
        ("medical-mnist", [500] * 6, 1),
        ("pneumoniamnist-reassembled", [1583, 4273], 1),
    ],
)
def test_the_real_sets_are_read_as_they_are_described(real_data, name, counts, n_groups):
    listing = load_catalog(data_dir=real_data).get(name).listing()
    assert listing.table["label"].value_counts().sort_index().tolist() == counts
    assert listing.table["group"].nunique() == n_groups
    assert listing.notes == ()


def test_a_source_of_a_broken_plugin_is_named_with_its_line(install, tmp_path):
    groups = {"sources": {"theirs": "broken_package:Source"}}
    install("broken-package", "1.0", groups, {"broken_package.py": "import nothing_such"})
    file = tmp_path / "datasets.yaml"
    file.write_text("mine:\n  source: theirs\n")
    with pytest.raises(ConfigurationError, match=r"line 2: .*broken-package 1\.0"):
        read_datasets(file)
