"""Folders that somebody else made: said so, and their models work in a process that may crash."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medbench import load_model
from medbench.atomic_files import read_json
from medbench.cli import main
from medbench.inference.foreign import SENTENCE, ForeignWarning, is_foreign
from medbench.store import RunStore, seals, signature

FAMILY = '''
import os
import numpy as np
from medbench import Classifier, ModelFamily, register_model

@register_model("ends")
class Ends(ModelFamily):
    """Half and half; ends its process where the test wants that."""

    def search_space(self, space, task):
        pass

    def build(self, params, task, context):
        return Half()

class Half(Classifier):
    def fit(self, train, validation, progress):
        pass

    def predict_proba(self, batch):
        if "TEST_END" in os.environ:
            os.kill(os.getpid(), int(os.environ["TEST_END"]))
        return np.full((len(batch), 2), 0.5)

    def save(self, folder):
        (folder / "half").write_text("0.5")

    def load(self, folder):
        (folder / "half").read_text()
'''
RUN = ["run", "--models", "ends", "--no-sanity", "--folds", "2", "--trials", "1"]
posix = pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Images, a plugin and a run of it; not to be changed."""
    made = tmp_path_factory.mktemp("foreign")
    (made / "ends.py").write_text(FAMILY)
    rng = np.random.default_rng(0)
    for label in "ab":
        (made / "set" / label).mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 255, (16, 16), dtype=np.uint8)
            Image.fromarray(pixels).save(made / "set" / label / f"{number}.png")
    options = [*RUN, "--data", str(made / "set"), "--plugin", str(made / "ends.py")]
    command = [sys.executable, "-m", "medbench", *options, "--out", str(made / "run")]
    cache = {"MEDBENCH_CACHE": str(made / "cache")}
    subprocess.run(command, env={**os.environ, **cache}, check=True, stdout=subprocess.DEVNULL)
    return made


@pytest.fixture
def plugin(made):
    return str(made / "ends.py")


@pytest.fixture
def images(made):
    return made / "set"


@pytest.fixture
def run(made, tmp_path):
    """A run of this user, which a test may change."""
    return Path(shutil.copytree(made / "run", tmp_path / "run"))


def disown(folder):
    """Make a run one of somebody else: his records carry hashes, and another signature or none."""
    for number, path in enumerate(sorted(folder.glob("cells/*/*/*/cell.json"))):
        record = read_json(path)
        record["signature"] = "0" * 64
        if number:
            del record["signature"]
        seals.write_record(path, record)
    return folder


def predict(run, images, plugin):
    return main(["predict", str(images / "a"), "--run", str(run), "--plugin", plugin])


def test_a_run_of_ones_own_is_not_foreign_wherever_it_lies(run, tmp_path, images, plugin, capfd):
    assert not is_foreign(run)
    moved = Path(shutil.move(run, tmp_path / "moved"))
    assert not is_foreign(moved)
    capfd.readouterr()
    assert predict(moved, images, plugin) == 0
    assert SENTENCE not in capfd.readouterr().err


def test_a_signature_is_of_one_record_and_of_one_user(run, tmp_path, monkeypatch):
    first, second = sorted(run.glob("cells/*/*/*/cell.json"))
    records = read_json(first), read_json(second)
    assert records[0]["signature"] != records[1]["signature"]
    assert all(map(signature.is_ours, records))
    for name, value in (("model_sha256", "0" * 64), ("status", "failed"), ("more", 1)):
        assert not signature.is_ours({**records[0], name: value})
    assert not signature.is_ours({**records[0], "signature": records[1]["signature"]})
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "of somebody else"))
    assert not signature.is_ours(records[0])
    assert signature.is_ours(signature.signed(records[0]))
    assert not (run / "secret").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="another way to say who may read")
def test_the_secret_is_the_users_alone_and_may_be_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert signature.is_ours(signature.signed({"a": 1}))
    (secret,) = (path for path in (tmp_path / "state").rglob("*") if path.is_file())
    assert secret.stat().st_mode & 0o077 == 0 and len(secret.read_text()) == 64
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert signature.signed({"a": 1}) == {"a": 1}
    assert not signature.is_ours({"a": 1, "signature": "0" * 64})


