import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from medbench.backbones import BACKBONES
from medbench.datasets.catalog import read_datasets
from medbench.errors import MedBenchError, PluginError, UnknownNameError
from medbench.registry import PluginWarning, Registry, load_plugin, models, sources, tuners

PLUGIN = """
from medbench import ModelFamily, register_model

@register_model("{name}")
class Mine(ModelFamily):
    def search_space(self, space, task): ...
    def build(self, params, task, context): ...
"""


def test_built_in_names_come_first_and_are_loaded_on_use():
    sanity = ["majority", "file-properties", "intensity", "border", "thumbnail"]
    assert models.names()[:9] == [*sanity, "hog-svm", "xgboost", "cnn", "inceptionv3"]
    assert models.get("majority").name == "majority"


def test_every_backbone_of_the_table_is_a_family_with_weights_and_a_reference():
    assert set(BACKBONES) <= set(models.names())
    for name, backbone in BACKBONES.items():
        family = models.get(name)
        assert family.name == family.weights == name
        assert family.__doc__.startswith(backbone.title) and family.reference
        assert models.get(name) is family


def test_an_unknown_name_lists_the_close_ones():
    with pytest.raises(UnknownNameError, match=r"'hog-smv' is not a model family. Did you mean"):
        models.get("hog-smv")


def test_a_plugin_file_registers_a_model_once(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN.format(name="mine"))
    load_plugin(file)
    load_plugin(file)
    assert models.get("mine").name == "mine"
    assert models.added() == ["mine"]
    assert models.provider("mine") == "mine.py"


@pytest.mark.parametrize("name", ["cnn", "Mine!", "../x", ""])
def test_a_taken_or_malformed_name_is_refused(tmp_path, name):
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN.format(name=name))
    with pytest.raises(PluginError, match=r"registered twice|cannot be the name"):
        load_plugin(file)


def test_a_plugin_that_is_a_link_to_itself_is_no_file(tmp_path):
    link = tmp_path / "loop.py"
    link.symlink_to(link)
    with pytest.raises(PluginError, match="there is no such file"):
        load_plugin(link)


