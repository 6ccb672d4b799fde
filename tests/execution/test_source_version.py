import importlib
import shutil
import sys

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


def test_relative_imports_are_followed_from_the_package_they_stand_in():
    from medbench.execution import source_version as module

    source = b"from . import a\nfrom .b import c\nfrom .. import d\nfrom ..e.f import g\n"
    found = set(module._imports(source, "top.inner"))
    assert {"top.inner.a", "top.inner.b", "top.d", "top.e.f"} <= found


INSTALLED = {
    "theirs/__init__.py": "",
    "theirs/model.py": (
        "from medbench import ModelFamily\n"
        "class Mine(ModelFamily):\n"
        "    def search_space(self, space, task): ...\n"
        "    def build(self, params, task, context):\n"
        "        from .nets import deep\n"
    ),
    "theirs/nets/__init__.py": "raise RuntimeError('too heavy to import for a key')",
    "theirs/nets/deep.py": "import theirs.layers",
    "theirs/layers.py": "",
    "theirs/unused.py": "",
}


def version_of_installed(install, version="1.0", changed="", library="1.0") -> str:
    files = {name: text + "\n# changed" * (name == changed) for name, text in INSTALLED.items()}
    for info in install("library", library, {}, {}).glob("*.dist-info"):
        shutil.rmtree(info)
    install("library", library, {}, {})
    install("theirs", version, {"models": {"mine": "theirs.model:Mine"}}, files, ["library>=1"])
    for module in [name for name in sys.modules if name.split(".")[0] == "theirs"]:
        del sys.modules[module]
    importlib.invalidate_caches()
    return source_version(models.get("mine"), tuners.get("optuna"))


def test_the_modules_of_an_installed_family_and_its_versions_count(install):
    before = version_of_installed(install)
    assert before == version_of_installed(install)
    assert before == version_of_installed(install, changed="theirs/unused.py")
    others = [
        version_of_installed(install, version="1.1"),
        version_of_installed(install, library="1.1"),
        *(
            version_of_installed(install, changed=file)
            for file in INSTALLED
            if file != "theirs/unused.py"
        ),
    ]
    assert len({before, *others}) == 1 + len(others)
