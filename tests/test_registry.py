import pytest

from medbench.errors import PluginError, UnknownNameError
from medbench.registry import Registry, load_plugin, models

PLUGIN = """
from medbench import ModelFamily, register_model

@register_model("{name}")
class Mine(ModelFamily):
    def search_space(self, space, task): ...
    def build(self, params, task, context): ...
"""


def test_built_in_names_come_first_and_are_loaded_on_use():
    assert models.names()[:5] == ["majority", "hog-svm", "xgboost", "cnn", "inceptionv3"]
    assert models.get("majority").name == "majority"


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


@pytest.mark.parametrize("name", ["cnn", "Mine!", "../x", ""])
def test_a_taken_or_malformed_name_is_refused(tmp_path, name):
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN.format(name=name))
    with pytest.raises(PluginError, match=r"registered twice|cannot be the name"):
        load_plugin(file)


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
