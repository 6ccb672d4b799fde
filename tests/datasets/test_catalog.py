import pytest

from medbench.datasets.catalog import load_catalog, read_datasets
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