def test_a_plugin_that_raises_is_named_with_its_error(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("import nothing_of_that_name")
    with pytest.raises(PluginError, match=r"broken.py: ModuleNotFoundError"):
        load_plugin(file)
    with pytest.raises(PluginError, match="there is no such file"):
        load_plugin(tmp_path / "absent.py")


def test_registries_do_not_share_names():
    one, two = (Registry("thing", "builtins:dict", {}) for _ in range(2))
    one.register("a")(type("A", (dict,), {}))
    assert one.names() == ["a"]
    assert two.names() == []


def test_a_class_of_another_kind_or_an_unfinished_one_is_refused(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from medbench import register_model\nregister_model('mine')(dict)\n")
    with pytest.raises(PluginError, match="is no subclass of"):
        load_plugin(file)
    file = tmp_path / "abstract.py"
    file.write_text(PLUGIN.format(name="mine").replace("def build", "def built"))
    with pytest.raises(PluginError, match="Mine does not define build"):
        load_plugin(file)


def test_a_plugin_that_ends_the_process_is_named(tmp_path):
    file = tmp_path / "leaving.py"
    file.write_text("import sys\nsys.exit('bye')\n")
    with pytest.raises(PluginError, match=r"leaving.py: SystemExit: bye"):
        load_plugin(file)


def test_what_a_package_declares_is_listed_without_being_imported(example_plugin):
    for registry, name in ((models, "brightness"), (sources, "squares"), (tuners, "random")):
        assert registry.names()[-1] == name
        assert registry.provider(name) == "medbench-brightness 1.2.0"
    assert "medbench_brightness" not in sys.modules
    assert models.get("brightness").name == "brightness"
    assert models.provider("majority") == "built in"
    assert models.added() == []  # it runs when it is asked for


def test_a_package_may_decorate_what_its_entry_point_names(example_plugin):
    import medbench_brightness.model

    assert models.get("brightness") is medbench_brightness.model.Brightness
    assert models.names().count("brightness") == 1


CLASS = """
from medbench import ModelFamily

class Mine(ModelFamily):
    def search_space(self, space, task): ...
    def build(self, params, task, context): ...
"""
BROKEN = {
    "import": ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing"),
    "exit": ("raise SystemExit('bye')", "SystemExit: bye"),
    "nothing": ("", "AttributeError: module 'theirs' has no attribute 'Mine'"),
    "base": ("Mine = dict", "is no subclass of medbench.models.contract:ModelFamily"),
    "abstract": (CLASS.replace("def build", "def built"), "Mine does not define build"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_package_is_a_warning_once_and_an_error_where_it_is_asked_for(install, kind):
    code, reason = BROKEN[kind]
    install("theirs", "0.3", {"models": {"mine": "theirs:Mine"}}, {"theirs.py": code})
    with pytest.warns(PluginWarning) as told:
        usable = models.usable()
    assert [str(warning.message).split(":")[0] for warning in told] == [
        "model family 'mine' of theirs 0.3 cannot be used"
    ]
    assert reason in str(told[0].message)
    assert "mine" not in usable and usable == models.names() == models.usable()
    with pytest.raises(PluginError, match=r"'mine' of theirs 0\.3 cannot be used"):
        models.get("mine")


def test_a_malformed_name_of_a_package_is_a_warning(install):
    install("theirs", "0.3", {"models": {"Mine!": "theirs:Mine"}}, {"theirs.py": CLASS})
    with pytest.warns(PluginWarning, match=r"'Mine!' of theirs 0\.3 .* use lower-case"):
        assert "Mine!" not in models.names()
    with pytest.raises(PluginError, match="use lower-case"):
        models.get("Mine!")


def test_a_name_that_two_claim_stays_with_the_first_and_both_are_named(install):
    for name in ("beta", "alpha"):
        points = {"mine": f"{name}:Mine", "cnn": f"{name}:Mine"}
        install(name, "1.0", {"models": points}, {f"{name}.py": CLASS})
    with pytest.warns(PluginWarning) as told:
        models.names()
    texts = [str(warning.message) for warning in told]
    assert "model family 'mine' of beta 1.0 is left out: alpha 1.0 has one of that name." in texts
    assert len([t for t in texts if "'cnn'" in t and "built-in one has that name" in t]) == 2
    assert models.get("mine").__module__ == "alpha"
    assert models.get("cnn").__module__ == "medbench.models.cnn"


def test_a_plugin_file_cannot_take_the_name_of_an_installed_one(example_plugin, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN.format(name="brightness"))
    with pytest.raises(PluginError, match=r"registered twice \(first: medbench-brightness 1.2.0"):
        load_plugin(file)


def test_a_data_set_of_a_broken_source_says_whose_it_is(install, tmp_path):
    install("theirs", "0.3", {"sources": {"slides": "theirs:Slides"}}, {"theirs.py": "import no"})
    file = tmp_path / "datasets.yaml"
    file.write_text("mine: {source: slides}\n")
    with pytest.raises(
        MedBenchError, match=r"'slides' of theirs 0\.3 cannot be used: ModuleNotFound"
    ):
        read_datasets(file)


@pytest.mark.slow
def test_a_package_that_pip_installs_is_found(tmp_path):
    pytest.importorskip("hatchling")
    project, site = tmp_path / "project", tmp_path / "site"
    shutil.copytree(Path(__file__).parent / "plugins" / "packaged", project)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    pip += ["--no-build-isolation", "--target", str(site), str(project)]
    subprocess.run(pip, check=True)
    code = f"import sys; sys.path.append({str(site)!r}); from medbench.registry import models; "
    code += "print(models.get('brightness').__module__, models.provider('brightness'))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "medbench_brightness.model medbench-brightness 1.2.0\n"
