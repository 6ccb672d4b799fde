"""YAML of settings: aliases, merges, depth, repeated keys, and words that are no values."""

import pytest

from medbench.datasets import yaml_document
from medbench.datasets.catalog import read_datasets
from medbench.datasets.yaml_document import YamlDocument
from medbench.errors import ConfigurationError


@pytest.fixture
def write(tmp_path):
    def written(text):
        path = tmp_path / "datasets.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return written


def document(path):
    return YamlDocument(path).mapping


def laughs(levels):
    """Each level repeats the one before ten times."""
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


def test_a_merge_means_what_yaml_says_and_its_own_keys_come_first(write):
    path = write(
        "common: &common {source: folder, image_size: 64}\n"
        "first: &first\n  <<: *common\n  path: a\n  image_size: 32\n"
        "second:\n  <<: [*first, {title: b, path: c}]\n"
    )
    assert document(path)["first"] == {"source": "folder", "image_size": 32, "path": "a"}
    assert document(path)["second"] == {
        "source": "folder", "image_size": 32, "path": "a", "title": "b",
    }  # fmt: skip


def test_two_data_sets_share_their_fields_by_a_merge(write):
    path = write("a: &a\n  source: phantoms\n  patients: 8\nb:\n  <<: *a\n  patients: 12\n")
    sources = read_datasets(path)
    assert (sources["a"].patients, sources["b"].patients) == (8, 12)


def test_what_a_merge_brings_is_checked_where_it_stands(write):
    path = write("a: &a\n  source: phantoms\n  patients: 1\nb:\n  <<: *a\n")
    with pytest.raises(ConfigurationError, match='line 3: data set "a": "patients"'):
        read_datasets(path)


def test_a_key_that_is_given_twice_is_named_also_below_an_alias(write):
    with pytest.raises(ConfigurationError, match=r"line 3: 'x' is given twice"):
        document(write("a: &a\n  x: 1\n  x: 2\nb: *a\n"))


def test_each_node_is_looked_at_once_however_many_aliases_lead_to_it(write, monkeypatch):
    seen = []
    over = yaml_document._Walk._check_keys
    monkeypatch.setattr(
        yaml_document._Walk, "_check_keys", lambda walk, node: seen.append(node) or over(walk, node)
    )
    uses = "\n".join(f"  - *fields{n % 3}" for n in range(300))
    anchors = "\n".join(f"a{n}: &fields{n} {{x: {{y: 1}}}}" for n in range(3))
    assert len(document(write(f"{anchors}\nall:\n{uses}\n"))["all"]) == 300
    assert len(seen) == 1 + 3 * 2


def test_aliases_of_aliases_are_refused_by_what_they_would_be(write):
    assert document(write(laughs(3)))["l2"][9][9][9] == "x"
    with pytest.raises(ConfigurationError, match=r"line \d+: its aliases repeat too much"):
        document(write(laughs(12)))


def test_merges_of_merges_are_counted_too(write, monkeypatch):
    monkeypatch.setattr(yaml_document, "_MOST_CHARACTERS", 10_000)
    lines = ["m0: &m0 {a: 1, b: 2}"]
    lines += [f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 5)}]}}" for n in range(1, 8)]
    assert document(write("\n".join(lines[:4])))["m3"] == {"a": 1, "b": 2}
    with pytest.raises(ConfigurationError, match="aliases repeat too much"):
        document(write("\n".join(lines)))


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 60 + "]" * 60,
        "a: " + "[" * 20_000,
        "a: " + "{b: " * 5_000 + "1" + "}" * 5_000,
        "a0: &a0 [x]\n" + "\n".join(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 200)),
        "a: &a [*a]",
        "a: &a {b: *a}",
        "a: &a\n  <<: *a\n",
    ],
    ids=["flat", "open", "mappings", "aliases", "itself", "itself in a mapping", "merges itself"],
)
def test_what_is_nested_too_deeply_or_without_end_is_refused(write, text):
    with pytest.raises(ConfigurationError, match="nested too deeply or contain themselves"):
        document(write(text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 2001-13-45\n", "looks like a number or a date"),
        ("a: !!int x\n", "looks like a number or a date"),
        ("a: !!bool x\n", "looks like a number or a date"),
        ("a: !!timestamp x\n", "looks like a number or a date"),
        (f"a: {'9' * 5000}\n", "looks like a number or a date"),
        ("a: !!python/object:os.system x\n", "not valid YAML"),
        ("? [a, b]\n: c\n", "a key must be a word"),
        ("a:\n  <<: 5\n", "<< takes an alias of a mapping"),
        ("a: &x 1\nb: *y\n", "not valid YAML"),
        ("a: \x00\n", "not valid YAML"),
        (b"a: \xff\n", "cannot be read"),
        ("- a\n", "must be a mapping"),
        (f"{'x' * 500}: 1\n{'x' * 500}: 1\n", r"line 2: 'x{199}\.\.\. is given twice"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_named(write, text, said):
    with pytest.raises(ConfigurationError, match=said) as error:
        document(write(text))
    assert len(str(error.value)) < 1000


def test_a_message_quotes_the_beginning_of_what_is_long(write):
    path = write(f"a: {{source: phantoms, patients: [{', '.join(['abc'] * 5000)}]}}\n")
    with pytest.raises(ConfigurationError, match=r'"patients": .*\.\.\.\.$') as error:
        read_datasets(path)
    assert len(str(error.value)) < 600
    path = write(f"a: {{source: [{', '.join(['abc'] * 5000)}]}}\n")
    with pytest.raises(ConfigurationError, match="is not a data source") as error:
        read_datasets(path)
    assert len(str(error.value)) < 1000


def test_a_yaml_file_has_a_largest_size(write, monkeypatch):
    path = write("a: 1\n" + "# comment\n" * 200)
    assert document(path) == {"a": 1}
    monkeypatch.setenv("MEDBENCH_SIZE_FACTOR", "0.001")
    with pytest.raises(ConfigurationError, match=r"a YAML file may have 1\.0 kB"):
        document(path)
