from medbench.execution.source_version import source_version
from medbench.registry import load_plugin, models, tuners


def test_families_of_different_files_have_different_versions():
    tuner = tuners.get("optuna")
    majority, svm = models.get("majority"), models.get("hog-svm")
    assert source_version(majority, tuner) == source_version(majority, tuner)
    assert source_version(majority, tuner) != source_version(svm, tuner)
    assert source_version(svm, tuner) != source_version(svm, tuners.get("keras-tuner"))


def test_a_changed_plugin_has_another_version(tmp_path):
    text = (
        "from medbench import ModelFamily, register_model\n"
        '@register_model("changing-{n}")\n'
        "class Changing(ModelFamily):\n"
        "    def search_space(self, space, task): ...\n"
        "    def build(self, params, task, context): ...\n"
        "# {n}\n"
    )
    versions = set()
    for n in (1, 2):
        file = tmp_path / str(n) / "changing.py"
        file.parent.mkdir()
        file.write_text(text.format(n=n))
        load_plugin(file)
        versions.add(source_version(models.get(f"changing-{n}"), tuners.get("optuna")))
        del models._registered[f"changing-{n}"]
    assert len(versions) == 2


def test_what_a_family_imports_inside_its_methods_counts():
    from medbench.execution import source_version as module

    source = b"def f():\n    from medbench.features.hog import Hog\n"
    assert "medbench.features.hog" in module._imports(source)
