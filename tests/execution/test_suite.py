import pytest

from medbench import registry
from medbench.datasets.catalog import load_catalog, shipped
from medbench.errors import ConfigurationError
from medbench.execution.suite import load_suite

SHIPPED = sorted(path.stem for path in shipped("suites").glob("*.yaml"))


def test_every_shipped_suite_names_only_what_there_is():
    assert {"demo", "smoke", "medmnist", "xray", "mri"} <= set(SHIPPED)
    datasets, models = load_catalog().sources, registry.models.names()
    for name in SHIPPED:
        assert load_suite(name, datasets=datasets, models=models)[1].title


def test_the_medmnist_suite_has_the_twelve_sets():
    suite = load_suite("medmnist", datasets=load_catalog().sources, models=registry.models.names())
    assert len(suite[1].datasets) == 12


def test_an_unknown_name_in_a_suite_is_told_with_its_line_and_the_close_ones(tmp_path):
    file = tmp_path / "mine.yaml"
    known = {"datasets": ["pathmnist", "other"], "models": ["majority"]}
    file.write_text("datasets:\n  - other\n  - pathmnsit\nmodels: [majority]\n")
    with pytest.raises(
        ConfigurationError, match=r"mine.yaml, line 3: 'pathmnsit' is not .* mean 'pathmnist'"
    ):
        load_suite(str(file), **known)
    file.write_text("datasets: [other]\nmodels:\n  [majority, majorty]\n")
    with pytest.raises(ConfigurationError, match=r"line 3: 'majorty' .* mean 'majority'"):
        load_suite(str(file), **known)


def test_the_backbone_of_a_suite_lies_where_its_file_does(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("datasets: [other]\nmodels: [majority, 'onnx:nets/a.onnx', 'onnx:/b.onnx']\n")
    suite = load_suite(str(file), datasets=["other"], models=["majority"])[1]
    assert suite.models == ("majority", f"onnx:{tmp_path / 'nets' / 'a.onnx'}", "onnx:/b.onnx")