def test_a_foreign_run_says_so_and_gives_the_same(run, images, plugin, capfd):
    capfd.readouterr()
    command = ["predict", str(images / "a"), "--run", str(run), "--plugin", plugin]
    assert main([*command, "--format", "json"]) == 0
    own = json.loads(capfd.readouterr().out)
    disown(run)
    assert is_foreign(run)
    assert main([*command, "--format", "json"]) == 0
    shown = capfd.readouterr()
    assert json.loads(shown.out) == own
    assert shown.err.count(f"{run}: {SENTENCE} Its models work in a process of their own.") == 1
    assert shown.err.count(SENTENCE) == 1


def test_in_python_a_foreign_run_is_a_warning_and_ones_own_is_none(run, plugin, recwarn):
    load_model(run, plugins=[plugin])
    assert not [one for one in recwarn if one.category is ForeignWarning]
    with pytest.warns(ForeignWarning, match="trust where you have it from"):
        load_model(disown(run), plugins=[plugin])


def test_what_is_wrong_with_a_foreign_run_is_said_as_ever(run, images, plugin, capfd):
    disown(run)
    next(run.glob("cells/*/*/r0f0/model/half")).write_text("0.6")
    assert predict(run, images, plugin) == 2
    error = capfd.readouterr().err
    assert "the hash does not match" in error and error.count("medbench: error:") == 1


@posix
@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_models_that_end_their_process_are_an_error_and_no_crash(
    verb, run, images, plugin, monkeypatch, capfd, class_folders
):
    disown(run)
    monkeypatch.setenv("TEST_END", str(int(signal.SIGKILL)))
    other = class_folders(per_class=5, size=30, name="other")
    command = {
        "predict": ["predict", str(images / "a"), "--run", str(run)],
        "evaluate": ["evaluate", "--run", str(run), "--data", str(other)],
    }[verb]
    capfd.readouterr()
    assert main([*command, "--plugin", plugin]) == 2
    error = capfd.readouterr().err
    assert f"{run}: its models ended the process in which they worked (SIGKILL)" in error
    assert "Traceback" not in error


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="processes are found by /proc")
def test_the_process_of_its_own_ends_with_its_parent(run, images, plugin, tmp_path):
    pytest.importorskip("starlette")
    disown(run)
    command = [sys.executable, "-m", "medbench", "serve", str(run), "--plugin", plugin]
    parent = subprocess.Popen(
        [*command, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    for line in parent.stdout:
        if "Open http" in line:
            break
    (child,) = (
        int(path.name)
        for path in Path("/proc").glob("[0-9]*")
        if f"\nPPid:\t{parent.pid}\n" in _status(path)
    )
    parent.kill()
    parent.wait()
    parent.stdout.close()
    limit = time.monotonic() + 120  # no figure: so that a fault ends the test, too
    while _is_running(child):
        assert time.monotonic() < limit
        time.sleep(0.01)


def _status(process):
    try:
        return (process / "status").read_text()
    except OSError:
        return ""


def _is_running(pid):
    return "State:\tZ" not in (status := _status(Path("/proc", str(pid)))) and status != ""


def test_an_exported_model_is_of_whoever_exported_it(tmp_path, images, capfd):
    run, out = tmp_path / "run", tmp_path / "exported"
    options = ["--models", "intensity", "--no-sanity", "--folds", "2", "--trials", "1"]
    assert main(["run", "--data", str(images), *options, "--out", str(run)]) == 0
    export = ["export", str(run), "--models", "intensity", "--data", str(images)]
    assert main([*export, "--out", str(out)]) == 0
    assert not is_foreign(out)
    command = ["predict", str(images / "a"), "--run", str(out)]
    capfd.readouterr()
    assert main(command) == 0
    assert SENTENCE not in capfd.readouterr().err
    record = read_json(out / "model.json")
    (out / "model.json").write_text(json.dumps({**record, "signature": "0" * 64}))
    assert main(command) == 0
    assert SENTENCE in capfd.readouterr().err


def test_a_run_that_was_gone_on_with_stays_foreign_where_it_was(run, images, plugin):
    disown(run)
    assert main([*RUN, "--data", str(images), "--plugin", plugin, "--out", str(run)]) == 0
    assert is_foreign(run) and len(RunStore(run).read().cells) == 2
