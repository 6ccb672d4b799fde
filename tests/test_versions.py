import importlib
import shutil
import sys

from medbench.registry import load_plugin, models, tuners
from medbench.versions import code_of, code_version


def test_families_of_different_files_have_different_versions():
    tuner = tuners.get("optuna")
    majority, svm = models.get("majority"), models.get("hog-svm")
    assert code_version(majority, tuner) == code_version(majority, tuner)
    assert code_version(majority, tuner) != code_version(svm, tuner)
    assert code_version(svm, tuner) != code_version(svm, tuners.get("keras-tuner"))


def test_a_changed_plugin_has_another_version(tmp_path):
    text = (
        "from medbench import ModelFamily, register_model\n"
        '@register_model("changing-{n}")\n'
        "class Changing(ModelFamily):\n"
        "    def search_space(self, space, task): ...\n"
        "    def build(self, params, task, context): ...\n"
        "chosen = {n}\n"
    )
    versions = set()
    for n in (1, 2):
        file = tmp_path / str(n) / "changing.py"
        file.parent.mkdir()
        file.write_text(text.format(n=n))
        load_plugin(file)
        versions.add(code_version(models.get(f"changing-{n}"), tuners.get("optuna")))
        del models._registered[f"changing-{n}"]
    assert len(versions) == 2


def written(folder, text: str, name: str = "piece") -> str:
    """A module of that text which can be imported; its name."""
    (folder / f"{name}.py").write_text(text)
    sys.modules.pop(name, None)
    importlib.invalidate_caches()
    code_of.cache_clear()
    return name


def test_comments_docstrings_and_layout_decide_nothing(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    plain = "import numpy\n\ndef f(x):\n    return x + 1\n\nlimit = 3\n"
    dressed = (
        '"""A module."""\nimport numpy  # the library\nfrom typing import TYPE_CHECKING\n'
        "if TYPE_CHECKING:\n    import pandas\n"
        'def f(x):\n    """Adds one."""\n    return (x\n            + 1)\n'
        'limit = 3\n"""Of what."""\n'
    )
    bare = plain.replace("import numpy\n", "import numpy\nfrom typing import TYPE_CHECKING\n")
    versions = [code_version(written(tmp_path, text)) for text in (bare, dressed)]
    assert versions[0] == versions[1]
    for changed in (bare.replace("+ 1", "+ 2"), bare.replace("limit = 3", "limit = 4")):
        assert code_version(written(tmp_path, changed)) != versions[0]


def test_what_is_imported_inside_functions_and_relatively_is_followed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    package = tmp_path / "followed"
    (package / "inner").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "a.py": "def f():\n    from .inner import b\n    return b\n",
        "inner/__init__.py": "",
        "inner/b.py": "from .. import c\nimport PIL\n",
        "c.py": "value = 1\n",
        "unused.py": "value = 1\n",
    }
    for name, text in files.items():
        (package / name).write_text(text)
    before = code_of("followed.a")
    assert "pillow" in before.libraries and "scikit-learn" not in before.libraries
    for name, counts in (("c.py", True), ("inner/__init__.py", True), ("unused.py", False)):
        (package / name).write_text(files[name] + "more = 2\n")
        code_of.cache_clear()
        assert (code_version("followed.a") != before.version) == counts
        (package / name).write_text(files[name])


def test_a_module_beside_a_plugin_counts_and_one_that_cannot_be_read_is_no_error(
    tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(str(tmp_path))
    texts = ["value = 1\n", "value = 2\n", "print 'of another Python'\n"]
    versions = set()
    for text in texts:
        written(tmp_path, text, "helper")
        versions.add(code_version(written(tmp_path, "import helper\n")))
    assert len(versions) == 3


def test_a_class_of_which_nobody_knows_the_source_is_never_taken_for_another():
    versions = set()
    for _ in range(2):
        typed: dict = {"__name__": "typed_somewhere"}
        exec("class Typed: pass", typed)
        code_of.cache_clear()
        versions.add(code_version(typed["Typed"]))
    assert len(versions) == 2


def test_a_library_counts_for_what_computes_with_it(monkeypatch):
    from importlib import metadata

    def version(name):
        code_of.cache_clear()
        return code_version(f"medbench.features.{name}")

    before = version("engines"), version("pixels")
    installed = metadata.version
    monkeypatch.setattr(metadata, "version", lambda n: "99" if n == "onnxruntime" else installed(n))
    assert version("engines") != before[0]
    assert version("pixels") == before[1]
    code_of.cache_clear()


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
    files = {name: text + "\nchanged = 1" * (name == changed) for name, text in INSTALLED.items()}
    for info in install("library", library, {}, {}).glob("*.dist-info"):
        shutil.rmtree(info)
    install("library", library, {}, {})
    install("theirs", version, {"models": {"mine": "theirs.model:Mine"}}, files, ["library>=1"])
    for module in [name for name in sys.modules if name.split(".")[0] == "theirs"]:
        del sys.modules[module]
    importlib.invalidate_caches()
    return code_version(models.get("mine"), tuners.get("optuna"))


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
